"""Which way to run a network on this device: rivals are timed in turn against the plain one, and their pictures compared.

The results of timing are no facts: they belong in the plan, which is journaled, so that a job goes on as it was begun.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from vsr.config import Backend, EngineSettings
from vsr.engine.network import reflect
from vsr.engine.runners import COMPILED, EXACT_CPU, Runner, forms_of, knows, runner
from vsr.errors import ModelError
from vsr.models.spec import Generator, ModelSpec, Precision

GATE = 50.0  # dB to float32 that a lower precision must reach on the film's own picture
EXACT = 80.0  # ... and what calls itself exact, on noise
MARGIN = 1.1  # a rival must win by this much, or the choice would flap from run to run
# ... and by this much where the timing saw a smaller picture than the job will: ncnn's lead shrinks as frames outgrow the caches.
MARGIN_UNSEEN: Mapping[Backend, float] = {"winograd": 1.2, "ncnn": 1.5}
MARGIN_FORM = 1.02  # forms differ by no more than rounding, so little is at stake
CLEARLY = 1.25  # a ratio of times beyond which one look is enough
PILOT_SIDE = 32
ROUNDS = 3


@dataclass(frozen=True)
class Choice:
    """Which backend to use, why in words, and the best seconds of each on `height` x `width` pixels."""

    backend: Backend
    reason: str
    height: int = 0
    width: int = 0
    seconds: Mapping[str, float] | None = None


def fastest_exact(generator: Generator, height: int, width: int, threads: int, seconds: float = 1.0) -> Choice:
    """The fastest way to run `generator` in float32 on the CPU, on pictures of `height` x `width` (a frame, or a tile with halo).

    It takes about `seconds` (and building the networks, 0.1 s): where a full picture takes longer, a smaller one is timed. In
    doubt torch.
    """
    device, runners, left = torch.device("cpu"), {}, []
    runners["torch"] = runner(generator, device, "fp32", EngineSettings(threads=threads))
    for backend in EXACT_CPU:
        if knows(backend, generator):
            try:
                runners[backend] = runner(generator, device, "fp32", EngineSettings(threads=threads, backend=backend))
            except ModelError as exc:  # a broken installation
                left.append(str(exc))
    if len(runners) == 1:
        return Choice("torch", "; ".join(left) or "nothing else knows this network")
    with torch.inference_mode(), _threads(threads):
        side = _multiple(PILOT_SIDE, generator.spec)
        per_pixel = sum(_race(runners, _noise(side, side), 1).values()) / side**2
        share = min(1.0, seconds / ((ROUNDS + 1) * per_pixel * height * width)) ** 0.5
        tall, wide = (_multiple(max(min(PILOT_SIDE, size), int(size * share)), generator.spec) for size in (height, width))
        picture = _noise(tall, wide)
        truth = runners["torch"](picture)
        right = {name: run for name, run in runners.items() if name == "torch" or psnr(run(picture), truth) >= EXACT}
        times = _race(right, picture, ROUNDS)
    return _judge(times, tall, wide, whole=share == 1)


def _judge(times: Mapping[str, float], height: int, width: int, *, whole: bool) -> Choice:
    best: Backend = "torch"
    for name in EXACT_CPU:
        enough = times["torch"] / (MARGIN if whole else MARGIN_UNSEEN[name])
        if name in times and times[name] <= enough and times[name] < times[best]:
            best = name
    told = ", ".join(f"{name} {1e3 * spent:.1f} ms" for name, spent in times.items())
    return Choice(best, f"{told} on {width}x{height} pixels{'' if whole else ', less than it will see'}", height, width, times)


def worth_rounding(generator: Generator, picture: Tensor, precision: Precision, threads: int) -> str:
    """Why `precision` is not to be used on this CPU for this network: "" when it is faster than float32 and at least `GATE` dB
    from it on `picture` (1, 3, H, W), RGB 0..1.
    """
    device, settings = torch.device("cpu"), EngineSettings(threads=threads)
    picture = _padded(picture, generator.spec)
    runners = {name: runner(generator, device, name, settings) for name in ("fp32", precision)}
    with torch.inference_mode(), _threads(threads):
        made = {name: run(picture).clamp(0, 1) for name, run in runners.items()}
        distance = psnr(made[precision], made["fp32"])
        if distance < GATE:
            told = f"{distance:.1f} dB from" if distance > 0 else "something else than"
            return f"{precision} is {told} float32 on this picture; it must be within {GATE:.0f} dB"
        times = dict.fromkeys(runners, math.inf)
        for _ in range(ROUNDS):
            for name, run in runners.items():
                times[name] = min(times[name], _timed(lambda run=run: run(picture), device))  # type: ignore[misc]
            ratio = times["fp32"] / times[precision]
            if not 1 / CLEARLY < ratio < CLEARLY:
                break
    return "" if ratio > 1 else f"{precision} is not faster than float32 on this CPU ({ratio:.2f} times)"


def apart(generator: Generator, picture: Tensor, settings: EngineSettings) -> float:
    """dB between what these settings make of `picture` (1, 3, H, W), RGB 0..1, on the CPU's side, and torch's float32 there."""
    device, ways = torch.device("cpu"), (settings, EngineSettings(threads=settings.threads))
    with torch.inference_mode(), _threads(settings.threads):
        padded = _padded(picture, generator.spec)
        made, truth = (runner(generator, device, way.precision, way)(padded).clamp(0, 1) for way in ways)
    return psnr(made, truth)


def fastest_form(generator: Generator, pictures: Tensor, device: torch.device, precision: Precision, *, compiled: bool) -> str:
    """The form of the network that is fastest on `device` for `pictures` (N, 3, H, W); "" (plainly) where none wins clearly.

    `compiled` lets torch.compile take part, which takes minutes for a large network. Each form is compared with the plain one,
    which must agree to `GATE` dB: a compiler may be fast and wrong (docs/lab.md).
    """
    forms = forms_of(generator)
    with torch.inference_mode():
        frames = _padded(pictures, generator.spec).to(device)
        plain = runner(generator, device, precision, EngineSettings(str(device)))
        truth = plain(frames)
        times = _race({"": plain} | _right(generator, forms, frames, precision, truth), frames, ROUNDS)
        best = min(times, key=lambda form: times[form] * (MARGIN_FORM if form else 1))
        if compiled:
            rivals = _right(generator, (f"{best}{COMPILED}",), frames, precision, truth)
            winner = runner(generator, device, precision, EngineSettings(str(device), form=best))
            lap = _race({best: winner} | rivals, frames, ROUNDS)
            best = min(lap, key=lambda form: lap[form] * (MARGIN if form.endswith(COMPILED) else 1))
    return best


def _right(generator: Generator, forms: Sequence[str], frames: Tensor, precision: Precision, truth: Tensor) -> dict[str, Runner]:
    """Those of the forms that run here and make the true picture."""
    found = {}
    for form in forms:
        run = runner(generator, frames.device, precision, EngineSettings(str(frames.device), form=form))
        try:
            if psnr(run(frames), truth) >= GATE:
                found[form] = run
        except (RuntimeError, MemoryError):  # a compiler that is missing or fails, too little memory: then it is no choice
            continue
    return found


def psnr(made: Tensor, truth: Tensor) -> float:
    """Peak signal to noise in dB, of pictures in 0..1; minus infinity where there is no number."""
    error = float((made.float() - truth.float()).square().mean())
    if math.isnan(error):
        return -math.inf
    return 10 * math.log10(1 / error) if error else math.inf


def _noise(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def _race(runners: Mapping[str, Runner], picture: Tensor, rounds: int) -> dict[str, float]:
    """The best wall seconds of each, in turn, after a first pass of each that pays for what is set up once."""
    best = dict.fromkeys(runners, math.inf)
    for round_ in range(rounds + 1):
        for name, run in runners.items():
            spent = _timed(lambda run=run: run(picture), picture.device)  # type: ignore[misc]
            if round_:
                best[name] = min(best[name], spent)
    return best


def _timed(call: Callable[[], Tensor], device: torch.device) -> float:
    began = perf_counter()
    call()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return perf_counter() - began


def _padded(picture: Tensor, spec: ModelSpec) -> Tensor:
    """As the engine pads: to what the network takes."""
    return reflect(picture, *(_multiple(size, spec) for size in picture.shape[-2:]))


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
