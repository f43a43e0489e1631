"""Which workers hang: they render, and no frame comes from them."""

from __future__ import annotations

from time import monotonic

PATIENCE = 600.0  # seconds that nothing may come, at least
SLOWER = 20  # times as long as anything has taken of the film before
ASLEEP = 30.0  # seconds between two looks: we were stopped ourselves (Ctrl-Z, a slow disk), and maybe they, too
EVERY = 1.0  # seconds between two looks: with hundreds of workers there is something to hear all the time
FIRST = 12  # times PATIENCE for a film's first frame: nobody knows yet what one takes; esrgan's on a CPU is a matter of minutes


class Watch:
    """When each worker that renders was heard last, and how long a film's frames have taken so far."""

    def __init__(self) -> None:
        self._heard: dict[int, tuple[int, float]] = {}  # by worker: its film, and when
        self._slowest: dict[int, float] = {}  # by film: the longest time between two signs of one worker
        self._looked = monotonic()

    def begins(self, worker: int, film: int) -> None:
        self._heard[worker] = film, monotonic()

    def heard(self, worker: int) -> None:
        """A frame, or a segment, is finished."""
        if worker in self._heard:
            film, before = self._heard[worker]
            now = monotonic()
            self._slowest[film] = max(now - before, self._slowest.get(film, 0.0))
            self._heard[worker] = film, now

    def ends(self, worker: int) -> None:
        self._heard.pop(worker, None)

    def hanging(self) -> dict[int, float]:
        """Workers that hang, each once, and for how many seconds nothing came."""
        now = monotonic()
        if now - self._looked < EVERY:
            return {}
        if now - self._looked > ASLEEP:
            self._heard = {worker: (film, before + now - self._looked) for worker, (film, before) in self._heard.items()}
        self._looked = now
        found = {worker: now - before for worker, (film, before) in self._heard.items() if now - before > self._limit(film)}
        for worker in found:
            del self._heard[worker]
        return found

    def _limit(self, film: int) -> float:
        slowest = self._slowest.get(film)
        return PATIENCE * FIRST if slowest is None else max(PATIENCE, SLOWER * slowest)
