"""Segment arithmetic: every frame in exactly one segment, whatever the timestamps."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from vsr.segments import auto_seconds, cut

TIMES = st.builds(
    lambda start, steps: tuple(accumulate(steps, initial=start)),
    st.integers(-(10**6), 10**9),
    st.lists(st.integers(1, 5000), max_size=200),
)


@given(TIMES, st.fractions(Fraction(1, 90000), Fraction(1, 10)), st.floats(0.01, 100))
def test_each_frame_is_in_exactly_one_segment(pts: tuple[int, ...], base: Fraction, seconds: float) -> None:
    segments = cut(pts, base, seconds, lambda p: None)
    held = [p for s in segments for p in pts if (s.start is None or p >= s.start) and (s.stop is None or p < s.stop)]
    assert tuple(held) == pts
    assert [s.number for s in segments] == list(range(len(segments)))
    assert sum(s.frames for s in segments) == len(pts)
    assert [s.first for s in segments] == [sum(t.frames for t in segments[: s.number]) for s in segments]
    assert all(s.frames > 0 for s in segments)


@given(TIMES, st.floats(0.5, 50))
def test_segments_are_about_as_long_as_asked(pts: tuple[int, ...], seconds: float) -> None:
    base = Fraction(1, 1000)
    length = round(seconds / base)
    for segment in cut(pts, base, seconds, lambda p: None)[:-1]:
        assert segment.stop is not None
        first = segment.start if segment.start is not None else pts[0]
        gap = max((b - a for a, b in pairwise(pts)), default=0)
        assert segment.stop - first <= 2 * (length + gap)


def test_zero_means_one_segment_and_entries_are_asked_for() -> None:
    assert len(cut((0, 10, 20), Fraction(1, 10), 0, lambda p: None)) == 1
    segments = cut(tuple(range(100)), Fraction(1, 10), 2.0, lambda p: p - 7)
    assert [s.start for s in segments] == [None, 20, 40, 60, 80]
    assert [s.enter for s in segments] == [None, 13, 33, 53, 73]
    assert (segments[-1].stop, segments[-1].frames) == (None, 20)


def test_auto_is_a_minute_of_work_and_two_seconds_of_film_at_least() -> None:
    pts, base = tuple(range(25 * 600)), Fraction(1, 25)
    assert auto_seconds(pts, base, 25.0) == 60.0 * 25 / (25 * 600 / ((25 * 600 - 1) / 25))
    assert auto_seconds(pts, base, 0.01) == 2.0
