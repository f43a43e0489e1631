"""A film's segments: where each begins, where decoding must enter for it, and how many frames come of it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from vsr.config import UpscaleConfig
from vsr.errors import ConfigError
from vsr.fields import Deinterlace, cycle_of, output_times, ticks
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


def film_segments(plan: Plan, index: FrameIndex, seconds: float) -> tuple[Segment, ...]:
    """The part of the film that `plan` names, in segments of about `seconds` (0 = one), with the frames that come out of each."""
    mode, info = plan.deinterlace, plan.info
    pts = index.between(plan.start, plan.stop)
    if seconds and not index.exact:
        seconds = max(seconds, float((pts[-1] - pts[0]) * info.time_base) / FEW_SEGMENTS)
    warm_up = 0 if mode == "off" else cycle_of(mode) + WARM_UP

    def enter(frame: int) -> int | None:
        return index.entry_before(index.pts[max(0, bisect_left(index.pts, frame) - warm_up)])

    segments = cut(pts, info.time_base, seconds, enter, plan.start, plan.stop, cycle_of(mode))
    return _outputs(segments, index, mode, info.step, pts[0])


def _outputs(segments: tuple[Segment, ...], index: FrameIndex, mode: Deinterlace, step: int, first: int) -> tuple[Segment, ...]:
    """Segments of the source's frames, with the number of frames that come of them; `first` is the part's first pts."""
    at = index.pts.index(first)
    times, each = output_times(mode, index.pts[at:], step), ticks(mode)
    found = []
    for segment in segments:
        begin = bisect_left(times, (segment.start if segment.start is not None else first) * each)
        end = len(times) if segment.stop is None else bisect_left(times, segment.stop * each)
        # the filter that leaves one of five out compares with the frame before: so one cycle early, where there is one
        origin = max(at % cycle_of(mode), at + segment.first - cycle_of(mode)) if mode == "ivtc" else None
        found.append(replace(segment, frames=end - begin, first=begin, origin=None if origin is None else index.pts[origin]))
    return tuple(found)
