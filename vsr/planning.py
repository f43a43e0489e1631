"""Resolving a job once: what the user wishes and what the file and the machine are, made into a Plan."""

from __future__ import annotations

import platform
from bisect import bisect_left
from dataclasses import dataclass, replace
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

from vsr.config import EngineSettings, UpscaleConfig
from vsr.engine.memory import budget_bytes, choose_tile
from vsr.engine.ncnn_cpu import BYTES_PER_PARAMETER, bytes_per_pixel, installed, knows
from vsr.engine.precision import resolve_device, resolve_precision, resolve_threads
from vsr.engine.race import faster
from vsr.engine.reuse import parse_reuse
from vsr.errors import ConfigError, UsageError, VsrError
from vsr.fields import Deinterlace, cycle_of, output_times, ticks
from vsr.frames import MATRIX_RGB, FrameFormat, PixelLayout, VideoInfo
from vsr.journal import to_plain
from vsr.losses import container_warnings, ignored_options, picture_warnings, size_warnings, stream_warnings
from vsr.measure import model_fps
from vsr.media.convert import rehearse
from vsr.media.decode import trimmed
from vsr.media.deinterlace import takes_fields
from vsr.media.encode import Y4M
from vsr.media.encoders import choose_codec, choose_encoding, raw_encoding, try_encoder, wanted_bits
from vsr.media.framefiles import IMAGES, sequence_info
from vsr.media.hardware import choose_hardware
from vsr.media.index import FrameIndex, build_index
from vsr.media.probe import probe
from vsr.media.sequences import is_pattern
from vsr.media.source import Pipe, library_versions, named_pipe, open_input, standard_input
from vsr.media.streams import plan_streams
from vsr.models.spec import Generator, ModelSpec
from vsr.models.weights import load
from vsr.names import STDIO, fit_sar, target_size
from vsr.outputs import choose_output, work_dir
from vsr.plan import Encoding, Plan, Segment, StreamPlan
from vsr.segments import SHORTEST_SECONDS, auto_seconds, cut

# A file in which seeking does not work is read from its beginning for every segment: so it gets few.
FEW_SEGMENTS = 8
TFLOPS_OF_A_CORE = 0.1  # in fp32, roughly
WORTH_A_RACE = 120.0  # seconds of work from which on it pays to ask which engine is faster ...
RACE_SHARE = 0.02  # ... for this share of them
WARM_UP = 3  # frames before the first one that filters of fields look at, and one to spare


@dataclass(frozen=True)
class Draft:
    """A job before its plan: what was asked for and what there is, looked at once. `source` is a path or a pipe."""

    config: UpscaleConfig
    source: str | Pipe
    info: VideoInfo
    width: int
    height: int
    output: str
    container: str
    generator: Generator

    @property
    def work_dir(self) -> Path:
        return work_dir(self.config, self.output)

    @property
    def segmented(self) -> bool:
        """Can the work be cut into segments and taken up again? Not what comes from a pipe or goes out frame by frame."""
        return isinstance(self.source, str) and IMAGES not in (self.container, self.info.container) and self.output != STDIO


@dataclass(frozen=True)
class Job:
    """A plan with what it was made of."""

    plan: Plan
    source: str | Pipe
    generator: Generator


def draft_job(config: UpscaleConfig) -> Draft:
    """Looks at the source, the output's place and the model. Raises the VsrError that names what cannot be done."""
    source, info = _open(config)
    if config.fps is not None and info.container != IMAGES:
        raise UsageError("--fps is for a sequence of images: a film has times of its own, and they are kept")
    width, height = target_size(config, info.format.width, info.format.height)
    output, container = choose_output(config, info, width, height)
    generator = load(config.model, max(width / info.format.width, height / info.format.height))
    return Draft(config, source, info, width, height, output, container, generator)


def fingerprint(draft: Draft) -> dict[str, Any]:
    """What makes two jobs the same: source, wishes, weights, versions. Everything that could change a pixel or a timestamp."""
    config, spec = draft.config, draft.generator.spec
    wishes = to_plain(replace(config, overwrite=False, verify=True, resume=True, output=None, work_dir=None))
    stat = Path(config.source).stat()
    return {
        "source": str(Path(config.source).resolve()),
        "source size": stat.st_size,
        "source time": stat.st_mtime_ns,
        **{f"option {key}": value for key, value in wishes.items() if key not in ("source", "output", "work_dir")},
        "weights": spec.weights_sha256,
        "versions": {"torch": version("torch"), "machine": platform.machine(), **library_versions()},
    }


