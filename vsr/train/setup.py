"""What a recipe means on this machine: the pictures it names, the device."""

from __future__ import annotations

from pathlib import Path

import torch

from vsr.engine.precision import resolve_device
from vsr.errors import ConfigError
from vsr.recipe import Recipe
from vsr.train.data import Crops
from vsr.train.degrade import parse_degradation
from vsr.train.footage import Footage, Item, check_pairs, find_items
from vsr.train.holdout import hold_back
from vsr.train.validate import Judges
from vsr.train.verdict import held_judges


def items_of(recipe: Recipe) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """What a recipe trains on, and the scenes that it holds back. Raises ConfigError where there is nothing."""
    data = recipe.data
    items = find_items([Path(each) for each in data.train], data.frames, Path(data.lr) if data.lr else None)
    check_pairs(items, max(recipe.network.scales))
    if not data.hold_back:
        return items, ()
    parts = hold_back(items, data.hold_back, recipe.train.seed, least=data.frames)
    return parts.train, parts.held


def crops_of(recipe: Recipe, items: tuple[Item, ...], ranks: int = 1) -> Crops:
    """The pairs that a recipe trains on, a batch being that of all `ranks` together. Raises ConfigError, naming the key."""
    data = recipe.data
    if data.batch % ranks:
        raise ConfigError(f"data.batch = {data.batch}: cannot be shared by {ranks} processes; take a multiple of that")
    return Crops(
        items=items,
        patch=data.crop,
        batch_size=data.batch // ranks,
        scales=recipe.network.scales,
        degrade=None if data.lr else parse_degradation(data.degrade),
        footage=Footage(data.reader),
        frames=data.frames,
        ranks=ranks,
        flips=data.turns,
    )


def device_for(name: str, local: int = 0) -> torch.device:
    """The device to train on; of several processes on one machine, each has its own CUDA device. Raises DeviceError."""
    device = resolve_device(name)
    return torch.device("cuda", local) if device.type == "cuda" and device.index is None else device


def held_of(recipe: Recipe, held: tuple[Item, ...]) -> Judges | None:
    """What the result is judged by: the scenes that were held back; None without any."""
    if not held:
        return None
    return held_judges(held, parse_degradation(recipe.data.degrade), recipe.train.seed, recipe.data.frames // 2)
