"""How fast the network runs here, measured on a small piece of the film itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from time import perf_counter

from vsr.engine.upscaler import Upscaler
from vsr.errors import VsrError
from vsr.frames import FrameBatch, VideoInfo
from vsr.media.decode import Reader
from vsr.models.spec import Generator
from vsr.plan import Plan

SAMPLE_SIDE = 96
FLAT = 0.01  # of the peak: a frame whose first plane varies less shows nothing


def sample_frame(source: str, info: VideoInfo, entry: int | None = None) -> FrameBatch | None:
    """The frame at the pts `entry`, at which decoding may begin, or the next that a seek gets to; the first without one.

    None where none can be read.
    """
    try:
        with Reader(source, info, enter=entry) as reader:
            return next((frame for frame in reader if entry is None or frame.pts[0] >= entry), None)
    except VsrError:
        return None


def telling_frame(source: str, info: VideoInfo, entries: Iterable[int | None]) -> FrameBatch | None:
    """The first of the frames at `entries` that can be read and shows something: on a black one every precision is perfect.

    None shows anything: one of them. None can be read: None.
    """
    samples = (sample_frame(source, info, entry) for entry in dict.fromkeys(entries))
    return telling(sample for sample in samples if sample is not None)


def telling(samples: Iterable[FrameBatch]) -> FrameBatch | None:
    """The first that shows something, else the last; None of none."""
    sample = None
    for sample in samples:
        if float(sample.planes[0].std()) > FLAT * (1 << sample.format.layout.bits):
            break
    return sample


def model_fps(sample: FrameBatch, plan: Plan, generator: Generator) -> float:
    """Frames a second of the network and its colour conversion alone, from a crop of the sample of at most 96x96 pixels, scaled
    by area, and of all workers, from one."""
    whole, target = plan.info.format, plan.target
    side = min(SAMPLE_SIDE, whole.width, whole.height)
    side -= side % 4 if side > 4 else 0
    scale = max(target.width / whole.width, target.height / whole.height)
    crop = replace(whole, width=side, height=side)
    grown = replace(target, width=max(1, round(side * scale)), height=max(1, round(side * scale)))
    planes = tuple(plane[:, :h, :w] for plane, (h, w) in zip(sample.planes, crop.plane_shapes, strict=True))
    workers = plan.engine.workers
    upscaler = Upscaler(generator, crop, grown, replace(plan.engine, threads=plan.engine.threads_each, workers=1))
    small = sample.with_planes(crop, planes)
    upscaler.up(small)  # the first pass pays for what is set up once
    began = perf_counter()
    upscaler.up(small)
    return workers * side**2 / (whole.width * whole.height) / (perf_counter() - began)
