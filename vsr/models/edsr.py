"""EDSR (Lim et al., CVPR workshops 2017, arXiv:1707.02921): residual blocks without normalisation, pixel-shuffle at the end.

Parameter names are those of the authors' PyTorch code, so its files load with strict=True. BasicSR and OpenMMLab named the same
tensors otherwise: `renamed` gives them these names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models.single import SingleFrame
from vsr.models.spec import ModelSpec, Option, Precision

RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K
RGB_RANGE = 255.0
SCALES = (2, 3, 4)
# Peak growth of the process per input pixel, 64 channels, fp32, inference, on a CPU, output included: the tensors at the last
# pixel-shuffle are nearly all of it, so the number of blocks does not matter.
BYTES_PER_PIXEL: Mapping[int, int] = {2: 2_600, 3: 5_500, 4: 9_500}

# No published weights are at hand. On a photograph, x2: the baseline after 400 steps of training 55 dB in bf16, random weights of
# both sizes 60 dB in bf16 and 77 dB in fp16. Whether the large one stays in fp16's range when trained, the NaN guard watches.
PRECISIONS: frozenset[Precision] = frozenset({"fp32", "bf16", "fp16"})


class MeanShift(nn.Module):
    """Adds `sign` times the mean colour. Buffers have the names and shapes of the authors' 1x1 convolution, whose weight is the
    identity in every file: three additions instead of a convolution, and none of them learned.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, sign: int, rgb_range: float) -> None:
        super().__init__()
        # Written out: torch.eye on the meta device would load torch's compiler, 5 s at every start.
        self.register_buffer("weight", torch.tensor(((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))).reshape(3, 3, 1, 1))
        self.register_buffer("bias", torch.tensor([sign * rgb_range * mean for mean in RGB_MEAN]))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[:, None, None]


class ResidualBlock(nn.Module):
    """Two convolutions; `res_scale` of their result is added to the input (0.1 keeps 256 channels from diverging)."""

    def __init__(self, num_feat: int, *, kernel: int = 3, res_scale: float = 1.0) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.body = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, kernel, padding=kernel // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(num_feat, num_feat, kernel, padding=kernel // 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        if self.res_scale != 1.0:
            out = out.mul_(self.res_scale)
        return out.add_(x)


def upsampler(num_feat: int, scale: int) -> nn.Sequential:
    """(N, C, H, W) -> (N, C, H*scale, W*scale): a 3x3 convolution and a pixel-shuffle; x4 is twice x2."""
    steps: list[nn.Module] = []
    for step in (2, 2) if scale == 4 else (scale,):
        steps += [nn.Conv2d(num_feat, num_feat * step**2, 3, padding=1), nn.PixelShuffle(step)]
    return nn.Sequential(*steps)


def upsampler_macs(num_feat: int, scale: int) -> int:
    """Multiply-adds of `upsampler` per input pixel."""
    return 9 * num_feat**2 * {2: 4, 3: 9, 4: 4 + 4 * 4}[scale]


class EDSR(SingleFrame):
    """(N, 3, H, W) RGB 0..1 -> (N, 3, H*scale, W*scale), not clipped.

    16 blocks of 64 channels are the paper's baseline; 32 of 256 with `res_scale` 0.1 its EDSR. Inside, colours are
    0..`rgb_range` with the mean of DIV2K taken away. Raises ModelError for a scale that is not 2, 3 or 4.
    """

    def __init__(
        self, num_block: int = 16, *, num_feat: int = 64, scale: int = 4, res_scale: float = 1.0, rgb_range: float = RGB_RANGE
    ) -> None:
        super().__init__()
        if scale not in SCALES:
            raise ModelError(f"EDSR of scale {scale}: only 2, 3 and 4 exist; choose one of them and let the engine resize")
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(-1, rgb_range)
        self.add_mean = MeanShift(1, rgb_range)
        self.head = nn.Sequential(nn.Conv2d(3, num_feat, 3, padding=1))
        blocks = (ResidualBlock(num_feat, res_scale=res_scale) for _ in range(num_block))
        self.body = nn.Sequential(*blocks, nn.Conv2d(num_feat, num_feat, 3, padding=1))
        self.tail = nn.Sequential(upsampler(num_feat, scale), nn.Conv2d(num_feat, 3, 3, padding=1))
        self.spec = self._facts(num_block, num_feat, scale)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.sub_mean(x * self.rgb_range))
        x = self.body(x).add_(x)  # (N, C, H, W): the long skip
        image: Tensor = self.add_mean(self.tail(x))
        return image.div_(self.rgb_range)

    def _facts(self, num_block: int, num_feat: int, scale: int) -> ModelSpec:
        # head, two convolutions a block, the body's last and the upsampler's first; those at the larger size, together, one more.
        radius = 2 * num_block + 4
        macs = 9 * (3 * num_feat + (2 * num_block + 1) * num_feat**2 + 3 * num_feat * scale**2) + upsampler_macs(num_feat, scale)
        return ModelSpec(
            name="EDSR",
            architecture="EDSR",
            scale=scale,
            radius_px=radius,
            halo_px=radius,  # also above 40 px: no trained weights are at hand to measure a smaller one with
            precisions=PRECISIONS,
            bytes_per_pixel=BYTES_PER_PIXEL[scale] * num_feat // 64,
            mflop_per_pixel=2e-6 * macs,
            parameters=sum(p.numel() for p in self.parameters()),
        )


