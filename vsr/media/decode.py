"""The Reader: a film as batches of planes with their timestamps, frame by frame, whatever the file's state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from vsr.errors import DecodeError
from vsr.fields import Deinterlace, ticks
from vsr.frames import FrameBatch, FrameFormat, PictureData, Plane, VideoInfo
from vsr.media.clock import Clock
from vsr.media.decoder import Decoder, salvaged_packets
from vsr.media.deinterlace import Timed, deinterlaced
from vsr.media.hardware import FrameDecoder, Hardware, HardwareLost
from vsr.media.picture_data import picture_data_of
from vsr.media.pixels import pix_fmt_of, read_planes
from vsr.media.source import Pipe, open_input, reason, source_name
from vsr.media.spool import Spool


@dataclass
class ReadReport:
    """What the Reader met on its way: nothing of it is an error, all of it belongs in the report."""

    frames: int = 0
    corrupt_packets: int = 0
    resized_frames: int = 0
    invented_pts: int = 0
    deinterlaced_frames: int = 0
    hardware_lost: int = 0

    def notes(self) -> list[str]:
        """For people."""
        told = {
            "packets of the film are damaged and give no frame": self.corrupt_packets,
            "frames change size or layout in the middle and are scaled to the first frame's": self.resized_frames,
            "frames had no usable time of their own and got one from their neighbours": self.invented_pts,
            "times the hardware decoder gave up, and software decoded on from the same frame": self.hardware_lost,
        }
        return [f"{count} {text}" for text, count in told.items() if count]

    def __add__(self, other: ReadReport) -> ReadReport:
        """Both together."""
        return ReadReport(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class _Held:
    pts: int
    duration: int
    planes: tuple[Plane, ...]
    data: PictureData | None
    shown: bool


@dataclass(frozen=True)
class FrameTime:
    """A frame's pts, whether decoding may begin with it, and whether it is flagged as interlaced."""

    pts: int
    key: bool
    interlaced: bool


