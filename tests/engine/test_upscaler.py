"""The upscaler against a plain loop over its parts, and what it does when memory or numbers run out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.late import LateBackend, LateGraphs
from vsr.color import alpha_to_float, float_to_plane, planes_to_rgb, rgb_to_planes
from vsr.config import EngineSettings
from vsr.engine.conversion import BackOff
from vsr.engine.prefetch import prefetch
from vsr.engine.upscaler import EngineReport, Retry, Upscaler, engine_notes
from vsr.errors import ConfigError, DeviceError, MediaError
from vsr.frames import ColorSpec, FrameBatch, FrameFormat, PixelLayout, Plane
from vsr.models.bicubic import Bicubic
from vsr.models.single import SingleFrame
from vsr.models.spec import Generator, ModelSpec, Precision
from vsr.resample import resize

ALL: frozenset[Precision] = frozenset({"fp32", "bf16", "fp16"})


class TwoConvs(SingleFrame):
    """x2 by two convolutions and a pixel-shuffle: receptive radius 2, random weights."""

    def __init__(self, **facts: int | frozenset[Precision]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)
        )
        known = ModelSpec("two-convs", "TwoConvs", scale=2, radius_px=2, halo_px=2, bytes_per_pixel=500, precisions=ALL)
        self.spec = replace(known, **facts)  # type: ignore[arg-type]
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out * 0.2 + nn.functional.interpolate(x, scale_factor=2.0)


YUV = PixelLayout("yuv", 8, 1, 1)
YUV10 = PixelLayout("yuv", 10, 1, 1)
YUV444 = PixelLayout("yuv", 8)
RGB, RGBA16 = PixelLayout("rgb"), PixelLayout("rgb", 16, alpha=True)
GRAY, GRAY16 = PixelLayout("gray"), PixelLayout("gray", 16)


def format_of(layout: PixelLayout, width: int = 38, height: int = 22) -> FrameFormat:
    return FrameFormat(width, height, layout, ColorSpec(full_range=layout.kind != "yuv"))


def film(format: FrameFormat, *sizes: int) -> list[FrameBatch]:
    """Batches of these sizes with their own noise in every frame, and uneven timestamps."""
    draw: Callable[..., Plane] = np.random.default_rng(7).integers
    batches, index = [], 0
    for size in sizes:
        planes: tuple[Plane, ...] = tuple(
            draw(0, 1 << format.layout.bits, (size, *shape), format.layout.dtype) for shape in format.plane_shapes
        )
        pts = tuple(1001 * number + number % 3 for number in range(index, index + size))
        batches.append(FrameBatch(format, planes, pts, tuple(range(size)), index, {"decode": 0.5}))
        index += size
    return batches


def by_hand(net: Generator, batch: FrameBatch, target: FrameFormat) -> tuple[Plane, ...]:
    """What the engine must give, frame by frame from its parts: no batches, no tiles, no padding, no memory layout."""
    frames = []
    with torch.inference_mode():
        for at in range(len(batch)):
            planes = [torch.from_numpy(plane[at : at + 1].copy()) for plane in batch.planes]
            rgb = net.reconstruct(net.features(planes_to_rgb(planes, batch.format))[:, None])
            out = rgb_to_planes(resize(rgb, target.height, target.width), target)
            if target.layout.alpha:
                alpha = resize(alpha_to_float(planes[-1], batch.format.layout.bits), target.height, target.width)
                out = (*out, float_to_plane(alpha, target.layout.bits))
            frames.append([plane.numpy() for plane in out])
    return tuple(np.concatenate(planes) for planes in zip(*frames, strict=True))


def assert_same(one: FrameBatch, other: FrameBatch) -> None:
    assert (one.format, one.pts, one.duration, one.index) == (other.format, other.pts, other.duration, other.index)
    for plane, expected in zip(one.planes, other.planes, strict=True):
        np.testing.assert_array_equal(plane, expected)


def close(planes: tuple[Plane, ...], expected: tuple[Plane, ...], levels: int = 1) -> bool:
    differences = [np.abs(a.astype(int) - b.astype(int)).max() for a, b in zip(planes, expected, strict=True)]
    return int(max(differences)) <= levels


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (YUV, YUV),
        (YUV10, YUV10),
        (YUV10, YUV),
        (YUV, YUV444),
        (YUV444, YUV10),
        (RGB, RGB),
        (RGBA16, RGBA16),
        (RGBA16, RGB),
        (GRAY, GRAY),
        (GRAY16, GRAY16),
        (GRAY, YUV),
        (RGB, YUV10),
        (YUV, RGB),
    ],
)
@pytest.mark.parametrize(
    "settings", [EngineSettings(), EngineSettings(batch=3, tile=16, halo=2, slots=2)], ids=["whole", "tiles"]
)
def test_stream_is_the_loop_and_the_loop_is_the_sum_of_its_parts(
    source: PixelLayout, target: PixelLayout, settings: EngineSettings
) -> None:
    net, wanted = TwoConvs(), format_of(target, 76, 44)
    batches = film(format_of(source), 3, 3, 1)
    upscaler = Upscaler(net, batches[0].format, wanted, settings)
    streamed = list(upscaler.stream(batches))
    for result, batch in zip(streamed, batches, strict=True):
        assert_same(result, upscaler.up(batch))
        assert (result.format, result.pts, result.duration, result.index) == (wanted, batch.pts, batch.duration, batch.index)
        assert close(result.planes, by_hand(net, batch, wanted), 1 << max(0, target.bits - 12))
    assert upscaler.report == EngineReport()


@pytest.mark.parametrize("size", [(76, 44), (57, 33), (100, 61), (20, 10), (1, 1)])
def test_any_target_size(size: tuple[int, int]) -> None:
    (batch,) = film(format_of(YUV), 2)
    net, target = TwoConvs(), format_of(YUV, *size)
    assert close(Upscaler(net, batch.format, target, EngineSettings()).up(batch).planes, by_hand(net, batch, target))


def test_a_model_without_a_scale_leaves_all_to_the_resize() -> None:
    (batch,) = film(format_of(RGB), 2)
    target = format_of(RGB, 95, 55)
    result = Upscaler(Bicubic(), batch.format, target, EngineSettings()).up(batch)
    for plane, expected in zip(result.planes, by_hand(Bicubic(), batch, target), strict=True):
        np.testing.assert_array_equal(plane, expected)


def test_the_bytes_of_a_frame_do_not_depend_on_its_batch() -> None:
    format = format_of(YUV10)
    together = film(format, 5)[0]
    upscaler = Upscaler(TwoConvs(), format, format_of(YUV10, 76, 44), EngineSettings(batch=5))
    alone = [
        replace(together, planes=tuple(p[i : i + 1] for p in together.planes), pts=(i,), duration=(0,), data=()) for i in range(5)
    ]
    singly = list(upscaler.stream(alone))
    for plane, *frames in zip(upscaler.up(together).planes, *(batch.planes for batch in singly), strict=True):
        np.testing.assert_array_equal(plane, np.concatenate(frames))


@pytest.mark.parametrize("size", [(13, 7), (16, 8), (3, 2), (1, 1)])
def test_padding_to_what_the_model_needs(size: tuple[int, int]) -> None:
    seen = []

    class Picky(TwoConvs):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(tuple(x.shape[-2:]))
            return super().forward(x)

    (batch,) = film(format_of(RGB, *size), 1)
    target = format_of(RGB, 2 * size[0], 2 * size[1])
    padded = Upscaler(Picky(multiple_of=4, min_size=8), batch.format, target, EngineSettings()).up(batch)
    assert seen == [tuple(max(8, -(-side // 4) * 4) for side in reversed(size))]
    plain = by_hand(TwoConvs(), batch, target)
    inner = tuple(slice(0, max(0, 2 * side - 4)) for side in reversed(size))  # the rest sees padding instead of zeros
    for plane, expected in zip(padded.planes, plain, strict=True):
        np.testing.assert_allclose(plane[0][inner].astype(int), expected[0][inner], atol=1)


def test_only_tiles_go_through_the_network() -> None:
    seen: list[tuple[int, ...]] = []

    class Watched(TwoConvs):
        def forward(self, x: Tensor) -> Tensor:
            assert x.is_contiguous(memory_format=torch.channels_last)
            seen.append(tuple(x.shape[-2:]))
            return super().forward(x)

    (batch,) = film(format_of(YUV, 100, 70), 1)
    Upscaler(Watched(), batch.format, format_of(YUV, 200, 140), EngineSettings(tile=32, halo=2)).up(batch)
    assert len(seen) == 9  # 3 x 3: the halo takes nothing at the frame's edges
    assert max(max(side) for side in seen) <= 36


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_other_precisions_reach_the_network_and_stay_near(precision: Precision) -> None:
    seen = set()

    class Watched(TwoConvs):
        def forward(self, x: Tensor) -> Tensor:
            seen.add(x.dtype)
            return super().forward(x)

    net = Watched()
    (batch,) = film(format_of(YUV), 2)
    target = format_of(YUV, 76, 44)
    result = Upscaler(net, batch.format, target, EngineSettings(precision=precision)).up(batch)
    assert seen == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert close(result.planes, by_hand(TwoConvs(), batch, target), 4)
    assert {p.dtype for p in net.parameters()} == {torch.float32}  # the caller's network is not touched


def test_timings_travel_on_and_the_source_batch_keeps_its_own() -> None:
    (batch,) = film(format_of(YUV), 2)
    upscaler = Upscaler(TwoConvs(), batch.format, format_of(YUV, 76, 44), EngineSettings())
    (result,) = upscaler.stream([batch])
    assert set(result.timings) == {"decode", "h2d", "model", "d2h"}
    assert 0 < result.timings["model"] < 5
    assert upscaler.up(batch).timings["model"] > 0
    assert batch.timings == {"decode": 0.5}


def test_threads_are_set_where_the_stream_runs() -> None:
    before, seen = torch.get_num_threads(), []

    class Watched(TwoConvs):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((torch.get_num_threads(), threading.current_thread().name))
            return super().forward(x)

    batches = film(format_of(YUV), 1, 1)
    upscaler = Upscaler(Watched(), batches[0].format, format_of(YUV, 76, 44), EngineSettings(threads=1))
    try:
        with prefetch(upscaler.stream(batches), 2, "upscale") as results:
            assert len(list(results)) == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [(1, "upscale")] * 2


def test_between_two_threads_as_in_the_pipeline() -> None:
    batches = film(format_of(YUV), 2, 2, 2, 1)
    upscaler = Upscaler(TwoConvs(), batches[0].format, format_of(YUV, 76, 44), EngineSettings())
    expected = [upscaler.up(batch) for batch in batches]
    with prefetch(iter(batches), 2, "decode") as decoded, prefetch(upscaler.stream(decoded), 2, "upscale") as results:
        for result, batch in zip(results, expected, strict=True):
            assert_same(result, batch)


def test_leaving_a_stream_early_and_starting_another() -> None:
    batches = film(format_of(YUV), 1, 1, 1, 1)
    upscaler = Upscaler(TwoConvs(), batches[0].format, format_of(YUV, 76, 44), EngineSettings())
    stream = upscaler.stream(batches)
    first = next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert_same(next(iter(upscaler.stream(batches))), first)


def test_frames_before_a_broken_one_come_out() -> None:
    batches = film(format_of(YUV), 1, 1)

    def source() -> Iterator[FrameBatch]:
        yield from batches
        raise MediaError("truncated")

    upscaler, done = Upscaler(TwoConvs(), batches[0].format, format_of(YUV, 76, 44), EngineSettings()), list[FrameBatch]()
    with pytest.raises(MediaError, match="truncated"):
        done.extend(upscaler.stream(source()))
    assert [batch.index for batch in done] == [0, 1]


# ---- memory ---------------------------------------------------------------------------------------------------------


class Greedy(TwoConvs):
    """Has no memory for more than `limit` input pixels at once, and says so as `error` does."""

    def __init__(self, limit: int, error: Callable[[], Exception] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.limit, self.error = limit, error

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] * x.shape[2] * x.shape[3] > self.limit:
            raise self.error()
        return super().forward(x)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError,
        MemoryError,
        lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
        lambda: RuntimeError("could not create a primitive"),
    ],
)
def test_out_of_memory_halves_the_tile_and_repeats_the_frame(error: Callable[[], Exception]) -> None:
    format, target = format_of(YUV, 160, 96), format_of(YUV, 320, 192)
    batches = film(format, 2, 1)
    upscaler = Upscaler(Greedy(50 * 50, error), format, target, EngineSettings())
    results = list(upscaler.stream(batches))
    assert upscaler.report.back_offs == (BackOff(0, 1, 80), BackOff(0, 1, 32))  # 160 -> 80 -> 40, down to a multiple of 16
    tiled = Upscaler(TwoConvs(), format, target, EngineSettings(tile=32, halo=2))
    for result, batch in zip(results, batches, strict=True):
        assert_same(result, tiled.up(batch))
    assert engine_notes(upscaler.report)[-1] == "frame 0: out of memory; from there on in batches of 1 and tiles of 32 pixels"


def test_a_back_off_names_the_frame_at_which_it_began() -> None:
    class Later(Greedy):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Later.calls += 1
            self.limit = 10**9 if Later.calls <= 3 else 100 * 100
            return super().forward(x)

    batches = film(format_of(YUV, 160, 96), 2, 2, 1)
    upscaler = Upscaler(Later(0), batches[0].format, format_of(YUV, 320, 192), EngineSettings())
    assert len(list(upscaler.stream(batches))) == 3
    assert upscaler.report.back_offs == (BackOff(3, 1, 80),)


def test_out_of_memory_gives_up_below_the_smallest_tile() -> None:
    batches = film(format_of(YUV, 160, 96), 1)
    upscaler = Upscaler(Greedy(100), batches[0].format, format_of(YUV, 320, 192), EngineSettings())
    with pytest.raises(DeviceError, match="frame 0: out of memory on cpu even in the smallest tiles: close other programs"):
        list(upscaler.stream(batches))


def test_other_errors_of_the_network_are_not_swallowed() -> None:
    batches = film(format_of(YUV, 160, 96), 1)
    net = Greedy(100, lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(Upscaler(net, batches[0].format, format_of(YUV, 320, 192), EngineSettings()).stream(batches))


# ---- recorded: the CPU's twin of a GPU ------------------------------------------------------------------------------


def twin(net: Generator, batch: FrameBatch, target: FrameFormat, settings: EngineSettings) -> tuple[Upscaler, LateGraphs]:
    """An upscaler that batches, records and holds as on a GPU."""
    backend = LateBackend(record=True)
    assert backend.graphs is not None
    return Upscaler(net, batch.format, target, settings, backend), backend.graphs


@pytest.mark.parametrize(("source", "target"), [(YUV, YUV), (YUV10, YUV), (RGBA16, RGBA16), (GRAY, YUV)])
@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("tile", [None, 16])
def test_recorded_frames_are_the_same(source: PixelLayout, target: PixelLayout, slots: int, tile: int | None) -> None:
    net, wanted = TwoConvs(), format_of(target, 76, 44)
    batches = film(format_of(source), 3, 3, 3, 1, 3, 2)
    settings = EngineSettings(slots=slots, tile=tile, halo=2)  # a batch of one: three pieces, and the same kernels as in `up`
    upscaler, graphs = twin(net, batches[0], wanted, settings)
    plain = Upscaler(net, batches[0].format, wanted, settings)
    for _ in range(2):
        for result, batch in zip([*upscaler.stream(batches)], batches, strict=True):
            assert_same(result, plain.up(batch))
    assert (graphs.captured, graphs.replayed) == (1, 2 * 15 - 1)
    assert upscaler.report == EngineReport()


def test_short_batches_go_through_the_recording_of_full_ones() -> None:
    net, batches, target = TwoConvs(), film(format_of(YUV), 2, 4, 4, 1, 4, 3, 4), format_of(YUV, 76, 44)
    upscaler, graphs = twin(net, batches[0], target, EngineSettings(batch=4))
    for result, batch in zip([*upscaler.stream(batches)], batches, strict=True):
        assert close(result.planes, by_hand(net, batch, target))
    assert (graphs.captured, graphs.replayed) == (1, 5)  # the first short one came too early, and the first full one


def test_the_slow_twin_is_not_recorded() -> None:
    batches = film(format_of(YUV), 2, 2, 2)
    upscaler, graphs = twin(TwoConvs(), batches[0], format_of(YUV, 76, 44), EngineSettings(batch=2))
    for batch in batches:
        upscaler.up(batch)
    assert graphs.captured == 0


class Failing(TwoConvs):
    """Fails on the calls with these numbers."""

    def __init__(self, error: Callable[[], Exception], *calls: int) -> None:
        super().__init__()
        self.error, self.calls, self.count = error, calls, 0

    def __deepcopy__(self, memo: object) -> Failing:
        return self  # the engine's copy counts as well

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        if self.count in self.calls:
            raise self.error()
        return super().forward(x)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, lambda: RuntimeError("not permitted when stream is capturing")])
def test_a_capture_that_fails_loses_nothing(error: Callable[[], Exception]) -> None:
    batches, target = film(format_of(YUV), 2, 2, 2, 2), format_of(YUV, 76, 44)
    net = Failing(error, 2)
    upscaler, graphs = twin(net, batches[0], target, EngineSettings(batch=2))
    for result, batch in zip([*upscaler.stream(batches)], batches, strict=True):
        assert close(result.planes, by_hand(TwoConvs(), batch, target))
    assert (graphs.captured, graphs.replayed, net.count) == (0, 0, 5)
    assert upscaler.report == EngineReport()


def test_out_of_memory_gives_up_the_recording_before_anything_else() -> None:
    batches, target = film(format_of(YUV), 2, 2, 2, 2, 2), format_of(YUV, 76, 44)
    net = Failing(torch.OutOfMemoryError, 5)  # 1 as it is, 2 captured, 3 and 4 replayed
    upscaler, graphs = twin(net, batches[0], target, EngineSettings(batch=2))
    for result, batch in zip([*upscaler.stream(batches)], batches, strict=True):
        assert close(result.planes, by_hand(TwoConvs(), batch, target))
    assert (graphs.captured, graphs.replayed) == (1, 3)
    assert upscaler.report == EngineReport()  # no pixel has changed


def test_out_of_memory_backs_off_and_the_smaller_portion_is_recorded_anew() -> None:
    batches, target = film(format_of(YUV), *[4] * 6), format_of(YUV, 76, 44)
    net = Failing(torch.OutOfMemoryError, 5, 6)  # in a replay, and again without the recording
    upscaler, graphs = twin(net, batches[0], target, EngineSettings(batch=4))
    for result, batch in zip([*upscaler.stream(batches)], batches, strict=True):
        assert close(result.planes, by_hand(TwoConvs(), batch, target))
    assert upscaler.report.back_offs == (BackOff(12, 2, None),)
    assert graphs.captured == 2
    assert graphs.replayed == (2 + 1) + (3 * 2 - 1)


def test_tiles_that_are_smaller_are_recorded_anew() -> None:
    batches, target = film(format_of(YUV, 160, 96), *[1] * 6), format_of(YUV, 320, 192)
    net = Failing(torch.OutOfMemoryError, 3, 4)
    upscaler, graphs = twin(net, batches[0], target, EngineSettings())
    for result, batch in zip([*upscaler.stream(batches)], batches, strict=True):
        assert close(result.planes, by_hand(TwoConvs(), batch, target))
    assert upscaler.report.back_offs == (BackOff(1, 1, 80),)
    assert (graphs.captured, graphs.replayed) == (2, 1 + 4)


def test_frames_without_numbers_are_found_in_replays_and_rescued_without() -> None:
    batches, target = dark_and_bright(3, 3, 3, 2), format_of(RGB, 76, 44)
    upscaler, graphs = twin(Overflowing(), batches[0], target, EngineSettings(precision="fp16", batch=3))
    for result, batch in zip([*upscaler.stream(batches)], batches, strict=True):
        assert close(result.planes, by_hand(Overflowing(), batch, target), 4)
    assert upscaler.report == EngineReport(retries=tuple(Retry(frame, "bf16") for frame in (1, 4, 7, 10)))
    assert (graphs.captured, graphs.replayed) == (1, 3)


# ---- numbers --------------------------------------------------------------------------------------------------------


class Overflowing(TwoConvs):
    """Internal values up to 1e5 times the brightness: beyond fp16's 65504 for bright frames, harmless in bf16 and fp32."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x * 1e5) * 1e-5)


