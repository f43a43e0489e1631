"""Films that lie elsewhere, through workers that know only files of this machine.

A pool around the pool: the driver and the workers do what they always do, with copies in a staging folder. A plan is held back
until its film is here; a result counts as finished when it is there. Two processes carry, one in each direction, while others
compute: the next films are fetched ahead, finished segments are sent as they come. So a machine that is lost costs the segments
in work, and whoever runs the same command goes on.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from vsr.errors import VsrError
from vsr.jobs.addresses import folder_of
from vsr.jobs.batch import Film, resolve
from vsr.jobs.carrier import Carrier
from vsr.jobs.definition import Definition
from vsr.jobs.errands import Discard, Errand, Fetch, SendPlan, SendResult, SendSegment
from vsr.jobs.looking import probe_apart
from vsr.jobs.pool import Pool
from vsr.jobs.remote import Store
from vsr.jobs.shelf import plan_key
from vsr.jobs.tasks import Event, Failed, Finished, FinishTask, Left, Lost, Made, Planned, PlanTask, Task
from vsr.journal import PLAN

AHEAD = 2  # films that are here beside the one in work
OFTEN = 0.1  # seconds between two looks at the carriers while one of them works


class StagedPool:
    """See `vsr.jobs.pool`. `films` are those of the driver, by the numbers that its tasks name."""

    def __init__(self, inner: Pool, films: Sequence[Film], definition: Definition, device: str = "auto") -> None:
        self._inner, self._films, self._definition, self._device = inner, films, definition, device
        self._logs = tempfile.TemporaryDirectory(prefix="vsr-carriers-")
        self._fetcher, self._sender = (
            Carrier(name, definition.remote, Path(self._logs.name)) for name in ("fetching", "sending")
        )
        self._waiting = deque(number for number, film in enumerate(films) if film.remote)
        self._locks: dict[int, FileLock] = {}  # of films that are here, or on their way
        self._here: set[int] = set()
        self._faults: dict[int, str] = {}
        self._held: dict[int, tuple[int, PlanTask]] = {}  # by film: the worker and its task
        self._kept_back: dict[int, tuple[int, Event]] = {}  # by film: what the driver is told when it is true elsewhere, too
        self._told: list[tuple[int, Event]] = []
        self._doing: dict[int, int] = {}  # the film that a worker has been given
        self._keys: dict[int, str] = {}

    def free(self) -> list[int]:
        busy = {worker for worker, _ in [*self._held.values(), *self._kept_back.values()]}
        return [worker for worker in self._inner.free() if worker not in busy]

    def alive(self) -> int:
        return self._inner.alive()

    def name_of(self, worker: int) -> str:
        return self._inner.name_of(worker)

    def retire(self, worker: int) -> None:
        self._inner.retire(worker)

    def kill(self, worker: int, reason: str) -> None:
        self._inner.kill(worker, reason)

    def give(self, worker: int, task: Task) -> None:
        number = self._doing[worker] = task.film
        if not self._films[number].remote:
            self._inner.give(worker, task)
        elif number in self._faults:
            self._told.append((worker, Failed(self._faults[number], final=True)))
        elif isinstance(task, PlanTask):
            self._held[number] = worker, task
            self._stage()
            self._release(number)
        else:
            if isinstance(task, FinishTask):
                self._sender.drop(number)  # segments are of no use beside the result
            self._inner.give(worker, task)

    def events(self, seconds: float) -> list[tuple[int, Event]]:
        self._leave()
        self._stage()
        for carrier in (self._fetcher, self._sender):
            for errand, fault in carrier.done():
                self._carried(errand, fault)
        told, self._told = self._told, []
        idle = self._fetcher.idle and self._sender.idle
        for worker, event in self._inner.events(0 if told else seconds if idle else min(seconds, OFTEN)):
            heard = self._heard(worker, event)
            told += [(worker, heard)] if heard is not None else []
        return told

    def close(self) -> None:
        self._inner.close()
        self._fetcher.close()
        self._sender.close()
        self._leave()
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()
        self._logs.cleanup()

    # --- coming -------------------------------------------------------------------------------------------------------------

    def _stage(self) -> None:
        """Sends for the next films, as many as there is to be room for."""
        while self._waiting and len(self._locks) <= AHEAD:
            number = self._waiting.popleft()
            film = self._films[number]
            assert film.target.stage is not None and film.config is not None
            try:
                film.target.stage.mkdir(parents=True, exist_ok=True)
                lock = FileLock(film.target.stage / "lock")
                lock.acquire(timeout=0)
            except Timeout:
                self._fail(number, f"{film.target.name}: another vsr of this machine is at work on it; wait for it")
                continue
            except OSError as exc:
                self._fail(number, f"{film.target.stage}: cannot be created: {exc.strerror}; choose another place with --stage")
                continue
            self._locks[number] = lock
            self._fetcher.take(Fetch(number, film.target.source.remote, film.source, film.target.url, film.work_dir))

    def _release(self, number: int) -> None:
        """Gives a plan to the worker that waits for its film, when both are there."""
        if number in self._held and number in self._faults:
            worker, _ = self._held.pop(number)
            self._told.append((worker, Failed(self._faults[number], final=True)))
        if number not in self._held or number not in self._here:
            return
        (worker, task), film = self._held.pop(number), self._films[number]
        try:
            left = resolve(self._definition, film, probe_apart(film.source), self._device) if film.target.source.remote else None
        except VsrError as exc:
            self._told.append((worker, Failed(self._named(number, str(exc)), final=True)))
            return
        if left is not None:
            self._told.append((worker, Left(left.why)))
            return
        assert film.config is not None
        self._inner.give(worker, replace(task, config=film.config))

    # --- going --------------------------------------------------------------------------------------------------------------

    def _heard(self, worker: int, event: Event) -> Event | None:
        """What the driver is told of an event now; None where something has to be sent first."""
        number = self._doing.get(worker)
        if number is None or not self._films[number].remote:
            return event
        film = self._films[number]
        if isinstance(event, Lost) and self._held.get(number, (None,))[0] == worker:
            del self._held[number]
        if isinstance(event, Failed):
            event = replace(event, reason=self._named(number, event.reason))
        if not film.target.url:
            return event
        if isinstance(event, Planned) and not event.finished:
            self._begun(number, event)
        elif isinstance(event, Made):
            self._sender.take(SendSegment(number, film.work_dir, film.target.url, event.segment, self._keys[number]))
        elif isinstance(event, Finished | Planned):
            frames = event.report.frames_out if isinstance(event, Finished) else film.frames
            self._kept_back[number] = worker, event
            # before segments of the next films: it makes room
            result = SendResult(number, film.output, film.target.url, film.identity, frames, film.seconds)
            self._sender.take(result, first=True)
            return None
        elif isinstance(event, Failed) and event.broken:
            self._kept_back[number] = worker, event
            self._sender.take(Discard(number, film.target.url), first=True)
            return None
        return event

    def _begun(self, number: int, plan: Planned) -> None:
        film = self._films[number]
        self._keys[number] = plan_key((film.work_dir / PLAN).read_bytes())
        self._sender.take(SendPlan(number, film.work_dir, film.target.url))
        for segment in plan.kept:
            self._sender.take(SendSegment(number, film.work_dir, film.target.url, segment, self._keys[number], perhaps=True))

    def _carried(self, errand: Errand, fault: str) -> None:
        number = errand.film
        if fault:
            self._fail(number, fault)
        elif isinstance(errand, Fetch):
            self._here.add(number)
        if isinstance(errand, SendResult | Discard):
            worker, event = self._kept_back.pop(number)
            self._told.append((worker, Failed(fault, final=True) if fault and isinstance(errand, SendResult) else event))
        self._release(number)

    def _fail(self, number: int, fault: str) -> None:
        """Nothing more is done for a film: the next task for it fails."""
        self._faults.setdefault(number, fault)
        self._sender.drop(number)
        self._release(number)

    def _named(self, number: int, text: str) -> str:
        """A message with the film's own name, not that of its copy."""
        return text.replace(str(self._films[number].source), self._films[number].target.source.name)

    # --- leaving ------------------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        """Removes the copies of films that are settled. Of one that failed, what it was made into stays, with its log."""
        for number in [number for number in self._locks if self._films[number].status != "todo"]:
            film = self._films[number]
            assert film.target.stage is not None
            with suppress(OSError):
                shutil.rmtree(film.target.stage / "in", ignore_errors=True)
                if film.status != "failed" or not film.target.url:
                    shutil.rmtree(film.target.stage)
            self._locks.pop(number).release()
            self._waiting = deque(each for each in self._waiting if each != number)


def require_writable(films: Sequence[Film], definition: Definition) -> None:
    """Raises JobError where a folder of results elsewhere cannot be written."""
    store = Store(definition.remote)
    for folder in {folder_of(film.target.url) for film in films if film.target.url and film.status == "todo"}:
        store.require_writable(folder)
