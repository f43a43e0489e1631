"""What fills an output stream: packets copied as they are, or converted to a codec that the container takes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import Any

import av
import av.error
from av.audio.codeccontext import AudioCodecContext
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream

from vsr.errors import EncodeError
from vsr.media.payload import without_pes_data_header
from vsr.media.source import OPEN_OPTIONS, exact, reason
from vsr.media.streams import add_copy, label
from vsr.plan import StreamPlan

JUMP_SECONDS = Fraction(1)  # a clock that falls back by more has been set anew; by less, a packet is damaged
_REHEARSED_PACKETS = 12
_DEFAULT_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@dataclass
class Copier:
    """Packets of one stream as they are: same bytes, same time.

    What a muxer refuses is mended, in decode times only where that is enough: missing ones are filled in, and those that do not
    increase are raised (`repaired` counts them). Where the clock was set back in the middle (joined recordings) the rest goes on
    where the part before ended.
    """

    target: Stream
    base: Fraction
    repaired: int = 0
    jumps: int = 0
    _last_dts: int | None = None
    _step: int = 1
    _offset: int = 0
    _held: list[Packet[Stream]] = field(default_factory=list)

    def packets(self, packet: Packet[Stream]) -> Iterable[Packet[Stream]]:
        if is_gap(packet, self.target):
            return ()
        packet = _plain(packet, self.target)
        if packet.dts is None and packet.pts is not None and self.target.type == "video" and self._last_dts is None:
            self._held.append(packet)  # Matroska tells decode times of B-frame streams only after the first few
            return ()
        if packet.dts is None and packet.pts is None:
            packet.dts = packet.pts = 0 if self._last_dts is None else self._last_dts + self._step
        return [self._mended(p) for p in (*self._released(packet), packet)]

    def flush(self) -> Iterable[Packet[Stream]]:
        return [self._mended(packet) for packet in self._released(None)]

    def _released(self, known: Packet[Stream] | None) -> list[Packet[Stream]]:
        """Packets that waited for the first decode time, with theirs counted back from it."""
        held, self._held = self._held, []
        for back, packet in enumerate(reversed(held), 1):
            step = packet.duration or 1
            after = known.dts if known is not None and known.dts is not None else packet.pts
            packet.dts = None if after is None else after - back * step
        return held

    def _mended(self, packet: Packet[Stream]) -> Packet[Stream]:
        dts = packet.dts if packet.dts is not None else packet.pts
        assert dts is not None
        pts = dts if packet.pts is None else packet.pts
        dts, pts = dts + self._offset, pts + self._offset
        last = self._last_dts
        if last is not None and dts <= last:
            if last - dts > JUMP_SECONDS / self.base:
                self.jumps += 1
                shift = last + self._step - dts
                self._offset, dts, pts = self._offset + shift, dts + shift, pts + shift
            elif self.target.type != "subtitle" or dts < last:
                self.repaired += 1
                dts = last + (self.target.type != "subtitle")
                pts = max(pts, dts)
        packet.dts, packet.pts = dts, max(pts, dts)
        self._last_dts, self._step = dts, packet.duration or self._step
        packet.stream = self.target
        return packet


def _plain(packet: Packet[Stream], stream: Stream) -> Packet[Stream]:
    """A DVB subtitle as containers want it: the transport stream's muxer adds what its demuxer left on the first packet."""
    context = stream.codec_context
    if context is None or context.name != "dvbsub" or (content := without_pes_data_header(bytes(packet))) == bytes(packet):
        return packet
    plain: Packet[Any] = Packet(content)
    plain.pts, plain.dts, plain.time_base, plain.duration = packet.pts, packet.dts, packet.time_base, packet.duration
    plain.is_keyframe, plain.stream = packet.is_keyframe, packet.stream
    return plain


def is_gap(packet: Packet[Stream], stream: Stream) -> bool:
    """An empty mov_text sample, which stands for "no words now": the mov muxer writes its own wherever a line ends."""
    context = stream.codec_context
    return context is not None and context.name == "mov_text" and packet.size == 2 and bytes(packet) == b"\0\0"


