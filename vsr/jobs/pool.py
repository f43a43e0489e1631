"""A pool of workers, as the driver sees it: processes of this machine, actors of a cluster, or a simulation of either."""

from __future__ import annotations

from typing import Protocol

from vsr.jobs.tasks import Event, Task

JOINER = -1  # the worker that joins films and needs no device


class Pool(Protocol):
    """Workers with numbers from 0 on, each doing one task at a time, and `JOINER`.

    `events` waits until something happens, at most `seconds`. After an event of `tasks.ENDS` its worker has nothing to do; after
    `Lost` it is replaced, as long as that makes sense, and the new one is `Ready` in its own time; after `retire` it is not. One
    that is of no use from the beginning is `Unfit` instead of `Ready`.
    """

    def free(self) -> list[int]:
        """Workers that have begun and have nothing to do; `JOINER` among them."""

    def alive(self) -> int:
        """Workers that there are or that are yet to begin, without `JOINER`; none where that cannot begin."""

    def give(self, worker: int, task: Task) -> None:
        """A task for a free worker."""

    def events(self, seconds: float) -> list[tuple[int, Event]]:
        """What has happened, in order."""

    def retire(self, worker: int) -> None:
        """This worker is of no use here."""

    def name_of(self, worker: int) -> str:
        """For people: a device, a node."""

    def close(self) -> None:
        """Ends every worker, whatever it is doing."""
