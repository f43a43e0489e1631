"""The upscaler on a real GPU: what the CPU and its twins cannot show. Written without one; VSR_REQUIRE_CUDA=1 runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.engine.test_upscaler import (
    RGB,
    YUV,
    YUV10,
    Greedy,
    Overflowing,
    TwoConvs,
    assert_same,
    by_hand,
    close,
    dark_and_bright,
    film,
    format_of,
)
from vsr.config import EngineSettings
from vsr.engine.conversion import BackOff
from vsr.engine.graphs import CudaGraphs, Run
from vsr.engine.lanes import CudaBackend
from vsr.engine.prefetch import prefetch
from vsr.engine.upscaler import EngineReport, Retry, Upscaler
from vsr.frames import FrameBatch, FrameFormat
from vsr.models.spec import Generator, Precision

pytestmark = pytest.mark.needs_cuda

# In levels of 8 bits and of 10: against fp32 on a CPU, and between kernels that cuDNN chose for batches of different sizes.
TOLERANCE: dict[Precision, int] = {"fp32": 1, "fp16": 4, "bf16": 24}


class Counting(CudaGraphs):
    """What is captured is counted when it has worked."""

    captured = replayed = 0

    def capture(self, run: Run, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        outputs, fill = super().capture(run, inputs)
        self.captured += 1

        def replay() -> None:
            self.replayed += 1
            fill()

        return outputs, replay


def on_gpu(
    net: Generator, source: FrameFormat, target: FrameFormat, settings: EngineSettings, kind: type[Counting] = Counting
) -> tuple[Upscaler, Counting]:
    """An upscaler on the first GPU, and what counts its graphs."""
    device = torch.device("cuda", 0)
    backend, graphs = CudaBackend(device), kind(device)
    backend.graphs = graphs
    return Upscaler(net, source, target, replace(settings, device="cuda"), backend), graphs


@contextmanager
def no_more_than(byte_count: int) -> Iterator[None]:
    """Let torch take this much more of the GPU's memory than it holds, and then say that there is none."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(0) + byte_count) / total, 0)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_stream_is_the_loop_and_near_the_cpu(precision: Precision, slots: int) -> None:
    batches, target = film(format_of(YUV10, 320, 180), 4, 4, 4, 4, 4, 3), format_of(YUV10, 640, 360)
    upscaler, graphs = on_gpu(TwoConvs(), batches[0].format, target, EngineSettings(precision=precision, batch=4, slots=slots))
    on_cpu = Upscaler(TwoConvs(), batches[0].format, target, EngineSettings())
    for result, batch in zip(upscaler.stream(batches), batches, strict=True):
        assert (result.format, result.pts, result.index) == (target, batch.pts, batch.index)
        assert close(result.planes, upscaler.up(batch).planes, TOLERANCE[precision])
        assert close(result.planes, on_cpu.up(batch).planes, TOLERANCE[precision])
    assert (graphs.captured, graphs.replayed) == (1, 5)
    assert upscaler.report == EngineReport()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("tile", [None, 96])
