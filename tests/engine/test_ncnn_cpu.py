"""The ncnn engine against torch in float32: nearly the same numbers, and always the same bytes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.pictures import picture, psnr, run, small_rrdb
from vsr.engine.ncnn_cpu import NcnnNetwork, build, bytes_per_pixel, installed
from vsr.engine.ncnn_graph import draw
from vsr.engine.tiling import cut, paste, plan_tiles
from vsr.models import weights
from vsr.models.bicubic import Bicubic
from vsr.models.compact import SRVGGNetCompact
from vsr.models.rrdb import RRDBNet
from vsr.models.single import SingleFrame
from vsr.models.spec import Generator

needs_ncnn = pytest.mark.skipif(not installed(), reason="needs PyPI's ncnn")


def built(network: Generator, threads: int = 1) -> NcnnNetwork:
    twin = build(network, threads)
    assert twin is not None
    return twin


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
