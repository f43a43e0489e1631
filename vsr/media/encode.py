"""The Writer: one encoder session, planes in, a file with nothing but the film in it out.

A segment file keeps the order of frames and the encoder's bits, not time: its clock counts frames (one millisecond each), and
the exact pts of every frame stay with the journal until `join` writes them into the final container. So any container will do
for a segment, whatever the source's clock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

import av
import av.error
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vsr.errors import EncodeError
from vsr.frames import FrameBatch, FrameFormat, PictureData
from vsr.journal import fsync, unfinished
from vsr.media.pixels import make_frame, tag_colors
from vsr.media.sei import CARRIED, embed
from vsr.media.siting import is_sited
from vsr.media.source import OPEN_OPTIONS, reason
from vsr.plan import Encoding, Plan

SEGMENT_CLOCK = Fraction(1, 1000)
Y4M = "yuv4mpegpipe"  # FFmpeg's name for frames and nothing else
_MAX_RATE_HINT = 240  # SVT-AV1 refuses more; the rate is only a hint for rate control


class Writer:
    """Encodes frames into a segment file, written under another name, fsynced and renamed when the `with` ends well.

    `last_duration` and `reorder_depth` (frames by which decode order runs ahead) complete what `join` needs to know.
    Time reaches the encoder exactly (`time_base`, pts from the segment's first frame), so that its rate control sees the real
    cadence. `pts` lists the timestamps written, in display order. Raises EncodeError, naming the file, for a full disk or an
    encoder that fails; then nothing is left under either name.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path = path
        self.pts: list[int] = []
        self.last_duration = 0
        self.reorder_depth = 0
        self.seconds = 0.0
        self._part = unfinished(path)
        self._plan = plan
        self._rank: dict[int, int] = {}
        self._data: dict[int, PictureData | None] = {}
        self._packets = 0

    def __enter__(self) -> Writer:
        plan = self._plan
        try:
            muxer = segment_muxer(plan.encoding)
            self._container: OutputContainer = av.open(f"file:{self._part}", "w", format=muxer, **OPEN_OPTIONS)
            self._stream = add_encoder(self._container, plan)
            self._stream.time_base = SEGMENT_CLOCK
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            raise EncodeError(f"{plan.output}: cannot be written: {reason(exc)}") from exc
        return self

    def write(self, batch: FrameBatch) -> None:
        """Encodes a batch; its pts must follow those before."""
        began = perf_counter()
        for i, pts in enumerate(batch.pts):
            frame = make_frame(batch.format, [plane[i] for plane in batch.planes])
            first = self.pts[0] if self.pts else pts
            frame.pts, frame.time_base = pts - first, self._plan.time_base
            self._rank[pts - first] = len(self.pts)
            if (data := batch.data[i]) is not None:
                self._data[len(self.pts)] = data
            self.pts.append(pts)
            self.last_duration = batch.duration[i]
            self._mux(self._encode(frame))
        self.seconds += perf_counter() - began

    def _encode(self, frame: av.VideoFrame | None) -> list[Packet[VideoStream]]:
        try:
            return self._stream.encode(frame)
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            raise EncodeError(f"{self._plan.output}: the encoder {self._plan.encoding.encoder} failed: {reason(exc)}") from exc

    def _mux(self, packets: Iterable[Packet[VideoStream]]) -> None:
        for packet in packets:
            rank = self._rank.pop(packet.pts) if packet.pts in self._rank else None
            if rank is None:
                raise EncodeError(
                    f"{self._plan.output}: {self._plan.encoding.encoder} returned a frame with a time that it was not given"
                )
            packet = with_data(packet, self._plan.encoding.codec, self._data.pop(rank, None))
            packet.time_base = SEGMENT_CLOCK
            self.reorder_depth = max(self.reorder_depth, self._packets - rank)
            # Matroska stores no dts; decode order and rank are all that join needs
            packet.pts, packet.dts, packet.duration = rank, self._packets - _DTS_LEAD, 1
            self._packets += 1
            try:
                self._container.mux_one(packet)
            except (av.error.FFmpegError, OSError) as exc:
                raise EncodeError(f"{self._plan.output}: cannot be written: {reason(exc)}") from exc

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            self._close_quietly()
            self._part.unlink(missing_ok=True)

    def _finish(self) -> None:
        began = perf_counter()
        if self.pts:
            self._mux(self._encode(None))
        if self._packets != len(self.pts):
            raise EncodeError(
                f"{self._plan.output}: {self._plan.encoding.encoder} returned {self._packets} of {len(self.pts)} frames"
            )
        try:
            self._container.close()
            fsync(self._part)
            self._part.replace(self.path)
            fsync(self.path.parent)
        except (av.error.FFmpegError, OSError) as exc:
            raise EncodeError(f"{self._plan.output}: cannot be written: {reason(exc)}") from exc
        self.seconds += perf_counter() - began

    def _close_quietly(self) -> None:
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError):
            return  # the error that matters is already on its way


