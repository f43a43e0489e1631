"""What the chip can do at most, measured: the rate that a network's work is held against."""

from __future__ import annotations

from time import perf_counter

import torch

from vsr.engine.precision import DTYPES
from vsr.models.spec import Precision

_SIDE = {"cpu": 1536, "cuda": 8192}
_SECONDS = 0.5


def matmul_tflops(device: torch.device, precision: Precision, threads: int) -> float:
    """Best rate of square matrix products in 10^12 operations a second (two for each multiply-add), the best of half a second.

    Not a data sheet's number: what this library reaches on this machine, now, with these threads.
    """
    if threads and device.type == "cpu":
        torch.set_num_threads(threads)
    side = _SIDE.get(device.type, 4096)
    a = torch.randn(side, side, device=device, dtype=DTYPES[precision])
    b = torch.randn(side, side, device=device, dtype=DTYPES[precision])
    best, began = float("inf"), perf_counter()
    rounds = 0
    with torch.inference_mode():
        while rounds < 3 or perf_counter() - began < _SECONDS:
            _wait(device)
            start = perf_counter()
            a @ b
            _wait(device)
            best = min(best, perf_counter() - start)
            rounds += 1
    return 2 * side**3 / best / 1e12


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
