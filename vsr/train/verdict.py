"""Fine-tuning's last question: is it better on scenes that it never saw, and how sure is that?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vsr.engine.reuse import singles
from vsr.engine.window import Windows
from vsr.frames import ColorSpec, FrameBatch, FrameFormat, PixelLayout
from vsr.media.clips import open_clip
from vsr.train.degrade import Degradation
from vsr.train.footage import Item
from vsr.train.validate import Figures, Judged, Judges

FRAMES = 12  # of each scene: neighbours are much alike
RESAMPLES = 10_000
INTERVAL = (2.5, 97.5)  # percent


@dataclass(frozen=True)
class Change:
    """The mean change of a figure, and its 95 % interval by drawing scenes anew (Efron's percentile bootstrap)."""

    mean: float
    low: float
    high: float

    def told(self, digits: int, unit: str, scenes: int) -> str:
        """For people."""
        sure = f"95 %: {self.low:+.{digits}f} to {self.high:+.{digits}f}" if scenes > 1 else "one scene: no interval"
        return f"{self.mean:+.{digits}f} {unit} ({sure})"


@dataclass(frozen=True)
class Verdict:
    """What changed over the held-back pictures: PSNR in dB, and LPIPS where its weights are here.

    `by_eye`: the network was trained against a critic, which PSNR does not rank: then LPIPS decides, if it is there.
    """

    psnr: Change
    lpips: Change | None
    pictures: int
    scenes: int
    by_eye: bool = False

    @property
    def better(self) -> bool:
        """Is all of the interval on the good side of 0? With one scene there is no telling: then the mean has to do."""
        if self.by_eye and self.lpips is not None:
            return self.lpips.high < 0 if self.scenes > 1 else self.lpips.mean < 0
        return self.psnr.low > 0 if self.scenes > 1 else self.psnr.mean > 0

    def __str__(self) -> str:
        told = self.psnr.told(2, "dB", self.scenes)
        if self.lpips is not None:
            told += f", {self.lpips.told(4, 'LPIPS', self.scenes)}"
        scenes = "1 scene that was" if self.scenes == 1 else f"{self.scenes} scenes that were"
        return f"{told} on {self.pictures} pictures of {scenes} held back"


def held_judges(held: Sequence[Item], degrade: Degradation, seed: int, context: int) -> Judges:
    """The first frames of each held-back scene, named `scene/frame`; LR is its own, or made as in training by the same draws."""

    def judges(scale: int) -> Iterator[Judged]:
        for number, item in enumerate(held):
            yield from _scene(item, number, degrade, seed, scale, context)

    return judges


def _scene(item: Item, number: int, degrade: Degradation, seed: int, scale: int, context: int) -> Iterator[Judged]:
    high = _frames(item.path, item)
    if item.lr is None:
        even = 2 * scale  # codecs take even sizes
        high = high[..., : high.shape[-2] // even * even, : high.shape[-1] // even * even]
        low = degrade(high, scale, np.random.default_rng([seed, number]))
    else:
        low = _frames(item.lr, item)
        rows, columns = (min(big // scale, small) for big, small in zip(high.shape[-2:], low.shape[-2:], strict=True))
        low, high = low[..., :rows, :columns], high[..., : rows * scale, : columns * scale]
    frames = [_frame(picture, at) for at, picture in enumerate(low)]
    windows = [*Windows(context, 1).through(frames)] if context else [one for frame in frames for one in singles(frame)]
    for at, (window, truth) in enumerate(zip(windows, high, strict=True)):
        yield Judged(f"{number}/{at}", window, _frame(truth, at))


def _frames(path: str, item: Item) -> Tensor:
    """The first frames of an item in its own file or its LR's: (T, 3, H, W) uint8."""
    clip = open_clip(path)
    try:
        stop = len(clip) if item.stop is None else item.stop
        return clip.frames(range(item.first, min(stop, item.first + FRAMES)))
    finally:
        clip.close()


def _frame(picture: Tensor, at: int) -> FrameBatch:
    """(3, H, W) uint8 as one RGB frame."""
    rows, columns = picture.shape[-2:]
    format = FrameFormat(columns, rows, PixelLayout("rgb"), ColorSpec(matrix=0, full_range=True, primaries=1, transfer=13))
    return FrameBatch(format, tuple(plane[None].numpy().copy() for plane in picture), (at,), (1,), at)


def verdict(before: Figures, after: Figures, seed: int, *, by_eye: bool = False) -> Verdict:
    """What changed between two validations on what `held_judges` gives. One draw per seed."""
    psnr, scenes = _change(before.pictures, after.pictures, seed)
    lpips = _change(before.lpips, after.lpips, seed)[0] if before.lpips else None
    return Verdict(psnr, lpips, len(after.pictures), scenes, by_eye)


def _change(before: Mapping[str, float], after: Mapping[str, float], seed: int) -> tuple[Change, int]:
    """The change of pictures' values by their names, and how many scenes they are of."""
    scenes: dict[str, list[float]] = {}
    for name, value in after.items():
        scenes.setdefault(name.split("/")[0], []).append(value - before[name])
    sums = np.array([(sum(each), len(each)) for each in scenes.values()])
    rng = np.random.default_rng(seed)
    drawn = sums[rng.integers(len(sums), size=(RESAMPLES, len(sums)))].sum(1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], INTERVAL)
    total = sums.sum(0)
    return Change(float(total[0] / total[1]), float(low), float(high)), len(sums)
