"""A film looked at here and there: single frames, reached by seeking, for as long as there is time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from time import monotonic

from vsr.bench.moments import Look, look_at, with_shots
from vsr.engine.reuse import singles
from vsr.errors import DecodeError
from vsr.fields import rate_factor, ticks
from vsr.frames import FrameBatch
from vsr.media.decode import Reader
from vsr.media.hardware import planned
from vsr.media.index import FrameIndex
from vsr.plan import Plan

PLACES = 240  # of a film: one every half a minute in two hours
SHORT = 900  # frames: a film of so many is read from end to end instead
EVERY = 5  # of these, the frames that are looked at
LISTING = ("mov", "matroska")  # containers with a table of key frames: a seek finds the one that is meant

OnLook = Callable[[int, int], None]  # places seen, places in all


@dataclass(frozen=True)
class Film:
    """A film as its plan and its index have it. Times are pts of the source."""

    source: str
    plan: Plan
    index: FrameIndex

    @property
    def pts(self) -> tuple[int, ...]:
        """Of the part that is wanted."""
        return self.index.between(self.plan.start, self.plan.stop)

    def seconds(self, pts: int) -> float:
        """From the film's beginning."""
        return float((pts - self.plan.info.start_pts) * self.plan.info.time_base)

    def moment(self, frame: FrameBatch) -> int:
        """When the source shows what a frame was made of."""
        at = bisect_right(self.index.pts, frame.pts[0] // ticks(self.plan.deinterlace))
        return self.index.pts[max(0, at - 1)]

    def entry(self, pts: int) -> int | None:
        """The key frame just before, in files that list theirs: what is only looked at need not have settled as a film's frame
        must (`FrameIndex.entry_before`)."""
        if not any(name in LISTING for name in self.plan.info.container.split(",")):
            return self.index.entry_before(pts)
        at = bisect_left(self.index.keys, pts)
        return self.index.keys[at - 1] if at and self.index.exact else None

    def nearest(self, pts: int, reach: int) -> tuple[int, bool]:
        """The key frame at or before `pts` and True, where it is no more than `reach` ticks away; else `pts` and False."""
        at = bisect_right(self.index.keys, pts)
        if at and self.index.exact and pts - self.index.keys[at - 1] <= reach:
            return self.index.keys[at - 1], True
        return pts, False

    def after_key(self, pts: int, reach: int) -> int:
        """The frame after that key frame, or `pts`: decoding reaches it soon."""
        key, found = self.nearest(pts, reach)
        next_to_it = bisect_right(self.pts, key)
        return self.pts[next_to_it] if found and next_to_it < len(self.pts) else pts

    def frames(self, start: int) -> Iterator[FrameBatch]:
        """Single frames from the one at `start` on, made whole where they were interlaced. Raises DecodeError."""
        return self._read(start, self.entry(start))

    def near(self, key: int) -> Iterator[FrameBatch]:
        """Single frames from a key frame on, or from one after it that a seek gets to. Raises DecodeError."""
        return (frame for frame in self._read(None, key) if self.moment(frame) >= key)

    def _read(self, start: int | None, enter: int | None) -> Iterator[FrameBatch]:
        plan = self.plan
        with Reader(
            self.source, plan.info, start=start, stop=plan.stop, enter=enter, deinterlace=plan.deinterlace,
            hardware=planned(plan.hwaccel),
        ) as reader:  # fmt: skip
            for batch in reader:
                yield from singles(batch)

    def with_neighbours(self, pts: int, context: int) -> list[FrameBatch]:
        """The frame at `pts`, and so many on each side as there are up to `context`, which are not shown.

        Raises DecodeError where it cannot be read.
        """
        each, count = ticks(self.plan.deinterlace), rate_factor(self.plan.deinterlace)
        at = min(bisect_left(self.pts, pts), len(self.pts) - 1)
        read: list[FrameBatch] = []
        middle = None
        for frame in self.frames(self.pts[max(0, at - ceil(context / count) - (context > 0))]):
            if middle is None and frame.pts[0] >= pts * each:
                middle = len(read)
            read.append(frame)
            if middle is not None and len(read) > middle + context:
                break
        if middle is None:
            raise DecodeError(f"{self.source}: the frame at {self.seconds(pts):.1f} s cannot be read")
        near = range(max(0, middle - context), len(read))
        return [replace(read[at], shown=at == middle) for at in near]


def scout(film: Film, seconds: float, on_look: OnLook | None = None) -> list[Look]:
    """What the film shows, in the order of time: every fifth frame of a short one; of a long one a frame at each of up to
    `PLACES` places that lie evenly over it, visited in an order that leaves them even whenever the `seconds` are over.
    """
    tell = on_look or (lambda seen, places: None)
    looks = (
        _through(film, seconds, tell) if len(film.pts) <= SHORT or not film.index.exact else _here_and_there(film, seconds, tell)
    )
    return with_shots(sorted(looks, key=lambda look: look.pts))


def _through(film: Film, seconds: float, tell: OnLook) -> list[Look]:
    until = monotonic() + seconds
    found: list[Look] = []
    before: FrameBatch | None = None
    for number, frame in enumerate(film.frames(film.pts[0])):
        if number % EVERY == min(1, len(film.pts) - 1):
            found.append(replace(look_at(frame, before), pts=film.moment(frame)))
            tell(number, len(film.pts))
            if monotonic() > until:
                break
        before = frame
    return found


def _here_and_there(film: Film, seconds: float, tell: OnLook) -> list[Look]:
    pts, until = film.pts, monotonic() + seconds
    places = dict.fromkeys(film.nearest(pts[len(pts) * at // PLACES], (pts[-1] - pts[0]) // PLACES) for at in _evenly(PLACES))
    found: dict[int, Look] = {}
    for seen, (place, is_key) in enumerate(places):
        try:
            near = list(islice(film.near(place) if is_key else film.frames(place), 2))
        except DecodeError:  # damaged there
            near = []
        if near and pts[0] <= (at := film.moment(near[-1])) <= pts[-1]:
            found[at] = replace(look_at(near[-1], near[0]), pts=at)
        tell(seen + 1, len(places))
        if monotonic() > until and found:
            break
    return list(found.values())


def _evenly(count: int) -> list[int]:
    """The numbers below `count` in the order of van der Corput: every beginning of it is spread over the whole."""
    bits = (count - 1).bit_length()
    turned = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [number for number in turned if number < count]
