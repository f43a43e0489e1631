"""TIFF (revision 6.0): 8- and 16-bit gray and RGB, with or without alpha, in strips or tiles; and a writer for the same.

Pillow cannot hold 16-bit colour, and FFmpeg knows neither tiles nor zstd. So the layout is read here; what zlib does not
inflate is given to libtiff (inside Pillow), each strip or tile as a gray 8-bit picture of as many bytes a row. Palettes, bilevel,
CMYK and JPEG inside TIFF are none of this module's: they go through Pillow in `vsr.media.images`.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from itertools import accumulate
from typing import IO

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from vsr.errors import DecodeError, EncodeError
from vsr.media import ifd
from vsr.media.ifd import LONG, SHORT, ByteOrder, Entry
from vsr.media.imagemeta import Samples, StillImage, batch_of, check_size, sane_dpi
from vsr.media.pillow import samples_of

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS = 256, 257, 258, 259, 262, 266, 273
SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT = 277, 278, 279, 282, 283, 284, 296
PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, EXTRA_SAMPLES, SAMPLE_FORMAT = 317, 322, 323, 324, 325, 338, 339
SUBFILE_TYPE, XMP, ICC = 254, 700, 34675
NONE, DEFLATE, JPEG = 1, (8, 32946), ((6,), (7,))
BY_LIBTIFF = (5, 32773, 34925, 50000)  # LZW, PackBits, LZMA, zstd
STRIP_BYTES = 1 << 20
LEVEL = 4  # zlib, after the predictor: 3840x2160 16-bit photo in 1.5 s
MAX_FILE = 2**32 - 2**20  # offsets have 32 bits


@dataclass(frozen=True)
class _Layout:
    """How a picture lies in the file. `parts` are (offset, bytes) of its strips or tiles, channel after channel if planar."""

    width: int
    height: int
    bits: int
    channels: int
    colors: int
    extra: tuple[int, ...]
    compression: int
    inverted: bool
    planar: bool
    predicted: bool
    part_width: int
    part_height: int
    tiled: bool
    parts: tuple[tuple[int, int], ...]


def read_tiff(data: bytes) -> StillImage:
    """Decode a TIFF of one page. Raises DecodeError (float, 12 or 32 bits, many pages, damage), or what Pillow raises."""
    entries = _only_page(data)
    warnings: list[str] = []
    icc = ifd.raw_values(data, entries[ICC]) if ICC in entries else None
    if (layout := _layout(data, entries)) is not None:
        samples, alpha = _read_plain(data, layout, warnings)
    else:
        upright = bytearray(data)
        if ifd.ORIENTATION in entries:  # Pillow would turn the pixels
            ifd.set_integer(upright, entries[ifd.ORIENTATION], 1)
        samples, alpha, icc = samples_of(TiffImageFile(io.BytesIO(upright)), warnings)
    try:
        exif = ifd.exif_of(data, entries)
    except ValueError:
        exif = None
        warnings.append("the EXIF block is damaged and left out")
    return StillImage(
        batch_of(samples, alpha), "TIFF", lossless=ifd.integers(data, entries.get(COMPRESSION)) not in JPEG, icc=icc, exif=exif,
        xmp=ifd.raw_values(data, entries[XMP]) if XMP in entries else None, dpi=_dpi(data, entries), warnings=tuple(warnings),
    )  # fmt: skip


def _only_page(tiff: bytes) -> dict[int, Entry]:
    """The directory of the one picture; reduced copies of it and masks (NewSubfileType 1, 4) do not count."""
    first, following = ifd.read_ifd(tiff, ifd.first_ifd(tiff))
    seen: set[int] = set()
    while following and following not in seen:
        seen.add(following)
        page, following = ifd.read_ifd(tiff, following)
        if not ifd.integers(tiff, page.get(SUBFILE_TYPE), (0,))[0] & 5:
            raise DecodeError("is a TIFF of several pages: split it first (ImageMagick: convert in.tif page-%d.tif)")
    return first


def _dpi(tiff: bytes, entries: dict[int, Entry]) -> tuple[float, float] | None:
    inch = {2: 1.0, 3: 2.54}.get(ifd.integers(tiff, entries.get(RESOLUTION_UNIT), (2,))[0])
    if inch is None or any(tag not in entries or entries[tag].kind != ifd.RATIONAL for tag in (X_RESOLUTION, Y_RESOLUTION)):
        return None
    x, y = (struct.unpack_from(ifd.byte_order(tiff) + "II", tiff, entries[tag].at) for tag in (X_RESOLUTION, Y_RESOLUTION))
    return sane_dpi(x[0] / x[1] * inch, y[0] / y[1] * inch) if x[1] and y[1] else None


def _read_plain(tiff: bytes, layout: _Layout, warnings: list[str]) -> tuple[Samples, bool]:
    """Samples (H, W, channels), and whether the last channel is alpha."""
    samples: Samples = np.empty((layout.height, layout.width, layout.channels), np.uint8 if layout.bits == 8 else np.uint16)
    across, down = -(-layout.width // layout.part_width), -(-layout.height // layout.part_height)
    for number, (at, size) in enumerate(layout.parts):
        channel, place = divmod(number, across * down)
        y, x = place // across * layout.part_height, place % across * layout.part_width
        target = samples[y : y + layout.part_height, x : x + layout.part_width]
        if layout.planar:
            target = target[:, :, channel : channel + 1]
        rows = layout.part_height if layout.tiled else target.shape[0]
        decoded = _decode(tiff[at : at + size], layout, rows, target.shape[2], ifd.byte_order(tiff))
        target[:] = decoded[: target.shape[0], : target.shape[1]]
    if layout.inverted:
        np.subtract((1 << layout.bits) - 1, samples[:, :, :1], out=samples[:, :, :1])
    return _with_alpha(samples, layout, warnings)


def _layout(tiff: bytes, entries: dict[int, Entry]) -> _Layout | None:
    def number(tag: int, default: int = 0) -> int:
        return (ifd.integers(tiff, entries.get(tag)) or (default,))[0]

    width, height, channels, compression = number(WIDTH), number(LENGTH), number(SAMPLES, 1), number(COMPRESSION, NONE)
    check_size(width, height, max(1, channels))
    _check_samples(tiff, entries)
    bits = ifd.integers(tiff, entries.get(BITS)) or (1,)
    colors = {0: 1, 1: 1, 2: 3}.get(number(PHOTOMETRIC, -1), 0)
    layered = number(FILL_ORDER, 1) == 1 and number(PREDICTOR, 1) in (1, 2) and compression in (NONE, *DEFLATE, *BY_LIBTIFF)
    if not (0 < colors <= channels and set(bits) in ({8}, {16}) and layered):
        if 16 in bits:
            raise DecodeError("is a 16-bit TIFF of a kind that vsr does not read (CMYK, Lab...): convert it to 16-bit RGB first")
        return None
    tiled, planar = TILE_OFFSETS in entries, number(PLANAR, 1) == 2 and channels > 1
    strip_rows = min(height, number(ROWS_PER_STRIP, height) or height)
    columns, rows = (number(TILE_WIDTH), number(TILE_LENGTH)) if tiled else (width, strip_rows)
    check_size(columns, rows, channels)
    wanted = -(-width // columns) * -(-height // rows) * (channels if planar else 1)
    return _Layout(
        width, height, bits[0], channels, colors, ifd.integers(tiff, entries.get(EXTRA_SAMPLES), (2,)), compression,
        number(PHOTOMETRIC) == 0, planar, number(PREDICTOR, 1) == 2, columns, rows, tiled, _parts(tiff, entries, tiled, wanted),
    )  # fmt: skip


def _check_samples(tiff: bytes, entries: dict[int, Entry]) -> None:
    bits, formats = ifd.integers(tiff, entries.get(BITS)) or (1,), ifd.integers(tiff, entries.get(SAMPLE_FORMAT)) or (1,)
    if set(formats) - {1, 4}:  # 4 = "undefined", which old writers put for plain numbers
        raise DecodeError(f"holds {'float' if 3 in formats else 'signed'} samples: convert it to unsigned 8 or 16 bits first")
    if max(bits) > 8 and set(bits) != {16}:
        raise DecodeError(f"has {max(bits)} bits a sample: convert it to 8 or 16 bits first")


def _parts(tiff: bytes, entries: dict[int, Entry], tiled: bool, wanted: int) -> tuple[tuple[int, int], ...]:
    offsets = ifd.integers(tiff, entries.get(TILE_OFFSETS if tiled else STRIP_OFFSETS))[:wanted]
    counts = ifd.integers(tiff, entries.get(TILE_COUNTS if tiled else STRIP_COUNTS))[:wanted]
    if not counts and len(offsets) == 1:  # old writers leave it out for a single strip
        counts = (len(tiff) - offsets[0],)
    if len(offsets) < wanted or len(counts) < wanted or any(a + n > len(tiff) for a, n in zip(offsets, counts, strict=True)):
        raise DecodeError("is cut short or damaged (pixels stand outside the file): get the TIFF again")
    return tuple(zip(offsets, counts, strict=True))


def _decode(packed: bytes, layout: _Layout, rows: int, channels: int, order: ByteOrder) -> Samples:
    """Native samples (rows, part_width, channels) of one strip or tile."""
    row_bytes = layout.part_width * channels * layout.bits // 8
    if layout.compression == NONE:
        raw = packed
    elif layout.compression in DEFLATE:
        raw = zlib.decompressobj().decompress(packed, rows * row_bytes)
    else:
        raw = _by_libtiff(packed, layout.compression, rows, row_bytes)
    if len(raw) < rows * row_bytes:
        raise DecodeError("is damaged (a strip or tile is too short): get the TIFF again")
    flat = np.frombuffer(raw, np.uint8 if layout.bits == 8 else f"{order}u2", rows * layout.part_width * channels)
    stored: Samples = flat.astype(flat.dtype.newbyteorder("="), copy=False).reshape(rows, layout.part_width, channels)
    # Predictor: each sample is the difference to the one on its left, modulo 2^bits.
    return np.cumsum(stored, axis=1, dtype=stored.dtype) if layout.predicted else stored


def _by_libtiff(packed: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    tags: dict[int, ifd.Values] = {
        WIDTH: (LONG, (row_bytes,)), LENGTH: (LONG, (rows,)), BITS: (SHORT, (8,)), COMPRESSION: (SHORT, (compression,)),
        PHOTOMETRIC: (SHORT, (1,)), SAMPLES: (SHORT, (1,)), ROWS_PER_STRIP: (LONG, (rows,)),
    }  # fmt: skip
    image = TiffImageFile(io.BytesIO(_head(tags, [len(packed)]) + packed))
    return image.tobytes()


def _with_alpha(samples: Samples, layout: _Layout, warnings: list[str]) -> tuple[Samples, bool]:
    """Colour channels and, where ExtraSamples names one, alpha (2 = straight, 1 = premultiplied: divided out)."""
    spare = layout.channels - layout.colors
    position = next((i for i, kind in enumerate(layout.extra[:spare]) if kind in (1, 2)), None)
    if left_out := spare - (position is not None):
        warnings.append(f"channels of the TIFF that are neither colour nor alpha ({left_out}) are left out")
    colors = samples[:, :, : layout.colors]
    if position is None:
        return colors, False
    alpha = samples[:, :, layout.colors + position, None]
    if layout.extra[position] == 1:
        top = (1 << layout.bits) - 1
        divisor = np.maximum(alpha, 1).astype(np.uint32)
        straight = (np.minimum(colors, alpha).astype(np.uint32) * top + divisor // 2) // divisor  # < 2^32 for 16 bits
        colors = straight.astype(samples.dtype)
    return np.concatenate([colors, alpha], axis=2), True


def write_tiff(file: IO[bytes], image: StillImage) -> None:
    """Write an 8- or 16-bit TIFF (deflate, predictor) with all of the image's metadata. Raises EncodeError over 4 GB, OSError."""
    format = image.batch.format
    channels, width = format.layout.plane_count, format.width
    exif = image.exif or b"II*\0\0\0\0\0"
    rows = max(1, STRIP_BYTES // (width * channels * format.layout.dtype.itemsize))
    strips = [_strip(image, top, top + rows, ifd.byte_order(exif)) for top in range(0, format.height, rows)]
    tags: dict[int, ifd.Values] = {
        WIDTH: (LONG, (width,)), LENGTH: (LONG, (format.height,)), BITS: (SHORT, (format.layout.bits,) * channels),
        COMPRESSION: (SHORT, (DEFLATE[0],)), PHOTOMETRIC: (SHORT, (1 if format.layout.kind == "gray" else 2,)),
        SAMPLES: (SHORT, (channels,)), ROWS_PER_STRIP: (LONG, (rows,)), PLANAR: (SHORT, (1,)), PREDICTOR: (SHORT, (2,)),
        SAMPLE_FORMAT: (SHORT, (1,) * channels),
    }  # fmt: skip
    if format.layout.alpha:
        tags[EXTRA_SAMPLES] = (SHORT, (2,))
    if image.dpi:
        x, y = (round(v * 100) for v in image.dpi)
        tags |= {X_RESOLUTION: (ifd.RATIONAL, (x, 100)), Y_RESOLUTION: (ifd.RATIONAL, (y, 100)), RESOLUTION_UNIT: (SHORT, (2,))}
    if image.icc:
        tags[ICC] = (ifd.UNDEFINED, image.icc)
    if image.xmp:
        tags[XMP] = (ifd.BYTE, image.xmp)
    head = _head(tags, [len(strip) for strip in strips], exif)
    if len(head) + sum(map(len, strips)) > MAX_FILE:
        raise EncodeError("the picture needs more than 4 GB, which TIFF cannot hold: write a .png")
    file.write(head)
    file.writelines(strips)


def _strip(image: StillImage, top: int, bottom: int, order: ByteOrder) -> bytes:
    samples: Samples = np.stack([plane[0, top:bottom] for plane in image.batch.planes], axis=2)
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]
    return zlib.compress(differences.astype(differences.dtype.newbyteorder(order), copy=False).tobytes(), LEVEL)


def _head(tags: dict[int, ifd.Values], strips: list[int], exif: bytes = b"II*\0\0\0\0\0") -> bytes:
    """Everything of a TIFF before its strips, whose lengths are given.

    The file starts with the EXIF block, itself a TIFF, so that every offset in it stays true. Its directory is left behind for a
    new one, which takes over the entries as they are.
    """
    order = ifd.byte_order(exif)
    old = ifd.read_ifd(exif, at)[0] if (at := ifd.first_ifd(exif)) else {}
    inherited = {tag: exif[old[tag].slot : old[tag].slot + 12] for tag in ifd.EXIF_TAGS if tag in old}
    block = exif[:4] + struct.pack(order + "I", len(exif) + len(exif) % 2) + exif[8:] + b"\0" * (len(exif) % 2)
    tags = tags | {STRIP_COUNTS: (LONG, tuple(strips)), STRIP_OFFSETS: (LONG, tuple(strips))}
    start = len(block) + len(ifd.directory(tags, inherited, len(block), order))
    offsets = tuple(accumulate(strips[:-1], initial=start))
    return block + ifd.directory(tags | {STRIP_OFFSETS: (LONG, offsets)}, inherited, len(block), order)
