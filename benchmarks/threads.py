"""What more threads bring to the network alone:  python benchmarks/threads.py [--threads 1 2] [--rounds 5] [--json FILE]

The product's own engine (decoded frames in, planes out, no encoder) on the bundled clip, thread counts in turn within a round,
medians of frames a second. Frames are computed one a thread; `--shared` adds the other way, all threads on one frame. The
planes of every way are compared with those of one thread: one a thread they must be the same bytes.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does

import argparse
import json
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from vsr.config import Backend, EngineSettings, Precision
from vsr.engine.crew import Crew
from vsr.engine.heap import keep_heap
from vsr.frames import FrameBatch
from vsr.media.decode import Reader
from vsr.media.probe import probe
from vsr.models.weights import load

CLIP = str(Path(__file__).parents[1] / "examples" / "bunny_160x90.mp4")
# model, precision, backend, frames of a round
CASES: tuple[tuple[str, Precision, Backend, int], ...] = (
    ("animevideo", "bf16", "torch", 96),
    ("animevideo", "fp32", "torch", 24),
    ("esrgan", "bf16", "torch", 4),
    ("esrgan", "fp32", "winograd", 2),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shared", action="store_true", help="also with all threads on one frame")
    parser.add_argument("--model", nargs="+", default=["animevideo", "esrgan"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_heap()
    info = probe(CLIP)
    with Reader(CLIP, info) as reader:
        frames = [*reader]
    target = replace(info.format, width=4 * info.format.width, height=4 * info.format.height)
    ways = [(count, count) for count in options.threads]
    if options.shared:
        ways += [(count, 1) for count in options.threads if count > 1]
    rows = []
    for model, precision, backend, count in (case for case in CASES if case[0] in options.model):
        plain = EngineSettings(precision=precision, backend=backend)
        crews = {way: Crew(load(model, 4), info.format, target, replace(plain, threads=way[0], workers=way[1])) for way in ways}
        first = {way: list(crew.stream(frames[: way[1]])) for way, crew in crews.items()}  # the warm-up, too
        rates: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, crew in crews.items():
                film = [replace(batch, index=at) for at, batch in enumerate(islice(cycle(frames), count * way[1]))]
                began = perf_counter()
                done = sum(1 for _ in crew.stream(film))
                rates[way].append(done / (perf_counter() - began))
        for way in ways:
            rows.append(
                {
                    "model": model, "precision": precision, "backend": backend, "threads": way[0], "frames at once": way[1],
                    "fps": median(rates[way]), "times one thread": median(rates[way]) / median(rates[ways[0]]),
                    "same bytes": same(first[way][0], first[ways[0]][0]), "load": os.getloadavg()[0],
                }
            )  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def same(one: FrameBatch, other: FrameBatch) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


if __name__ == "__main__":
    main()