# name in BasicSR and OpenMMLab -> the authors' (the block's and the upsampler's numbers are filled in)
_NAMES = (
    (r"conv_first\.(\w+)", r"head.0.\1"),
    (r"body\.(\d+)\.conv1\.(\w+)", r"body.\1.body.0.\2"),
    (r"body\.(\d+)\.conv2\.(\w+)", r"body.\1.body.2.\2"),
    (r"upsample\.(\d+)\.(weight|bias)", r"tail.0.\1.\2"),
    (r"conv_last\.(\w+)", r"tail.1.\1"),
)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' names for BasicSR's and OpenMMLab's; these keep the mean in code, so its tensors are added."""
    if "conv_after_body.weight" not in state:
        return dict(state)
    blocks = len({name.split(".")[1] for name in state if name.startswith("body.")})
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        new = re.sub(r"^conv_after_body\.", f"body.{blocks}.", name)
        # OpenMMLab: upsample.0.upsample_conv, upsample.1.upsample_conv, with no layers for the shuffles between
        new = re.sub(r"^upsample\.(\d+)\.upsample_conv\.", lambda match: f"tail.0.{2 * int(match[1])}.", new)
        for pattern, ours_pattern in _NAMES:
            new = re.sub(f"^{pattern}$", ours_pattern, new)
        ours[new] = tensor
    # OpenMMLab's network computes on 0..1, BasicSR's on 0..255.
    rgb_range = 1.0 if "upsample.0.upsample_conv.weight" in state else RGB_RANGE
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        ours.update({f"{name}.{key}": value for key, value in MeanShift(sign, rgb_range).state_dict().items()})
    return ours


def options_from(state: Mapping[str, Tensor]) -> dict[str, Option] | None:
    """What the network of these weights was built with; None where they are another network's.

    The residual scaling leaves no trace in a file: 0.1 for 256 channels and more, as in the paper, its code and BasicSR.
    """
    if not {"head.0.weight", "tail.1.weight", "tail.0.0.weight", "sub_mean.bias"} <= state.keys() or not only_shifts(state):
        return None
    num_feat = state["head.0.weight"].shape[0]
    scale = 4 if "tail.0.2.weight" in state else {4: 2, 9: 3}.get(state["tail.0.0.weight"].shape[0] // max(1, num_feat), 0)
    return {
        "num_block": len({name.split(".")[1] for name in state if name.startswith("body.")}) - 1,
        "num_feat": num_feat,
        "scale": scale,
        "res_scale": 0.1 if num_feat >= 256 else 1.0,
        "rgb_range": range_from(state),
    }


def range_from(state: Mapping[str, Tensor]) -> float:
    """The range of colours inside: the mean that is subtracted is some 0.45 of it."""
    return RGB_RANGE if bool(state["sub_mean.bias"].abs().max() > 2) else 1.0


def only_shifts(state: Mapping[str, Tensor]) -> bool:
    """Do the two 1x1 convolutions for the mean nothing but add? (Their weight would divide by a standard deviation.)"""
    eye = torch.eye(3).reshape(3, 3, 1, 1)
    weights = [state.get(f"{name}.weight") for name in ("sub_mean", "add_mean")]
    return all(w is not None and w.shape == eye.shape and torch.allclose(w.float(), eye, rtol=0, atol=1e-6) for w in weights)
