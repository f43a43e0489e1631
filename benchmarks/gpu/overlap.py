"""Do copies overlap compute, and is the device ever idle?  python benchmarks/gpu/overlap.py --json FILE [--device cuda] [--quick]

Runs the product's `Upscaler.stream` in the steady state under torch's profiler and reads the trace: how much of the time some
kernel ran, how much of the copies' time lay under kernels, the longest gap, the kernels that took longest, and every call that
made the host wait (cudaStreamSynchronize and its like; waiting for one event a batch is meant to be). Rehearsal: --device cpu
--quick, where the trace has operators in place of kernels, and no copies.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from vsr.config import UpscaleConfig
from vsr.engine.crew import Crew
from vsr.frames import FrameBatch
from vsr.media.decode import Reader
from vsr.planning import draft_job, make_plan

CLIP = Path(__file__).parents[2] / "examples" / "bunny_160x90.mp4"
WARM_UP = 6  # batches: the first runs as it is, the second is recorded
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
Span = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", default=["animevideo", "esrgan"])
    parser.add_argument("--size", default="960x540")
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    size = (64, 48) if options.quick else tuple(map(int, options.size.split("x")))
    rows = []
    for model in options.models[:1] if options.quick else options.models:
        events = traced(model, options.device, (size[0], size[1]), 3 if options.quick else options.batches)
        rows.append({"model": model, "size": size, **summary(events)})
        print(json.dumps(rows[-1], indent=1), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def traced(model: str, device: str, size: tuple[int, int], batches: int) -> list[dict[str, Any]]:
    """The events of the steady state."""
    with TemporaryDirectory() as folder:
        config = UpscaleConfig(str(CLIP), f"{folder}/x.mkv", model=model, device=device, reuse="off", segment=0.0, threads=1)
        draft = draft_job(config)
        plan = make_plan(draft)
        first = next(iter(frames(plan.info.source, plan.info, 1)))
        source = replace(first.format, width=size[0], height=size[1])
        target = replace(plan.target, width=4 * size[0], height=4 * size[1])
        upscaler = Crew(draft.generator, source, target, plan.engine)
        one = grown(first, source, plan.engine.batch)
        for _ in upscaler.stream([one] * WARM_UP):
            pass
        activities = [torch.profiler.ProfilerActivity.CPU]
        if device.startswith("cuda"):
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as profile:
            for _ in upscaler.stream([one] * batches):
                pass
        profile.export_chrome_trace(f"{folder}/trace.json")
        events: list[dict[str, Any]] = json.loads(Path(f"{folder}/trace.json").read_text(encoding="utf-8"))["traceEvents"]
        return [event for event in events if event.get("ph") == "X"]


def frames(source: str, info: Any, batch: int) -> Iterator[FrameBatch]:
    with Reader(source, info, batch=batch) as reader:
        yield from reader


def grown(batch: FrameBatch, format: Any, count: int) -> FrameBatch:
    """The frame repeated to this size, `count` times: what is in it does not matter here."""
    planes = []
    for plane, (rows, columns) in zip(batch.planes, format.plane_shapes, strict=True):
        tiled = torch.from_numpy(plane.copy()).repeat(count, -(-rows // plane.shape[1]), -(-columns // plane.shape[2]))
        planes.append(tiled[:, :rows, :columns].contiguous().numpy())
    return FrameBatch(format, tuple(planes), tuple(range(count)))


def summary(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares and times of a trace, in milliseconds."""
    kernels = [event for event in events if event.get("cat") in ("kernel", "gpu_memset")]
    work = kernels or [event for event in events if event.get("cat") == "cpu_op"]
    copies = [event for event in events if event.get("cat") == "gpu_memcpy" and "DtoD" not in event["name"]]
    busy, copied = union(spans(work)), union(spans(copies))
    whole = busy[-1][1] - busy[0][0]
    gaps = [after[0] - before[1] for before, after in pairwise(busy)]
    taken: Counter[str] = Counter()
    for event in work:
        taken[event["name"][:90]] += event["dur"]
    return {
        "measured on": "device" if kernels else "host operators (no device)",
        "busy share": length(busy) / whole,
        "longest gap ms": max(gaps, default=0.0) / 1e3,
        "copies ms": length(copied) / 1e3,
        "copies under kernels": length(common(busy, copied)) / length(copied) if copied else None,
        "host waits": Counter(event["name"] for event in events if event["name"].startswith(WAITS)),
        "longest kernels ms": {name: spent / 1e3 for name, spent in taken.most_common(15)},
    }


def spans(events: Sequence[dict[str, Any]]) -> list[Span]:
    return [(event["ts"], event["ts"] + event["dur"]) for event in events]


def union(pieces: Sequence[Span]) -> list[Span]:
    """Overlapping pieces as one."""
    merged: list[Span] = []
    for begin, end in sorted(pieces):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged


def common(some: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """Where both are, of unions."""
    return [(max(a, c), min(b, d)) for a, b in some for c, d in others if max(a, c) < min(b, d)]


def length(pieces: Sequence[Span]) -> float:
    return sum(end - begin for begin, end in pieces)


if __name__ == "__main__":
    main()
