"""Times of frames that are made of fields: arithmetic alone."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vsr.fields import CYCLE, KEPT, Deinterlace, cycle_of, output_times, rate_factor, ticks

STEPS = st.lists(st.integers(1, 4000), min_size=1, max_size=60)
TIMES = STEPS.map(lambda steps: [sum(steps[: n + 1]) for n in range(len(steps))])
MODES: tuple[Deinterlace, ...] = ("off", "auto", "frame", "field", "ivtc")


@given(TIMES, st.integers(1, 500))
def test_times_increase_and_every_source_frame_is_in_its_place(pts: list[int], step: int) -> None:
    for mode in MODES:
        times, each = output_times(mode, pts, step), ticks(mode)
        assert all(a < b for a, b in pairwise(times))
        assert times[0] == pts[0] * each
        assert times[-1] >= pts[-1] * each or mode == "ivtc"
        if len(pts) % cycle_of(mode) == 0:
            assert len(times) == len(pts) * rate_factor(mode)


@given(TIMES)
def test_one_for_one_keeps_every_time(pts: list[int]) -> None:
    for mode in MODES[:3]:
        assert output_times(mode, pts) == pts


@given(TIMES)
def test_fields_lie_half_way(pts: list[int]) -> None:
    times = output_times("field", pts)
    assert times[::2] == [2 * n for n in pts]
    assert times[1:-1:2] == [a + b for a, b in pairwise(pts)]


@given(TIMES)
def test_cycles_begin_at_their_own_time_wherever_they_are_cut(pts: list[int]) -> None:
    """A segment that begins at a cycle gives the times that the whole film gives."""
    whole = output_times("ivtc", pts)
    for cycle in range(1, len(pts) // CYCLE):
        assert output_times("ivtc", pts[cycle * CYCLE :]) == whole[cycle * KEPT :]
        assert whole[cycle * KEPT] == KEPT * pts[cycle * CYCLE]


def test_a_steady_pulldown_becomes_a_steady_film() -> None:
    times = output_times("ivtc", [1001 * n for n in range(25)], 1001)
    assert {b - a for a, b in pairwise(times)} == {5005}
    assert len(times) == 20
