"""Fields into frames: bwdif for interlaced film, fieldmatch and decimate for a 3:2 pulldown. FFmpeg's filters, our own clock.

The filters never see a time: they are fed numbered frames and give them back in order, so that any clock will do and every
frame that comes out is known by its place (see `vsr.fields` for the times). What comes out of a frame depends on its neighbours
alone, not on where decoding began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import av
import av.error
import numpy as np
from av.filter import Graph

from vsr.errors import DecodeError
from vsr.fields import CYCLE, KEPT, Deinterlace, cycle_times, following, ticks
from vsr.frames import FrameFormat, PictureData, PixelLayout, VideoInfo
from vsr.media.picture_data import merged
from vsr.media.pixels import make_frame, pix_fmt_of, planar_equivalent, planar_layout

_ORDERS = {2: "tff", 3: "bff", 4: "bff", 5: "tff"}  # AVFieldOrder: which field is shown first
_BWDIF = "bwdif"
_MATCHED = {"yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv410p"}
_REPAIR = "mode=send_frame:deint=interlaced"  # frames that are flagged so; the others pass through untouched


@dataclass(frozen=True)
class Timed:
    """A decoded frame with its time and duration in ticks, what travels beside its picture; was it put together from fields?"""

    pts: int
    duration: int
    frame: av.VideoFrame
    data: PictureData | None = None
    rebuilt: bool = False


def _eight_bits(frame: av.VideoFrame) -> str:
    layout = planar_layout(frame.format.name)
    assert layout is not None
    eight = layout if layout.kind == "yuv" else PixelLayout("yuv")
    return pix_fmt_of(replace(eight, bits=8, alpha=False))


def _fieldmatch(frame: av.VideoFrame) -> tuple[str, str]:
    """fieldmatch knows 8 bits and YUV only; it reads the fields of other films from a copy."""
    return "fieldmatch", f"combmatch=full{'' if frame.format.name in _MATCHED else ':ppsrc=1'}"


class Filters:
    """A chain of filters that keeps the number and order of its frames, or multiplies it: `push` and `end` give what is ready."""

    def __init__(self, like: av.VideoFrame, *chain: tuple[str, str]) -> None:
        graph = Graph()
        # not Graph.add_buffer: it knows no colour space
        last = graph.add(
            "buffer",
            f"video_size={like.width}x{like.height}:pix_fmt={like.format.name}:time_base=1/1000:frame_rate=30/1:pixel_aspect=1/1"
            f":colorspace={int(like.colorspace)}:range={int(like.color_range)}",
        )
        for name, options in chain:
            step = graph.add(name, options or None)
            if "ppsrc=1" in options:  # it matches fields on a copy of 8 bits, and takes them from the original
                both, copy = graph.add("split"), graph.add("format", f"pix_fmts={_eight_bits(like)}")
                last.link_to(both)
                both.link_to(copy)
                copy.link_to(step)
                both.link_to(step, 1, 1)
            else:
                last.link_to(step)
            last = step
        last.link_to(graph.add("buffersink"))
        graph.configure()
        self._graph, self._number = graph, 0
        self._copied = any("ppsrc=1" in options for _, options in chain)
        self._last: av.VideoFrame | None = None

    def push(self, frame: av.VideoFrame) -> list[av.VideoFrame]:
        """What is ready once `frame` is in. The frame's own pts is lost."""
        frame.pts = self._number
        self._number += 1
        self._last = frame if self._copied else None
        self._graph.vpush(frame)
        return [*self._ready()]

    def end(self) -> list[av.VideoFrame]:
        """The rest."""
        # with a copy to match on, fieldmatch keeps its last frame to itself: it gets it twice
        last = self.push(self._last) if self._copied and self._last is not None else []
        self._graph.vpush(None)
        return [*last, *self._ready()]

    def _ready(self) -> Iterator[av.VideoFrame]:
        while True:
            try:
                yield self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def takes_fields(format: FrameFormat, mode: Deinterlace = "auto") -> bool:
    """Do the filters of this mode take frames of this size and layout as they are?"""
    frame = make_frame(format, [np.zeros(shape, format.layout.dtype) for shape in format.plane_shapes])
    try:
        chain = (_fieldmatch(frame),) if mode == "ivtc" else ()
        filters = Filters(frame, *chain, (_BWDIF, _REPAIR))
        made = [*filters.push(frame), *filters.end()]
    except (av.error.FFmpegError, ValueError):
        return False
    return [f.format.name for f in made] == [frame.format.name]


def deinterlaced(
    mode: Deinterlace, frames: Iterable[Timed], info: VideoInfo, field_order: int = 0, origin: int | None = None
) -> Iterator[Timed]:
    """Frames of an interlaced film in, whole frames out, their times in `ticks(mode)` to a tick of the source's.

    `field_order` is FFmpeg's AVFieldOrder of the stream: it serves where frames are not flagged. `origin` is the pts of the frame
    at which the cycles of `ivtc` begin; frames before it only help (None = the first). Raises DecodeError where the filters
    refuse.
    """
    step = info.step
    # frames that are flagged say it themselves, and the filters take the others for top field first: only a stream that says bff
    # of frames that say nothing is told (setfield would overrule flags that begin later in the film)
    order = "" if info.interlaced else _ORDERS.get(field_order, "")
    try:
        if mode == "auto":
            yield from _where_flagged(frames)
        elif mode in ("frame", "field"):
            yield from _everywhere(mode, map(_planar, frames), order, step)
        elif mode == "ivtc":
            order = order if order or info.interlaced else "tff"  # fieldmatch takes what says nothing for bottom field first
            yield from _decimated(_matched(map(_planar, frames), order), step, origin)
        else:
            yield from frames
    except (av.error.FFmpegError, ValueError) as exc:
        raise DecodeError(f"{info.source}: cannot be deinterlaced: {exc}; try --deinterlace off") from exc


