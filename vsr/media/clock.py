"""Timestamps for frames that have none, or that repeat: the same for everyone who reads the film."""

from __future__ import annotations

from vsr.frames import VideoInfo


class Clock:
    """Gives every frame a pts: its own where the file has one, else the nominal rate's; always increasing.

    Where the file's clock is set back by more than a second (joined recordings), the rest goes on where the part before ended.
    `invented` counts the frames whose pts is not the file's, `jumps` the times that the clock was set back.
    """

    def __init__(self, info: VideoInfo) -> None:
        self._step = info.step
        self._second = round(1 / info.time_base)
        self._decode_times = info.clock == "dts"
        self._last: int | None = None
        self._offset = 0
        self.invented = 0
        self.jumps = 0

    def tick(self, pts: int | None, dts: int | None) -> int:
        """The time of the next frame in display order, from what the file says of it."""
        last = self._last
        pts = dts if self._decode_times and dts is not None else pts
        if pts is None:
            self.invented += 1
            time = 0 if last is None else last + self._step
        else:
            time = pts + self._offset
            if last is not None and time <= last:
                self.invented += 1
                if last - time > self._second:
                    self.jumps += 1
                    self._offset += last + self._step - time
                    time = last + self._step
                else:
                    time = last + 1
        self._last = time
        return time
