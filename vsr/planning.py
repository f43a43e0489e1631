"""Resolving a job once: what the user wishes and what the file and the machine are, made into a Plan."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir

from vsr.config import EngineSettings, UpscaleConfig
from vsr.engine.memory import budget_bytes, choose_tile
from vsr.engine.precision import resolve_device, resolve_precision, resolve_threads
from vsr.errors import ConfigError, UsageError
from vsr.frames import MATRIX_RGB, FrameFormat, PixelLayout, VideoInfo
from vsr.media.codecs import MUXERS
from vsr.media.decode import trimmed
from vsr.media.encoders import choose_codec, choose_encoding, raw_encoding, try_encoder, wanted_bits
from vsr.media.framefiles import IMAGES, sequence_info
from vsr.media.images import is_image
from vsr.media.probe import probe
from vsr.media.sequences import is_pattern, sequence_path
from vsr.media.source import Pipe, open_input, standard_input
from vsr.media.streams import plan_streams
from vsr.models.spec import Generator, ModelSpec
from vsr.models.weights import load
from vsr.names import STDIO, default_output, default_suffix, fit_sar, require_free, size_label, target_size
from vsr.plan import Encoding, Plan, Segment, StreamPlan

Y4M = "yuv4mpegpipe"

# Below this a network costs less than the encoder beside it, and the encoder deserves the cores.
CHEAP_MFLOP_PER_PIXEL = 0.05


@dataclass(frozen=True)
class Job:
    """A plan with what it was made of: the source (a pipe cannot be opened twice) and the loaded network."""

    plan: Plan
    source: str | Pipe
    generator: Generator


def make_job(config: UpscaleConfig) -> Job:
    """Resolves everything that `config` leaves open. Raises the VsrError that names what cannot be done."""
    source, info = _open(config)
    width, height = target_size(config, info.format.width, info.format.height)
    output, container = _output(config, info, width, height)
    generator = load(config.model, max(width / info.format.width, height / info.format.height))
    spec = generator.spec
    encoding, target, losses = _encoding(config, info, container, width, height, spec)
    start, stop = trimmed(info, config.start, config.duration)
    streams = _streams(source, info, container)
    plan = Plan(
        info=replace(info, sar=fit_sar(info.sar, info.format.width, info.format.height, target.width, target.height)),
        output=output,
        container=container,
        model=config.model,
        model_scale=spec.scale,
        weights_sha256=spec.weights_sha256,
        target=target,
        engine=resolve_engine(config, spec, info.format, target),
        encoding=encoding,
        streams=streams,
        segments=(Segment(0, start, stop),),
        start=start,
        stop=stop,
        work_dir=str(work_dir(config, output)),
        warnings=(
            *info.warnings,
            *spec.warnings,
            *losses,
            *_size_warnings(width, height, target),
            *_stream_warnings(info, streams),
        ),
    )
    return Job(plan, source, generator)


def _open(config: UpscaleConfig) -> tuple[str | Pipe, VideoInfo]:
    if config.source == STDIO:
        pipe = standard_input()
        return pipe, probe(pipe)
    if is_pattern(config.source) and not Path(config.source).exists():
        return config.source, sequence_info(config.source, config.fps)
    return config.source, probe(config.source)


def _encoding(
    config: UpscaleConfig, info: VideoInfo, container: str, width: int, height: int, spec: ModelSpec
) -> tuple[Encoding, FrameFormat, tuple[str, ...]]:
    if container == IMAGES:
        layout = PixelLayout(
            "gray" if info.format.layout.kind == "gray" else "rgb", 8 if wanted_bits(config.encode, info) == 8 else 16
        )
        color = replace(info.format.color, matrix=MATRIX_RGB, full_range=True)
        return (
            Encoding("images", "images", layout.kind),
            FrameFormat(width, height, replace(layout, alpha=info.format.layout.alpha), color),
            (),
        )
    if config.output == STDIO and config.encode.codec == "auto":
        return raw_encoding(info, width, height, y4m=container == Y4M)
    codec = choose_codec(config.encode, info, container, width)
    chosen = choose_encoding(config.encode, codec, info, width, height, _encoder_threads(config, spec))
    try_encoder(chosen[0], chosen[1])
    return chosen


def _streams(source: str | Pipe, info: VideoInfo, container: str) -> tuple[StreamPlan, ...]:
    """What becomes of the other streams; images and y4m hold none, and say so."""
    if info.container == IMAGES:
        return ()
    if container in (IMAGES, Y4M):
        others = (s for s in info.streams if s.index != info.index)
        return tuple(
            StreamPlan(s.index, "drop", reason=f"{'images' if container == IMAGES else 'y4m'} hold nothing but frames")
            for s in others
        )
    with open_input(source.head() if isinstance(source, Pipe) else source) as opened:
        return plan_streams(opened, info.index, container)


def resolve_engine(config: UpscaleConfig, spec: ModelSpec, source: FrameFormat, target: FrameFormat) -> EngineSettings:
    """Device, precision, batch, tile and threads for frames of this size."""
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device, spec)
    budget = budget_bytes(device)
    batch = config.batch or 1
    tile = choose_tile(spec, source, target, precision, batch, budget) if config.tile is None else None
    if isinstance(config.tile, int):
        tile = config.tile
    threads = resolve_threads(config.threads)
    return EngineSettings(str(device), precision, batch, tile, spec.halo_px if tile else 0, threads, memory=budget)


def muxer_of(output: str) -> str:
    """FFmpeg's muxer for an output name. Raises UsageError for an unknown extension."""
    suffix = Path(output).suffix.lower()
    if suffix not in MUXERS:
        raise UsageError(f"{output}: unknown output extension {suffix or '(none)'!r}; use one of {', '.join(MUXERS)}")
    return MUXERS[suffix]