class Broken(TwoConvs):
    """Has no numbers for bright frames in any precision."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / (x.mean(dim=(1, 2, 3), keepdim=True) < 0.7))


def dark_and_bright(*sizes: int) -> list[FrameBatch]:
    """Batches of these sizes; the second frame of each is bright, and all others dark."""
    batches = film(format_of(RGB), *sizes)
    for batch in batches:
        for plane in batch.planes:
            plane[:] = plane // 4
            plane[1] += 190
    return batches


@pytest.mark.parametrize(("precisions", "helped"), [(ALL, "bf16"), ({"fp32", "fp16"}, "fp32")])
def test_a_frame_that_overflows_is_computed_again(precisions: frozenset[Precision], helped: Precision) -> None:
    batches, target = dark_and_bright(3, 2), format_of(RGB, 76, 44)
    upscaler = Upscaler(
        Overflowing(precisions=frozenset(precisions)), batches[0].format, target, EngineSettings(precision="fp16", batch=3)
    )
    results = list(upscaler.stream(batches))
    assert upscaler.report == EngineReport(retries=(Retry(1, helped), Retry(4, helped)))
    assert engine_notes(upscaler.report) == [f"frames 1, 4: the network overflowed; computed again in {helped}"]
    for result, batch in zip(results, batches, strict=True):
        assert close(result.planes, by_hand(Overflowing(), batch, target), 4)


def test_a_frame_without_numbers_in_any_precision_is_enlarged_by_bicubic() -> None:
    batches, target = dark_and_bright(3, 2), format_of(RGB, 76, 44)
    upscaler = Upscaler(Broken(), batches[0].format, target, EngineSettings(precision="bf16"))
    results = list(upscaler.stream(batches))
    assert upscaler.report == EngineReport(bicubic=(1, 4))
    assert engine_notes(upscaler.report)[0].startswith("frames 1, 4: the network gave no numbers")
    bicubic, good = by_hand(Bicubic(), batches[0], target), by_hand(TwoConvs(), batches[0], target)
    for plane, cubic, network in zip(results[0].planes, bicubic, good, strict=True):
        np.testing.assert_array_equal(plane[1], cubic[1])
        np.testing.assert_allclose(plane[[0, 2]].astype(int), network[[0, 2]], atol=3)


def test_a_retry_in_fp32_takes_tiles_for_its_own_size() -> None:
    seen: list[tuple[torch.dtype, int]] = []

    class Watched(Broken):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((x.dtype, x.shape[-1]))
            return super().forward(x)

    format, target = format_of(RGB, 128, 128), format_of(RGB, 256, 256)
    (batch,) = film(format, 1)
    for plane in batch.planes:
        plane[:] = 250
    net = Watched(bytes_per_pixel=20_000)
    half = 128 * 128 * 10_000 + (4 << 20)  # enough for the whole frame in bf16, not in fp32
    Upscaler(net, format, target, EngineSettings(precision="bf16", memory=half)).up(batch)
    assert seen[0] == (torch.bfloat16, 128)
    assert {(dtype, side < 128) for dtype, side in seen[1:]} == {(torch.float32, True)}


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_what_cannot_work_is_refused_at_once() -> None:
    yuv, double = format_of(YUV), format_of(YUV, 76, 44)
    with pytest.raises(ConfigError, match="cannot become gray"):
        Upscaler(TwoConvs(), yuv, format_of(GRAY, 76, 44), EngineSettings())
    with pytest.raises(ConfigError, match="alpha"):
        Upscaler(TwoConvs(), format_of(RGB), format_of(RGBA16, 76, 44), EngineSettings())
    with pytest.raises(DeviceError, match="cuda:77"):
        Upscaler(TwoConvs(), yuv, double, EngineSettings(device="cuda:77"))
    upscaler = Upscaler(TwoConvs(), yuv, double, EngineSettings())
    other = film(format_of(YUV, 40, 22), 1)
    for call in (lambda: upscaler.up(other[0]), lambda: list(upscaler.stream(other))):
        with pytest.raises(MediaError, match="frame 0 has width 40 instead of 38: convert the film"):
            call()


def test_what_is_new_in_a_report() -> None:
    before = EngineReport((BackOff(3, 1, 32),), (Retry(5, "fp32"),), (7,))
    now = EngineReport((BackOff(2, 1, 32), BackOff(3, 1, 32)), (Retry(5, "fp32"), Retry(5, "fp32")), (7,))
    assert now.since(before) == EngineReport((BackOff(2, 1, 32),), (Retry(5, "fp32"),), ())
    assert now.since(EngineReport()) == now
    assert now.since(now) == EngineReport()
