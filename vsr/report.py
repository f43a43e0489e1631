"""What a job says while it runs, and what it says at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vsr.media.decode import ReadReport
from vsr.media.verify import Check
from vsr.plan import Plan

LONG_SECONDS = 20.0
ENCODER_SHARE = 0.5


@dataclass(frozen=True)
class Progress:
    """Where a job stands: frames (or images) done, expected (0 = unknown), seconds since the first was asked for."""

    stage: str
    frames: int
    total: int
    seconds: float
    kept: int = 0  # of an earlier run, beside `frames`

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds > 0 else 0.0


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class ImageResult:
    """What came of one image; `error` is empty where it went well."""

    source: str
    output: str
    width: int = 0
    height: int = 0
    error: str = ""


@dataclass
class Report:
    """What came of a job. `plan`, `read` and `checks` are a film's; `images` those of an image, a folder or a sequence."""

    output: str = ""
    plan: Plan | None = None
    frames_in: int = 0
    frames_out: int = 0
    frames_kept: int = 0  # finished by an earlier run
    frames_reused: int = 0  # repeats, enlarged once
    cuts: list[int] = field(default_factory=list)  # frames that begin a new shot, where the model looks at neighbours
    seconds: float = 0.0
    seconds_for_encoder: float = 0.0  # of these the network waited for it
    read: ReadReport = field(default_factory=ReadReport)
    checks: tuple[Check, ...] = ()
    images: list[ImageResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def fps(self) -> float:
        return self.frames_out / self.seconds if self.seconds > 0 else 0.0

    @property
    def encoder_bound(self) -> bool:
        """Was the encoder, and not the network, what the job waited for? (A short one mostly waits for its end.)"""
        return self.seconds > LONG_SECONDS and self.seconds_for_encoder > ENCODER_SHARE * self.seconds

    @property
    def failed(self) -> list[ImageResult]:
        return [image for image in self.images if image.error]