def make_plan(draft: Draft) -> Plan:
    """Resolves everything that the user leaves open."""
    config, info, spec = draft.config, draft.info, draft.generator.spec
    encoding, target, losses = _encoding(config, info, draft.container, draft.width, draft.height, spec)
    streams = _streams(draft.source, info, draft.container)
    start, stop = trimmed(info, config.start, config.duration)
    hwaccel, refused = choose_hardware(config.hwaccel, str(resolve_device(config.device)), draft.source, info)
    plan = Plan(
        info=replace(info, sar=fit_sar(info.sar, info.format.width, info.format.height, target.width, target.height)),
        output=draft.output,
        container=draft.container,
        model=config.model,
        model_scale=spec.scale,
        weights_sha256=spec.weights_sha256,
        target=target,
        engine=(
            with_ncnn(config, draft.generator, info.format, target)
            if config.backend == "ncnn"
            else resolve_engine(config, spec, info.format, target)
        ),
        encoding=encoding,
        streams=streams,
        segments=(Segment(0, start, stop),),
        deinterlace=_deinterlace(config, info),
        start=start,
        stop=stop,
        work_dir=str(draft.work_dir),
        hwaccel=hwaccel,
        warnings=(
            *info.warnings,
            *refused,
            *spec.warnings,
            *losses,
            *ignored_options(config, draft.container),
            *size_warnings(draft.width, draft.height, target),
            *stream_warnings(info, streams),
            *container_warnings(info, draft.container),
        ),
    )
    if draft.segmented:
        return _cut(draft, plan)
    return replace(plan, warnings=(*plan.warnings, *picture_warnings(info, encoding.codec, plan.deinterlace, config.deinterlace)))


def _deinterlace(config: UpscaleConfig, info: VideoInfo) -> Deinterlace:
    """What is done with fields. Raises ConfigError where it cannot be done."""
    if config.deinterlace == "off" or info.container == IMAGES:
        return "off"
    if takes_fields(info.format, config.deinterlace):
        return config.deinterlace
    if config.deinterlace == "auto":
        return "off"
    size = f"{info.format.width}x{info.format.height} {info.pix_fmt}"
    raise ConfigError(f"--deinterlace {config.deinterlace}: the filters take no frames of {size}; use --deinterlace off")


def _cut(draft: Draft, plan: Plan) -> Plan:
    """The plan with its film cut into segments."""
    assert isinstance(draft.source, str)
    index = build_index(draft.source, draft.info)
    mode = plan.deinterlace
    info = replace(plan.info, clock=index.clock, start_pts=index.pts[0], interlaced=plan.info.interlaced or index.interlaced > 0)
    start, stop = trimmed(info, draft.config.start, draft.config.duration)
    told = tuple(picture_warnings(info, plan.encoding.codec, mode, draft.config.deinterlace))
    plan = replace(plan, info=info, start=start, stop=stop, warnings=(*plan.warnings, *told))
    pts = index.between(start, stop)
    if not pts:
        raise ConfigError(f"{draft.info.source}: no frame lies in the part that was asked for")
    seconds = draft.config.segment
    plan = replace(plan, engine=raced(draft.config, plan, draft.generator, len(pts)))
    if seconds is None and (pts[-1] - pts[0]) * draft.info.time_base < 2 * SHORTEST_SECONDS:
        seconds = 0.0
    elif seconds is None:
        rate = model_fps(draft.source, plan, draft.generator)
        seconds = auto_seconds(pts, draft.info.time_base, rate) if rate else float(SHORTEST_SECONDS)
    if seconds and not index.exact:
        seconds = max(seconds, float((pts[-1] - pts[0]) * draft.info.time_base) / FEW_SEGMENTS)
    warm_up = 0 if mode == "off" else cycle_of(mode) + WARM_UP

    def enter(frame: int) -> int | None:
        return index.entry_before(index.pts[max(0, bisect_left(index.pts, frame) - warm_up)])

    segments = cut(pts, info.time_base, seconds, enter, start, stop, cycle_of(mode))
    return replace(plan, segments=_outputs(segments, index, mode, info, pts[0]))


