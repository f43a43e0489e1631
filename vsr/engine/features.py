"""Features of frames, made once: by whichever worker needs them first, for all whose windows show the frame."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import Tensor

from vsr.frames import FrameBatch

Make = Callable[[Sequence[FrameBatch]], Tensor]


@dataclass(frozen=True)
class _Cell:
    """What becomes of a frame: its features, or None where making them failed. Holds the frame, or its id would be another's."""

    frame: FrameBatch
    made: Future[Tensor | None] = field(default_factory=Future)


class Features:
    """What the workers of one job know of the frames that they look at now, and of no others. Safe to share between threads:
    who is first at a key is decided by `dict.setdefault`, which is atomic.
    """

    def __init__(self) -> None:
        self.made = 0  # frames, over all places
        self._cells: dict[tuple[int, Hashable], _Cell] = {}
        self._looking: dict[Hashable, frozenset[int]] = {}

    def look(self, who: Hashable, frames: Sequence[FrameBatch]) -> None:
        """`who` turns to these frames. What nobody looks at any more is forgotten."""
        self._looking[who] = frozenset(id(frame) for frame in frames)
        seen = frozenset().union(*self._looking.copy().values())
        for key in self._cells.copy():
            if key[0] not in seen:
                self._cells.pop(key, None)

    def of(self, frames: Sequence[FrameBatch], place: Hashable, make: Make) -> list[Tensor]:
        """Features (1, C, H', W') of each frame at `place` (a tile, a precision). `make` gives (N, C, H', W') for those that are
        lacking; another thread's are waited for, and made here where it fails. Raises what `make` raises.
        """
        found: dict[int, Tensor] = {}
        while lacking := [frame for frame in frames if id(frame) not in found]:
            cells = [self._cell(frame, place) for frame in lacking]
            mine = [cell for cell, is_new in cells if is_new]
            if mine:
                self._make(mine, place, make)
            for cell, _ in cells:
                features = cell.made.result()
                if features is not None:
                    found[id(cell.frame)] = features
        return [found[id(frame)] for frame in frames]

    def drop(self) -> None:
        """Forget everything: memory is short."""
        self._cells.clear()

    def _cell(self, frame: FrameBatch, place: Hashable) -> tuple[_Cell, bool]:
        fresh = _Cell(frame)
        cell = self._cells.setdefault((id(frame), place), fresh)
        return cell, cell is fresh

    def _make(self, cells: Sequence[_Cell], place: Hashable, make: Make) -> None:
        made = None
        try:
            made = make([cell.frame for cell in cells])
            self.made += len(cells)
        finally:
            for at, cell in enumerate(cells):
                if made is None:  # before anybody who waits looks again
                    self._cells.pop((id(cell.frame), place), None)
                cell.made.set_result(None if made is None else made[at : at + 1])
