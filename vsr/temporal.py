"""How films move against the truth: what PSNR frame by frame does not see. On tensors (layout as in `vsr.metrics`).

The motion is found here, by matching blocks from coarse to fine, on the truth alone: every model is judged by the same motion,
and the figure depends on no other program's version. It is no rival to a learned flow. Where it does not explain the truth
itself (what was hidden and comes to light, mostly), nothing is judged.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.metrics import Protocol, luma, psnr

LEVELS = 3  # halvings: the coarsest search reaches 4 pixels there, which are 32 here
_COARSE, _FINE = 4, 2  # pixels searched in each direction
_BLOCK = 7
_ZEAL = 0.02  # levels a pixel of distance: of equal matches the nearer
_EXPLAINED = 10.0  # levels of luma that the truth may differ from itself along the motion


def difference_psnr(made: Tensor, made_before: Tensor, true: Tensor, true_before: Tensor, protocol: Protocol) -> Tensor:
    """PSNR in dB of what changes from one frame to the next, against what changes in the truth: (N,)."""
    middle = 127.5  # differences as pictures; the offset falls out of the error
    changes = (made.double() - made_before.double()) + middle
    return psnr(changes, (true.double() - true_before.double()) + middle, Protocol(protocol.channel, protocol.border))


def warped_error(made: Tensor, made_before: Tensor, flow: Tensor, judged: Tensor, border: int) -> Tensor:
    """Flicker: the root mean square, in levels of luma, of frames against those before them moved along `flow`: (N,).

    flow, judged  from `motion` and `explained` on the truth; pixels within `border` of the edge do not count
    As Lai et al. 2018 measure it. The truth has a figure of its own (noise, motion that was not found): compare with that.
    """
    error = (luma(made) - moved(luma(made_before), flow)).square() * judged
    inner = (..., slice(border, error.shape[-2] - border), slice(border, error.shape[-1] - border))
    return (error[inner].sum((1, 2, 3)) / judged[inner].sum((1, 2, 3)).clamp(min=1)).sqrt()


def explained(true: Tensor, true_before: Tensor, flow: Tensor) -> Tensor:
    """Where the motion explains the truth, to 10 levels of luma: (N, 1, H, W) float64, 1 or 0."""
    return ((luma(true) - moved(luma(true_before), flow)).abs() <= _EXPLAINED).double()


def motion(now: Tensor, before: Tensor) -> Tensor:
    """Where each pixel of `now` was in `before`: (N, 2, H, W) float64, pixels to the right and down, to fractions of a pixel.

    By the mean absolute difference of luma in blocks of 7x7 around each pixel, searched to about 35 pixels away.
    """
    stack = [(luma(now), luma(before))]
    while len(stack) <= LEVELS and min(stack[-1][0].shape[-2:]) >= 4 * _BLOCK:
        stack.append((F.avg_pool2d(stack[-1][0], 2), F.avg_pool2d(stack[-1][1], 2)))
    first, second = stack.pop()
    flow = _searched(first, second, first.new_zeros(len(first), 2, *first.shape[-2:]), _COARSE)
    while stack:
        first, second = stack.pop()
        flow = 2 * F.interpolate(flow, size=first.shape[-2:], mode="nearest")
        flow = _searched(first, second, flow, _FINE)
    return flow + _fraction(first, second, flow)


def moved(picture: Tensor, flow: Tensor) -> Tensor:
    """(N, C, H, W) taken from where `flow` says, bilinearly; beyond the edge the edge repeats."""
    height, width = picture.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    across = (x.to(flow) + flow[:, 0]) * (2 / max(1, width - 1)) - 1
    down = (y.to(flow) + flow[:, 1]) * (2 / max(1, height - 1)) - 1
    grid = torch.stack((across, down), -1).to(picture)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=True)


def _cost(now: Tensor, before: Tensor, flow: Tensor) -> Tensor:
    """Mean absolute difference of the blocks around each pixel: (N, 1, H, W)."""
    difference = F.pad((now - moved(before, flow)).abs(), (_BLOCK // 2,) * 4, mode="replicate")
    return F.avg_pool2d(difference, _BLOCK, stride=1)


def _searched(now: Tensor, before: Tensor, flow: Tensor, reach: int) -> Tensor:
    """The best whole-pixel motion within `reach` of `flow`."""
    best, least = flow, _cost(now, before, flow)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if dx == dy == 0:
                continue
            tried = flow + flow.new_tensor([dx, dy]).view(1, 2, 1, 1)
            cost = _cost(now, before, tried) + _ZEAL * (abs(dx) + abs(dy))
            better = cost < least
            best, least = torch.where(better, tried, best), torch.where(better, cost, least)
    return best


def _fraction(now: Tensor, before: Tensor, flow: Tensor) -> Tensor:
    """Less than half a pixel more in each direction: the lowest point of a parabola through three costs."""
    here, parts = _cost(now, before, flow), []
    for step in ((1.0, 0.0), (0.0, 1.0)):
        offset = flow.new_tensor(step).view(1, 2, 1, 1)
        after, ahead = _cost(now, before, flow + offset), _cost(now, before, flow - offset)
        bend = after + ahead - 2 * here
        parts.append(torch.where(bend > 1e-9, (ahead - after) / (2 * bend.clamp(min=1e-9)), 0).clamp(-0.5, 0.5))
    return torch.cat(parts, 1)
