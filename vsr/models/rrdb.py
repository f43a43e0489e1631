"""RRDBNet, the generator of ESRGAN (Wang et al., ECCV workshops 2018, arXiv:1809.00219) and Real-ESRGAN (arXiv:2107.10833).

Parameter names are those of the reference implementation, so its checkpoints load with strict=True. ESRGAN's first release and
BSRGAN named the same tensors otherwise: `renamed` gives them these names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models.single import SingleFrame
from vsr.models.spec import ModelSpec, Option

# The receptive field is too large to tile with. Largest (mean) difference from the untiled picture in 8-bit levels, on 192x192 of
# two photographs in tiles of 64, Real-ESRGAN's weights:
#   halo              16           24           32           48            64
#   23 blocks   38-75 (1.7)  27-58 (1.1)  16-39 (0.70)  9-15 (0.23)   1-3 (0.018)
#   6 blocks    48-85 (0.64) 26-71 (0.34) 10-37 (0.11)  2-2 (0.006)   1-1 (0.00005)
HALO = 64
HALO_LEVELS = 3
# Peak growth of the process per input pixel of the x4 net: fp32, inference, NCHW on a CPU, output included. The three 64-channel
# tensors at 4x (4096 bytes each: read, written, and the convolution library's own copy) are nearly all of it, so the number of
# blocks does not matter. channels_last needs no such copy (10.4 kB); the larger figure counts.
BYTES_PER_PIXEL = 14_600
RESIDUAL_SCALE = 0.2
LEAK = 0.2


def _lrelu(x: Tensor) -> Tensor:
    # In place is safe with autograd too: the convolution before it does not need its own output for the backward pass.
    return F.leaky_relu(x, LEAK, inplace=True)


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each of which sees the outputs of all before it."""

    def __init__(self, num_feat: int, num_grow: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_feat, num_grow, 3, padding=1)
        self.conv2 = nn.Conv2d(num_feat + num_grow, num_grow, 3, padding=1)
        self.conv3 = nn.Conv2d(num_feat + 2 * num_grow, num_grow, 3, padding=1)
        self.conv4 = nn.Conv2d(num_feat + 3 * num_grow, num_grow, 3, padding=1)
        self.conv5 = nn.Conv2d(num_feat + 4 * num_grow, num_feat, 3, padding=1)
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            if conv.weight.is_meta:  # they will be assigned; drawing them would load torch's compiler: 4 s at every start
                continue
            # "Smaller initialisation" of the paper (section 3.1): a tenth of He's, or deep residual stacks diverge.
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias if conv.bias is not None else conv.weight)
            with torch.no_grad():
                conv.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        # One growing tensor (C, C+g, .., C+4g channels). Writing into slices of one buffer instead was measured on a CPU:
        # 0-6 % faster in fp32, nothing in bf16 or channels_last, and it needs a second path for autograd.
        dense = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            dense = torch.cat((dense, _lrelu(conv(dense))), dim=1)
        out: Tensor = self.conv5(dense)
        return out.mul_(RESIDUAL_SCALE).add_(x)


class RRDB(nn.Module):
    """Residual in residual dense block."""

    def __init__(self, num_feat: int, num_grow: int) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_feat, num_grow)
        self.rdb2 = ResidualDenseBlock(num_feat, num_grow)
        self.rdb3 = ResidualDenseBlock(num_feat, num_grow)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return out.mul_(RESIDUAL_SCALE).add_(x)


