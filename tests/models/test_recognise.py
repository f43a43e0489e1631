"""Checkpoints of our own networks, under every layout of the field: known by their tensors, and never mistaken."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vsr.models import stored, weights
from vsr.models.community import CommunityNetwork
from vsr.models.compact import SRVGGNetCompact
from vsr.models.edsr import EDSR
from vsr.models.mdsr import MDSR
from vsr.models.recognise import RULES, recognise, unwrap
from vsr.models.rrdb import RRDBNet
from vsr.models.single import SingleFrame
from vsr.models.span import SPAN
from vsr.models.srresnet import SRResNet
from vsr.models.zoo import ARCHITECTURES

spandrel = pytest.importorskip("spandrel")
State = dict[str, Tensor]


def rrdb(scale: int = 4, blocks: int = 2) -> RRDBNet:
    torch.manual_seed(scale)
    net = RRDBNet(blocks, num_feat=16, num_grow=32, scale=scale).eval()
    net.load_state_dict({**net.state_dict(), "conv_last.bias": torch.full((3,), 0.5)})  # away from 0, where spandrel clips
    return net


def compact(scale: int = 2) -> SRVGGNetCompact:
    torch.manual_seed(scale)
    return SRVGGNetCompact(3, num_feat=16, upscale=scale).eval()


def of_2018(state: State, blocks: int = 2) -> State:
    """ESRGAN's first release."""
    names = {"conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}", "conv_up1": "model.3", "conv_up2": "model.6"}
    names |= {"conv_hr": "model.8", "conv_last": "model.10"}
    inner = {re.sub(r"body\.(\d)\.rdb(\d)\.conv(\d)", r"model.1.sub.\1.RDB\2.conv\3.0", name): t for name, t in state.items()}
    return {re.sub(r"^(conv_\w+)", lambda m: names[m[1]], name): tensor for name, tensor in inner.items()}


def of_bsrgan(state: State) -> State:
    names = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    inner = {re.sub(r"body\.(\d)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2", name): tensor for name, tensor in state.items()}
    return {re.sub(r"^(conv_\w+)", lambda m: names.get(m[1], m[1]), name): tensor for name, tensor in inner.items()}


LAYOUTS: dict[str, Callable[[State], State]] = {"new": dict, "2018": of_2018, "bsrgan": of_bsrgan}


