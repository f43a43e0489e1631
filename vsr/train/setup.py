"""What a recipe means on this machine: the pictures it names, the device."""

from __future__ import annotations

from pathlib import Path

import torch

from vsr.engine.precision import resolve_device
from vsr.errors import ConfigError
from vsr.recipe import Recipe
from vsr.train.data import Crops
from vsr.train.degrade import parse_degradation
from vsr.train.footage import Footage, find_items


def crops_of(recipe: Recipe, ranks: int = 1) -> Crops:
    """The pairs that a recipe trains on, a batch being that of all `ranks` together. Raises ConfigError, naming the key."""
    data = recipe.data
    if data.batch % ranks:
        raise ConfigError(f"data.batch = {data.batch}: cannot be shared by {ranks} processes; take a multiple of that")
    return Crops(
        items=find_items([Path(each) for each in data.train], data.frames),
        patch=data.crop,
        batch_size=data.batch // ranks,
        scales=recipe.network.scales,
        degrade=parse_degradation(data.degrade),
        footage=Footage(),
        frames=data.frames,
        ranks=ranks,
        flips=data.turns,
    )


def device_for(name: str, local: int = 0) -> torch.device:
    """The device to train on; of several processes on one machine, each has its own CUDA device. Raises DeviceError."""
    device = resolve_device(name)
    return torch.device("cuda", local) if device.type == "cuda" and device.index is None else device
