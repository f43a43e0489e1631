"""The frame index: which frames a film has, and where decoding may begin. Read from the packets where they tell the truth."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from vsr.errors import DecodeError
from vsr.frames import VideoInfo
from vsr.media.decode import FrameTime, Reader
from vsr.media.source import open_input

_TRIED_FRAMES = 200  # decoded to see whether packets and frames agree


@dataclass(frozen=True)
class FrameIndex:
    """Every frame's pts in display order, and the pts of frames at which a decoder may start.

    `exact` says that a seek by pts finds its frame; where it does not (files without timestamps, or with broken ones) a part is
    reached by decoding from the beginning. `interlaced` counts the frames that are flagged so among those that were decoded.
    """

    pts: tuple[int, ...]
    keys: tuple[int, ...]
    exact: bool = True
    clock: Literal["pts", "dts"] = "pts"
    interlaced: int = 0

    def __len__(self) -> int:
        return len(self.pts)

    def between(self, start: int | None, stop: int | None) -> tuple[int, ...]:
        """The pts of a part: `start` inclusive, `stop` exclusive; None = no bound."""
        first = 0 if start is None else bisect_left(self.pts, start)
        last = len(self.pts) if stop is None else bisect_left(self.pts, stop)
        return self.pts[first:last]

    def entry_before(self, pts: int) -> int | None:
        """Where to start decoding for the frame at `pts`; None = at the beginning.

        One whole group of pictures early, so that open groups, leading pictures and recovery points have settled.
        """
        at = bisect_right(self.keys, pts) - 2
        return self.keys[at] if at >= 0 and self.exact else None


def build_index(source: str, info: VideoInfo) -> FrameIndex:
    """Lists the frames of a file. Raises DecodeError when there is none.

    A demux-only scan serves when every packet has a pts of its own and the first 200 decoded frames are exactly the first 200
    packets in display order; everything else (missing or repeated pts, fields in packets of their own, frames that a decoder
    refuses) is decoded once from end to end.
    """
    with open_input(source) as container:
        scanned = _scan_packets(container, _film(container, info))
    interlaced = _agrees(source, info, scanned) if scanned is not None else None
    if scanned is not None and interlaced is not None:
        return replace(scanned, interlaced=interlaced)
    return _decode_all(source, info)


def _film(container: InputContainer, info: VideoInfo) -> VideoStream:
    stream = container.streams[info.index]
    assert isinstance(stream, VideoStream)
    return stream


def _scan_packets(container: InputContainer, video: VideoStream) -> FrameIndex | None:
    pts: list[int] = []
    keys: list[int] = []
    packets = container.demux(video)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.error.FFmpegError:
            return None  # damaged: only decoding tells what is left
        if packet.size == 0 or packet.is_discard:
            continue
        if packet.pts is None or packet.is_corrupt:
            return None
        pts.append(packet.pts)
        if packet.is_keyframe:
            keys.append(packet.pts)
    if not pts or len(set(pts)) != len(pts):
        return None
    return FrameIndex(tuple(sorted(pts)), tuple(sorted(keys)))


def _agrees(source: str, info: VideoInfo, index: FrameIndex) -> int | None:
    """How many of the first frames are interlaced; None where they are not the first of the index."""
    with Reader(source, info) as reader:
        seen = [*islice(reader.times(), _TRIED_FRAMES)]
        tidy = not reader.report.invented_pts and not reader.report.corrupt_packets
    same = tuple(frame.pts for frame in seen) == index.pts[: len(seen)] and len(seen) == min(_TRIED_FRAMES, len(index))
    return sum(frame.interlaced for frame in seen) if tidy and same else None


def _decode_all(source: str, info: VideoInfo) -> FrameIndex:
    """Decodes the whole film for its timestamps; planes are never copied.

    AVI stores decode times only: with B-frames its "pts" jump back and forth, while the decoder hands the frames out in order.
    Then the decode times, which increase, are the frames' own (as FFmpeg's best-effort timestamps have it).
    """
    found = _times(source, info)
    if found[1] and info.clock == "pts":
        by_decode_time = _times(source, replace(info, clock="dts"))
        if by_decode_time[1] < found[1]:
            found, info = by_decode_time, replace(info, clock="dts")
    frames, invented = found
    if not frames:
        raise DecodeError(f"{info.source}: not one frame of it can be decoded")
    pts, keys = tuple(frame.pts for frame in frames), tuple(frame.pts for frame in frames if frame.key)
    interlaced = sum(frame.interlaced for frame in frames)
    return FrameIndex(pts, keys, exact=not invented and info.clock == "pts", clock=info.clock, interlaced=interlaced)


def _times(source: str, info: VideoInfo) -> tuple[list[FrameTime], int]:
    with Reader(source, info) as reader:
        return list(reader.times()), reader.report.invented_pts
