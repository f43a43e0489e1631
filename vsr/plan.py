"""The Plan: everything that a job will do, resolved once, as plain data.

Whatever can change pixels, timestamps or streams stands here. Every run, worker and node works from the same plan or refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from vsr.config import EngineSettings
from vsr.fields import Deinterlace, rate_factor, ticks
from vsr.frames import FrameFormat, VideoInfo


@dataclass(frozen=True)
class Encoding:
    """The encoder and all that it is told.

    codec      h264, hevc, av1, vp9, prores, ffv1, rawvideo
    encoder    FFmpeg's encoder name
    pix_fmt    what the encoder is fed (a planar format of the target's layout, or a packed one with the same samples)
    options    encoder options by name, crf and preset included
    threads    encoder threads (x264's stream depends on their number)
    """

    codec: str
    encoder: str
    pix_fmt: str
    options: dict[str, str] = field(default_factory=dict)
    threads: int = 1


@dataclass(frozen=True)
class StreamPlan:
    """What becomes of one stream that is not the film.

    action    "copy" (bit-identical packets), "convert" (to `codec`), "attach" (fonts, cover art in Matroska), "drop"
    reason    for people, where the action is not "copy"
    """

    index: int
    action: str
    codec: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Segment:
    """A part of the film, by the source's pts: `start` inclusive, `stop` exclusive; None = no bound.

    frames   how many should come of it (0 = not known)
    first    the number of the first of them in the whole output
    enter    pts of the frame at which decoding starts to reach `start`; None = at the beginning
    origin   pts of a frame at which a cycle of `ivtc` begins, one cycle early where there is one; None = at the beginning
    begin    `begin` and `end`: as `start` and `stop`, of the frames that are read: more on each side for models that look at
             neighbours
    """

    number: int
    start: int | None
    stop: int | None
    frames: int = 0
    first: int = 0
    enter: int | None = None
    origin: int | None = None
    begin: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Plan:
    """A resolved job for one video. `info` is the source's; `start` and `stop` are its pts."""

    info: VideoInfo
    output: str  # a path, or "-" for standard output
    container: str  # FFmpeg's muxer name
    model: str
    model_scale: int | None
    weights_sha256: str
    target: FrameFormat
    engine: EngineSettings
    encoding: Encoding
    streams: tuple[StreamPlan, ...]
    segments: tuple[Segment, ...]
    start: int | None = None
    stop: int | None = None
    work_dir: str = ""
    warnings: tuple[str, ...] = ()
    deinterlace: Deinterlace = "off"
    blend: float | None = None  # of the model's weights with its twin's; None = its own
    hwaccel: str = ""  # the device that decodes, found to give the same frames as software; "" = software

    @property
    def time_base(self) -> Fraction:
        """Seconds in a tick of every pts that comes out."""
        return self.info.time_base / ticks(self.deinterlace)

    @property
    def rate(self) -> Fraction | None:
        """The nominal rate of what comes out."""
        return self.info.rate * rate_factor(self.deinterlace) if self.info.rate else None

    @property
    def expected_frames(self) -> int:
        """The film's frame count by its index, else as far as the container tells; of a part, its share."""
        known = sum(segment.frames for segment in self.segments)
        if known:
            return known
        if self.stop is not None and self.rate:
            first = self.start if self.start is not None else self.info.start_pts
            return round((self.stop - first) * self.info.time_base * self.rate)
        return round(self.info.frames * rate_factor(self.deinterlace))

    @property
    def upscale_label(self) -> str:
        """What a person wants to read: 1280x720 -> 5120x2880."""
        source = self.info.format
        return f"{source.width}x{source.height} -> {self.target.width}x{self.target.height}"
