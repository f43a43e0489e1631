"""Adversarial losses against values computed by hand, and where their gradients go."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from vsr.errors import ConfigError
from vsr.train.adversarial import Adversary, discriminator_loss, generator_loss

REAL, FAKE = (2.0, -0.5, 1.0), (-1.0, 0.25, 3.0)


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_standard_by_hand() -> None:
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    assert generator_loss("standard", fake).item() == pytest.approx(mean([-log_sigmoid(f) for f in FAKE]))
    told = mean([-log_sigmoid(r) for r in REAL]) + mean([-log_sigmoid(-f) for f in FAKE])
    assert discriminator_loss("standard", real, fake).item() == pytest.approx(told)


def test_relativistic_average_by_hand() -> None:
    """Equations 1 and 2 of ESRGAN: D_Ra(a, b) = sigmoid(C(a) - E[C(b)])."""
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    r, f = mean([*REAL]), mean([*FAKE])
    wanted = mean([-math.log(1 - 1 / (1 + math.exp(-(x - f)))) for x in REAL]) + mean([-log_sigmoid(x - r) for x in FAKE])
    assert generator_loss("relativistic", fake, real).item() == pytest.approx(wanted, rel=1e-6)
    told = mean([-log_sigmoid(x - f) for x in REAL]) + mean([-math.log(1 - 1 / (1 + math.exp(-(x - r)))) for x in FAKE])
    assert discriminator_loss("relativistic", real, fake).item() == pytest.approx(told, rel=1e-6)


def test_hinge_by_hand() -> None:
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    assert generator_loss("hinge", fake).item() == pytest.approx(-0.75)
    assert discriminator_loss("hinge", real, fake).item() == pytest.approx((0 + 1.5 + 0) / 3 + (0 + 1.25 + 4) / 3)


def test_the_relativistic_real_term_reaches_the_generator() -> None:
    """Through the mean over its pictures: without it, the gradient would be that of the fake term alone."""
    fake = torch.tensor(FAKE, requires_grad=True)
    real = torch.tensor(REAL, requires_grad=True)
    generator_loss("relativistic", fake, real).backward()  # type: ignore[no-untyped-call]
    r, f = mean([*REAL]), mean([*FAKE])
    from_real = -mean([1 / (1 + math.exp(-(x - f))) for x in REAL]) / 3  # the same for each of the three
    expected = [from_real - (1 - 1 / (1 + math.exp(-(x - r)))) / 3 for x in FAKE]
    assert from_real < -0.1
    assert fake.grad is not None
    assert fake.grad.tolist() == pytest.approx(expected, rel=1e-5)
    assert real.grad is None  # the critic is not what the generator's loss trains


@pytest.mark.parametrize("kind", get_args(Adversary))
def test_each_side_pulls_its_own_way(kind: Adversary) -> None:
    real, fake = torch.tensor(REAL, requires_grad=True), torch.tensor(FAKE, requires_grad=True)
    discriminator_loss(kind, real, fake).backward()  # type: ignore[no-untyped-call]
    assert real.grad is not None
    assert fake.grad is not None
    assert real.grad.sum() < 0 < fake.grad.sum()  # down the gradient: real logits up, fake ones down
    fake.grad = None
    generator_loss(kind, fake, real).backward()  # type: ignore[no-untyped-call]
    grad: torch.Tensor | None = fake.grad
    assert grad is not None
    assert grad.sum() < 0


@pytest.mark.parametrize("kind", get_args(Adversary))
def test_logits_of_any_shape_and_size(kind: Adversary) -> None:
    """A critic that answers for every pixel, and one that is far too sure: no infinity, no NaN, no half precision."""
    real, fake = torch.full((2, 1, 4, 4), 500.0), torch.full((2, 1, 4, 4), -500.0)
    for a, b in ((real, fake), (fake, real), (real.bfloat16(), fake.bfloat16())):
        for loss in (generator_loss(kind, b, a), discriminator_loss(kind, a, b)):
            assert loss.shape == ()
            assert loss.dtype == torch.float32
            assert loss.isfinite()


def test_the_mean_is_taken_over_all() -> None:
    """Whoever gives the mean of more than the own logits, is asked for it."""
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    r, f = mean([*REAL]) + 1, mean([*FAKE]) + 1
    wanted = mean([-log_sigmoid(f - x) for x in REAL]) + mean([-log_sigmoid(x - r) for x in FAKE])
    assert generator_loss("relativistic", fake, real, lambda logits: logits.mean() + 1).item() == pytest.approx(wanted)
    told = mean([-log_sigmoid(x - f) for x in REAL]) + mean([-log_sigmoid(r - x) for x in FAKE])
    assert discriminator_loss("relativistic", real, fake, lambda logits: logits.mean() + 1).item() == pytest.approx(told)


def test_what_cannot_be() -> None:
    logits = torch.tensor(FAKE)
    with pytest.raises(ConfigError, match="photographs"):
        generator_loss("relativistic", logits)
    with pytest.raises(ConfigError, match="'ragan'; there are standard, relativistic, hinge"):
        generator_loss("ragan", logits, logits)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'wgan'"):
        discriminator_loss("wgan", logits, logits)  # type: ignore[arg-type]
