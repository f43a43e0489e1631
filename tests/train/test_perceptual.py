"""VGG19 against torchvision's and against its normalised twin written out by hand; the loss on top; where weights come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from vsr.cli.model_commands import run_models_pull
from vsr.errors import ConfigError, WeightsError
from vsr.train import vgg
from vsr.train.losses import l1, mse
from vsr.train.perceptual import PerceptualLoss, perceptual_loss
from vsr.train.vgg import BLOCKS, NORMALISED_SCALE, Vgg19, VggWeights, build_vgg19, load_vgg19, read_weights

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    """torchvision's names; numbers of the size that keeps features away from 0 and infinity."""
    generator = torch.Generator().manual_seed(3)
    shapes = {name: tensor.shape for name, tensor in make_layers(cfgs["E"]).state_dict().items()}
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {n: t * (2 / t[0].numel()) ** 0.5 if t.ndim == 4 else t * 0.1 for n, t in drawn.items()}


@pytest.fixture(scope="module")
def weights(state: State) -> VggWeights:
    return VggWeights(state, {})


def pictures(count: int = 1, side: int = 33) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(4))


def test_names_and_features_are_torchvisions(state: State, weights: VggWeights) -> None:
    theirs = make_layers(cfgs["E"])  # what torchvision.models.vgg19 builds
    theirs.load_state_dict(state)
    ours = build_vgg19(["conv1_2", "relu2_2", "conv3_4", "conv5_4", "relu5_4"], weights)
    assert list(ours.features.state_dict()) == list(theirs.state_dict())
    images = pictures(2)
    seen = ours(images)
    x = (images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    places = {"conv1_2": 2, "relu2_2": 8, "conv3_4": 16, "conv5_4": 34, "relu5_4": 35}
    with torch.no_grad():
        for name, place in places.items():
            assert torch.equal(seen[name], theirs[: place + 1](x.clone())), name
    assert seen["conv5_4"].min() < 0  # nothing overwrote it on the way
    assert torch.equal(seen["conv5_4"].relu(), seen["relu5_4"])
    assert (seen["conv5_4"].shape, seen["relu2_2"].shape) == ((2, 512, 2, 2), (2, 128, 16, 16))


def test_it_is_no_deeper_than_asked_for() -> None:
    assert len(Vgg19(["relu2_2"]).features) == 9
    assert Vgg19(["vgg22", "vgg54"]).taps == ("relu2_2", "relu5_4")


def normalised_file(path: Path, state: State) -> State:
    """Random weights under the names of vgg_normalized.pth, whose padding layers count, too."""
    numbers = [2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51]
    convolutions = sorted({int(name.partition(".")[0]) for name in state})
    renamed = {
        f"{number}.{kind}": state[f"{place}.{kind}"]
        for number, place in zip(numbers, convolutions, strict=True)
        for kind in ("weight", "bias")
    }
    entry = {"0.weight": torch.eye(3).flip(0).reshape(3, 3, 1, 1) * 2, "0.bias": torch.tensor([-1.0, -0.9, -0.8])}
    content = {**entry, **renamed}
    torch.save(content, path)
    return content


def test_the_normalised_twin(tmp_path: Path, state: State) -> None:
    """Reflected borders, pooling that rounds up, a 1x1 convolution in front, and features that are scaled to torchvision's."""
    path = tmp_path / "vgg_normalized.pth"
    content = normalised_file(path, state)
    images = pictures()
    x = F.conv2d(images, content.pop("0.weight"), content.pop("0.bias"))
    parameters = iter(content.values())
    expected = {}
    for block, (_, convolutions) in enumerate(BLOCKS, 1):
        for number in range(1, convolutions + 1):
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), next(parameters), next(parameters))
            expected[f"conv{block}_{number}"] = x
            expected[f"relu{block}_{number}"] = x = x.relu()
        x = F.max_pool2d(x, 2, 2, ceil_mode=True)
    read = read_weights(path)
    assert read.normalised
    seen = build_vgg19(NORMALISED_SCALE, read)(images)
    assert seen["conv5_4"].shape[-1] == 3  # 33 -> 17 -> 9 -> 5 -> 3
    for name, factor in NORMALISED_SCALE.items():
        torch.testing.assert_close(seen[name], expected[name] * factor)
    with pytest.raises(ConfigError, match="no known scale at conv3_3"):
        build_vgg19(["conv3_3"], read)


def test_the_loss_is_the_weighted_sum_over_layers(weights: VggWeights) -> None:
    loss = PerceptualLoss({"conv5_4": 1.0, "vgg22": 0.25}, mse, build_vgg19(["conv5_4", "vgg22"], weights))
    made, truth = pictures(4).chunk(2)
    a, b = loss.network(made), loss.network(truth)
    expected = (a["conv5_4"] - b["conv5_4"]).square().mean() + 0.25 * (a["relu2_2"] - b["relu2_2"]).square().mean()
    assert loss(made, truth).item() == pytest.approx(expected.item(), rel=1e-6)
    assert loss(truth, truth).item() == 0
    one = PerceptualLoss({"conv5_4": 1.0}, l1, loss.network)
    assert one(made, truth).item() == pytest.approx((a["conv5_4"] - b["conv5_4"]).abs().mean().item(), rel=1e-6)


