"""Network interpolation: exact at both ends, everything goes along, and strangers are refused or named."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vsr.errors import ConfigError, ModelError, WeightsError
from vsr.models import checkpoints, stored, weights, zoo
from vsr.models.blend import blend, stranger_warning
from vsr.models.compact import SRVGGNetCompact
from vsr.models.rrdb import RRDBNet
from vsr.models.sources import FileWeights, Network
from vsr.models.stored import Origin, Stored

OPTIONS = {"num_conv": 1, "num_feat": 8, "upscale": 2}


def kept(state: dict[str, Tensor], origin: Origin | None = None) -> Stored:
    return Stored(state, origin or Origin("SRVGGNetCompact", OPTIONS, 2), stored.digest(state))


def compact(seed: int) -> Stored:
    torch.manual_seed(seed)
    return kept(SRVGGNetCompact(1, num_feat=8, upscale=2).state_dict())


def with_norm(seed: int, batches: int) -> Stored:
    """A state with what a batch norm keeps, under any names: blending does not look at them."""
    torch.manual_seed(seed)
    norm = torch.nn.BatchNorm2d(4)
    state = norm.state_dict()
    state["running_mean"].normal_()
    state["running_var"].uniform_(0.5, 2)
    state["num_batches_tracked"].fill_(batches)
    return kept({name: value.clone() for name, value in state.items()})


def test_both_ends_to_the_byte() -> None:
    first, second = compact(1), compact(2)
    assert blend(first, second, 0).sha256 == first.sha256 != second.sha256
    assert blend(first, second, 1).sha256 == second.sha256
    assert blend(first, second, 0.5).sha256 == blend(first, second, 0.5).sha256 not in (first.sha256, second.sha256)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.8])
def test_every_number_goes_along(alpha: float) -> None:
    first, second = compact(1), compact(2)
    mixed = blend(first, second, alpha).state
    assert any("body.1.weight" in name for name in mixed)  # a PReLU's slopes
    for name, tensor in mixed.items():
        exact = first.state[name].double() * (1 - alpha) + second.state[name].double() * alpha
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, exact.float()), name


def test_batch_norm_goes_along_and_its_counter_stays_whole() -> None:
    first, second = with_norm(1, 10), with_norm(2, 30)
    mixed = blend(first, second, 0.25).state
    for name in ("running_mean", "running_var", "weight"):
        torch.testing.assert_close(mixed[name], 0.75 * first.state[name] + 0.25 * second.state[name])
    assert [int(blend(first, second, alpha).state["num_batches_tracked"]) for alpha in (0, 0.25, 0.5, 1)] == [10, 10, 30, 30]


def test_the_inputs_stay_as_they_are() -> None:
    first, second = compact(1), compact(2)
    for tensor in blend(first, second, 0).state.values():
        tensor.zero_()
    assert stored.digest(first.state) == first.sha256


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_beyond_the_ends_is_refused(alpha: float) -> None:
    with pytest.raises(ModelError, match="from 0 to 1"):
        blend(compact(1), compact(2), alpha)


def test_differences_are_named() -> None:
    first = compact(1)
    name = "body.0.bias"
    others = {
        "SRVGGNetCompact and RRDBNet": replace(first, origin=Origin("RRDBNet", OPTIONS, 2)),
        r"body\.0\.bias is float32 \(8,\) in one, float32 \(7,\) in the other": kept({**first.state, name: torch.zeros(7)}),
        "is float32 .* float16": kept({**first.state, name: first.state[name].half()}),
        r"only the first has body\.0\.bias": kept({key: value for key, value in first.state.items() if key != name}),
        r"only the second has body\.x": kept({**first.state, "body.x": torch.zeros(1)}),
        "activation is unset in one, relu in the other": replace(
            first, origin=replace(first.origin, options={**OPTIONS, "activation": "relu"})
        ),
    }
    for reason, other in others.items():
        with pytest.raises(ModelError, match=reason):
            blend(first, other, 0.5)


def test_parents_are_kept_and_tell_families_from_strangers(tmp_path: Path) -> None:
    base, other = compact(1), compact(2)
    tuned = replace(compact(3), origin=Origin("SRVGGNetCompact", OPTIONS, 2, parents=(base.sha256,)))
    sibling = replace(compact(4), origin=Origin("SRVGGNetCompact", OPTIONS, 2, parents=(base.sha256, "of", "more")))
    stranger = replace(compact(5), origin=Origin("SRVGGNetCompact", OPTIONS, 2, parents=("another",)))
    assert stranger_warning(base, tuned) is stranger_warning(tuned, base) is stranger_warning(tuned, sibling) is None
    assert stranger_warning(base, base) is None
    assert "unknown" in str(stranger_warning(base, other))
    assert "not trained from one another" in str(stranger_warning(tuned, stranger))
    mixed = blend(base, tuned, 0.5)
    assert stranger_warning(mixed, base) is None
    read = (
        stored.read(tmp_path / "x.safetensors") if stored.write(tmp_path / "x.safetensors", mixed.state, mixed.origin) else None
    )
    assert read is not None
    assert read.origin.parents == (base.sha256, tuned.sha256)


def test_a_blend_of_blends_is_of_the_family() -> None:
    base, tuned = compact(1), replace(compact(2), origin=Origin("SRVGGNetCompact", OPTIONS, 2, parents=(compact(1).sha256,)))
    half = blend(base, tuned, 0.5)
    itself = blend(half, half, 0.5)  # the same weights, which must not become their own only parent
    nearer = blend(itself, tuned, 0.5)
    assert itself.sha256 == half.sha256
    for descendant in (half, itself, nearer):
        assert stranger_warning(descendant, base) is stranger_warning(descendant, tuned) is None


def test_a_file_from_before_there_were_parents(tmp_path: Path) -> None:
    first = compact(1)
    stored.write(tmp_path / "x.safetensors", first.state, first.origin)
    read = stored.read(tmp_path / "x.safetensors")
    assert read is not None
    assert read.origin.parents == ()


def test_the_zoos_twins_are_a_family() -> None:
    def converted(name: str) -> Stored:
        source = zoo.entry(name).sha256
        return replace(compact(len(name)), origin=Origin("SRResNet", {}, 4, source_sha256=source))

    assert stranger_warning(converted("srgan"), converted("srresnet")) is None
    assert stranger_warning(converted("srresnet"), converted("srgan")) is None
    assert stranger_warning(converted("srgan"), converted("esrgan"))


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Stored, Stored]:
    return zoo_pair(tmp_path, monkeypatch)


def zoo_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Stored, Stored]:
    """Two names in the zoo, "soft" and its GAN "sharp", with small weights in files."""
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))  # not where the user's own weights are
    entries = dict(zoo.ZOO)
    made = []
    for seed, name in enumerate(("soft", "sharp")):
        net = compact(seed)
        path = tmp_path / f"{name}.safetensors"
        stored.write(path, net.state, net.origin)
        source = FileWeights(str(path), hashlib.sha256(path.read_bytes()).hexdigest())
        spec = replace(SRVGGNetCompact(1, num_feat=8, upscale=2).spec, name=name)
        entry = replace(zoo.entry("animevideo"), name=name, networks=(Network(spec, OPTIONS, source),))
        entries[name] = replace(entry, psnr_twin="soft") if name == "sharp" else entry
        made.append(net)
    monkeypatch.setattr(zoo, "ZOO", entries)
    return made[0], made[1]


def test_a_name_between_its_twin_and_itself(pair: tuple[Stored, Stored]) -> None:
    soft, sharp = pair
    assert weights.load("sharp", 2, 1).spec.weights_sha256 == weights.load("sharp", 2).spec.weights_sha256 == sharp.sha256
    assert weights.load("sharp", 2, 0).spec.weights_sha256 == soft.sha256
    half = weights.load("sharp", 2, 0.5)
    assert half.spec.weights_sha256 == blend(soft, sharp, 0.5).sha256
    assert half.spec.name == "sharp"


def test_a_name_without_a_twin_says_what_to_do(pair: tuple[Stored, Stored], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model soft: no PSNR-oriented weights .*sharp.*vsr models blend A B"):
        weights.load("soft", 2, 0.5)
    with pytest.raises(ModelError, match=r"not for files; .*vsr models blend"):
        weights.load(str(tmp_path / "soft.safetensors"), 2, 0.5)


def test_names_and_files_are_blended(pair: tuple[Stored, Stored], tmp_path: Path) -> None:
    soft, sharp = pair
    mixed = checkpoints.blended("soft", str(tmp_path / "sharp.safetensors"), 0.25, 2)
    assert mixed.weights.sha256 == blend(soft, sharp, 0.25).sha256
    checkpoints.write(tmp_path / "out.safetensors", mixed)
    assert weights.load(str(tmp_path / "out.safetensors"), 2).spec.weights_sha256 == mixed.weights.sha256


def test_a_foreign_layout_blends_with_ours(tmp_path: Path) -> None:
    """Options that one side leaves to their defaults and the other spells out are the same options."""
    first, second = compact(1), compact(2)
    stored.write(tmp_path / "a.safetensors", first.state, first.origin)
    torch.save({"params": second.state}, tmp_path / "b.pth")
    mixed = checkpoints.blended(str(tmp_path / "a.safetensors"), str(tmp_path / "b.pth"), 1, 2)
    assert mixed.weights.sha256 == second.sha256
    assert any("unknown" in text for text in mixed.warnings)


def test_half_the_bytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = RRDBNet(1, num_feat=8, num_grow=4, scale=2)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    whole = checkpoints.read(str(tmp_path / "net.pth"), 4)
    half = checkpoints.halved(whole)
    checkpoints.write(tmp_path / "half.safetensors", half)
    network = weights.load(str(tmp_path / "half.safetensors"), 4)
    assert isinstance(network, RRDBNet)
    loaded = network.state_dict()
    for name, tensor in net.state_dict().items():
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], tensor, rtol=2**-10, atol=1e-7)
    assert half.weights.origin.parents == (whole.weights.sha256,)
    next(iter(net.parameters())).data[0] = 1e6
    torch.save(net.state_dict(), tmp_path / "large.pth")
    with pytest.raises(WeightsError, match="half precision cannot; leave --half out"):
        checkpoints.halved(checkpoints.read(str(tmp_path / "large.pth"), 4))


def test_convert_keeps_what_loading_gives(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = RRDBNet(1, num_feat=8, num_grow=4, scale=2)
    torch.save({"params_ema": net.state_dict()}, tmp_path / "net.pth")
    checkpoint = checkpoints.read(str(tmp_path / "net.pth"), 4)
    assert checkpoint.ours
    checkpoints.write(tmp_path / "net.safetensors", checkpoint)
    read = stored.read(tmp_path / "net.safetensors")
    assert read is not None
    assert (read.origin.architecture, read.origin.scale, read.origin.options["num_block"]) == ("RRDBNet", 2, 1)
    loaded = weights.load(str(tmp_path / "net.safetensors"), 4).spec
    assert loaded.weights_sha256 == weights.load(str(tmp_path / "net.pth"), 4).spec.weights_sha256
    assert loaded.scale == 2


def test_anothers_network_becomes_plain_safetensors(tmp_path: Path) -> None:
    omni = pytest.importorskip("spandrel.architectures.RCAN").RCAN
    torch.manual_seed(0)
    state = omni(n_resgroups=1, n_resblocks=1, n_feats=16, reduction=4, scale=2).state_dict()
    state["tied"] = state["head.0.weight"].view(-1)  # not the network's own; shares memory, which the format refuses
    torch.save({"state_dict": {name: value for name, value in state.items() if name != "tied"}}, tmp_path / "rcan.pth")
    checkpoint = checkpoints.read(str(tmp_path / "rcan.pth"), 4)
    assert not checkpoint.ours
    checkpoints.write(tmp_path / "rcan.safetensors", checkpoint)
    assert stored.read(tmp_path / "rcan.safetensors") is None
    loaded = weights.load(str(tmp_path / "rcan.safetensors"), 4).spec
    assert loaded.weights_sha256 == checkpoint.weights.sha256 == weights.load(str(tmp_path / "rcan.pth"), 4).spec.weights_sha256


def test_tied_weights_can_be_written(tmp_path: Path) -> None:
    whole = torch.arange(8.0)
    stored.write_plain(tmp_path / "x.safetensors", {"a": whole, "b": whole[2:4]})
    assert stored.read(tmp_path / "x.safetensors") is None
    assert [p.name for p in tmp_path.glob("*saf*")] == ["x.safetensors"]


def test_outputs_are_never_overwritten_unasked(tmp_path: Path) -> None:
    checkpoint = checkpoints.Checkpoint(compact(1), True)
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"precious")
    for path, reason in (
        (target, "add --overwrite"),
        (tmp_path / "out.pth", r"must end in \.safetensors"),
        (tmp_path / "no" / "out.safetensors", "no folder"),
    ):
        with pytest.raises(ConfigError, match=reason):
            checkpoints.write(path, checkpoint)
    assert target.read_bytes() == b"precious"
    checkpoints.write(target, checkpoint, overwrite=True)
    assert stored.read(target) is not None


def test_what_is_no_network_has_no_weights() -> None:
    with pytest.raises(ModelError, match="bicubic: has no weights"):
        checkpoints.read("bicubic", 4)
