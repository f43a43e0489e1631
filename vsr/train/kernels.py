"""Blur kernels of Real-ESRGAN's degradations, and filtering with them.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", 2021: Gaussians, equal in all
directions or not, their generalised and plateau-shaped kin (Liu et al., "Estimating generalized Gaussian blur kernels for
out-of-focus image deblurring"), and sinc filters, which ring. All are (size, size) float32, size odd, sum 1.
"""

from __future__ import annotations

from math import pi

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIZES = (7, 9, 11, 13, 15, 17, 19, 21)


def gaussian(size: int, sigma_x: float, sigma_y: float, angle: float = 0.0) -> Tensor:
    """exp(-q / 2), q the squared distance in standard deviations; `angle` in radians."""
    return _normalised(torch.exp(-0.5 * _distance(size, sigma_x, sigma_y, angle)))


def generalised(size: int, sigma_x: float, sigma_y: float, angle: float, beta: float) -> Tensor:
    """exp(-q^beta / 2): sharper than a Gaussian below beta = 1, flatter above."""
    return _normalised(torch.exp(-0.5 * _distance(size, sigma_x, sigma_y, angle).pow(beta)))


def plateau(size: int, sigma_x: float, sigma_y: float, angle: float, beta: float) -> Tensor:
    """1 / (1 + q^beta): flat in the middle, with long tails."""
    return _normalised(1 / (1 + _distance(size, sigma_x, sigma_y, angle).pow(beta)))


def sinc(size: int, cutoff: float) -> Tensor:
    """The circular low-pass of `cutoff` radians a pixel (pi = Nyquist), cut off at `size`: edges ring as after sharpening."""
    y, x = _grid(size)
    radius = torch.sqrt(x * x + y * y)
    middle = size // 2
    radius[middle, middle] = 1.0
    kernel = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * pi * radius)
    kernel[middle, middle] = cutoff * cutoff / (4 * pi)
    return _normalised(kernel)


def drawn_kernel(rng: np.random.Generator, sigmas: tuple[float, float]) -> Tensor:
    """A kernel as Real-ESRGAN draws it: size 7 to 21; sinc 0.1; else iso 0.45, aniso 0.25, generalised iso 0.12 and aniso
    0.03, plateau iso 0.12 and aniso 0.03; standard deviations from `sigmas`; beta 0.5..4 generalised, 1..2 plateau, half of
    them <= 1.
    """
    size = int(rng.choice(SIZES))
    if rng.random() < 0.1:
        return sinc(size, float(rng.uniform(pi / 3 if size < 13 else pi / 5, pi)))
    kind = rng.choice(6, p=(0.45, 0.25, 0.12, 0.03, 0.12, 0.03))
    sigma_x = sigma_y = float(rng.uniform(*sigmas))
    angle = 0.0
    if kind % 2:
        sigma_y, angle = float(rng.uniform(*sigmas)), float(rng.uniform(-pi, pi))
    if kind < 2:
        return gaussian(size, sigma_x, sigma_y, angle)
    least, most = (0.5, 4.0) if kind < 4 else (1.0, 2.0)
    beta = float(rng.uniform(least, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, most))
    return (generalised if kind < 4 else plateau)(size, sigma_x, sigma_y, angle, beta)


def drawn_sinc(rng: np.random.Generator) -> Tensor:
    """The last filter: size 7 to 21, cutoff pi/3 to pi."""
    return sinc(int(rng.choice(SIZES)), float(rng.uniform(pi / 3, pi)))


def filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """x (N, C, H, W) float32 correlated with a kernel (size, size), edges mirrored (repeated where a picture is too small).

    By Fourier transform where the kernel is large: 21x21 on 3x256x256 takes 10 ms instead of 64, one thread.
    """
    reach = kernel.shape[-1] // 2
    height, width = x.shape[-2:]
    padded = F.pad(x, (reach,) * 4, mode="reflect" if reach < min(height, width) else "replicate")
    rows, columns = (-(-size // 32) * 32 for size in padded.shape[-2:])  # sizes of small prime factors
    spectrum = torch.fft.rfft2(padded, s=(rows, columns)) * torch.fft.rfft2(kernel, s=(rows, columns)).conj()
    made: Tensor = torch.fft.irfft2(spectrum, s=(rows, columns))
    return made[..., :height, :width]


def _distance(size: int, sigma_x: float, sigma_y: float, angle: float) -> Tensor:
    y, x = _grid(size)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    along, across = x * cos + y * sin, y * cos - x * sin
    return (along / sigma_x) ** 2 + (across / sigma_y) ** 2


def _grid(size: int) -> tuple[Tensor, Tensor]:
    at = torch.arange(size, dtype=torch.float64) - size // 2
    return at[:, None].expand(size, size), at[None, :].expand(size, size)


def _normalised(kernel: Tensor) -> Tensor:
    return (kernel / kernel.sum()).to(torch.float32)