def _outputs(
    segments: tuple[Segment, ...], index: FrameIndex, mode: Deinterlace, info: VideoInfo, first: int
) -> tuple[Segment, ...]:
    """Segments of the source's frames, with the number of frames that come of them; `first` is the part's first pts."""
    step = info.step
    at = index.pts.index(first)
    times, each = output_times(mode, index.pts[at:], step), ticks(mode)
    found = []
    for segment in segments:
        begin = bisect_left(times, (segment.start if segment.start is not None else first) * each)
        end = len(times) if segment.stop is None else bisect_left(times, segment.stop * each)
        # the filter that leaves one of five out compares with the frame before: so one cycle early, where there is one
        origin = max(at % cycle_of(mode), at + segment.first - cycle_of(mode)) if mode == "ivtc" else None
        found.append(replace(segment, frames=end - begin, first=begin, origin=None if origin is None else index.pts[origin]))
    return tuple(found)


def _open(config: UpscaleConfig) -> tuple[str | Pipe, VideoInfo]:
    if config.source == STDIO:
        pipe = standard_input()
        return pipe, probe(pipe)
    if not config.source:
        raise UsageError("INPUT is empty: name a file, a folder, a pattern, or - for standard input")
    if Path(config.source).is_fifo():
        pipe = named_pipe(config.source)
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
    codec = choose_codec(config.encode, info, container, width, height)
    chosen = choose_encoding(config.encode, codec, info, width, height, resolve_threads(None))
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
    with open_input(_again(source)) as opened:
        planned = plan_streams(opened, info.index, container)
    return tuple(_rehearsed(source, stream, container) if stream.action == "convert" else stream for stream in planned)


def _again(source: str | Pipe) -> str | BytesIO:
    return source.head() if isinstance(source, Pipe) else source


def _rehearsed(source: str | Pipe, stream: StreamPlan, container: str) -> StreamPlan:
    with open_input(_again(source)) as opened:
        works = rehearse(opened, stream, container)
    return (
        stream
        if works
        else StreamPlan(stream.index, "drop", reason=f"{stream.reason}, and it cannot be converted to {stream.codec}")
    )


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
    reuse = 0.0 if spec.context else parse_reuse(config.reuse)
    halo = spec.halo_px if tile else 0
    return EngineSettings(str(device), precision, batch, tile, halo, threads, memory=budget, reuse=reuse)


def with_ncnn(config: UpscaleConfig, generator: Generator, source: FrameFormat, target: FrameFormat) -> EngineSettings:
    """The engine as it is with ncnn: in fp32, and in tiles for ncnn's need of memory. Raises ConfigError where it cannot be."""
    spec = generator.spec
    engine = resolve_engine(replace(config, precision="fp32"), spec, source, target)
    if engine.device != "cpu" or config.precision not in ("auto", "fp32"):
        raise ConfigError(f"--backend ncnn: computes on a CPU in fp32, not on {engine.device} in {config.precision}")
    if not knows(generator):
        reason = "does not know this network" if installed() else "is not installed: pip install 'vsr[ncnn]'"
        raise ConfigError(f"--backend ncnn: ncnn {reason}; leave the option out")
    if config.tile is None:
        hungry = replace(spec, bytes_per_pixel=bytes_per_pixel(spec))
        tile = choose_tile(hungry, source, target, "fp32", 1, engine.memory - BYTES_PER_PARAMETER * spec.parameters)
        engine = replace(engine, tile=tile, halo=spec.halo_px if tile else 0)
    return replace(engine, backend="ncnn")


def raced(config: UpscaleConfig, plan: Plan, generator: Generator, frames: int) -> EngineSettings:
    """The plan's engine, or ncnn's where that is allowed, would be faster, and the job of `frames` is long enough to ask."""
    size, engine = plan.info.format, plan.engine
    tflop = generator.spec.mflop_per_pixel * size.width * size.height * frames / 1e6
    seconds = tflop / (TFLOPS_OF_A_CORE * engine.threads)
    if config.backend != "auto" or seconds < WORTH_A_RACE or engine.device != "cpu" or engine.precision != "fp32":
        return engine
    if not knows(generator):
        return engine
    try:
        rival = with_ncnn(config, generator, size, plan.target)
    except VsrError:  # not even its smallest tile fits into memory
        return engine
    side = rival.tile + 2 * rival.halo if rival.tile else max(size.width, size.height)
    height, width = min(size.height, side), min(size.width, side)
    choice = faster(generator, height, width, engine.threads, seconds=RACE_SHARE * seconds)
    return rival if choice.engine == "ncnn" else engine