def add_encoder(container: OutputContainer, plan: Plan) -> VideoStream:
    """A video stream of `container` with the plan's encoder, told everything about the frames that will come."""
    stream = container.add_stream(plan.encoding.encoder, rate=rate_hint(plan.rate))
    assert isinstance(stream, VideoStream)
    # y4m writes the clock as its frame rate
    clock = 1 / rate_hint(plan.rate) if plan.container == Y4M else plan.time_base
    configure(stream.codec_context, plan.encoding, plan.target, clock, plan.rate, plan.info.sar)
    return stream


def configure(
    context: VideoCodecContext, encoding: Encoding, format: FrameFormat, time_base: Fraction, rate: Fraction | None, sar: Fraction
) -> None:
    """Tells an encoder all that it must know before it is opened."""
    if encoding.encoder == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes to stderr by itself
    context.width, context.height = format.width, format.height
    context.pix_fmt = encoding.pix_fmt
    context.time_base, context.framerate = time_base, rate_hint(rate)
    context.sample_aspect_ratio = sar
    context.thread_count = encoding.threads
    tag = {"chroma_sample_location": str(format.color.siting)} if is_sited(format.layout) else {}
    context.options = tag | encoding.options  # the user's come last and win
    tag_colors(context, format)


def live_packets(
    stream: VideoStream, batches: Iterable[FrameBatch], time_base: Fraction, shift: int | None, plan: Plan
) -> Iterator[Packet[VideoStream]]:
    """Encodes batches as they come, for a container that is written at once.

    Frames get their pts less `shift`, in ticks of `time_base`; with None they are numbered.
    """
    number = 0
    beside: dict[int, PictureData | None] = {}
    codec = plan.encoding.codec
    try:
        for batch in batches:
            for i, pts in enumerate(batch.pts):
                frame = make_frame(batch.format, [plane[i] for plane in batch.planes])
                frame.pts, frame.time_base = number if shift is None else pts - shift, time_base
                beside[frame.pts] = batch.data[i]
                number += 1
                yield from (with_data(p, codec, beside.pop(p.pts or 0, None)) for p in stream.encode(frame))
        yield from (with_data(p, codec, beside.pop(p.pts or 0, None)) for p in stream.encode(None))
    except (av.error.FFmpegError, ValueError) as exc:
        raise EncodeError(f"{plan.output}: the encoder {stream.codec_context.name} failed: {reason(exc)}") from exc


def with_data(packet: Packet[VideoStream], codec: str, data: PictureData | None) -> Packet[VideoStream]:
    """The packet with captions and the like in its bitstream, where the codec has a place for them."""
    if data is None or codec not in CARRIED:
        return packet
    fuller: Packet[Any] = Packet(embed(codec, bytes(packet), data))
    fuller.pts, fuller.dts, fuller.time_base, fuller.duration = packet.pts, packet.dts, packet.time_base, packet.duration
    fuller.is_keyframe = packet.is_keyframe
    fuller.stream = packet.stream
    return fuller


_DTS_LEAD = 64  # more than any encoder's reorder depth: dts stays below pts


def segment_muxer(encoding: Encoding) -> str:
    """ProRes keeps its profile only in mov's code; Matroska holds everything else, VP9's alpha included."""
    return "mov" if encoding.codec == "prores" else "matroska"


def rate_hint(rate: Fraction | None) -> Fraction:
    """A nominal rate that every encoder accepts; only rate control looks at it."""
    if rate is None or not 0 < rate <= _MAX_RATE_HINT:
        return Fraction(25)
    return rate.limit_denominator(1001)