def work_dir(config: UpscaleConfig, output: str) -> Path:
    """The hidden folder for unfinished work: beside the output, or in --work-dir, or a temporary place for a pipe's."""
    path = Path(output)
    if output == STDIO:
        return (config.work_dir or Path(gettempdir())) / f".stdout-{os.getpid()}.vsr"
    return (config.work_dir or path.parent) / f".{path.name}.vsr"


def _output(config: UpscaleConfig, info: VideoInfo, width: int, height: int) -> tuple[str, str]:
    """Where the film goes, and the container's name."""
    if config.output == STDIO:
        y4m = config.pipe_format == "y4m" or (
            config.pipe_format == "auto" and info.container in (IMAGES, Y4M) and config.encode.codec == "auto"
        )
        return STDIO, Y4M if y4m else "nut"
    if config.output is None:
        if config.source == STDIO:
            raise UsageError("standard input has no name to derive an output from: name one with -o")
        output = default_output(config.source, default_suffix(config.source), config.model, size_label(config, width, height))
    else:
        output = config.output
    if is_pattern(output) and is_image(output):
        if sequence_path(output, 1).exists() and not config.overwrite:
            raise ConfigError(
                f"{sequence_path(output, 1)}: exists already; add --overwrite to replace it, or choose another pattern with -o"
            )
        container, path = IMAGES, sequence_path(output, 1)
    else:
        container, path = muxer_of(output), Path(output)
    require_free(path, config.source, config.overwrite or container == IMAGES)
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{output}: no permission to write in {path.parent}; choose another place with -o")
    return output, container


def _encoder_threads(config: UpscaleConfig, spec: ModelSpec) -> int:
    """The encoder's share of the cores: a quarter beside a network on the CPU, else all."""
    cores = resolve_threads(None)
    on_cpu = resolve_device(config.device).type == "cpu"
    return max(1, cores // 4) if on_cpu and spec.mflop_per_pixel > CHEAP_MFLOP_PER_PIXEL else cores


def _size_warnings(width: int, height: int, target: FrameFormat) -> tuple[str, ...]:
    if (width, height) == (target.width, target.height):
        return ()
    return (f"{width}x{height} becomes {target.width}x{target.height}: chroma planes need whole samples",)


def _stream_warnings(info: VideoInfo, streams: tuple) -> tuple[str, ...]:  # type: ignore[type-arg]
    named = {s.index: s for s in info.streams}
    verbs = {"convert": "is converted to {codec}", "drop": "is left out"}
    return tuple(
        f"{named[p.index]} {verbs[p.action].format(codec=p.codec)}: {p.reason}" for p in streams if p.action in verbs and p.reason
    )
