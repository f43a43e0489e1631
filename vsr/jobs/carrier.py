"""A process that carries: it does errands one after the other, beside those that compute."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from vsr.jobs.errands import Errand, fault_of
from vsr.jobs.filesystems import Options
from vsr.jobs.local import STARTS, Slot, WorkerProcess, live
from vsr.jobs.remote import Store
from vsr.jobs.tasks import Lost, Ready


@dataclass(frozen=True)
class Carried:
    """An errand is done, or why not."""

    fault: str = ""


class Carrier:
    """Errands in order, and the process that does them. `options`: see `vsr.jobs.remote.Store`; they go through a pipe, since
    everybody may read command lines and environments."""

    def __init__(self, name: str, options: Options, logs: Path) -> None:
        self._slot, self._options, self._log = Slot(name, "", {}), options, logs / f"{name}.log"
        self._errands: deque[Errand] = deque()
        self._process: WorkerProcess | None = None
        self._starts = 0

    @property
    def idle(self) -> bool:
        return not self._errands

    def take(self, errand: Errand, *, first: bool = False) -> None:
        """One more; `first`: before those that are not begun."""
        self._errands.insert(self._begun if first else len(self._errands), errand)
        self._go_on()

    def drop(self, film: int) -> None:
        """Errands for a film that are not begun are of no use any more."""
        kept = [each for number, each in enumerate(self._errands) if number < self._begun or each.film != film]
        self._errands = deque(kept)

    @property
    def _begun(self) -> int:
        return 1 if self._process is not None and self._process.busy else 0

    def done(self) -> list[tuple[Errand, str]]:
        """What has been done since, with the reason where that failed; waits for nothing."""
        found = []
        while self._process is not None and self._process.events.poll():
            event: object = self._process.hear()
            if isinstance(event, Carried):
                self._process.busy, self._starts = False, 0
                found.append((self._errands.popleft(), event.fault))
            elif isinstance(event, Lost):
                self._process = None
                if self._starts >= STARTS and self._errands:
                    self._starts = 0
                    found.append((self._errands.popleft(), f"{self._slot.name}: {event.reason}"))
            self._go_on()
        return found

    def _go_on(self) -> None:
        if self._process is None and self._errands:
            self._starts += 1
            self._process = WorkerProcess(self._slot, self._log, carry)
            self._process.events.send(self._options)
        if self._process is not None and self._process.ready and not self._process.busy and self._errands:
            self._process.give(self._errands[0])

    def close(self) -> None:
        """Ends it, whatever it is doing: what was not sent lies here still."""
        if self._process is not None:
            self._process.end()
            self._process = None
        self._errands.clear()


def carry(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    """The whole life of a carrier's process."""
    with live(log, parent):
        store = Store(connection.recv())
        connection.send(Ready())
        while True:
            connection.send(Carried(fault_of(connection.recv(), store)))
