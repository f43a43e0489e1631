"""FFmpeg's pixel formats <-> `PixelLayout`, and frames <-> planes.

Planar little-endian formats cross as they are. Everything else (packed, semi-planar, palette, big-endian, float) is laid out
anew by libswscale in the planar format of the same family and depth: a permutation of samples, never a matrix or a range.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import av
import numpy as np

from vsr.errors import EncodeError
from vsr.frames import ColorSpec, FrameFormat, PixelLayout, Plane, Siting
from vsr.media.siting import is_sited

_SUBSAMPLING = {"444": (0, 0), "422": (1, 0), "420": (1, 1), "411": (2, 0), "410": (2, 2), "440": (0, 1)}
_SAMPLING_NAME = {value: key for key, value in _SUBSAMPLING.items()}
_PLANAR = re.compile(r"(?:yuvj?(?P<ya>a?)(?P<sub>4\d\d)p|(?P<gbr>gbr)(?P<ga>a?)p|(?P<gray>gray))(?P<bits>\d+)?(?:le)?")
# chroma centred between luma samples (JFIF, ISO 11172-2, H.263); FFmpeg's decoders say so of each of them
_JPEG_SITED = {"mjpeg", "mpeg1video", "mjpegb", "jpegls", "ljpeg", "amv", "speedhq", "h263"}
_FFMPEG_ORDER = {"rgb": (2, 0, 1, 3)}  # gbrp stores G, B, R; our planes are R, G, B


def planar_layout(pix_fmt: str) -> PixelLayout | None:
    """The layout of a planar little-endian integer format; None for any other format."""
    match = _PLANAR.fullmatch(pix_fmt)
    if match is None or int(match["bits"] or 8) > 16:
        return None
    bits = int(match["bits"] or 8)
    if match["gray"]:
        return PixelLayout("gray", bits)
    if match["gbr"]:
        return PixelLayout("rgb", bits, alpha=bool(match["ga"]))
    return PixelLayout("yuv", bits, *_SUBSAMPLING[match["sub"]], alpha=bool(match["ya"]))


def pix_fmt_of(layout: PixelLayout) -> str:
    """FFmpeg's name for a layout: `yuv420p10le`, `gbrap`, `gray16le`. Raises EncodeError where it has none."""
    depth = f"{layout.bits}le" if layout.bits > 8 else ""
    alpha = "a" if layout.alpha else ""
    if layout.kind == "gray" and not layout.alpha:
        return f"gray{depth}"
    if layout.kind == "rgb":
        return f"gbr{alpha}p{depth}"
    sampling = _SAMPLING_NAME.get((layout.log2_chroma_w, layout.log2_chroma_h))
    if layout.kind == "gray" or sampling is None:
        raise EncodeError(f"no pixel format holds {layout}")
    return f"yuv{alpha}{sampling}p{depth}"


def planar_equivalent(pix_fmt: str) -> str:
    """The planar format that holds every sample of `pix_fmt`; itself where it is planar already."""
    if planar_layout(pix_fmt) is not None:
        return pix_fmt
    fmt = av.VideoFormat(pix_fmt, 16, 16)
    components = fmt.components
    if not components:
        raise EncodeError(f"pixel format {pix_fmt} holds no samples that the CPU can read")
    bits = min(max(max(c.bits for c in components), 8), 16)
    alpha = any(c.is_alpha for c in components) or fmt.has_palette
    if fmt.is_rgb or fmt.has_palette or fmt.is_bayer or pix_fmt.startswith("xyz"):
        return pix_fmt_of(PixelLayout("rgb", 8 if fmt.is_bayer and bits < 16 else _rgb_depth(bits, alpha), alpha=alpha))
    if sum(not c.is_alpha for c in components) == 1:
        # libswscale has no planar gray with alpha: gray becomes three equal planes there, which loses nothing
        return pix_fmt_of(PixelLayout("rgb", _rgb_depth(bits, alpha), alpha=True) if alpha else PixelLayout("gray", bits))
    chroma = components[1]
    shift = {16: 0, 8: 1, 4: 2}
    return pix_fmt_of(PixelLayout("yuv", bits, shift[chroma.width], shift[chroma.height], alpha))


def _rgb_depth(bits: int, alpha: bool) -> int:
    """gbrp exists with 8, 9, 10, 12, 14, 16 bits; gbrap with 8, 10, 12, 14, 16."""
    return next(depth for depth in ((8, 10, 12, 14, 16) if alpha else (8, 9, 10, 12, 14, 16)) if depth >= bits)


