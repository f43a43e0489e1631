"""Every way to run a network on this CPU, in turn:  python benchmarks/engines.py [--rounds 5] [--json FILE]

Engines: torch as it comes (NCHW), channels_last, all of it in bf16, for RRDBNet the product's bf16 (residual stream in float32),
and in float32 our Winograd and ncnn's. Medians of wall and CPU seconds for one frame, and PSNR to NCHW float32 on the same
frame: real weights, a piece of the bundled clip. Engines alternate within a round, so read the ratios: other work on the
machine disturbs all alike.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does

import argparse
import copy
import json
import math
import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import torch
from torch import Tensor

from vsr.color import planes_to_rgb
from vsr.config import EngineSettings
from vsr.engine.precision import has_bf16
from vsr.engine.room import read_text
from vsr.engine.runners import EXACT_CPU, exact, runner
from vsr.media.decode import Reader
from vsr.media.probe import probe
from vsr.models import weights
from vsr.models.rrdb import RRDBNet
from vsr.models.spec import Generator

CLIP = Path(__file__).parents[1] / "examples" / "bunny_160x90.mp4"
CASES = {"animevideo": (90, 160), "esrgan": (64, 64), "esrgan-anime": (64, 64)}  # model -> height, width

Runner = Callable[[], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--model", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--size", help="WxH instead of each model's own, at most 160x90")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for model in options.model:
        width, height = map(int, options.size.split("x")) if options.size else CASES[model][::-1]
        frame = first_frame()[..., :height, :width].contiguous()
        for threads in options.threads:
            rows += measure(model, frame, threads, options.rounds)
            show([row for row in rows if row["model"] == model and row["threads"] == threads])
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rounds": options.rounds, "rows": rows}, indent=1) + "\n")


def first_frame() -> Tensor:
    """(1, 3, 90, 160) RGB 0..1"""
    info = probe(str(CLIP))
    with Reader(str(CLIP), info) as reader:
        batch = next(iter(reader))
    return planes_to_rgb(tuple(torch.from_numpy(plane.copy()) for plane in batch.planes), batch.format)


def measure(model: str, frame: Tensor, threads: int, rounds: int) -> list[dict[str, str | int | float]]:
    torch.set_num_threads(threads)
    runners = engines(weights.load(model, 4), frame, threads)
    wall: dict[str, list[float]] = {name: [] for name in runners}
    cpu: dict[str, list[float]] = {name: [] for name in runners}
    with torch.inference_mode():
        pictures = {name: runner().float() for name, runner in runners.items()}  # the warm-up, too
        for _ in range(rounds):
            for name, runner in runners.items():
                began, spent = perf_counter(), process_time()
                runner()
                wall[name].append(perf_counter() - began)
                cpu[name].append(process_time() - spent)
    rows: list[dict[str, str | int | float]] = []
    for name in runners:
        seconds = statistics.median(wall[name])
        rows.append(
            {
                "model": model, "size": f"{frame.shape[3]}x{frame.shape[2]}", "threads": threads, "engine": name,
                "wall": seconds, "cpu": statistics.median(cpu[name]), "fastest": min(wall[name]), "slowest": max(wall[name]),
                "over_channels_last": statistics.median(wall["channels_last"]) / seconds,
                "psnr": psnr(pictures["nchw"], pictures[name]),
            }
        )  # fmt: skip
    return rows


def engines(network: Generator, frame: Tensor, threads: int) -> dict[str, Runner]:
    last = torch.channels_last
    clone, half = (copy.deepcopy(network).to("cpu", dtype, memory_format=last) for dtype in (torch.float32, torch.bfloat16))
    wide, narrow = frame.to(memory_format=last), frame.to(torch.bfloat16, memory_format=last)
    runners: dict[str, Runner] = {
        "nchw": lambda: network.reconstruct(frame[:, None]),
        "channels_last": lambda: clone.reconstruct(wide[:, None]),
    }
    if has_bf16(read_text(Path("/proc/cpuinfo"))):
        runners["all bf16"] = lambda: half.reconstruct(narrow[:, None])
        if isinstance(network, RRDBNet):
            mixed = runner(network, torch.device("cpu"), "bf16", EngineSettings(threads=threads))
            runners["bf16"] = lambda: mixed(frame)
    for backend in EXACT_CPU:
        twin = exact(network, backend, threads)
        if twin is not None:
            runners[backend] = lambda twin=twin: twin.reconstruct(frame[:, None])  # type: ignore[misc]
    return runners


def psnr(reference: Tensor, other: Tensor) -> float | str:
    error = float((reference.double() - other.double()).square().mean())
    return round(10 * math.log10(1 / error), 1) if error else "equal"


def show(rows: list[dict[str, str | int | float]]) -> None:
    print(f"\n{rows[0]['model']} {rows[0]['size']}, {rows[0]['threads']} threads; load {os.getloadavg()[0]:.1f}")
    print(f"{'engine':14}{'wall s':>9}{'fastest':>9}{'slowest':>9}{'CPU s':>9}{'x':>7}{'PSNR dB':>9}")
    for row in rows:
        numbers = "".join(f"{row[key]:9.4f}" for key in ("wall", "fastest", "slowest", "cpu"))
        print(f"{row['engine']:14}{numbers}{row['over_channels_last']:7.2f}{row['psnr']:>9}")


def machine() -> dict[str, str]:
    lines = read_text(Path("/proc/cpuinfo")).splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {"cpu": model, "cores": str(os.cpu_count()), "torch": torch.__version__, "python": platform.python_version()}


if __name__ == "__main__":
    main()
