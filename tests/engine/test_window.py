"""Models that look at neighbours: which frames they see, and that caches, workers, batches and tiles change nothing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.engine.late import LateBackend
from tests.engine.test_upscaler import GRAY16, RGBA16, YUV, YUV10, assert_same, film, format_of
from vsr.choose_engine import resolve_engine
from vsr.config import EngineSettings, UpscaleConfig
from vsr.engine.crew import Crew
from vsr.engine.features import Features
from vsr.engine.memory import choose_tile, frame_bytes, worth_keeping
from vsr.engine.reuse import singles
from vsr.engine.upscaler import Upscaler
from vsr.engine.window import Windows, reflected
from vsr.frames import FrameBatch, FrameFormat, PixelLayout
from vsr.models.single import SingleFrame
from vsr.models.spec import ModelSpec


class Looking(SingleFrame):
    """x2 from `2 * context + 1` frames: a convolution on each (the features), one on all together, plus the frame itself."""

    def __init__(self, context: int = 2, **facts: int) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d((2 * context + 1) * 11, 12, 3, padding=1)
        known = ModelSpec(
            "looking", "Looking", scale=2, context=context, radius_px=2, halo_px=2, bytes_per_pixel=500, feature_bytes=44,
            precisions=frozenset({"fp32", "bf16", "fp16"}),
        )  # fmt: skip
        self.spec = replace(known, **facts)  # type: ignore[arg-type]
        self.requires_grad_(False)

    def features(self, frames: Tensor) -> Tensor:
        return torch.cat((frames, self.first(frames).relu()), dim=1)

    def reconstruct(self, window: Tensor) -> Tensor:
        middle = nn.functional.interpolate(window[:, self.spec.context, :3], scale_factor=2.0)
        out: Tensor = 0.3 * nn.functional.pixel_shuffle(self.last(window.flatten(1, 2)), 2) + middle
        return out


def shots(lengths: Sequence[int], format: FrameFormat, segment: int = 0) -> list[FrameBatch]:
    """Frames of noise around a coarse pattern that changes from shot to shot, so that every border is a cut."""
    draw = np.random.default_rng(3)
    frames = film(format, *[1] * sum(lengths))
    height, width = frames[0].planes[0].shape[1:]
    at = 0
    for length in lengths:
        coarse = np.kron(draw.integers(0, 2, (4, 4)), np.ones((height // 4 + 1, width // 4 + 1)))[:height, :width]
        peak = 1 << format.layout.bits
        for frame in frames[at : at + length]:
            for plane in frame.planes[:1] if format.layout.kind == "yuv" else frame.planes[:3]:
                plane[0] = (plane[0] // 8 + coarse * peak // 2).astype(plane.dtype)
        at += length
    return [replace(frame, segment=segment) for frame in frames]


def windowed(frames: Sequence[FrameBatch], context: int, batch: int = 1) -> tuple[list[FrameBatch], list[int]]:
    windows = Windows(context, batch)
    made = [*windows.through(frames)]
    return made, windows.cuts.get(frames[0].segment, [])


def numbers(batches: Sequence[FrameBatch]) -> list[list[int]]:
    """For each frame, which frames its window shows."""
    found = []
    for batch in batches:
        assert batch.window is not None
        found += [[batch.window.frames[at].index for at in pick] for pick in batch.window.picks]
    return found


def expected(starts: Sequence[int], count: int, context: int) -> list[list[int]]:
    """Straight from the rule: reflect inside the shot, and stay in it."""
    found: list[list[int]] = []
    borders = [0, *starts, count]
    for n in range(count):
        first = max(b for b in borders[:-1] if b <= n)
        last = min(b for b in borders[1:] if b > n) - 1
        found.append([])
        for i in range(n - context, n + context + 1):
            mirrored = 2 * first - i if i < first else 2 * last - i if i > last else i
            found[-1].append(min(max(mirrored, first), last))
    return found


@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5), context=st.integers(1, 3), batch=st.integers(1, 4), cut=st.data()
)
def test_windows_stay_in_their_shot(lengths: list[int], context: int, batch: int, cut: st.DataObject) -> None:
    frames = shots(lengths, format_of(YUV, 64, 36))
    made, cuts = windowed(frames, context, batch)
    assert [b.index for batch in made for b in singles(batch)] == list(range(len(frames)))
    assert all(len(batch) == batch_size for batch, batch_size in zip(made[:-1], [batch] * len(made), strict=False))
    assert numbers(made) == expected(cuts, len(frames), context)
    for whole in made:
        assert whole.window is not None
        for at, one in enumerate(singles(whole)):
            centre = whole.window.frames[whole.window.picks[at][context]]
            assert all(np.array_equal(a, b) for a, b in zip(centre.planes, one.planes, strict=True))


def test_every_border_of_these_shots_is_a_cut() -> None:
    made, cuts = windowed(shots([3, 1, 4, 2], format_of(YUV, 64, 36)), 2)
    assert cuts == [3, 4, 8]
    assert numbers(made)[3] == [3] * 5
    assert numbers(made)[8] == [9, 9, 8, 9, 8]


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    context=st.integers(1, 3),
    first=st.integers(0, 10),
    size=st.integers(1, 8),
)
def test_a_segment_sees_what_the_whole_film_does(lengths: list[int], context: int, first: int, size: int) -> None:
    frames = shots(lengths, format_of(YUV, 64, 36))
    first = min(first, len(frames) - 1)
    last = min(first + size, len(frames))
    around = frames[max(0, first - context) : last + context]
    part = [replace(frame, shown=first <= frame.index < last) for frame in around]
    whole, cuts = windowed(frames, context)
    made, own = windowed(part, context)
    assert numbers(made) == numbers(whole)[first:last]
    assert own == [cut for cut in cuts if first <= cut < last]


def test_no_window_crosses_a_segment() -> None:
    one = shots([4], format_of(YUV, 64, 36))
    made, _ = windowed([*one, *(replace(frame, segment=1) for frame in one)], 2, batch=3)
    assert [len(batch) for batch in made] == [3, 1, 3, 1]
    assert numbers(made) == expected([], 4, 2) * 2


@given(context=st.integers(1, 3), first=st.integers(0, 5), length=st.integers(1, 9), at=st.integers(0, 8))
def test_reflection_never_leaves_the_shot(context: int, first: int, length: int, at: int) -> None:
    last = first + length - 1
    centre = first + at % length
    found = reflected(range(centre - context, centre + context + 1), first, last)
    assert found[context] == centre
    assert all(first <= i <= last for i in found)


# ---- what comes of them ---------------------------------------------------------------------------------------------


def by_hand(net: Looking, frames: Sequence[FrameBatch], target: FrameFormat) -> list[FrameBatch]:
    """Every window computed anew, one after the other, through the engine's slow twin."""
    made, _ = windowed(frames, net.spec.context)
    slow = Upscaler(net, frames[0].format, target, EngineSettings(threads=1))
    return [slow.up(batch) for batch in made]


