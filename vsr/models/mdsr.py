"""MDSR (Lim et al., CVPR workshops 2017, arXiv:1707.02921): one network for x2, x3 and x4 that shares its body between them.

Parameter names are those of the authors' PyTorch code, so its files load with strict=True.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models.edsr import (
    BYTES_PER_PIXEL,
    PRECISIONS,
    RGB_RANGE,
    SCALES,
    MeanShift,
    ResidualBlock,
    only_shifts,
    range_from,
    upsampler,
    upsampler_macs,
)
from vsr.models.single import SingleFrame
from vsr.models.spec import ModelSpec, Option

if TYPE_CHECKING:
    from typing import Self


class MDSR(SingleFrame):
    """(N, 3, H, W) RGB 0..1 -> (N, 3, H*scale, W*scale), not clipped.

    16 blocks are the paper's baseline, 80 its MDSR, both with 64 channels. The weights of all three scales are there; `scale` is
    the one that `forward` takes unless it is told another. Raises ModelError for a scale that is not 2, 3 or 4.
    """

    def __init__(self, num_block: int = 16, *, num_feat: int = 64, scale: int = 4, rgb_range: float = RGB_RANGE) -> None:
        super().__init__()
        _check(scale)
        self.scale, self.num_feat = scale, num_feat
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(-1, rgb_range)
        self.add_mean = MeanShift(1, rgb_range)
        self.head = nn.Sequential(nn.Conv2d(3, num_feat, 3, padding=1))
        # One after the other x2, x3, x4. 5x5: large kernels early keep the branches shallow (section 3.3 of the paper).
        self.pre_process = nn.ModuleList(
            nn.Sequential(ResidualBlock(num_feat, kernel=5), ResidualBlock(num_feat, kernel=5)) for _ in SCALES
        )
        blocks = (ResidualBlock(num_feat) for _ in range(num_block))
        self.body = nn.Sequential(*blocks, nn.Conv2d(num_feat, num_feat, 3, padding=1))
        self.upsample = nn.ModuleList(upsampler(num_feat, each) for each in SCALES)
        self.tail = nn.Sequential(nn.Conv2d(num_feat, 3, 3, padding=1))
        self.spec = self._facts(num_block, num_feat)

    def forward(self, x: Tensor, scale: int | None = None) -> Tensor:
        """`scale` for this call alone: training draws one for every batch. Raises ModelError for one that does not exist."""
        branch = SCALES.index(self.scale if scale is None else _check(scale))
        x = self.pre_process[branch](self.head(self.sub_mean(x * self.rgb_range)))
        x = self.body(x).add_(x)  # (N, C, H, W): the long skip
        image: Tensor = self.add_mean(self.tail(self.upsample[branch](x)))
        return image.div_(self.rgb_range)

    def at(self, scale: int) -> Self:
        """A copy whose own scale is another. Raises ModelError for one that does not exist."""
        net = copy.deepcopy(self)
        net.scale = _check(scale)
        net.spec = net._facts(len(self.body) - 1, self.num_feat)
        return net

    def _facts(self, num_block: int, num_feat: int) -> ModelSpec:
        # As EDSR, and four 5x5 convolutions more.
        radius = 2 * num_block + 4 + 4 * 2
        pre = 4 * 25 * num_feat**2
        ends = 3 * num_feat * (1 + self.scale**2)
        macs = 9 * (ends + (2 * num_block + 1) * num_feat**2) + pre + upsampler_macs(num_feat, self.scale)
        # 80 blocks round their sum 80 times: 50 dB in bf16 with random weights, 43 to 51 dB in the first steps of training.
        return ModelSpec(
            name="MDSR",
            architecture="MDSR",
            scale=self.scale,
            radius_px=radius,
            halo_px=radius,  # also above 40 px: no trained weights are at hand to measure a smaller one with
            precisions=PRECISIONS if num_block <= 16 else PRECISIONS - {"bf16"},
            bytes_per_pixel=BYTES_PER_PIXEL[self.scale] * num_feat // 64,
            mflop_per_pixel=2e-6 * macs,
            parameters=sum(p.numel() for p in self.parameters()),
        )


def _check(scale: int) -> int:
    if scale not in SCALES:
        raise ModelError(f"MDSR of scale {scale}: only 2, 3 and 4 exist; choose one of them and let the engine resize")
    return scale


def options_from(state: Mapping[str, Tensor]) -> dict[str, Option] | None:
    """What the network of these weights was built with, but for the scale, which is a wish; None for another network's."""
    if not {"head.0.weight", "tail.0.weight", "pre_process.2.0.body.0.weight", "sub_mean.bias"} <= state.keys():
        return None
    if not only_shifts(state):
        return None
    return {
        "num_block": len({name.split(".")[1] for name in state if name.startswith("body.")}) - 1,
        "num_feat": state["head.0.weight"].shape[0],
        "rgb_range": range_from(state),
    }