class Reader:
    """Iterates the main video stream of a source as `FrameBatch`es of up to `batch` frames, in display order.

    `start` and `stop` are pts (inclusive, exclusive); None = from the first frame, to the last. `enter` is the pts of a frame
    from which the decoder may start to reach `start` (see `FrameIndex.entry_before`); where a seek misses it, the film is decoded
    from the beginning; with no `start`, frames come from wherever the seek gets. `deinterlace` makes whole frames of fields:
    times that come out are then in the ticks of `vsr.fields` (`start`, `stop` and `enter` stay in the source's), and cycles of
    `ivtc` begin at the pts `origin`. Only frames within `shown` (pts, as start and stop) are shown, numbered from `index` on, and
    counted.

    With `hardware` a file's frames come from a device as long as it gives them; then software enters where this Reader entered
    and goes on after the last frame that was given.

    Damaged packets are skipped and counted in `report`. Frames of another size than the first (a mid-stream change) are scaled to
    the first's. With `spool`, packets of all other streams are stored there as they pass: a pipe cannot be read a second time.
    Raises DecodeError when the file cannot be opened or holds no frame at all.
    """

    def __init__(
        self,
        source: str | Pipe,
        info: VideoInfo,
        *,
        batch: int = 1,
        start: int | None = None,
        stop: int | None = None,
        enter: int | None = None,
        index: int = 0,
        spool: Path | None = None,
        deinterlace: Deinterlace = "off",
        origin: int | None = None,
        hardware: Hardware | None = None,
        shown: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self.report = ReadReport()
        self._hardware = hardware
        self._source, self._info, self._batch = source, info, batch
        self._start, self._stop, self._enter, self._index = start, stop, enter, index
        self._spool_path, self._deinterlace, self._origin = spool, deinterlace, origin
        self._shown = shown
        self._clock = Clock(info)
        self._stack = ExitStack()
        self._spool: Spool | None = None

    def __enter__(self) -> Reader:
        if self._spool_path is not None:
            self._spool = Spool(self._spool_path, self._info.index)
            self._stack.callback(self._spool.close)
        self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _open(self) -> None:
        self._container = self._opened()
        video = self._container.streams[self._info.index]
        assert isinstance(video, VideoStream)
        self._video = video
        self._decoder: FrameDecoder = self._hardware.decoder(video, self._info) if self._hardware else Decoder(video)
        if self._spool is None:
            for stream in self._container.streams:
                if stream.index != self._info.index:
                    stream.discard = Discard.all

    def _opened(self) -> InputContainer:
        if self._hardware is not None:
            try:
                return self._stack.enter_context(self._hardware.open(self._source))
            except DecodeError:  # the plan is from another day, and the device is gone; or the file is, which software will say
                self._hardware = None
                self.report.hardware_lost += 1
        return self._stack.enter_context(open_input(self._source))

    def __iter__(self) -> Iterator[FrameBatch]:
        index, began = self._index, perf_counter()
        for held in self._grouped(self._frames()):
            yield self._stack_up(held, index, perf_counter() - began)
            index, began = index + len(held) * held[0].shown, perf_counter()
        if self.report.frames == 0 and self._start is None:
            raise DecodeError(f"{source_name(self._source)}: not one frame of it can be decoded")

    def _grouped(self, frames: Iterator[_Held]) -> Iterator[list[_Held]]:
        """Frames in batches, those that are shown in others than those that are not."""
        held: list[_Held] = []
        for frame in frames:
            if held and held[0].shown != frame.shown:
                yield held
                held = []
            held.append(frame)
            if len(held) == self._batch:
                yield held
                held = []
        if held:
            yield held

    def times(self) -> Iterator[FrameTime]:
        """When every frame comes, without its planes."""
        for frame in self._entered():
            pts = self._clock.tick(frame.pts, frame.dts)
            self.report.invented_pts = self._clock.invented
            yield FrameTime(pts, bool(frame.key_frame), bool(frame.interlaced_frame))

    def _stack_up(self, held: Sequence[_Held], index: int, seconds: float) -> FrameBatch:
        if len(held) == 1:  # the usual case on a CPU: no second copy
            planes = tuple(plane[None] for plane in held[0].planes)
        else:
            planes = tuple(np.stack(same) for same in zip(*(f.planes for f in held), strict=True))
        pts, durations, data = zip(*((f.pts, f.duration, f.data) for f in held), strict=True)
        shown = held[0].shown
        return FrameBatch(self._info.format, planes, pts, durations, index, {"decode": seconds}, data, shown=shown)

    def _frames(self) -> Iterator[_Held]:
        """Each frame within start and stop."""
        each, order = ticks(self._deinterlace), int(self._video.codec_context.field_order)
        for timed in deinterlaced(self._deinterlace, self._timed(), self._info, order, self._origin):
            if self._start is not None and timed.pts < self._start * each:
                continue
            if self._stop is not None and timed.pts >= self._stop * each:
                return
            shown = self._shows(timed.pts, each)
            self.report.deinterlaced_frames += timed.rebuilt and shown
            planes = read_planes(timed.frame)[: self._info.format.layout.plane_count]
            yield _Held(timed.pts, timed.duration, planes, timed.data, shown)

    def _shows(self, pts: int, each: int = 1) -> bool:
        first, after = self._shown
        return (first is None or pts >= first * each) and (after is None or pts < after * each)

    def _timed(self) -> Iterator[Timed]:
        """Every decoded frame at its time, in the film's size and layout."""
        for frame in self._entered():
            pts = self._clock.tick(frame.pts, frame.dts)
            self.report.invented_pts = self._clock.invented
            wanted = (self._start is None or pts >= self._start) and (self._stop is None or pts < self._stop) and self._shows(pts)
            self.report.frames += wanted
            data = picture_data_of(frame, self._info.rate)
            before_start = self._deinterlace == "off" and self._start is not None and pts < self._start
            yield Timed(pts, int(frame.duration or 0), frame if before_start else self._fitted(frame, wanted), data)

    def _entered(self) -> Iterator[av.VideoFrame]:
        """Decoded frames as `_entering` has them, each once, whatever becomes of the hardware on the way."""
        last: int | None = None
        try:
            for frame in self._entering():
                last = frame.pts
                yield frame
            return
        except HardwareLost:
            self._hardware = None
            self.report.hardware_lost += 1
        self._reopen()
        yield from (frame for frame in self._entering() if last is None or frame.pts is None or frame.pts > last)

    def _entering(self) -> Iterator[av.VideoFrame]:
        """Decoded frames from `enter` on; from the very beginning where a seek does not get there."""
        if self._enter is None:
            yield from self._decoded()
            return
        if self._start is None:
            with suppress(av.error.FFmpegError, OSError):
                self._container.seek(self._enter, stream=self._video, backward=True)
            yield from self._decoded()
            return
        first = None
        with suppress(av.error.FFmpegError, OSError):  # formats that cannot seek say so here
            self._container.seek(self._enter, stream=self._video, backward=True)
            frames = self._decoded()
            first = next(frames, None)
        if first is not None and first.pts is not None and first.pts < self._start:
            yield first
            yield from frames
            return
        self._reopen()
        yield from self._decoded()

    def _reopen(self) -> None:
        self._stack.close()
        self._open()

    def _decoded(self) -> Iterator[av.VideoFrame]:
        for packet in self._packets():
            try:
                yield from self._decoder.decode(packet)
            except av.error.FFmpegError as exc:
                raise DecodeError(f"{source_name(self._source)}: decoding stopped: {reason(exc)}") from exc
            self.report.corrupt_packets = self._decoder.corrupt_packets

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Packets of the film; the others go to the spool."""
        packets: Iterator[Any] = self._container.demux() if self._spool else self._container.demux(self._video)
        for packet in salvaged_packets(packets, self._video):
            if packet.stream.index == self._info.index:
                yield packet
            elif self._spool is not None:
                self._spool.keep(packet)

    def _fitted(self, frame: av.VideoFrame, wanted: bool) -> av.VideoFrame:
        format: FrameFormat = self._info.format
        if (frame.width, frame.height) != (format.width, format.height) or _layout_changed(frame, self._info):
            self.report.resized_frames += wanted
            return frame.reformat(format.width, format.height, pix_fmt_of(format.layout), interpolation="BICUBIC", threads=1)
        return frame


def _layout_changed(frame: av.VideoFrame, info: VideoInfo) -> bool:
    # yuvj420p and yuv420p may alternate in one stream (MJPEG): same planes, so no conversion
    return frame.format.name.replace("yuvj", "yuv") != info.pix_fmt.replace("yuvj", "yuv")


def trimmed(info: VideoInfo, start: float | None, duration: float | None) -> tuple[int | None, int | None]:
    """A part of the film in seconds from its own beginning, as (first pts, pts after the last); None = no bound."""
    if start is None and duration is None:
        return None, None
    first = info.start_pts + int((start or 0.0) / info.time_base)
    last = None if duration is None else first + int(duration / info.time_base)
    return (first if start is not None else None), last
