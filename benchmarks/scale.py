"""Where many workers reach a limit:  python -m benchmarks.scale [--workers 1 8 64 256] [--segments 100000] [--json FILE]

The real driver and queue over workers that sleep in a clock of their own: each takes 60 s for a segment, 5 s for a plan and 120 s
for a join, a tenth more or less; films have 50 segments; 1 task in 2000 is lost with its worker. What is measured is the driver:
its own time for a segment, its memory, and how much longer all takes than the segments alone. Then the journal on this disk.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import resource
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time

from vsr.config import UpscaleConfig
from vsr.jobs.batch import Film
from vsr.jobs.driver import Driver
from vsr.jobs.pool import joiners_for
from vsr.jobs.queue import Queue
from vsr.jobs.sources import Source
from vsr.jobs.targets import Target
from vsr.jobs.tasks import Event, Finished, FinishTask, Lost, Made, Planned, PlanTask, Ready, Rendered, RenderTask, Task
from vsr.journal import Journal, SegmentRecord
from vsr.plan import Segment
from vsr.report import Report

SEGMENT, PLAN, JOIN, START = 60.0, 5.0, 120.0, 10.0  # seconds, as on a GPU
FRAMES = 3600  # of a segment
PER_FILM = 50  # segments


@dataclass
class SleepingPool:
    """Workers that sleep, in a clock that jumps to the next event."""

    count: int
    segments: int  # of a film
    joiners: int
    losses: float = 1 / 2000
    clock: float = 0.0
    _idle: set[int] = field(default_factory=set)
    _events: list[tuple[float, int, int, Event]] = field(default_factory=list)
    _number: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        for worker in range(-self.joiners, self.count):
            self._at(START * self._random.random(), worker, Ready())

    def _at(self, seconds: float, worker: int, event: Event) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.clock + seconds, self._number, worker, event))

    def free(self) -> list[int]:
        return list(self._idle)

    def alive(self) -> int:
        return self.count

    def give(self, worker: int, task: Task) -> None:
        self._idle.remove(worker)
        wobble = self._random.uniform(0.9, 1.1)
        if self._random.random() < self.losses:
            self._at(PLAN * wobble, worker, Lost("killed"))
            self._at(START + PLAN * wobble, worker, Ready())
        elif isinstance(task, PlanTask):
            self._at(PLAN * wobble, worker, Planned((FRAMES,) * self.segments))
        elif isinstance(task, FinishTask):
            self._at(JOIN * wobble, worker, Finished(Report(frames_out=FRAMES * self.segments)))
        else:
            assert isinstance(task, RenderTask)
            for place, segment in enumerate(task.segments, 1):
                self._at(SEGMENT * wobble * place, worker, Made(segment, FRAMES))
            self._at(SEGMENT * wobble * len(task.segments), worker, Rendered(Report(seconds=SEGMENT)))

    def events(self, seconds: float) -> list[tuple[int, Event]]:
        when, _, worker, event = heapq.heappop(self._events)
        self.clock = when
        if isinstance(event, (Ready, Planned, Finished, Rendered)):
            self._idle.add(worker)
        return [(worker, event)]

    def retire(self, worker: int) -> None: ...

    def kill(self, worker: int, reason: str) -> None: ...

    def name_of(self, worker: int) -> str:
        return f"worker {worker}"

    def close(self) -> None: ...


def schedule(workers: int, joiners: int, segments: int, folder: Path) -> dict[str, object]:
    """The driver's own cost, with so many sleeping workers."""
    each, films = PER_FILM, segments // PER_FILM
    pool = SleepingPool(workers, each, joiners)
    batch = [
        Film(Target(Source(Path(f"{i}.mkv")), folder / f"{i}.mkv"), config=UpscaleConfig(f"{i}.mkv", str(folder / f"{i}.mkv")))
        for i in range(films)
    ]
    before, began, busy = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, perf_counter(), process_time()
    Driver(batch, pool, Queue(films, workers), lambda progress: None, book=False).run()
    wall, cpu = perf_counter() - began, process_time() - busy
    assert {film.status for film in batch} == {"done"}
    ideal = films * each * SEGMENT / workers
    return {
        "workers": workers,
        "joiners": joiners,
        "segments": films * each,
        "films": films,
        "driver_ms_per_segment": round(1000 * wall / (films * each), 4),
        "driver_cpu_ms_per_segment": round(1000 * cpu / (films * each), 4),
        "driver_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
        "makespan_h": round(pool.clock / 3600, 2),
        "ideal_h": round(ideal / 3600, 2),
        "efficiency": round(ideal / pool.clock, 3),
    }


def timed(work: Callable[[], object], times: int = 1) -> float:
    """Milliseconds of one."""
    began = perf_counter()
    for _ in range(times):
        work()
    return 1000 * (perf_counter() - began) / times


def journal_costs(folder: Path, count: int) -> dict[str, object]:
    """What the journal costs where a film has `count` finished segments."""
    journal = Journal(folder)
    segments = [Segment(i, i, i + 1, FRAMES, i * FRAMES) for i in range(count)]
    records = [SegmentRecord(s.number, f"{s.number:06d}.mkv", 8, "0" * 32, tuple(range(FRAMES))) for s in segments]
    for segment in segments:
        (folder / f"{segment.number:06d}.mkv").write_bytes(b"segments")
    written = iter(records)
    return {
        "segments": count,
        "finish_ms": round(timed(lambda: journal.finish(next(written)), count), 3),
        "read_ms": round(timed(lambda: [journal.record(s) for s in segments]) / count, 3),
        "counts_ms": round(timed(lambda: journal.counts()), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 8, 64, 256])
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--journal", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for workers in options.workers:
            for joiners in sorted({1, len(joiners_for(workers))}):
                runs.append(schedule(workers, joiners, options.segments, Path(folder)))
                print(json.dumps(runs[-1]))
        results["schedule"] = runs
        results["journal"] = journal_costs(Path(folder), options.journal)
        print(json.dumps(results["journal"]))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
