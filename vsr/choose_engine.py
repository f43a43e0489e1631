"""How the network is run: by rule, and where the job is long enough to pay for the question, by trying."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from vsr.color import planes_to_rgb
from vsr.config import Backend, EngineSettings, UpscaleConfig
from vsr.engine import ncnn_vulkan
from vsr.engine.memory import choose_batch, choose_tile, faithful_bytes, frame_bytes, worth_keeping
from vsr.engine.precision import DEEPEST_ROUNDED, resolve_device, resolve_precision, resolve_threads
from vsr.engine.race import EXACT, GATE, apart, fastest_exact, fastest_form, worth_rounding
from vsr.engine.reuse import parse_reuse
from vsr.engine.room import budget_bytes
from vsr.engine.runners import knows, memory_of
from vsr.errors import ConfigError, DeviceError, VsrError
from vsr.frames import FrameBatch, FrameFormat
from vsr.models.spec import Generator, ModelSpec, Precision

TFLOPS_OF_A_CORE = 0.1  # in fp32, roughly
WORTH_A_RACE = 20.0  # seconds of work from which on it pays to ask what is faster ...
RACE_SHARE = 0.02  # ... for this share of them
TRIAL_SIDE = 48  # pixels of the picture on which a lower precision is tried: a second of the largest network's time
GPU_IN_CORES = 2000  # what a GPU does against a core's TFLOPS, roughly
WORTH_A_COMPILER = 1200.0  # seconds of a GPU's work: a compiler takes minutes


def resolve_engine(
    config: UpscaleConfig, spec: ModelSpec, source: FrameFormat, target: FrameFormat, at_once: int = 1
) -> EngineSettings:
    """Device, precision, batch, tile, threads and workers for frames of this size, by rule; `at_once` as in `choose_engine`."""
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device, spec, target.layout.bits)
    host = device.type == "cpu"
    budget = budget_bytes(device) // (config.share if host else 1)
    batch = config.batch or choose_batch(spec, source, target, precision, budget, device.type)
    room = budget - batch * faithful_bytes(config.faithful, target)
    keep = worth_keeping(spec, source, target, precision, batch, room)
    tile = choose_tile(spec, source, target, precision, batch, room, keep=keep) if config.tile is None else None
    if isinstance(config.tile, int):
        tile = config.tile
    threads = max(1, resolve_threads(config.threads) // (config.share if host and config.threads is None else 1))
    reuse = 0.0 if spec.context else parse_reuse(config.reuse)
    halo = spec.halo_px if tile else 0
    engine = EngineSettings(
        str(device), precision, batch, tile, halo, threads, memory=budget, reuse=reuse, keep=keep, faithful=config.faithful
    )
    return crewed(engine, spec, source, target, at_once)


def choose_engine(
    config: UpscaleConfig,
    generator: Generator,
    source: FrameFormat,
    target: FrameFormat,
    sample: FrameBatch | None,
    frames: int,
    at_once: int = 1,
    race: float = math.inf,
) -> tuple[EngineSettings, tuple[str, ...]]:
    """The engine for `frames` frames, and what the user should know. `sample` is one of them (None: nothing is tried on it).
    So many as `at_once` may be computed at the same time; finding the fastest of several ways takes no more than about `race`
    seconds.

    On a CPU a lower precision that nobody asked for is tried on the sample, and float32 is timed in all ways that there are; on
    a GPU the network's forms are. Raises ConfigError for a wish that cannot be.
    """
    spec = generator.spec
    if ncnn_vulkan.is_vulkan(config.device):
        return vulkan_engine(config, generator, source, target, sample)
    if config.backend != "auto" and config.backend != "torch":
        return exact_engine(config, config.backend, generator, source, target, at_once), ()
    engine = resolve_engine(config, spec, source, target, at_once)
    notes: tuple[str, ...] = ()
    cores = max(1, engine.threads) if engine.device == "cpu" else GPU_IN_CORES
    seconds = spec.mflop_per_pixel * source.width * source.height * frames / 1e6 / (TFLOPS_OF_A_CORE * cores)
    if engine.device != "cpu":
        if sample is not None and seconds >= WORTH_A_RACE and not spec.context:
            side = engine.tile + 2 * engine.halo if engine.tile else max(source.width, source.height)
            pictures = busiest(sample, side).expand(engine.batch, -1, -1, -1)
            device, compiled = torch.device(engine.device), seconds >= WORTH_A_COMPILER
            form = fastest_form(generator, pictures, device, engine.precision, compiled=compiled)
            engine = replace(engine, form=form)
        return engine, ()
    if config.precision == "auto" and engine.precision != "fp32" and sample is not None:
        why_not = worth_rounding(generator, busiest(sample, TRIAL_SIDE), engine.precision, engine.threads)
        if why_not:
            notes = (f"computing in float32: {why_not}",)
            config = replace(config, precision="fp32")
            engine = resolve_engine(config, spec, source, target, at_once)
    if engine.precision == "fp32" and config.backend == "auto" and seconds >= WORTH_A_RACE:
        engine = raced(config, engine, generator, source, target, min(race, seconds * RACE_SHARE), at_once)
    return engine, notes


def crewed(engine: EngineSettings, spec: ModelSpec, source: FrameFormat, target: FrameFormat, at_once: int) -> EngineSettings:
    """The engine with as many workers as threads, as far as there are frames for them and memory for these frames."""
    if engine.device != "cpu":
        return engine
    need = frame_bytes(spec, source, target, engine.precision, 1, engine.tile, engine.halo, keep=engine.keep)
    need += faithful_bytes(engine.faithful, target)
    most = min(engine.threads, at_once // engine.batch, engine.memory // need)
    # of two numbers that leave the same threads idle, the larger
    workers = max(range(1, max(1, most) + 1), key=lambda count: (count * (engine.threads // count), count))
    return replace(engine, workers=workers)


def exact_engine(
    config: UpscaleConfig, backend: Backend, generator: Generator, source: FrameFormat, target: FrameFormat, at_once: int
) -> EngineSettings:
    """The engine with `backend`: float32, in tiles for its need of memory. Raises ConfigError where it cannot be."""
    spec = generator.spec
    engine = resolve_engine(replace(config, precision="fp32"), spec, source, target, at_once)
    if engine.device != "cpu" or config.precision not in ("auto", "fp32"):
        raise ConfigError(f"--backend {backend}: computes on a CPU in fp32, not on {engine.device} in {config.precision}")
    if not knows(backend, generator):
        hint = " (or is not installed: pip install 'vsr[ncnn]')" if backend == "ncnn" else ""
        raise ConfigError(f"--backend {backend}: does not know this network{hint}; leave the option out")
    if config.tile is None:
        per_pixel, per_parameter = memory_of(backend, spec)
        budget = engine.memory // engine.workers - per_parameter * spec.parameters
        tile = choose_tile(replace(spec, bytes_per_pixel=per_pixel), source, target, "fp32", 1, budget)
        engine = replace(engine, tile=tile, halo=spec.halo_px if tile else 0)
    return replace(engine, backend=backend)


def vulkan_engine(
    config: UpscaleConfig, generator: Generator, source: FrameFormat, target: FrameFormat, sample: FrameBatch | None
) -> tuple[EngineSettings, tuple[str, ...]]:
    """The engine with ncnn on a Vulkan device, in fp16 where nobody says otherwise, and what the user should know.

    A part of the sample is computed there and on the CPU: drivers are known to give wrong pictures and no error. Raises
    ConfigError for a wish that cannot be, DeviceError for a device that is not there or computes something else.
    """
    spec, asked = generator.spec, f"--device {config.device}"
    number = ncnn_vulkan.number_of(config.device)
    if config.backend not in ("auto", "ncnn"):
        raise ConfigError(f"--backend {config.backend}: {asked} computes with ncnn; leave the option out")
    if config.precision not in ("auto", "fp32", "fp16"):
        raise ConfigError(f"--precision {config.precision}: {asked} computes in fp32 and fp16")
    if not ncnn_vulkan.knows(generator):
        raise ConfigError(f"{asked}: ncnn does not know the network of {config.model}; choose another device")
    rounded = config.precision == "fp16" or target.layout.bits <= DEEPEST_ROUNDED
    precision: Precision = "fp16" if rounded and config.precision != "fp32" and "fp16" in spec.precisions else "fp32"
    engine = vulkan_settings(config, number, precision, spec, source, target)
    notes: tuple[str, ...] = ()
    if ncnn_vulkan.kind_of(number) == ncnn_vulkan.SOFTWARE:
        notes = (f"{asked}: {ncnn_vulkan.present()[number]} is software; --device cpu is many times faster",)
    if sample is None:
        return engine, notes
    picture = busiest(sample, TRIAL_SIDE)
    if precision == "fp16" and config.precision == "auto" and (decibels := apart(generator, picture, engine)) < GATE:
        notes += (f"computing in float32: fp16 is {decibels:.1f} dB from it on this picture, less than {GATE:.0f}",)
        engine = vulkan_settings(config, number, "fp32", spec, source, target)
    if engine.precision == "fp32" and (decibels := apart(generator, picture, engine)) < EXACT:
        raise DeviceError(f"{asked}: its pictures are wrong, {decibels:.1f} dB from the CPU's; update its driver, or use another")
    return engine, notes


def vulkan_settings(
    config: UpscaleConfig, number: int, precision: Precision, spec: ModelSpec, source: FrameFormat, target: FrameFormat
) -> EngineSettings:
    """The engine on Vulkan's device `number`. Conversions need the host's memory, the network the device's: often the same."""
    shared = ncnn_vulkan.kind_of(number) in ncnn_vulkan.SHARED
    beside = replace(spec, bytes_per_pixel=ncnn_vulkan.bytes_per_pixel(spec) if shared else 0)
    engine = resolve_engine(replace(config, device="cpu", precision="fp32"), beside, source, target)
    tile = engine.tile
    if config.tile is None:
        there = ncnn_vulkan.choose_tile(spec, source.height, source.width, precision, ncnn_vulkan.budget_bytes(number))
        tile = min((side for side in (tile, there) if side is not None), default=None)
    halo = spec.halo_px if tile else 0
    # no bound for a retry in fp32: the device's memory and the host's are two, and what does not fit backs off
    device = f"{ncnn_vulkan.KIND}:{number}"
    return replace(engine, device=device, precision=precision, backend="ncnn", tile=tile, halo=halo, memory=0)


