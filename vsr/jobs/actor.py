"""A worker of a cluster as it lives on its node: what is made an actor of. Knows of Ray no more than where it is."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

from vsr import __version__
from vsr.engine.heap import keep_heap
from vsr.errors import JobError, VsrError
from vsr.jobs.joining import Emit, join_film, told
from vsr.jobs.tasks import ENDS, Event, FinishTask, PlanTask, Task, Unfit
from vsr.journal import PLAN, Journal
from vsr.outputs import work_dir

PATIENCE = 40.0  # seconds until what another node has written must be seen; NFS clients keep what they know of a folder for 30


class Doer(Protocol):
    """What does tasks: a `vsr.jobs.worker.Worker`."""

    def do(self, task: Task, emit: Emit) -> None: ...


Make = Callable[[str, int], Doer]  # of a device and a share of the CPU; found on every node by its name


@dataclass(frozen=True)
class Place:
    """Where an actor lives; `problem`: why it is of no use there."""

    host: str
    node: str
    pid: int
    gpus: tuple[str, ...]
    problem: str = ""

    @property
    def name(self) -> str:
        what = f"gpu {', '.join(self.gpus)}, " if self.gpus else ""
        return f"{self.host} ({what}process {self.pid} of node {self.node[:6]})"


def versions() -> dict[str, str]:
    """What a driver and its workers must have in common to understand each other. What makes pixels is in the journal."""
    return {"vsr": __version__, "Python": ".".join(platform.python_version_tuple()[:2])}


class Actor:
    """Does one task at a time, beside an event loop that sends what is told. `make` None: it joins films.

    `cpus`: how many of its machine's cores are for a worker that computes on them. `folder`: the driver's, for relative paths.
    """

    def __init__(self, device: str, cpus: int, folder: str, driver: dict[str, str], make: Make | None) -> None:
        with suppress(OSError):
            os.chdir(folder)
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch is loaded; see vsr.cli.process
        keep_heap()
        ours = versions()
        differing = [f"it has {name} {ours[name]} and the driver {driver[name]}" for name in ours if ours[name] != driver[name]]
        self._problem = "; ".join(differing)
        self._worker: Doer | None = None
        if make is not None and not differing:
            try:
                self._worker = make(device, share_of(device, cpus))
            except VsrError as exc:
                self._problem = str(exc)

    def place(self) -> Place:
        """The first thing that is asked; the answer means that the worker has begun."""
        import ray

        here = ray.get_runtime_context()
        gpus = tuple(map(str, here.get_accelerator_ids().get("GPU", ())))
        return Place(platform.node(), here.get_node_id(), os.getpid(), gpus, self._problem)

    async def do(self, task: Task) -> AsyncIterator[Event]:
        """Does a task on a thread, and yields its events as they come; the last is one of `tasks.ENDS`."""
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()

        def emit(event: Event) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        working = asyncio.create_task(asyncio.to_thread(self._do, task, emit))
        while True:
            event = await events.get()
            if isinstance(event, ENDS):
                await working  # else it could be given the next task before it is done with this one
                yield event
                return
            yield event

    def _do(self, task: Task, emit: Emit) -> None:
        if isinstance(task, FinishTask):
            await_segments(task)
            told(lambda: join_film(task), emit, final=True)
            return
        assert self._worker is not None
        unseen = unseen_path(task)
        if unseen is not None:
            emit(Unfit(f"it cannot see {unseen}; every node needs the films and the results under the same paths"))
        else:
            self._worker.do(task, emit)
        sys.stderr.flush()


def worker_on(device: str, share: int) -> Doer:
    """A worker that computes on a node's device. Raises DeviceError where torch cannot use it."""
    from vsr.engine.precision import resolve_device
    from vsr.jobs.worker import Worker

    resolve_device(device)
    return Worker(device, share)


def end_process(pid: int) -> None:
    """Ends a worker of this node, whatever it is doing."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def share_of(device: str, cpus: int) -> int:
    """How many such workers divide this machine: they may leave each other no more than their part of its cores and memory."""
    if device != "cpu":
        return 1
    from vsr.engine.precision import resolve_threads

    return max(1, resolve_threads(None) // cpus)


def unseen_path(task: Task) -> Path | None:
    """What a task needs, was there for the driver, and is not to be seen from here; waits for what was written just now."""
    if not Path(task.config.source).exists():
        return Path(task.config.source)
    return missing_path(task) if not _within(PATIENCE, lambda: missing_path(task) is None) else None


def missing_path(task: Task) -> Path | None:
    """What of a task's source, work folder and plan is not to be seen from here."""
    folder = work_dir(task.config, task.config.output or "")
    needed = (Path(task.config.source), folder if isinstance(task, PlanTask) else folder / PLAN)
    return next((path for path in needed if not path.exists()), None)


def await_segments(task: FinishTask) -> None:
    """Waits until the segments that other nodes have made are to be seen from here; whether they are whole, the join says."""
    journal = Journal(work_dir(task.config, task.config.output or ""))

    def seen() -> bool:
        try:
            return all(journal.record(segment) is not None for segment in journal.plan().segments)
        except JobError:
            return False

    _within(PATIENCE, seen)


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    until = monotonic() + seconds
    while not true():
        if monotonic() > until:
            return False
        sleep(0.5)
    return True