@pytest.mark.parametrize("layout", [YUV, YUV10, RGBA16, GRAY16], ids=str)
@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (3, 1), (1, 2), (2, 3), (1, 5)])
def test_stream_is_the_loop(layout: PixelLayout, batch: int, workers: int) -> None:
    source, target = format_of(layout), format_of(layout, 76, 44)
    frames, net = shots([4, 1, 6], source), Looking()
    slow = by_hand(net, frames, target)
    crew = Crew(net, source, target, EngineSettings(threads=workers, workers=workers, batch=batch))
    fast = [one for made in crew.stream(windowed(frames, 2, batch)[0]) for one in singles(made)]
    assert all(made.window is None for made in fast)
    for a, b in zip(fast, slow, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("tile", [None, 8, 16])
def test_tiles_and_forgetting_change_nothing(tile: int | None) -> None:
    source, target = format_of(YUV), format_of(YUV, 76, 44)
    frames, net = shots([5, 4], source), Looking()
    slow = by_hand(net, frames, target)
    for keep in (True, False):
        settings = EngineSettings(threads=1, tile=tile, halo=2 if tile else 0, keep=keep)
        for a, b in zip(Upscaler(net, source, target, settings).stream(windowed(frames, 2)[0]), slow, strict=True):
            assert_same(a, b)


class Counting(Looking):
    """Notes how many values of features are alive while a window becomes a frame."""

    most = 0

    def reconstruct(self, window: Tensor) -> Tensor:
        alive = [it for it in gc.get_objects() if type(it) is Tensor and it.ndim == 4 and it.shape[1] == 11]
        Counting.most = max(Counting.most, sum(it.numel() for it in alive))  # of the class: the engine runs copies
        return super().reconstruct(window)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
def test_where_nothing_is_kept_only_a_tile_is_in_memory(keep: bool) -> None:
    source, target = format_of(YUV), format_of(YUV, 76, 44)
    settings = EngineSettings(threads=1, tile=8, halo=2, keep=keep)
    gc.collect()  # what other tests left
    Counting.most = 0
    for _ in Upscaler(Counting(), source, target, settings).stream(windowed(shots([8], source), 2)[0]):
        pass
    whole, tile = 38 * 22, 12 * 12
    assert Counting.most >= 5 * 11 * whole if keep else 0 < Counting.most <= 5 * 11 * tile


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_frame_is_looked_at_once(workers: int) -> None:
    source, target = format_of(YUV), format_of(YUV, 76, 44)
    frames = shots([9, 6], source)
    crew = Crew(Looking(), source, target, EngineSettings(threads=workers, workers=workers))
    for _ in crew.stream(windowed(frames, 2)[0]):
        pass
    # with several workers one may look at a frame just when the others have turned away from it
    assert crew.features.made == len(frames) if workers == 1 else len(frames) <= crew.features.made < 1.5 * len(frames)


def test_memory_does_not_grow_with_the_film() -> None:
    source, target = format_of(YUV), format_of(YUV, 76, 44)
    crew = Crew(Looking(), source, target, EngineSettings(threads=1))
    known: list[int] = []

    def endless() -> Iterator[FrameBatch]:
        for frame in shots([60], source):
            known.append(len(crew.features._cells))
            yield frame

    for _ in crew.stream(Windows(2).through(endless())):
        pass
    assert max(known) <= 6


def test_what_is_known_goes_with_its_upscaler() -> None:
    source, target = format_of(YUV), format_of(YUV, 76, 44)
    up = Upscaler(Looking(), source, target, EngineSettings(threads=1))
    gc.disable()  # by counting references alone: nobody knows when the collector runs
    try:
        for _ in up.stream(windowed(shots([3], source), 2)[0]):
            pass
        known = weakref.ref(up._conversion._features)
        del up
        assert known() is None
    finally:
        gc.enable()


def test_a_frame_without_neighbours_is_its_own() -> None:
    source, target = format_of(YUV), format_of(YUV, 76, 44)
    (frame,) = shots([1], source)
    up = Upscaler(Looking(), source, target, EngineSettings(threads=1)).up
    (placed,), _ = windowed([frame], 2)
    assert_same(up(frame), up(placed))


class Hungry(Looking):
    """Runs out of memory on pictures of more than so many pixels."""

    def reconstruct(self, window: Tensor) -> Tensor:
        if window.shape[-1] * window.shape[-2] > 500:
            raise torch.OutOfMemoryError("not today")
        return super().reconstruct(window)


def test_out_of_memory_makes_tiles_and_the_same_frames() -> None:
    source, target = format_of(YUV), format_of(YUV, 76, 44)
    frames = shots([5], source)
    slow = by_hand(Looking(), frames, target)
    upscaler = Upscaler(Hungry(), source, target, EngineSettings(threads=1))
    for a, b in zip(upscaler.stream(windowed(frames, 2)[0]), slow, strict=True):
        assert_same(a, b)
    assert [it.frame for it in upscaler.report.back_offs] == [0]


class Fragile(Looking):
    """What it knows of frames with a white corner is no number, in fp16."""

    def features(self, frames: Tensor) -> Tensor:
        known = super().features(frames)
        return known * float("nan") if frames.dtype == torch.float16 and float(frames[0, 0, 0, 0]) == 1 else known


def test_a_frame_that_spoils_its_neighbours_windows_is_computed_again_for_each() -> None:
    source, target = format_of(PixelLayout("rgb"), 38, 22), format_of(PixelLayout("rgb"), 76, 44)
    frames = shots([7], source)
    frames[3].planes[0][0, 0, 0] = 255
    assert windowed(frames, 1)[1] == []
    settings = EngineSettings(threads=1, precision="fp16")
    upscaler = Upscaler(Fragile(context=1), source, target, settings)
    made = [*upscaler.stream(windowed(frames, 1)[0])]
    exact = Upscaler(Looking(context=1), source, target, EngineSettings(threads=1, precision="bf16"))
    assert [retry.frame for retry in upscaler.report.retries] == [2, 3, 4]
    for at in (2, 3, 4):
        assert_same(made[at], exact.up(windowed(frames, 1)[0][at]))


def test_a_device_that_lands_late_gets_the_same_frames() -> None:
    source, target = format_of(YUV), format_of(YUV, 76, 44)
    frames, net = shots([4, 5], source), Looking()
    slow = by_hand(net, frames, target)
    upscaler = Upscaler(net, source, target, EngineSettings(threads=1, batch=2), LateBackend(record=True))
    fast = [one for made in upscaler.stream(windowed(frames, 2, 2)[0]) for one in singles(made)]
    for a, b in zip(fast, slow, strict=True):
        for one, other in zip(a.planes, b.planes, strict=True):
            assert int(np.abs(one.astype(int) - other).max()) <= 1  # batches of two, on this device's twin


# ---- what is known, shared ------------------------------------------------------------------------------------------


def test_a_failure_to_find_out_is_not_remembered() -> None:
    features, frames = Features(), shots([2], format_of(YUV))
    features.look("me", frames)

    def fail(_: Sequence[FrameBatch]) -> Tensor:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        features.of(frames, "here", fail)
    found = features.of(frames, "here", lambda those: torch.arange(len(those))[:, None])
    assert [int(one) for one in found] == [0, 1]
    again = features.of(frames[::-1], "here", fail)
    assert [int(one) for one in again] == [1, 0]


def test_what_nobody_looks_at_is_forgotten() -> None:
    features, (first, second, third) = Features(), shots([3], format_of(YUV))

    def make(those: Sequence[FrameBatch]) -> Tensor:
        return torch.zeros(len(those), 1)

    features.look("me", [first, second])
    features.of([first, second], "here", make)
    features.look("you", [second, third])
    features.of([second, third], "here", make)
    assert features.made == 3
    features.look("me", [third])
    features.of([third, second], "here", make)
    assert features.made == 3
    features.of([first], "here", make)
    assert features.made == 4


# ---- memory ---------------------------------------------------------------------------------------------------------


@given(width=st.integers(64, 4096), height=st.integers(64, 2304), budget=st.integers(1 << 28, 1 << 36), context=st.integers(1, 3))
def test_tiles_and_what_is_kept_fit(width: int, height: int, budget: int, context: int) -> None:
    spec = ModelSpec("m", "M", scale=4, context=context, halo_px=48, bytes_per_pixel=9_000, feature_bytes=348)
    source, target = format_of(YUV, width, height), format_of(YUV, 4 * width, 4 * height)
    keep = worth_keeping(spec, source, target, "fp32", 1, budget)
    if not keep and frame_bytes(spec, source, target, "fp32", 1, 32, 48, keep=False) > budget:
        return  # not even that: refused
    tile = choose_tile(spec, source, target, "fp32", 1, budget, keep=keep)
    assert frame_bytes(spec, source, target, "fp32", 1, tile, 48, keep=keep) <= budget


def test_single_frames_keep_nothing() -> None:
    spec = replace(Looking().spec, context=0)
    source, target = format_of(YUV, 320, 180), format_of(YUV, 640, 360)
    assert worth_keeping(spec, source, target, "fp32", 1, 1)
    assert resolve_engine(UpscaleConfig("film.mkv"), Looking().spec, source, target).reuse == 0
