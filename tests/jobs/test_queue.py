"""Who does what next: every segment once, whatever happens to workers."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.jobs.queue import ATTEMPTS, LONGEST, Queue, Step
from vsr.jobs.run import share_of


class World:
    """Films with so many segments each, and workers that a seed lets die, fail or finish, in any order."""

    def __init__(self, films: list[int], workers: int, seed: int, poison: set[tuple[int, int]], trouble: float) -> None:
        self.films, self.poison, self.trouble = films, poison, trouble
        self.random = random.Random(seed)
        self.queue = Queue(len(films), workers)
        self.idle, self.joiner_free = workers, True
        self.busy: list[tuple[Step, list[int]]] = []
        self.made: Counter[tuple[int, int]] = Counter()
        self.joined: list[int] = []

    def run(self) -> None:
        for _ in range(100_000):
            if self.queue.over:
                return
            while self.idle and (step := self.queue.next()):
                self.idle -= 1
                self.busy.append((step, list(step.segments)))
            if self.joiner_free and (step := self.queue.next_join()):
                self.joiner_free = False
                self.busy.append((step, []))
            assert self.busy, "nobody works, and it is not over"
            self.step()
        raise AssertionError("it never ends")

    def step(self) -> None:
        place = self.random.randrange(len(self.busy))
        step, left = self.busy[place]
        if step.kind == "render" and left:
            if (step.film, left[0]) in self.poison:
                self.end(place, failed=True)
            elif self.random.random() < self.trouble:
                self.end(place, failed=None)
            else:
                segment = left.pop(0)
                self.made[step.film, segment] += self.queue.state(step.film) == "rendering"
                self.queue.made(step.film, segment)
            return
        if self.random.random() < self.trouble:
            self.end(place, failed=None)
            return
        if step.kind == "plan":
            count = self.films[step.film]
            self.queue.planned(step.film, range(count), [s for s in range(count) if s % 5 == 4])
        elif step.kind == "finish":
            self.joined.append(step.film)
            self.queue.done(step.film)
        self.end(place)

    def end(self, place: int, *, failed: bool | None = False) -> None:
        step, _ = self.busy.pop(place)
        if step.kind == "finish":
            self.joiner_free = True
        else:
            self.idle += 1
        if failed:
            self.queue.failed(step, final=False)
        elif failed is None:
            self.queue.returned(step)


worlds = st.tuples(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 1 << 30))


@given(worlds, st.sampled_from([0.0, 0.1, 0.4]))
def test_every_segment_is_made_once_and_every_film_joined(world: tuple[list[int], int, int], trouble: float) -> None:
    films, workers, seed = world
    here = World(films, workers, seed, set(), trouble)
    here.run()
    wanted = {(film, segment) for film, count in enumerate(films) for segment in range(count) if segment % 5 != 4}
    assert set(here.made) == wanted and set(here.made.values()) <= {1}
    assert sorted(here.joined) == list(range(len(films)))
    assert all(here.queue.state(film) == "done" for film in range(len(films)))


@given(worlds, st.integers(0, 100))
def test_a_poison_segment_fails_its_film_and_no_other(world: tuple[list[int], int, int], where: int) -> None:
    films, workers, seed = world
    victim = where % len(films)
    todo = [segment for segment in range(films[victim]) if segment % 5 != 4]
    poison = {(victim, todo[where % len(todo)])} if todo else set()
    here = World(films, workers, seed, poison, 0.1)
    here.run()
    for film in range(len(films)):
        assert here.queue.state(film) == ("failed" if poison and film == victim else "done")
    assert sorted(here.joined) == [film for film in range(len(films)) if not (poison and film == victim)]


def planned(segments: int, workers: int) -> Queue:
    queue = Queue(1, workers)
    assert queue.next() == Step("plan", 0)
    queue.planned(0, range(segments))
    return queue


def test_many_in_a_row_at_first_and_single_ones_at_the_end() -> None:
    queue = planned(100, 2)
    sizes = []
    while (step := queue.next()) is not None:
        sizes.append(len(step.segments))
    assert sizes[0] == LONGEST and sizes[-3:] == [1, 1, 1] and sum(sizes) == 100
    assert sizes == sorted(sizes, reverse=True)


def test_after_a_failure_each_goes_alone_and_only_the_guilty_counts() -> None:
    queue = planned(40, 2)
    step = queue.next()
    assert step is not None and len(step.segments) == LONGEST
    queue.made(0, 0)
    assert not queue.failed(step, final=False)  # segment 1 is at fault, as far as anyone can tell
    for attempt in range(2, ATTEMPTS):
        again = queue.next()
        assert again == Step("render", 0, (1,))
        assert not queue.failed(again, final=False), attempt
    last = queue.next()
    assert last == Step("render", 0, (1,))
    assert queue.failed(last, final=False) and queue.state(0) == "failed" and queue.over


def test_a_second_film_is_planned_before_workers_run_dry() -> None:
    queue = Queue(3, 2)
    assert queue.next() == Step("plan", 0)
    assert queue.next() is None, "one plan for two workers, who share the film"
    queue.planned(0, range(3))
    steps = [queue.next() for _ in range(3)]
    assert [step.kind for step in steps if step] == ["render", "render", "plan"]


def test_when_stopped_what_is_begun_is_ended() -> None:
    queue = planned(4, 2)
    step = queue.next()
    assert step is not None
    queue.stopped = True
    assert queue.next() is None and not queue.over
    queue.made(0, step.segments[0])
    assert queue.over


@given(st.text(min_size=1), st.integers(1, 9), st.integers(0, 200))
def test_shares_are_whole_and_alike(name: str, count: int, segments: int) -> None:
    shares = Counter(share_of(name, segment, count) for segment in range(segments))
    assert sum(shares.values()) == segments and set(shares) <= set(range(1, count + 1))
    assert not shares or max(shares.values()) - min(shares.get(i, 0) for i in range(1, count + 1)) <= 1


def test_what_is_not_ours_is_left_to_others() -> None:
    queue = Queue(1, 1, mine=lambda film, segment: segment % 2 == 0)
    assert queue.next() == Step("plan", 0)
    queue.planned(0, range(4), [2])
    step = queue.next()
    assert step == Step("render", 0, (0,))
    queue.made(0, 0)
    assert queue.state(0) == "elsewhere" and queue.over
    queue.join_after_all(0)
    assert queue.next_join() == Step("finish", 0) and not queue.over


@pytest.mark.parametrize("kept", [range(4), range(3)])
def test_what_is_kept_is_not_made_again(kept: range) -> None:
    queue = Queue(1, 1)
    queue.next()
    queue.planned(0, range(4), kept)
    assert queue.state(0) == ("joining" if len(kept) == 4 else "rendering")


def test_what_needs_nothing_is_not_joined() -> None:
    """A film that was finished, or left out, when its plan was to be made."""
    queue = Queue(2, 1)
    assert queue.next() == Step("plan", 0)
    queue.planned(0, ())
    queue.done(0)
    assert queue.next_join() is None and queue.state(0) == "done" and not queue.over
