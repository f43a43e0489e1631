"""How fast the network runs here, measured on a small piece of the film itself."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from vsr.engine.upscaler import Upscaler
from vsr.errors import VsrError
from vsr.media.decode import Reader
from vsr.models.spec import Generator
from vsr.plan import Plan

SAMPLE_SIDE = 96


def model_fps(source: str, plan: Plan, generator: Generator) -> float | None:
    """Frames a second of the network and its colour conversion alone, from a crop of the first frame of at most 96x96 pixels,
    scaled by area; None where no frame can be read."""
    whole, target = plan.info.format, plan.target
    side = min(SAMPLE_SIDE, whole.width, whole.height)
    side -= side % 4 if side > 4 else 0
    scale = max(target.width / whole.width, target.height / whole.height)
    crop = replace(whole, width=side, height=side)
    grown = replace(target, width=max(1, round(side * scale)), height=max(1, round(side * scale)))
    try:
        with Reader(source, plan.info) as reader:
            batch = next(iter(reader), None)
    except VsrError:
        return None
    if batch is None:
        return None
    planes = tuple(plane[:, :h, :w] for plane, (h, w) in zip(batch.planes, crop.plane_shapes, strict=True))
    upscaler = Upscaler(generator, crop, grown, plan.engine)
    small = batch.with_planes(crop, planes)
    upscaler.up(small)  # the first pass pays for what is set up once
    began = perf_counter()
    upscaler.up(small)
    return side**2 / (whole.width * whole.height) / (perf_counter() - began)
