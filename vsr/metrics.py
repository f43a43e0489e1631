"""How near pictures are to the truth, by a protocol that is stated: PSNR, SSIM, MS-SSIM, consistency. On tensors, in float64.

Pictures are (N, C, H, W) of numbers from 0 to 255, C = 3 for RGB and 1 for gray, as 8-bit files hold them; results are (N,), one
for each. Published figures differ by up to 1.3 dB between protocols: Set5 x4 by bicubic has 28.42 dB on the luma of BT.601 in
16..235, 27.11 dB on a full-range luma and 26.70 dB on RGB. A gray picture is its own luma: as RGB it would gain
20 log10(255 / 219) = 1.3 dB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.resample import imresize, resize

Channel = Literal["y", "rgb"]

PEAK = 255.0
_LUMA = (65.481, 128.553, 24.966)  # BT.601 for R, G, B in 0..1, as MATLAB's rgb2ycbcr has it
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # MS-SSIM's exponents, fine to coarse
SMALLEST_SSIM = _WINDOW
SMALLEST_MS_SSIM = (_WINDOW - 1) * 2 ** (len(_SCALES) - 1) + 1  # halved four times, rounded up, it still holds the window


@dataclass(frozen=True)
class Protocol:
    """What is compared of two pictures.

    channel  "y": luma as MATLAB's rgb2ycbcr has it (gray is its own luma); "rgb": all channels as they are
    border   pixels left out on each side; papers leave out as many as the scale
    rounded  the luma is rounded to whole levels, as MATLAB does for uint8: Set5 x4 by bicubic has 28.42 dB then, else 28.43
    """

    channel: Channel = "y"
    border: int = 0
    rounded: bool = False

    def __post_init__(self) -> None:
        if self.channel not in ("y", "rgb"):
            raise ValueError(f"no protocol is called {self.channel!r}: y or rgb")
        if self.border < 0:
            raise ValueError(f"a border of {self.border} pixels")

    def __str__(self) -> str:
        rounding = "rounded to 8 bits" if self.rounded else "not rounded"
        what = f"luma (BT.601, 16..235, {rounding}; gray is its own)" if self.channel == "y" else "RGB, all channels together"
        return f"{what}, {self.border or 'no'} pixels of border left out"

    def seen(self, pictures: Tensor) -> Tensor:
        """What counts of pictures (N, 3 or 1, H, W): (N, 1 or C, h, w) float64. Raises ValueError where nothing is left."""
        if pictures.dim() != 4 or pictures.shape[1] not in (1, 3):
            raise ValueError(f"pictures are {tuple(pictures.shape)}, expected (N, 3, H, W) or (N, 1, H, W)")
        height, width = (size - 2 * self.border for size in pictures.shape[-2:])
        if height < 1 or width < 1:
            raise ValueError(f"a border of {self.border} pixels leaves nothing of {tuple(pictures.shape[-2:])}")
        inner = pictures[..., self.border : self.border + height, self.border : self.border + width]
        return luma(inner, rounded=self.rounded) if self.channel == "y" else inner.double()


def luma(pictures: Tensor, *, rounded: bool = False) -> Tensor:
    """(N, 3, H, W) RGB -> (N, 1, H, W) luma in 16..235, float64; gray (N, 1, H, W) is its own luma, as it is."""
    levels = pictures.double()
    if levels.shape[1] == 1:
        return levels
    red, green, blue = (weight / PEAK for weight in _LUMA)
    made = 16 + red * levels[:, :1] + green * levels[:, 1:2] + blue * levels[:, 2:]
    return made.add(0.5).floor() if rounded else made


def psnr(made: Tensor, true: Tensor, protocol: Protocol) -> Tensor:
    """Peak signal-to-noise ratio in dB for a peak of 255: (N,). Equal pictures have infinity. Raises ValueError for two sizes."""
    first, second = _same(made, true, protocol)
    return _decibels((first - second).square().mean((1, 2, 3)))


def ssim(made: Tensor, true: Tensor, protocol: Protocol) -> Tensor:
    """Structural similarity (Wang et al. 2004): Gaussian window of 11x11, sigma 1.5, inside the picture only; (N,).

    Several channels count alike. Raises ValueError for two sizes, and for what is smaller than the window.
    """
    similarity, _ = _similarity(*_same(made, true, protocol))
    return similarity.mean(1)


def ms_ssim(made: Tensor, true: Tensor, protocol: Protocol) -> Tensor:
    """Structural similarity over five scales (Wang et al. 2003): (N,). Contrast that is inverted counts as none.

    Raises ValueError for two sizes, and for a side of less than 161 pixels: the coarsest scale would not hold the window.
    """
    first, second = _same(made, true, protocol)
    if min(first.shape[-2:]) < SMALLEST_MS_SSIM:
        raise ValueError(f"MS-SSIM needs {SMALLEST_MS_SSIM} pixels a side without the border, not {min(first.shape[-2:])}")
    product = first.new_ones(first.shape[:2])
    for exponent in _SCALES:
        similarity, contrast = _similarity(first, second)
        factor = similarity if exponent == _SCALES[-1] else contrast
        product = product * factor.clamp(min=0) ** exponent
        first, second = _halved(first), _halved(second)
    return product.mean(1)


def shrunk(pictures: Tensor, scale: int) -> Tensor:
    """Pictures (N, C, H, W) shrunk by MATLAB's imresize (bicubic, antialiased), rounded to whole levels: float64."""
    return imresize(pictures.double(), 1, scale, rounded=True)