def raced(
    config: UpscaleConfig,
    engine: EngineSettings,
    generator: Generator,
    source: FrameFormat,
    target: FrameFormat,
    seconds: float,
    at_once: int,
) -> EngineSettings:
    """The engine with the fastest backend for float32, found in about `seconds`."""
    side = engine.tile + 2 * engine.halo if engine.tile else max(source.width, source.height)
    height, width = min(source.height, side), min(source.width, side)
    choice = fastest_exact(generator, height, width, engine.threads_each, seconds)
    if choice.backend == "torch":
        return engine
    try:
        return exact_engine(config, choice.backend, generator, source, target, at_once)
    except VsrError:  # not even its smallest tile fits into memory
        return engine


def busiest(sample: FrameBatch, side: int) -> Tensor:
    """The square of the first frame in which most happens, at most `side` pixels wide: (1, 3, h, w) float32 RGB."""
    planes = tuple(torch.from_numpy(plane[:1].copy()) for plane in sample.planes)
    with torch.inference_mode():
        rgb = planes_to_rgb(planes, sample.format)
        height, width = rgb.shape[2:]
        tall, wide = min(side, height), min(side, width)
        places = [(y, x) for y in range(0, height - tall + 1, tall) for x in range(0, width - wide + 1, wide)]
        y, x = max(places, key=lambda at: float(rgb[..., at[0] : at[0] + tall, at[1] : at[1] + wide].var()))
        return rgb[..., y : y + tall, x : x + wide].clone()
