"""Every network on one device:  python benchmarks/gpu/networks.py --json FILE [--device cuda] [--quick]

Precision x memory layout x batch x size, eager, in a captured CUDA graph, and compiled; frames a second, the share of the
measured rate of matrix products, and the PSNR to fp32 of the very same run (a compiler may be fast and wrong). Rehearsal:
--device cpu --quick.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, cast

import torch
from torch import Tensor

from vsr.bench.ceiling import matmul_tflops
from vsr.engine.precision import DTYPES
from vsr.engine.rrdb_forms import RrdbForm
from vsr.engine.runners import forms_of
from vsr.models.rrdb import RRDBNet
from vsr.models.spec import Generator, Precision
from vsr.models.weights import load

SIZES = ((480, 270), (960, 540), (1920, 1080))
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
Run = Callable[[Tensor], Tensor]


def wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def copy_rate(device: torch.device) -> float:
    """Bytes a second of a device-to-device copy, read and written."""
    source = torch.empty(1 << (28 if device.type != "cpu" else 24), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = []
    for _ in range(10):
        wait(device)
        began = perf_counter()
        target.copy_(source)
        wait(device)
        times.append(perf_counter() - began)
    return 2 * source.numel() / min(times)


def runs(net: Generator, x: Tensor, frames: Tensor, *, quick: bool) -> Iterator[tuple[str, Run]]:
    """The ways to run a network on frames like `x`, which are `frames` in its precision and layout."""

    def eager(frames: Tensor) -> Tensor:
        return net.reconstruct(net.features(frames)[:, None])

    yield "eager", eager
    if x.device.type == "cuda":
        yield "graph", captured(eager, x)
    last = x.is_contiguous(memory_format=torch.channels_last)
    for form in forms_of(net) if last else ():  # a copy in this precision and channels_last of its own
        form_of_it = RrdbForm(cast(RRDBNet, net), x.device, x.dtype, form)
        graph = captured(form_of_it, frames) if x.device.type == "cuda" else form_of_it
        yield f"form {form}", lambda _, graph=graph: graph(frames)  # type: ignore[misc]
    modes = ("default",) if quick else ("default", "max-autotune", "max-autotune-no-cudagraphs")
    for mode in modes if not quick or x.device.type == "cuda" else ():
        yield f"compile {mode}", torch.compile(eager, mode=None if mode == "default" else mode)


def captured(run: Run, x: Tensor) -> Run:
    """One CUDA graph: the input is copied into its buffer, the output is its buffer."""
    held = x.clone()
    cuda: Any = torch.cuda  # Stream carries no types in some releases
    side = cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            run(held)
    torch.cuda.current_stream().wait_stream(side)
    graph: Any = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run(held)

    def replay(frames: Tensor) -> Tensor:
        held.copy_(frames)
        graph.replay()
        return out

    return replay


def timed(run: Run, x: Tensor, seconds: float) -> float:
    """Median seconds of one call."""
    for _ in range(3):
        run(x)
    times: list[float] = []
    began = perf_counter()
    while len(times) < 3 or perf_counter() - began < seconds:
        wait(x.device)
        start = perf_counter()
        run(x)
        wait(x.device)
        times.append(perf_counter() - start)
    return median(times)


def drawn(height: int, width: int) -> Tensor:
    """(1, 3, height, width): waves, fine lines and an edge. Noise would judge precision too hard."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = (0.5 + 0.3 * torch.sin(x * 0.3) * torch.cos(y * 0.2), 0.5 + 0.4 * torch.sin(y * 0.9), 0.2 + 0.5 * (x > y))
    return torch.stack(planes)[None].float()


def decibel(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a.float() - b.float()).square().mean().clamp_min(1e-20)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", default=["animevideo", "esrgan", "esrgan-anime"])
    parser.add_argument("--quick", action="store_true", help="one tiny size, batch 1: a rehearsal")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--limit", type=float, default=540, help="seconds of all: what is not reached is left out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device, began = torch.device(options.device), perf_counter()
    sizes, batches = (((32, 24),), (1,)) if options.quick else (SIZES, (1, 2, 4, 8))
    precisions: tuple[Precision, ...] = ("fp16", "bf16") if device.type == "cuda" else ("bf16", "fp32")
    torch.backends.cudnn.benchmark = True
    ceilings = {p: matmul_tflops(device, p, 0) for p in precisions}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    facts = {"device": name, "torch": torch.__version__, "ceilings_tflops": ceilings, "copy_bytes_per_second": copy_rate(device)}
    print(facts)
    rows: list[dict[str, Any]] = []
    for model, (width, height), batch in product(options.models, sizes, batches):
        plain = load(model, 4)
        frames = drawn(height, width).expand(batch, -1, -1, -1)
        with torch.inference_mode():
            exact = copy.deepcopy(plain).to(device)
            reference = exact.reconstruct(exact.features(frames[:1].to(device))[:, None])
            for precision, (layout, order) in product(precisions, LAYOUTS.items()):
                net = copy.deepcopy(plain).to(device, DTYPES[precision], memory_format=order)
                x = frames.to(device, DTYPES[precision], memory_format=order)
                try:
                    for how, run in runs(net, x, frames.to(device), quick=options.quick):
                        if perf_counter() - began > options.limit:
                            break
                        seconds = timed(run, x, 0.05 if options.quick else options.seconds)
                        work = plain.spec.mflop_per_pixel * width * height * batch / 1e6
                        rows.append(
                            {
                                "model": model, "size": [width, height], "batch": batch, "precision": precision, "layout": layout,
                                "how": how, "fps": batch / seconds, "mfu": work / seconds / ceilings[precision],
                                "psnr": decibel(run(x)[:1], reference),
                            }
                        )  # fmt: skip
                        print(json.dumps(rows[-1]), flush=True)
                except RuntimeError as error:  # out of memory, or what a compiler does not take
                    print(model, width, height, batch, precision, layout, str(error).splitlines()[0], flush=True)
    if options.json:
        options.json.write_text(json.dumps({**facts, "rows": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
