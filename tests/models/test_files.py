"""Damaged, hostile and merely odd checkpoint files: each is refused in one line that says why, and none is a bug of ours."""

from __future__ import annotations

import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from vsr.errors import ModelError, WeightsError
from vsr.models import weights
from vsr.models.compact import SRVGGNetCompact
from vsr.models.stored import digest

State = dict[str, Tensor]


def state() -> State:
    torch.manual_seed(0)
    return SRVGGNetCompact(2, num_feat=8, upscale=2).state_dict()


def refused(path: Path, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        weights.load(str(path), 2)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: (t * 10).to(torch.int8), "is int8"),
        (lambda t: t.to(torch.complex64), "is complex64"),
        (lambda t: t.to("meta"), "has no numbers"),
        pytest.param(lambda t: t.to_sparse(), "is sparse", marks=pytest.mark.filterwarnings("ignore:(Validating s|S)parse")),
        (lambda t: t * float("nan"), "holds NaN or infinity"),
        (lambda t: t / 0, "holds NaN or infinity"),
    ],
)
def test_what_is_no_weight_is_refused_by_name(change: Callable[[Tensor], Tensor], reason: str, tmp_path: Path) -> None:
    odd = state()
    odd["body.2.weight"] = change(odd["body.2.weight"])
    torch.save({"params": odd}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", f"body.2.weight {reason}")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("own", [True, False])
def test_any_floating_point_runs_in_float32(dtype: torch.dtype, own: bool, tmp_path: Path) -> None:
    told = {name: tensor.to(dtype) for name, tensor in state().items()}
    path = tmp_path / "x.safetensors"
    path.write_bytes(save(told, ours(told) if own else None))
    network = weights.load(str(path), 2)
    image = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        out = network.reconstruct(network.features(image)[:, None])
        reference = SRVGGNetCompact(2, num_feat=8, upscale=2)
        reference.load_state_dict(told)
        torch.testing.assert_close(out, reference(image), rtol=0, atol=0)


def ours(state: State, **changes: str) -> dict[str, str]:
    """The metadata of a file of vsr's own."""
    told = {"format": "vsr-1", "architecture": "SRVGGNetCompact", "scale": "2", "source": "", "source_sha256": ""}
    return told | {"options": '{"num_conv": 2, "num_feat": 8, "upscale": 2}', "tensors_sha256": digest(state)} | changes


@pytest.mark.parametrize(
    "options",
    [
        '{"num_conv": 100000000, "num_feat": 8, "upscale": 2}',
        '{"num_conv": 2, "num_feat": 1000000000, "upscale": 2}',
        '{"num_conv": 2, "num_feat": -8, "upscale": 2}',
        '{"num_conv": 2, "num_feat": 8, "upscale": -2}',
        '{"num_conv": 2, "num_feat": 8, "upscale": 0}',
        "[]",
        "null",
        '"num_conv"',
    ],
)
def test_metadata_that_describe_no_network(options: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(save(state(), ours(state(), options=options)))
    refused(path, "describe no network")


@pytest.mark.parametrize("metadata", [None, "x", [1], 5])
def test_metadata_that_are_no_table(metadata: object, tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": metadata}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    refused(tmp_path / "x.safetensors", "not a whole safetensors file|no architecture")


MEANS = ("sub_mean.bias", "sub_mean.weight", "add_mean.weight")
FAMILIAR = {
    "RRDBNet": ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_up2.weight"),
    "EDSR": (*MEANS, "head.0.weight", "tail.1.weight", "tail.0.0.weight"),
    "MDSR": (*MEANS, "head.0.weight", "tail.0.weight", "pre_process.2.0.body.0.weight"),
    "SPAN": ("conv_1.eval_conv.weight", "block_6.c3_r.eval_conv.weight", "conv_cat.weight", "upsampler.0.weight"),
}


@pytest.mark.filterwarnings("ignore:Initializing zero-element")  # torch's, of a network without channels
@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 0, 0, 0), (1, 3, 1, 1)])
@pytest.mark.parametrize("names", FAMILIAR.values(), ids=FAMILIAR)
def test_familiar_names_with_other_shapes(names: tuple[str, ...], shape: tuple[int, ...], tmp_path: Path) -> None:
    pytest.importorskip("spandrel")
    eye = torch.eye(3).reshape(3, 3, 1, 1)
    torch.save({name: eye if "mean.weight" in name else torch.zeros(shape) for name in names}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "no architecture|do not fit")


def test_wrappers_that_hold_one_another(tmp_path: Path) -> None:
    pytest.importorskip("spandrel")
    one: dict[str, object] = {}
    one["params"] = {"params": one}
    torch.save(one, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "no architecture")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    pytest.importorskip("spandrel")
    torch.save({1: torch.zeros(2), "a.weight": torch.zeros(2)}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "no architecture")


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    pytest.importorskip("spandrel")
    torch.save({**state(), "extra.weight": torch.zeros(2)}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "extra.weight")


def test_damage_anywhere_in_an_archive_is_never_a_bug_of_ours(tmp_path: Path) -> None:
    path, dice = tmp_path / "x.pth", random.Random(0)
    torch.save(state(), path)
    whole = path.read_bytes()
    refusals = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(3):  # in the directory at the end, which zip readers take apart first
            damaged[dice.randrange(len(whole) - 900, len(whole))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            weights.load(str(path), 2)
        except WeightsError:
            refusals += 1
    assert refusals > 30


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as good, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in good.namelist():
            bomb.writestr(name, bytes(20_000_000) if name.endswith("/data/0") else good.read(name))
    refused(tmp_path / "b.pth", "unpacks to")


def test_an_archive_packed_again_still_loads(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as good, zipfile.ZipFile(tmp_path / "y.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in good.namelist():
            packed.writestr(name, good.read(name))
    assert weights.load(str(tmp_path / "y.pth"), 2).spec.scale == 2


def test_names_longer_than_a_file_can_have() -> None:
    with pytest.raises(ModelError, match="unknown model"):
        weights.load("a" * 5000, 2)