def test_replays_give_the_bytes_that_launches_give(precision: Precision, tile: int | None) -> None:
    """Whole batches alone: the thread keeps cuDNN's plan for a shape, so that both use the same kernels."""
    batches, target = film(format_of(YUV, 320, 180), 4, 4, 4, 4), format_of(YUV, 600, 300)
    settings = EngineSettings(precision=precision, batch=4, tile=tile, halo=2)
    upscaler, graphs = on_gpu(TwoConvs(), batches[0].format, target, settings)
    recorded = [*upscaler.stream(batches)]
    launched = Upscaler(
        TwoConvs(),
        batches[0].format,
        target,
        replace(settings, device="cuda"),
        CudaBackend(torch.device("cuda", 0), record=False),
    )
    for result, plain, batch in zip(recorded, launched.stream(batches), batches, strict=True):
        assert_same(result, plain)
        assert_same(result, upscaler.up(batch))
    assert (graphs.captured, graphs.replayed) == (1, 3)
    assert not torch.backends.cudnn.benchmark  # put back


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # torch says that it does not see every synchronisation
def test_the_steady_state_waits_for_nothing_and_allocates_nothing() -> None:
    """But for the event of the oldest batch, which torch does not count as a synchronisation."""
    batches, target = film(format_of(YUV, 320, 180), *[4] * 8), format_of(YUV, 640, 360)
    upscaler, graphs = on_gpu(TwoConvs(), batches[0].format, target, EngineSettings(precision="fp16", batch=4))
    first = [*upscaler.stream(batches)]
    allocated = torch.cuda.memory_stats(0)["allocation.all.allocated"]
    torch.cuda.set_sync_debug_mode("error")
    try:
        second = [*upscaler.stream(batches)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.memory_stats(0)["allocation.all.allocated"] == allocated
    for one, other in zip(first, second, strict=True):
        assert close(one.planes, other.planes)
    assert (graphs.captured, graphs.replayed) == (1, 7 + 8)


def test_other_threads_may_take_pinned_memory_during_a_capture() -> None:
    batches, target = film(format_of(YUV, 320, 180), *[2] * 12), format_of(YUV, 640, 360)
    upscaler, graphs = on_gpu(TwoConvs(), batches[0].format, target, EngineSettings(precision="fp16", batch=2))

    def pinning() -> Iterator[FrameBatch]:
        for number, batch in enumerate(batches):
            for size in range(1, 20):  # sizes that no cache has
                torch.empty((20 * number + size) << 16, dtype=torch.uint8, pin_memory=True)
            yield batch

    with prefetch(pinning(), 4, "decode") as decoded, prefetch(upscaler.stream(decoded), 4, "upscale") as results:
        for result, batch in zip(results, batches, strict=True):
            assert close(result.planes, by_hand(TwoConvs(), batch, target), TOLERANCE["fp16"])
    assert (graphs.captured, graphs.replayed) == (1, 11)


# ---- memory ---------------------------------------------------------------------------------------------------------


def test_out_of_memory_halves_the_batch_then_the_tile() -> None:
    format, target = format_of(YUV, 160, 96), format_of(YUV, 320, 192)
    batches = film(format, 4, 4)
    upscaler, graphs = on_gpu(Greedy(100 * 100), format, target, EngineSettings(batch=4))
    on_cpu = Upscaler(TwoConvs(), format, target, EngineSettings())
    for result, batch in zip(upscaler.stream(batches), batches, strict=True):
        assert close(result.planes, on_cpu.up(batch).planes)
    assert upscaler.report.back_offs == (BackOff(0, 2, None), BackOff(0, 1, None), BackOff(0, 1, 80))
    assert (graphs.captured, graphs.replayed) == (1, 7)


def test_really_out_of_memory() -> None:
    format, target = format_of(YUV, 1920, 1080), format_of(YUV, 3840, 2160)
    (batch,) = film(format, 1)
    with no_more_than(300 << 20):
        upscaler, _ = on_gpu(TwoConvs(), format, target, EngineSettings())
        result = upscaler.up(batch)
    assert upscaler.report.back_offs
    plain, _ = on_gpu(TwoConvs(), format, target, EngineSettings())
    assert close(result.planes, plain.up(batch).planes)


def test_really_out_of_memory_with_graphs() -> None:
    format, target = format_of(YUV, 1920, 1080), format_of(YUV, 3840, 2160)
    batches = film(format, 4, 4, 4)
    with no_more_than(1000 << 20):  # four frames take more, and one and the slots' memory less
        upscaler, _ = on_gpu(TwoConvs(), format, target, EngineSettings(batch=4))
        results = [*upscaler.stream(batches)]
    assert upscaler.report.back_offs
    plain, _ = on_gpu(TwoConvs(), format, target, EngineSettings())
    for result, batch in zip(results, batches, strict=True):
        assert close(result.planes, plain.up(batch).planes)


class Hungry(Counting):
    """Other programs have taken the memory between the first run and the capture."""

    def capture(self, run: Run, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        with no_more_than(4 << 20):
            return super().capture(run, inputs)


def test_a_capture_that_finds_no_memory_costs_speed_alone() -> None:
    format, target = format_of(YUV, 640, 360), format_of(YUV, 1280, 720)
    batches = film(format, *[2] * 4)
    upscaler, graphs = on_gpu(TwoConvs(), format, target, EngineSettings(batch=2), Hungry)
    for result, batch in zip(upscaler.stream(batches), batches, strict=True):
        assert close(result.planes, by_hand(TwoConvs(), batch, target))
    assert graphs.captured == 0
    assert upscaler.report == EngineReport()


def test_dropped_graphs_give_their_memory_back() -> None:
    format, target = format_of(YUV, 1280, 720), format_of(YUV, 2560, 1440)
    batches = film(format, *[2] * 3)
    upscaler, graphs = on_gpu(TwoConvs(), format, target, EngineSettings(batch=2))
    for _ in upscaler.stream(batches):
        pass
    assert graphs.captured == 1
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved(0)
    upscaler._conversion._make_room(6)
    assert torch.cuda.memory_reserved(0) < held - 2 * 2560 * 1440 * 12  # at least the network's float output
    assert upscaler.report == EngineReport()


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_frames_that_overflow_are_computed_again() -> None:
    batches, target = dark_and_bright(3, 3, 3, 2), format_of(RGB, 76, 44)
    upscaler, graphs = on_gpu(Overflowing(), batches[0].format, target, EngineSettings(precision="fp16", batch=3))
    for result, batch in zip(upscaler.stream(batches), batches, strict=True):
        assert close(result.planes, by_hand(Overflowing(), batch, target), 4)
    assert upscaler.report == EngineReport(retries=tuple(Retry(frame, "bf16") for frame in (1, 4, 7, 10)))
    assert (graphs.captured, graphs.replayed) == (1, 3)


# Last: torch before its pull request 180395 believes after a capture that CUDA broke off that it is still under way.
def test_a_network_that_no_graph_can_hold_runs_as_it_is() -> None:
    class Looking(TwoConvs):
        def forward(self, x: Tensor) -> Tensor:
            assert float(x.abs().sum()) >= 0  # waits for the device, which nothing may in a capture
            return super().forward(x)

    format, target = format_of(YUV, 320, 180), format_of(YUV, 640, 360)
    batches = film(format, *[2] * 5)
    upscaler, graphs = on_gpu(Looking(), format, target, EngineSettings(batch=2))
    for result, batch in zip(upscaler.stream(batches), batches, strict=True):
        assert close(result.planes, by_hand(TwoConvs(), batch, target))
    assert graphs.captured == 0
    assert upscaler.report == EngineReport()
