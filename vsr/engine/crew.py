"""Several upscalers side by side on a CPU, each on threads of its own: frames are dealt to them in turn and come back in order.

Threads that share one frame wait for each other after every operation; threads that have a frame each never do. On two cores
of a Xeon two workers are 1.8 to 1.95 times as fast as one, two threads 1.2 to 1.7 times; and where others want the same cores,
two threads can be slower than one alone (docs/lab.md). The price is the memory of a frame for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle

import torch

from vsr.config import EngineSettings
from vsr.engine.features import Features
from vsr.engine.prefetch import deal, prefetch
from vsr.engine.upscaler import EngineReport, Upscaler
from vsr.frames import FrameBatch, FrameFormat
from vsr.models.spec import Generator

AHEAD = 1  # results that each worker may have waiting: what it made while its turn had not come


class Crew:
    """As `Upscaler`, and the same frames; `settings.workers` of them. One worker works in the caller's thread.

    What one worker finds out about a frame (`features`) the others know too.
    """

    def __init__(self, generator: Generator, source: FrameFormat, target: FrameFormat, settings: EngineSettings) -> None:
        count = settings.workers
        each = replace(settings, threads=settings.threads_each, memory=settings.memory // count, workers=1)
        self.features = Features()
        self._upscalers = [Upscaler(generator, source, target, each, features=self.features) for _ in range(count)]

    @property
    def report(self) -> EngineReport:
        """What happened so far, over all streams and workers, by frame."""
        reports = [upscaler.report for upscaler in self._upscalers]
        return EngineReport(
            tuple(sorted((it for report in reports for it in report.back_offs), key=lambda it: it.frame)),
            tuple(sorted((it for report in reports for it in report.retries), key=lambda it: it.frame)),
            tuple(sorted(frame for report in reports for frame in report.bicubic)),
        )

    def up(self, batch: FrameBatch) -> FrameBatch:
        """Enlarge one batch, on one worker's threads."""
        return self._upscalers[0].up(batch)

    def stream(self, batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
        """Enlarge all batches, in order. Raises what `Upscaler.stream` raises, after the frames before."""
        if len(self._upscalers) == 1:
            yield from self._upscalers[0].stream(batches)
            return
        hands = deal(batches, len(self._upscalers))
        with ExitStack() as stack:
            # what a worker sets for itself is also what threads made later begin with; put back when all workers have ended
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            workers = [
                stack.enter_context(prefetch(upscaler.stream(hand), AHEAD, f"upscale {number}"))
                for number, (upscaler, hand) in enumerate(zip(self._upscalers, hands, strict=True))
            ]
            for worker in cycle(workers):
                result = next(worker, None)
                if result is None:  # the others have nothing left either: they are dealt to in turn
                    return
                yield result
