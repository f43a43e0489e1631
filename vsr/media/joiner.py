"""One output container while it is written: the film's packets, and every other stream's interleaved with them by time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from vsr.media.beginnings import cover_pictures, first_times
from vsr.media.codecs import CODECS, ISO_MUXERS
from vsr.media.convert import Carrier, Copier, add_stream
from vsr.media.encode import Y4M, rate_hint
from vsr.media.framefiles import IMAGES
from vsr.media.source import Pipe, exact, exact_or
from vsr.media.spool import read_spool
from vsr.media.streams import attach, is_picture, kept_global_tags, label
from vsr.plan import Plan

PRIMING_SECONDS = Fraction(1, 10)
REORDER_SECONDS = 3  # subtitle events may stand in the file before earlier ones; muxers want them in order


@dataclass(frozen=True)
class Routed:
    """Packets on their way: when they are due (seconds), what gives them, whether they are an event that may be out of order."""

    when: Fraction
    packets: Callable[[], Iterable[Packet[Stream]]]
    event: bool = False


@dataclass
class JoinReport:
    """What was written, and what had to be repaired on the way."""

    frames: int = 0
    notes: list[str] = field(default_factory=list)


class Joiner:
    """One output container: the film, and the source's other streams beside it, interleaved by time.

    `open` lays out the streams in the source's order, `write` takes the film's packets (pts in the film's clock, less `zero`).
    """

    def __init__(
        self,
        plan: Plan,
        source: str | Pipe,
        others: InputContainer | None,
        out: OutputContainer,
        zero: Fraction,
        spool: Path | None,
    ) -> None:
        self.plan, self.source, self.others, self.out, self.zero = plan, source, others, out, zero
        self.report = JoinReport()
        self._end = None if plan.stop is None else plan.stop * plan.info.time_base
        self._carriers: dict[int, Carrier] = {}
        self._spool = spool
        self._waiting: Routed | None = None
        self._growing = True  # more may come into the spool as long as the film goes on

    def open(self, add_film: Callable[[], VideoStream]) -> None:
        """Adds every stream, tags and chapters."""
        self._others: Iterator[Routed | None] = iter(())
        if self.others is None:
            self._add_film(add_film(), None)
            return
        self._add_streams(self.others, add_film)
        self.out.metadata.update(kept_global_tags(self.others.metadata))
        first = self.plan.info.timecode
        if first and self.plan.start is None and not any(key.lower() == "timecode" for key in self.out.metadata):
            self.out.metadata["timecode"] = first  # mov and mp4 make a timecode track of it
        self.out.set_chapters(self._chapters(self.others))
        self._others = in_order(self._inside(self._other_packets(self.others)))

    def write(self, film: Iterable[Packet[VideoStream]]) -> None:
        """Writes the whole film, each other packet at its time."""
        for packet in film:
            assert packet.dts is not None
            self._write_others(packet.dts * exact(packet.time_base))
            packet.stream = self.film
            self.out.mux_one(packet)
            self.report.frames += 1
        self._growing = False
        self._write_others(None)
        for carrier in self._carriers.values():
            self.out.mux(list(carrier.flush()))
        self.report.notes = [note for i, c in self._carriers.items() for note in _notes(i, c)]

    def _write_others(self, until: Fraction | None) -> None:
        while True:
            if self._waiting is None:
                self._waiting = next(self._others, None)
            if self._waiting is None or (until is not None and self._waiting.when > until):
                return
            self.out.mux(list(self._waiting.packets()))
            self._waiting = None

    # --- streams -------------------------------------------------------------------------------------------------------

    def _add_streams(self, others: InputContainer, add_film: Callable[[], VideoStream]) -> None:
        plans = {p.index: p for p in self.plan.streams}
        pictures = cover_pictures(
            self.source, [i for i, p in plans.items() if p.action == "attach" and others.streams[i].type == "video"]
        )
        for stream in others.streams:  # in the source's order: players pick tracks by number
            if stream.index == self.plan.info.index:
                self._add_film(add_film(), stream)
            elif (plan := plans.get(stream.index)) is None or plan.action == "drop":
                stream.discard = Discard.all
            elif plan.action == "attach":
                attach(self.out, stream, pictures.get(stream.index))
            else:
                self._carriers[stream.index] = add_stream(self.out, stream, plan)

    def _add_film(self, film: VideoStream, source: Stream | None) -> None:
        plan = self.plan
        film.time_base = plan.time_base if plan.container != Y4M else 1 / rate_hint(plan.rate)
        film.codec_context.framerate = rate_hint(plan.rate)
        film.codec_context.sample_aspect_ratio = plan.info.sar
        tag = CODECS[plan.encoding.codec].tag if plan.encoding.codec in CODECS else ""
        if tag and plan.container in ISO_MUXERS:
            film.codec_context.codec_tag = tag
        if plan.info.display_matrix is not None:
            film.set_display_matrix(plan.info.display_matrix)
        if source is not None:
            label(film, source)
            source.discard = Discard.all
        for key in ("alpha_mode", "ALPHA_MODE"):
            film.metadata.pop(key, None)
        if plan.encoding.codec == "vp9" and plan.target.layout.alpha:
            film.metadata["alpha_mode"] = "1"  # makes the muxer say that there is alpha beside the picture
        self.film = film

    def _chapters(self, others: InputContainer) -> list[av.container.core.Chapter]:
        kept = []
        for chapter in others.chapters():
            base = exact_or(chapter["time_base"], Fraction(1, av.time_base))
            start, stop = chapter["start"] * base - self.zero, chapter["end"] * base - self.zero
            if (stop <= 0 and start < 0) or (self._end is not None and start >= self._end - self.zero):
                continue
            chapter["start"], chapter["end"] = max(0, round(start / base)), round(stop / base)
            kept.append(chapter)
        return kept

    # --- packets -------------------------------------------------------------------------------------------------------

    def _other_packets(self, others: InputContainer) -> Iterator[Routed | None]:
        """(seconds, writer) for each packet of the other streams; None: nothing more yet from a spool that is still growing."""
        if not self._carriers:
            return
        for item in read_spool(self._spool, lambda: self._growing) if self._spool else self._demuxed(others):
            if item is None:
                yield None
                continue
            index, packet = item
            carrier = self._carriers.get(index)
            if carrier is None or packet.size == 0:
                continue
            if self._cut_off(packet, others.streams[index]):
                continue
            yield self._route(packet, carrier)

    def _cut_off(self, packet: Packet[Stream], stream: Stream) -> bool:
        """Was it cut off by an edit list, which only mp4 and mov have? Elsewhere it would be heard again.

        The last tenth of a second before the cut stays: codecs need it to begin (AAC 23 to 48 ms, Opus 80 ms). FFmpeg 9 knows the
        whole cut as the codec's delay, which Matroska hands on to players: there everything stays.
        """
        if not packet.is_discard or self.plan.container in ISO_MUXERS or packet.pts is None:
            return False
        padding = getattr(stream.codec_context, "initial_padding", 0) if self.plan.container in ("matroska", "webm") else 0
        kept = max(PRIMING_SECONDS, Fraction(padding, getattr(stream.codec_context, "sample_rate", 0) or 1))
        return packet.pts * exact(packet.time_base) < -kept

    def _route(self, packet: Packet[Stream], carrier: Carrier) -> Routed:
        """The packet moved to the film's time zero; pictures have no time to move."""
        base = exact(packet.time_base)
        when = packet.dts if packet.dts is not None else packet.pts
        if is_picture(carrier.target):
            packet.pts = packet.dts = 0
            return Routed(Fraction(0), partial(carrier.packets, packet))
        shift = round(self.zero / base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        return Routed((when or 0) * base - self.zero, partial(carrier.packets, packet), carrier.target.type == "subtitle")

    def _inside(self, routed: Iterator[Routed | None]) -> Iterator[Routed | None]:
        """What lies within the part that was asked for. (A whole film: everything.)"""
        first = None if self.plan.start is None else Fraction(0)
        last = None if self._end is None else self._end - self.zero
        for item in routed:
            if item is None or ((first is None or item.when >= first) and (last is None or item.when < last)):
                yield item

    def _demuxed(self, others: InputContainer) -> Iterator[tuple[int, Packet[Stream]]]:
        packets = others.demux([others.streams[i] for i in self._carriers])
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.FFmpegError):  # a damaged tail ends the copy where every reader would stop
                return
            yield packet.stream.index, packet


def in_order(routed: Iterator[Routed | None]) -> Iterator[Routed | None]:
    """Sorts events by time that stand within a few seconds of their place; what comes later than that passes as it is.

    Sound and pictures pass untouched: they are in decode order already, and their times may be set back (joined recordings).
    """
    events: list[tuple[Fraction, int, Routed]] = []
    latest: Fraction | None = None
    for number, item in enumerate(routed):
        if item is None:
            yield None
            continue
        if item.event:
            heapq.heappush(events, (item.when, number, item))
        set_back = not item.event and latest is not None and latest - item.when > REORDER_SECONDS
        while events and (set_back or item.when - events[0][0] > REORDER_SECONDS):
            yield heapq.heappop(events)[2]
        if not item.event:
            latest = item.when
            yield item
    while events:
        yield heapq.heappop(events)[2]


def _notes(index: int, carrier: Carrier) -> Iterator[str]:
    """What had to be done to a stream, for the report."""
    if isinstance(carrier, Copier):
        if carrier.repaired:
            yield f"stream {index}: {carrier.repaired} damaged timestamps were mended"
        if carrier.jumps:
            yield f"stream {index}: its clock was set back {carrier.jumps} times; the parts follow each other now"
    elif carrier.damaged:
        yield f"stream {index}: {carrier.damaged} packets could not be converted and are left out"


def lowest_zero(plan: Plan, source: str | Pipe, zero: Fraction) -> Fraction:
    """`zero`, or less where a stream begins before it and the container knows no negative time.

    Muxers would move the packets by themselves, but not the chapters.
    """
    if plan.container in (*ISO_MUXERS, Y4M) or plan.start is not None or plan.info.container == IMAGES:
        return zero
    kinds = {s.index: s.type for s in plan.info.streams if not s.cover}
    copied = [p.index for p in plan.streams if p.action == "copy" and kinds.get(p.index) in ("audio", "video")]
    lowest = min((zero, *(max(time, zero - PRIMING_SECONDS) for time in first_times(source, copied))))
    base = plan.info.time_base
    return zero - math.ceil((zero - lowest) / base) * base  # whole ticks of the film: it and its companions move alike