def test_it_trains_the_picture_and_nothing_else(weights: VggWeights) -> None:
    loss = PerceptualLoss({"conv2_2": 1.0}, l1, build_vgg19(["conv2_2"], weights))
    made, truth = (picture.clone().requires_grad_() for picture in pictures(2).chunk(2))
    loss(made, truth).backward()  # type: ignore[no-untyped-call]
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    assert truth.grad is None
    assert all(p.grad is None and not p.requires_grad for p in loss.network.parameters())
    assert not loss.network.train().training

    class Holder(nn.Module):
        """What somebody may put it into."""

        def __init__(self) -> None:
            super().__init__()
            self.loss = loss

    assert not Holder().state_dict()
    assert not list(Holder().parameters())


def test_half_the_bits_inside_autocast_and_nearly_the_same_loss(weights: VggWeights) -> None:
    loss = PerceptualLoss({"conv2_2": 1.0}, l1, build_vgg19(["conv2_2"], weights))
    made, truth = pictures(2).chunk(2)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(made, truth)
        halves = loss(made.bfloat16(), truth)
    assert inside.dtype == halves.dtype == torch.float32
    whole = loss(made, truth)
    assert not torch.equal(inside, whole)
    assert inside.item() == pytest.approx(whole.item(), rel=0.02)
    assert halves.item() == pytest.approx(whole.item(), rel=0.02)


def test_sides_that_are_too_small(weights: VggWeights) -> None:
    net = build_vgg19(["conv5_4"], weights)
    assert net(pictures(1, 17))["conv5_4"].shape[-2:] == (1, 1)
    with pytest.raises(ConfigError, match="needs 17 pixels a side, not 16"):
        net(pictures(1, 16))


@pytest.mark.parametrize("name", ["conv5_5", "pool1", "features.34", ""])
def test_layers_that_do_not_exist(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no layer '{name}'"):
        Vgg19([name])


@pytest.mark.parametrize("form", ["whole.pth", "features.pth", "features.safetensors"])
def test_torchvisions_weights_in_each_form(tmp_path: Path, state: State, form: str) -> None:
    path = tmp_path / form
    whole = {**{f"features.{name}": tensor for name, tensor in state.items()}, "classifier.0.weight": torch.zeros(8, 8)}
    if form.endswith("pth"):
        torch.save(whole if form == "whole.pth" else state, path)
    else:
        save_file(state, path)
    read = read_weights(path)
    assert not read.normalised
    assert read.state.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in read.state.items())


def test_other_networks_and_damage(tmp_path: Path, state: State) -> None:
    path = tmp_path / "w.pth"
    fewer = {name: tensor for name, tensor in state.items() if not name.startswith("34.")}
    wider = {**state, "0.weight": torch.zeros(64, 1, 3, 3)}
    for other in (fewer, wider, {**state, "37.weight": torch.zeros(512, 512, 3, 3), "37.bias": torch.zeros(512)}, {}):
        torch.save(other, path)
        with pytest.raises(WeightsError, match=r"w\.pth: holds no VGG19"):
            read_weights(path)
    torch.save({**state, "0.bias": torch.full((64,), torch.nan)}, path)
    with pytest.raises(WeightsError, match="NaN"):
        read_weights(path)


def test_where_weights_are_looked_for(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("VSR_VGG19", raising=False)
    with pytest.raises(WeightsError, match=r"vsr models pull vgg19 .*VSR_VGG19.*vgg_normalized\.pth"):
        perceptual_loss({"conv5_4": 1.0})
    assert not (tmp_path / "cache").exists()  # looking fetches nothing
    hub = tmp_path / "torch/hub/checkpoints/vgg19-dcbb9e9d.pth"
    hub.parent.mkdir(parents=True)
    torch.save(state, hub)
    assert vgg.find_weights() == hub
    kept = tmp_path / "cache/weights/vgg19-dcbb9e9d.safetensors"
    kept.parent.mkdir(parents=True)
    save_file(state, kept)
    assert vgg.find_weights() == kept == vgg.fetch_weights()
    run_models_pull("vgg19", None)
    assert capsys.readouterr().out == f"vgg19: 80.1 MB in {kept}\n"
    monkeypatch.setenv("VSR_VGG19", str(tmp_path / "none.pth"))
    with pytest.raises(WeightsError, match=r"none\.pth: no such checkpoint"):
        load_vgg19(["conv1_2"])
    assert torch.equal(load_vgg19(["conv1_2"], str(kept)).features.state_dict()["0.weight"], state["0.weight"])


def test_recipes_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"criterion.*'l2'"):
        perceptual_loss({"conv5_4": 1.0}, "l2")
    with pytest.raises(ConfigError, match="without layers"):
        perceptual_loss({})
