"""Whole scenes that are kept from training, so that what is measured on them was never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vsr.errors import ConfigError, MediaError
from vsr.media.clips import open_clip
from vsr.train.footage import Item


@dataclass(frozen=True)
class Holdout:
    """Items to train on and items to judge by. `whole_scenes`: no shot is in both (a film of one shot gives its end)."""

    train: tuple[Item, ...]
    held: tuple[Item, ...]
    whole_scenes: bool


def hold_back(items: Sequence[Item], share: float, seed: int, *, least: int = 1) -> Holdout:
    """Hold back shots with about `share` of all frames, drawn by `seed`; shots below `least` frames are only trained on.

    Each film is read once from end to end for its cuts. Where all films together have one shot, its last part is held back.
    What cannot be read is left to training, which passes it over by name. Raises ConfigError where there is nothing to hold back.
    """
    if not 0 < share < 1:
        raise ConfigError(f"a share of {share} cannot be held back: between 0 and 1")
    shots: list[Item] = []
    unread: list[Item] = []
    for item in items:
        try:
            shots += [Item(item.path, shot.start, shot.stop, item.lr) for shot in open_clip(item.path).shots()]
        except MediaError:
            unread.append(item)
    if len(shots) == 1:
        return _end_of(shots[0], share, least, unread)
    total = sum(_length(shot) for shot in shots)
    held: set[int] = set()
    for number in np.random.default_rng([seed, len(shots)]).permutation(len(shots)).tolist():
        so_far = sum(_length(shots[n]) for n in held)
        fits = so_far + _length(shots[number]) <= share * total or not held
        if least <= _length(shots[number]) and fits and len(held) < len(shots) - 1:
            held.add(number)
    if not held:
        raise ConfigError(f"not one of {len(shots)} scenes has {least} frames: there is nothing to judge by")
    train = [shot for number, shot in enumerate(shots) if number not in held]
    return Holdout((*train, *unread), tuple(shots[n] for n in sorted(held)), whole_scenes=True)


def _end_of(shot: Item, share: float, least: int, unread: Sequence[Item]) -> Holdout:
    length = _length(shot)
    kept = max(least, round(length * share))
    if kept >= length:
        raise ConfigError(f"{shot.path}: has one scene of {length} frames: too few to hold {kept} of them back")
    assert shot.stop is not None
    border = shot.stop - kept
    train, held = Item(shot.path, shot.first, border, shot.lr), Item(shot.path, border, shot.stop, shot.lr)
    return Holdout((train, *unread), (held,), whole_scenes=False)


def _length(item: Item) -> int:
    assert item.stop is not None
    return item.stop - item.first
