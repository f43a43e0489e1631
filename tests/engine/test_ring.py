"""The ring of slots, on the CPU backend and on a backend that, like a GPU, does nothing before somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import sleep

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.engine.late import LateBackend
from vsr.engine.graphs import Recorder
from vsr.engine.lanes import Backend, CudaBackend, HostBackend
from vsr.engine.ring import Compute, Ring, join
from vsr.frames import Plane

Item = tuple[int, tuple[Plane, ...]]


def items(
    count: int, frames: int = 2, shape: tuple[int, int] = (4, 6), dtype: type[np.uint8 | np.uint16] = np.uint8
) -> list[Item]:
    """Two planes each; every item has its own numbers."""
    rng = np.random.default_rng(count)
    sizes = ((frames, *shape), (frames, shape[0] // 2, shape[1] // 2))
    draw: Callable[..., Plane] = rng.integers
    return [(key, tuple(draw(0, 120, size, dtype=dtype) for size in sizes)) for key in range(count)]


def double(key: int, planes: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    return [tuple(2 * plane.to(torch.int32) + key for plane in planes)]


def check(result: list[tuple[int, tuple[Plane, ...]]], sent: list[Item]) -> None:
    assert [key for key, _ in result] == [key for key, _ in sent]
    for (key, planes), (_, source) in zip(result, sent, strict=True):
        for plane, original in zip(planes, source, strict=True):
            np.testing.assert_array_equal(plane, 2 * original.astype(np.int32) + key)


def through(lanes: Ring[int], sent: Iterable[Item], compute: Compute[int] = double) -> Iterator[Item]:
    for landed in lanes.run(sent, compute):
        yield landed.key, landed.planes


def run(backend: Backend, slots: int, sent: list[Item]) -> list[Item]:
    return list(through(Ring[int](backend, slots), sent))


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("late", [False, True])
def test_everything_comes_back_in_order(slots: int, late: bool) -> None:
    backend: Backend = LateBackend() if late else HostBackend(torch.device("cpu"))
    check(run(backend, slots, sent := items(8)), sent)


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_the_host_waits_only_when_every_slot_is_taken(slots: int) -> None:
    sent = items(7)
    launched: list[int] = []
    landed: list[int] = []

    def watched(key: int, planes: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        launched.append(key)
        assert len(launched) - len(landed) <= slots
        return double(key, planes)

    for result in Ring[int](LateBackend(), slots).run(iter(sent), watched):
        assert len(launched) == min(len(landed) + slots, 7)  # the ring was full, or the film had ended
        landed.append(result.key)
    assert landed == list(range(7))


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_memory_for_uploads_is_allocated_once_per_slot(slots: int) -> None:
    backend = LateBackend()
    lanes = Ring[int](backend, slots)
    for _ in range(2):  # the second stream finds the buffers of the first
        list(lanes.run(iter(items(9)), double))
    assert backend.log == ["allocate"] * 2 * slots


def test_a_short_batch_uses_the_memory_of_a_long_one() -> None:
    backend = LateBackend()
    check(run(backend, 1, sent := items(2, 4) + items(1, 3) + items(1, 4)), sent)
    assert backend.log == ["allocate"] * 2


def test_what_was_handed_out_stays_valid_while_the_ring_goes_round() -> None:
    for backend in (HostBackend(torch.device("cpu")), LateBackend()):
        check(run(backend, 2, sent := items(12)), sent)  # a list is an encoder with a very long queue


@pytest.mark.parametrize("late", [False, True])
def test_shorter_longer_and_different_batches(late: bool) -> None:
    backend: Backend = LateBackend() if late else HostBackend(torch.device("cpu"))
    lanes = Ring[int](backend, 2)
    for sent in (items(3, 4) + items(1, 3), items(2, 5), items(3, 2, (8, 2)), items(3, 2, dtype=np.uint16)):
        check(list(through(lanes, sent)), sent)


def test_planes_that_are_read_only_or_strided() -> None:
    frames = np.arange(2 * 4 * 6, dtype=np.uint8).reshape(2, 4, 6)
    frames.flags.writeable = False
    sent: list[Item] = [(0, (frames, frames[:, ::2, ::2]))]
    check(run(HostBackend(torch.device("cpu")), 2, sent), sent)


def test_an_error_of_the_source_comes_after_what_was_in_flight() -> None:
    sent = items(4)

    def source() -> Iterator[Item]:
        yield from sent
        raise OSError("truncated")

    lanes, seen = Ring[int](LateBackend(), 3), list[Item]()
    with pytest.raises(OSError, match="truncated"):
        seen.extend(through(lanes, source()))
    check(seen, sent)
    check(list(through(lanes, sent)), sent)  # and the ring is whole


def test_an_error_of_compute_comes_after_what_was_in_flight() -> None:
    def fails(key: int, planes: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        if key == 3:
            raise ArithmeticError
        return double(key, planes)

    lanes, seen, sent = Ring[int](LateBackend(), 3), list[Item](), items(5)
    with pytest.raises(ArithmeticError):
        seen.extend(through(lanes, sent, fails))
    check(seen, sent[:3])
    check(list(through(lanes, sent)), sent)


def test_leaving_early_waits_for_the_device_and_frees_the_ring() -> None:
    backend = LateBackend()
    lanes, sent = Ring[int](backend, 3), items(6)
    running = lanes.run(iter(sent), double)
    next(running)
    with pytest.raises(RuntimeError, match="taken"):
        next(lanes.run(iter(sent), double))
    assert backend.queues["d2h"]
    running.close()
    assert not backend.queues["d2h"]
    check(list(through(lanes, sent)), sent)


def test_inference_mode_does_not_leak_to_the_consumer() -> None:
    def compute(key: int, planes: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        assert torch.is_inference_mode_enabled()
        return double(key, planes)

    for _ in Ring[int](HostBackend(torch.device("cpu")), 2).run(iter(items(3)), compute):
        assert not torch.is_inference_mode_enabled()


def test_seconds_of_each_lane() -> None:
    def slow(key: int, planes: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        sleep(0.02)
        return double(key, planes)

    (landed,) = Ring[int](HostBackend(torch.device("cpu")), 2).run(iter(items(1)), slow)
    assert landed.seconds["model"] > 0.015 > landed.seconds["h2d"] >= 0 <= landed.seconds["d2h"] < 0.015


def test_a_ring_without_slots_is_refused() -> None:
    with pytest.raises(ValueError, match="0 slots"):
        Ring[int](HostBackend(torch.device("cpu")), 0)


# ---- recorded -------------------------------------------------------------------------------------------------------


def recorded(backend: LateBackend | CudaBackend, most: int) -> Compute[int]:
    """`double` in pieces of `most` frames, each overwritten by the next. (The key is a plane: all that changes is an input.)"""
    assert backend.graphs is not None
    recorder = Recorder(backend.graphs)

    def run(planes: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        *frames, key = planes
        return tuple(2 * plane.to(torch.int32) + key[:, None, None] for plane in frames)

    def compute(key: int, planes: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
        keys = torch.full((len(planes[0]),), key, dtype=torch.int32, device=planes[0].device)
        for at in range(0, len(keys), most):
            yield recorder.run(run, tuple(plane[at : at + most] for plane in (*planes, keys)), most, "double")

    return compute


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_a_replay_overwrites_nothing_that_has_not_landed(slots: int, most: int) -> None:
    backend, sent = LateBackend(record=True), items(9, 4)
    check(list(through(Ring[int](backend, slots), sent, recorded(backend, most))), sent)
    assert backend.graphs is not None
    assert backend.graphs.captured == 1
    assert backend.graphs.replayed == 9 * -(-4 // most) - (1 if most != 3 else 2)  # with 3, a short piece came before


def test_memory_for_what_was_computed_is_allocated_once_per_slot() -> None:
    backend = LateBackend(record=True)
    ring, compute = Ring[int](backend, 3), recorded(backend, 2)
    for sent in (items(9, 4), items(5, 4), items(2, 3)):  # a short batch uses the front
        check(list(through(ring, sent, compute)), sent)
    assert len({memory.untyped_storage().data_ptr() for memory in backend.held}) == 2 * 3
    check(list(through(ring, sent := items(4, 5), compute)), sent)
    assert len({memory.untyped_storage().data_ptr() for memory in backend.held}) == 2 * 2 * 3


def test_all_slots_have_their_memory_before_anything_is_captured() -> None:
    backend = LateBackend(record=True)
    ring, compute = Ring[int](backend, 3), recorded(backend, 4)

    def watched(key: int, planes: tuple[Tensor, ...]) -> Iterable[tuple[Tensor, ...]]:
        assert len(backend.log) == 2 * 3
        assert key == 0 or all(slot.output for slot in ring._idle)
        return compute(key, planes)

    check(list(through(ring, sent := items(5, 4), watched)), sent)


def test_pieces_are_joined() -> None:
    one, other = (torch.arange(6).reshape(3, 2), torch.ones(3)), (torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1))
    assert join(iter([one])) is one
    for whole, parts in zip(join(iter([one, other])), zip(one, other, strict=True), strict=True):
        assert torch.equal(whole, torch.cat(parts))


@pytest.mark.needs_cuda
@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("most", [2, 4])
def test_cuda_replays_equal_the_loop(slots: int, most: int) -> None:
    backend, sent = CudaBackend(torch.device("cuda", 0)), items(20, 4, (540, 960))
    check(list(through(Ring[int](backend, slots), sent, recorded(backend, most))), sent)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_cuda_ring_equals_the_loop(slots: int) -> None:
    sent = items(20, 4, (540, 960))
    check(run(CudaBackend(torch.device("cuda", 0)), slots, sent), sent)


@pytest.mark.needs_cuda
def test_cuda_arrays_stay_valid_and_their_pinned_memory_goes_round() -> None:
    lanes, sent = Ring[int](CudaBackend(torch.device("cuda", 0)), 3), items(40, 4, (540, 960))
    check(list(through(lanes, sent)), sent)
    before = torch.cuda.memory.host_memory_stats()["num_host_alloc"]
    for result, item in zip(through(lanes, sent), sent, strict=True):
        check([result], [item])
    assert torch.cuda.memory.host_memory_stats()["num_host_alloc"] == before
