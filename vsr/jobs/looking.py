"""Films are looked at by several processes: one that makes a decoder crash, or never answers, costs itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from vsr.errors import DecodeError, JobError, VsrError
from vsr.frames import VideoInfo
from vsr.jobs.local import Slot, WorkerProcess, live
from vsr.jobs.tasks import Lost, Ready
from vsr.media.probe import probe

FILMS_EACH = 16  # of a process, which takes half a second to begin; a film takes some hundredths, or long where storage is slow
PROCESSES = 8
PATIENCE = 600.0  # seconds for one film: an archive may have to fetch it from a tape
SLOT = Slot("looking", "", {})


@dataclass(frozen=True)
class Seen:
    """What a film is, or what is wrong with it."""

    info: VideoInfo | None = None
    fault: str = ""


def look_at(films: Sequence[Path], patience: float = PATIENCE) -> list[Seen]:
    """Describes films, in their order; what is wrong with one is told of it alone. Raises JobError where no process can begin."""
    seen = dict(_looked(films, patience))
    return [seen[number] for number in range(len(films))]


def probe_apart(film: Path) -> VideoInfo:
    """As `probe`, by a process of its own. Raises DecodeError for what `probe` does, and where the process dies."""
    (seen,) = look_at([film])
    if seen.info is None:
        raise DecodeError(seen.fault)
    return seen.info


def _looked(films: Sequence[Path], patience: float) -> Iterator[tuple[int, Seen]]:
    waiting = deque(enumerate(films))
    with TemporaryDirectory(prefix="vsr-looking-") as logs, ExitStack() as ends:
        count = min(PROCESSES, -(-len(films) // FILMS_EACH))
        lookers = [_Looker(Path(logs) / f"{number}.log") for number in range(count)]
        for looker in lookers:
            ends.callback(looker.end)
        while waiting or any(looker.process.busy for looker in lookers):
            for looker in lookers:
                if waiting and looker.free:
                    looker.give(*waiting.popleft(), patience)
            wait([looker.process.events for looker in lookers], 0.5)
            for looker in lookers:
                number, seen = looker.number, looker.hear()
                if seen is not None:
                    yield number, seen


class _Looker:
    """A process that looks at one film after the other; a new one where it dies, or does not answer."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.number, self.film, self._until = 0, Path(), 0.0
        self.process = WorkerProcess(SLOT, log, looks)

    @property
    def free(self) -> bool:
        return self.process.ready and not self.process.busy

    def give(self, number: int, film: Path, patience: float) -> None:
        self.number, self.film, self._until = number, film, monotonic() + patience
        self.process.give(film)

    def hear(self) -> Seen | None:
        if self.process.events.poll():
            event: object = self.process.hear()
            if isinstance(event, Seen):
                self.process.busy = False
                return event
            if isinstance(event, Lost):
                return self._anew(event.reason)
        elif self.process.busy and monotonic() > self._until:
            return self._anew("no answer comes; is it a film, and does its storage answer?")
        return None

    def _anew(self, reason: str) -> Seen:
        busy = self.process.busy
        self.process.end()
        if not busy:
            raise JobError(f"films cannot be looked at: {reason}")
        self.process = WorkerProcess(SLOT, self._log, looks)
        return Seen(fault=f"{self.film}: cannot be read: {reason}")

    def end(self) -> None:
        self.process.end()


def looks(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    """The whole life of a process that looks at films."""
    with live(log, parent):
        connection.send(Ready())
        while True:
            connection.send(seen_of(connection.recv()))


def seen_of(film: Path) -> Seen:
    try:
        return Seen(probe(str(film)))
    except VsrError as exc:
        return Seen(fault=str(exc))
    except Exception as exc:
        return Seen(fault=f"{film}: internal error: {type(exc).__name__}: {exc}")
