"""Frames and pictures as 8-bit RGB tensors, and back into the planes that video codecs take: what training sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vsr.color import planes_to_rgb, rgb_to_planes
from vsr.frames import ColorSpec, FrameBatch, FrameFormat, PixelLayout, Plane

_YUV420 = PixelLayout("yuv", 8, 1, 1)
BT709 = ColorSpec(matrix=1, full_range=False, primaries=1, transfer=1, siting="left")


@dataclass(frozen=True)
class Box:
    """A part of a picture in pixels."""

    top: int
    left: int
    height: int
    width: int


def rgb_of(planes: Sequence[Plane], format: FrameFormat, box: Box | None = None) -> Tensor:
    """One frame's planes (rows, columns) as RGB (3, H, W) uint8, rounded half up; of `box` alone where one is given.

    A box has the very pixels that it has in the whole frame. Alpha is left out, gray is three equal channels.
    """
    whole = Box(0, 0, format.height, format.width)
    box = box or whole
    layout, color = format.layout, planes[: format.layout.color_planes]
    if layout.kind != "yuv" and layout.bits == 8 and format.color.full_range:  # the samples are what is wanted: no arithmetic
        parts = [plane[box.top : box.top + box.height, box.left : box.left + box.width] for plane in color]
        return torch.from_numpy(np.stack(parts * (3 // len(parts))))
    around = _with_chroma(box, format)
    rows, columns = layout.log2_chroma_h, layout.log2_chroma_w
    parts = [_part(plane, around, rows * (0 < i < 3), columns * (0 < i < 3)) for i, plane in enumerate(color)]
    cut = replace(format, width=around.width, height=around.height, layout=replace(layout, alpha=False))
    rgb = planes_to_rgb([torch.from_numpy(part[None]) for part in parts], cut)[0]
    top, left = box.top - around.top, box.left - around.left
    return _quantised(rgb[:, top : top + box.height, left : left + box.width])


def _with_chroma(box: Box, format: FrameFormat) -> Box:
    """The box on whole chroma samples, with one more on each side: interpolation is linear and reaches no further."""
    across, down = 1 << format.layout.log2_chroma_w, 1 << format.layout.log2_chroma_h
    top, left = max(0, (box.top // down - 1) * down), max(0, (box.left // across - 1) * across)
    bottom = min(format.height, (-(-(box.top + box.height) // down) + 1) * down)
    right = min(format.width, (-(-(box.left + box.width) // across) + 1) * across)
    return Box(top, left, bottom - top, right - left)


def _part(plane: Plane, box: Box, rows: int, columns: int) -> Plane:
    bottom, right = -(-(box.top + box.height) >> rows), -(-(box.left + box.width) >> columns)
    part: Plane = plane[box.top >> rows : bottom, box.left >> columns : right].copy()
    return part


def _quantised(rgb: Tensor) -> Tensor:
    return rgb.mul(255).add_(0.5).clamp_(0, 255).to(torch.uint8)


def yuv_frames(rgb: Tensor) -> list[FrameBatch]:
    """RGB (T, 3, H, W) uint8 of even height and width as single 8-bit 4:2:0 frames in BT.709, numbered from 0."""
    format = FrameFormat(rgb.shape[-1], rgb.shape[-2], _YUV420, BT709)
    planes = rgb_to_planes(rgb.to(torch.float32).div_(255), format)
    return [FrameBatch(format, tuple(p[i : i + 1].numpy() for p in planes), (i,), index=i) for i in range(len(rgb))]


def rgb_frames(batch: FrameBatch) -> Tensor:
    """All frames of a batch as RGB (N, 3, H, W) uint8."""
    return torch.stack([rgb_of([plane[i] for plane in batch.planes], batch.format) for i in range(len(batch))])
