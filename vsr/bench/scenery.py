"""What of each moment is shown: the whole picture, or a detail of it where that is too large to look at or to compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from vsr.bench.cast import Role
from vsr.bench.moments import Moment
from vsr.bench.scout import Film
from vsr.engine.crew import Crew
from vsr.engine.window import Windows
from vsr.frames import FrameBatch, FrameFormat, Plane

MOST_PIXELS = 1920 * 1080  # of a picture on the page: more is no better to look at, and makes a page that opens slowly
SMALLEST = 96  # pixels of the source, a side
GRID = 8  # details begin at multiples of it: chroma and every network's steps fit
LOOKED_AT = 12  # places along each side where a detail may lie


@dataclass(frozen=True)
class Detail:
    """A part of the source's picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, frame: FrameBatch) -> FrameBatch:
        """That part of a frame."""
        layout = frame.format.layout
        format = replace(frame.format, width=self.width, height=self.height)
        planes: list[Plane] = []
        for number, (plane, (rows, columns)) in enumerate(zip(frame.planes, format.plane_shapes, strict=True)):
            chroma = layout.kind == "yuv" and number in (1, 2)
            top = self.top >> layout.log2_chroma_h if chroma else self.top
            left = self.left >> layout.log2_chroma_w if chroma else self.left
            planes.append(plane[:, top : top + rows, left : left + columns].copy())
        return frame.with_planes(format, tuple(planes))


def choose_details(roles: Sequence[Role], frames: Sequence[FrameBatch], seconds: float) -> tuple[list[Role], list[Detail]]:
    """Who can compute all moments in about `seconds` each, and a detail of every moment, of one size, that they all compute.

    The baseline always can. The detail is the busiest of each picture.
    """
    plan = roles[0].job.plan
    whole = plan.info.format
    pixels = whole.width * whole.height
    shares = {role.model: seconds * role.network_fps / len(frames) for role in roles}
    least = min(1.0, SMALLEST**2 / pixels)
    able = [role for at, role in enumerate(roles) if at == 0 or shares[role.model] >= least]
    share = min([1.0, MOST_PIXELS / (plan.target.width * plan.target.height), *(shares[role.model] for role in able[1:])])
    if share >= 1:
        return able, [Detail(0, 0, whole.width, whole.height)] * len(frames)
    width, height = (min(side, max(SMALLEST, int(side * sqrt(share)) // GRID * GRID)) for side in (whole.width, whole.height))
    return able, [_busiest(frame, width, height) for frame in frames]


def _busiest(frame: FrameBatch, width: int, height: int) -> Detail:
    """Where, among a grid of places, the first plane changes most from pixel to pixel."""
    luma = frame.planes[0][0].astype(np.float32)
    edges = np.abs(np.diff(luma, axis=0))[:, :-1] + np.abs(np.diff(luma, axis=1))[:-1]
    sums = np.pad(edges.cumsum(0, dtype=np.float64).cumsum(1), ((1, 0), (1, 0)))
    best, found = -1.0, Detail(0, 0, width, height)
    for top in _places(luma.shape[0], height):
        for left in _places(luma.shape[1], width):
            low, right = min(top + height, edges.shape[0]), min(left + width, edges.shape[1])
            amount = float(sums[low, right] - sums[top, right] - sums[low, left] + sums[top, left])
            if amount > best:
                best, found = amount, Detail(left, top, width, height)
    return found


def _places(side: int, part: int) -> list[int]:
    return sorted({(side - part) * at // (LOOKED_AT - 1) // GRID * GRID for at in range(LOOKED_AT)})


def enlarged(role: Role, film: Film, moments: Sequence[Moment], details: Sequence[Detail]) -> Iterator[FrameBatch]:
    """What a model makes of each detail, with its neighbours where it looks at them, as its job would."""
    plan, context = role.job.plan, role.generator.spec.context
    whole, detail = plan.info.format, details[0]
    source = replace(whole, width=detail.width, height=detail.height)
    crew = Crew(role.generator, source, grown(plan.target, whole, detail), plan.engine)

    def frames() -> Iterator[FrameBatch]:
        for moment, place in zip(moments, details, strict=True):
            near = [place.of(frame) for frame in film.with_neighbours(moment.look.pts, context)]
            yield from Windows(context, 1).through(near) if context else near

    yield from crew.stream(frames())


def grown(target: FrameFormat, whole: FrameFormat, detail: Detail) -> FrameFormat:
    """The format of an enlarged detail: as the whole picture's would be."""
    width = max(1, round(detail.width * target.width / whole.width))
    height = max(1, round(detail.height * target.height / whole.height))
    return replace(target, width=width, height=height)
