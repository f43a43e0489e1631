"""Whether an enlarged image, shrunk again, is the one that it was made from: of 8 or 16 bits, no truth needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vsr.errors import ConfigError
from vsr.frames import FrameBatch
from vsr.media.imagemeta import batch_of
from vsr.media.images import StillImage, read_image, write_image
from vsr.metrics import heat, residual

MAPPED = 0.999  # share of pixels that the map's colours reach by themselves: single ones would leave the rest white


@dataclass(frozen=True)
class Consistency:
    """How `made` differs from `source` once it is shrunk to its size; levels are the source's, 0 to `peak`.

    psnr     dB, all channels together, for `peak`; infinity where nothing differs
    rms, worst    of the differences, in levels
    bias     their mean, in levels: where it is not 0 the picture as a whole became brighter or darker
    light    mean of `made` over mean of `source`, black being 0: 1 where no light was gained or lost; None for a black source
    at_ends  share of the samples of (source, made) that lie at 0 or at the peak: what went beyond was cut off there
    full     the difference that has the map's full colour, in levels
    """

    source: tuple[int, int]
    made: tuple[int, int]
    peak: int
    psnr: float
    rms: float
    worst: float
    bias: float
    light: float | None
    at_ends: tuple[float, float]
    full: float


def measure(source: Path, made: Path, full: float | None = None) -> tuple[Consistency, Tensor]:
    """Compares two images; also gives the differences (1, 1, H, W) in levels, the mean of the channels. Alpha is left out.

    full  the map's full colour in levels; None: what 99.9 % of the pixels stay below
    Raises DecodeError for what is no image, ConfigError for a picture that is not the other one enlarged.
    """
    before, after = read_image(source).batch, read_image(made).batch
    _check(source, made, before, after)
    peak = (1 << before.format.layout.bits) - 1
    small = _samples(before) * peak
    large = _samples(after) * peak
    lacking = residual(large, small)
    error = float(lacking.square().mean())
    shown = lacking.mean(1, keepdim=True)
    light = float(small.mean())
    found = Consistency(
        source=(before.format.width, before.format.height),
        made=(after.format.width, after.format.height),
        peak=peak,
        psnr=float(10 * torch.log10(torch.tensor(peak**2 / error))) if error else float("inf"),
        rms=error**0.5,
        worst=float(lacking.abs().max()),
        bias=float(lacking.mean()),
        light=float(large.mean()) / light if light else None,
        at_ends=(_at_ends(small, peak), _at_ends(large, peak)),
        full=full or _reach(shown) or 1.0,
    )
    return found, shown


def write_map(path: Path, shown: Tensor, full: float) -> None:
    """The differences as a picture: white is none, red too bright, blue too dark. Raises EncodeError."""
    colours = heat(shown, full)[0].permute(1, 2, 0).contiguous().numpy()
    write_image(path, StillImage(batch_of(colours, alpha=False), "PNG"))


def _check(source: Path, made: Path, before: FrameBatch, after: FrameBatch) -> None:
    small, large = before.format, after.format
    if small.layout.kind != large.layout.kind:
        raise ConfigError(f"{made}: is {large.layout.kind} and {source} {small.layout.kind}; compare pictures of one kind")
    if large.width < small.width or large.height < small.height:
        sizes = f"{large.width}x{large.height}", f"{small.width}x{small.height}"
        raise ConfigError(f"{made}: {sizes[0]} is no enlargement of {source} ({sizes[1]}); name the smaller picture first")
    if abs(large.width * small.height / (large.height * small.width) - 1) > max(1 / small.width, 1 / small.height):
        raise ConfigError(f"{made}: has not the shape of {source}; name the picture that was made from it")


def _samples(batch: FrameBatch) -> Tensor:
    """(1, 3 or 1, H, W) float64 from 0 to 1."""
    planes = batch.planes[: batch.format.layout.color_planes]
    top = (1 << batch.format.layout.bits) - 1
    return torch.stack([torch.from_numpy(plane[0].astype("f8")) for plane in planes])[None] / top


def _at_ends(levels: Tensor, peak: int) -> float:
    return float(((levels <= 0) | (levels >= peak)).double().mean())


def _reach(shown: Tensor) -> float:
    """What `MAPPED` of the differences stay below. (torch.quantile takes 16 million numbers at most.)"""
    sizes = shown.abs().flatten().sort().values
    return float(sizes[int(MAPPED * (len(sizes) - 1))])
