"""What a frame is: sizes, sample layout, colour, time. Data and validation, no I/O, no torch.

A film travels as `FrameBatch`: the integer planes that the decoder made, with each frame's timestamp. Numbers for colour
are the code points of ITU-T H.273 (the ones that FFmpeg and every container use).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

UNSPECIFIED = 2  # H.273: "unspecified" for matrix, primaries and transfer
MATRIX_RGB = 0  # H.273: identity, the samples are R, G and B

Siting = Literal["left", "center", "topleft", "top", "bottomleft", "bottom"]
Kind = Literal["yuv", "rgb", "gray"]


@dataclass(frozen=True)
class PixelLayout:
    """How samples are laid out in planes.

    Planes come in the order Y, U, V / R, G, B / gray, then alpha where there is one; always planar, one sample per
    element, value range 0 .. 2**bits - 1, stored in uint8 (8 bits) or native-endian uint16 (9 to 16 bits).
    `log2_chroma_w`/`log2_chroma_h` are 1 for halved chroma (4:2:0 is 1, 1; 4:2:2 is 1, 0; 4:1:1 is 2, 0), 0 otherwise.
    """

    kind: Kind
    bits: int = 8
    log2_chroma_w: int = 0
    log2_chroma_h: int = 0
    alpha: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("yuv", "rgb", "gray"):
            raise ValueError(f"unknown pixel kind {self.kind!r}")
        if not 8 <= self.bits <= 16:
            raise ValueError(f"{self.bits} bits a sample: only 8 to 16 are supported")
        if self.kind != "yuv" and (self.log2_chroma_w or self.log2_chroma_h):
            raise ValueError(f"{self.kind} has no chroma planes to subsample")

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        return np.dtype(np.uint8) if self.bits == 8 else np.dtype(np.uint16)

    @property
    def color_planes(self) -> int:
        """Planes without alpha: 3, or 1 for gray."""
        return 1 if self.kind == "gray" else 3

    @property
    def plane_count(self) -> int:
        return self.color_planes + self.alpha

    def plane_shapes(self, width: int, height: int) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of each plane; an odd size rounds its chroma up, as every decoder does."""
        chroma = (-(-height >> self.log2_chroma_h), -(-width >> self.log2_chroma_w))
        shapes = [(height, width)] + [chroma] * (self.color_planes - 1)
        return tuple(shapes + [(height, width)] * self.alpha)


@dataclass(frozen=True)
class ColorSpec:
    """What the sample values mean (H.273 code points).

    `matrix` is the one to compute with (never unspecified for YUV); `matrix_guessed` says that the source carries no tag and
    players' rule was followed (BT.709 from 720 lines up, else BT.601).
    """

    matrix: int = 1
    full_range: bool = False
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    siting: Siting = "left"
    matrix_guessed: bool = False


@dataclass(frozen=True)
class FrameFormat:
    """Size, sample layout and colour of frames that belong together."""

    width: int
    height: int
    layout: PixelLayout
    color: ColorSpec = field(default_factory=ColorSpec)

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a frame of {self.width}x{self.height} has no pixels")

    @property
    def plane_shapes(self) -> tuple[tuple[int, int], ...]:
        return self.layout.plane_shapes(self.width, self.height)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's planes."""
        return sum(h * w for h, w in self.plane_shapes) * self.layout.dtype.itemsize


@dataclass(frozen=True)
class Timecode:
    """SMPTE ST 12-1: a label of a frame, not its time. `drop`: two numbers are left out every minute but the tenth (NTSC)."""

    hours: int
    minutes: int
    seconds: int
    frames: int
    drop: bool = False

    def __str__(self) -> str:
        return f"{self.hours:02d}:{self.minutes:02d}:{self.seconds:02d}{';' if self.drop else ':'}{self.frames:02d}"


