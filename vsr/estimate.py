"""What a job will cost, before it is begun."""

from __future__ import annotations

from vsr.measure import model_fps, sample_frame
from vsr.planning import Job
from vsr.sizes import output_bytes


def estimate(job: Job) -> dict[str, object]:
    """`frames`, `tflop_per_frame`, `model_fps`, `seconds` and `gigabytes` of the whole job; what is unknown is left out.

    The time is that of the network alone, measured on a small crop of the first frame.
    """
    plan = job.plan
    frames = plan.expected_frames
    source = plan.info.format
    tflop = job.generator.spec.mflop_per_pixel * source.width * source.height / 1e6
    facts: dict[str, object] = {"frames": frames, "tflop_per_frame": round(tflop, 4)}
    # a pipe's frames must not be used up for this, and a sequence's are read otherwise
    seekable = isinstance(job.source, str) and plan.info.container != "images"
    sample = sample_frame(str(job.source), plan.info) if seekable else None
    if sample is not None:
        fps = model_fps(sample, plan, job.generator)
        facts["model_fps"] = round(fps, 3)
        if frames:
            facts["seconds"] = round(frames / fps, 1)
    size = output_bytes(plan, frames)
    if size:
        facts["gigabytes"] = round(size / 1e9, 4)
    return facts