class AudioConverter:
    """Decodes one audio stream and encodes it with a codec that the container takes; time and channels stay."""

    def __init__(self, out: OutputContainer, stream: AudioStream, codec: str) -> None:
        self.damaged = 0
        context = stream.codec_context
        target = out.add_stream(codec, rate=_rate(codec, context.sample_rate))
        assert isinstance(target, AudioStream)
        assert isinstance(target.codec_context, AudioCodecContext)
        layout = _layout(codec, context.layout)
        target.codec_context.layout = layout
        if codec in ("aac", "libopus"):
            target.codec_context.bit_rate = 96_000 * max(1, layout.nb_channels)
        target.codec_context.time_base = Fraction(1, target.codec_context.sample_rate)
        label(target, stream)
        self._source, self.target = stream, target
        self._end: tuple[Fraction, Fraction] | None = None  # where the last frame ended, in seconds; its time base

    def packets(self, packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        yield from self._convert(packet)

    def flush(self) -> Iterator[Packet[Stream]]:
        yield from self._convert(None)  # codecs with delay hold their last frames back
        yield from self._encode(None)

    def _convert(self, packet: Packet[Stream] | None) -> Iterator[Packet[Stream]]:
        try:
            frames = self._source.codec_context.decode(packet)
        except (av.error.FFmpegError, EOFError):
            self.damaged += packet is not None
            return
        for frame in frames:
            self._keep_time(frame)
            yield from self._encode(frame)

    def _keep_time(self, frame: av.AudioFrame) -> None:
        """A frame that a decoder held back to the end (WMA's do) has no time of its own: it follows the last one."""
        if frame.pts is None and self._end is not None:
            frame.pts, frame.time_base = round(self._end[0] / self._end[1]), self._end[1]
        if frame.pts is not None and frame.time_base:
            base = exact(frame.time_base)
            self._end = (frame.pts * base + Fraction(frame.samples, frame.sample_rate), base)

    def _encode(self, frame: av.AudioFrame | None) -> list[Packet[Stream]]:
        try:
            return list(self.target.encode(frame))
        except (av.error.FFmpegError, ValueError) as exc:
            name = self.target.codec_context.name
            raise EncodeError(f"audio stream {self._source.index} cannot be converted to {name}: {reason(exc)}") from exc


def _rate(codec: str, rate: int) -> int:
    """The encoder's own sample rate nearest to the source's, rather higher than lower."""
    rates = av.Codec(codec, "w").audio_rates
    return min(rates, key=lambda r: (r < rate, abs(r - rate))) if rates and rate not in rates else rate


def _layout(codec: str, layout: AudioLayout) -> AudioLayout:
    unnamed = "channels" in layout.name
    sided = codec == "libopus" and layout.name.endswith("(side)")
    return AudioLayout(_DEFAULT_LAYOUTS.get(layout.nb_channels, "stereo")) if unnamed or sided else layout


class SubtitleConverter:
    """Decodes text subtitles and encodes them in the container's own text format; timing stays, fine styling does not."""

    def __init__(self, out: OutputContainer, stream: SubtitleStream, codec: str) -> None:
        self.damaged = 0
        self._source = stream
        self._last: Fraction | None = None
        assert isinstance(stream.codec_context, SubtitleCodecContext)
        stream.codec_context.open(strict=False)  # only an open decoder knows its header
        target = out.add_stream(codec)
        assert isinstance(target, SubtitleStream)
        target.codec_context.subtitle_header = stream.codec_context.subtitle_header or _ASS_HEADER
        target.codec_context.time_base = Fraction(1, 1000)
        label(target, stream)
        self.target = target

    def packets(self, packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        if packet.size == 0 or packet.pts is None:
            return
        at = packet.pts * exact(packet.time_base)
        try:
            subtitle = self._source.codec_context.decode2(packet)
            made = None if subtitle is None else self.target.codec_context.encode_subtitle(subtitle)
        except (av.error.FFmpegError, ValueError):
            self.damaged += 1
            return
        if is_gap(packet, self._source):
            return
        if made is None or made.size == 0 or (self._last is not None and at < self._last):
            self.damaged += 1
            return
        self._last = at
        made.pts = made.dts = packet.pts
        made.duration, made.time_base, made.stream = packet.duration, packet.time_base, self.target
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
    assert stream.time_base is not None
    return Copier(add_copy(out, stream), exact(stream.time_base))


def rehearse(container: InputContainer, plan: StreamPlan, muxer: str) -> bool:
    """Does a conversion work? Tried on the stream's first packets: a failure must not wait for the end of the film."""
    stream = container.streams[plan.index]
    try:
        with av.open(io.BytesIO(), "w", format=muxer, **OPEN_OPTIONS) as scratch:
            carrier = add_stream(scratch, stream, plan)
            for packet in islice(container.demux(stream), _REHEARSED_PACKETS):
                if packet.size:
                    scratch.mux(list(carrier.packets(packet)))
            scratch.mux(list(carrier.flush()))
    except (av.error.FFmpegError, EncodeError, ValueError, OSError):
        return False
    return True
