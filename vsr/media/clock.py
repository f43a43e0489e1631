"""Timestamps for frames that have none, or that repeat: the same for everyone who reads the film."""

from __future__ import annotations

from vsr.frames import VideoInfo


class Clock:
    """Gives every frame a pts: its own where the file has one, else the nominal rate's; always increasing.

    `invented` counts the frames whose pts is not the file's.
    """

    def __init__(self, info: VideoInfo) -> None:
        self._step = max(1, round(1 / ((info.rate or 25) * info.time_base)))
        self._last: int | None = None
        self.invented = 0

    def tick(self, pts: int | None) -> int:
        if pts is None:
            self.invented += 1
            pts = 0 if self._last is None else self._last + self._step
        elif self._last is not None and pts <= self._last:
            self.invented += 1
            pts = self._last + 1
        self._last = pts
        return pts
