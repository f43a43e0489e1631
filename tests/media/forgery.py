"""Broken outputs on purpose: a good file written again with one thing wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import AttachmentStream

from tests.films import opened
from vsr.media.source import OPEN_OPTIONS

Frames = list[Any]


@dataclass(frozen=True)
class Forgery:
    """What is done to the copy; everything else is carried over.

    `frames` gets the decoded frames and returns those that are encoded anew; `packet` gets (stream type, the packet's number,
    packet) of every other stream and returns what is written instead. `drop` names stream types that are left out.
    """

    frames: Callable[[Frames], Frames] | None = None
    packet: Callable[[str, int, Any], Any] | None = None
    drop: Sequence[str] = ()
    untagged: Sequence[str] = ()  # labels that are lost: language, title, disposition
    chapters: bool = True
    tags: bool = True
    attachments: bool = True
    covers: bool = True
    new_cover: bool = False
    matrix: bool = True
    sar: bool = True
    pix_fmt: str = ""
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "crf": "1"})
    color: tuple[int, int, int, int] | None = None  # range, primaries, transfer, matrix


def forge(good: Path, target: Path, how: Forgery) -> Path:
    """Writes `target`."""
    with opened(good) as source, av.open(f"file:{target}", "w", container_options=_options(source), **OPEN_OPTIONS) as out:
        video = next(s for s in source.streams.video if not s.disposition & 0x400)
        frames = _frames(good, how)
        streams = {s.index: _stream(out, s, how, video, frames) for s in source.streams if _wanted(s, how)}
        if how.tags:
            out.metadata.update({k: v for k, v in source.metadata.items() if k.lower() != "encoder"})
        if how.chapters:
            out.set_chapters(source.chapters())
        if how.new_cover:
            _add_cover(out)
        film: Any = streams[video.index]
        if how.frames is not None:
            for frame in [*frames, None]:
                out.mux(film.encode(frame))
        counts: dict[int, int] = {}
        for packet in source.demux():
            copy: Any = streams.get(packet.stream.index)
            if packet.size == 0 or copy is None or (packet.stream is video and how.frames is not None):
                continue
            number = counts[copy.index] = counts.get(copy.index, -1) + 1
            kept = how.packet(packet.stream.type, number, packet) if how.packet and packet.stream is not video else packet
            if kept is not None:
                kept.stream = copy
                out.mux(kept)
    return target


def _options(source: Any) -> dict[str, str]:
    return {"video_track_timescale": str(source.streams.video[0].time_base.denominator)} if "mp4" in source.format.name else {}


def _wanted(stream: Any, how: Forgery) -> bool:
    return stream.type not in how.drop


def _frames(good: Path, how: Forgery) -> Frames:
    if how.frames is None:
        return []
    with opened(good) as source:
        video = next(s for s in source.streams.video if not s.disposition & 0x400)
        frames = list(source.decode(video))
    made = how.frames(frames)
    for frame in made:
        frame.pict_type = 0
    return made


def _stream(out: Any, stream: Any, how: Forgery, video: Any, frames: Frames) -> Any:
    if isinstance(stream, AttachmentStream):
        if how.attachments:
            copy = out.add_attachment(stream.name, stream.mimetype, stream.data)
            copy.metadata.update({"filename": stream.name, "mimetype": stream.mimetype})
        return None
    if stream.disposition & 0x400:
        if how.covers:
            _add_cover(out)
        return None
    if stream is video and how.frames is not None:
        copy = _encoder(out, stream, how, frames[0])
    else:
        copy = out.add_stream_from_template(stream, opaque=True)
    copy.time_base = stream.time_base
    copy.metadata.update({k: v for k, v in stream.metadata.items() if k in ("language", "title") and k not in how.untagged})
    if "disposition" not in how.untagged:
        copy.disposition = stream.disposition
    if stream is video and how.matrix and (turn := _turn(stream)):
        copy.set_display_rotation(turn)
    if stream is video and not how.sar:
        copy.codec_context.sample_aspect_ratio = Fraction(1)
    return copy


def _add_cover(out: Any) -> None:
    out.add_attachment("cover.jpg", "image/jpeg", picture()).metadata.update(filename="cover.jpg", mimetype="image/jpeg")


def _turn(stream: Any) -> int:
    with opened(Path(stream.container.name.removeprefix("file:"))) as again:
        return next(again.decode(video=0)).rotation


def _encoder(out: Any, stream: Any, how: Forgery, first: Any) -> Any:
    copy = out.add_stream(how.codec, rate=25, options=dict(how.options))
    context = copy.codec_context
    context.width, context.height = first.width, first.height
    context.pix_fmt = how.pix_fmt or first.format.name
    context.time_base = stream.time_base
    context.sample_aspect_ratio = (stream.sample_aspect_ratio if how.sar else None) or Fraction(1)
    color = how.color or (first.color_range, first.color_primaries, first.color_trc, first.colorspace)
    context.color_range, context.color_primaries, context.color_trc, context.colorspace = color
    return copy


def picture() -> bytes:
    """A small JPEG: cover art."""
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 32, 32, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame(32, 32, "yuvj420p")
    for plane in frame.planes:
        plane.update(bytes([100]) * plane.buffer_size)
    return b"".join(bytes(packet) for item in (frame, None) for packet in encoder.encode(item))


def repainted(frame: Any, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Any:
    """A copy of an 8-bit 4:2:0 frame; `change` gets and gives Y, Cb, Cr at full size, (3, rows, columns)."""
    luma, *chroma = (samples(p).astype(float) for p in frame.planes)
    changed = np.clip(np.rint(change(np.stack([luma, *(p.repeat(2, 0).repeat(2, 1) for p in chroma)]))), 0, 255)
    made = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for plane, values in zip(made.planes, (changed[0], changed[1][::2, ::2], changed[2][::2, ::2]), strict=True):
        samples(plane)[:] = values
    return timed(made, frame.pts, frame)


def copied(frame: Any, pts: int) -> Any:
    """The same picture once more, at another time."""
    made = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for target, source in zip(made.planes, frame.planes, strict=True):
        samples(target)[:] = samples(source)
    return timed(made, pts, frame)


def samples(plane: Any) -> Any:
    """The bytes of an 8-bit plane, without its padding."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def timed(frame: Any, pts: int, like: Any) -> Any:
    """`frame` at another time, with the tags of `like`."""
    frame.pts, frame.time_base = pts, like.time_base
    frame.color_range, frame.color_primaries = like.color_range, like.color_primaries
    frame.color_trc, frame.colorspace = like.color_trc, like.colorspace
    return frame