def consistency(made: Tensor, source: Tensor, scale: int, protocol: Protocol) -> Tensor:
    """How well pictures, shrunk again, agree with what they were made from: PSNR in dB, (N,).

    made    (N, C, H * scale, W * scale)        source  (N, C, H, W)
    The whole picture counts: the protocol's border does not. What was invented in agreement with the source does not show.
    """
    whole = Protocol(protocol.channel, 0, protocol.rounded)
    return psnr(shrunk(made, scale), source, whole)


def consistency_map(made: Tensor, source: Tensor, scale: int) -> Tensor:
    """Where pictures, shrunk again, differ from what they were made from: (N, 1, H, W) levels of luma, signed, float64."""
    return luma(shrunk(made, scale)) - luma(source)


def residual(made: Tensor, source: Tensor) -> Tensor:
    """What pictures of any range, shrunk again, have more than those they were made from: (N, C, H, W) float64, signed.

    Antialiased bicubic, neither rounded nor clamped, so that a difference of less than a level counts: what back-projection
    (`vsr.resample.back_project`) brings to nothing.
    """
    return resize(made.double(), *source.shape[-2:]) - source.double()


def heat(levels: Tensor, full: float = 16.0) -> Tensor:
    """Signed differences (N, 1, H, W) as colours (N, 3, H, W) uint8: white is none, red is too bright, blue too dark.

    full  the difference, in levels, that has the full colour
    """
    share = (levels / full).clamp(-1, 1)
    over, under = share.clamp(min=0), (-share).clamp(min=0)
    colours = torch.cat((1 - under, 1 - over - under, 1 - over), 1)
    return (colours * PEAK).round().to(torch.uint8)


def _same(made: Tensor, true: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    if made.shape != true.shape:
        raise ValueError(f"pictures of two kinds: {tuple(made.shape)} and {tuple(true.shape)}")
    return protocol.seen(made), protocol.seen(true)


def _decibels(error: Tensor) -> Tensor:
    """Of mean squared errors in levels; infinity for none."""
    return 10 * torch.log10(PEAK**2 / error)


def _similarity(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure term, the mean over each channel: two of (N, C)."""
    if min(first.shape[-2:]) < _WINDOW:
        raise ValueError(f"SSIM needs {_WINDOW} pixels a side without the border, not {min(first.shape[-2:])}")
    mean_a, mean_b = _blurred(first), _blurred(second)
    variance_a = _blurred(first * first) - mean_a * mean_a
    variance_b = _blurred(second * second) - mean_b * mean_b
    covariance = _blurred(first * second) - mean_a * mean_b
    contrast = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    brightness = (2 * mean_a * mean_b + _C1) / (mean_a * mean_a + mean_b * mean_b + _C1)
    return (brightness * contrast).mean((2, 3)), contrast.mean((2, 3))


def _blurred(x: Tensor) -> Tensor:
    """(N, C, H, W) under the window, where it lies inside: (N, C, H - 10, W - 10)."""
    at = torch.arange(_WINDOW, dtype=x.dtype) - _WINDOW // 2
    row = torch.exp(-(at**2) / (2 * _SIGMA**2))
    weights = (row / row.sum()).tolist()
    for axis in (-2, -1):  # by shifted sums: a float64 convolution of one channel takes four times as long on a CPU
        size = x.shape[axis] - _WINDOW + 1
        total = x.narrow(axis, 0, size) * weights[0]
        for shift, weight in enumerate(weights[1:], 1):
            total.add_(x.narrow(axis, shift, size), alpha=weight)
        x = total
    return x


def _halved(x: Tensor) -> Tensor:
    """Means of 2x2; the last of an odd number repeats itself, as imfilter's symmetric edge does in the authors' code."""
    odd = (0, x.shape[-1] % 2, 0, x.shape[-2] % 2)
    return F.avg_pool2d(F.pad(x, odd, mode="replicate"), 2)
