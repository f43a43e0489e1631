"""ncnn on a Vulkan device against torch on the CPU; and what is said where there is no such device, or where it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.engine.pictures import picture, psnr, run, small_rrdb
from tests.films import Film, make
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.choose_engine import choose_engine
from vsr.engine import ncnn_vulkan
from vsr.engine.ncnn_cpu import installed
from vsr.engine.ncnn_vulkan import VulkanNetwork, build, choose_tile, number_of
from vsr.engine.precision import present_devices, resolve_device
from vsr.engine.race import apart
from vsr.errors import ConfigError, DeviceError, ModelError
from vsr.measure import sample_frame
from vsr.models import weights
from vsr.models.bicubic import Bicubic
from vsr.models.compact import SRVGGNetCompact
from vsr.models.spec import Generator, Precision
from vsr.planning import draft_job, make_plan

ROOT = Path(__file__).parents[2]
needs_ncnn = pytest.mark.skipif(not installed(), reason="needs PyPI's ncnn")
needs_vulkan = pytest.mark.usefixtures("vulkan")


@pytest.fixture
def vulkan() -> None:
    if not ncnn_vulkan.present():
        pytest.skip("needs PyPI's ncnn and a Vulkan device")


def built(network: Generator, precision: Precision = "fp32") -> VulkanNetwork:
    return build(network, "vulkan", precision, 1)


@needs_vulkan
@pytest.mark.parametrize("size", [(16, 24), (25, 39), (1, 5)])  # 25x39 is no multiple of 16 bytes
@pytest.mark.parametrize("name", ["rrdb", "rrdb behind pixel-unshuffle", "compact"])
def test_at_least_100_db_to_torch_in_fp32(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(3)
    network = SRVGGNetCompact(3, num_feat=24).eval() if name == "compact" else small_rrdb(4 if name == "rrdb" else 2)
    frames = picture(*(side * network.spec.multiple_of for side in size))
    assert psnr(run(network, frames), run(built(network), frames)) >= 100


@needs_vulkan
def test_real_weights_in_both_precisions() -> None:
    network = weights.load("animevideo", 4)
    frames = picture(25, 39)
    expected = run(network, frames)
    assert psnr(expected, run(built(network), frames)) >= 100
    rounded = psnr(expected, run(built(network, "fp16"), frames))
    assert 60 <= rounded < 100, "16 bits are stored, and only stored"


@needs_vulkan
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_same_bytes_from_run_to_run_and_in_batches(precision: Precision) -> None:
    network = built(small_rrdb(), precision)
    frames = torch.cat([picture(13, 18, number) for number in range(2)])
    kept = frames.clone()
    first = run(network, frames)
    run(network, picture(21, 11))  # another size in between, so that the pools hold other blocks
    assert torch.equal(first, run(network, frames))
    assert torch.equal(first, torch.cat([run(network, frame[None]) for frame in frames]))
    assert torch.equal(frames, kept)


@needs_vulkan
def test_the_device_is_named_and_numbered() -> None:
    assert resolve_device("vulkan:0") == torch.device("cpu") == resolve_device("vulkan")
    assert str(number_of("vulkan")) in map(str, range(len(ncnn_vulkan.present())))
    for name in ("vulkan:99", "vulkan:", "vulkan:x", "vulkan:-1"):
        with pytest.raises(DeviceError, match=f"--device {name}: no such device here; there is vulkan:0 \\(.+\\)"):
            resolve_device(name)
    assert ncnn_vulkan.budget_bytes(0) > 0


def test_auto_is_never_vulkan() -> None:
    assert not any(ncnn_vulkan.is_vulkan(name) for name in present_devices())
    assert not ncnn_vulkan.is_vulkan("cpu")


def test_unknown_networks_are_refused() -> None:
    assert not ncnn_vulkan.knows(Bicubic())
    with pytest.raises((ModelError, DeviceError)):
        build(Bicubic(), "vulkan", "fp32", 1)


BLIND = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "ncnn" else find(name, package)
"""
WITHOUT = """
from vsr.engine.precision import resolve_device
from vsr.errors import DeviceError
try:
    resolve_device("vulkan:1")
except DeviceError as error:
    print(error)
"""


@needs_ncnn
def test_without_a_driver_one_line_says_so() -> None:
    nowhere = {"VK_ICD_FILENAMES": "/nonexistent.json", "VK_DRIVER_FILES": "/nonexistent.json"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **nowhere}, check=False
    )
    assert done.stdout.startswith("--device vulkan:1: no Vulkan device here; install")
    assert (done.stderr, done.returncode) == ("", 0)


def test_without_ncnn_one_line_says_so() -> None:
    code = BLIND + WITHOUT
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "--device vulkan:1: needs PyPI's ncnn; run: pip install 'vsr[ncnn]'"


