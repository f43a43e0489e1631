"""Upscalers side by side: the frames of one, in order, whoever made them, and nobody left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.test_upscaler import YUV, Greedy, Overflowing, TwoConvs, assert_same, film, format_of
from vsr.choose_engine import crewed
from vsr.config import Backend, EngineSettings, Precision
from vsr.engine.conversion import BackOff
from vsr.engine.crew import Crew
from vsr.engine.prefetch import deal
from vsr.engine.reuse import EXACT, Reuse
from vsr.engine.runners import knows
from vsr.engine.upscaler import EngineReport, Retry, Upscaler
from vsr.errors import MediaError
from vsr.frames import FrameBatch
from vsr.models import zoo
from vsr.models.weights import available, load

TARGET = format_of(YUV, 76, 44)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_it_makes_the_frames_of_one_upscaler(workers: int, count: int) -> None:
    batches = film(format_of(YUV), *[1] * 7)
    settings = EngineSettings(threads=workers, workers=workers)
    crew = Crew(TwoConvs(), batches[0].format, TARGET, settings)
    one = Upscaler(TwoConvs(), batches[0].format, TARGET, EngineSettings(threads=1))
    made = [*crew.stream(batches[:count])]
    assert len(made) == count
    for result, batch in zip(made, batches, strict=False):
        assert_same(result, one.up(batch))
        assert_same(result, crew.up(batch))


@pytest.mark.parametrize("name", zoo.names())
@pytest.mark.parametrize(("precision", "backend"), [("fp32", "torch"), ("bf16", "torch"), ("fp32", "winograd"), ("fp32", "ncnn")])
def test_stream_is_the_loop_for_every_model(name: str, precision: Precision, backend: Backend) -> None:
    """Bit for bit: `[up(batch) for batch in batches]`, whatever computes, alone and side by side."""
    if not available(name):
        pytest.skip(f"vsr models pull {name}")
    net = load(name, 4)
    if backend != "torch" and not knows(backend, net):
        pytest.skip(f"{backend} does not run {name} here")
    batches = film(format_of(YUV, 22, 18), 1, 1, 1)
    target = format_of(YUV, 88, 72)
    settings = EngineSettings(precision=precision, backend=backend, threads=2)
    loop = [Upscaler(net, batches[0].format, target, replace(settings, threads=1)).up(batch) for batch in batches]
    for workers, threads in ((1, 1), (2, 2)):
        crew = Crew(net, batches[0].format, target, replace(settings, threads=threads, workers=workers))
        for result, expected in zip(crew.stream(batches), loop, strict=True):
            assert_same(result, expected)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_it_can_be_left_early_and_used_again(taken: int) -> None:
    batches = film(format_of(YUV), *[1] * 9)
    crew = Crew(TwoConvs(), batches[0].format, TARGET, EngineSettings(threads=2, workers=2))
    stream = crew.stream(batches)
    first = [*islice(stream, taken)]
    stream.close()  # type: ignore[attr-defined]  # a generator
    assert len(first) == taken
    assert [batch.index for batch in crew.stream(batches)] == list(range(9))


@pytest.mark.parametrize("at", [0, 1, 4, 5])
def test_what_goes_wrong_comes_after_the_frames_before(at: int) -> None:
    batches = film(format_of(YUV), *[1] * 6)
    (odd,) = film(format_of(YUV, 22, 18), 1)

    def source() -> Iterator[FrameBatch]:
        for number, batch in enumerate(batches):
            yield odd if number == at else batch

    crew = Crew(TwoConvs(), batches[0].format, TARGET, EngineSettings(threads=3, workers=3))
    made: list[int] = []
    with pytest.raises(MediaError, match="instead of"):
        made.extend(result.index for result in crew.stream(source()))
    assert made == list(range(at))


@pytest.mark.parametrize("at", [0, 1, 4, 6])
def test_an_error_of_the_source_comes_after_the_frames_before(at: int) -> None:
    batches = film(format_of(YUV), *[1] * 6)

    def source() -> Iterator[FrameBatch]:
        yield from batches[:at]
        raise MediaError("the film tore")

    crew = Crew(TwoConvs(), batches[0].format, TARGET, EngineSettings(threads=2, workers=2))
    made: list[int] = []
    with pytest.raises(MediaError, match="the film tore"):
        made.extend(result.index for result in crew.stream(source()))
    assert made == list(range(at))


def test_the_report_is_by_frame() -> None:
    batches = film(format_of(YUV), *[1] * 4)
    net = Overflowing(precisions=frozenset({"fp32", "bf16"}))
    crew = Crew(net, batches[0].format, TARGET, EngineSettings(precision="fp16", threads=2, workers=2))
    list(crew.stream(batches))
    frames = [retry.frame for retry in crew.report.retries] + list(crew.report.bicubic)
    assert frames == sorted(frames)


def test_new_in_a_report_is_what_was_not_there_before() -> None:
    """One worker may have told of frame 3 while another was still at frame 2."""
    earlier = EngineReport(retries=(Retry(1, "bf16"), Retry(3, "bf16")), bicubic=(5,))
    later = EngineReport((BackOff(2, 1, 32),), (Retry(1, "bf16"), Retry(2, "fp32"), Retry(3, "bf16")), (4, 5))
    assert later.since(earlier) == EngineReport((BackOff(2, 1, 32),), (Retry(2, "fp32"),), (4,))
    assert later.since(later) == EngineReport()


@pytest.mark.parametrize("taken", [1, 9])
def test_threads_made_later_have_as_many_of_torchs_as_before(taken: int) -> None:
    def count_in_thread() -> int:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    batches = film(format_of(YUV), *[1] * 9)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        stream = Crew(TwoConvs(), batches[0].format, TARGET, EngineSettings(threads=2, workers=2)).stream(batches)
        assert len([*islice(stream, taken)]) == taken
        stream.close()  # type: ignore[attr-defined]  # a generator
        assert (torch.get_num_threads(), count_in_thread()) == (3, 3)
    finally:
        torch.set_num_threads(before)


def test_out_of_memory_is_each_workers_own() -> None:
    batches = film(format_of(YUV), *[1] * 4)
    net = Greedy(limit=800)
    crew = Crew(net, batches[0].format, TARGET, EngineSettings(threads=2, workers=2))
    made = [*crew.stream(batches)]
    assert [batch.index for batch in made] == [0, 1, 2, 3]
    assert {back_off.frame for back_off in crew.report.back_offs} == {0, 1}


def test_repeats_are_found_across_workers() -> None:
    (one,) = film(format_of(YUV), 1)
    (other,) = film(format_of(YUV), 1)
    shown = [one, one, other, one, one, one]
    frames = [FrameBatch(b.format, b.planes, (at,), (1,), at) for at, b in enumerate(shown)]
    crew = Crew(TwoConvs(), one.format, TARGET, EngineSettings(threads=2, workers=2))
    reuse = Reuse(EXACT, 1)
    made = [*reuse.through(frames, crew.stream)]
    assert [batch.pts for batch in made] == [batch.pts for batch in frames]
    for result, batch in zip(made, frames, strict=True):
        assert_same(result, crew.up(batch))


@given(items=st.lists(st.integers()), hands=st.integers(1, 5))
def test_dealing_is_in_turn(items: list[int], hands: int) -> None:
    assert [[*hand] for hand in deal(items, hands)] == [items[number::hands] for number in range(hands)]


@given(threads=st.integers(1, 70), at_once=st.integers(0, 100), memory=st.integers(0, 1 << 36), tile=st.sampled_from([None, 64]))
def test_workers_have_threads_frames_and_memory(threads: int, at_once: int, memory: int, tile: int | None) -> None:
    source = format_of(YUV, 64, 48)
    target = format_of(YUV, 256, 192)
    engine = EngineSettings(threads=threads, memory=memory, tile=tile)
    crew = crewed(engine, TwoConvs().spec, source, target, at_once)
    assert 1 <= crew.workers <= max(1, min(threads, at_once))
    if memory >= 1 << 35 and at_once >= threads:
        assert crew.workers == threads