@pytest.mark.parametrize("attribute", ["model", "net"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_lightning_puts_an_attribute_before_the_names(attribute: str, layout: str) -> None:
    state = LAYOUTS[layout](rrdb().state_dict())
    beside = {"loss.vgg.0.weight": torch.zeros(3)}
    wrapped = {"state_dict": {**{f"{attribute}.{name}": tensor for name, tensor in state.items()}, **beside}}
    found = recognise(wrapped, 4)
    assert found is not None
    assert found.state.keys() == rrdb().state_dict().keys()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_rrdb_in_every_layout_gives_spandrels_picture(layout: str, scale: int, tmp_path: Path) -> None:
    net, path = rrdb(scale), tmp_path / "4x-photo.pth"
    state = LAYOUTS[layout](net.state_dict())
    torch.save(state, path)
    loaded, other = weights.load(str(path), 4), spandrel.ModelLoader("cpu").load_from_state_dict(state)
    image = torch.rand(1, 3, 24, 20)
    assert type(loaded) is RRDBNet  # what the fast engines look for
    assert loaded.spec.warnings == ()
    assert (loaded.spec.name, loaded.spec.scale, loaded.spec.radius_px) == ("4x-photo", scale, net.spec.radius_px)
    with torch.inference_mode():
        assert torch.equal(loaded(image), net(image))
        torch.testing.assert_close(loaded(image).clamp(0, 1), other(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_compact_gives_spandrels_picture(scale: int, tmp_path: Path) -> None:
    net, path = compact(scale), tmp_path / "small.safetensors"
    save_file(net.state_dict(), path)
    loaded, other = weights.load(str(path), 4), spandrel.ModelLoader("cpu").load_from_state_dict(net.state_dict())
    image = torch.rand(1, 3, 21, 17)
    assert type(loaded) is SRVGGNetCompact
    assert (loaded.spec.halo_px, loaded.spec.warnings) == (5, ())
    with torch.inference_mode():
        torch.testing.assert_close(loaded(image).clamp(0, 1), other(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 4])
def test_span_is_merged_and_gives_spandrels_picture(scale: int, tmp_path: Path) -> None:
    from spandrel.architectures.SPAN import SPAN as Theirs

    torch.manual_seed(scale)
    net, path = Theirs(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=scale), tmp_path / "span.pth"
    torch.save({"params": net.state_dict()}, path)
    loaded, other = weights.load(str(path), scale), spandrel.ModelLoader("cpu").load_from_state_dict(net.state_dict())
    image = torch.rand(1, 3, 21, 17)
    assert type(loaded) is SPAN
    assert (loaded.spec.scale, loaded.spec.halo_px, loaded.spec.warnings) == (scale, 21, ())
    with torch.inference_mode():
        out = loaded(image).clamp(0, 1)
        assert 0 < out.mean() < 1
        torch.testing.assert_close(out, other(image), rtol=0, atol=1e-5)


def test_span_without_normalisation_is_left_to_spandrel(tmp_path: Path) -> None:
    from spandrel.architectures.SPAN import SPAN as Theirs

    net, path = Theirs(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2, norm=False), tmp_path / "span.pth"
    torch.save(net.state_dict(), path)
    assert isinstance(weights.load(str(path), 2), CommunityNetwork)


def own(kind: str) -> SingleFrame:
    torch.manual_seed(0)
    nets: dict[str, Callable[[], SingleFrame]] = {
        "RRDBNet": rrdb,
        "SRVGGNetCompact": compact,
        "EDSR": lambda: EDSR(2, num_feat=8, scale=3),
        "MDSR": lambda: MDSR(1, num_feat=8, scale=3),
        "SRResNet": lambda: SRResNet(2, num_feat=8, scale=2),
    }
    return nets[kind]().eval()


WRAPPED: dict[str, Callable[[State], dict[str, object]]] = {
    "bare": dict,
    "params": lambda s: {"params": s},
    "average first": lambda s: {"params": {k: torch.zeros_like(v) for k, v in s.items()}, "params_ema": s},
    "state_dict": lambda s: {"epoch": 3, "state_dict": s, "optimizer": {"lr": 1e-4}},
    "model": lambda s: {"model": s},
    "parallel": lambda s: {f"module.{k}": v for k, v in s.items()},
    "GAN": lambda s: {
        "meta": {"iter": 5},
        "state_dict": {f"generator.{k}": v for k, v in s.items()} | {"discriminator.w": torch.ones(2), "step": torch.ones(1)},
    },
    "netG": lambda s: {"params": {f"module.netG.{k}": v for k, v in s.items()}},
    "half": lambda s: {k: v.half() for k, v in s.items()},
}


@pytest.mark.parametrize("kind", ["RRDBNet", "SRVGGNetCompact", "EDSR", "MDSR", "SRResNet"])
@pytest.mark.parametrize("wrapper", WRAPPED)
def test_every_wrapper_comes_off(kind: str, wrapper: str) -> None:
    net = own(kind)
    known = recognise(WRAPPED[wrapper](net.state_dict()), 3)
    assert known is not None
    assert known.architecture == kind == net.spec.architecture
    kept = {k: v.half().float() if wrapper == "half" else v for k, v in net.state_dict().items()}
    assert known.state.keys() == kept.keys()
    assert all(torch.equal(known.state[name], tensor) for name, tensor in kept.items())
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in known.state.values())


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("options", [{}, {"conv_bias": True, "channel_slopes": True}])
def test_srresnet_is_built_as_its_file_was(scale: int, options: dict[str, bool], tmp_path: Path) -> None:
    net = SRResNet(3, num_feat=8, scale=scale, **options).eval()
    path = tmp_path / "net.pth"
    torch.save({"state_dict": net.state_dict(), "epoch": 7}, path)
    loaded = weights.load(str(path), scale)
    picture = torch.rand(1, 3, 9, 12)
    with torch.no_grad():
        assert torch.equal(loaded.reconstruct(loaded.features(picture)[:, None]), net(picture))
    assert loaded.spec.scale == scale and not loaded.spec.warnings


@pytest.mark.parametrize("kind", ["EDSR", "MDSR"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_spandrel_does_not_know_loads_too(kind: str, suffix: str, tmp_path: Path) -> None:
    net, path = own(kind), tmp_path / f"net{suffix}"
    save_file(net.state_dict(), path) if suffix == ".safetensors" else torch.save(net.state_dict(), path)
    loaded, image = weights.load(str(path), 3), torch.rand(1, 1, 3, 8, 8)
    with torch.inference_mode():
        assert torch.equal(loaded.reconstruct(image), net.reconstruct(image))
    assert loaded.spec.parameters == net.spec.parameters
    assert len(loaded.spec.weights_sha256) == 64


@pytest.mark.parametrize(("wish", "scale"), [(1.0, 2), (2.0, 2), (2.25, 3), (4.0, 4), (6.0, 4)])
@pytest.mark.parametrize("form", ["official", "own"])
def test_one_mdsr_file_serves_every_scale(wish: float, scale: int, form: str, tmp_path: Path) -> None:
    net, path = own("MDSR"), tmp_path / "mdsr.safetensors"
    if form == "own":
        stored.write(path, net.state_dict(), stored.Origin("MDSR", {"num_block": 1, "num_feat": 8, "scale": 3}, 3))
    else:
        save_file(net.state_dict(), path)
    loaded, image = weights.load(str(path), wish), torch.rand(1, 3, 8, 8)
    assert isinstance(loaded, MDSR)
    assert loaded.spec.scale == scale
    with torch.inference_mode():
        assert torch.equal(loaded(image), net(image, scale))


def test_the_same_weights_have_the_same_checksum_in_any_file(tmp_path: Path) -> None:
    net, sums = rrdb(), set()
    for layout, change in LAYOUTS.items():
        torch.save({"params": change(net.state_dict())}, tmp_path / f"{layout}.pth")
        sums.add(weights.load(str(tmp_path / f"{layout}.pth"), 4).spec.weights_sha256)
    stored.write(
        tmp_path / "own.safetensors", net.state_dict(), stored.Origin("RRDBNet", {"num_block": 2, "num_feat": 16, "num_grow": 32})
    )
    sums.add(weights.load(str(tmp_path / "own.safetensors"), 4).spec.weights_sha256)
    assert sums == {stored.digest(net.state_dict())}


@pytest.mark.parametrize(("scale", "plus"), [(2, False), (8, False), (4, True)])
def test_other_kinds_of_esrgan_are_left_to_spandrel(scale: int, plus: bool, tmp_path: Path) -> None:
    """x2 and x8 without pixel-unshuffle, and ESRGAN+: other graphs under the names of 2018."""
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(0)
    path = tmp_path / "other.pth"
    torch.save(ESRGAN(num_filters=32, num_blocks=1, scale=scale, plus=plus).state_dict(), path)
    loaded = weights.load(str(path), scale)
    assert isinstance(loaded, CommunityNetwork)
    assert (loaded.spec.architecture, loaded.spec.scale) == ("ESRGAN", scale)
    assert "receptive field unknown" in loaded.spec.warnings[0]


def damaged(change: Callable[[State], object], net: SingleFrame) -> State:
    state = dict(net.state_dict())
    change(state)
    return state


NOT_OURS: dict[str, State] = {
    "empty": {},
    "a tensor more": damaged(lambda s: s.update({"conv_extra.weight": torch.ones(1)}), rrdb()),
    "a tensor less": damaged(lambda s: s.pop("body.1.rdb2.conv3.bias"), rrdb()),
    "another shape": damaged(lambda s: s.update({"conv_hr.weight": torch.ones(16, 16, 1, 1)}), rrdb()),
    "gray": damaged(lambda s: s.update({"conv_first.weight": torch.ones(16, 1, 3, 3)}), rrdb()),
    "without activations' tensors": SRVGGNetCompact(3, num_feat=8, activation="relu").state_dict(),
    "a mean with a deviation": damaged(lambda s: s.update({"sub_mean.weight": torch.ones(3, 3, 1, 1)}), EDSR(1, num_feat=8)),
    "x8": damaged(lambda s: s.update({"tail.0.0.weight": torch.ones(8, 8, 3, 3)}), EDSR(1, num_feat=8, scale=2)),
    "two scales of three": damaged(lambda s: [s.pop(k) for k in list(s) if ".2." in k], MDSR(1, num_feat=8)),
}


@pytest.mark.parametrize("kind", NOT_OURS)
def test_what_is_almost_ours_is_not_ours(kind: str) -> None:
    assert recognise(NOT_OURS[kind], 4) is None


def test_unwrapping_drops_what_is_no_tensor() -> None:
    assert unwrap({"lr": 0.1, "names": ["a"], "w": torch.ones(1)}).keys() == {"w"}


def test_every_rule_is_for_a_known_architecture() -> None:
    assert {rule.architecture for rule in RULES} <= ARCHITECTURES.keys()
    assert len({rule.architecture for rule in RULES}) == len(RULES)


def test_recognising_does_not_load_a_compiler() -> None:
    """Some operations on the meta device would: some 900 modules, seconds at every start."""
    code = """
import sys, torch
from vsr.models.edsr import EDSR
from vsr.models.mdsr import MDSR
from vsr.models.recognise import recognise
assert all(recognise(net(1, num_feat=8).state_dict(), 2) for net in (EDSR, MDSR))
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
