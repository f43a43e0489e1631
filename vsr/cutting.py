"""A film's segments: where each begins, where decoding must enter for it, and how many frames come of it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from math import ceil

from vsr.config import UpscaleConfig
from vsr.errors import ConfigError
from vsr.fields import Deinterlace, cycle_of, output_times, rate_factor, ticks
from vsr.frames import VideoInfo
from vsr.media.deinterlace import takes_fields
from vsr.media.framefiles import IMAGES
from vsr.media.index import FrameIndex
from vsr.plan import Plan, Segment
from vsr.segments import cut

# A file in which seeking does not work is read from its beginning for every segment: so it gets few.
FEW_SEGMENTS = 8
WARM_UP = 3  # frames before the first one that filters of fields look at, and one to spare


def choose_deinterlace(config: UpscaleConfig, info: VideoInfo) -> Deinterlace:
    """What is done with fields. Raises ConfigError where it cannot be done."""
    if config.deinterlace == "off" or info.container == IMAGES:
        return "off"
    if takes_fields(info.format, config.deinterlace):
        return config.deinterlace
    if config.deinterlace == "auto":
        return "off"
    size = f"{info.format.width}x{info.format.height} {info.pix_fmt}"
    raise ConfigError(f"--deinterlace {config.deinterlace}: the filters take no frames of {size}; use --deinterlace off")


def film_segments(plan: Plan, index: FrameIndex, seconds: float, context: int = 0) -> tuple[Segment, ...]:
    """The part of the film that `plan` names, in segments of about `seconds` (0 = one), with the frames that come out of each.

    Around each are read so many frames more, where the film has them, that `context` come out on each side.
    """
    mode, info = plan.deinterlace, plan.info
    pts = index.between(plan.start, plan.stop)
    if seconds and not index.exact:
        seconds = max(seconds, float((pts[-1] - pts[0]) * info.time_base) / FEW_SEGMENTS)
    warm_up = (0 if mode == "off" else cycle_of(mode) + WARM_UP) + _around(mode, context)

    def enter(frame: int) -> int | None:
        return index.entry_before(index.pts[max(0, bisect_left(index.pts, frame) - warm_up)])

    segments = cut(pts, info.time_base, seconds, enter, plan.start, plan.stop, cycle_of(mode))
    return _outputs(segments, index, mode, info.step, pts[0], context)


def _around(mode: Deinterlace, context: int) -> int:
    """Frames of the source of which at least `context` frames come: whole cycles."""
    cycle = cycle_of(mode)
    # one more for fields: a part that begins between two frames begins with the second field of the first
    return cycle * ceil(context / (cycle * rate_factor(mode))) + (mode == "field" and context > 0)


def _outputs(
    segments: tuple[Segment, ...], index: FrameIndex, mode: Deinterlace, step: int, first: int, context: int
) -> tuple[Segment, ...]:
    """Segments of the source's frames, with the number of frames that come of them; `first` is the part's first pts."""
    at, cycle, around = index.pts.index(first), cycle_of(mode), _around(mode, context)
    times, each = output_times(mode, index.pts[at:], step), ticks(mode)
    found = []
    for segment in segments:
        begin = bisect_left(times, (segment.start if segment.start is not None else first) * each)
        end = len(times) if segment.stop is None else bisect_left(times, segment.stop * each)
        found.append(replace(segment, frames=end - begin, first=begin))
        if context:
            low = max(at % cycle, at + segment.first - around)  # cycles go on as they are counted from the part's first frame
            high = len(index) if segment.stop is None else bisect_left(index.pts, segment.stop) + around
            low_pts = index.pts[low] if segment.start is not None else None
            found[-1] = replace(found[-1], begin=low_pts, end=index.pts[high] if high < len(index) else None)
        if mode == "ivtc":
            # the filter that leaves one of five out compares with the frame before: so one cycle early, where there is one
            read = at + segment.first - (around if context and segment.start is not None else 0)
            found[-1] = replace(found[-1], origin=index.pts[max(at % cycle, read - cycle)])
    return tuple(found)
