"""A packet's content without what a container wraps around it: the same bytes in every container."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from av.stream import Stream

Unwrap = Callable[[bytes], bytes]

_START_CODE = re.compile(rb"\x00\x00\x01")
# access unit delimiters and parameter sets: MPEG-TS repeats them in the stream, MP4 and Matroska keep them in the header
_H264_FRAMING, _HEVC_FRAMING = frozenset({7, 8, 9}), frozenset({32, 33, 34, 35})


def unwrapper(stream: Stream) -> Unwrap:
    """What takes the container's framing off this stream's packets.

    ADTS headers of AAC (ISO 14496-3, 1.A.2.2); start codes or length fields of H.264 and HEVC (ISO 14496-15) with the units that
    containers add or move; what PES packets wrap around DVB subtitles (FFmpeg leaves it on the first packet). Every other codec's
    packets are the same everywhere.
    """
    context = stream.codec_context
    name = context.name if context is not None else ""
    if name == "aac":
        return without_adts
    if name == "dvbsub":
        return without_pes_data_header
    if name in ("h264", "hevc"):
        extradata = bytes(context.extradata or b"")
        avc = name == "h264"
        at = 4 if avc else 21
        length = (extradata[at] & 3) + 1 if extradata[:1] == b"\x01" and len(extradata) > at else 0
        return lambda data: _slices(data, length, avc)
    return bytes


def without_adts(data: bytes) -> bytes:
    """A raw AAC frame; `data` itself where no ADTS header with the right length stands before it."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return data
    length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    return data[7 if data[1] & 1 else 9 :] if length == len(data) else data


def without_pes_data_header(data: bytes) -> bytes:
    """Segments of a DVB subtitle without the identifiers and the end mark of a PES packet (ETSI EN 300 743, 7.1)."""
    return data[2:].removesuffix(b"\xff") if data[:3] == b"\x20\x00\x0f" else data


def _slices(data: bytes, length: int, avc: bool) -> bytes:
    kept = []
    for unit in _by_length(data, length) if length else _by_start_code(data):
        kind = unit[0] & 31 if avc else unit[0] >> 1 & 63
        if kind not in (_H264_FRAMING if avc else _HEVC_FRAMING):
            kept.append(unit)
    return b"\0\0\1".join(kept)


def _by_start_code(data: bytes) -> Iterator[bytes]:
    starts = [m.end() for m in _START_CODE.finditer(data)]
    for start, stop in zip(starts, [*(s - 3 for s in starts[1:]), len(data)], strict=True):
        unit = data[start:stop].rstrip(b"\0")
        if unit:
            yield unit


def _by_length(data: bytes, length: int) -> Iterator[bytes]:
    at = 0
    while at + length <= len(data):
        size = int.from_bytes(data[at : at + length], "big")
        unit = data[at + length : at + length + size].rstrip(b"\0")
        if unit:
            yield unit
        at += length + size
