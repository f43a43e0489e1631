"""Pictures, and networks to run on them, for the tests of engines."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vsr.models.rrdb import RRDBNet
from vsr.models.spec import Generator

PHOTOS = sorted((Path(__file__).parents[3] / "shared/data/Set14/x4").glob("**/*.png"))


def picture(height: int, width: int, number: int = 3) -> Tensor:
    """(1, 3, H, W): a photo's corner, mirrored where it is too small; where there are no photos, waves and an edge."""
    if len(PHOTOS) > number:
        pixels = np.asarray(Image.open(PHOTOS[number]).convert("RGB"), dtype=np.float32) / 255
        lacking = [(0, max(0, size - have)) for size, have in zip((height, width), pixels.shape, strict=False)]
        pixels = np.pad(pixels, [*lacking, (0, 0)], mode="symmetric")
        return torch.from_numpy(np.ascontiguousarray(pixels[:height, :width].transpose(2, 0, 1)))[None]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = [0.5 + 0.3 * torch.sin(x * 0.3 + number) * torch.cos(y * 0.2), 0.5 + 0.4 * torch.sin(y * 0.9), 0.2 + 0.5 * (x > y)]
    return torch.stack(planes)[None].float()


def psnr(first: Tensor, second: Tensor) -> float:
    error = float((first.double() - second.double()).square().mean())
    return 10 * math.log10(1 / error) if error else math.inf


def run(network: Generator, frames: Tensor) -> Tensor:
    with torch.inference_mode():
        return network.reconstruct(network.features(frames)[:, None])


def small_rrdb(scale: int = 4) -> RRDBNet:
    torch.manual_seed(7)
    return RRDBNet(2, num_feat=16, num_grow=8, scale=scale).eval()
