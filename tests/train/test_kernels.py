"""Blur kernels against their formulas, and filtering against a loop."""

from __future__ import annotations

from math import exp, pi

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.train.kernels import SIZES, drawn_kernel, drawn_sinc, filtered, gaussian, generalised, plateau, sinc


def test_a_gaussian_at_hand() -> None:
    kernel = gaussian(7, 1.5, 0.5, 0.0)
    for dx, dy in ((1, 0), (0, 1), (2, 1), (-3, 2)):
        expected = exp(-0.5 * ((dx / 1.5) ** 2 + (dy / 0.5) ** 2))
        assert kernel[3 + dy, 3 + dx] / kernel[3, 3] == pytest.approx(expected, rel=1e-5)


def test_turned_by_a_quarter_the_axes_change_places() -> None:
    assert torch.allclose(gaussian(9, 2.0, 0.7, pi / 2), gaussian(9, 0.7, 2.0, 0.0), atol=1e-7)


def test_the_generalised_and_the_plateau_at_hand() -> None:
    q = (2 / 1.5) ** 2
    made = generalised(9, 1.5, 1.5, 0.0, 3.0)
    assert made[4, 6] / made[4, 4] == pytest.approx(exp(-0.5 * q**3), rel=1e-5)
    made = plateau(9, 1.5, 1.5, 0.0, 1.4)
    assert made[4, 6] / made[4, 4] == pytest.approx(1 / (1 + q**1.4), rel=1e-5)
    assert torch.allclose(generalised(9, 1.5, 0.9, 0.3, 1.0), gaussian(9, 1.5, 0.9, 0.3))


def test_a_sinc_passes_what_is_slow_and_stops_what_is_fast() -> None:
    kernel = sinc(21, pi / 3)
    assert kernel.min() < 0, "it rings"
    x = torch.arange(128).float()
    for frequency, least, most in ((pi / 8, 0.9, 1.1), (pi / 3, 0.3, 0.7), (pi * 0.7, 0.0, 0.08)):
        wave = torch.cos(frequency * x).expand(1, 1, 128, 128)
        gain = filtered(wave, kernel)[..., 32:-32, 32:-32].abs().max()
        assert least <= gain <= most


@pytest.mark.parametrize("seed", range(40))
def test_drawn_kernels_keep_brightness(seed: int) -> None:
    for kernel in (drawn_kernel(np.random.default_rng(seed), (0.2, 3.0)), drawn_sinc(np.random.default_rng(seed))):
        assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] in SIZES
        assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
        assert torch.allclose(kernel, kernel.flip(0, 1), atol=1e-7), "the same both ways from the middle"


@pytest.mark.parametrize("size", [7, 13, 21])
@pytest.mark.parametrize("shape", [(2, 3, 40, 33), (1, 3, 8, 5)])
def test_filtering_is_a_correlation(size: int, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    kernel = torch.rand(size, size, generator=torch.Generator().manual_seed(2)) / size**2

    def slow(x: Tensor) -> Tensor:
        mode = "reflect" if size // 2 < min(shape[-2:]) else "replicate"
        return F.conv2d(F.pad(x, (size // 2,) * 4, mode=mode), kernel.expand(3, 1, size, size), groups=3)

    assert torch.allclose(filtered(x, kernel), slow(x), atol=1e-5)
