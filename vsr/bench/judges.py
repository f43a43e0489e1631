"""A test set as training validates on it: pictures with their truth, clips with their neighbours."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from vsr.bench.datasets import find_dataset
from vsr.bench.enlarge import source_picture
from vsr.bench.pairs import Group, Pair
from vsr.engine.reuse import singles
from vsr.engine.window import Windows
from vsr.frames import FrameBatch
from vsr.train.validate import Judged, Judges


def judges_of(dataset: str, context: int, degrade: str = "bicubic", frames: int | None = None) -> Judges:
    """The pictures of a test set (as `vsr bench quality --dataset` takes it) for a network that looks at `context` neighbours."""

    def judges(scale: int) -> Iterator[Judged]:
        for group in find_dataset(dataset, scale, degrade, frames).groups:
            yield from _with_windows(group, context) if context and group.clip else map(_judged, group.pairs())

    return judges


def _judged(pair: Pair, lr: FrameBatch | None = None) -> Judged:
    return Judged(pair.name, source_picture(pair) if lr is None else lr, pair.hr)


def _with_windows(group: Group, context: int) -> Iterator[Judged]:
    kept: deque[Pair] = deque()

    def lows() -> Iterator[FrameBatch]:
        for pair in group.pairs():
            kept.append(pair)
            yield source_picture(pair)

    for batch in Windows(context, 1).through(lows()):
        for one in singles(batch):
            yield _judged(kept.popleft(), batch if len(batch) == 1 else one)
