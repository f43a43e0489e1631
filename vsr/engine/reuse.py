"""Repeated frames are enlarged once. Cartoons are drawn on twos, screen recordings stand still, and a frame that is the same
before is the same after: for networks that look at single frames only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from vsr.errors import UsageError
from vsr.frames import FrameBatch, Plane

MOST = 250  # repeats in a row before a frame is computed again: whoever waits for frames gets some
EXACT = 1000.0  # equal planes
_SAMPLE = 16  # rows that are skipped in the first look
Stream = Callable[[Iterable[FrameBatch]], Iterator[FrameBatch]]


def parse_reuse(wish: str) -> float:
    """The PSNR in dB from which two frames count as the same: "near:DB"; 0 for "off", EXACT for "exact". Raises UsageError."""
    if wish in ("off", "exact"):
        return 0.0 if wish == "off" else EXACT
    kind, _, number = wish.partition(":")
    try:
        decibel = float(number)
    except ValueError:
        decibel = 0.0
    if kind != "near" or not 20 <= decibel <= 120:
        raise UsageError(f"--reuse {wish}: use off, exact, or near:DB with 20 to 120 dB, as near:50")
    return decibel


class Reuse:
    """Leaves repeats out of what `stream` computes, and puts them back in order. `frames` counts them.

    A frame repeats the last one that was computed, when their planes are equal (or within `decibel`, over all samples). Never
    across segments, so that a resumed film sees the same. Batches that go to `stream` hold up to `batch` frames of one segment;
    those that come out hold one.
    """

    def __init__(self, decibel: float, batch: int) -> None:
        self.frames = 0
        self._decibel, self._batch = decibel, batch
        self._order: deque[tuple[FrameBatch, bool]] = deque()

    def through(self, batches: Iterable[FrameBatch], stream: Stream) -> Iterator[FrameBatch]:
        """`stream(batches)`, but for the work that repeats. Raises what `stream` raises."""
        held: FrameBatch | None = None
        for large in stream(self._new(batches)):
            for one in singles(large):
                if held is not None:
                    yield from self._repeats(held)
                self._order.popleft()
                held = one
                yield one
                yield from self._repeats(held)
        if held is not None:
            yield from self._repeats(held)

    def _repeats(self, held: FrameBatch) -> Iterator[FrameBatch]:
        """What follows `held` and shows the same."""
        while self._order and not self._order[0][1]:
            own, _ = self._order.popleft()
            self.frames += 1
            yield replace(
                held, pts=own.pts, duration=own.duration, index=own.index, data=own.data, timings=own.timings, segment=own.segment
            )

    def _new(self, batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
        """Frames that have to be computed, in batches."""
        kept: list[FrameBatch] = []
        last: FrameBatch | None = None
        repeats = 0
        for batch in batches:
            for one in singles(batch):
                if last is not None and one.segment == last.segment and repeats < MOST and self._same(one, last):
                    self._order.append((replace(one, planes=last.planes), False))  # its own planes may go
                    repeats += 1
                    continue
                if kept and kept[0].segment != one.segment:
                    yield stacked(kept)
                    kept = []
                self._order.append((one, True))
                kept.append(one)
                last, repeats = one, 0
                if len(kept) == self._batch:
                    yield stacked(kept)
                    kept = []
        if kept:
            yield stacked(kept)

    def _same(self, one: FrameBatch, other: FrameBatch) -> bool:
        pairs = [*zip(one.planes, other.planes, strict=True)]
        if self._decibel == EXACT:
            return all(np.array_equal(a[:, ::_SAMPLE], b[:, ::_SAMPLE]) for a, b in pairs) and all(
                np.array_equal(a, b) for a, b in pairs
            )
        square = sum(_squares(a, b) for a, b in pairs) / sum(a.size for a, _ in pairs)
        peak = (1 << one.format.layout.bits) - 1
        return square <= peak**2 * 10 ** (-self._decibel / 10)


def _squares(a: Plane, b: Plane) -> float:
    difference = a.astype(np.float32) - b.astype(np.float32)
    return float(np.vdot(difference, difference))


def singles(batch: FrameBatch) -> Iterator[FrameBatch]:
    """The frames of a batch, one by one; their planes are views."""
    if len(batch) == 1:
        yield batch
        return
    for i in range(len(batch)):
        one = slice(i, i + 1)
        yield replace(
            batch, planes=tuple(plane[one] for plane in batch.planes), pts=batch.pts[one], duration=batch.duration[one],
            data=batch.data[one], index=batch.index + i,
        )  # fmt: skip


def stacked(frames: list[FrameBatch]) -> FrameBatch:
    """Single frames as one batch."""
    if len(frames) == 1:
        return frames[0]
    planes = tuple(np.concatenate(same) for same in zip(*(frame.planes for frame in frames), strict=True))
    each = [(frame.pts[0], frame.duration[0], frame.data[0]) for frame in frames]
    pts, duration, data = zip(*each, strict=True)
    return replace(frames[0], planes=planes, pts=pts, duration=duration, data=data)
