"""What quality is measured on: pictures and the truth they should become, one pair after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vsr.errors import DecodeError
from vsr.frames import FrameBatch, FrameFormat, PixelLayout, Plane
from vsr.media.imagemeta import SRGB
from vsr.media.images import read_image
from vsr.metrics import shrunk


@dataclass(frozen=True)
class Pair:
    """One picture twice: `hr` is the truth (one frame, 8-bit RGB or gray), `lr` what a model gets (of any layout)."""

    name: str
    hr: FrameBatch
    lr: FrameBatch


class Group(Protocol):
    """Pairs that are counted together; of a `clip` the frames follow each other, and so they are numbered by their pts."""

    @property
    def name(self) -> str: ...

    @property
    def clip(self) -> bool: ...

    @property
    def count(self) -> int: ...

    def pairs(self) -> Iterator[Pair]:
        """All of them, read anew."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Pairs with the scale between them. `origin` says how LR came to be, `notes` what else a reader should know."""

    name: str
    scale: int
    groups: tuple[Group, ...]
    origin: str
    stored: bool  # LR is given, not made here
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Images:
    """Files, HR with LR (None: LR is made of HR)."""

    name: str
    files: tuple[tuple[str, Path, Path | None], ...]
    scale: int
    clip: bool

    @property
    def count(self) -> int:
        return len(self.files)

    def pairs(self) -> Iterator[Pair]:
        for number, (name, hr_path, lr_path) in enumerate(self.files):
            hr = read_truth(hr_path)
            lr = read_truth(lr_path) if lr_path is not None else None
            pair = made_pair(name, hr, self.scale) if lr is None else checked_pair(name, hr, lr, self.scale, hr_path, lr_path)
            yield replace(pair, hr=numbered(pair.hr, number), lr=numbered(pair.lr, number))


def read_truth(path: Path | None) -> FrameBatch:
    """An 8-bit picture without alpha. Raises DecodeError for any other: papers' figures are of 8 bits."""
    assert path is not None
    batch = read_image(path).batch
    layout = batch.format.layout
    if layout.bits != 8 or layout.alpha:
        what = "has an alpha channel" if layout.alpha else f"has {layout.bits} bits a sample"
        raise DecodeError(f"{path}: {what}; figures are of 8-bit pictures without one: convert it first")
    return batch


def checked_pair(name: str, hr: FrameBatch, lr: FrameBatch, scale: int, hr_path: Path, lr_path: Path | None) -> Pair:
    """The two as a pair; HR that is not a multiple of the scale loses its last rows and columns, as LR was made without them.

    Raises DecodeError for sizes that are not `scale` times each other, and for gray with RGB.
    """
    big, small = hr.format, lr.format
    over = (big.width - scale * small.width, big.height - scale * small.height)
    if not all(0 <= rest < scale for rest in over):
        ratio = round(big.width / small.width)
        hint = f"its scale is {ratio}: give --scale {ratio}" if ratio != scale else "they are no pair"
        sizes = f"{small.width}x{small.height} and {big.width}x{big.height}"
        raise DecodeError(f"{lr_path} and {hr_path.name}: {sizes} are not 1 to {scale}; {hint}")
    if big.layout.kind != small.layout.kind:
        raise DecodeError(
            f"{lr_path} is {small.layout.kind} and {hr_path} {big.layout.kind}: luma of gray and of RGB pictures differ by "
            "1.3 dB; store both alike"
        )
    return Pair(name, cropped(hr, scale * small.width, scale * small.height), lr)


def made_pair(name: str, hr: FrameBatch, scale: int) -> Pair:
    """HR cropped to a multiple of the scale, and shrunk as MATLAB does. Raises DecodeError for less than a pixel of LR."""
    width, height = hr.format.width // scale * scale, hr.format.height // scale * scale
    if not width or not height:
        raise DecodeError(f"{name}: {hr.format.width}x{hr.format.height} is too small for scale {scale}; leave it out")
    hr = cropped(hr, width, height)
    return Pair(name, hr, batch_of(shrunk(tensor_of(hr), scale)))


def cropped(batch: FrameBatch, width: int, height: int) -> FrameBatch:
    """The upper left part of RGB or gray frames."""
    planes: tuple[Plane, ...] = tuple(plane[:, :height, :width].copy() for plane in batch.planes)
    return batch.with_planes(replace(batch.format, width=width, height=height), planes)


def numbered(batch: FrameBatch, number: int) -> FrameBatch:
    """The frame at its place among others."""
    return replace(batch, pts=(number,), index=number)


def tensor_of(batch: FrameBatch) -> Tensor:
    """Planes of RGB or gray as (N, 3 or 1, H, W) uint8."""
    return torch.from_numpy(np.stack(batch.planes, 1))


def batch_of(pictures: Tensor, number: int = 0) -> FrameBatch:
    """(1, 3 or 1, H, W) of whole numbers 0..255 as one frame."""
    levels = pictures.to(torch.uint8).numpy()
    planes: tuple[Plane, ...] = tuple(np.ascontiguousarray(levels[:, channel]) for channel in range(levels.shape[1]))
    return FrameBatch(picture_format(levels.shape[3], levels.shape[2], levels.shape[1]), planes, (number,), index=number)


def picture_format(width: int, height: int, channels: int) -> FrameFormat:
    """8-bit RGB or gray, as a PNG file holds it."""
    return FrameFormat(width, height, PixelLayout("gray" if channels == 1 else "rgb"), SRGB)
