"""The ncnn engine against torch in float32: nearly the same numbers, and always the same bytes."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vsr.engine.ncnn_cpu import NcnnNetwork, build, bytes_per_pixel, installed
from vsr.engine.ncnn_graph import draw
from vsr.engine.race import Choice, Engine, _judge, faster
from vsr.engine.tiling import cut, paste, plan_tiles
from vsr.errors import ModelError
from vsr.models import weights
from vsr.models.bicubic import Bicubic
from vsr.models.compact import Activation, SRVGGNetCompact
from vsr.models.rrdb import RRDBNet
from vsr.models.single import SingleFrame
from vsr.models.spec import Generator

needs_ncnn = pytest.mark.skipif(not installed(), reason="needs PyPI's ncnn")
PHOTOS = sorted((Path(__file__).parents[3] / "shared/data/Set14/x4").glob("**/*.png"))


def picture(height: int, width: int, number: int = 3) -> Tensor:
    """(1, 3, H, W): a photo's corner, mirrored where it is too small; where there are no photos, waves and an edge."""
    if len(PHOTOS) > number:
        pixels = np.asarray(Image.open(PHOTOS[number]).convert("RGB"), dtype=np.float32) / 255
        lacking = [(0, max(0, size - have)) for size, have in zip((height, width), pixels.shape, strict=False)]
        pixels = np.pad(pixels, [*lacking, (0, 0)], mode="symmetric")
        return torch.from_numpy(np.ascontiguousarray(pixels[:height, :width].transpose(2, 0, 1)))[None]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = [0.5 + 0.3 * torch.sin(x * 0.3 + number) * torch.cos(y * 0.2), 0.5 + 0.4 * torch.sin(y * 0.9), 0.2 + 0.5 * (x > y)]
    return torch.stack(planes)[None].float()


def psnr(first: Tensor, second: Tensor) -> float:
    error = float((first.double() - second.double()).square().mean())
    return 10 * math.log10(1 / error) if error else math.inf


def run(network: Generator, frames: Tensor) -> Tensor:
    with torch.inference_mode():
        return network.reconstruct(network.features(frames)[:, None])


def built(network: Generator, threads: int = 1) -> NcnnNetwork:
    twin = build(network, threads)
    assert twin is not None
    return twin


def small_rrdb(scale: int = 4) -> RRDBNet:
    torch.manual_seed(7)
    return RRDBNet(2, num_feat=16, num_grow=8, scale=scale).eval()


@needs_ncnn
@pytest.mark.parametrize(("name", "size"), [("animevideo", (90, 160)), ("esrgan-anime", (48, 40)), ("esrgan", (32, 33))])
def test_at_least_100_db_to_torch_with_real_weights(name: str, size: tuple[int, int]) -> None:
    network = weights.load(name, 4)
    twin = built(network)
    for number in (3, 7):
        frames = picture(*size, number)
        assert psnr(run(network, frames), run(twin, frames)) >= 100


@needs_ncnn
@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 2), (13, 9), (21, 34)])
def test_every_scale_of_rrdb_on_odd_sizes(scale: int, size: tuple[int, int]) -> None:
    """In units of what the engine pads to: 1x1 is the smallest picture that a network ever sees."""
    network = small_rrdb(scale)
    frames = picture(*(side * network.spec.multiple_of for side in size))
    ours = run(built(network), frames)
    assert ours.shape == (1, 3, frames.shape[2] * scale, frames.shape[3] * scale)
    assert psnr(run(network, frames), ours) >= 100


@needs_ncnn
@pytest.mark.parametrize("scale", [1, 2])
def test_six_wide_blocks_behind_pixel_unshuffle(scale: int) -> None:
    torch.manual_seed(scale)
    network = RRDBNet(6, scale=scale).eval()
    frames = picture(64, 72)
    assert psnr(run(network, frames), run(built(network), frames)) >= 100


@needs_ncnn
@pytest.mark.parametrize("activation", ["prelu", "relu", "leakyrelu"])
@pytest.mark.parametrize("upscale", [1, 2, 3, 4])
def test_every_activation_and_scale_of_compact(activation: Activation, upscale: int) -> None:
    torch.manual_seed(3)
    network = SRVGGNetCompact(3, num_feat=24, upscale=upscale, activation=activation).eval()
    for size in ((1, 1), (17, 23)):
        assert psnr(run(network, picture(*size)), run(built(network), picture(*size))) >= 100


@needs_ncnn
@pytest.mark.parametrize("name", ["animevideo", "esrgan-anime"])
def test_same_bytes_from_run_to_run_and_for_any_number_of_threads(name: str) -> None:
    network = weights.load(name, 4)
    frames = picture(45, 67)
    first = built(network)
    expected = run(first, frames)
    run(first, picture(20, 31))  # another size in between, so that the pools hold other blocks
    assert torch.equal(run(first, frames), expected)
    for threads in (1, 2, 3):
        assert torch.equal(run(built(network, threads), frames), expected)


@needs_ncnn
def test_a_batch_is_its_frames() -> None:
    network = built(small_rrdb())
    frames = torch.cat([picture(12, 18, number) for number in range(3)])
    parts = [run(network, frame[None]) for frame in frames]
    assert torch.equal(run(network, frames), torch.cat(parts))
    assert torch.equal(run(network, frames.contiguous(memory_format=torch.channels_last)), torch.cat(parts))


