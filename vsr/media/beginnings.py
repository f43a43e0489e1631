"""What must be known of a film's companions before the first packet is written: their cover pictures, and when they begin."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from io import BytesIO
from itertools import islice
from typing import Any

import av.error
from av.container import InputContainer

from vsr.media.source import Pipe, exact, open_input

_PACKETS = 500  # interleaved streams all begin within fewer


def cover_pictures(source: str | Pipe, wanted: Collection[int]) -> dict[int, bytes]:
    """Cover art as encoded bytes, by stream index; containers hand it out as the first packets of its streams."""
    return {index: bytes(packet) for index, packet in _first_packets(source, wanted).items()}


def first_times(source: str | Pipe, wanted: Collection[int]) -> list[Fraction]:
    """The first packets' times in seconds. (A stream's `start_time` leaves out what its codec needs to begin.)"""
    packets = _first_packets(source, wanted).values()
    return [packet.pts * exact(packet.time_base) for packet in packets if packet.pts is not None]


def _first_packets(source: str | Pipe, wanted: Collection[int]) -> dict[int, Any]:
    """Read in an opening of its own: not every container can go back to its very first packet."""
    if not wanted:
        return {}
    with open_input(_again(source)) as container:
        return _read(container, wanted)


def _read(container: InputContainer, wanted: Collection[int]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    packets = islice(container.demux([container.streams[i] for i in wanted]), _PACKETS)
    while len(found) < len(wanted):
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            break
        if packet.size:
            found.setdefault(packet.stream.index, packet)
    return found


def _again(source: str | Pipe) -> str | BytesIO:
    return source.head() if isinstance(source, Pipe) else source
