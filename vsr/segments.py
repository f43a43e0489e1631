"""Cutting a film into segments: pure arithmetic on timestamps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from fractions import Fraction

from vsr.plan import Segment

SHORTEST_SECONDS = 2  # of film: below that, encoders spend too much on key frames
AUTO_WALL_SECONDS = 60  # of work: what a crash may cost


def cut(
    pts: Sequence[int],
    time_base: Fraction,
    seconds: float,
    enter: Callable[[int], int | None],
    start: int | None = None,
    stop: int | None = None,
    cycle: int = 1,
) -> tuple[Segment, ...]:
    """Segments of about `seconds` of film each; 0 = one segment. Every frame is in exactly one, in order.

    `pts` increase strictly. Borders lie at multiples of the length after the first frame, so they do not depend on frame counts;
    a span without a frame makes no segment. The last border is left out where less than half a segment would follow.
    `enter` tells where decoding must start for a frame; `start` and `stop` bound the whole where only a part is wanted. Segments
    begin at multiples of `cycle` frames, and are read from their first frame to their last.
    """
    length = max(1, round(seconds / time_base)) if seconds else 0
    borders = [0]
    if length:
        steps = int((pts[-1] - pts[0]) // length)
        for step in range(1, steps + 1):
            at = bisect_left(pts, pts[0] + step * length) // cycle * cycle
            if borders[-1] < at < len(pts) and (step < steps or pts[-1] - pts[at] >= length // 2):
                borders.append(at)
    ends = [*borders[1:], len(pts)]
    segments = []
    for number, (first, last) in enumerate(zip(borders, ends, strict=True)):
        begin, end = pts[first] if number else start, pts[last] if last < len(pts) else stop
        entry = enter(pts[first]) if number or start is not None else None
        segments.append(Segment(number, begin, end, last - first, first, entry, begin=begin, end=end))
    return tuple(segments)


def auto_seconds(pts: Sequence[int], time_base: Fraction, frames_per_second: float) -> float:
    """The length of film that takes about a minute of work at the measured speed; at least 2 s."""
    film = float((pts[-1] - pts[0]) * time_base) or 1.0
    rate = len(pts) / film
    return max(float(SHORTEST_SECONDS), AUTO_WALL_SECONDS * frames_per_second / rate)


def segment_seconds(wanted: float | None, pts: Sequence[int], time_base: Fraction, frames_per_second: float | None) -> float:
    """Seconds of film in a segment where so many are wanted (None = as the speed has it, if that is known); 0 = one segment."""
    if wanted is not None:
        return wanted
    if (pts[-1] - pts[0]) * time_base < 2 * SHORTEST_SECONDS:
        return 0.0
    return auto_seconds(pts, time_base, frames_per_second) if frames_per_second else float(SHORTEST_SECONDS)
