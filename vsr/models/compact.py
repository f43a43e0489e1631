"""SRVGGNetCompact, the small network of Real-ESRGAN for video (Wang et al. 2021, arXiv:2107.10833, and its repository).

All convolutions work at the input's size; one pixel-shuffle at the end enlarges. Parameter names are those of the reference
implementation, so its checkpoints load with strict=True.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models.single import SingleFrame
from vsr.models.spec import ModelSpec, Option

# Peak growth of the process per input pixel: 64 channels, fp32, inference, on a CPU, output included. 0.5 to 1.4 kB on the first
# picture; the allocator keeps pieces, so that later ones reach 1.9 kB in NCHW and 1.6 kB in channels_last.
BYTES_PER_PIXEL = 1_900

Activation = Literal["prelu", "relu", "leakyrelu"]


def _activation(kind: Activation, num_feat: int) -> nn.Module:
    if kind == "prelu":
        return nn.PReLU(num_feat)
    if kind == "relu":
        return nn.ReLU(inplace=True)
    if kind == "leakyrelu":
        return nn.LeakyReLU(0.1, inplace=True)
    raise ModelError(f"SRVGGNetCompact with activation {kind!r}: only prelu, relu and leakyrelu exist")


class SRVGGNetCompact(SingleFrame):
    """(N, 3, H, W) RGB 0..1 -> (N, 3, H*upscale, W*upscale), not clipped: learns what to add to the nearest-upsampled input.

    `num_conv` inner convolutions (16 in animevideov3, 32 in general-x4v3).
    Raises ModelError for an unknown activation and for a scale below 1.
    """

    def __init__(self, num_conv: int = 16, *, num_feat: int = 64, upscale: int = 4, activation: Activation = "prelu") -> None:
        super().__init__()
        if upscale < 1:
            raise ModelError(f"SRVGGNetCompact of scale {upscale}: it must be 1 or more")
        self.upscale = upscale
        layers: list[nn.Module] = [nn.Conv2d(3, num_feat, 3, padding=1), _activation(activation, num_feat)]
        for _ in range(num_conv):
            layers += [nn.Conv2d(num_feat, num_feat, 3, padding=1), _activation(activation, num_feat)]
        layers.append(nn.Conv2d(num_feat, 3 * upscale**2, 3, padding=1))
        self.body = nn.Sequential(*layers)
        self.spec = self._facts(num_conv, num_feat, upscale)

    def forward(self, x: Tensor) -> Tensor:
        out = F.pixel_shuffle(self.body(x), self.upscale)  # (N, 3*s*s, H, W) -> (N, 3, H*s, W*s)
        return out.add_(F.interpolate(x, scale_factor=float(self.upscale), mode="nearest"))

    def _facts(self, num_conv: int, num_feat: int, upscale: int) -> ModelSpec:
        radius = num_conv + 2  # every 3x3 convolution adds one pixel; the nearest upsampling adds none
        return ModelSpec(
            name="SRVGGNetCompact",
            architecture="SRVGGNetCompact",
            scale=upscale,
            radius_px=radius,
            halo_px=radius,
            precisions=frozenset({"fp32", "bf16", "fp16"}),
            bytes_per_pixel=BYTES_PER_PIXEL * max(num_feat, 3 * upscale**2) // 64,
            mflop_per_pixel=18e-6 * (3 * num_feat + num_conv * num_feat**2 + num_feat * 3 * upscale**2),
            parameters=sum(p.numel() for p in self.parameters()),
        )


def options_from(state: Mapping[str, Tensor]) -> dict[str, Option] | None:
    """What the network of these weights was built with; None where they are another network's.

    Only with PReLU: the other two activations have no tensors, and cannot be told from one another.
    """
    layers = sorted({int(name.split(".")[1]) for name in state if re.fullmatch(r"body\.\d+\.(weight|bias)", name)})
    if len(layers) < 3 or layers != list(range(len(layers))) or state["body.0.weight"].ndim != 4:
        return None
    return {
        "num_conv": len(layers) // 2 - 1,
        "num_feat": state["body.0.weight"].shape[0],
        "upscale": math.isqrt(state[f"body.{layers[-1]}.weight"].shape[0] // 3),
        "activation": "prelu",
    }
