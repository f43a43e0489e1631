"""A still image in memory, and what travels beside its pixels: EXIF, XMP, ICC profile, resolution. Bytes in, bytes out.

An EXIF block is mended in place and never written anew: maker notes hold offsets of their own, which a rewrite would break.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vsr.errors import DecodeError
from vsr.frames import MATRIX_RGB, ColorSpec, FrameBatch, FrameFormat, Kind, PixelLayout, Plane
from vsr.media.ifd import EXIF_IFD, byte_order, first_ifd, integers, read_ifd, set_integer

Samples = npt.NDArray[Any]  # (H, W, channels) of uint8 or uint16

SRGB = ColorSpec(matrix=MATRIX_RGB, full_range=True, primaries=1, transfer=13)
MAX_SAMPLES = 2**31
THUMBNAIL, THUMBNAIL_BYTES = 513, 514  # JPEGInterchangeFormat and its length


@dataclass(frozen=True)
class StillImage:
    """One picture and everything that has to survive its upscaling.

    batch          one frame, "rgb" or "gray", 8 or 16 bits, perhaps alpha (straight, not premultiplied); pixels as stored
    source_format  "PNG", "JPEG", "WEBP", "TIFF" or "BMP"
    lossless       whether the source was stored without loss
    icc            ICC profile
    exif           EXIF block from its "II"/"MM" on, without thumbnail; the orientation is a tag in it, the pixels are not turned
    xmp            XMP packet
    dpi            pixels per inch, horizontal and vertical
    comment        a JPEG's comment
    chunks         text and colour chunks of a PNG, (type, payload), as they were
    warnings       what was changed or left out while reading
    """

    batch: FrameBatch
    source_format: str
    lossless: bool = True
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    comment: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    warnings: tuple[str, ...] = ()

    def with_batch(self, batch: FrameBatch) -> StillImage:
        """The same picture with other pixels: what an upscaler makes of it."""
        return replace(self, batch=batch)


def batch_of(samples: Samples, alpha: bool) -> FrameBatch:
    """One frame from interleaved `samples` (H, W, channels), uint8 or uint16; channels = 1 or 3, + 1 with `alpha`."""
    height, width, channels = samples.shape
    kind: Kind = "gray" if channels - alpha == 1 else "rgb"
    layout = PixelLayout(kind, bits=8 * samples.dtype.itemsize, alpha=alpha)
    planes: tuple[Plane, ...] = tuple(np.ascontiguousarray(samples[None, :, :, c]) for c in range(channels))
    return FrameBatch(FrameFormat(width, height, layout, SRGB), planes, pts=(0,))


def check_size(width: int, height: int, channels: int) -> None:
    """Raise `DecodeError` for a header that no real picture has, before anything is allocated for it."""
    if width < 1 or height < 1:
        raise DecodeError(f"its header says {width}x{height} pixels: the file is damaged")
    if width * height * channels > MAX_SAMPLES:
        raise DecodeError(f"its header says {width}x{height} pixels, more than vsr takes (2^31 samples); cut it into parts")


def clean_exif(exif: bytes) -> bytes | None:
    """An EXIF block without its marker and its thumbnail (it shows the old pixels); None when empty. Raises ValueError."""
    block = bytearray(exif.removeprefix(b"Exif\0\0").removeprefix(b"Exif\0\0"))  # some writers put the marker twice
    first = first_ifd(block)
    entries, thumbnail = read_ifd(block, first)
    if thumbnail:
        (count,) = struct.unpack_from(byte_order(block) + "H", block, first)
        struct.pack_into("4x", block, first + 2 + 12 * count)
        try:
            small, _ = read_ifd(block, thumbnail)
        except ValueError:
            small = {}
        at = integers(block, small.get(THUMBNAIL), (0,))[0]
        size = integers(block, small.get(THUMBNAIL_BYTES), (0,))[0]
        if 8 < at < at + size == len(block):
            del block[at:]
        elif 8 < at < at + size < len(block):
            block[at : at + size] = bytes(size)
    return bytes(block) if entries else None


def exif_with_size(exif: bytes, width: int, height: int) -> bytes:
    """The block with every width and height in it set to the picture's. Raises ValueError."""
    block = bytearray(exif)
    main, _ = read_ifd(block, first_ifd(block))
    sizes = [(main, 256, width), (main, 257, height)]  # ImageWidth, ImageLength
    if pointer := integers(block, main.get(EXIF_IFD)):
        detail, _ = read_ifd(block, pointer[0])
        sizes += [(detail, 40962, width), (detail, 40963, height)]  # PixelXDimension, PixelYDimension
    for directory, tag, value in sizes:
        if tag in directory:
            set_integer(block, directory[tag], value)
    return bytes(block)


_XMP_WIDTH = re.compile(rb"((?:tiff:ImageWidth|exif:PixelXDimension)(?:=[\"']|>))\d+")
_XMP_HEIGHT = re.compile(rb"((?:tiff:ImageLength|exif:PixelYDimension)(?:=[\"']|>))\d+")


def xmp_with_size(xmp: bytes, width: int, height: int) -> bytes:
    """The packet with the width and height of its tiff: and exif: namespaces set to the picture's."""
    return _XMP_HEIGHT.sub(rb"\g<1>%d" % height, _XMP_WIDTH.sub(rb"\g<1>%d" % width, xmp))


def icc_fits(icc: bytes, kind: Kind) -> bool:
    """Whether a profile is one for pixels of this kind (ICC.1:2022, 7.2: data colour space at byte 16, "acsp" at byte 36)."""
    return len(icc) >= 128 and icc[36:40] == b"acsp" and icc[16:20] == (b"GRAY" if kind == "gray" else b"RGB ")


def sane_dpi(x: float, y: float) -> tuple[float, float] | None:
    """The two numbers where they can be a resolution, else None (cameras and scanners write zeros and worse)."""
    ok = all(math.isfinite(v) and 1 <= v <= 65535 for v in (x, y))
    return (x, y) if ok else None
