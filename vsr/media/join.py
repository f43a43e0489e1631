"""Puts the film together: segments by packet copy with their exact times, and every other stream beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import BinaryIO

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from vsr.errors import ConfigError, EncodeError
from vsr.frames import FrameBatch
from vsr.journal import fsync
from vsr.media.aspect import is_lacking, make_room, write_aspect
from vsr.media.codecs import ISO_MUXERS
from vsr.media.encode import SEGMENT_CLOCK, Y4M, add_encoder, live_packets, rate_hint
from vsr.media.framefiles import IMAGES
from vsr.media.joiner import Joiner, JoinReport, lowest_zero
from vsr.media.source import OPEN_OPTIONS, Pipe, exact, open_input, reason
from vsr.plan import Plan

CLOCKS = (1_000_000, 90_000, 1_000, 1)  # ticks a second; for mp4 and mov where the film's own are too fine
LONGEST_STEP = 1 << 31  # in ticks: mp4 and mov store the time between two frames as a 32-bit number


@dataclass(frozen=True)
class SegmentFile:
    """A finished segment: its file, the exact pts of its frames in display order, its last frame's duration (0 = unknown)."""

    path: Path
    pts: tuple[int, ...]
    last_duration: int = 0
    reorder_depth: int = 0


def join(plan: Plan, source: str | Pipe, segments: Sequence[SegmentFile], target: Path, spool: Path | None = None) -> JoinReport:
    """Writes `target` from segments and the source's other streams; fsynced, so that it may be renamed at once.

    Raises EncodeError, naming the output, for a full disk or a container that refuses; whoever asked removes the file.
    """
    pts = [pts for segment in segments for pts in segment.pts]
    try:
        with ExitStack() as stack:
            template = stack.enter_context(open_input(str(segments[0].path))).streams.video[0]
            others = _open_others(plan, source, stack)
            out = stack.enter_context(
                av.open(f"file:{target}", "w", format=plan.container, container_options=_options(plan, pts), **OPEN_OPTIONS)
            )
            joiner = Joiner(plan, source, others, out, lowest_zero(plan, source, zero_of(plan, pts[0])), spool)
            joiner.open(lambda: out.add_stream_from_template(template, opaque=True))
            lacking = is_lacking(plan.container, plan.encoding.codec, plan.info.sar)
            if lacking:
                make_room(joiner.film)
            joiner.write(_segment_packets(plan, segments, pts, joiner.zero))
        if lacking:
            write_aspect(target, plan.info.sar, plan.target.width, plan.target.height)
        fsync(target)
    except (av.error.FFmpegError, OSError, ValueError) as exc:
        raise EncodeError(f"{plan.output}: cannot be written: {reason(exc)}") from exc
    return joiner.report


def stream_out(
    plan: Plan, source: str | Pipe, batches: Iterable[FrameBatch], target: BinaryIO, spool: Path | None = None
) -> JoinReport:
    """Writes the film to a pipe while it is made: y4m (frames and nothing else) or NUT with every stream.

    Raises EncodeError; what has been written then stays written.
    """
    sink = _WriteOnly(target, plan)
    try:
        with ExitStack() as stack:
            ready = iter(batches)
            first = next(ready, None)  # the source's streams are known, and its spool exists, once a frame has come
            if first is None:
                raise ConfigError(f"{plan.info.source}: no frame lies in the part that was asked for")
            others = _open_others(plan, source, stack)
            out = stack.enter_context(
                av.open(sink, "w", format=plan.container, options={"strict": "experimental"}, **OPEN_OPTIONS)
            )
            joiner = Joiner(plan, source, others, out, lowest_zero(plan, source, zero_of(plan, first.pts[0])), spool)
            joiner.open(lambda: add_encoder(out, plan))
            counted = plan.container == Y4M  # it knows no timestamps, only a rate
            clock = 1 / rate_hint(plan.rate) if counted else plan.time_base
            shift = None if counted else round(joiner.zero / plan.time_base)
            joiner.write(live_packets(joiner.film, chain((first,), ready), clock, shift, plan))
    except (av.error.FFmpegError, OSError, ValueError) as exc:
        if sink.broken:
            raise BrokenPipeError from exc
        raise EncodeError(f"standard output: cannot be written: {reason(exc)}") from exc
    return joiner.report


