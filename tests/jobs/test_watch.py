"""Workers that hang are found, and slow ones are not taken for them."""

from __future__ import annotations

import pytest

from vsr.jobs import watch
from vsr.jobs.watch import ASLEEP, FIRST, SLOWER, Watch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(watch, "monotonic", lambda: now[0])
    monkeypatch.setattr(watch, "PATIENCE", 100)
    return now


def wait(clock: list[float], watched: Watch, seconds: float) -> dict[int, float]:
    """What is found in that time, looking as often as a driver does."""
    found: dict[int, float] = {}
    until = clock[0] + seconds
    while clock[0] < until:
        clock[0] = min(until, clock[0] + 0.5)
        found |= watched.hanging()
    return found


def test_one_that_gives_no_frame_any_more_hangs_once(clock: list[float]) -> None:
    watched = Watch()
    for worker in (0, 1):
        watched.begins(worker, 7)
    for _ in range(200):
        assert not wait(clock, watched, 1)
        watched.heard(0)
        watched.heard(1)
    for _ in range(99):
        assert not wait(clock, watched, 1)
        watched.heard(0)
    found = wait(clock, watched, 3)
    assert found.keys() == {1} and found[1] == pytest.approx(100, abs=2)
    assert not wait(clock, watched, 96)


def test_a_film_with_slow_frames_is_given_time(clock: list[float]) -> None:
    watched = Watch()
    watched.begins(0, 7)
    assert not wait(clock, watched, 50)
    watched.heard(0)
    assert not wait(clock, watched, 50 * SLOWER)
    watched.begins(1, 8)
    assert wait(clock, watched, 2).keys() == {0}, "another film, where nothing is known"
    assert not wait(clock, watched, 100 * FIRST - 3)
    assert wait(clock, watched, 4).keys() == {1}


def test_who_has_ended_does_not_hang(clock: list[float]) -> None:
    watched = Watch()
    watched.begins(0, 7)
    watched.ends(0)
    watched.heard(0)
    assert not wait(clock, watched, 1e4)


def test_a_machine_that_slept_kills_nobody(clock: list[float]) -> None:
    watched = Watch()
    watched.begins(0, 7)
    watched.heard(0)
    assert not wait(clock, watched, 90)
    clock[0] += 10 * ASLEEP + 5000
    assert not watched.hanging() and not wait(clock, watched, 8)
    assert wait(clock, watched, 4).keys() == {0}
