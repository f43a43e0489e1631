"""Packets of the film in, frames out: damage costs as few frames as it must, and alpha is decoded where it is hidden."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import av
import av.error
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

# FFmpeg's own VP8 and VP9 decoders drop the alpha that Matroska keeps beside the picture; libvpx reads it.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_TAIL_PACKETS = 1000  # what is kept at most: enough for every usual group of pictures, and bounded
_IN_FLIGHT = 17  # what is kept at least: FFmpeg starts up to 16 frame threads by itself


@dataclass
class _Group:
    """Packets from one key frame to the next; `refused`: how many had been refused before."""

    refused: int
    packets: list[Packet[VideoStream]] = field(default_factory=list)


class Decoder:
    """Decodes one video stream. `corrupt_packets` counts what the decoder refused.

    With frame threads an error near the end of a file makes the decoder drop good frames that it had finished: so the last
    groups of pictures are kept, and where frames are missing at the end, they are decoded once more by a single thread.
    """

    def __init__(self, video: VideoStream) -> None:
        self.corrupt_packets = 0
        self._context = alpha_context(video) or video.codec_context
        if self._context is video.codec_context:
            video.thread_type = "AUTO"
        self._name = self._context.name
        self._video = video
        self._tail: deque[_Group] = deque()
        self._sent = self._received = 0
        self._last_pts: int | None = None

    def decode(self, packet: Packet[VideoStream]) -> Iterator[av.VideoFrame]:
        """Frames that are complete with this packet; an empty packet ends the stream."""
        if packet.size == 0:
            yield from self._counted(self._attempt(self._context, None))
            yield from self._again()
            return
        self._keep(packet)
        self._sent += not packet.is_discard
        yield from self._counted(self._attempt(self._context, packet))

    def _keep(self, packet: Packet[VideoStream]) -> None:
        if packet.is_keyframe or not self._tail:
            self._tail.append(_Group(self.corrupt_packets))
            while sum(len(group.packets) for group in islice(self._tail, 1, None)) >= _IN_FLIGHT:
                self._tail.popleft()
        if len(self._tail[-1].packets) < _TAIL_PACKETS:
            self._tail[-1].packets.append(packet)

    def _attempt(self, context: VideoCodecContext, packet: Packet[VideoStream] | None) -> list[av.VideoFrame]:
        try:
            return context.decode(packet)
        except EOFError:
            pass  # drained already
        except (av.error.MemoryError, av.error.NotImplementedError):
            raise
        except av.error.FFmpegError:  # mostly invalid data; libraries behind FFmpeg (zlib, dav1d) have errors of their own
            self.corrupt_packets += 1
        return []

    def _counted(self, frames: list[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        for frame in frames:
            self._received += 1
            if frame.pts is not None:
                self._last_pts = frame.pts
            yield frame

    def _again(self) -> Iterator[av.VideoFrame]:
        """The tail once more, where the threads lost some of it."""
        if self._received >= self._sent or self._last_pts is None or len(self._tail[-1].packets) == _TAIL_PACKETS:
            return
        context = self._twin()
        last, noticed = self._last_pts, self.corrupt_packets
        self.corrupt_packets = self._tail[0].refused
        for packet in [*(packet for group in self._tail for packet in group.packets), None]:
            for frame in self._attempt(context, packet):
                if frame.pts is not None and frame.pts > last:
                    yield from self._counted([frame])
        self.corrupt_packets = max(noticed, self.corrupt_packets)

    def _twin(self) -> VideoCodecContext:
        """A decoder of the same kind without threads; FFV1, HuffYUV and the like want to be told what the container says."""
        known, twin = self._video.codec_context, CodecContext.create(self._name, "r")
        assert isinstance(twin, VideoCodecContext)
        twin.extradata, twin.codec_tag = known.extradata, known.codec_tag
        twin.width, twin.height = known.width, known.height
        if known.pix_fmt is not None:
            twin.pix_fmt = known.pix_fmt
        twin.thread_count = 1
        return twin


def alpha_context(video: VideoStream) -> VideoCodecContext | None:
    """A decoder that sees the alpha channel of a WebM film; None where there is none to see."""
    name = _ALPHA_DECODERS.get(video.codec_context.name)
    if name is None or all(video.metadata.get(key) != "1" for key in ("alpha_mode", "ALPHA_MODE")):  # FFmpeg writes either
        return None
    context, known = CodecContext.create(name, "r"), video.codec_context
    assert isinstance(context, VideoCodecContext)
    context.color_primaries, context.color_trc = known.color_primaries, known.color_trc  # the container's: VP9 itself has none
    return context


def flush_packet(video: VideoStream) -> Packet[VideoStream]:
    """What a demuxer gives at the end of a stream."""
    packet: Any = Packet()
    packet.stream = video
    return packet  # type: ignore[no-any-return]


def salvaged_packets(packets: Iterator[Any], video: VideoStream) -> Iterator[Any]:
    """Packets up to the end, or up to where reading breaks off, which ends the film like a cut file does: flushed either way."""
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            yield flush_packet(video)
            return
        yield packet
