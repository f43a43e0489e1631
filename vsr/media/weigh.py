"""How many bytes a film and its other streams take, read from samples."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

import av.error
from av.container import InputContainer

from vsr.media.source import open_input

SAMPLE_SECONDS = 2.0
_MICROSECONDS = 1_000_000  # of a container's clock


def packet_bytes(path: Path) -> list[int]:
    """The size of every packet of a file that holds nothing but a film, in the file's order. Raises DecodeError."""
    with open_input(str(path)) as container:
        return [packet.size for packet in container.demux(video=0) if packet.size]


def stream_rate(source: str, streams: Collection[int], places: Sequence[float]) -> float:
    """Bytes a second of these streams together, from two seconds at each of `places` (seconds from the file's beginning).

    0 where there are none, or nothing can be read. Raises DecodeError for a file that cannot be opened.
    """
    total = seen = 0.0
    with open_input(source) as container:
        zero = container.start_time or 0
        for place in places if streams else ():
            with suppress(av.error.FFmpegError):
                container.seek(zero + int(place * _MICROSECONDS))
                size, seconds = _read(container, streams)
                total, seen = total + size, seen + seconds
    return total / seen if seen > 0 else 0.0


def _read(container: InputContainer, streams: Collection[int]) -> tuple[int, float]:
    """Bytes of these streams from here on, and the seconds that they last; of the longest, for others may be sparse."""
    first: dict[int, float] = {}
    size, longest = 0, 0.0
    for packet in container.demux([container.streams[index] for index in streams]):
        if packet.pts is None or packet.time_base is None:
            continue
        begin = float(packet.pts * packet.time_base)
        begun = first.setdefault(packet.stream_index, begin)
        if begin - begun >= SAMPLE_SECONDS:
            break
        size += packet.size
        longest = max(longest, begin - begun + float((packet.duration or 0) * packet.time_base))
    return size, longest
