"""Everything that is in a file but the pixels, read once from end to end: what `verify` compares."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Stream
from av.video.stream import VideoStream

from vsr.frames import StreamInfo, VideoInfo
from vsr.media.audible import begins
from vsr.media.convert import is_gap
from vsr.media.payload import Unwrap, unwrapper
from vsr.media.picture_data import side_data
from vsr.media.probe import stream_info
from vsr.media.source import open_input
from vsr.media.spool import read_spool

# CEA-608/708 captions (ATSC A/53 part 4): in an SEI or OBU of registered user data, in MPEG-2's user data
_CAPTIONS = (b"\xb5\x00\x31GA94\x03", b"\x00\x00\x01\xb2GA94\x03")
_SILENT_PACKETS = 20  # a stream whose first 20 packets give no sound is not waited for


@dataclass
class Track:
    """One stream: `times` (pts in ticks) and `hashes` of its packets in the file's order, 8 bytes each.

    `last_duration` is that of the packet with the latest pts, in ticks (0 = unknown); `disordered` counts decode times that do
    not increase, which every muxer has to mend; `cut_off` counts the first packets that an edit list hides. `heard` is the pts of
    the first sound or line that decodes, which may lie packets later (WMA) or within one (priming); `unread` counts events of
    text subtitles that do not.
    """

    info: StreamInfo
    title: str
    disposition: int
    tick: Fraction
    codec_rate: int = 0  # samples per second of audio
    size: int = 0
    times: array[int] = field(default_factory=lambda: array("q"))
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    last_duration: int = 0
    disordered: int = 0
    cut_off: int = 0
    heard: int | None = None
    unread: int = 0
    latest: int = 0
    last_dts: int | None = None
    whole: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16), compare=False)

    @property
    def name(self) -> str:
        return f"{self.info.type} stream {self.info.index}"

    @property
    def digest(self) -> str:
        """Of all bytes together, however they are cut into packets."""
        return str(self.whole.hexdigest())

    @property
    def first(self) -> Fraction | None:
        """When it begins, in seconds: with the first sound that is heard, else with the first packet."""
        begin = min(self.times, default=None) if self.heard is None else self.heard
        return None if begin is None else begin * self.tick

    @property
    def seconds(self) -> Fraction:
        """From where it begins to the end of its last packet."""
        first = self.first
        return Fraction(0) if first is None or not self.times else (max(self.times) + self.last_duration) * self.tick - first


@dataclass(frozen=True)
class Chapter:
    """Start and end in seconds."""

    start: Fraction
    end: Fraction
    title: str


@dataclass(frozen=True)
class Survey:
    """A file without its pixels.

    `film.times` are the frames' pts in display order; `side_data` is the first frame's; `captions` counts the film's packets with
    closed captions in them (None = not looked at), `packets` all of its packets.
    """

    info: VideoInfo
    sar: Fraction
    film: Track
    tracks: tuple[Track, ...]
    attachments: dict[str, str]  # file name -> digest
    chapters: tuple[Chapter, ...]
    tags: dict[str, str]
    side_data: dict[str, bytes]
    captions: int | None
    alpha: bool
    packets: int = 0


def survey(source: str | BytesIO, info: VideoInfo, spool: Path | None = None) -> Survey:
    """Reads every packet of a file; of a pipe its head and the `spool` of its other streams.

    Raises DecodeError for a file that cannot be opened; one that is cut short is read as far as it goes.
    """
    with open_input(source) as container:
        film = container.streams[info.index]
        assert isinstance(film, VideoStream)
        reading = _Reading(container, film)
        if spool is None:
            reading.read()
        else:
            reading.read_spooled(spool)
        return Survey(
            info=info,
            sar=film.sample_aspect_ratio or Fraction(1),
            film=reading.film,
            tracks=tuple(track for track, _ in reading.tracks.values()),
            attachments={
                s.name or f"attachment {s.index}": _digest(bytes(s.data))
                for s in container.streams
                if isinstance(s, AttachmentStream)
            },
            chapters=tuple(_chapters(container)),
            tags={key.lower(): value for key, value in container.metadata.items()},
            side_data=reading.side_data,
            captions=None if spool else reading.captions,
            packets=reading.packets,
            alpha=info.format.layout.alpha or film.metadata.get("alpha_mode") == "1",
        )


class _Reading:
    """One pass over a container's packets."""

    def __init__(self, container: InputContainer, film: VideoStream) -> None:
        self._container, self._stream = container, film
        self.film = _track(film)
        self.tracks: dict[int, tuple[Track, Unwrap]] = {
            s.index: (_track(s), unwrapper(s)) for s in container.streams if s.index != film.index and s.type != "attachment"
        }
        self.captions = self.packets = 0
        self.side_data: dict[str, bytes] = {}
        self._seen_frame = False

    def read(self) -> None:
        for packet in _packets(self._container):
            if packet.stream.index == self._stream.index:
                self._take_film(packet)
            elif packet.stream.index in self.tracks:
                self._take(packet.stream.index, packet)
        self._finish()

    def read_spooled(self, spool: Path) -> None:
        """The film's first frame is in the pipe's head, everything else in the spool."""
        for packet in _packets(self._container):
            self._first_frame(packet)
            if self._seen_frame:
                break
        for item in read_spool(spool):
            if item is not None and item[0] in self.tracks:
                self._take(*item)
        self._finish()

    def _take_film(self, packet: Packet[Stream]) -> None:
        self._first_frame(packet)
        content = bytes(packet)
        self.packets += not packet.is_discard
        self.captions += any(mark in content for mark in _CAPTIONS)
        if packet.pts is not None and not packet.is_discard:
            _add(self.film, packet)

    def _take(self, index: int, packet: Packet[Stream]) -> None:
        track, unwrap = self.tracks[index]
        if not packet.size or is_gap(packet, self._container.streams[index]):
            return
        content = unwrap(bytes(packet))
        track.hashes.append(int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big"))
        track.cut_off += packet.is_discard and track.cut_off == len(track.hashes) - 1
        track.whole.update(content)
        track.size += len(content)
        _add(track, packet)
        self._look_inside(track, packet)

    def _look_inside(self, track: Track, packet: Packet[Stream]) -> None:
        lines = track.info.type == "subtitle"
        if not lines and (track.heard is not None or len(track.times) > _SILENT_PACKETS):
            return
        begin = begins(self._container.streams[track.info.index], packet)
        track.unread += lines and begin is None
        if begin is not None:
            at = round(begin / track.tick)
            track.heard = at if track.heard is None else min(at, track.heard)

    def _first_frame(self, packet: Packet[Stream] | None) -> None:
        """Side data of the first picture; what does not decode costs its own frame only."""
        if self._seen_frame or (packet is not None and packet.stream.index != self._stream.index):
            return
        try:
            frames = self._stream.codec_context.decode(packet)
        except (av.error.FFmpegError, EOFError):
            return
        if frames:
            self._seen_frame, self.side_data = True, side_data(frames[0])

    def _finish(self) -> None:
        self._first_frame(None)
        self.film.times = array("q", sorted(self.film.times))


def _track(stream: Stream) -> Track:
    context = stream.codec_context
    rate = getattr(context, "sample_rate", 0) or 0
    title = stream.metadata.get("title") or stream.metadata.get("name", "")  # the mov demuxer calls it "name"
    return Track(stream_info(stream), title, int(stream.disposition), stream.time_base or Fraction(1, av.time_base), rate)


def _add(track: Track, packet: Packet[Stream]) -> None:
    pts = packet.pts if packet.pts is not None else packet.dts
    if pts is None:
        pts = track.times[-1] if track.times else 0
    pts = round(pts * packet.time_base / track.tick) if packet.time_base != track.tick else pts
    if not track.times or pts >= track.latest:
        track.latest, track.last_duration = pts, int(packet.duration or 0)
    if packet.dts is not None:
        track.disordered += track.last_dts is not None and packet.dts <= track.last_dts
        track.last_dts = packet.dts
    track.times.append(pts)


def _packets(container: InputContainer) -> Iterator[Packet[Stream]]:
    packets = container.demux()
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):  # a damaged tail: every reader stops there
            return
        if packet.size:
            yield packet


def _chapters(container: InputContainer) -> Iterator[Chapter]:
    for chapter in container.chapters():
        base = chapter["time_base"] or Fraction(1, av.time_base)
        yield Chapter(chapter["start"] * base, chapter["end"] * base, chapter["metadata"].get("title", ""))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def with_times(found: Survey, times: list[int], tick: Fraction, last_duration: int) -> Survey:
    """The same file, its frames' times known better than from its packets."""
    return replace(found, film=replace(found.film, times=array("q", times), tick=tick, last_duration=last_duration))


def without_container(info: VideoInfo) -> Survey:
    """A folder of frames: a film and nothing beside it."""
    film = Track(StreamInfo(info.index, "video", info.codec), "", 0, info.time_base)
    return Survey(info, info.sar, film, (), {}, (), {}, {}, 0, info.format.layout.alpha)
