"""Fusion of aligned frames by temporal and spatial attention: the TSA module of EDVR (arXiv:1905.02716, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.models.deform import conv3, enlarged, lrelu


def _pooled(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 2C, H/2, W/2): maxima beside means."""
    return torch.cat((F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2, 1)), dim=1)


class TSAFusion(nn.Module):
    """(N, T, C, H, W) aligned features -> (N, C, H, W); H and W are multiples of 4."""

    def __init__(self, num_feat: int, num_frame: int, center: int) -> None:
        super().__init__()
        self.center = center
        self.temporal_attn1 = conv3(num_feat, num_feat)
        self.temporal_attn2 = conv3(num_feat, num_feat)
        self.feat_fusion = nn.Conv2d(num_frame * num_feat, num_feat, 1)
        self.spatial_attn1 = nn.Conv2d(num_frame * num_feat, num_feat, 1)
        self.spatial_attn2 = nn.Conv2d(2 * num_feat, num_feat, 1)
        self.spatial_attn3 = conv3(num_feat, num_feat)
        self.spatial_attn4 = nn.Conv2d(num_feat, num_feat, 1)
        self.spatial_attn5 = conv3(num_feat, num_feat)
        self.spatial_attn_l1 = nn.Conv2d(num_feat, num_feat, 1)
        self.spatial_attn_l2 = conv3(2 * num_feat, num_feat)
        self.spatial_attn_l3 = conv3(num_feat, num_feat)
        self.spatial_attn_add1 = nn.Conv2d(num_feat, num_feat, 1)
        self.spatial_attn_add2 = nn.Conv2d(num_feat, num_feat, 1)

    def forward(self, aligned: Tensor) -> Tensor:
        weighted = self._weighted(aligned)
        feat = lrelu(self.feat_fusion(weighted))
        attention = self._spatial(weighted)
        shift = self.spatial_attn_add2(lrelu(self.spatial_attn_add1(attention)))
        out: Tensor = feat * attention.sigmoid() * 2 + shift  # twice a sigmoid: about 1 at first
        return out

    def _weighted(self, aligned: Tensor) -> Tensor:
        """Each frame's features times how much they are like the centre's at that pixel -> (N, T*C, H, W)."""
        n, t = aligned.shape[:2]
        centre = self.temporal_attn1(aligned[:, self.center])  # (N, C, H, W)
        frames = self.temporal_attn2(aligned.flatten(0, 1)).view(n, t, *aligned.shape[2:])
        likeness = (frames * centre[:, None]).sum(dim=2, keepdim=True).sigmoid()  # (N, T, 1, H, W)
        weighted: Tensor = aligned * likeness
        return weighted.flatten(1, 2)

    def _spatial(self, weighted: Tensor) -> Tensor:
        half = lrelu(self.spatial_attn1(weighted))
        half = lrelu(self.spatial_attn2(_pooled(half)))
        quarter = _pooled(lrelu(self.spatial_attn_l1(half)))
        quarter = lrelu(self.spatial_attn_l3(lrelu(self.spatial_attn_l2(quarter))))
        half = lrelu(self.spatial_attn3(half)) + enlarged(quarter)
        out: Tensor = self.spatial_attn5(enlarged(lrelu(self.spatial_attn4(half))))
        return out
