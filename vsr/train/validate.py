"""What a network in training is worth: run as it will be shipped, by the engine, on 8-bit pictures, by the papers' protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from vsr.config import EngineSettings
from vsr.engine.upscaler import Upscaler
from vsr.frames import FrameBatch, FrameFormat
from vsr.lpips import SMALLEST, Lpips
from vsr.metrics import Protocol, psnr, ssim
from vsr.models.single import Network
from vsr.models.spec import Generator


@dataclass(frozen=True)
class Judged:
    """A picture to judge by: `lr` is what the network gets (with its window, where it looks at neighbours), `hr` the truth."""

    name: str
    lr: FrameBatch
    hr: FrameBatch


Judges = Callable[[int], Iterator[Judged]]  # the pictures for a scale, read anew at every call


@dataclass(frozen=True)
class Figures:
    """Means over the pictures (luma of BT.601, a border of `scale` left out); each picture's PSNR, and LPIPS if asked for."""

    psnr_y: float
    ssim_y: float
    pictures: dict[str, float]
    lpips: dict[str, float] = field(default_factory=dict)


def validate(
    network: Network, scale: int, judges: Judges, device: torch.device, shown: int = 0, lpips: Lpips | None = None
) -> tuple[Figures, list[Sample]]:
    """Figures of the network at one scale, and the first `shown` pictures. The network itself stays as it is."""
    generator = network.at(scale).eval().requires_grad_(False)
    settings = EngineSettings(device=str(device), threads=torch.get_num_threads(), memory=0, slots=1)
    protocol = Protocol("y", border=scale)
    values: dict[str, tuple[float, float]] = {}
    perceived: dict[str, float] = {}
    samples: list[Sample] = []
    upscaler: Upscaler | None = None
    for judged in judges(scale):
        if upscaler is None or upscaler.source != judged.lr.format:
            upscaler = Upscaler(cast(Generator, generator), judged.lr.format, _target(judged, scale), settings)
        made, true = pixels_of(upscaler.up(judged.lr)), pixels_of(judged.hr)
        values[judged.name] = float(psnr(made, true, protocol)), float(ssim(made, true, protocol))
        if lpips is not None and min(true.shape[-2:]) >= SMALLEST:
            perceived[judged.name] = float(lpips.distance(made, true))
        if len(samples) < shown:
            samples.append(Sample(judged.name, pixels_of(judged.lr), made, true, values[judged.name][0]))
    return replace(_means(values), lpips=perceived), samples


@dataclass(frozen=True)
class Sample:
    """One picture for people: what went in, what came out, the truth; (1, 3 or 1, H, W) uint8."""

    name: str
    lr: Tensor
    made: Tensor
    true: Tensor
    psnr_y: float


def pixels_of(batch: FrameBatch) -> Tensor:
    """RGB or gray planes as (1, C, H, W) uint8."""
    return torch.stack([torch.from_numpy(plane[0].copy()) for plane in batch.planes])[None]


def _target(judged: Judged, scale: int) -> FrameFormat:
    format = judged.hr.format
    low = judged.lr.format
    return FrameFormat(low.width * scale, low.height * scale, format.layout, format.color)


def _means(values: dict[str, tuple[float, float]]) -> Figures:
    count = max(1, len(values))
    first, second = (sum(each[i] for each in values.values()) / count for i in (0, 1))
    return Figures(first, second, {name: each[0] for name, each in values.items()})
