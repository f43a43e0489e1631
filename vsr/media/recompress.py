"""What a codec does to frames: through its encoder and decoder, in memory. Training and benchmarks degrade pictures with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import av.error
from av.video.codeccontext import VideoCodecContext

from vsr.errors import EncodeError
from vsr.frames import FrameBatch, FrameFormat
from vsr.media.pixels import make_frame, read_planes, tag_colors
from vsr.media.source import reason

ENCODERS = ("h264", "hevc")  # those whose quality is a CRF from 0 to 51


@dataclass(frozen=True)
class _Codec:
    """FFmpeg's encoder and decoder; which options hold the quality, and from which number to which; what is always set."""

    encoder: str
    decoder: str
    quality: tuple[str, ...] = ("crf",)
    best: int = 0
    worst: int = 51
    fixed: tuple[tuple[str, str], ...] = ()
    least: tuple[int, int] = (2, 2)  # width and height


# x265 4.2 writes beyond its memory where a frame is 48 pixels wide or less (checked allocations: 16, 32 and 48 abort at any
# height, 50 to 200 do not); the process dies some time later. Frames of less than 16 lines it refuses.
_X265_LEAST = (64, 16)
_BY_QUANTISER = ("qmin", "qmax")  # one quantiser for every picture; `global_quality` is not heard without a flag on each frame
_CODECS = {
    "mpeg2": _Codec("mpeg2video", "mpeg2video", _BY_QUANTISER, 1, 31, (("bf", "2"),)),
    "mpeg4": _Codec("mpeg4", "mpeg4", _BY_QUANTISER, 1, 31, (("bf", "2"),)),
    "h264": _Codec("libx264", "h264"),
    "hevc": _Codec("libx265", "hevc", fixed=(("x265-params", "log-level=none"),), least=_X265_LEAST),
    "vp9": _Codec("libvpx-vp9", "vp9", worst=63, fixed=(("b", "0"), ("deadline", "good"), ("cpu-used", "5"))),
}
CODECS = tuple(_CODECS)


def least_size(codec: str) -> tuple[int, int]:
    """Width and height of the smallest frames that a codec of `CODECS` takes."""
    return _CODECS[codec].least


def recompress(batches: Iterable[FrameBatch], codec: str, quality: int, preset: str = "") -> Iterator[FrameBatch]:
    """8-bit 4:2:0 frames of one format, one by one, as they come back from the codec; same pts and index.

    `quality` is the CRF of h264, hevc (0 to 51) and vp9 (0 to 63), the quantiser of mpeg2 and mpeg4 (1 to 31): higher is worse.
    `preset` is one of x264's and x265's own; the others have none. Raises EncodeError for a codec, a quality or a size that it
    cannot do (4:2:0 needs even numbers).
    """
    facts = _CODECS.get(codec)
    if facts is None:
        raise EncodeError(f"{codec}: frames go through {', '.join(CODECS)} only")
    if not facts.best <= quality <= facts.worst:
        raise EncodeError(f"{codec}: quality {quality}; it takes {facts.best} (best) to {facts.worst} (worst)")
    name, decoder = facts.encoder, cast("VideoCodecContext", av.CodecContext.create(facts.decoder, "r"))
    decoder.thread_count = 1  # started and stopped for each clip, threads cost more than they bring
    encoder: VideoCodecContext | None = None
    waiting: list[FrameBatch] = []
    try:
        for batch in batches:
            width, height = batch.format.width, batch.format.height
            if width < facts.least[0] or height < facts.least[1]:
                raise EncodeError(f"{codec}: frames of {width}x{height}, and it takes {facts.least[0]}x{facts.least[1]} or more")
            for i in range(len(batch)):
                frame = make_frame(batch.format, [plane[i] for plane in batch.planes])
                frame.pts, frame.time_base = len(waiting), Fraction(1, 25)
                waiting.append(
                    FrameBatch(batch.format, tuple(p[i : i + 1] for p in batch.planes), (batch.pts[i],), index=batch.index + i)
                )
                encoder = encoder or _encoder(facts, batch.format, quality, preset)
                yield from _through(decoder, encoder.encode(frame), waiting)
        if encoder is not None:
            yield from _through(decoder, encoder.encode(None), waiting)
            yield from _placed(decoder.decode(None), waiting)
    except (av.error.FFmpegError, OSError, ValueError) as exc:
        raise EncodeError(f"{codec}: its encoder {name} cannot take these frames ({reason(exc)}); try another") from exc


def _encoder(facts: _Codec, format: FrameFormat, quality: int, preset: str) -> VideoCodecContext:
    encoder = cast("VideoCodecContext", av.CodecContext.create(facts.encoder, "w"))
    encoder.width, encoder.height, encoder.pix_fmt = format.width, format.height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    # one thread: with several the bits may differ from machine to machine
    encoder.options = dict.fromkeys(facts.quality, str(quality)) | {"threads": "1", **dict(facts.fixed)}
    if preset and facts.encoder in ("libx264", "libx265"):
        encoder.options |= {"preset": preset}
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
