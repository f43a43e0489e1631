"""A frame as a small picture of exact averages, in one colour space: what two sizes of a film have in common."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vsr.frames import ColorSpec, PixelLayout, Plane

Thumbnail = npt.NDArray[np.float32]  # (3, rows, columns): Y, Cb, Cr in 8-bit levels, full range, BT.709, chroma around 0

LONG_SIDE = 64
# Luma weights of red and blue by H.273 matrix; the others (YCgCo, ICtCp, ...) are compared as they are stored
MATRICES = {
    1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
    9: (0.2627, 0.0593), 10: (0.2627, 0.0593),
}  # fmt: skip


def thumbnail_size(*sizes: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of a picture with 64 pixels on the long side, never larger than any of `sizes` (width, height)."""
    width, height = sizes[0]
    factor = min(1.0, LONG_SIDE / max(width, height), *(min(w / width, h / height) for w, h in sizes))
    return max(1, round(height * factor)), max(1, round(width * factor))


def thumbnail(planes: Sequence[Plane], layout: PixelLayout, color: ColorSpec, size: tuple[int, int]) -> Thumbnail:
    """Area averages of planes (rows, columns) in `layout`; a mean is converted as its pixels would be: the map is linear."""
    small = np.stack([_averaged(plane, size) for plane in planes[: layout.color_planes]])
    unit = float(1 << (layout.bits - 8))
    if layout.kind == "rgb":
        return np.tensordot(_to_709(0), _levels(small, unit, color.full_range, luma_planes=3), 1).astype(np.float32)
    if layout.kind == "gray":
        luma = _levels(small, unit, color.full_range, luma_planes=1)
        return np.concatenate([luma, np.zeros((2, *size), np.float32)])
    levels = _levels(small, unit, color.full_range, luma_planes=1)
    return np.tensordot(_to_709(color.matrix), levels, 1).astype(np.float32)


def _levels(small: Thumbnail, unit: float, full: bool, luma_planes: int) -> Thumbnail:
    """Stored values as 0..255, chroma around 0 (H.273 equations 20 to 25 and their full-range counterparts)."""
    out = small / np.float32(unit)
    if full:
        top = (256 * unit - 1) / unit  # 2**bits - 1 is white, whatever the depth
        out[:luma_planes] *= np.float32(255 / top)
        out[luma_planes:] = (out[luma_planes:] - 128) * np.float32(255 / top)
    else:
        out[:luma_planes] = (out[:luma_planes] - 16) * np.float32(255 / 219)
        out[luma_planes:] = (out[luma_planes:] - 128) * np.float32(255 / 224)
    return out


@lru_cache(maxsize=16)
def _to_709(matrix: int) -> npt.NDArray[np.float32]:
    """From RGB (0) or the YCbCr of a matrix to that of BT.709."""
    if matrix == 0:
        return from_rgb(1).astype(np.float32)
    if matrix not in MATRICES:
        return np.eye(3, dtype=np.float32)
    return (from_rgb(1) @ np.linalg.inv(from_rgb(matrix))).astype(np.float32)


def from_rgb(matrix: int) -> npt.NDArray[np.float64]:
    """RGB to YCbCr with one of `MATRICES` (H.273 equations 38 to 40)."""
    red, blue = MATRICES[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    return np.stack([luma, (np.array([0, 0, 1.0]) - luma) / (2 - 2 * blue), (np.array([1.0, 0, 0]) - luma) / (2 - 2 * red)])


def _averaged(plane: Plane, size: tuple[int, int]) -> Thumbnail:
    rows, columns = _shares(plane.shape[0], size[0]), _shares(plane.shape[1], size[1])
    small: Thumbnail = (rows @ plane.astype(np.float32)) @ columns.T
    return small


@lru_cache(maxsize=64)
def _shares(count: int, bins: int) -> Thumbnail:
    """(bins, count): the share that each sample has in each of `bins` equal parts of the whole, rows adding up to 1."""
    edges = np.arange(bins + 1) * (count / bins)
    at = np.arange(count)
    overlap = np.minimum(at + 1, edges[1:, None]) - np.maximum(at, edges[:-1, None])
    shares: Thumbnail = (np.clip(overlap, 0, None) * (bins / count)).astype(np.float32)
    return shares