@dataclass(frozen=True)
class PictureData:
    """What broadcasters put beside a picture, as bytes and codes of the standards; it means the same at any size.

    captions   cc_data triples of ATSC A/53 part 4 (CEA-608 and CEA-708), three bytes each
    afd        active format description, 4 bits (SMPTE ST 2016-1); None = none
    timecode   one for the frame, or one for each of its fields
    """

    captions: bytes = b""
    afd: int | None = None
    timecode: tuple[Timecode, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of what is there."""
        there = {"captions": bool(self.captions), "afd": self.afd is not None, "timecode": bool(self.timecode)}
        return tuple(kind for kind, held in there.items() if held)


@dataclass(frozen=True)
class FrameBatch:
    """Consecutive frames of one format: `planes[p]` has shape (N, rows, columns), integers.

    `pts` are in the stream's time base, strictly increasing; `duration` is 0 where the source does not say.
    `index` is the display-order number of the first frame. `data` is what travels beside the pictures, None where nothing does.
    `timings` collects seconds per stage as the batch travels; `segment` is the number of the plan's segment that it belongs to.
    Frames that are not `shown` are there for their neighbours' sake alone, and `window` is what a batch is computed from where
    that is more than its own frames.
    """

    format: FrameFormat
    planes: tuple[Plane, ...]
    pts: tuple[int, ...]
    duration: tuple[int, ...] = ()
    index: int = 0
    timings: dict[str, float] = field(default_factory=dict, compare=False)
    data: tuple[PictureData | None, ...] = ()
    segment: int = 0
    shown: bool = True
    window: Window | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        layout, n = self.format.layout, len(self.pts)
        if not self.duration:
            object.__setattr__(self, "duration", (0,) * n)
        if not self.data:
            object.__setattr__(self, "data", (None,) * n)
        if n == 0 or len(self.duration) != n or len(self.data) != n:
            raise ValueError(f"a batch of {n} frames with {len(self.duration)} durations and data for {len(self.data)}")
        if any(b <= a for a, b in zip(self.pts, self.pts[1:], strict=False)):
            raise ValueError(f"timestamps do not increase: {self.pts}")
        if len(self.planes) != layout.plane_count:
            raise ValueError(f"{len(self.planes)} planes given, {layout} has {layout.plane_count}")
        for plane, shape in zip(self.planes, self.format.plane_shapes, strict=True):
            if plane.shape != (n, *shape) or plane.dtype != layout.dtype:
                raise ValueError(f"plane {plane.shape} {plane.dtype}, expected {(n, *shape)} {layout.dtype}")

    def __len__(self) -> int:
        return len(self.pts)

    def with_planes(self, format: FrameFormat, planes: tuple[Plane, ...]) -> FrameBatch:
        """The same frames in time with other pixels."""
        return replace(self, format=format, planes=planes)


@dataclass(frozen=True)
class Window:
    """What frames are computed from, for models that look at neighbours.

    `frames` are single ones, each once, in display order; `picks[i]` are positions in it, for the i-th frame of the batch: itself
    in the middle, as many neighbours on each side as the model's context.
    """

    frames: tuple[FrameBatch, ...]
    picks: tuple[tuple[int, ...], ...]

    def of(self, first: int, last: int) -> Window:
        """The window of the frames `first` to `last` (exclusive) of the batch, and no frame that they do not need."""
        picks = self.picks[first:last]
        needed = sorted({at for pick in picks for at in pick})
        return Window(tuple(self.frames[at] for at in needed), tuple(tuple(needed.index(at) for at in pick) for pick in picks))


@dataclass(frozen=True)
class StreamInfo:
    """One stream of a container, as the demuxer sees it."""

    index: int
    type: str  # video, audio, subtitle, attachment, data
    codec: str  # FFmpeg's name; "" where unknown
    language: str = ""
    title: str = ""
    default: bool = False
    forced: bool = False
    cover: bool = False  # an attached picture
    detail: str = ""  # "48000 Hz 5.1", "font/ttf", ... for people

    def __str__(self) -> str:
        words = [
            f"{self.type} stream {self.index}",
            f"({', '.join(filter(None, (self.codec or 'unknown codec', self.language)))})",
        ]
        return " ".join(words)


@dataclass(frozen=True)
class MasteringDisplay:
    """SMPTE ST 2086: chromaticities x, y of red, green, blue and white, and the display's luminance range in cd/m2."""

    chromaticity: tuple[Fraction, ...]
    least: Fraction
    most: Fraction


@dataclass(frozen=True)
class LightLevel:
    """CTA-861.3: maximum content and frame-average light level in cd/m2."""

    most: int
    average: int


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a source before its film is read: the main video stream, and what travels with it.

    `time_base` is the unit of every pts of the main stream; `rate` is the nominal frame rate (a hint, never a clock);
    `frames` is what the container claims or an estimate from duration and rate (0 = unknown);
    `display_matrix` are the nine 16.16 fixed-point integers of the container's rotation/flip (None = upright);
    `clock` says which of the file's times are the frames' own: "pts", or "dts" where the container stores no display times.
    `picture_data` names what lies beside the first picture (captions, afd, timecode); `timecode` is its label (SMPTE ST 12-1).
    `zero` is the seconds that are subtracted from every stream (transport streams start anywhere).
    """

    source: str
    container: str
    index: int
    codec: str
    pix_fmt: str
    format: FrameFormat
    time_base: Fraction
    start_pts: int
    rate: Fraction | None
    duration: float | None
    frames: int
    sar: Fraction
    rotation: int = 0
    display_matrix: tuple[int, ...] | None = None
    interlaced: bool = False
    picture_data: tuple[str, ...] = ()
    timecode: str = ""
    hdr: tuple[str, ...] = ()
    mastering: MasteringDisplay | None = None
    light: LightLevel | None = None
    clock: Literal["pts", "dts"] = "pts"
    zero: Fraction = Fraction(0)
    streams: tuple[StreamInfo, ...] = ()
    chapters: int = 0
    metadata: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """The usual distance between two frames in ticks, by the nominal rate (25 where there is none)."""
        return max(1, round(1 / ((self.rate or 25) * self.time_base)))
