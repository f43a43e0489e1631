"""SRResNet, the generator of SRGAN (Ledig et al., CVPR 2017, arXiv:1609.04802).

Parameter names are those of Lornatang's SRGAN-PyTorch (conv_block1, trunk.N.rcb, ...), so its checkpoints load with strict=True
into the network as it is built by default. The options are what other implementations do otherwise.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vsr.errors import ModelError
from vsr.models.single import SingleFrame
from vsr.models.spec import ModelSpec, Option

if TYPE_CHECKING:
    from typing import Self

# Peak growth of the process per input pixel of the x4 net: fp32, inference, NCHW on a CPU, batch norm folded. The last stage is
# nearly all of it: 64 channels at 4x before and after their activation, and what the 9x9 convolution copies of them.
BYTES_PER_PIXEL = 10_300
EDGE = 9  # kernel of the first and of the last convolution


def options_from(state: Mapping[str, Tensor]) -> dict[str, Option] | None:
    """What the network of these weights was built with; None where they are another network's.

    What leaves no trace in a file is taken as in SRGAN-PyTorch: no tanh, and an epsilon of 1e-5.
    """
    first, slope = state.get("conv_block1.0.weight"), state.get("conv_block1.1.weight")
    if first is None or slope is None or first.ndim != 4 or slope.ndim != 1 or "conv_block3.weight" not in state:
        return None
    stages = len({name.split(".")[1] for name in state if name.startswith("upsampling.")})
    return {
        "num_block": len({name.split(".")[1] for name in state if name.startswith("trunk.")}),
        "num_feat": first.shape[0],
        "scale": 2**stages,
        "conv_bias": "trunk.0.rcb.0.bias" in state,
        "channel_slopes": slope.shape[0] > 1,
    }


class ResidualConvBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, an activation between them, and the input added."""

    def __init__(self, num_feat: int, slopes: int, bias: bool, eps: float) -> None:
        super().__init__()
        self.rcb = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=bias),
            nn.BatchNorm2d(num_feat, eps),
            nn.PReLU(slopes),
            nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=bias),
            nn.BatchNorm2d(num_feat, eps),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.rcb(x)
        return out + x


class UpsampleBlock(nn.Module):
    """Twice the width and height."""

    def __init__(self, num_feat: int, slopes: int) -> None:
        super().__init__()
        self.upsample_block = nn.Sequential(nn.Conv2d(num_feat, 4 * num_feat, 3, padding=1), nn.PixelShuffle(2), nn.PReLU(slopes))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.upsample_block(x)
        return out


class SRResNet(SingleFrame):
    """(N, 3, H, W) RGB 0..1 -> (N, 3, H*scale, W*scale) for a `scale` of 2, 4 or 8, not clipped unless `tanh`.

    num_block       residual blocks (16 in the paper)
    tanh            the output is (tanh + 1) / 2, as in networks that were trained for -1..1
    conv_bias       convolutions before a batch norm have a bias of their own
    channel_slopes  every channel has its own slope of PReLU, else one for all
    bn_eps          what batch norm adds to the variance (1e-3 in Keras)

    Raises ModelError for another scale.
    """

    def __init__(
        self,
        num_block: int = 16,
        *,
        num_feat: int = 64,
        scale: int = 4,
        tanh: bool = False,
        conv_bias: bool = False,
        channel_slopes: bool = False,
        bn_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise ModelError(f"SRResNet of scale {scale}: only 2, 4 and 8 exist; choose one of them and let the engine resize")
        slopes = num_feat if channel_slopes else 1
        self.tanh = tanh
        self.conv_block1 = nn.Sequential(nn.Conv2d(3, num_feat, EDGE, padding=EDGE // 2), nn.PReLU(slopes))
        self.trunk = nn.Sequential(*(ResidualConvBlock(num_feat, slopes, conv_bias, bn_eps) for _ in range(num_block)))
        self.conv_block2 = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=conv_bias), nn.BatchNorm2d(num_feat, bn_eps)
        )
        self.upsampling = nn.Sequential(*(UpsampleBlock(num_feat, slopes) for _ in range(int(math.log2(scale)))))
        self.conv_block3 = nn.Conv2d(num_feat, 3, EDGE, padding=EDGE // 2)
        for conv in (module for module in self.modules() if isinstance(module, nn.Conv2d)):
            if conv.weight.is_meta:  # they will be assigned; drawing them would load torch's compiler: 4 s at every start
                continue
            nn.init.kaiming_normal_(conv.weight)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
        self.spec = self._facts(num_block, num_feat, scale)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_block1(x)  # (N, C, H, W)
        x = self.conv_block2(self.trunk(x)) + x
        image: Tensor = self.conv_block3(self.upsampling(x))
        return (image.tanh() + 1) * 0.5 if self.tanh else image

    def fused(self) -> Self:
        """A copy for inference, its batch norms folded into the convolutions before them: the same picture for less work."""
        net = copy.deepcopy(self).eval()
        for chain in (net.conv_block2, *(block.rcb for block in net.trunk if isinstance(block, ResidualConvBlock))):
            for at, (conv, norm) in enumerate(itertools.pairwise(chain)):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    chain[at] = fuse_conv_bn_eval(conv, norm)
                    chain[at + 1] = nn.Identity()
        return net

    def _facts(self, num_block: int, num_feat: int, scale: int) -> ModelSpec:
        stages = len(self.upsampling)
        reach = EDGE // 2
        for _ in range(stages):
            reach = -(-reach // 2) + 1  # half as many pixels of half the size, and its own 3x3 convolution
        radius = EDGE // 2 + 2 * num_block + 1 + reach
        edges = 3 * num_feat * EDGE**2
        convs = 9 * num_feat**2 * (2 * num_block + 1 + 4 * sum(4**stage for stage in range(stages)))
        return ModelSpec(
            name="SRResNet",
            architecture="SRResNet",
            scale=scale,
            radius_px=radius,
            halo_px=radius,
            precisions=frozenset({"fp32", "bf16", "fp16"}),  # bf16: 56 to 60 dB, but srgan's weights only 49
            bytes_per_pixel=BYTES_PER_PIXEL * num_feat * scale**2 // (64 * 16),
            mflop_per_pixel=2e-6 * (edges * (1 + scale**2) + convs),
            parameters=sum(p.numel() for p in self.parameters()),
        )