class _WriteOnly:
    """A pipe as PyAV wants it: it must not even look seekable.

    y4m's header gets the shape of the pixels, which its muxer takes from a field that PyAV does not set, and calls unknown.
    """

    def __init__(self, file: BinaryIO, plan: Plan) -> None:
        self._file = file
        sar = plan.info.sar
        self._header = (b" A0:0 ", f" A{sar.numerator}:{sar.denominator} ".encode()) if plan.container == Y4M else None
        self.broken = False  # whoever read has left: PyAV hides that behind an error of its own

    def write(self, data: bytes) -> int:
        try:
            if self._header is not None:
                self._file.write(data.replace(*self._header, 1))
                self._header = None
                return len(data)
            return self._file.write(data)
        except BrokenPipeError:
            self.broken = True
            raise


def _open_others(plan: Plan, source: str | Pipe, stack: ExitStack) -> InputContainer | None:
    """The source once more, for its other streams, tags and chapters; None where it is a sequence of images."""
    if plan.info.container == IMAGES:
        return None
    return stack.enter_context(open_input(source.head() if isinstance(source, Pipe) else source))


def zero_of(plan: Plan, first_pts: int) -> Fraction:
    """The seconds that become zero: where a part begins; a whole film keeps its start, unless its clock starts anywhere."""
    return first_pts * plan.time_base if plan.start is not None else plan.info.zero


def _options(plan: Plan, pts: Sequence[int]) -> dict[str, str]:
    if plan.container not in ISO_MUXERS:
        return {}
    flags = "+faststart+use_metadata_tags" if plan.container == "mov" else "+faststart"
    return {"video_track_timescale": str(_ticks(plan.time_base, pts)), "movflags": flags}


def _ticks(base: Fraction, pts: Sequence[int]) -> int:
    """Ticks a second for mp4 and mov: the film's own, so that every pts is exact; coarser where a gap would not fit."""
    gap = max((b - a for a, b in pairwise(pts)), default=1) * base
    own = base.denominator
    return next((ticks for ticks in (own, *CLOCKS) if ticks <= own and gap * ticks < LONGEST_STEP), 1)


def _segment_packets(
    plan: Plan, segments: Sequence[SegmentFile], pts: Sequence[int], zero: Fraction
) -> Iterator[Packet[VideoStream]]:
    """The film's packets in decode order: pts by rank, dts rebuilt from the sorted pts (dts[j] = P[j - depth])."""
    base, depth = plan.time_base, max(s.reorder_depth for s in segments)
    shift = round(zero / base)
    step = pts[1] - pts[0] if len(pts) > 1 else 1
    offset = decoded = 0
    headers: bytes | None = None
    for segment in segments:
        with open_input(str(segment.path)) as container:
            own = container.streams.video[0].codec_context.extradata or b""
            if headers is not None and own != headers:
                raise EncodeError(f"{segment.path}: was encoded with other settings than the segments before it; begin again")
            headers = own
            for packet in container.demux(container.streams.video[0]):
                if packet.size == 0:
                    continue
                assert packet.pts is not None
                at = offset + round(packet.pts * exact(packet.time_base) / SEGMENT_CLOCK)
                dts = pts[decoded - depth] if decoded >= depth else pts[0] - (depth - decoded) * step
                packet.pts, packet.dts, packet.time_base = pts[at] - shift, dts - shift, base
                packet.duration = _duration(pts, at, segment.last_duration)
                decoded += 1
                yield packet
        offset += len(segment.pts)
        if decoded != offset:
            raise EncodeError(f"{segment.path}: holds {decoded - offset + len(segment.pts)} frames, not {len(segment.pts)}")


def _duration(pts: Sequence[int], at: int, last: int) -> int:
    if at + 1 < len(pts):
        return pts[at + 1] - pts[at]
    return last or (pts[at] - pts[at - 1] if at else 0)
