"""Workers as processes of this machine: one for each device, or several that divide a CPU, and one that joins."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, cast

from vsr.engine.heap import keep_heap
from vsr.jobs.joining import Emit, join_film, told
from vsr.jobs.pool import JOINER, joiners_for
from vsr.jobs.tasks import ENDS, Event, FinishTask, Lost, Ready, Task

if TYPE_CHECKING:
    from vsr.jobs.worker import Worker

STARTS = 3  # in a row that may fail before a device is given up
ENDING = 10.0  # seconds for a process that is killed to be gone; one that waits for a dead disk or GPU cannot be ended
TAIL = 2000  # bytes of what a lost worker has said last
_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class Slot:
    """A place for a worker: the device as people name it, what it is called inside its process, and that process's environment.

    `share`: processes that divide the CPU.
    """

    name: str
    device: str
    environment: Mapping[str, str]
    share: int = 1


JOINING = Slot("joiner", "", {})


def slots_of(devices: Sequence[str], workers: int = 0) -> list[Slot]:
    """A slot for each device; of a CPU, `workers`. A process sees no CUDA device but its own, as number 0: what is planned on one
    can be made on another."""
    slots = []
    for name in devices:
        kind, _, number = name.partition(":")
        if kind == "cuda":
            slots.append(Slot(name, "cuda:0", {"CUDA_VISIBLE_DEVICES": _visible(int(number or 0))}))
        elif kind == "cpu":
            count = max(1, workers)
            slots += [Slot(f"cpu worker {i + 1}" if count > 1 else "cpu", "cpu", {}, count) for i in range(count)]
        else:
            slots.append(Slot(name, name, {}))
    return slots


def _visible(number: int) -> str:
    """The name that CUDA has for a device: where only some are visible, numbers count these."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[number].strip() if visible else str(number)


Life = Callable[[Slot, Connection, str, int], None]


class LocalPool:
    """Processes, each in its slot; see `vsr.jobs.pool`. `life` is what each of them runs."""

    def __init__(self, slots: Sequence[Slot], life: Life | None = None) -> None:
        self._life = life or serve
        self._logs = tempfile.TemporaryDirectory(prefix="vsr-batch-")
        self._slots = dict(enumerate(slots)) | dict.fromkeys(joiners_for(len(slots)), JOINING)
        self._starts = dict.fromkeys(self._slots, 0)
        self._workers: dict[int, WorkerProcess] = {}
        for number in self._slots:
            self._start(number)

    def _start(self, number: int) -> None:
        self._starts[number] += 1
        self._workers[number] = WorkerProcess(self._slots[number], Path(self._logs.name) / f"{number}.log", self._life)

    def free(self) -> list[int]:
        return [number for number, worker in self._workers.items() if worker.ready and not worker.busy]

    def alive(self) -> int:
        joiners = sum(number <= JOINER for number in self._workers)
        return len(self._workers) - joiners if joiners else 0  # nothing could be finished

    def give(self, worker: int, task: Task) -> None:
        self._workers[worker].give(task)

    def name_of(self, worker: int) -> str:
        return self._slots[worker].name

    def events(self, seconds: float) -> list[tuple[int, Event]]:
        numbers = {worker.events: number for number, worker in self._workers.items()}
        found: list[tuple[int, Event]] = []
        for connection in cast(list[Connection], wait(list(numbers), seconds)):
            number = numbers[connection]
            event = self._workers[number].hear()
            if isinstance(event, Ready):
                self._starts[number] = 0
            if isinstance(event, Lost):
                self._replace(number)
            found.append((number, event))
        return found

    def _replace(self, number: int) -> None:
        del self._workers[number]
        if self._starts[number] < STARTS:
            self._start(number)

    def retire(self, worker: int) -> None:
        if worker in self._workers:
            self._workers.pop(worker).end()

    def kill(self, worker: int, reason: str) -> None:
        self._workers[worker].kill(reason)

    def close(self) -> None:
        for number in list(self._workers):
            self.retire(number)
        self._logs.cleanup()


class WorkerProcess:
    """A worker's process and the pipe to it."""

    def __init__(self, slot: Slot, log: Path, life: Life) -> None:
        context = get_context("spawn")
        self.events, theirs = context.Pipe()
        self.ready = self.busy = False
        self._log, self._killed_for = log, ""
        self._process: SpawnProcess = context.Process(target=life, args=(slot, theirs, str(log), os.getpid()), daemon=True)
        with spared():
            self._process.start()
        theirs.close()

    def give(self, task: object) -> None:
        self.busy = True
        try:
            self.events.send(task)
        except OSError:
            return  # it is gone: `hear` tells

    def hear(self) -> Event:
        try:
            event = cast(Event, self.events.recv())
        except (EOFError, OSError):
            return Lost(self._last_words())
        if isinstance(event, Ready):
            self.ready = True
        if isinstance(event, ENDS):
            self.busy = False
        return event

    def kill(self, reason: str) -> None:
        """Ends it; `hear` tells why when it is gone."""
        self._killed_for = reason
        self._process.kill()

    def _last_words(self) -> str:
        if self._killed_for:
            return self._killed_for
        self._process.join()
        code = self._process.exitcode or 0
        how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
        said = ""
        with suppress(FileNotFoundError), self._log.open("rb") as file:  # it may have ended before it could say anything
            file.seek(max(0, self._log.stat().st_size - TAIL))
            said = file.read().decode(errors="replace").strip()
        hint = "; the system may have run out of memory" if code == -signal.SIGKILL else ""
        return f"its process {how}{hint}{f': {said}' if said else ''}"

    def end(self) -> None:
        self._process.kill()
        self._process.join(ENDING)
        self.events.close()


def serve(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    """The whole life of a worker's process: it does what it is given, one task after the other, until nobody is there."""
    with live(log, parent):
        os.environ.update(slot.environment)
        keep_heap()
        do = joins if slot == JOINING else worker_of(slot).do
        connection.send(Ready())
        while True:
            do(connection.recv(), connection.send)


@contextmanager
def live(log: str, parent: int) -> Iterator[None]:
    """A process that lives for `parent`: it ends with it, leaves signals of the terminal to it, and writes errors to `log`."""
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the driver decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, sys.__stderr__.fileno() if sys.__stderr__ else 2)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        yield


@contextmanager
def spared() -> Iterator[None]:
    """What is started here does not hear the terminal's Ctrl-C while it begins: it has no words for that yet."""
    if os.name != "posix":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def deaf() -> Iterator[None]:
    """Whoever stops must not be stopped."""
    try:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, which signals come to
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def worker_of(slot: Slot) -> Worker:
    """A worker for a slot: torch is loaded here, after the environment is set."""
    from vsr.jobs.worker import Worker

    return Worker(slot.device, slot.share)


def joins(task: Task, emit: Emit) -> None:
    """What the joiner does with its tasks."""
    assert isinstance(task, FinishTask)
    told(lambda: join_film(task), emit, final=True)


def end_with(parent: int) -> None:
    """Lets this process be killed when `parent` ends, however it does (Linux; elsewhere it ends after its task)."""
    try:
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    except (AttributeError, OSError, TypeError):
        return
    if os.getppid() != parent:
        os._exit(1)
