"""What a codec does to frames: through its encoder and decoder, in memory. Training and benchmarks degrade pictures with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, cast

import av
import av.error
from av.video.codeccontext import VideoCodecContext

from vsr.errors import EncodeError
from vsr.frames import FrameBatch, FrameFormat
from vsr.media.pixels import make_frame, read_planes, tag_colors
from vsr.media.source import reason

ENCODERS = {"h264": ("libx264", "h264"), "hevc": ("libx265", "hevc")}
_QUIET = {"libx265": {"x265-params": "log-level=none"}}


def recompress(batches: Iterable[FrameBatch], codec: str, crf: int) -> Iterator[FrameBatch]:
    """8-bit 4:2:0 frames of one format, one by one, as they come back from the codec; same pts and index.

    Raises EncodeError for a codec or a size that it cannot do (4:2:0 needs even numbers).
    """
    name, decoder_name = ENCODERS[codec]
    decoder = cast("VideoCodecContext", av.CodecContext.create(decoder_name, "r"))
    encoder: VideoCodecContext | None = None
    waiting: list[FrameBatch] = []
    try:
        for batch in batches:
            for i in range(len(batch)):
                frame = make_frame(batch.format, [plane[i] for plane in batch.planes])
                frame.pts, frame.time_base = len(waiting), Fraction(1, 25)
                waiting.append(
                    FrameBatch(batch.format, tuple(p[i : i + 1] for p in batch.planes), (batch.pts[i],), index=batch.index + i)
                )
                encoder = encoder or _encoder(name, batch.format, crf)
                yield from _through(decoder, encoder.encode(frame), waiting)
        if encoder is not None:
            yield from _through(decoder, encoder.encode(None), waiting)
            yield from _placed(decoder.decode(None), waiting)
    except (av.error.FFmpegError, OSError, ValueError) as exc:
        raise EncodeError(f"{codec}: its encoder {name} cannot take these frames ({reason(exc)}); try another") from exc


def _encoder(name: str, format: FrameFormat, crf: int) -> VideoCodecContext:
    encoder = cast("VideoCodecContext", av.CodecContext.create(name, "w"))
    encoder.width, encoder.height, encoder.pix_fmt = format.width, format.height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    # one thread: with several the bits may differ from machine to machine
    encoder.options = {"crf": str(crf), "threads": "1", **_QUIET.get(name, {})}
    tag_colors(encoder, format)
    return encoder


def _through(decoder: VideoCodecContext, packets: Iterable[Any], waiting: list[FrameBatch]) -> Iterator[FrameBatch]:
    for packet in packets:
        yield from _placed(decoder.decode(packet), waiting)


def _placed(frames: Iterable[av.VideoFrame], waiting: list[FrameBatch]) -> Iterator[FrameBatch]:
    """Decoded frames in the places of those that went in."""
    for frame in frames:
        assert frame.pts is not None
        before = waiting[frame.pts]
        yield before.with_planes(before.format, tuple(plane[None] for plane in read_planes(frame)))
