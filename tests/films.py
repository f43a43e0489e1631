"""Films made by code: every test's video comes from here, so that the tests need no data and say what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Disposition

from vsr.frames import FrameFormat, PixelLayout
from vsr.media.picture_data import side_data
from vsr.media.pixels import make_frame, planar_equivalent, planar_layout
from vsr.media.source import OPEN_OPTIONS


@dataclass(frozen=True)
class Sound:
    """An audio track: a tone of its own pitch."""

    codec: str = "aac"
    language: str = "eng"
    title: str = ""
    rate: int = 48000
    layout: str = "stereo"
    default: bool = True
    delay: float = 0.0
    bit_rate: int = 0
    flags: int = 0  # beside `default`: commentary, original, ...


@dataclass(frozen=True)
class Words:
    """A subtitle track of two lines."""

    codec: str = "srt"
    language: str = "ger"
    forced: bool = False
    title: str = ""
    flags: int = 0
    delay: float = 0.0


@dataclass(frozen=True)
class Film:
    """What to make. `pts` in ticks of `time_base`; `color` is (range, primaries, transfer, matrix) or None for untagged.

    `labels` are tags of the film's own stream (language, title, timecode).
    """

    name: str
    suffix: str = ".mp4"
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = (64, 48)
    pts: tuple[int, ...] = tuple(range(0, 12 * 512, 512))
    time_base: Fraction = Fraction(1, 12800)
    rate: Fraction = Fraction(25)
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "crf": "1"})
    color: tuple[int, int, int, int] | None = (1, 1, 1, 1)
    sar: Fraction = Fraction(1)
    rotation: int = 0
    flip: bool = False
    sounds: tuple[Sound, ...] = ()
    words: tuple[Words, ...] = ()
    chapters: tuple[tuple[float, float, str], ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    fonts: tuple[str, ...] = ()
    muxer: str | None = None
    muxer_options: dict[str, str] = field(default_factory=dict)
    draw: Callable[[int, FrameFormat], list[np.ndarray[Any, Any]]] | None = None  # None: `picture`

    def __str__(self) -> str:
        return self.name


def picture(number: int, format: FrameFormat) -> list[np.ndarray[Any, Any]]:
    """Planes of frame `number`: a brightness of its own, a gradient, and a square that moves."""
    planes = []
    top = 1 << format.layout.bits
    for i, (rows, columns) in enumerate(format.plane_shapes):
        y, x = np.mgrid[0:rows, 0:columns]
        if i == 0 or format.layout.kind == "rgb":
            plane = 0.2 + 0.3 * (x + y) / (rows + columns) + 0.03 * ((number * 5 + i) % 11)
            at = (number * 3) % max(1, columns - 8)
            plane[rows // 4 : rows // 2, at : at + 8] += 0.15
        elif i < 3:
            plane = 0.5 + 0.12 * np.sin(x / columns * 3 + i) + 0.004 * (number % 7)
        else:
            plane = (x > columns // 4).astype(float)
        planes.append(np.clip(plane * top, 0, top - 1).astype(format.layout.dtype))
    return planes


def make(film: Film, folder: Path) -> Path:
    """Writes the film and returns its path."""
    path = folder / f"{film.name.replace(' ', '_')}{film.suffix}"
    with av.open(f"file:{path}", "w", format=film.muxer, container_options=film.muxer_options, **OPEN_OPTIONS) as out:
        out.metadata.update(film.tags)
        video = _add_video(out, film)
        tracks = [_add_sound(out, sound) for sound in film.sounds]
        subtitles = [_add_words(out, words) for words in film.words]
        for font in film.fonts:
            out.add_attachment(font, "font/ttf", b"not really a font: " + font.encode() * 20)
        if film.chapters:
            base = Fraction(1, 1000)
            out.set_chapters(
                [
                    {"id": i, "start": round(a * 1000), "end": round(b * 1000), "time_base": base, "metadata": {"title": t}}
                    for i, (a, b, t) in enumerate(film.chapters)
                ]
            )
        seconds = float((film.pts[-1] - film.pts[0]) * film.time_base) + 0.05
        for number, pts in enumerate(film.pts):
            frame = _frame(film, number)
            frame.pts, frame.time_base = pts, film.time_base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for track, sound in zip(tracks, film.sounds, strict=True):
            for packet in _tone(track, sound, seconds):
                out.mux(packet)
        for stream, words in zip(subtitles, film.words, strict=True):
            for packet in _lines(stream, words, seconds):
                out.mux(packet)
    return path


def _frame(film: Film, number: int) -> av.VideoFrame:
    layout = planar_layout(planar_equivalent(film.pix_fmt))
    assert layout is not None
    format = FrameFormat(*film.size, layout)
    frame = make_frame(format, (film.draw or picture)(number, format))
    if frame.format.name != film.pix_fmt:
        frame = frame.reformat(format=film.pix_fmt)
    if film.color is not None:
        frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace = film.color
    else:
        frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace = 0, 2, 2, 2
    return frame


def _add_video(out: OutputContainer, film: Film) -> av.VideoStream:
    video = out.add_stream(film.codec, rate=film.rate, options=dict(film.options))
    assert isinstance(video, av.VideoStream)
    video.metadata.update(film.labels)
    context = video.codec_context
    context.width, context.height, context.pix_fmt = *film.size, film.pix_fmt
    context.time_base = film.time_base
    video.time_base = film.time_base
    if film.sar != 1:
        context.sample_aspect_ratio = film.sar
    if film.color is not None:
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = film.color
    if film.rotation or film.flip:
        video.set_display_rotation(film.rotation, hflip=film.flip)
    return video


def _add_sound(out: OutputContainer, sound: Sound) -> av.AudioStream:
    track = out.add_stream(sound.codec, rate=sound.rate, options={"strict": "experimental"})  # vorbis
    assert isinstance(track, av.AudioStream)
    track.codec_context.layout = sound.layout
    track.codec_context.time_base = Fraction(1, sound.rate)
    if sound.bit_rate:
        track.codec_context.bit_rate = sound.bit_rate
    track.metadata["language"] = sound.language
    if sound.title:
        track.metadata["title"] = sound.title
    track.disposition = Disposition(sound.flags) | (Disposition.default if sound.default else Disposition(0))
    return track


def _tone(track: av.AudioStream, sound: Sound, seconds: float) -> Iterator[Any]:
    channels = track.codec_context.layout.nb_channels
    t = np.arange(round(sound.rate * seconds)) / sound.rate
    wave = (np.sin(t * 2 * np.pi * (220 + 110 * track.index)) * 8000).astype(np.int16)
    for start in range(0, len(wave), 1024):
        chunk = np.repeat(wave[start : start + 1024, None], channels, 1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(chunk), format="s16", layout=sound.layout)
        frame.sample_rate, frame.time_base = sound.rate, Fraction(1, sound.rate)
        frame.pts = start + round(sound.delay * sound.rate)
        yield from track.encode(frame)
    yield from track.encode(None)


ASS_HEADER = (
    b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, "
    b"OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, "
    b"Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1\n\n"
    b"[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)


def _add_words(out: OutputContainer, words: Words) -> Any:
    stream: Any = out.add_stream(words.codec)
    stream.codec_context.subtitle_header = ASS_HEADER
    stream.codec_context.time_base = Fraction(1, 1000)
    if words.codec in ("ass",):
        stream.codec_context.extradata = ASS_HEADER
    stream.metadata["language"] = words.language
    if words.title:
        stream.metadata["title"] = words.title
    stream.disposition = Disposition(words.flags) | (Disposition.forced if words.forced else Disposition(0))
    return stream


def _lines(stream: Any, words: Words, seconds: float) -> Iterator[Any]:
    for i, text in enumerate((b"first line", b"second line")):
        packet = av.Packet(_payload(words.codec, i, text))
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = round(words.delay * 1000 + i * seconds * 500)
        packet.duration = round(seconds * 400)
        packet.is_keyframe = True
        yield packet


def _payload(codec: str, number: int, text: bytes) -> bytes:
    if codec == "ass":
        return b"%d,0,Default,,0,0,0,,%s" % (number, text)
    if codec == "mov_text":
        return len(text).to_bytes(2, "big") + text
    if codec == "dvbsub":  # a page and its end, ETSI EN 300 743
        return bytes.fromhex("0f100001000205000f80000100 00ff".replace(" ", ""))
    return text


@dataclass
class Seen:
    """What an independent look at a file finds; times in exact seconds.

    `lumas` are means of the first plane as stored (0..1), `colors` those of R, G, B and alpha as FFmpeg's converter shows them
    (0..255); `others` are further films; `hdr` is the first frame's static metadata.
    """

    times: list[Fraction]
    tick: Fraction
    lumas: list[float]
    colors: list[tuple[float, ...]]
    size: tuple[int, int]
    pix_fmt: str
    color: tuple[int, int, int, int]
    sar: Fraction
    matrix: bytes | None
    packets: dict[str, list[tuple[Fraction, bytes]]]
    others: dict[str, list[tuple[Fraction, bytes]]]
    covers: list[bytes]
    fonts: dict[str, bytes]
    streams: list[tuple[str, str, str, int]]
    chapters: list[tuple[Fraction, Fraction, str]]
    tags: dict[str, str]
    labels: dict[str, str]
    hdr: dict[str, bytes]


def look(path: Path) -> Seen:
    """Decodes the film and lists everything else, with PyAV's plain interface and none of vsr's code paths.

    Damaged packets are passed over; frames of a file without a clock get the times of its nominal rate.
    """
    with opened(path) as container:
        video = _main_film(container)
        times, lumas, colors = [], [], []
        first: av.VideoFrame | None = None
        tick, rate = video.time_base or Fraction(1), video.guessed_rate or Fraction(25)
        for number, frame in enumerate(_frames(container, video)):
            first = first or frame
            times.append(number / rate if frame.pts is None else frame.pts * tick)
            lumas.append(_luma(frame))
            colors.append(_shown(frame))
        assert first is not None
        tags, labels, facts = dict(container.metadata), dict(video.metadata), side_data(first)
        streams: list[tuple[str, str, str, int]] = [
            (s.type, s.codec_context.name if s.codec_context else "", s.language or "", int(s.disposition))
            for s in container.streams
        ]
        fonts = {s.name or "": bytes(s.data) for s in container.streams if isinstance(s, AttachmentStream)}
        chapters = [(_seconds(c, "start"), _seconds(c, "end"), c["metadata"].get("title", "")) for c in container.chapters()]
        sar, index = video.sample_aspect_ratio or Fraction(1), video.index
    packets, others, covers = _beside(path, index)
    color = (int(first.color_range), int(first.color_primaries), int(first.color_trc), int(first.colorspace))
    return Seen(
        times, tick, lumas, colors, (first.width, first.height), first.format.name, color, sar, facts.get("DISPLAYMATRIX"),
        packets, others, covers, fonts, streams, chapters, tags, labels,
        {key: facts[key] for key in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL") if key in facts},
    )  # fmt: skip


Packets = dict[str, list[tuple[Fraction, bytes]]]


def _main_film(container: InputContainer) -> av.VideoStream:
    return next(s for s in container.streams.video if not s.disposition & Disposition.attached_pic)


def _frames(container: InputContainer, video: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Every frame that decodes; FFmpeg's own decoders do not see the alpha that WebM keeps beside the picture."""
    context: Any = video.codec_context
    if "1" in (video.metadata.get("alpha_mode"), video.metadata.get("ALPHA_MODE")):
        known, context = context, av.CodecContext.create({"vp8": "libvpx", "vp9": "libvpx-vp9"}[context.name], "r")
        context.color_primaries, context.color_trc = known.color_primaries, known.color_trc  # only the container has them
    for packet in container.demux(video):
        with suppress(av.error.InvalidDataError):
            yield from context.decode(packet if packet.size else None)


