"""What is to be done next: films become plans, plans segments, segments films. Pure bookkeeping: no I/O, no processes.

Films are taken in order, each by all workers together, so that results come one after the other and little unfinished work lies
about. A worker gets several segments in a row while there are many (between two of them the pipeline goes on without a gap) and
one at a time towards the end, so that all end together (guided self-scheduling, Polychronopoulos and Kuck 1987).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

ATTEMPTS = 3  # of a segment, before its film is given up
LONGEST = 8  # segments in a row

State = Literal["waiting", "planning", "rendering", "joining", "elsewhere", "done", "failed"]


@dataclass(frozen=True)
class Step:
    """What a worker is to do: "plan", "render" these segments, or "finish" a film."""

    kind: Literal["plan", "render", "finish"]
    film: int
    segments: tuple[int, ...] = ()


@dataclass
class _Film:
    state: State = "waiting"
    todo: deque[int] = field(default_factory=deque)
    busy: set[int] = field(default_factory=set)
    alone: set[int] = field(default_factory=set)  # were in a task that failed: whichever it was, it must not take others along
    attempts: Counter[int] = field(default_factory=Counter)
    plans: int = 0  # attempts


class Queue:
    """The state of every film of a batch. `mine` tells which segments are for these workers (all, but for `--part`)."""

    def __init__(self, films: int, workers: int, *, attempts: int = ATTEMPTS, mine: Callable[[int, int], bool] | None = None):
        self.workers, self.attempts, self.mine = workers, attempts, mine
        self.stopped = False  # nothing new is begun
        self._films = [_Film() for _ in range(films)]
        self._waiting = deque(range(films))
        self._active: deque[int] = deque()  # planned, with segments to do
        self._joining: deque[int] = deque()
        self._left = films
        self._todo = 0  # segments of active films
        self._planning = 0

    @property
    def over(self) -> bool:
        """Is every film done, failed, or in others' hands?"""
        return self._left == 0 or (self.stopped and not any(f.busy or f.state in ("planning", "joining") for f in self._films))

    def state(self, film: int) -> State:
        return self._films[film].state

    def next(self) -> Step | None:
        """For a worker with a device: a plan before the last segments are given out, else segments."""
        if self._waiting and not self.stopped and self._todo + LONGEST * self._planning < self.workers:
            film = self._waiting.popleft()
            self._films[film].state = "planning"
            self._films[film].plans += 1
            self._planning += 1
            return Step("plan", film)
        if self.stopped or not self._active:
            return None
        number = self._active[0]
        film_ = self._films[number]
        segments = self._take(film_)
        if not film_.todo:
            self._active.popleft()
        return Step("render", number, segments)

    def _take(self, film: _Film) -> tuple[int, ...]:
        if film.todo[0] in film.alone:
            taken = [film.todo.popleft()]
        else:
            count = max(1, min(LONGEST, self._todo // (2 * self.workers)))
            taken = []
            while film.todo and len(taken) < count and film.todo[0] not in film.alone:
                taken.append(film.todo.popleft())
        film.busy.update(taken)
        self._todo -= len(taken)
        return tuple(taken)

    def next_join(self) -> Step | None:
        """For whoever joins: a film of which all segments are finished."""
        return Step("finish", self._joining.popleft()) if self._joining else None

    def planned(self, number: int, segments: Iterable[int], kept: Iterable[int] = ()) -> None:
        """A film has a plan, and these of its segments are finished already."""
        film, done = self._films[number], set(kept)
        self._planning -= 1
        ours = [s for s in segments if s not in done and (self.mine is None or self.mine(number, s))]
        film.state = "rendering"
        film.todo.extend(ours)
        self._todo += len(ours)
        if ours:
            self._active.append(number)
        else:
            self._complete(number)

    def postponed(self, number: int) -> None:
        """A film is not to be planned now: after the others, then."""
        self._planning -= 1
        self._films[number].plans -= 1
        self._films[number].state = "waiting"
        self._waiting.append(number)

    def made(self, number: int, segment: int) -> None:
        """A segment is finished."""
        film = self._films[number]
        if segment not in film.busy:
            return
        film.busy.discard(segment)
        if film.state == "rendering" and not film.busy and not film.todo:
            self._complete(number)

    def _complete(self, number: int) -> None:
        film = self._films[number]
        if self.mine is not None:  # whoever finds that the others are done, too, joins it
            film.state = "elsewhere"
            self._left -= 1
        else:
            film.state = "joining"
            self._joining.append(number)

    def join_after_all(self, number: int) -> None:
        """The others have made their segments, too: this film is ours to join."""
        self._films[number].state = "joining"
        self._left += 1
        self._joining.append(number)

    def done(self, number: int) -> None:
        """A film has its final name (or needs nothing)."""
        self._end(number, "done")

    def fail(self, number: int) -> None:
        """A film is given up: what others still make of it does not count any more."""
        self._end(number, "failed")

    def failed(self, step: Step, *, final: bool) -> bool:
        """A step came to nothing, or its worker is gone. Returns whether its film is given up.

        The first segment that is not finished is at fault, as far as anyone can tell; all of them go back, one by one.
        """
        film = self._films[step.film]
        if film.state in ("failed", "done"):
            return False
        if step.kind == "plan":
            self._planning -= 1
            if final or film.plans >= self.attempts:
                self._end(step.film, "failed")
                return True
            film.state = "waiting"
            self._waiting.appendleft(step.film)
            return False
        if step.kind == "finish":
            film.plans += 1
            if final or film.plans > self.attempts:
                self._end(step.film, "failed")
                return True
            self._joining.append(step.film)
            return False
        left = [s for s in step.segments if s in film.busy]
        if not left:
            return False
        film.attempts[left[0]] += 1
        film.busy.difference_update(left)
        if final or film.attempts[left[0]] >= self.attempts:
            self._end(step.film, "failed")
            return True
        film.alone.update(left)
        self._give_back(step.film, left)
        return False

    def returned(self, step: Step) -> None:
        """A step was not done, for no fault of the film's: it is for another worker."""
        film = self._films[step.film]
        if step.kind == "render":
            left = [s for s in step.segments if s in film.busy]
            film.busy.difference_update(left)
            self._give_back(step.film, left)
        elif step.kind == "plan":
            self._planning -= 1
            film.plans -= 1
            film.state = "waiting"
            self._waiting.appendleft(step.film)
        else:
            self._joining.append(step.film)

    def _give_back(self, number: int, segments: Sequence[int]) -> None:
        film = self._films[number]
        if segments and not film.todo:
            self._active.appendleft(number)
        film.todo.extendleft(reversed(segments))
        self._todo += len(segments)

    def _end(self, number: int, state: State) -> None:
        film = self._films[number]
        if film.state in ("done", "failed"):
            return
        if film.state == "waiting" and number in self._waiting:
            self._waiting.remove(number)
        for line in (self._active, self._joining):
            if number in line:
                line.remove(number)
        self._todo -= len(film.todo)
        film.todo.clear()
        film.busy.clear()
        if film.state != "elsewhere":
            self._left -= 1
        film.state = state
