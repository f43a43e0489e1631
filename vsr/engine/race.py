"""torch or ncnn on this CPU, for this network, at this size: a short race decides, by rules that do not flap."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor

from vsr.engine.ncnn_cpu import build, installed
from vsr.engine.precision import DTYPES
from vsr.errors import ModelError
from vsr.models.spec import Generator, ModelSpec, Precision

MARGIN = 1.1  # ncnn must win by this much, or the choice would flap from run to run
# ... and by this much where the timing saw a smaller picture than the job will: its lead shrinks as frames outgrow the caches.
MARGIN_UNSEEN = 1.5
PILOT_SIDE = 32
ROUNDS = 3

Engine = Literal["torch", "ncnn"]


@dataclass(frozen=True)
class Choice:
    """Which engine to use, why in words, and the best seconds of each on `height` x `width` pixels (0 = not timed)."""

    engine: Engine
    reason: str
    height: int = 0
    width: int = 0
    torch_seconds: float = 0.0
    ncnn_seconds: float = 0.0


def faster(
    generator: Generator, height: int, width: int, threads: int, precision: Precision = "fp32", seconds: float = 1.0
) -> Choice:
    """Time torch in `precision` (channels_last) against ncnn (always float32) on noise of `height` x `width` pixels: what the
    network will see at once, a frame or a tile with its halo.

    It takes about `seconds` (and building the network, 0.1 s): where a full picture takes longer, a smaller one is timed, and
    ncnn must then win by `MARGIN_UNSEEN`, else by `MARGIN`. In doubt torch. The result is a matter of timing: journal it.
    """
    try:
        rival = build(generator, threads)
    except ModelError as exc:
        return Choice("torch", str(exc))
    if rival is None:
        return Choice("torch", "ncnn does not know this network" if installed() else "ncnn is not installed")
    ours = copy.deepcopy(generator).to("cpu", DTYPES[precision], memory_format=torch.channels_last)

    def passes(tall: int, wide: int) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
        noise = torch.rand(1, 3, tall, wide, generator=torch.Generator().manual_seed(0))
        cast = noise.to(DTYPES[precision], memory_format=torch.channels_last)
        return lambda: ours.reconstruct(cast[:, None]), lambda: rival.reconstruct(noise[:, None])

    with torch.inference_mode(), _threads(threads):
        side = _multiple(PILOT_SIDE, generator.spec)
        per_pixel = sum(_race(passes(side, side), 1)) / side**2
        share = min(1.0, seconds / ((ROUNDS + 1) * per_pixel * height * width)) ** 0.5
        tall, wide = (_multiple(max(min(PILOT_SIDE, size), int(size * share)), generator.spec) for size in (height, width))
        torch_seconds, ncnn_seconds = _race(passes(tall, wide), ROUNDS)
    return _judge(Choice("torch", "", tall, wide, torch_seconds, ncnn_seconds), precision, share == 1)


def _judge(timed: Choice, precision: Precision, whole: bool) -> Choice:
    ratio, margin = timed.torch_seconds / timed.ncnn_seconds, MARGIN if whole else MARGIN_UNSEEN
    engine: Engine = "ncnn" if ratio >= margin else "torch"
    size = f"{timed.width}x{timed.height} pixels{'' if whole else ', less than it will see'}"
    reason = f"ncnn takes 1/{ratio:.2f} of torch's time in {precision} on {size}; it must be 1/{margin} or less"
    return Choice(engine, reason, timed.height, timed.width, timed.torch_seconds, timed.ncnn_seconds)


def _race(runners: tuple[Callable[[], Tensor], Callable[[], Tensor]], rounds: int) -> tuple[float, float]:
    """The best wall seconds of each, in turn, after a first pass of each that pays for what is set up once."""
    best = [math.inf, math.inf]
    for round_ in range(rounds + 1):
        for index, runner in enumerate(runners):
            began = perf_counter()
            runner()
            if round_:
                best[index] = min(best[index], perf_counter() - began)
    return best[0], best[1]


def _multiple(size: int, spec: ModelSpec) -> int:
    return -(-max(size, spec.min_size) // spec.multiple_of) * spec.multiple_of


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch's thread count for a while (0 = as it is)."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
