"""Where a batch stands, in frames: counted by events of its workers, told as a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from vsr.jobs.batch import Film

TELL_EVERY = 0.2  # seconds


@dataclass(frozen=True)
class Progress:
    """Where a batch stands: frames made now and by earlier runs, all that there will be (as far as is known), and the films that
    are done, of how many; `film` is one that has just been settled."""

    frames: int
    kept: int
    total: int
    done: int
    films: int
    seconds: float
    film: Film | None = None


OnProgress = Callable[[Progress], None]


class Tally:
    """Counts, and tells `on_progress`."""

    def __init__(self, films: Sequence[Film], on_progress: OnProgress | None) -> None:
        self._films, self._on_progress = films, on_progress
        self.kept = self._made = 0
        self._ahead: dict[int, int] = {}  # frames of the segments that a worker has not finished
        self._began = self._told = monotonic()

    def advanced(self, worker: int, frames: int) -> None:
        """A worker has made so many frames of its task."""
        self._ahead[worker] = frames

    def made(self, worker: int, frames: int) -> None:
        """A segment is finished."""
        self._made += frames
        self._ahead[worker] = self._ahead.get(worker, 0) - frames

    def ended(self, worker: int) -> None:
        self._ahead.pop(worker, None)

    def tell(self, film: Film | None = None, *, now: bool = True) -> None:
        """`now`, or when it is time again."""
        if self._on_progress is None or (not now and monotonic() - self._told < TELL_EVERY):
            return
        todo = [each for each in self._films if each.config is not None and each.status in ("todo", "done", "unfinished")]
        done = sum(each.status != "todo" for each in self._films)
        made = self._made + sum(self._ahead.values())
        total = sum(each.frames for each in todo)
        self._told = monotonic()
        self._on_progress(Progress(made, self.kept, total, done, len(self._films), self._told - self._began, film))
