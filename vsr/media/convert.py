"""What fills an output stream: packets copied as they are, or converted to a codec that the container takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import av.error
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.subtitles.stream import SubtitleStream

from vsr.errors import EncodeError
from vsr.media.source import reason
from vsr.media.streams import add_copy, label
from vsr.plan import StreamPlan

OPUS_RATES = (8000, 12000, 16000, 24000, 48000)


@dataclass
class Copier:
    """Packets of one stream as they are: same bytes, same time; decode times made to increase where damage broke them."""

    target: Stream
    last_dts: int | None = None
    repaired: int = 0

    def packets(self, packet: Packet[Stream]) -> Iterable[Packet[Stream]]:
        if is_gap(packet, self.target):
            return ()
        if packet.dts is None:
            packet.dts = packet.pts if packet.pts is not None else 0
        if packet.pts is None:
            packet.pts = packet.dts
        if self.last_dts is not None and packet.dts <= self.last_dts and self.target.type != "subtitle":
            self.repaired += 1
            packet.dts = self.last_dts + 1
            packet.pts = max(packet.pts, packet.dts)
        self.last_dts = packet.dts
        packet.stream = self.target
        return (packet,)

    def flush(self) -> Iterable[Packet[Stream]]:
        return ()


def is_gap(packet: Packet[Stream], stream: Stream) -> bool:
    """An empty mov_text sample, which stands for "no words now": the mov muxer writes its own wherever a line ends."""
    context = stream.codec_context
    return context is not None and context.name == "mov_text" and packet.size == 2 and bytes(packet) == b"\0\0"


class AudioConverter:
    """Decodes one audio stream and encodes it with a codec that the container takes; time and channel layout stay."""

    def __init__(self, out: OutputContainer, stream: AudioStream, codec: str) -> None:
        self._source = stream
        rate = stream.codec_context.sample_rate
        if codec == "libopus" and rate not in (8000, 12000, 16000, 24000, 48000):
            rate = 48000
        target = out.add_stream(codec, rate=rate)
        assert isinstance(target, AudioStream)
        context = target.codec_context
        context.layout = stream.codec_context.layout
        if codec in ("aac", "libopus"):
            context.bit_rate = 96_000 * max(1, context.layout.nb_channels)
        context.time_base = Fraction(1, rate)
        label(target, stream)
        self.target = target

    def packets(self, packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        try:
            frames = self._source.codec_context.decode(packet)
        except av.error.InvalidDataError:
            return
        for frame in frames:
            yield from self._encode(frame)

    def flush(self) -> Iterator[Packet[Stream]]:
        yield from self._encode(None)

    def _encode(self, frame: av.AudioFrame | None) -> list[Packet[Stream]]:
        try:
            return list(self.target.encode(frame))
        except (av.error.FFmpegError, ValueError) as exc:
            raise EncodeError(
                f"audio stream {self._source.index} cannot be converted to {self.target.codec_context.name}: {reason(exc)}"
            ) from exc


class SubtitleConverter:
    """Decodes text subtitles and encodes them in the container's own text format; timing stays, fine styling does not."""

    def __init__(self, out: OutputContainer, stream: SubtitleStream, codec: str) -> None:
        self._source = stream
        target = out.add_stream(codec)
        assert isinstance(target, SubtitleStream)
        stream.codec_context.open(strict=False)  # only an open decoder knows its header
        header = stream.codec_context.subtitle_header
        target.codec_context.subtitle_header = header or _ASS_HEADER
        target.codec_context.time_base = Fraction(1, 1000)
        label(target, stream)
        self.target = target

    def packets(self, packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        if packet.size == 0:
            return
        try:
            subtitle = self._source.codec_context.decode2(packet)
        except av.error.InvalidDataError:
            return
        if subtitle is None:
            return
        made = self.target.codec_context.encode_subtitle(subtitle)
        made.pts = made.dts = packet.pts
        made.duration = packet.duration
        made.time_base = packet.time_base
        made.stream = self.target
        yield made

    def flush(self) -> Iterable[Packet[Stream]]:
        return ()


_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, \
ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""

Carrier = Copier | AudioConverter | SubtitleConverter


def add_stream(out: OutputContainer, stream: Stream, plan: StreamPlan) -> Carrier:
    """The output stream for `plan`, and what fills it."""
    if plan.action == "convert" and isinstance(stream, AudioStream):
        return AudioConverter(out, stream, plan.codec)
    if plan.action == "convert" and isinstance(stream, SubtitleStream):
        return SubtitleConverter(out, stream, plan.codec)
    return Copier(add_copy(out, stream))
