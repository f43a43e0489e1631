"""Work that is launched kernel by kernel once, and then replayed as a whole: on CUDA, a captured graph for each shape.

RRDB-23 is about 1000 kernels a frame, and launching one takes the host about 5 us: 5 ms that a chip which is done with a
small frame in less spends waiting. A graph is one launch. The price is memory that cannot serve anything else, and that
inputs and outputs stay where they are: a replay overwrites what the one before returned, so whoever wants to keep it copies
it, on the same lane. Both are integer planes, 1.5 bytes a pixel: small against what the network moves.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

Run = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]


class Graphs(Protocol):
    """What differs between devices. All calls are made on the stream that replays will be queued on.

    warm_up(run, inputs)  run it as it is, and let the libraries choose and load what a capture must find done
    capture(run, inputs)  the outputs, not filled yet, and what fills them from whatever `inputs` hold by then
    drain()               wait until no replay is under way
    """

    def warm_up(self, run: Run, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]: ...
    def capture(self, run: Run, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Callable[[], None]]: ...
    def drain(self) -> None: ...


class CudaGraphs:
    """torch.cuda.CUDAGraph, captured on the stream that is entered: any but the default one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def warm_up(self, run: Run, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with searching():
            return run(inputs)

    def capture(self, run: Run, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        cuda: Any = torch.cuda  # without types in some releases
        graph = cuda.CUDAGraph()
        # The very stream of the warm-up, which has its cuBLAS workspace; and not torch's own for captures, which lies on the
        # device that was current when it was made. "thread_local": the decoder's and the encoder's threads may go on with
        # pinned memory, which under the default would break the capture (https://github.com/pytorch/pytorch/pull/107407).
        with cuda.graph(graph, stream=cuda.current_stream(self._device), capture_error_mode="thread_local"):
            outputs = run(inputs)
        return outputs, graph.replay

    def drain(self) -> None:
        torch.cuda.synchronize(self._device)


class HostGraphs:
    """The same on a CPU, for tests: outputs hold nothing before the first replay, and every replay overwrites them."""

    def warm_up(self, run: Run, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return run(inputs)

    def capture(self, run: Run, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        outputs = tuple(torch.zeros_like(tensor) for tensor in run(inputs))

        def replay() -> None:
            for memory, tensor in zip(outputs, run(inputs), strict=True):
                memory.copy_(tensor)

        return outputs, replay

    def drain(self) -> None:
        pass


@dataclass(frozen=True)
class Recording:
    """What was captured for one shape. Its memory belongs to it, and lives as long."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    fill: Callable[[], None]

    def replay(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Queue it for `inputs`, of at most as many frames as were captured: fewer use the front, and the rest is wasted."""
        count = len(inputs[0])
        for memory, tensor in zip(self.inputs, inputs, strict=True):
            memory[:count].copy_(tensor, non_blocking=True)
        self.fill()
        return tuple(memory[:count] for memory in self.outputs)


class Recorder:
    """Runs functions of frames, each shape as it is the first time, captured the second, and replayed from then on."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._warm: set[Hashable] = set()
        self._recordings: dict[Hashable, Recording | None] = {}  # None: as it is, for good
        self.failure = ""  # why the last capture failed

    def run(self, run: Run, inputs: tuple[Tensor, ...], most: int, how: Hashable) -> tuple[Tensor, ...]:
        """`run(inputs)`, valid until the next call.

        inputs  (N, ...) each, as the outputs are, N <= `most`
        most    frames that are recorded; fewer (the end of a segment) go through the same recording and not through one of
                their own, whose memory would come on top of it
        how     everything else that `run` depends on

        A capture that fails, for whatever reason, costs speed alone: that shape runs as it is from then on. Raises what `run`
        raises when it runs as it is.
        """
        key = (how, most, tuple((tensor.dtype, tensor.shape[1:]) for tensor in inputs))
        if key not in self._recordings:
            if len(inputs[0]) < most:
                return run(inputs)
            if key not in self._warm:
                outputs = self._graphs.warm_up(run, inputs)
                self._warm.add(key)  # only now: it may have raised
                return outputs
            self._recordings[key] = self._record(run, inputs)
        recording = self._recordings[key]
        return run(inputs) if recording is None else recording.replay(inputs)

    def drop(self) -> bool:
        """Free the memory of all recordings; their shapes run as they are from now on. Whether there were any."""
        held = [key for key, recording in self._recordings.items() if recording is not None]
        if held:
            self._graphs.drain()
            self._recordings.update(dict.fromkeys(held))
        return bool(held)

    def _record(self, run: Run, inputs: tuple[Tensor, ...]) -> Recording | None:
        try:
            static = tuple(tensor.clone() for tensor in inputs)
            return Recording(static, *self._graphs.capture(run, static))
        except (RuntimeError, MemoryError) as error:  # whoever runs it next does so when this exception, and its memory, is gone
            self.failure = str(error)
            return None


@contextmanager
def searching() -> Iterator[None]:
    """Let cuDNN time its kernels for each convolution that it has not seen yet, instead of guessing.

    Worth it for shapes that return with every frame, which is what is recorded: it takes seconds, and the choice stays with
    the thread's plans when the flag is gone. The flag is the process's; so it is put back.
    """
    cudnn: Any = torch.backends.cudnn  # without types in some releases
    before = cudnn.benchmark
    try:
        cudnn.benchmark = True
        yield
    finally:
        cudnn.benchmark = before
