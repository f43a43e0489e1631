"""What is recorded, when, and what becomes of it: on the CPU's twin of a captured graph."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vsr.engine.graphs import HostGraphs, Recorder, Run, searching


class Watched(HostGraphs):
    """Says what was done, and captures only when it may."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.log: list[str] = []
        self.error = error

    def warm_up(self, run: Run, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.log.append("warm up")
        return super().warm_up(run, inputs)

    def capture(self, run: Run, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        self.log.append("capture")
        if self.error is not None:
            raise self.error
        outputs, fill = super().capture(run, inputs)

        def replay() -> None:
            self.log.append("replay")
            fill()

        return outputs, replay

    def drain(self) -> None:
        self.log.append("drain")


def run(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    one, other = inputs
    return one.float() + other.float().mean(), one * 2


def frames(count: int, first: int = 0, dtype: torch.dtype = torch.uint8, columns: int = 3) -> tuple[Tensor, ...]:
    one = (torch.arange(count * columns) + first).reshape(count, columns).to(dtype)
    return one, torch.full_like(one, first)


def check(outputs: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> None:
    for tensor, expected in zip(outputs, run(inputs), strict=True):
        assert torch.equal(tensor, expected)


def test_first_as_it_is_then_captured_then_replayed() -> None:
    recorder = Recorder(graphs := Watched())
    for first in (1, 5, 9, 2):
        check(recorder.run(run, frames(4, first), 4, "how"), frames(4, first))
    assert graphs.log == ["warm up", "capture", "replay", "replay", "replay"]


def test_what_is_not_frame_by_frame_is_seen_to_be_static() -> None:
    """The twin is as unforgiving as a graph: outputs are overwritten, and hold nothing before a replay."""
    recorder = Recorder(Watched())
    first, second, third = ([*recorder.run(run, frames(4, first), 4, "how")] for first in (1, 5, 9))
    check(tuple(first), frames(4, 1))
    check(tuple(second), frames(4, 9))
    assert second[0].data_ptr() == third[0].data_ptr()
    outputs, replay = HostGraphs().capture(run, frames(4, 1))
    assert not any(tensor.any() for tensor in outputs)
    replay()
    check(outputs, frames(4, 1))


def test_inputs_are_copied() -> None:
    recorder = Recorder(Watched())
    for first in (1, 5, 9):
        sent = frames(4, first)
        outputs = recorder.run(run, sent, 4, "how")
        for tensor in sent:
            tensor.zero_()  # the slot goes on to the next batch
        check(outputs, frames(4, first))


def double(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor * 2 for tensor in inputs)


def test_fewer_frames_use_the_front_of_the_same_recording() -> None:
    recorder = Recorder(graphs := Watched())
    for count in (3, 3, 4, 2, 4, 1, 3, 4):
        outputs = recorder.run(double, frames(count, 7), 4, "how")
        for tensor, plane in zip(outputs, frames(count, 7), strict=True):
            assert torch.equal(tensor, plane * 2)
    assert graphs.log == ["warm up", "capture", *["replay"] * 4]  # 3, 3 and the 2 between were too early


def test_each_shape_type_and_way_has_its_own_recording() -> None:
    recorder = Recorder(graphs := Watched())
    for _ in range(3):
        for inputs, most, how in (
            (frames(4), 4, "fp16"),
            (frames(4), 4, "fp32"),
            (frames(4, dtype=torch.int32), 4, "fp16"),
            (frames(4, columns=5), 4, "fp16"),
            (frames(2), 2, "fp16"),
        ):
            check(recorder.run(run, inputs, most, how), inputs)
    assert graphs.log == ["warm up"] * 5 + ["capture", "replay"] * 5 + ["replay"] * 5


@pytest.mark.parametrize("error", [RuntimeError("not permitted when stream is capturing"), torch.OutOfMemoryError("none left")])
def test_a_capture_that_fails_costs_nothing_but_speed(error: Exception) -> None:
    recorder = Recorder(graphs := Watched(error))
    for first in (1, 5, 9, 2):
        check(recorder.run(run, frames(4, first), 4, "how"), frames(4, first))
    assert graphs.log == ["warm up", "capture"]
    assert recorder.failure == str(error)
    assert not recorder.drop()


def test_what_is_no_failure_of_a_capture_is_not_swallowed() -> None:
    recorder = Recorder(Watched(KeyboardInterrupt()))
    recorder.run(run, frames(4), 4, "how")
    with pytest.raises(KeyboardInterrupt):
        recorder.run(run, frames(4), 4, "how")


def test_a_shape_that_failed_on_its_first_run_is_not_warm() -> None:
    def fails(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        raise torch.OutOfMemoryError

    recorder = Recorder(graphs := Watched())
    with pytest.raises(torch.OutOfMemoryError):
        recorder.run(fails, frames(4), 4, "how")
    check(recorder.run(run, frames(4), 4, "how"), frames(4))
    assert graphs.log == ["warm up", "warm up"]


def test_dropping_waits_frees_the_memory_and_is_for_good() -> None:
    recorder = Recorder(graphs := Watched())
    assert not recorder.drop()
    for _ in range(2):
        outputs = recorder.run(run, frames(4), 4, "how")
    memory = weakref.ref(outputs[0].untyped_storage())
    assert memory() is not None
    del outputs
    assert recorder.drop()
    gc.collect()
    check(recorder.run(run, frames(4, 3), 4, "how"), frames(4, 3))
    assert graphs.log == ["warm up", "capture", "replay", "drain"]
    assert not recorder.drop()
    for _ in range(2):
        check(recorder.run(run, frames(4, 3), 4, "smaller"), frames(4, 3))
    assert graphs.log[4:] == ["warm up", "capture", "replay"]


@pytest.mark.parametrize("before", [False, True])
def test_the_search_for_kernels_leaves_the_flag_as_it_was(before: bool) -> None:
    kept = torch.backends.cudnn.benchmark
    try:
        torch.backends.cudnn.benchmark = before
        with pytest.raises(ArithmeticError), searching():
            assert torch.backends.cudnn.benchmark
            raise ArithmeticError
        assert torch.backends.cudnn.benchmark == before
    finally:
        torch.backends.cudnn.benchmark = kept