class RRDBNet(SingleFrame):
    """ESRGAN's generator: (N, 3, H, W) RGB 0..1 -> (N, 3, H*scale, W*scale), not clipped.

    `num_block` RRDBs (23 in ESRGAN, 6 in Real-ESRGAN's anime model). The net itself always enlarges by 4; `scale` 2 and 1
    first fold the input into 4 or 16 times the channels (pixel-unshuffle), so H and W must be multiples of 4 / scale.
    Raises ModelError for another scale.
    """

    def __init__(self, num_block: int = 23, *, num_feat: int = 64, num_grow: int = 32, scale: int = 4) -> None:
        super().__init__()
        if scale not in (1, 2, 4):
            raise ModelError(f"RRDBNet of scale {scale}: only 1, 2 and 4 exist; choose one of them and let the engine resize")
        self.unshuffle = 4 // scale
        self.conv_first = nn.Conv2d(3 * self.unshuffle**2, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(num_feat, num_grow) for _ in range(num_block)))
        self.conv_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_up1 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_up2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, 3, 3, padding=1)
        self.spec = self._facts(num_block, num_feat, num_grow, scale)

    def forward(self, x: Tensor) -> Tensor:
        if self.unshuffle > 1:
            x = F.pixel_unshuffle(x, self.unshuffle)
        x = self.conv_first(x)
        x = self.conv_body(self.body(x)).add_(x)  # (N, C, h, w): the long skip
        # One name throughout, so that each 64-channel tensor at 4x is freed as soon as it is read: this tail is the peak.
        x = _lrelu(self.conv_up1(F.interpolate(x, scale_factor=2.0, mode="nearest")))  # (N, C, 2h, 2w)
        x = _lrelu(self.conv_up2(F.interpolate(x, scale_factor=2.0, mode="nearest")))  # (N, C, 4h, 4w)
        x = _lrelu(self.conv_hr(x))
        image: Tensor = self.conv_last(x)
        return image

    def _facts(self, num_block: int, num_feat: int, num_grow: int, scale: int) -> ModelSpec:
        cell = self.unshuffle  # input pixels on each side of one pixel of the folded image
        # 15 3x3 convolutions a block, conv_first and conv_body; the four at 2x and 4x together reach two pixels further.
        radius = cell * (15 * num_block + 4)
        dense = sum((num_feat + i * num_grow) * num_grow for i in range(4)) + (num_feat + 4 * num_grow) * num_feat
        ends = 3 * cell**2 * num_feat + num_feat**2 * (1 + 4 + 16 + 16) + 16 * num_feat * 3
        return ModelSpec(
            name="RRDBNet",
            architecture="RRDBNet",
            scale=scale,
            multiple_of=cell,
            min_size=cell,
            radius_px=radius,
            halo_px=radius if radius <= 40 else HALO * cell,
            halo_levels=0 if radius <= 40 else HALO_LEVELS,
            precisions=frozenset({"fp32", "bf16", "fp16"}),  # bf16 in the form of vsr.engine.rrdb_forms
            bytes_per_pixel=BYTES_PER_PIXEL * num_feat // (64 * cell**2),
            mflop_per_pixel=18e-6 * (3 * num_block * dense + ends) / cell**2,
            parameters=sum(p.numel() for p in self.parameters()),
        )


# name in ESRGAN's release of 2018, or in BSRGAN and RealSR -> the reference implementation's. Two enlargements, as x4 has: files
# of x2 and x8 without pixel-unshuffle have one or three, and other numbers for the layers behind; they stay as they are.
_NAMES = (
    (r"model\.0\.(\w+)", r"conv_first.\1"),
    (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(\w+)", r"body.\1.rdb\2.conv\3.\4"),
    (r"model\.1\.sub\.\d+\.(weight|bias)", r"conv_body.\1"),
    (r"model\.3\.(\w+)", r"conv_up1.\1"),
    (r"model\.6\.(\w+)", r"conv_up2.\1"),
    (r"model\.8\.(\w+)", r"conv_hr.\1"),
    (r"model\.10\.(\w+)", r"conv_last.\1"),
    (r"RRDB_trunk\.(\d+)\.RDB(\d)\.conv(\d)\.(\w+)", r"body.\1.rdb\2.conv\3.\4"),
    (r"trunk_conv\.(\w+)", r"conv_body.\1"),
    (r"upconv([12])\.(\w+)", r"conv_up\1.\2"),
    (r"HRconv\.(\w+)", r"conv_hr.\1"),
)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reference implementation's names for those of older layouts."""
    if not {"model.1.sub.0.RDB1.conv1.0.weight", "RRDB_trunk.0.RDB1.conv1.weight"} & state.keys():
        return dict(state)
    return {_renamed(name): tensor for name, tensor in state.items()}


def _renamed(name: str) -> str:
    for pattern, ours in _NAMES:
        if match := re.fullmatch(pattern, name):
            return match.expand(ours)
    return name


def options_from(state: Mapping[str, Tensor]) -> dict[str, Option] | None:
    """What the network of these weights was built with; None where they are another network's."""
    if not {"conv_first.weight", "body.0.rdb1.conv1.weight", "conv_up2.weight"} <= state.keys():
        return None
    channels = state["conv_first.weight"].shape[1]
    if channels not in (3, 12, 48):
        return None
    return {
        "num_block": len({name.split(".")[1] for name in state if name.startswith("body.")}),
        "num_feat": state["conv_first.weight"].shape[0],
        "num_grow": state["body.0.rdb1.conv1.weight"].shape[0],
        "scale": {3: 4, 12: 2, 48: 1}[channels],
    }
