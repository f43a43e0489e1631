"""ONNX: what is written computes what torch computes, and nothing else is left behind."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from tests.models.edvrs import write_edvr
from vsr.errors import ConfigError, ModelError, VsrError
from vsr.models import stored, weights
from vsr.models.compact import SRVGGNetCompact
from vsr.models.export import NEEDED, export_onnx
from vsr.models.rrdb import RRDBNet

MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
OLD_EXPORTER = tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 12)
needs_onnx = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@pytest.fixture
def compact(tmp_path: Path) -> str:
    torch.manual_seed(0)
    path = tmp_path / "compact.safetensors"
    net = SRVGGNetCompact(1, num_feat=8, upscale=2)
    stored.write(path, net.state_dict(), stored.Origin("SRVGGNetCompact", {"num_conv": 1, "num_feat": 8, "upscale": 2}, 2))
    return str(path)


@pytest.fixture
def folded(tmp_path: Path) -> str:
    """Sees its input in cells of 2x2."""
    torch.manual_seed(0)
    path = tmp_path / "folded.safetensors"
    options = {"num_block": 1, "num_feat": 8, "num_grow": 4, "scale": 2}
    stored.write(path, RRDBNet(1, num_feat=8, num_grow=4, scale=2).state_dict(), stored.Origin("RRDBNet", options, 2))
    return str(path)


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix == ".onnx" or p.name.startswith("."))


@needs_onnx
@pytest.mark.parametrize("kind", ["compact", "folded"])
def test_a_file_for_pictures_of_any_size(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    import onnxruntime

    model = request.getfixturevalue(kind)
    done = export_onnx(model, tmp_path / "net.onnx", size=None, opset=18, target_scale=4)
    assert (done.size, done.scale, done.warnings) == (None, 2, ())
    assert done.difference < 1e-5
    assert left(tmp_path) == ["net.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    image = torch.rand(1, 3, 34, 58)
    (found,) = session.run(["enlarged"], {"image": image.numpy()})
    generator = weights.load(model, 4)
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(found), generator.reconstruct(image[:, None]), rtol=0, atol=1e-5)


@needs_onnx
def test_a_file_for_one_size(compact: str, tmp_path: Path) -> None:
    import onnxruntime

    done = export_onnx(compact, tmp_path / "net.onnx", size=(48, 32), opset=18, target_scale=4)
    assert done.size == (48, 32)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 3, 32, 48]
    assert session.get_outputs()[0].shape == [1, 3, 64, 96]


@needs_onnx
def test_a_name_too_long_to_be_written(compact: str, tmp_path: Path) -> None:
    with pytest.raises(VsrError, match="the name is too long; choose a shorter one"):
        export_onnx(compact, tmp_path / f"{'x' * 247}.onnx", size=(16, 16), opset=18, target_scale=2)
    assert left(tmp_path) == []


def test_a_size_that_the_network_cannot_take(folded: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"--size 31x32: .* multiples of 2"):
        export_onnx(folded, tmp_path / "net.onnx", size=(31, 32), opset=18, target_scale=4)
    assert left(tmp_path) == []


@needs_onnx
@pytest.mark.slow
@pytest.mark.skipif(OLD_EXPORTER, reason="torch 2.11 cannot export spandrel's SwinIR with the current onnx-ir")
@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # spandrel's SwinIR
def test_a_network_that_holds_the_traced_size_is_for_that_size_alone(tmp_path: Path) -> None:
    swin = pytest.importorskip("spandrel.architectures.SwinIR").SwinIR
    torch.manual_seed(0)
    small = {"img_size": 16, "window_size": 8, "depths": [1], "num_heads": [2], "embed_dim": 16, "mlp_ratio": 2}
    torch.save({"params": swin(**small, upsampler="pixelshuffledirect", upscale=2).state_dict()}, tmp_path / "swin.pth")
    done = export_onnx(str(tmp_path / "swin.pth"), tmp_path / "net.onnx", size=None, opset=18, target_scale=2)
    assert done.size == (64, 64)
    assert any("for 64x64 alone" in text for text in done.warnings)
    assert left(tmp_path) == ["net.onnx"]


@needs_onnx
def test_a_file_that_differs_is_not_kept(compact: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.models.export.TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="not written, as onnxruntime differs"):
        export_onnx(compact, tmp_path / "net.onnx", size=(32, 32), opset=18, target_scale=4)
    assert left(tmp_path) == []


def test_networks_of_several_frames_are_refused_by_name(tmp_path: Path) -> None:
    write_edvr(tmp_path / "tiny.safetensors")
    with pytest.raises(ModelError, match=r"tiny\.safetensors: EDVR aligns 5 frames"):
        export_onnx(str(tmp_path / "tiny.safetensors"), tmp_path / "net.onnx", size=None, opset=18, target_scale=4)
    with pytest.raises(ModelError, match="bicubic: is no network"):
        export_onnx("bicubic", tmp_path / "net.onnx", size=None, opset=18, target_scale=4)
    assert left(tmp_path) == []


@pytest.mark.skipif(not MISSING, reason="all that ONNX needs is installed")
def test_without_the_extra_it_says_how_to_get_it(compact: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"pip install 'vsr\[onnx\]'"):
        export_onnx(compact, tmp_path / "net.onnx", size=None, opset=18, target_scale=4)


def test_outputs_are_never_overwritten_unasked(compact: str, tmp_path: Path) -> None:
    target = tmp_path / "net.onnx"
    target.write_bytes(b"precious")
    with pytest.raises(ConfigError, match="add --overwrite"):
        export_onnx(compact, target, size=None, opset=18, target_scale=4)
    with pytest.raises(ConfigError, match=r"must end in \.onnx"):
        export_onnx(compact, tmp_path / "net.pt", size=None, opset=18, target_scale=4)
    assert target.read_bytes() == b"precious"