def test_the_tile_follows_the_devices_memory() -> None:
    spec = small_rrdb().spec
    spec = replace(spec, bytes_per_pixel=14_600, parameters=1_000_000)
    assert choose_tile(spec, 100, 100, "fp32", 8 << 30) is None
    wishes: list[tuple[int, Precision]] = [(2 << 30, "fp32"), (2 << 30, "fp16"), (4 << 30, "fp16")]
    sides = [choose_tile(spec, 4000, 4000, precision, budget) for budget, precision in wishes]
    assert all(side is not None and side % 16 == 0 for side in sides)
    assert sides == sorted(sides, key=lambda side: side or 0)
    assert len(set(sides)) == 3
    assert choose_tile(spec, 4000, 4000, "fp32", 1 << 50) is not None, "no buffer holds a whole frame's blobs"
    with pytest.raises(DeviceError, match="too little for tiles of 32 pixels"):
        choose_tile(spec, 4000, 4000, "fp32", 1 << 20)


def wish(folder: Path, **changes: object) -> UpscaleConfig:
    make(Film("film", size=(32, 24), pts=(0, 512, 1024)), folder)
    config = UpscaleConfig(
        str(folder / "film.mp4"), str(folder / "out.mkv"), model="animevideo", device="vulkan", threads=1,
        encode=EncodeConfig(codec="ffv1"), verify=False,
    )  # fmt: skip
    return replace(config, **changes)  # type: ignore[arg-type]


@needs_vulkan
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "bicubic"}, "--device vulkan: ncnn does not know the network of bicubic"),
        ({"precision": "bf16"}, "--precision bf16: --device vulkan computes in fp32 and fp16"),
        ({"backend": "winograd"}, "--backend winograd: --device vulkan computes with ncnn"),
    ],
)
def test_where_it_cannot_be_it_is_refused(changes: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        make_plan(draft_job(wish(tmp_path, **changes)))


@needs_vulkan
@pytest.mark.parametrize("tile", [None, 16])
def test_the_same_film_as_on_the_cpu_but_for_rounding(tile: int | None, tmp_path: Path) -> None:
    films = []
    for device in ("cpu", "vulkan"):
        output = str(tmp_path / f"{device}.mkv")
        report = upscale(wish(tmp_path, device=device, precision="fp32", backend="auto", tile=tile, output=output))
        with av.open(report.output) as film:
            films.append(np.stack([frame.to_ndarray().astype(np.int16) for frame in film.decode(video=0)]))
        assert report.plan is not None
        engine = report.plan.engine
    assert (engine.device, engine.backend, engine.workers, engine.tile) == (f"vulkan:{number_of('vulkan')}", "ncnn", 1, tile)
    assert np.abs(films[0] - films[1]).max() <= 1


@needs_vulkan
def test_fp16_is_chosen_where_it_passes_the_gate(tmp_path: Path) -> None:
    config = wish(tmp_path)
    draft = draft_job(config)
    sample = sample_frame(config.source, draft.info)
    target = replace(draft.info.format, width=draft.width, height=draft.height)
    engine, notes = choose_engine(config, draft.generator, draft.info.format, target, sample, 3)
    assert engine.precision == "fp16" or "computing in float32" in " ".join(notes)
    software = ncnn_vulkan.kind_of(number_of("vulkan")) == ncnn_vulkan.SOFTWARE
    assert any("software" in note for note in notes) == software
    assert apart(draft.generator, picture(24, 32), replace(engine, precision="fp32")) >= 100


MEMORY = """
import resource, torch
from vsr.engine.ncnn_vulkan import build
from vsr.models.rrdb import RRDBNet
network = build(RRDBNet(1, num_feat=16, num_grow=8).eval(), "vulkan", "fp32", 1)
network.reconstruct(torch.zeros(1, 1, 3, 8, 8))
used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20), resource.RLIM_INFINITY))
try:
    network.reconstruct(torch.zeros(1, 1, 3, 256, 256))
except MemoryError:
    print("MemoryError")
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(float(network.reconstruct(torch.zeros(1, 1, 3, 8, 8)).isfinite().all()))
"""


@needs_vulkan
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_too_little_memory_is_a_memory_error_and_can_be_tried_again() -> None:
    if ncnn_vulkan.kind_of(number_of("vulkan")) != ncnn_vulkan.SOFTWARE:
        pytest.skip("a card's memory is not bound by this process's limits")
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.split() == ["MemoryError", "1.0"], done.stderr


ALIVE = """
import sys, threading, torch
from vsr.engine.ncnn_vulkan import build
from vsr.models.compact import SRVGGNetCompact
nets = [build(SRVGGNetCompact(2, num_feat=8).eval(), "vulkan", precision, 1) for precision in ("fp32", "fp16")]
def work():
    for net in nets:
        net.reconstruct(torch.zeros(1, 1, 3, 8, 8))
threads = [threading.Thread(target=work)]
threads[0].start()
threads[0].join()
sys.kept = nets  # still alive when the process ends
"""


@needs_vulkan
def test_a_process_ends_quietly_with_networks_alive() -> None:
    done = subprocess.run([sys.executable, "-c", ALIVE], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
