"""Checkpoints of strangers: what loads, what is refused, and that nothing in them runs."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vsr.errors import ModelError, WeightsError
from vsr.models import weights
from vsr.models.community import CommunityNetwork
from vsr.models.spec import Generator

spandrel = pytest.importorskip("spandrel")


def stranger() -> nn.Module:
    """A network that is none of ours."""
    from spandrel.architectures.SAFMN import SAFMN

    torch.manual_seed(0)
    net: nn.Module = SAFMN(dim=8, n_blocks=1, upscaling_factor=2).eval()
    return net


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_every_kind_of_file_gives_the_networks_picture(suffix: str, wrapped: bool, tmp_path: Path) -> None:
    net, path = stranger(), tmp_path / f"my-net{suffix}"
    if suffix == ".safetensors":
        save_file({f"module.{k}" if wrapped else k: v for k, v in net.state_dict().items()}, path)
    else:
        torch.save({"params_ema": net.state_dict()} if wrapped else net.state_dict(), path)
    loaded = weights.load(str(path), 2)
    frames = torch.rand(2, 3, 16, 24)
    with torch.inference_mode():
        out = loaded.reconstruct(loaded.features(frames)[:, None])
        torch.testing.assert_close(out, net(frames).clamp(0, 1), rtol=0, atol=1e-6)
    assert isinstance(loaded, CommunityNetwork)
    assert isinstance(loaded, Generator)


def test_spec_comes_from_the_descriptor(tmp_path: Path) -> None:
    path, net = tmp_path / "2x-photo.pth", stranger()
    torch.save(net.state_dict(), path)
    spec = weights.load(str(path), 2).spec
    parameters = sum(p.numel() for p in net.parameters())
    assert (spec.name, spec.architecture, spec.scale, spec.parameters) == ("2x-photo", "SAFMN", 2, parameters)
    assert spec.halo_px == 32
    assert spec.precisions == {"fp32", "bf16"}  # no fp16, as the descriptor says
    assert spec.mflop_per_pixel > 0 < spec.bytes_per_pixel
    assert len(spec.weights_sha256) == 64
    assert "receptive field unknown" in spec.warnings[0]


def test_the_same_weights_have_the_same_checksum_in_any_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pth", tmp_path / "b.safetensors"
    torch.save(stranger().state_dict(), first)
    save_file(stranger().state_dict(), second)
    assert weights.load(str(first), 2).spec.weights_sha256 == weights.load(str(second), 2).spec.weights_sha256


def test_half_precision_checkpoints_become_fp32(tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    torch.save({name: tensor.half() for name, tensor in stranger().state_dict().items()}, path)
    out = weights.load(str(path), 2).reconstruct(torch.rand(1, 1, 3, 8, 8))
    assert out.dtype == torch.float32


def test_a_copy_moves_on_its_own(tmp_path: Path) -> None:
    """As the engine does it: a copy for each precision, the original untouched."""
    path = tmp_path / "net.pth"
    torch.save(stranger().state_dict(), path)
    original = weights.load(str(path), 2)
    half = copy.deepcopy(original).to("cpu", torch.bfloat16, memory_format=torch.channels_last)
    image = torch.rand(1, 1, 3, 8, 8)
    assert half.reconstruct(image.bfloat16()).dtype == torch.bfloat16
    assert original.reconstruct(image).dtype == torch.float32


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_a_malicious_pickle_does_not_run(suffix: str, form: str, tmp_path: Path) -> None:
    path, trace = tmp_path / f"evil{suffix}", tmp_path / "trace"
    content = {**stranger().state_dict(), "extra": Attack(trace)}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(Attack(trace)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match=rf"evil\{suffix}: ") as caught:
        weights.load(str(path), 2)
    assert not trace.exists()
    assert "\n" not in str(caught.value)
    if form == "zip":
        assert "mkdir" in str(caught.value)


def torchscript(path: Path) -> None:
    """The mark of a TorchScript archive; making a real one warns of its deprecation."""
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", b"")
        archive.writestr("archive/data.pkl", b"")
        archive.writestr("archive/version", b"3")


def truncated(path: Path) -> None:
    torch.save(stranger().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-2000])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("hello, this is no checkpoint"), "not a checkpoint|not a whole checkpoint"),
    "page": (lambda path: path.write_text("<!DOCTYPE html><html>404</html>"), "not a checkpoint|not a whole checkpoint"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "truncated": (truncated, "not a whole checkpoint"),
    "torchscript": (torchscript, "is a program"),
    "tensor": (lambda path: torch.save(torch.ones(3), path), "holds a Tensor"),
    "no weights": (lambda path: torch.save({}, path), "no architecture"),
    "other": (lambda path: torch.save({"fc.weight": torch.ones(2, 2), "step": 3}, path), "no architecture"),
    "torn": (lambda path: torch.save({"body.0.weight": torch.ones(8, 3, 3, 3), "body.1.weight": torch.ones(8)}, path), "not fit"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_bad_checkpoints_in_one_clear_line(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    make, message = BAD[kind]
    make(path)
    with pytest.raises(ModelError, match=message) as caught:
        weights.load(str(path), 2)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"text, and nothing else", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]", b"\x02" + b"\0" * 7 + b"12"]
)
def test_bad_safetensors(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"empty|not a whole safetensors") as caught:
        weights.load(str(path), 2)
    assert "\n" not in str(caught.value)


def test_gray_networks_are_refused(tmp_path: Path) -> None:
    from spandrel.architectures.DnCNN import DnCNN

    path = tmp_path / "gray.pth"
    torch.save(DnCNN(in_nc=1, out_nc=1, nc=8, nb=4, mode="R").state_dict(), path)
    with pytest.raises(ModelError, match="takes 1 channels and gives 1"):
        weights.load(str(path), 2)


@pytest.mark.parametrize(
    ("name", "purpose", "keys"),
    [
        (
            "CodeFormer",
            "face restoration",
            ["position_emb", "feat_emb.weight", "idx_pred_layer.1.weight", "generator.blocks.0.weight"],
        ),
        ("MAT", "inpainting", ["synthesis.first_stage.conv_first.conv.resample_filter", "mapping.fc0.weight"]),
        ("MAT", "inpainting", ["model.synthesis.first_stage.conv_first.conv.resample_filter"]),
    ],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_networks_for_other_work_are_refused_by_name(
    name: str, purpose: str, keys: list[str], wrapped: bool, tmp_path: Path
) -> None:
    path, state = tmp_path / "net.pth", {key: torch.ones(2) for key in keys}
    torch.save({"params_ema": state} if wrapped else state, path)
    with pytest.raises(ModelError, match=f"net.pth: {name} is for {purpose}, not for upscaling"):
        weights.load(str(path), 2)


def test_a_network_that_works_in_place_leaves_the_input_alone(tmp_path: Path) -> None:
    rcan = pytest.importorskip("spandrel.architectures.RCAN").RCAN
    state = rcan(n_resgroups=1, n_resblocks=1, n_feats=16, reduction=4, scale=2).state_dict()
    torch.save({"state_dict": state}, tmp_path / "rcan.pth")
    generator = weights.load(str(tmp_path / "rcan.pth"), 2)
    image = torch.rand(1, 3, 8, 8)
    before = image.clone()
    with torch.inference_mode():
        generator.reconstruct(generator.features(image)[:, None])
    assert torch.equal(image, before)
