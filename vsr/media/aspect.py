"""The shape of the pixels in Matroska and WebM, for codecs whose pictures do not say it themselves.

The muxer writes it only where a field of the stream is set that PyAV does not set. So the film's track gets a title that is
longer than its own, and when the file is finished the surplus makes room for the two numbers that are missing (RFC 9559:
DisplayWidth, DisplayHeight), without any other byte moving.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.video.stream import VideoStream

from vsr.errors import EncodeError

MUXERS = ("matroska", "webm")
SAYING = ("h264", "hevc")  # their pictures carry it
_FILLER = "\x1f" * 48  # no title has such a character; numbers, sizes and a Void fit with room to spare

_SEGMENT, _TRACKS, _ENTRY, _VIDEO = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\xe0"
_NAME, _WIDTH, _HEIGHT, _UNIT = b"\x53\x6e", b"\x54\xb0", b"\x54\xba", b"\x54\xb2"
_VOID, _CRC = b"\xec", b"\xbf"
_LOOKED_AT = 1 << 20  # bytes: the tracks stand before them, but for attached fonts, which come later


@dataclass(frozen=True)
class _Element:
    """One element of EBML: its identifier, where its content begins and ends."""

    name: bytes
    begin: int
    content: int
    end: int


def is_lacking(container: str, codec: str, sar: Fraction) -> bool:
    """Would a file of this kind lose the shape of the pixels?"""
    return container in MUXERS and codec not in SAYING and sar != 1


def make_room(film: VideoStream) -> None:
    """Before the file is begun: a longer title for the film."""
    film.metadata["title"] = film.metadata.get("title", "") + _FILLER


def write_aspect(path: Path, sar: Fraction, width: int, height: int) -> None:
    """When the file is finished: the title as it was, and the shape. Raises EncodeError where there is no such title in it."""
    with path.open("r+b") as file:
        head = bytearray(file.read(_LOOKED_AT))
        tracks = _down(head, _SEGMENT, _TRACKS)
        for entry in _children(head, tracks, _ENTRY):
            name = next(_children(head, entry, _NAME), None)
            if name is None or not head[name.content : name.end].endswith(_FILLER.encode()):
                continue
            new = _entry(head, entry, name, (round(width * sar), height))
            head[entry.content : entry.end] = new
            _seal(head, tracks)
            file.seek(0)
            file.write(head)
            return
    raise EncodeError(f"{path}: its track has no place for the shape of its pixels; use .mp4, or another --codec")


def _entry(head: bytes | bytearray, entry: _Element, name: _Element, size: tuple[int, int]) -> bytes:
    """A track's content with its title as it was, the display size in its video, and a Void for what is left."""
    parts = bytearray()
    for child in _children(head, entry):
        body = head[child.content : child.end]
        if child == name:
            title = bytes(body[: -len(_FILLER)])
            parts += _written(_NAME, title) if title else b""
        elif child.name == _VIDEO:
            display = b"".join(_written(key, side.to_bytes(4, "big")) for key, side in zip((_WIDTH, _HEIGHT), size, strict=True))
            # without a unit: where the muxer writes no size, it says that its unit is unknown
            kept = (head[it.begin : it.end] for it in _children(head, child) if it.name not in (_UNIT, _WIDTH, _HEIGHT))
            parts += _written(_VIDEO, b"".join(kept) + display)
        else:
            parts += head[child.begin : child.end]
    left = entry.end - entry.content - len(parts)
    return bytes(parts) + _VOID + bytes([0x80 | (left - 2)]) + bytes(left - 2)


def _seal(head: bytearray, tracks: _Element) -> None:
    """The checksum over the tracks, where they have one: it is their first element."""
    first = next(_children(head, tracks))
    if first.name == _CRC:
        head[first.content : first.end] = zlib.crc32(head[first.end : tracks.end]).to_bytes(4, "little")


def _written(name: bytes, content: bytes) -> bytes:
    """An element; its size in two bytes, which do for everything here."""
    return name + (0x4000 | len(content)).to_bytes(2, "big") + content


def _down(head: bytes | bytearray, *names: bytes) -> _Element:
    here = _Element(b"", 0, 0, len(head))
    for name in names:
        found = next(_children(head, here, name), None)
        if found is None:
            raise EncodeError("a finished Matroska file has no list of tracks where it should be; please report it")
        here = found
    return here


def _children(head: bytes | bytearray, parent: _Element, name: bytes | None = None) -> Iterator[_Element]:
    """The elements in another one, as far as they were read."""
    at = parent.content
    while at < parent.end:
        begin, long = at, _length(head[at])
        size_at = at + long
        wide = _length(head[size_at])
        size = int.from_bytes(head[size_at : size_at + wide], "big") & ((1 << 7 * wide) - 1)
        content = size_at + wide
        unknown = size == (1 << 7 * wide) - 1
        end = parent.end if unknown else content + size
        found = _Element(bytes(head[begin:size_at]), begin, content, min(end, parent.end))
        if name is None or found.name == name:
            yield found
        at = end


def _length(first: int) -> int:
    """Bytes of an EBML number by its first one: the leading zero bits tell."""
    return 9 - first.bit_length()
