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
_BLOCK, _WINDOW = 8, 16
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

    One motion for each block of 8x8, by the mean absolute difference of luma in the 16x16 around it, searched from an eighth of
    the size up, to about 35 pixels away.
    """
    stack = [(luma(now).float(), luma(before).float())]
    while len(stack) <= LEVELS and min(stack[-1][0].shape[-2:]) >= 4 * _BLOCK:
        stack.append((F.avg_pool2d(stack[-1][0], 2), F.avg_pool2d(stack[-1][1], 2)))
    first, second = stack.pop()
    match = _Match(first, second)
    flow = match.searched(first.new_zeros(len(first), 2, *match.grid), _COARSE)
    while stack:
        match = _Match(*stack.pop())
        flow = match.searched(2 * F.interpolate(flow, size=match.grid, mode="nearest"), _FINE)
    flow = match.sharpened(flow).double()
    height, width = now.shape[-2:]
    return flow.repeat_interleave(_BLOCK, 2).repeat_interleave(_BLOCK, 3)[..., :height, :width]


def moved(picture: Tensor, flow: Tensor) -> Tensor:
    """(N, C, H, W) taken from where `flow` says, bilinearly; beyond the edge the edge repeats."""
    rows, columns = (torch.arange(size, device=flow.device, dtype=flow.dtype) for size in picture.shape[-2:])
    return _sampled(picture, columns + flow[:, 0], rows[:, None] + flow[:, 1])


class _Match:
    """Two pictures (N, 1, H, W) cut into overlapping windows, laid side by side: what a motion of every block costs."""

    def __init__(self, now: Tensor, before: Tensor) -> None:
        height, width = now.shape[-2:]
        self.grid = (-(-height // _BLOCK), -(-width // _BLOCK))
        down, across = (self._places(count, size, now) for count, size in zip(self.grid, (height, width), strict=True))
        self._before, self._y, self._x = before, down.view(-1, 1), across.view(1, -1)
        self._now = now[..., down.long()[:, None], across.long()[None]]

    @staticmethod
    def _places(count: int, size: int, like: Tensor) -> Tensor:
        """Rows (or columns) of all windows, one after the other; beyond the edge the edge repeats."""
        first = torch.arange(count, device=like.device) * _BLOCK - (_WINDOW - _BLOCK) // 2
        places = first[:, None] + torch.arange(_WINDOW, device=like.device)
        return places.clamp(0, size - 1).flatten().to(like)

    def cost(self, flow: Tensor) -> Tensor:
        """Mean absolute difference of each block's window: (N, 1, rows, columns)."""
        wide = flow.repeat_interleave(_WINDOW, 2).repeat_interleave(_WINDOW, 3)
        seen = _sampled(self._before, self._x + wide[:, 0], self._y + wide[:, 1])
        return F.avg_pool2d((self._now - seen).abs(), _WINDOW)

    def searched(self, flow: Tensor, reach: int) -> Tensor:
        """The best whole-pixel motion within `reach` of `flow`, of none, or of that of a block beside."""
        best, least = self._better(torch.zeros_like(flow), flow, self.cost(flow))
        for _ in range(2):
            for step, axis in ((1, -1), (-1, -1), (1, -2), (-1, -2)):
                best, least = self._better(best.roll(step, axis), best, least)
        centre = best
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                tried = centre + flow.new_tensor([dx, dy]).view(1, 2, 1, 1)
                best, least = self._better(tried, best, least, _ZEAL * (abs(dx) + abs(dy)))
        return best

    def _better(self, tried: Tensor, best: Tensor, least: Tensor, toll: float = _ZEAL) -> tuple[Tensor, Tensor]:
        """The motion that matches better in each block, by more than `toll`, and its cost."""
        cost = self.cost(tried) + toll
        better = cost < least
        return torch.where(better, tried, best), torch.where(better, cost, least)

    def sharpened(self, flow: Tensor) -> Tensor:
        """Up to half a pixel more in each direction, where that matches better: the lowest point of a parabola through three
        costs. A frame that stands still has a sharper lowest point, and no motion."""
        here, parts = self.cost(flow), []
        for step in ((1.0, 0.0), (0.0, 1.0)):
            offset = flow.new_tensor(step).view(1, 2, 1, 1)
            after, ahead = self.cost(flow + offset), self.cost(flow - offset)
            bend = (after + ahead - 2 * here).clamp(min=1e-6)
            parts.append(((ahead - after) / (2 * bend)).clamp(-0.5, 0.5))
        return self._better(flow + torch.cat(parts, 1), flow, here, 0.0)[0]


def _sampled(picture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(N, C, H, W) at places (N, rows, columns), bilinearly; beyond the edge the edge repeats."""
    height, width = picture.shape[-2:]
    grid = torch.stack((x * (2 / max(1, width - 1)) - 1, y * (2 / max(1, height - 1)) - 1), -1)
    return F.grid_sample(picture, grid.to(picture), mode="bilinear", padding_mode="border", align_corners=True)
