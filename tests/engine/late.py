"""A backend that, like a GPU, copies nothing before somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from vsr.engine.graphs import HostGraphs, Run
from vsr.engine.lanes import LANES, Lane


class LateBackend:
    """Copies are queued on their lane and happen only when an event behind them is waited for; `log` says what was done.

    Computing happens at once. With `record` it is recorded: a replay comes after all copies that its lane has queued before.
    """

    def __init__(self, *, record: bool = False) -> None:
        self.graphs: LateGraphs | None = LateGraphs(self) if record else None
        self.queues: dict[Lane, list[Callable[[], object]]] = {lane: [] for lane in LANES}
        self.entered: list[Lane] = []
        self.log: list[str] = []
        self.held: list[Tensor] = []  # alive, so that no memory is counted twice

    @contextmanager
    def on(self, lane: Lane) -> Iterator[None]:
        self.entered.append(lane)
        try:
            yield
        finally:
            self.entered.pop()

    def event(self) -> LateEvent:
        return LateEvent(self)

    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        self.log.append("allocate")
        return torch.full(shape, 99, dtype=dtype)

    def mirror(self, staging: Tensor) -> Tensor:
        return torch.full_like(staging, 77)

    def upload(self, staging: Tensor, mirror: Tensor) -> None:
        assert self.entered == ["h2d"]
        self.queues["h2d"].append(lambda: mirror.copy_(staging))

    def hold(self, piece: Tensor, memory: Tensor) -> None:
        assert self.entered == ["model"]
        self.held.append(memory)
        self.queues["model"].append(lambda: memory.copy_(piece))

    def download(self, tensor: Tensor) -> Tensor:
        assert self.entered == ["d2h"]
        host = torch.full_like(tensor, 55)
        self.queues["d2h"].append(lambda: host.copy_(tensor))
        return host

    def catch_up(self, lane: Lane, work: list[Callable[[], object]]) -> None:
        """Do those of the lane's jobs that are in `work`."""
        queue = self.queues[lane]
        for job in [job for job in queue if job in work]:
            with torch.inference_mode():
                job()
            queue.remove(job)


class LateGraphs(HostGraphs):
    def __init__(self, backend: LateBackend) -> None:
        self.backend = backend
        self.captured = self.replayed = 0

    def capture(self, run: Run, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        assert self.backend.entered == ["model"]
        outputs, replay = super().capture(run, inputs)
        self.captured += 1

        def in_turn() -> None:
            assert self.backend.entered == ["model"]
            self.backend.catch_up("model", self.backend.queues["model"])
            self.replayed += 1
            replay()

        return outputs, in_turn


class LateEvent:
    def __init__(self, backend: LateBackend) -> None:
        self.backend = backend
        self.work: list[Callable[[], object]] = []

    def record(self) -> None:
        queue = self.backend.queues[self.backend.entered[-1]]
        self.work = list(queue)

    def wait(self) -> None:
        self.synchronize()

    def query(self) -> bool:
        return False

    def synchronize(self) -> None:
        for lane in LANES:
            self.backend.catch_up(lane, self.work)
        self.work = []

    def elapsed_time(self, end_event: object, /) -> float:
        return 1.0
