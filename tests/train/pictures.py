"""Pictures and films to train on, made by code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsr.media.imagemeta import StillImage, batch_of
from vsr.media.images import write_image


def texture(seed: int, height: int, width: int) -> Tensor:
    """A picture (3, H, W) uint8 with edges, gradients and fine structure."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x * rng.uniform(0.05, 0.9) + y * rng.uniform(-0.9, 0.9) + rng.uniform(0, 6)) for _ in range(5)]
    blocks = np.kron(rng.uniform(-1, 1, (height // 6 + 1, width // 6 + 1)), np.ones((6, 6)))[:height, :width]
    channels = [128 + 25 * sum(rng.uniform(-1, 1) * wave for wave in waves) + rng.uniform(-40, 40) * blocks for _ in range(3)]
    return torch.from_numpy(np.clip(np.stack(channels), 0, 255).astype(np.uint8))


def write(path: Path, picture: Tensor) -> Path:
    """As PNG; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, StillImage(batch_of(picture.permute(1, 2, 0).numpy(), alpha=False), "PNG"))
    return path


def write_folder(folder: Path, count: int, height: int = 60, width: int = 75) -> Path:
    """`count` pictures, 0.png, 1.png, ...; returns the folder."""
    for number in range(count):
        write(folder / f"{number}.png", texture(number, height + 4 * number, width))
    return folder


def moving(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """A clip (T, 3, H, W) uint8 that pans by one pixel a frame."""
    wide = texture(seed, height, width + count)
    return torch.stack([wide[:, :, n : n + width] for n in range(count)])
