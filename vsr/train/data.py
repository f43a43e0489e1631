"""Training pairs: crops of images and films as a pure function of seed, step and rank.

Nothing is drawn from a generator that goes on: sample i of a seed has its own, made of (seed, i), and step s of R ranks with
batches of b holds the samples R*b*s to R*b*(s+1) - 1, rank r those from r*b on. So there is no state to save, a resumed run
sees what it would have seen, and two ranks with a batch of b see what one rank with a batch of 2b sees.

Crops lie on LR's grid, and a degradation sees some pixels around them: LR by bicubic is, to the last bit, the crop of the whole
picture's LR, as the papers' data has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, count

import numpy as np
import torch
from torch import Tensor

from vsr.engine.prefetch import prefetch
from vsr.errors import ConfigError, DecodeError
from vsr.media.clips import Clip
from vsr.media.rgb import Box
from vsr.media.sheet import Cell
from vsr.train.degrade import Degradation
from vsr.train.footage import Footage, Item

_SAMPLE, _EPOCH, _SCALE, _SPARE = range(4)  # what a generator is for: no two uses share one
_TRIES = 20  # windows drawn in a film before another is taken: half of them with frames before, for codecs


@dataclass(frozen=True)
class Batch:
    """lr (N, 3, h, w), or (N, T, 3, h, w) for clips, and hr (N, 3, s*h, s*w), the middle frame: float32, 0..1. `names`: files."""

    lr: Tensor
    hr: Tensor
    names: tuple[str, ...]
    scale: int


@dataclass(frozen=True)
class Crops:
    """Crops of `patch` LR pixels from items, `batch` of them for each of `ranks`, `frames` consecutive ones where that is not 1.

    scales   one is drawn for each step, the same for all ranks
    degrade  makes LR of HR; None: items bring their own LR
    flips    also mirrored, turned by quarters, and clips backwards

    An epoch has each item once, in an order of its own; a film counts as one item, however long. A clip never spans a cut.
    Items that cannot be used are passed over for others, and stand in `skipped`.
    """

    items: tuple[Item, ...]
    patch: int
    batch_size: int
    scales: tuple[int, ...]
    degrade: Degradation | None
    footage: Footage
    frames: int = 1
    ranks: int = 1
    flips: bool = True

    def __post_init__(self) -> None:
        if not self.items:
            raise ConfigError("data.train: there is nothing to train on")
        if self.frames < 1 or self.frames % 2 == 0:
            raise ConfigError(f"clips of {self.frames} frames have no middle one: take 1, 3, 5 or 7")
        if min(self.patch, self.batch_size, self.ranks, *self.scales) < 1:
            raise ConfigError(f"crop {self.patch}, batch {self.batch_size}, ranks {self.ranks}, scales {self.scales}: at least 1")
        if self.degrade is None and any(item.lr is None for item in self.items):
            raise ConfigError("data.degrade: there is no LR for these pictures; say how it is made, as degrade = 'bicubic'")

    @property
    def skipped(self) -> Mapping[Item, str]:
        """Why items could not be used, or not in places, of those that were drawn so far."""
        return {**self.footage.damaged, **self.footage.unusable}

    def fork(self) -> Crops:
        """The same for another thread."""
        return replace(self, footage=self.footage.fork())

    def batch(self, seed: int, step: int, rank: int = 0) -> Batch:
        """The batch of one step on one rank. Raises DecodeError where not one item can be used, ConfigError for wrong pairs."""
        scale = int(_generator(seed, _SCALE, step).choice(self.scales))
        first = (self.ranks * step + rank) * self.batch_size
        samples = [self._sample(seed, first + i, scale) for i in range(self.batch_size)]
        lr, hr, names = zip(*samples, strict=True)
        lows = torch.stack(lr) if self.frames > 1 else torch.cat(lr)
        return Batch(_unit(lows), _unit(torch.stack(hr)), names, scale)

    def stream(self, seed: int, rank: int = 0, start: int = 0, stop: int | None = None, jump: int = 1) -> Iterator[Batch]:
        """Batches of the steps start, start + jump, ... before `stop`; None = for ever."""
        for step in count(start, jump) if stop is None else range(start, stop, jump):
            yield self.batch(seed, step, rank)

    def _sample(self, seed: int, index: int, scale: int) -> tuple[Tensor, Tensor, str]:
        """LR (T, 3, h, w), HR (3, s*h, s*w), both uint8, and the file."""
        epoch, position = divmod(index, len(self.items))
        order = _generator(seed, _EPOCH, epoch).permutation(len(self.items))
        failed: dict[Item, str] = {}
        for number in chain([order[position]], _spares(seed, index, len(self.items))):
            item = self.items[number]
            pair = self.footage.pair(item, scale, self.patch * max(self.scales), self.frames)
            if pair is None:
                failed[item] = self.footage.unusable[item]
                continue
            try:
                # a generator from the start for each: what is drawn must not depend on how far another item got
                made = self._crop(item, *pair, scale, _generator(seed, _SAMPLE, index))
            except DecodeError as exc:  # a damaged place in a film: the rest of it is still good
                failed[item] = self.footage.damaged[item] = str(exc)
                continue
            if made is not None:
                return *made, item.path
            failed[item] = self.footage.damaged[item] = f"{item}: no {self.frames} frames without a cut in {_TRIES} places"
        told = "; ".join([*failed.values()][:3])
        raise DecodeError(f"none of {len(failed)} files can be used to train on: {told}{'; ...' if len(failed) > 3 else ''}")

    def _crop(self, item: Item, hr: Clip, lr: Clip | None, scale: int, rng: np.random.Generator) -> tuple[Tensor, Tensor] | None:
        """A pair; None where no place in the film has enough frames without a cut."""
        window = self._window(item, hr, rng)
        if window is None:
            return None
        lead = len(window) - self.frames
        rows, columns = hr.height // scale, hr.width // scale
        if lr is not None:
            rows, columns = min(rows, lr.height), min(columns, lr.width)
        top, left = (int(rng.integers(size - self.patch + 1)) for size in (rows, columns))
        inner = Box(top, left, self.patch, self.patch)
        if lr is not None or self.degrade is None:
            assert lr is not None
            low = lr.frames(window, inner)
            high = hr.frames([window[self.frames // 2]], _scaled(inner, scale))[0]
        else:
            outer = _widened(inner, self.degrade.margin, rows, columns)
            seen = hr.frames(window, _scaled(outer, scale))
            low = _part(self.degrade(seen, scale, rng)[lead:], inner, outer, 1)
            high = _part(seen[lead + self.frames // 2], inner, outer, scale)
        if not self.flips:
            return low, high
        turn, backwards = int(rng.integers(8)), bool(rng.integers(2))
        return turned(low.flip(0) if backwards else low, turn), turned(high, turn)

    def _window(self, item: Item, clip: Clip, rng: np.random.Generator) -> range | None:
        """Consecutive frames of one shot: `frames` of them, after those that the degradation wants to have before."""
        length = (len(clip) if item.stop is None else min(item.stop, len(clip))) - item.first
        lead = 0 if self.degrade is None or item.lr else min(self.degrade.lead, length - self.frames)
        for attempt in range(_TRIES):
            size = self.frames + (lead if attempt < _TRIES // 2 else 0)
            first = item.first + int(rng.integers(length - size + 1))
            window = range(first, first + size)
            if not clip.cut_within(window):
                return window
        return None


@contextmanager
def loaded(
    crops: Crops, seed: int, *, rank: int = 0, start: int = 0, stop: int | None = None, threads: int = 1, depth: int = 2
) -> Iterator[Iterator[Batch]]:
    """The batches of `crops.stream` in order, made ahead by `threads` threads, `depth` by each."""
    with ExitStack() as stack:
        lanes = []
        for lane in range(threads):
            steps = crops.fork().stream(seed, rank, start + lane, stop, threads)
            lanes.append(stack.enter_context(prefetch(steps, depth, f"data {lane}")))
        yield _in_turn(lanes)


def _in_turn(lanes: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
    while True:
        for lane in lanes:
            batch = next(lane, None)
            if batch is None:
                return
            yield batch


def turned(x: Tensor, turn: int) -> Tensor:
    """One of the eight ways to lay a square (..., n, n) on itself, 0 being as it is: mirrored, upside down, transposed by bit."""
    x = x.flip(-1) if turn & 1 else x
    x = x.flip(-2) if turn & 2 else x
    return x.mT if turn & 4 else x


def sheet_rows(batch: Batch) -> list[list[Cell]]:
    """The pairs as rows of a contact sheet (`vsr.media.sheet.draw_sheet`): LR, of a clip the middle frame, and HR."""
    lows = batch.lr if batch.lr.dim() == 4 else batch.lr[:, batch.lr.shape[1] // 2]
    rows = []
    for low, high, name in zip(lows, batch.hr, batch.names, strict=True):
        pictures = (x.mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy() for x in (low, high))
        rows.append([Cell(label, rgb) for label, rgb in zip((f"LR {name}", f"HR x{batch.scale}"), pictures, strict=True)])
    return rows


def _generator(seed: int, use: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, use, number])


def _spares(seed: int, index: int, items: int) -> Iterator[int]:
    """Other items for a sample whose own cannot be used; drawn only then."""
    yield from _generator(seed, _SPARE, index).permutation(items).tolist()


def _unit(levels: Tensor) -> Tensor:
    return levels.to(torch.float32).div_(255)


def _scaled(box: Box, scale: int) -> Box:
    return Box(box.top * scale, box.left * scale, box.height * scale, box.width * scale)


def _widened(box: Box, margin: int, rows: int, columns: int) -> Box:
    """The box with its surroundings, as far as there are some."""
    top, left = max(0, box.top - margin), max(0, box.left - margin)
    bottom, right = min(rows, box.top + box.height + margin), min(columns, box.left + box.width + margin)
    return Box(top, left, bottom - top, right - left)


def _part(x: Tensor, inner: Box, outer: Box, scale: int) -> Tensor:
    """What `inner` has of pixels (..., H, W) that were cut out by `outer`, both in LR pixels."""
    top, left = (inner.top - outer.top) * scale, (inner.left - outer.left) * scale
    return x[..., top : top + inner.height * scale, left : left + inner.width * scale]