@needs_ncnn
def test_tiles_with_the_whole_radius_as_halo() -> None:
    torch.manual_seed(1)
    network = SRVGGNetCompact(4, num_feat=16).eval()
    twin, frames = built(network), picture(70, 50)
    out = torch.empty(1, 3, 280, 200)
    tiles = plan_tiles(70, 50, 24, network.spec.halo_px)
    for tile in tiles:
        paste(out, run(twin, cut(frames, tile)), tile, 4)
    assert len(tiles) > 3
    assert psnr(run(network, frames), out) >= 100


@needs_ncnn
def test_neither_input_nor_earlier_results_nor_the_network_change() -> None:
    network = small_rrdb()
    before = [value.clone() for value in network.state_dict().values()]
    threads = torch.get_num_threads()
    frames = picture(16, 16)
    kept = frames.clone()
    twin = built(network, 2)
    first = run(twin, frames)
    copied = first.clone()
    run(twin, picture(16, 16, 1))
    del twin
    assert torch.equal(first, copied)
    assert torch.equal(frames, kept)
    assert all(torch.equal(a, b) for a, b in zip(before, network.state_dict().values(), strict=True))
    assert torch.get_num_threads() == threads


@needs_ncnn
def test_it_is_a_generator_that_stays_where_it_is() -> None:
    twin = built(small_rrdb())
    assert isinstance(twin, Generator)
    assert twin.to("cpu", torch.float32, memory_format=torch.channels_last) is twin
    for device, dtype in (("cuda", torch.float32), ("cpu", torch.bfloat16)):
        with pytest.raises(ModelError, match="computes float32 on the CPU"):
            twin.to(device, dtype)
    with pytest.raises(ModelError, match="takes float32"):
        run(twin, picture(8, 8).bfloat16())


class Negative(SRVGGNetCompact):
    """A network that only looks like one that is known."""

    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


def test_unknown_networks_stay_with_torch() -> None:
    odd = SRVGGNetCompact(2, num_feat=8)
    odd.body[1] = nn.Sigmoid()
    unknown: tuple[SingleFrame, ...] = (Bicubic(), Negative(2, num_feat=8), odd)
    for network in unknown:
        assert draw(network) is None
        assert build(network, 1) is None


@pytest.mark.parametrize("network", [small_rrdb(2), SRVGGNetCompact(2, num_feat=8)], ids=["rrdb", "compact"])
def test_every_blob_of_the_graph_is_made_once_and_read_once(network: SingleFrame) -> None:
    graph = draw(network)
    assert graph is not None
    magic, counts, *lines = graph.param().splitlines()
    made: list[str] = []
    read: list[str] = []
    for line in lines:
        _, _, inputs, outputs, *rest = line.split()
        names = rest[: int(inputs) + int(outputs)]
        assert set(names[: int(inputs)]) <= set(made), line
        read += names[: int(inputs)]
        made += names[int(inputs) :]
    assert (magic, counts) == ("7767517", f"{len(lines)} {len(made)}")
    assert len(set(made)) == len(made)
    assert sorted([*read, "out"]) == sorted(made)
    numbers = itertools.chain(network.parameters())
    assert sum(array.size for array in graph.weights if array.dtype == np.float32) == sum(p.numel() for p in numbers)


MEMORY = """
import resource, torch
from vsr.engine.ncnn_cpu import build
from vsr.models.rrdb import RRDBNet
network = build(RRDBNet(1, num_feat=16, num_grow=8).eval(), 1)
used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
try:
    with torch.inference_mode():
        network.reconstruct(torch.zeros(1, 1, 3, 256, 256))
except MemoryError:
    print("MemoryError")
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(float(network.reconstruct(torch.zeros(1, 1, 3, 8, 8)).isfinite().all()))
"""


@needs_ncnn
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_too_little_memory_is_a_memory_error_and_can_be_tried_again() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.split() == ["MemoryError", "1.0"], done.stderr


def test_memory_is_scaled_from_what_was_measured() -> None:
    wide, thin = (SRVGGNetCompact(2, num_feat=width).spec for width in (64, 128))
    assert bytes_per_pixel(thin) == 2 * bytes_per_pixel(wide) > 2 * wide.bytes_per_pixel
    assert bytes_per_pixel(RRDBNet(1, scale=2).spec) == bytes_per_pixel(RRDBNet(1, scale=4).spec) / 4
    assert bytes_per_pixel(Bicubic().spec) == 0


# ---- which engine ---------------------------------------------------------------------------------------------------


@needs_ncnn
def test_the_race_answers_and_leaves_everything_as_it_was() -> None:
    network, threads, state = small_rrdb(2), torch.get_num_threads(), torch.random.get_rng_state()
    choice = faster(network, 50, 66, 1)
    assert choice.engine in ("torch", "ncnn")
    assert (choice.height, choice.width) == (50, 66)
    assert min(choice.torch_seconds, choice.ncnn_seconds) > 0
    short = faster(network, 1080, 1920, 2, "bf16", seconds=0.01)
    assert short.height < 1080
    assert "less than it will see" in short.reason
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_race_needs_a_rival() -> None:
    choice = faster(Bicubic(), 64, 64, 1)
    assert (choice.engine, choice.torch_seconds) == ("torch", 0)
    assert choice.reason


@pytest.mark.parametrize(
    ("ratio", "whole", "engine"),
    [(0.5, True, "torch"), (1.05, True, "torch"), (1.2, True, "ncnn"), (1.2, False, "torch"), (1.6, False, "ncnn")],
)
def test_ncnn_must_win_clearly(ratio: float, whole: bool, engine: Engine) -> None:
    timed = Choice("torch", "", 64, 64, torch_seconds=ratio, ncnn_seconds=1.0)
    choice = _judge(timed, "fp32", whole)
    assert choice == replace(timed, engine=engine, reason=choice.reason)
