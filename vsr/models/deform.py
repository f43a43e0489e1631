"""Alignment of one frame's features to another's by deformable convolutions: the PCD module of EDVR (arXiv:1905.02716).

The modulated deformable convolution (Zhu et al., CVPR 2019, arXiv:1811.11168) is torchvision's, but on a CPU, where sampling with
torch's own vectorised `grid_sample` is 2.7 times as fast. torchvision is imported when it is first used: that takes seconds, and
no other network needs it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.1
TAPS = 9
LEVELS = ("l3", "l2", "l1")  # 1/4, 1/2 and all of the size: the order of execution


def lrelu(x: Tensor) -> Tensor:
    # In place is safe with autograd too: nothing before it here needs its own output for the backward pass.
    return F.leaky_relu(x, LEAK, inplace=True)


def enlarged(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


class DeformableConv(nn.Module):
    """A 3x3 convolution of `x` whose taps lie where, and weigh what, `guide` says: two (N, C, H, W) -> (N, C, H, W).

    For each group of channels and each tap, `conv_offset` gives a shift (dy, dx) in pixels and a weight (through a sigmoid).
    Samples between pixels are bilinear, and zero outside the picture.
    """

    def __init__(self, num_feat: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_feat, num_feat, 3, 3))
        self.bias = nn.Parameter(torch.empty(num_feat))
        self.conv_offset = conv3(num_feat, groups * 27)  # 9 taps x (two coordinates, then the weight)
        if not self.weight.is_meta:
            bound = (num_feat * 9) ** -0.5
            nn.init.uniform_(self.weight, -bound, bound)
            for parameter in (self.bias, *self.conv_offset.parameters()):
                nn.init.zeros_(parameter)  # no shift at first, and half the weight: else training diverges

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        # In float32 at least: not every device has this operation in a half type, and bfloat16 has no position finer than a
        # sixteenth of a pixel from eight pixels on.
        wide = torch.promote_types(x.dtype, torch.float32)
        guide = self.conv_offset(guide).to(wide)
        channels = guide.shape[1] // 3
        offset, mask = guide[:, : 2 * channels], guide[:, 2 * channels :].sigmoid()
        convolve = by_sampling if x.device.type == "cpu" else by_torchvision
        return convolve(x.to(wide), offset, mask, self.weight.to(wide), self.bias.to(wide)).to(x.dtype)


def by_torchvision(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The modulated deformable 3x3 convolution of x (N, C, H, W), with groups * 9 taps that have a shift (dy, dx) each, offset
    (N, groups * 18, H, W), and a weight, mask (N, groups * 9, H, W) -> (N, C', H, W).
    """
    from torchvision.ops import deform_conv2d

    out: Tensor = deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)
    return out


def by_sampling(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As `by_torchvision`, to rounding: every tap of a group is one picture of its channels, sampled where it looks."""
    n, c, h, w = x.shape
    groups = mask.shape[1] // TAPS
    shift = offset.reshape(n, groups, TAPS, 2, h, w)
    tap = torch.arange(TAPS, device=x.device, dtype=x.dtype).view(TAPS, 1, 1)
    y = shift[:, :, :, 0] + (tap.div(3, rounding_mode="floor") - 1 + torch.arange(h, device=x.device).view(h, 1))
    right = shift[:, :, :, 1] + (tap.remainder(3) - 1 + torch.arange(w, device=x.device))
    # to -1..1 from the outer edge of the first pixel to that of the last, as align_corners=False has it
    places = torch.stack(((2 * right + 1) / w - 1, (2 * y + 1) / h - 1), dim=-1).view(n * groups, TAPS * h, w, 2)
    samples = F.grid_sample(x.reshape(n * groups, c // groups, h, w), places, padding_mode="zeros", align_corners=False)
    columns = samples.view(n, groups, c // groups, TAPS, h * w) * mask.reshape(n, groups, 1, TAPS, h * w)
    out = torch.baddbmm(bias.view(1, -1, 1), weight.flatten(1).expand(n, -1, -1), columns.view(n, c * TAPS, h * w))
    return out.view(n, -1, h, w)


class PCDAlignment(nn.Module):
    """Pyramid, cascading and deformable: from a quarter of the size to all of it, then once more."""

    def __init__(self, num_feat: int, groups: int) -> None:
        super().__init__()
        finer = LEVELS[1:]
        self.offset_conv1 = nn.ModuleDict({level: conv3(2 * num_feat, num_feat) for level in LEVELS})
        self.offset_conv2 = nn.ModuleDict(
            {"l3": conv3(num_feat, num_feat)} | {level: conv3(2 * num_feat, num_feat) for level in finer}
        )
        self.offset_conv3 = nn.ModuleDict({level: conv3(num_feat, num_feat) for level in finer})
        self.dcn_pack = nn.ModuleDict({level: DeformableConv(num_feat, groups) for level in LEVELS})
        self.feat_conv = nn.ModuleDict({level: conv3(2 * num_feat, num_feat) for level in finer})
        self.cas_offset_conv1 = conv3(2 * num_feat, num_feat)
        self.cas_offset_conv2 = conv3(num_feat, num_feat)
        self.cas_dcnpack = DeformableConv(num_feat, groups)

    def forward(self, neighbour: tuple[Tensor, ...], centre: tuple[Tensor, ...]) -> Tensor:
        """Both: l1 (N, C, H, W), l2 and l3 at 1/2 and 1/4 -> the neighbour's features where the centre's are, (N, C, H, W)."""
        guide, feat = self._coarsest(neighbour[2], centre[2])
        for level, moving, still in (("l2", neighbour[1], centre[1]), ("l1", neighbour[0], centre[0])):
            coarser = enlarged(guide).mul_(2)  # twice the size: twice as far
            guide = lrelu(self.offset_conv1[level](torch.cat((moving, still), dim=1)))
            guide = lrelu(self.offset_conv2[level](torch.cat((guide, coarser), dim=1)))
            guide = lrelu(self.offset_conv3[level](guide))
            shifted = self.dcn_pack[level](moving, guide)
            feat = self.feat_conv[level](torch.cat((shifted, enlarged(feat)), dim=1))
            if level == "l2":
                feat = lrelu(feat)
        guide = lrelu(self.cas_offset_conv1(torch.cat((feat, centre[0]), dim=1)))
        return lrelu(self.cas_dcnpack(feat, lrelu(self.cas_offset_conv2(guide))))

    def _coarsest(self, moving: Tensor, still: Tensor) -> tuple[Tensor, Tensor]:
        guide = lrelu(self.offset_conv1["l3"](torch.cat((moving, still), dim=1)))
        guide = lrelu(self.offset_conv2["l3"](guide))
        return guide, lrelu(self.dcn_pack["l3"](moving, guide))
