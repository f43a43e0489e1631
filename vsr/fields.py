"""Which frames come of an interlaced or telecined film, and when: pure arithmetic on timestamps.

`off`, `auto` and `frame` give one frame for each, at its own time. `field` gives each field a frame of its own: the second
half-way to the next frame. `ivtc` takes the repeated pictures of a 3:2 pulldown out again: of every five frames four remain,
evenly spread over the time of the five.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

Deinterlace = Literal["off", "auto", "frame", "field", "ivtc"]

CYCLE = 5  # frames of which one is repeated in a 3:2 pulldown
KEPT = CYCLE - 1


def ticks(mode: Deinterlace) -> int:
    """Ticks of the output's clock in one tick of the source's: what makes every time below a whole number."""
    return {"field": 2, "ivtc": KEPT}.get(mode, 1)


def rate_factor(mode: Deinterlace) -> Fraction:
    """Frames out for each frame in."""
    return {"field": Fraction(2), "ivtc": Fraction(KEPT, CYCLE)}.get(mode, Fraction(1))


def cycle_of(mode: Deinterlace) -> int:
    """Frames of the source that can only be taken together."""
    return CYCLE if mode == "ivtc" else 1


def output_times(mode: Deinterlace, pts: Sequence[int], step: int = 1) -> list[int]:
    """Times of the frames that come out, in the output's ticks, of frames at `pts`; `step` is the usual distance in source ticks.

    For `ivtc` the first frame begins a cycle; frames after the last whole cycle stay as they are.
    """
    if mode == "field":
        return [time for at, n in enumerate(pts) for time in (2 * n, n + _next(pts, at, step))]
    if mode == "ivtc":
        whole = len(pts) // CYCLE * CYCLE
        cycles = (cycle_times(pts[at], _next(pts, at + CYCLE - 1, step)) for at in range(0, whole, CYCLE))
        return [time for times in cycles for time in times] + [KEPT * n for n in pts[whole:]]
    return list(pts)


def cycle_times(first: int, after: int) -> list[int]:
    """Times of the four frames that remain of five, of which the first has pts `first` and the one after the last has `after`."""
    return [KEPT * first + k * (after - first) for k in range(KEPT)]


def following(pts: int, before: int | None, step: int) -> int:
    """When the frame after the last would come: as long after it as it came after the one `before`, else a usual `step` later."""
    return pts + (pts - before if before is not None else step)


def _next(pts: Sequence[int], at: int, step: int) -> int:
    if at + 1 < len(pts):
        return pts[at + 1]
    return following(pts[at], pts[at - 1] if at else None, step)
