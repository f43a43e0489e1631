"""SPAN, a small fast network with parameter-free attention (Wan et al., CVPR workshops 2024, arXiv:2311.12770).

Each 3x3 convolution is trained as several (1x1, 3x3, 1x1, and a 1x1 beside them) and run as one. Parameter names are those of
the reference implementation, so its checkpoints load with strict=True; files for inference hold the merged convolutions alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.models.single import SingleFrame
from vsr.models.spec import ModelSpec, Option

if TYPE_CHECKING:
    from typing import Self

# Peak growth of the process per input pixel: 48 channels, fp32, inference, on a CPU, merged, output included.
BYTES_PER_PIXEL = 2_100
RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K
IMG_RANGE = 255
GAIN = 2  # the convolutions of training have so many times the channels


class Conv3XC(nn.Module):
    """A 3x3 convolution; unless `merged` it also holds the branches that it is made of, and runs them.

    `eval_conv` is then what the reference keeps in its files beside them: it is neither run nor trusted, but made anew.
    """

    def __init__(self, c_in: int, c_out: int, *, merged: bool) -> None:
        super().__init__()
        self.merged = merged
        if not merged:
            self.sk = nn.Conv2d(c_in, c_out, 1)
            self.conv = nn.Sequential(
                nn.Conv2d(c_in, c_in * GAIN, 1), nn.Conv2d(c_in * GAIN, c_out * GAIN, 3), nn.Conv2d(c_out * GAIN, c_out, 1)
            )
        self.eval_conv = nn.Conv2d(c_in, c_out, 3, padding=1)
        if not merged:
            self.eval_conv.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        # Zeros around the input, not around what the first 1x1 makes of it: only so is it one 3x3 convolution.
        out: Tensor = self.eval_conv(x) if self.merged else self.conv(F.pad(x, (1, 1, 1, 1))) + self.sk(x)
        return out

    @torch.no_grad()
    def merge(self) -> None:
        """Make `eval_conv` of the branches, in float64, and drop them."""
        if self.merged:
            return
        (w1, b1), (w2, b2), (w3, b3) = (
            (conv.weight.double(), conv.bias.double())
            for conv in self.conv
            if isinstance(conv, nn.Conv2d) and conv.bias is not None
        )
        w1, w3 = w1[:, :, 0, 0], w3[:, :, 0, 0]
        weight = torch.einsum("om,mnyx,ni->oiyx", w3, w2, w1)
        bias = w3 @ (torch.einsum("mnyx,n->m", w2, b1) + b2) + b3
        weight[:, :, 1, 1] += self.sk.weight[:, :, 0, 0]
        assert self.sk.bias is not None
        assert self.eval_conv.bias is not None
        self.eval_conv.weight.copy_(weight)
        self.eval_conv.bias.copy_(bias + self.sk.bias)
        del self.conv, self.sk
        self.merged = True


class SPAB(nn.Module):
    """Three convolutions; the third, through a function odd about zero, weighs what leaves the block."""

    def __init__(self, num_feat: int, *, merged: bool) -> None:
        super().__init__()
        self.c1_r = Conv3XC(num_feat, num_feat, merged=merged)
        self.c2_r = Conv3XC(num_feat, num_feat, merged=merged)
        self.c3_r = Conv3XC(num_feat, num_feat, merged=merged)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and what its first convolution made, activated: (N, C, H, W) each."""
        first = F.silu(self.c1_r(x), inplace=True)
        third: Tensor = self.c3_r(F.silu(self.c2_r(first), inplace=True))
        return (third + x) * (torch.sigmoid(third) - 0.5), first


class SPAN(SingleFrame):
    """(N, 3, H, W) RGB 0..1 -> (N, 3, H*upscale, W*upscale), not clipped.

    `merged` builds it as it is run; otherwise as it is trained and published, for `fused` to merge.
    """

    def __init__(self, feature_channels: int = 48, *, upscale: int = 4, merged: bool = False) -> None:
        super().__init__()
        self.conv_1 = Conv3XC(3, feature_channels, merged=merged)
        self.block_1 = SPAB(feature_channels, merged=merged)
        self.block_2 = SPAB(feature_channels, merged=merged)
        self.block_3 = SPAB(feature_channels, merged=merged)
        self.block_4 = SPAB(feature_channels, merged=merged)
        self.block_5 = SPAB(feature_channels, merged=merged)
        self.block_6 = SPAB(feature_channels, merged=merged)
        # The merged files hold this order, which is that of execution; names decide in the others.
        self.conv_2 = Conv3XC(feature_channels, feature_channels, merged=merged)
        self.conv_cat = nn.Conv2d(feature_channels * 4, feature_channels, 1)
        self.upsampler = nn.Sequential(nn.Conv2d(feature_channels, 3 * upscale**2, 3, padding=1), nn.PixelShuffle(upscale))
        # Never on the meta device, where networks are built to have their weights assigned: this is none of them.
        mean = torch.tensor(RGB_MEAN, device="cpu").view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.mean: Tensor
        self.spec = self._facts(feature_channels, upscale)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_1((x - self.mean) * IMG_RANGE)  # (N, C, H, W)
        first, _ = self.block_1(x)
        y = first
        for block in (self.block_2, self.block_3, self.block_4, self.block_5):
            y, _ = block(y)
        y, inner = self.block_6(y)
        # Joined in the reference's order: the start, the end, the first block, and the inside of the last.
        image: Tensor = self.upsampler(self.conv_cat(torch.cat((x, self.conv_2(y), first, inner), dim=1)))
        return image

    def fused(self) -> Self:
        """A copy for inference, every convolution merged: the same picture for a sixth of the work."""
        net = copy.deepcopy(self).eval()
        for module in net.modules():
            if isinstance(module, Conv3XC):
                module.merge()
        return net

    def _facts(self, num_feat: int, upscale: int) -> ModelSpec:
        radius = 3 * 6 + 3  # the blocks, conv_1, conv_2 and the upsampler
        merged = 9 * (3 * num_feat + 19 * num_feat**2 + num_feat * 3 * upscale**2) + 4 * num_feat**2
        return ModelSpec(
            name="SPAN",
            architecture="SPAN",
            scale=upscale,
            radius_px=radius,
            halo_px=radius,
            precisions=frozenset({"fp32", "fp16"}),  # bf16: 43 to 58 dB, too little for some photographs
            bytes_per_pixel=BYTES_PER_PIXEL * max(num_feat, 3 * upscale**2) // 48,
            mflop_per_pixel=2e-6 * merged,  # as it is run, merged
            parameters=sum(p.numel() for p in self.parameters()),
        )


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights with their convolutions merged, as the network is run; any others as they are."""
    if "block_1.c1_r.sk.weight" not in state:
        return dict(state)
    options = options_from(state)
    try:
        net = SPAN(**options) if options else None  # type: ignore[arg-type]
        if net is None:
            return dict(state)
        net.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True)
    except RuntimeError:  # without normalisation, or another network's
        return dict(state)
    return net.fused().state_dict()


def options_from(state: Mapping[str, Tensor]) -> dict[str, Option] | None:
    """What the network of these weights was built with; None where they are another network's."""
    if not {"conv_1.eval_conv.weight", "block_6.c3_r.eval_conv.weight", "conv_cat.weight", "upsampler.0.weight"} <= state.keys():
        return None
    return {
        "feature_channels": state["conv_cat.weight"].shape[0],
        "upscale": math.isqrt(state["upsampler.0.weight"].shape[0] // 3),
        "merged": "conv_1.sk.weight" not in state,
    }
