"""What a driver and its workers tell each other: plain data, small enough for any wire. Frames never travel."""

from __future__ import annotations

from dataclasses import dataclass

from vsr.config import UpscaleConfig
from vsr.report import Report


@dataclass(frozen=True)
class PlanTask:
    """Resolve a film's plan, or take up the one that was begun. `anew`: what was begun by another job goes, where nobody else is
    at work on the film (`alone`)."""

    film: int
    config: UpscaleConfig
    alone: bool = True
    anew: bool = False


@dataclass(frozen=True)
class RenderTask:
    """Make these segments of a film, in this order."""

    film: int
    config: UpscaleConfig
    segments: tuple[int, ...]


@dataclass(frozen=True)
class FinishTask:
    """Join a film's segments, verify, give the final name. `check_films`: read every segment's bytes first."""

    film: int
    config: UpscaleConfig
    check_films: bool = False


Task = PlanTask | RenderTask | FinishTask


@dataclass(frozen=True)
class Ready:
    """A worker has begun and waits for tasks."""


@dataclass(frozen=True)
class Advanced:
    """So many frames of the task are made."""

    frames: int


@dataclass(frozen=True)
class Planned:
    """A plan is written down: frames of each segment by its number, and the segments that are finished already.

    `finished`: so is the result itself.
    """

    frames: tuple[int, ...]
    kept: tuple[int, ...] = ()
    finished: bool = False


@dataclass(frozen=True)
class Left:
    """Now that the film is here, it turns out that nothing is to be done, for this reason."""

    why: str


@dataclass(frozen=True)
class Made:
    """A segment is finished and written down."""

    segment: int
    frames: int


@dataclass(frozen=True)
class Rendered:
    """All segments of the task are made; `report` counts what they took."""

    report: Report


@dataclass(frozen=True)
class Finished:
    """The result has its final name."""

    report: Report


@dataclass(frozen=True)
class Failed:
    """A task cannot be done: one line, the place in the code, whether trying again is no use, and whether it is that the result
    is not what was promised."""

    reason: str
    trace: str = ""
    final: bool = False
    broken: bool = False


@dataclass(frozen=True)
class Unfit:
    """This worker would make other pixels than those that the film was begun with; `reason` names what differs."""

    reason: str


@dataclass(frozen=True)
class Lost:
    """A worker is gone, with what it was doing; `reason` is all that is known of it."""

    reason: str


Event = Ready | Advanced | Planned | Left | Made | Rendered | Finished | Failed | Unfit | Lost
ENDS = (Planned, Left, Rendered, Finished, Failed, Unfit, Lost)  # after these a worker has nothing to do
