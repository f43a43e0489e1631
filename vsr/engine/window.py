"""Frames with their neighbours, for models that look at several: windows that end where the shot ends.

At the film's ends and at cuts a window is completed by reflection inside the shot, the edge itself not repeated; in shots
shorter than that by repeating their last frame. Whether a cut lies between two frames depends on them alone (vsr.scenes), so a
frame's window depends on no more than the frames in it: wherever reading began, it is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, groupby
from operator import attrgetter

from vsr.engine.reuse import singles, stacked
from vsr.frames import FrameBatch, Window
from vsr.scenes import Thumb, is_cut, thumb


@dataclass(frozen=True)
class _Placed:
    """A frame, and the number of its shot in what was read."""

    frame: FrameBatch
    shot: int


class Windows:
    """Gives every frame that is shown its window of `context` neighbours on each side; batches of up to `batch` frames come out.

    `cuts` are the numbers (`FrameBatch.index`) of the frames that begin a new shot, by segment. No window crosses a segment: what
    lies around it comes with it, and is not shown.
    """

    def __init__(self, context: int, batch: int = 1) -> None:
        self.cuts: dict[int, list[int]] = {}
        self._context, self._batch = context, batch

    def through(self, batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
        """The frames of `batches` with their windows, in order."""
        frames = chain.from_iterable(singles(batch) for batch in batches)
        for segment, run in groupby(frames, attrgetter("segment")):
            self.cuts[segment] = []
            kept: list[tuple[FrameBatch, tuple[FrameBatch, ...]]] = []
            for one in self._neighbours(run):
                kept.append(one)
                if len(kept) == self._batch:
                    yield _together(kept)
                    kept = []
            if kept:
                yield _together(kept)

    def _neighbours(self, frames: Iterable[FrameBatch]) -> Iterator[tuple[FrameBatch, tuple[FrameBatch, ...]]]:
        """Each shown frame of a segment with the frames that its window shows, in order."""
        near: list[_Placed] = []  # the last ones read; that at position `at` is the next to get its window
        at = 0
        for placed in self._placed(frames):
            near.append(placed)
            if len(near) - at > self._context:
                yield from self._window(near, at)
                at += 1
            if at > self._context:
                near.pop(0)
                at -= 1
        for last in range(at, len(near)):
            yield from self._window(near, last)

    def _placed(self, frames: Iterable[FrameBatch]) -> Iterator[_Placed]:
        before: Thumb | None = None
        shot = 0
        for frame in frames:
            now = thumb(tuple(plane[0] for plane in frame.planes), frame.format.layout)
            if before is not None and is_cut(before, now):
                shot += 1
                if frame.shown:
                    self.cuts[frame.segment].append(frame.index)
            before = now
            yield _Placed(frame, shot)

    def _window(self, near: list[_Placed], at: int) -> Iterator[tuple[FrameBatch, tuple[FrameBatch, ...]]]:
        """The window of the frame at position `at`, where it is shown."""
        frame, shot = near[at].frame, near[at].shot
        if not frame.shown:
            return
        wide = range(at - self._context, at + self._context + 1)
        inside = [i for i in wide if 0 <= i < len(near) and near[i].shot == shot]
        picks = reflected(wide, inside[0], inside[-1])
        yield frame, tuple(near[i].frame for i in picks)


def reflected(wide: Iterable[int], first: int, last: int) -> tuple[int, ...]:
    """Positions beyond `first` and `last` reflected there, and never beyond the other end."""
    mirrored = (2 * first - i if i < first else 2 * last - i if i > last else i for i in wide)
    return tuple(min(max(i, first), last) for i in mirrored)


def alone(batch: FrameBatch, context: int) -> FrameBatch:
    """The batch with windows in which every frame is its own neighbour: pictures that do not belong together."""
    window = Window(tuple(singles(batch)), tuple((i,) * (2 * context + 1) for i in range(len(batch))))
    return replace(batch, window=window)


def _together(kept: list[tuple[FrameBatch, tuple[FrameBatch, ...]]]) -> FrameBatch:
    """Frames with their neighbours as one batch, every frame in its window once."""
    once = {id(frame): frame for _, neighbours in kept for frame in neighbours}
    order = sorted(once.values(), key=attrgetter("pts"))
    position = {id(frame): at for at, frame in enumerate(order)}
    picks = tuple(tuple(position[id(frame)] for frame in neighbours) for _, neighbours in kept)
    return replace(stacked([frame for frame, _ in kept]), window=Window(tuple(order), picks))
