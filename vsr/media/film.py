"""A film's frames by number, through PyAV: entered at key frames, with the index as the judge."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import av.error
import numpy as np
from av.video.stream import VideoStream

from vsr.errors import DecodeError
from vsr.media.decode import Reader
from vsr.media.framecache import Decoded
from vsr.media.index import build_index
from vsr.media.probe import probe
from vsr.media.source import open_input

_COMPARED = 3  # frames after a key frame that are read in two ways


class Film:
    """Frames of a film by number in display order.

    A frame is reached from the last key frame before it. (Segments of a job enter one key frame earlier still, in case the
    first does not give whole pictures, as with recovery points; here the film's middle key frame is tried in both ways, and
    the nearer one serves where the pixels are equal: 1.5 groups of pictures become 0.5.) Films whose index is not exact (AVI
    without display times, say) are read from the beginning each time.

    Raises DecodeError for a film that cannot be read, is HDR or interlaced.
    """

    shareable = True

    def __init__(self, path: str) -> None:
        info = probe(path)
        if info.hdr:
            raise DecodeError(f"{path}: is HDR ({', '.join(info.hdr)}), and training takes SDR; convert it first")
        if info.interlaced:
            raise DecodeError(f"{path}: is interlaced, and training takes whole frames; deinterlace it first")
        self.path = path
        self.index = build_index(path, info)
        self.info = replace(info, clock=self.index.clock)
        self.count, self.width, self.height = len(self.index), info.format.width, info.format.height
        self._keys = [bisect_left(self.index.pts, pts) for pts in self.index.keys] if self.index.exact else []
        self._near = self._near_is_exact()

    def entry(self, number: int) -> int:
        """The first frame that is decoded to reach `number`: the one after a key frame, or the film's first."""
        at = bisect_left(self._keys, number) - 1
        return self._keys[at] + 1 if at >= 0 and self._keys[at] else 0

    def read(self, first: int, last: int) -> Iterator[tuple[int, Decoded]]:
        """Frames from `entry(first)` to `last` with their numbers. Raises DecodeError where they are not those of the index."""
        yield from self._read(first, last, self._near)

    def close(self) -> None:
        """Nothing is held open between two readings."""

    def _read(self, first: int, last: int, near: bool) -> Iterator[tuple[int, Decoded]]:
        number, pts = self.entry(first), self.index.pts
        start = enter = None
        if number:
            start = pts[number]
            # a Reader that enters at a key frame starts after it, so the key frame itself belongs to the group before
            enter = pts[number - 1] if near else self.index.entry_before(start)
        with Reader(self.path, self.info, start=start, stop=pts[last] + 1, enter=enter) as reader:
            for batch in reader:
                if number > last or batch.pts[0] != pts[number]:
                    break
                yield number, Decoded(tuple(plane[0] for plane in batch.planes), batch.format)
                number += 1
        if number <= last:
            raise DecodeError(
                f"{self.path}: frame {number} of {self.count} is not where the index has it; convert the film first"
            )

    def _seek_finds(self, key: int) -> bool:
        """Whether a seek to a key frame arrives at it: in transport streams it comes out behind, and all would be read again."""
        with open_input(self.path) as container:
            video = container.streams[self.info.index]
            assert isinstance(video, VideoStream)
            with suppress(av.error.FFmpegError, OSError):
                container.seek(self.index.pts[key], stream=video, backward=True)
                return next(container.demux(video)).pts == self.index.pts[key]
        return False

    def _near_is_exact(self) -> bool:
        """Whether entering at the key frame next to a frame gives the pixels that entering earlier gives, tried in the middle."""
        if len(self._keys) < 3:
            return True  # there is nothing to enter at but what entering earlier would take, or one place
        key = self._keys[len(self._keys) // 2]
        first, last = key + 1, min(key + _COMPARED, self.count - 1)
        if not self._seek_finds(key):
            return False
        ways = ([frame.planes for _, frame in self._read(first, last, near)] for near in (True, False))
        return all(np.array_equal(a, b) for one, other in zip(*ways, strict=True) for a, b in zip(one, other, strict=True))
