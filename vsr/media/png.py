"""PNG (ISO/IEC 15948) in: chunks, 8- and 16-bit samples.

Pillow cannot hold 16-bit colour, so those go through FFmpeg's decoder. Neither notices a picture whose data stops early:
that is checked here, before they allocate anything for it.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt
from PIL.PngImagePlugin import PngImageFile

from vsr.errors import DecodeError
from vsr.media.imagemeta import StillImage, batch_of, check_size, clean_exif, sane_dpi

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
COLOR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")
XMP_KEYWORD = b"XML:com.adobe.xmp"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # x, y, step x, step y
METADATA_LIMIT = 64 << 20  # inflated bytes of one profile or packet: real ones are under 5 MB


def chunk(kind: bytes, payload: bytes) -> bytes:
    """One chunk as it stands in a file: length, type, payload, checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(payload, zlib.crc32(kind)))


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    depth: int
    color_type: int
    interlaced: bool

    @property
    def data_bytes(self) -> int:
        """Length of the inflated image data: rows with their filter byte, of each pass."""
        passes = ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        total = 0
        for x, y, step_x, step_y in passes:
            columns, rows = -(-(self.width - x) // step_x), -(-(self.height - y) // step_y)
            if columns > 0 and rows > 0:
                total += rows * (1 + -(-columns * CHANNELS[self.color_type] * self.depth // 8))
        return total


def read_png(data: bytes) -> StillImage:
    """Decode a PNG: a palette becomes RGB, tRNS alpha, 1 to 4 bits 8. Raises DecodeError, or what the decoders raise."""
    chunks, warnings = _read_chunks(data)
    by_type = dict(reversed(chunks))  # the first of each type
    header = _header(by_type.get(b"IHDR"))
    if len(frames := by_type.get(b"acTL", b"")) >= 4 and int.from_bytes(frames[:4], "big") > 1:
        raise DecodeError("is an animated PNG: convert it to a video first (ffmpeg -i in.png out.mkv)")
    _check_data(header, [payload for kind, payload in chunks if kind == b"IDAT"])
    pixels = b"".join([SIGNATURE, *(chunk(kind, payload) for kind, payload in chunks if kind in _PIXEL_CHUNKS)])
    samples = _decode_16(pixels) if header.depth == 16 else _decode_8(pixels, header, by_type.get(b"tRNS"))
    icc, exif, xmp = _profile(by_type, warnings), _exif(by_type, warnings), _xmp(chunks)
    kept = tuple((k, p) for k, p in chunks if k in COLOR_CHUNKS or (k in TEXT_CHUNKS and not p.startswith(XMP_KEYWORD)))
    return StillImage(
        batch_of(samples, alpha=samples.shape[2] in (2, 4)), "PNG", icc=icc, exif=exif, xmp=xmp,
        dpi=_dpi(by_type), chunks=kept, warnings=tuple(warnings),
    )  # fmt: skip


_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def _read_chunks(data: bytes) -> tuple[list[tuple[bytes, bytes]], list[str]]:
    """All chunks up to IEND, checksums compared: a bad one ends the reading in what pixels need, else the chunk is left out."""
    chunks: list[tuple[bytes, bytes]] = []
    warnings: list[str] = []
    at = len(SIGNATURE)
    while not chunks or chunks[-1][0] != b"IEND":
        if at + 12 > len(data):
            raise DecodeError("is cut short: get the whole PNG again")
        length, kind = struct.unpack_from(">I4s", data, at)
        payload, crc = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(crc) < 4:
            raise DecodeError("is cut short: get the whole PNG again")
        if zlib.crc32(payload, zlib.crc32(kind)) == int.from_bytes(crc, "big"):
            chunks.append((kind, payload))
        elif kind in _PIXEL_CHUNKS or kind[0] & 32 == 0:  # an upper-case first letter marks what a decoder must understand
            raise DecodeError(f"is damaged ({kind.decode('latin-1')!r} fails its checksum): get the PNG again")
        else:
            warnings.append(f"PNG chunk {kind.decode('latin-1')!r} is damaged and left out")
        at += 12 + length
    return chunks, warnings


def _header(payload: bytes | None) -> _Header:
    if payload is None or len(payload) != 13:
        raise DecodeError("is a PNG without a header: get the file again")
    width, height, depth, color_type, _, _, interlace = struct.unpack(">IIBBBBB", payload)
    if color_type not in CHANNELS or depth not in (1, 2, 4, 8, 16):
        raise DecodeError(f"is damaged (no PNG has colour type {color_type} with {depth} bits): get the file again")
    check_size(width, height, CHANNELS[color_type])
    return _Header(width, height, depth, color_type, interlace == 1)


def _check_data(header: _Header, parts: list[bytes]) -> None:
    """Raise DecodeError unless the image data inflates to at least what the header promises."""
    inflate = zlib.decompressobj()
    missing = header.data_bytes
    try:
        for part in parts:
            while part and missing > 0 and not inflate.eof:
                missing -= len(inflate.decompress(part, 1 << 20))
                part = inflate.unconsumed_tail
            while missing > 0 and not inflate.eof and (rest := inflate.decompress(b"", 1 << 20)):
                missing -= len(rest)
    except zlib.error as exc:
        raise DecodeError(f"is damaged ({exc}): get the PNG again") from exc
    if missing > 0:
        raise DecodeError(f"is cut short ({missing} of {header.data_bytes} bytes of pixels are missing): get the PNG again")


def _decode_16(png: bytes) -> npt.NDArray[np.uint16]:
    """(H, W, 1..4) by FFmpeg, whose plane is one row after another of big-endian samples; tRNS becomes alpha there."""
    decoder = av.CodecContext.create("png", "r")
    frames = [*decoder.decode(av.Packet(png)), *decoder.decode(None)]
    if len(frames) != 1 or frames[0].format.name not in ("gray16be", "ya16be", "rgb48be", "rgba64be"):
        raise DecodeError("is damaged (no 16-bit picture comes out of it): get the PNG again")
    frame, plane = frames[0], frames[0].planes[0]
    channels = len(frame.format.components)
    rows = np.frombuffer(memoryview(plane), ">u2").reshape(frame.height, plane.line_size // 2)[:, : frame.width * channels]
    samples: npt.NDArray[np.uint16] = rows.reshape(frame.height, frame.width, channels).astype(np.uint16)
    return samples


def _decode_8(png: bytes, header: _Header, transparent: bytes | None) -> npt.NDArray[np.uint8]:
    """(H, W, 1..4) by Pillow; a transparent colour is compared here, as Pillow forgets that gray of 1 to 4 bits was stretched."""
    image = PngImageFile(io.BytesIO(png))
    image.load()
    if header.color_type == 3:
        return np.asarray(image.convert("RGB" if transparent is None else "RGBA"))
    samples = np.atleast_3d(np.asarray(image.convert("L") if image.mode == "1" else image))
    if transparent is None or header.color_type not in (0, 2):
        return samples
    top = (1 << header.depth) - 1
    key = (np.frombuffer(transparent[: 2 * samples.shape[2]], ">u2") & top).astype(np.uint32) * 255 // top
    alpha = np.where((samples == key).all(axis=2, keepdims=True), 0, 255)
    return np.concatenate([samples, alpha.astype(np.uint8)], axis=2)


def _profile(by_type: dict[bytes, bytes], warnings: list[str]) -> bytes | None:
    """iCCP: name, NUL, compression method, deflated profile."""
    if (payload := by_type.get(b"iCCP")) is None:
        return None
    try:
        return zlib.decompressobj().decompress(payload.partition(b"\0")[2][1:], METADATA_LIMIT)
    except zlib.error:
        warnings.append("the ICC profile is damaged and left out")
        return None


def _exif(by_type: dict[bytes, bytes], warnings: list[str]) -> bytes | None:
    try:
        return clean_exif(by_type[b"eXIf"]) if b"eXIf" in by_type else None
    except ValueError:
        warnings.append("the EXIF block is damaged and left out")
        return None


def _xmp(chunks: list[tuple[bytes, bytes]]) -> bytes | None:
    """iTXt: keyword, NUL, compressed?, method, language, NUL, translated keyword, NUL, text."""
    payload = next((p for k, p in chunks if k == b"iTXt" and p.startswith(XMP_KEYWORD + b"\0")), None)
    if payload is None:
        return None
    flags, text = payload[len(XMP_KEYWORD) + 1 :][:2], payload[len(XMP_KEYWORD) + 3 :].split(b"\0", 2)[-1]
    try:
        return zlib.decompressobj().decompress(text, METADATA_LIMIT) if flags[:1] == b"\1" else text
    except zlib.error:
        return None


def _dpi(by_type: dict[bytes, bytes]) -> tuple[float, float] | None:
    """pHYs: pixels per unit, x and y, and the unit (1 = metre)."""
    if len(payload := by_type.get(b"pHYs", b"")) != 9 or payload[8] != 1:
        return None
    x, y = struct.unpack(">II", payload[:8])
    return sane_dpi(round(x * 0.0254, 2), round(y * 0.0254, 2))
