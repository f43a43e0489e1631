"""EDVR, video restoration with enhanced deformable convolutions (Wang et al., CVPR workshops 2019, arXiv:1905.02716).

Parameter names are those of BasicSR, so its checkpoints load with strict=True (vsr.models.edvr_names knows the other layouts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models import edvr_facts
from vsr.models.deform import PCDAlignment, conv3, enlarged, lrelu
from vsr.models.single import Network
from vsr.models.tsa import TSAFusion

if TYPE_CHECKING:
    from vsr.models.spec import ModelSpec

TAIL = 64  # channels of the last layers, however wide the network is


class ResidualBlock(nn.Module):
    """Two convolutions without normalisation."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv1 = conv3(num_feat, num_feat)
        self.conv2 = conv3(num_feat, num_feat)
        for conv in (self.conv1, self.conv2):
            if conv.weight.is_meta:  # they will be assigned; drawing them would load torch's compiler: 4 s at every start
                continue
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias if conv.bias is not None else conv.weight)
            with torch.no_grad():
                conv.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(F.relu(self.conv1(x), inplace=True))
        return out


class Predeblur(nn.Module):
    """Three levels of residual blocks before alignment, for blurred films: (N, 3, H, W) -> (N, C, H, W), hr_in: a quarter."""

    def __init__(self, num_feat: int, hr_in: bool) -> None:
        super().__init__()
        self.hr_in = hr_in
        self.conv_first = conv3(3, num_feat)
        if hr_in:
            self.stride_conv_hr1 = conv3(num_feat, num_feat, 2)
            self.stride_conv_hr2 = conv3(num_feat, num_feat, 2)
        self.stride_conv_l2 = conv3(num_feat, num_feat, 2)
        self.stride_conv_l3 = conv3(num_feat, num_feat, 2)
        self.resblock_l3 = ResidualBlock(num_feat)
        self.resblock_l2_1 = ResidualBlock(num_feat)
        self.resblock_l2_2 = ResidualBlock(num_feat)
        self.resblock_l1 = nn.ModuleList(ResidualBlock(num_feat) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        l1 = lrelu(self.conv_first(x))
        if self.hr_in:
            l1 = lrelu(self.stride_conv_hr2(lrelu(self.stride_conv_hr1(l1))))
        l2 = lrelu(self.stride_conv_l2(l1))
        l3 = lrelu(self.stride_conv_l3(l2))
        l2 = self.resblock_l2_1(l2) + enlarged(self.resblock_l3(l3))
        l2 = self.resblock_l2_2(l2)
        for number, block in enumerate(self.resblock_l1):
            l1 = block(l1)
            if number == 1:
                l1 = l1 + enlarged(l2)
        return l1


class EDVR(Network):
    """(N, T, 3, H, W) RGB 0..1 -> the centre frame as (N, 3, 4H, 4W), not clipped; with `hr_in` as (N, 3, H, W).

    EDVR-M: 64 features, 10 reconstruction blocks. EDVR-L: 128 and 40. H and W are multiples of 4 (`hr_in`: 16, as the network
    shrinks its input by 4 first). `center_frame_idx` None is the middle. Raises ModelError for options that fit no network.
    """

    def __init__(
        self,
        *,
        num_feat: int = 64,
        num_frame: int = 5,
        deformable_groups: int = 8,
        num_extract_block: int = 5,
        num_reconstruct_block: int = 10,
        center_frame_idx: int | None = None,
        hr_in: bool = False,
        with_predeblur: bool = False,
        with_tsa: bool = True,
    ) -> None:
        super().__init__()
        self.center = num_frame // 2 if center_frame_idx is None else center_frame_idx
        self.num_frame, self.num_feat, self.hr_in = num_frame, num_feat, hr_in
        _check(num_feat, num_frame, deformable_groups, self.center, hr_in=hr_in, with_predeblur=with_predeblur)
        self.predeblur = Predeblur(num_feat, hr_in) if with_predeblur else None
        if with_predeblur:
            self.conv_1x1 = nn.Conv2d(num_feat, num_feat, 1)
        else:
            self.conv_first = conv3(3, num_feat)
        self.feature_extraction = nn.Sequential(*(ResidualBlock(num_feat) for _ in range(num_extract_block)))
        self.conv_l2_1 = conv3(num_feat, num_feat, 2)
        self.conv_l2_2 = conv3(num_feat, num_feat)
        self.conv_l3_1 = conv3(num_feat, num_feat, 2)
        self.conv_l3_2 = conv3(num_feat, num_feat)
        self.pcd_align = PCDAlignment(num_feat, deformable_groups)
        self.fusion = TSAFusion(num_feat, num_frame, self.center) if with_tsa else nn.Conv2d(num_frame * num_feat, num_feat, 1)
        self.reconstruction = nn.Sequential(*(ResidualBlock(num_feat) for _ in range(num_reconstruct_block)))
        self.upconv1 = conv3(num_feat, 4 * num_feat)
        self.upconv2 = conv3(num_feat, 4 * TAIL)
        self.conv_hr = conv3(TAIL, TAIL)
        self.conv_last = conv3(TAIL, 3)
        shape = edvr_facts.Shape(
            num_feat, num_frame, deformable_groups, num_extract_block, num_reconstruct_block, hr_in, with_predeblur, with_tsa
        )
        self.spec: ModelSpec = edvr_facts.spec(shape, self.center, sum(p.numel() for p in self.parameters()))

    def forward(self, frames: Tensor) -> Tensor:
        """All at once, for training: the `num_frame` frames that the network looks at."""
        n, t = frames.shape[:2]
        features = self.features(frames.flatten(0, 1))
        return self._reconstruct(features.view(n, t, *features.shape[1:]))

    def features(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C + C/4 + C/16 + 3, H, W): three pyramid levels and the frame, as one picture.

        The smaller levels are laid out at full size by pixel-shuffle, which loses nothing. With `hr_in` everything is at
        (H/4, W/4), and the frame takes 48 channels.
        """
        l1 = self.conv_1x1(self.predeblur(frames)) if self.predeblur is not None else lrelu(self.conv_first(frames))
        l1 = self.feature_extraction(l1)
        l2 = lrelu(self.conv_l2_2(lrelu(self.conv_l2_1(l1))))
        l3 = lrelu(self.conv_l3_2(lrelu(self.conv_l3_1(l2))))
        picture = F.pixel_unshuffle(frames, 4) if self.hr_in else frames
        return torch.cat((l1, F.pixel_shuffle(l2, 2), F.pixel_shuffle(l3, 4), picture), dim=1)

    def reconstruct(self, window: Tensor) -> Tensor:
        """(N, 2*context + 1, C', H', W') -> (N, 3, H*scale, W*scale)."""
        lead = self.spec.context - self.center  # only an off-centre network is not interested in all frames
        return self._reconstruct(window[:, lead : lead + self.num_frame])

    def unpacked(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, C', H', W') -> l1, l2, l3 and the frame: what `features` laid out as one picture."""
        c = self.num_feat
        l1, l2, l3, picture = torch.split(features, [c, c // 4, c // 16, 48 if self.hr_in else 3], dim=1)
        return l1, F.pixel_unshuffle(l2, 2), F.pixel_unshuffle(l3, 4), F.pixel_shuffle(picture, 4) if self.hr_in else picture

    def _reconstruct(self, window: Tensor) -> Tensor:
        *centre, frame = self.unpacked(window[:, self.center])
        # One neighbour at a time: together, the columns of the deformable convolutions would take T times 2.3 kB a pixel.
        aligned = torch.stack(
            [self.pcd_align(self.unpacked(window[:, i])[:3], tuple(centre)) for i in range(self.num_frame)], dim=1
        )  # (N, T, C, H', W')
        x = self.fusion(aligned if isinstance(self.fusion, TSAFusion) else aligned.flatten(1, 2))
        del aligned
        x = self.reconstruction(x)
        # One name throughout, so that each tensor is freed as soon as it is read: this tail is the peak.
        x = lrelu(F.pixel_shuffle(self.upconv1(x), 2))  # (N, C, 2h, 2w)
        x = lrelu(F.pixel_shuffle(self.upconv2(x), 2))  # (N, 64, 4h, 4w)
        x = lrelu(self.conv_hr(x))
        image: Tensor = self.conv_last(x)
        base = frame if self.hr_in else F.interpolate(frame, scale_factor=4.0, mode="bilinear", align_corners=False)
        return image.add_(base)


def _check(num_feat: int, num_frame: int, groups: int, center: int, *, hr_in: bool, with_predeblur: bool) -> None:
    if num_feat % 16 or groups < 1 or num_feat % groups:
        raise ModelError(f"EDVR of {num_feat} features in {groups} groups: features must be a multiple of 16 and of the groups")
    if not 0 <= center < num_frame:
        raise ModelError(f"EDVR of {num_frame} frames around frame {center}: the centre must be one of them")
    if hr_in and not with_predeblur:
        raise ModelError("EDVR with hr_in but without with_predeblur: no such network exists; give both or neither")