def _beside(path: Path, film: int) -> tuple[Packets, Packets, list[bytes]]:
    """Packets of sound and subtitles, of further films, and cover pictures."""
    packets: Packets = {}
    others: Packets = {}
    covers: list[bytes] = []
    with opened(path) as container:
        for packet in container.demux():
            stream = packet.stream
            if not packet.size or stream.index == film or stream.type in ("attachment", "data"):
                continue
            if stream.disposition & Disposition.attached_pic:
                covers.append(bytes(packet))
                continue
            assert packet.pts is not None
            held = others if stream.type == "video" else packets
            held.setdefault(f"{stream.type} {stream.index}", []).append((packet.pts * packet.time_base, bytes(packet)))
    return packets, others, covers


def _seconds(chapter: Any, key: str) -> Fraction:
    return Fraction(chapter[key] * chapter["time_base"])


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    with av.open(f"file:{path}", **OPEN_OPTIONS) as container:
        yield container


def _luma(frame: av.VideoFrame) -> float:
    """Mean of the first plane, 0..1: luma as stored, the same at any size."""
    plane, bits = frame.planes[0], frame.format.components[0].bits
    samples: Any = np.frombuffer(memoryview(plane), np.uint8 if bits == 8 else "<u2")
    rows = samples.reshape(plane.height, -1)[:, : plane.width]
    return float(rows.mean() / ((1 << bits) - 1))


def _shown(frame: av.VideoFrame) -> tuple[float, ...]:
    """Mean R, G, B and alpha, 0..255; none where FFmpeg's converter does not know the matrix."""
    if frame.colorspace == 8:  # YCgCo
        return ()
    return tuple(float(v) for v in frame.to_ndarray(format="rgba").reshape(-1, 4).mean(0))


def layout_of(pix_fmt: str) -> PixelLayout:
    layout = planar_layout(planar_equivalent(pix_fmt))
    assert layout is not None
    return layout


def vfr(count: int, steps: Sequence[int], start: int = 0) -> tuple[int, ...]:
    """Timestamps with a repeating pattern of durations."""
    times = [start]
    for i in range(count - 1):
        times.append(times[-1] + steps[i % len(steps)])
    return tuple(times)
