"""The critics: sizes and names of the published ones, inputs that they refuse, and that they learn."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from vsr.errors import ModelError
from vsr.models.discriminators import SRGANDiscriminator, UNetDiscriminatorSN, VGGStyleDiscriminator


def build(kind: str) -> tuple[nn.Module, int, tuple[int, ...]]:
    """A narrow critic, the side of its input, and the shape of its answer to two pictures."""
    torch.manual_seed(0)
    if kind == "srgan":
        return SRGANDiscriminator(32, num_feat=4), 32, (2, 1)
    if kind == "esrgan":
        return VGGStyleDiscriminator(num_feat=4), 128, (2, 1)
    return UNetDiscriminatorSN(num_feat=4), 16, (2, 1, 16, 16)


KINDS = ["srgan", "esrgan", "realesrgan"]


def test_srgans_has_the_numbers_of_the_published_keras_file() -> None:
    with torch.device("meta"):
        net = SRGANDiscriminator()
    kept = {name: tensor.numel() for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert sum(kept.values()) == 23_569_217  # Keras counts the running means and variances, too
    convs = [m for m in net.features if isinstance(m, nn.Conv2d)]
    assert [(c.out_channels, c.stride[0], c.kernel_size) for c in convs] == [
        (width, stride, (3, 3)) for width in (64, 128, 256, 512) for stride in (1, 2)
    ]
    assert [type(m).__name__ for m in net.features][:5] == ["Conv2d", "LeakyReLU", "Conv2d", "BatchNorm2d", "LeakyReLU"]


@pytest.mark.parametrize(("size", "parameters"), [(128, 14_499_401), (256, 21_055_049)])
def test_esrgans_has_basicsrs_names_and_numbers(size: int, parameters: int) -> None:
    with torch.device("meta"):
        net = VGGStyleDiscriminator(input_size=size)
    layers = {name.rpartition(".")[0] for name in net.state_dict()}
    levels = range(5 if size == 128 else 6)
    expected = {f"{kind}{level}_{half}" for kind in ("conv", "bn") for level in levels for half in (0, 1)} - {"bn0_0"}
    assert layers == expected | {"linear1", "linear2"}
    assert {name for name in net.state_dict() if name.endswith("bias") and name.startswith("conv")} == {"conv0_0.bias"}
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_realesrgans_has_basicsrs_names_and_numbers() -> None:
    net = UNetDiscriminatorSN()
    normed = {f"conv{i}.{kind}" for i in range(1, 9) for kind in ("weight_orig", "weight_u", "weight_v")}
    assert net.state_dict().keys() == normed | {f"conv{i}.{kind}" for i in (0, 9) for kind in ("weight", "bias")}
    assert sum(p.numel() for p in net.parameters()) == 4_376_897


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_gradients(kind: str) -> None:
    net, side, shape = build(kind)
    image = torch.rand(2, 3, side, side, requires_grad=True)
    logits = net(image)
    assert logits.shape == shape
    assert logits.min() < 0.5  # logits, not probabilities: nothing squashes them
    logits.square().mean().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    idle = re.compile(r"features\.\d+\.bias")  # before a batch normalisation, which takes every constant away
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0 or idle.fullmatch(name), name


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_to_tell_two_kinds_of_pictures(kind: str) -> None:
    net, side, _ = build(kind)
    real, fake = (
        torch.rand(4, 3, side, side),
        torch.rand(4, 3, side, side).mean(dim=(2, 3), keepdim=True).expand(4, 3, side, side),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    losses = []
    for _ in range(20):
        loss = nn.functional.softplus(-net(real)).mean() + nn.functional.softplus(net(fake)).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_probability_is_the_sigmoid_of_the_logit() -> None:
    net = SRGANDiscriminator(16, num_feat=4).eval()
    image = torch.rand(2, 3, 16, 16)
    probability = net.probability(image)
    assert ((probability > 0) & (probability < 1)).all()
    torch.testing.assert_close(probability, torch.sigmoid(net(image)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", ["gray", "wide", "odd", "flat"])
def test_wrong_inputs_are_refused(kind: str, bad: str) -> None:
    net, side, _ = build(kind)
    shape = {"gray": (1, 1, side, side), "wide": (1, 3, side, side + 4), "odd": (1, 3, side + 1, side), "flat": (3, side, side)}[
        bad
    ]
    with pytest.raises(ModelError, match=re.escape(str(shape))):
        net(torch.rand(shape))


def test_the_unet_takes_any_multiple_of_8() -> None:
    assert UNetDiscriminatorSN(num_feat=4)(torch.rand(1, 3, 24, 40)).shape == (1, 1, 24, 40)
    plain = UNetDiscriminatorSN(num_feat=4, skip_connection=False)
    assert plain(torch.rand(1, 3, 8, 8)).shape == (1, 1, 8, 8)


def test_spectral_normalisation_bounds_the_weights() -> None:
    net = UNetDiscriminatorSN(num_feat=4).train()
    for _ in range(30):  # the power iteration makes a step at each training run
        net(torch.rand(1, 3, 8, 8))
    for name in ("conv1", "conv4", "conv8"):
        largest = torch.linalg.matrix_norm(getattr(net, name).weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("size", [0, 8, 90])
def test_sizes_that_do_not_exist(size: int) -> None:
    with pytest.raises(ModelError, match=f"{size}x{size}"):
        SRGANDiscriminator(size)
    with pytest.raises(ModelError, match=f"{size}x{size}"):
        VGGStyleDiscriminator(input_size=size)
