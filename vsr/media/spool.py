"""Packets of a pipe's other streams, kept on disk while its film is upscaled: a pipe cannot be read a second time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from av.packet import Packet
from av.stream import Stream

# stream index, keyframe, pts, dts, duration, time base (numerator, denominator), payload bytes
_RECORD = struct.Struct("<H?qqqiiI")
_NONE = -(1 << 63)


class Spool:
    """An append-only log of packets. `keep` while reading, `packets` when the film is done."""

    def __init__(self, path: Path, skip: int) -> None:
        self.path = path
        self._skip = skip
        self._file = path.open("wb")

    def keep(self, packet: Packet[Stream]) -> None:
        """Appends one packet; flush packets and those of the film itself carry nothing to keep."""
        if packet.size == 0 or packet.stream.index == self._skip:
            return
        base = packet.time_base
        times = (_NONE if t is None else t for t in (packet.pts, packet.dts))
        head = (
            packet.stream.index,
            packet.is_keyframe,
            *times,
            packet.duration or 0,
            base.numerator,
            base.denominator,
            packet.size,
        )
        self._file.write(_RECORD.pack(*head) + bytes(packet))
        self._file.flush()  # someone may be reading behind us

    def close(self) -> None:
        self._file.close()


def read_spool(path: Path, growing: Callable[[], bool] = bool) -> Iterator[tuple[int, Packet[Stream]] | None]:
    """(stream index, packet) in the order in which they came.

    While the file is `growing`, None means "nothing more yet", and going on is allowed.
    """
    with path.open("rb") as file:
        while True:
            start = file.tell()
            head = file.read(_RECORD.size)
            size = _RECORD.unpack(head)[-1] if len(head) == _RECORD.size else 0
            payload = file.read(size)
            if len(head) == _RECORD.size and len(payload) == size:
                yield _packet(head, payload)
            elif growing():
                file.seek(start)
                yield None
            else:
                return


def _packet(head: bytes, payload: bytes) -> tuple[int, Packet[Stream]]:
    index, key, pts, dts, duration, numerator, denominator, _ = _RECORD.unpack(head)
    packet: Packet[Stream] = Packet(payload)
    packet.time_base = Fraction(numerator, denominator)
    packet.pts, packet.dts = (None if t == _NONE else t for t in (pts, dts))
    packet.duration, packet.is_keyframe = duration, key
    return index, packet
