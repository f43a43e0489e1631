"""A pool of workers, as the driver sees it: processes of this machine, actors of a cluster, or a simulation of either."""

from __future__ import annotations

from typing import Protocol

from vsr.jobs.tasks import Event, Task

JOINER = -1  # the first worker that joins films and needs no device; others have lower numbers
WORKERS_A_JOINER = 16  # a GPU makes a film of two hours in about as many minutes as joining takes seconds (docs/scale.md)


def joiners_for(workers: int) -> list[int]:
    """The numbers of those who join, where so many render."""
    return [JOINER - i for i in range(1 + (workers - 1) // WORKERS_A_JOINER)]


class Pool(Protocol):
    """Workers with numbers from 0 on, each doing one task at a time, and joiners with numbers below 0.

    `events` waits until something happens, at most `seconds`. After an event of `tasks.ENDS` its worker has nothing to do; after
    `Lost` it is replaced, as long as that makes sense, and the new one is `Ready` in its own time; after `retire` it is not. One
    that is of no use from the beginning is `Unfit` instead of `Ready`.
    """

    def free(self) -> list[int]:
        """Workers that have begun and have nothing to do; joiners among them."""

    def alive(self) -> int:
        """Workers that there are or that are yet to begin, without joiners; none where nobody is left to join."""

    def give(self, worker: int, task: Task) -> None:
        """A task for a free worker."""

    def events(self, seconds: float) -> list[tuple[int, Event]]:
        """What has happened, in order."""

    def retire(self, worker: int) -> None:
        """This worker is of no use here."""

    def kill(self, worker: int, reason: str) -> None:
        """Ends a worker that does not go on; it is `Lost` when it is gone, for this reason."""

    def name_of(self, worker: int) -> str:
        """For people: a device, a node."""

    def close(self) -> None:
        """Ends every worker, whatever it is doing."""