def color_of(frame: av.VideoFrame, layout: PixelLayout, codec: str, siting: Siting | None = None) -> ColorSpec:
    """What the samples of a decoded frame mean, untagged ones as players take them: BT.709 from 720 lines up, else BT.601.

    `siting` is what the film's headers say of it; None = the codec's own.
    """
    full = frame.color_range == 2 or frame.format.name.startswith("yuvj")
    matrix, guessed = int(frame.colorspace), False
    if layout.kind == "rgb":
        # computer RGB is full range unless tagged otherwise
        return ColorSpec(0, frame.color_range != 1, int(frame.color_primaries), int(frame.color_trc))
    if layout.kind == "gray" and frame.color_range == 0:
        full = codec not in ("h264", "hevc")  # untagged gray is full range to FFmpeg, but for those two standards
    if matrix in (0, 2, 3):  # identity on YUV planes is a broken tag; 2 and 3 say nothing
        matrix, guessed = (1 if frame.height >= 720 else 6), True
    known = siting if siting and is_sited(layout) else _untagged_siting(codec, layout)
    return ColorSpec(matrix, full, int(frame.color_primaries), int(frame.color_trc), known, guessed)


def _untagged_siting(codec: str, layout: PixelLayout) -> Siting:
    if codec == "dvvideo" and layout.log2_chroma_h == 1:
        return "topleft"  # IEC 61834-2, PAL: Cb and Cr lie on every other line, and FFmpeg takes both for the upper one
    return "center" if codec in _JPEG_SITED and layout.log2_chroma_w == 1 else "left"


def read_planes(frame: av.VideoFrame) -> tuple[Plane, ...]:
    """Copies of a decoded frame's planes in our order, shapes (rows, columns), native-endian integers."""
    name = frame.format.name
    planar = planar_equivalent(name)
    if planar != name:
        frame = frame.reformat(format=planar, threads=1)
    layout = planar_layout(planar)
    assert layout is not None
    order = _FFMPEG_ORDER.get(layout.kind, (0, 1, 2, 3))[: layout.plane_count]
    shapes = layout.plane_shapes(frame.width, frame.height)
    planes = tuple(_view(frame.planes[i], layout, shape).copy() for i, shape in zip(order, shapes, strict=True))
    return _stretched(name, planes) if planar != name and layout.kind == "rgb" and layout.bits == 8 else planes


def _stretched(pix_fmt: str, planes: tuple[Plane, ...]) -> tuple[Plane, ...]:
    """Samples of 2 to 7 bits (RGB565 and its like) over the whole range of 8: libswscale only shifts them, and white is gray."""
    fmt = av.VideoFormat(pix_fmt, 16, 16)
    bits = [c.bits for c in fmt.components]
    if fmt.has_palette or fmt.is_bayer or len(bits) < len(planes) or all(n == 8 for n in bits):
        return planes
    levels = [np.arange(256) >> (8 - n) for n in bits]
    tables = [(level * 255 + level.max() // 2) // level.max() for level in levels]
    return tuple(table.astype(np.uint8)[plane] for table, plane in zip(tables, planes, strict=False))


def make_frame(format: FrameFormat, planes: Sequence[Plane]) -> av.VideoFrame:
    """An FFmpeg frame that holds copies of `planes`, each (rows, columns), with the colour tags of `format`."""
    layout = format.layout
    frame = av.VideoFrame(format.width, format.height, pix_fmt_of(layout))
    order = _FFMPEG_ORDER.get(layout.kind, (0, 1, 2, 3))[: layout.plane_count]
    for i, plane in zip(order, planes, strict=True):
        np.copyto(_view(frame.planes[i], layout, plane.shape), plane)
    tag_colors(frame, format)
    return frame


def tag_colors(target: av.VideoFrame | av.VideoCodecContext, format: FrameFormat) -> None:
    """Writes the four colour tags of `format` on a frame or an encoder."""
    color = format.color
    target.color_range = 2 if color.full_range else 1
    target.color_primaries = color.primaries
    target.color_trc = color.transfer
    target.colorspace = 0 if format.layout.kind == "rgb" else color.matrix


def _view(plane: av.video.plane.VideoPlane, layout: PixelLayout, shape: tuple[int, int]) -> Plane:
    """The samples of a plane without the padding that FFmpeg puts at the end of each line."""
    samples: Any = np.frombuffer(memoryview(plane), layout.dtype)
    view: Plane = samples.reshape(plane.height, plane.line_size // layout.dtype.itemsize)[: shape[0], : shape[1]]
    return view


if sys.byteorder != "little":  # every layout above is little-endian: the planes would have to be swapped
    raise ImportError("vsr.media.pixels supports little-endian machines only")
