"""What a job will cost, before it is begun: measured on a small piece, said as an estimate."""

from __future__ import annotations

from time import perf_counter

from vsr.engine.upscaler import Upscaler
from vsr.errors import VsrError
from vsr.frames import FrameFormat
from vsr.media.decode import Reader
from vsr.pipeline import expected_frames
from vsr.planning import Job

# Bits per pixel and frame at the default quality, from the clips of docs/lab.md; films differ by a factor of three either way.
BITS_PER_PIXEL = {"h264": 0.12, "hevc": 0.07, "av1": 0.06, "vp9": 0.09, "prores": 3.5, "ffv1": 7.0}
SAMPLE_SIDE = 96


def estimate(job: Job) -> dict[str, object]:
    """`frames`, `tflop_per_frame`, `seconds`, `fps` and `gigabytes` of the whole job; what is unknown is left out.

    The time is that of the network alone, measured on a crop of the first frame of at most 96x96 pixels and scaled by area.
    """
    plan = job.plan
    frames = expected_frames(plan)
    source = plan.info.format
    pixels = source.width * source.height
    facts: dict[str, object] = {"frames": frames, "tflop_per_frame": round(job.generator.spec.mflop_per_pixel * pixels / 1e6, 4)}
    seconds = _seconds_per_pixel(job)
    if seconds is not None:
        facts["model_fps"] = round(1 / (seconds * pixels), 3)
        if frames:
            facts["seconds"] = round(seconds * pixels * frames, 1)
    bits = BITS_PER_PIXEL.get(plan.encoding.codec)
    if bits is not None and frames:
        facts["gigabytes"] = round(bits * plan.target.width * plan.target.height * frames / 8e9, 3)
    return facts


def _seconds_per_pixel(job: Job) -> float | None:
    if not isinstance(job.source, str) or job.plan.info.container == "images":
        return None  # a pipe's frames must not be used up for this
    source = job.plan.info.format
    side = min(SAMPLE_SIDE, source.width, source.height)
    side -= side % 4 if side > 4 else 0
    scale = max(job.plan.target.width / source.width, job.plan.target.height / source.height)
    crop = FrameFormat(side, side, source.layout, source.color)
    grown = FrameFormat(max(1, round(side * scale)), max(1, round(side * scale)), job.plan.target.layout, job.plan.target.color)
    try:
        with Reader(job.source, job.plan.info) as reader:
            batch = next(iter(reader))
    except (VsrError, StopIteration):
        return None
    planes = tuple(plane[:, :h, :w] for plane, (h, w) in zip(batch.planes, crop.plane_shapes, strict=True))
    upscaler = Upscaler(job.generator, crop, grown, job.plan.engine)
    small = batch.with_planes(crop, planes)
    upscaler.up(small)
    began = perf_counter()
    upscaler.up(small)
    return (perf_counter() - began) / side**2
