"""Which frames of a film tell most about a model: a dark one, a fast one, fine texture, writing, and what is typical.

Nothing is learnt: each figure is simple arithmetic on the luma, in 8-bit levels, of a picture reduced to 720 lines at most, so
that one film's moments are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vsr.frames import FrameBatch
from vsr.scenes import Thumb, is_cut, thumb

Luma = npt.NDArray[np.float32]  # (rows, columns) in 8-bit levels

LINES = 720
DARK = 70.0  # levels of mean luma
SHOWS = 6.0  # levels of standard deviation from which on a picture shows something
FAST = 1.0  # pixels a frame
FINE = 1.5  # levels of what a 3x3 average takes away, in the median block
WRITTEN = 0.008  # of the picture; 9 of 178 photographs without a word have as much of what looks like it
_BLOCK = (8, 16)  # rows and columns: a part of a letter or two
_RUN = 4  # blocks side by side that make a word
_EDGE = 60.0  # levels within two pixels: the side of a stroke
_SIDES = 4  # such pixels of each sign in a block
_GAP = 0.25  # of a word's range from dark to light: what lies farther from both ends is neither ink nor paper
_BILEVEL = 0.6  # share of a word's pixels that are one or the other: leaves and stones have 0.3 to 0.5
_EVEN = 6.0  # levels
_SAME = 0.2  # share of a word's pixels within that of the ink's, or the paper's, median
_HIGHEST = 40  # rows: within so many a line of writing ends
_CALM = 0.15


@dataclass(frozen=True)
class Look:
    """What one frame shows: mean and standard deviation of its luma in levels, motion in pixels a frame, fine detail in levels,
    the share of writing. `pts` is its time, `shot` the number of its shot among those that were looked at."""

    pts: int
    thumb: Thumb
    light: float
    contrast: float
    motion: float
    texture: float
    writing: float
    shot: int = 0


@dataclass(frozen=True)
class Moment:
    """A frame worth looking at, and why."""

    kind: str
    look: Look


def look_at(frame: FrameBatch, before: FrameBatch | None = None) -> Look:
    """The first frame of a batch; its motion against the frame `before`."""
    luma = luma_of(frame)
    tiny = thumb(tuple(plane[0] for plane in frame.planes), frame.format.layout)
    moving = 0.0
    if before is not None and not is_cut(thumb(tuple(plane[0] for plane in before.planes), before.format.layout), tiny):
        moving = displacement(luma, luma_of(before))
    return Look(frame.pts[0], tiny, float(luma.mean()), float(luma.std()), moving, texture(luma), writing(luma))


def luma_of(frame: FrameBatch) -> Luma:
    """(rows, columns) of a batch's first frame, reduced by a whole number to `LINES` at most."""
    layout = frame.format.layout
    first = frame.planes[0][0].astype(np.float32)
    if layout.kind == "rgb":
        first = 0.25 * first + 0.625 * frame.planes[1][0] + 0.125 * frame.planes[2][0]
    by = -(-frame.format.height // LINES)
    rows, columns = (side // by * by for side in first.shape)
    reduced = first[:rows, :columns].reshape(rows // by, by, columns // by, by).mean((1, 3))
    return np.asarray(reduced / (1 << (layout.bits - 8)), np.float32)


def displacement(now: Luma, before: Luma) -> float:
    """Pixels by which the picture moved, on the whole: what changed, by how much a pixel's step would change it. Fades do not
    count."""
    change = (now - now.mean()) - (before - before.mean())
    slope = np.abs(np.diff(now, axis=0))[:, :-1] + np.abs(np.diff(now, axis=1))[:-1]
    return float(np.abs(change).mean() / max(float(slope.mean()), 1.0))


def texture(luma: Luma) -> float:
    """What an average over 3x3 pixels takes away, in the median of blocks of 16x16: fine detail all over the picture."""
    if min(luma.shape) < 18:
        return 0.0
    rows = luma[:-2] + luma[1:-1] + luma[2:]
    smooth = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    return float(np.median(_blocks(np.abs(luma[1:-1, 1:-1] - smooth), 16, 16).mean((2, 3))))


def writing(luma: Luma) -> float:
    """The share of the picture that looks like words: strokes with two sides each, next to each other, in ink on paper, in lines
    that end above and below. Twigs before a clear sky look like it too."""
    rows, columns = _BLOCK
    across = luma[:, 2:] - luma[:, :-2]
    down = luma[2:] - luma[:-2]
    if across.shape[0] < rows or across.shape[1] < columns * _RUN:
        return 0.0
    rising, falling = (_blocks(side, rows, columns).sum((2, 3)) for side in (across > _EDGE, across < -_EDGE))
    level = _blocks(np.abs(down[:, : across.shape[1]]) > _EDGE, rows, columns).sum((2, 3))
    level = np.pad(level, ((0, rising.shape[0] - level.shape[0]), (0, 0)))  # two rows less may be a block less
    strokes = (rising >= _SIDES) & (falling >= _SIDES) & (level >= _SIDES)
    sides = np.abs(across) > _EDGE
    found = 0
    for at, line in enumerate(strokes):
        for first, last in _runs(line):
            wide = slice(first * columns, last * columns)
            word = luma[at * rows : (at + 1) * rows, wide]
            if last - first >= _RUN and _printed(word) and _is_line(sides[:, wide].mean(1), at * rows, (at + 1) * rows):
                found += last - first
    return float(found / strokes.size)


def _printed(word: Luma) -> bool:
    """Nearly all is ink or paper, and one of the two is even."""
    low, high = np.percentile(word, (5, 95))
    near = _GAP * (high - low)
    dark, light = word[word <= low + near], word[word >= high - near]
    even = max(float((np.abs(side - np.median(side)) <= _EVEN).sum()) for side in (dark, light))
    return (dark.size + light.size) / word.size >= _BILEVEL and even / word.size >= _SAME


def _is_line(edges: npt.NDArray[np.float64], top: int, bottom: int) -> bool:
    """Does the writing between two rows end above and below? `edges`: share of each row that is the side of a stroke."""
    calm = edges < _CALM * edges[top:bottom].mean()
    return bool(calm[max(0, top - _HIGHEST) : top].any() and calm[bottom : bottom + _HIGHEST].any())


def _runs(line: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where runs of True begin and end (exclusive)."""
    steps = np.flatnonzero(np.diff(np.concatenate(([0], line.astype(np.int8), [0]))))
    return [(int(first), int(last)) for first, last in zip(steps[::2], steps[1::2], strict=True)]


def _blocks(plane: npt.NDArray[np.generic], rows: int, columns: int) -> npt.NDArray[np.float64]:
    """(R, C) as (R/rows, C/columns, rows, columns), what is left over at the ends left out."""
    high, wide = plane.shape[0] // rows, plane.shape[1] // columns
    cut = plane[: high * rows, : wide * columns].astype(np.float64)
    return cut.reshape(high, rows, wide, columns).swapaxes(1, 2)


_KINDS: tuple[tuple[str, Callable[[Look], float], Callable[[Look], bool]], ...] = (
    ("writing", lambda it: it.writing, lambda it: it.writing >= WRITTEN),
    ("dark", lambda it: -it.light, lambda it: it.light < DARK and it.contrast >= SHOWS),
    ("motion", lambda it: it.motion, lambda it: it.motion >= FAST),
    ("texture", lambda it: it.texture, lambda it: it.texture >= FINE),
)


def choose_moments(looks: Sequence[Look], count: int) -> list[Moment]:
    """Up to `count` of the frames, in their order: the one with most writing, the darkest that shows something, the fastest, the
    finest, where there is such a one; then those that are farthest from all that were taken. Shots differ as long as they can.
    """
    chosen: list[Moment] = []
    seen = [look for look in looks if look.contrast >= SHOWS] or list(looks)
    for kind, merit, there in _KINDS[:count]:
        found = [look for look in _fresh(seen, chosen) if there(look)]
        if found:
            chosen.append(Moment(kind, max(found, key=merit)))
    while len(chosen) < count and (left := _fresh(seen, chosen)):
        chosen.append(Moment("typical", max(left, key=lambda look: _apart(look, chosen, looks))))
    return sorted(chosen, key=lambda moment: moment.look.pts)


def _fresh(looks: Sequence[Look], chosen: Sequence[Moment]) -> list[Look]:
    """Frames of shots from which none is taken; where there is none, other frames."""
    taken = {moment.look.pts for moment in chosen}
    shots = {moment.look.shot for moment in chosen}
    left = [look for look in looks if look.pts not in taken]
    return [look for look in left if look.shot not in shots] or left


def _apart(look: Look, chosen: Sequence[Moment], looks: Sequence[Look]) -> int:
    """The time between a frame and what lies nearest of the chosen ones; with none chosen, the middle is best."""
    if not chosen:
        return -abs(2 * look.pts - looks[0].pts - looks[-1].pts)
    return min(abs(look.pts - moment.look.pts) for moment in chosen)


def with_shots(looks: Sequence[Look]) -> list[Look]:
    """The looks, in the order of time, with the numbers of their shots: where two do not look like one picture that moved."""
    numbered, shot = list(looks[:1]), 0
    for before, now in pairwise(looks):
        shot += is_cut(before.thumb, now.thumb)
        numbered.append(replace(now, shot=shot))
    return numbered