def _planar(timed: Timed) -> Timed:
    """Filters know few packed formats, and would be given another by libswscale in silence."""
    wanted = planar_equivalent(timed.frame.format.name)
    same = wanted == timed.frame.format.name
    return timed if same else replace(timed, frame=timed.frame.reformat(format=wanted, threads=1))


def _where_flagged(frames: Iterable[Timed]) -> Iterator[Timed]:
    """One for one. Up to the first interlaced frame nothing is filtered; from the frame before it on, everything passes the
    filter, which leaves alone what is not flagged: so a progressive film costs nothing, and where reading began does not matter.
    """
    filters: Filters | None = None
    before: Timed | None = None
    waiting: deque[Timed] = deque()
    known = 0  # frames that have come out already
    for timed in frames:
        if filters is None and not timed.frame.interlaced_frame:
            before = timed
            yield timed
            continue
        timed = _planar(timed)
        if filters is None:
            filters = Filters(timed.frame, (_BWDIF, _REPAIR))
            if before is not None:
                known, _ = 1, filters.push(_planar(before).frame)
        waiting.append(replace(timed, rebuilt=timed.frame.interlaced_frame))
        for frame in filters.push(timed.frame):
            if known:
                known -= 1
            else:
                yield replace(waiting.popleft(), frame=frame)
    for frame in filters.end()[known:] if filters else ():
        yield replace(waiting.popleft(), frame=frame)


def _everywhere(mode: Deinterlace, frames: Iterable[Timed], order: str, step: int) -> Iterator[Timed]:
    """Every frame, whatever its flags say: one for one, or one for each field."""
    each = ticks(mode)
    filters: Filters | None = None
    waiting: deque[Timed] = deque()
    last: int | None = None  # pts of the frame that came out before
    first = True

    def out(made: list[av.VideoFrame], source: Timed, after: int) -> Iterator[Timed]:
        times = (source.pts,) if each == 1 else (2 * source.pts, source.pts + after)
        beside = (source.data, _second_field(source.data))
        for frame, pts, data in zip(made, times, beside, strict=False):
            yield replace(source, frame=frame, pts=pts, data=data, rebuilt=True)

    ready: list[av.VideoFrame] = []
    for timed in frames:
        if filters is None:
            filters = Filters(timed.frame, *_flagged(order), (_BWDIF, f"mode=send_{mode}:deint=all"))
        waiting.append(timed)
        ready += filters.push(timed.frame)
        while len(ready) >= each and len(waiting) > 1:
            source = waiting.popleft()
            yield from out(ready[:each], source, waiting[0].pts)
            ready, last, first = ready[each:], source.pts, False
    ready += filters.end() if filters else []
    while waiting:
        source = waiting.popleft()
        after = waiting[0].pts if waiting else following(source.pts, None if first else last, step)
        yield from out(ready[:each], source, after)
        ready, last, first = ready[each:], source.pts, False


def _second_field(data: PictureData | None) -> PictureData | None:
    """What is said once for two pictures stays with the first; the format holds for both."""
    return PictureData(afd=data.afd) if data is not None and data.afd is not None else None


def _flagged(order: str) -> tuple[tuple[str, str], ...]:
    """Frames that do not say which of their fields comes first are told."""
    return (("setfield", f"mode={order}"),) if order else ()


def _matched(frames: Iterable[Timed], order: str) -> Iterator[Timed]:
    """Fields put together again as they were before the pulldown; what stays combed (video among film) is deinterlaced."""
    filters: Filters | None = None
    waiting: deque[Timed] = deque()
    for timed in frames:
        if filters is None:
            filters = Filters(timed.frame, *_flagged(order), _fieldmatch(timed.frame), (_BWDIF, _REPAIR))
        waiting.append(timed)
        for frame in filters.push(timed.frame):
            yield replace(waiting.popleft(), frame=frame, rebuilt=True)
    for frame in filters.end() if filters else ():
        yield replace(waiting.popleft(), frame=frame, rebuilt=True)


def _decimated(frames: Iterable[Timed], step: int, origin: int | None) -> Iterator[Timed]:
    """Four of every five frames: the one that repeats its neighbour most is left out."""
    filters: Filters | None = None
    cycle: list[Timed] = []
    before: int | None = None
    for timed in frames:
        if origin is not None and timed.pts < origin:
            continue
        filters = filters or Filters(timed.frame, ("decimate", f"cycle={CYCLE}"))
        if len(cycle) == CYCLE:
            yield from _four(filters, cycle, timed.pts)
            cycle = []
        cycle.append(timed)
        before = cycle[-2].pts if len(cycle) > 1 else before
    if filters is not None and len(cycle) == CYCLE:
        yield from _four(filters, cycle, following(cycle[-1].pts, before, step))
    else:
        yield from (replace(t, pts=KEPT * t.pts, duration=KEPT * t.duration) for t in cycle)


def _four(filters: Filters, cycle: list[Timed], after: int) -> Iterator[Timed]:
    made = [frame for timed in cycle for frame in filters.push(timed.frame)]
    if len(made) != KEPT:
        raise ValueError(f"decimate gave {len(made)} of {KEPT} frames")
    data = [*(timed.data for timed in cycle[: KEPT - 1]), merged([timed.data for timed in cycle[KEPT - 1 :]])]
    for frame, pts, beside in zip(made, cycle_times(cycle[0].pts, after), data, strict=True):
        yield Timed(pts, after - cycle[0].pts, frame, beside, rebuilt=True)
