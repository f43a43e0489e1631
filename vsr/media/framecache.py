"""Decoded frames that stay in memory up to a limit, for readers that come back."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from vsr.frames import FrameFormat, Plane

CACHE_BYTES = 512 << 20  # 172 frames of 1080p in 8-bit 4:2:0, or all of a 240p clip of two minutes


@dataclass(frozen=True)
class Decoded:
    """One frame as it was decoded: planes (rows, columns)."""

    planes: tuple[Plane, ...]
    format: FrameFormat

    @property
    def bytes(self) -> int:
        return sum(plane.nbytes for plane in self.planes)


class FrameCache:
    """Decoded frames in memory, at most `limit` bytes of them.

    With `evict` the longest unused ones make room: films, where a frame's neighbours are wanted next. Without it what came first
    stays: pictures, each of which comes once an epoch, so that the longest unused is always the one that comes next.
    Threads may share one that does not evict; the limit is then kept to within a picture for each of them.
    """

    def __init__(self, limit: int = CACHE_BYTES, *, evict: bool = True) -> None:
        self._limit, self._evict = limit, evict
        self._held: OrderedDict[tuple[str, int], Decoded] = OrderedDict()
        self._bytes = 0

    def get(self, path: str, number: int) -> Decoded | None:
        found = self._held.get((path, number))
        if found is not None and self._evict:
            self._held.move_to_end((path, number))
        return found

    def put(self, path: str, number: int, frame: Decoded) -> None:
        if frame.bytes > self._limit or (path, number) in self._held:
            return
        if not self._evict and self._bytes + frame.bytes > self._limit:
            return
        self._held[path, number] = frame
        self._bytes += frame.bytes
        while self._bytes > self._limit:
            self._bytes -= self._held.popitem(last=False)[1].bytes
