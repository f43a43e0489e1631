"""Real-ESRGAN's second-order degradation: blur, resize, noise and JPEG, twice, and a last sinc filter.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", 2021, with the ranges and
probabilities of their recipe for x4plus (the defaults of `Stage` and `SecondOrder`):

              blur    sigma      resize up, down, keep   by           Gaussian noise   Poisson       gray   JPEG
    first     1       0.2..3     0.2, 0.7, 0.1           0.15..1.5    0.5: 1..30       0.05..3       0.4    30..95
    second    0.8     0.2..1.5   0.3, 0.4, 0.3           0.3..1.2     0.5: 1..25       0.05..2.5     0.4    30..95

Resizing is area, bilinear or bicubic, each as likely, not antialiased. The noise is Gaussian (sigma in levels) with
probability 0.5, else Poisson. The second resize is relative to LR's size; then come, in either order, JPEG and the resize to
LR's size with a sinc filter (0.8). Differences: JPEG is libjpeg's own (4:2:0) instead of a differentiable imitation, so
levels are whole before it; HR is not sharpened.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.media.encoded import through_jpeg
from vsr.train.kernels import drawn_kernel, drawn_sinc, filtered


@dataclass(frozen=True)
class Stage:
    """One round: probabilities and ranges as in the table above."""

    blur: float = 1.0
    sigmas: tuple[float, float] = (0.2, 3.0)
    up_down_keep: tuple[float, float, float] = (0.2, 0.7, 0.1)
    sizes: tuple[float, float] = (0.15, 1.5)
    gaussian: float = 0.5
    levels: tuple[float, float] = (1.0, 30.0)
    poisson: tuple[float, float] = (0.05, 3.0)
    gray: float = 0.4
    jpeg: tuple[int, int] = (30, 95)


SECOND = Stage(0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), 0.5, (1.0, 25.0), (0.05, 2.5))


@dataclass(frozen=True)
class SecondOrder:
    """HR to LR by two rounds. A clip's frames share every parameter; noise is drawn for each anew, as a camera's is."""

    first: Stage = Stage()
    second: Stage = SECOND
    sinc: float = 0.8

    margin = 8  # LR pixels of surroundings: what blurs and JPEG's blocks reach
    lead = 0

    def __call__(self, hr: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
        """HR (T, 3, s*h, s*w) uint8 -> LR (T, 3, h, w) uint8."""
        height, width = hr.shape[-2] // scale, hr.shape[-1] // scale
        x = hr.to(torch.float32).div_(255)
        x = filtered(x, drawn_kernel(rng, self.first.sigmas)) if rng.random() < self.first.blur else x
        x = _resized(x, hr.shape[-2], hr.shape[-1], self.first, rng)
        x = _jpeg(_noisy(x, self.first, rng), self.first, rng)
        x = filtered(x, drawn_kernel(rng, self.second.sigmas)) if rng.random() < self.second.blur else x
        x = _noisy(_resized(x, height, width, self.second, rng), self.second, rng)
        jpeg_last = rng.random() < 0.5
        if not jpeg_last:
            x = _jpeg(x, self.second, rng)
        x = _scaled(x, height, width, rng)
        x = filtered(x, drawn_sinc(rng)) if rng.random() < self.sinc else x
        x = _jpeg(x, self.second, rng) if jpeg_last else x
        return _levels(x)


def _resized(x: Tensor, height: int, width: int, stage: Stage, rng: np.random.Generator) -> Tensor:
    """To height and width times a factor that is drawn."""
    least, most = stage.sizes
    kind = rng.choice(3, p=stage.up_down_keep)
    factor = (float(rng.uniform(1.0, most)), float(rng.uniform(least, 1.0)), 1.0)[kind]
    return _scaled(x, max(1, int(height * factor)), max(1, int(width * factor)), rng)


def _scaled(x: Tensor, height: int, width: int, rng: np.random.Generator) -> Tensor:
    mode = ("area", "bilinear", "bicubic")[rng.integers(3)]
    return F.interpolate(x, size=(height, width), mode=mode) if x.shape[-2:] != (height, width) else x


def _noisy(x: Tensor, stage: Stage, rng: np.random.Generator) -> Tensor:
    gaussian = rng.random() < stage.gaussian
    strength = float(rng.uniform(*(stage.levels if gaussian else stage.poisson)))
    gray = rng.random() < stage.gray
    if gaussian:
        shape = (len(x), 1 if gray else 3, *x.shape[-2:])
        noise = torch.from_numpy(rng.standard_normal(shape, np.float32)).mul_(strength / 255)
    else:
        noise = _shot_noise(x, gray, rng).mul_(strength)
    return (x + noise).clamp_(0, 1)


def _shot_noise(x: Tensor, gray: bool, rng: np.random.Generator) -> Tensor:
    """Poisson noise of a sensor with as many steps as the picture has levels, rounded up to a power of two."""
    levels = _levels(x)
    if gray:
        weights = levels.new_tensor((0.299, 0.587, 0.114), dtype=torch.float32)
        levels = torch.einsum("tchw,c->thw", levels.to(torch.float32), weights).round_().to(torch.uint8)[:, None]
    noise = []
    for picture in levels:
        steps = 2.0 ** np.ceil(np.log2(max(1, picture.unique().numel())))
        clean = picture.numpy() / 255.0
        noise.append((rng.poisson(clean * steps) / steps - clean).astype(np.float32))
    return torch.from_numpy(np.stack(noise))


def _jpeg(x: Tensor, stage: Stage, rng: np.random.Generator) -> Tensor:
    quality = int(rng.integers(stage.jpeg[0], stage.jpeg[1] + 1))
    pictures = [through_jpeg(np.ascontiguousarray(p.permute(1, 2, 0).numpy()), quality) for p in _levels(x)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(torch.float32).div_(255)


def _levels(x: Tensor) -> Tensor:
    return x.mul(255).round_().clamp_(0, 255).to(torch.uint8)
