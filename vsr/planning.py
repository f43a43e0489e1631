"""Resolving a job once: what the user wishes and what the file and the machine are, made into a Plan."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

from vsr import __version__
from vsr.choose_engine import choose_engine
from vsr.config import UpscaleConfig
from vsr.cutting import choose_deinterlace, film_segments
from vsr.engine.precision import instructions_of, resolve_threads
from vsr.errors import ConfigError, UsageError
from vsr.frames import MATRIX_RGB, FrameFormat, PixelLayout, VideoInfo
from vsr.losses import container_warnings, ignored_options, picture_warnings, size_warnings, stream_warnings
from vsr.measure import model_fps, telling_frame
from vsr.media.convert import rehearse
from vsr.media.decode import trimmed
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
from vsr.models.zoo import cheaper_ways
from vsr.names import STDIO, fit_sar, target_size
from vsr.outputs import choose_output, work_dir
from vsr.plain import to_plain
from vsr.plan import Encoding, Plan, Segment, StreamPlan
from vsr.segments import segment_seconds

FRAMES_EACH = 4  # of a film shorter than so many frames for each worker, some would be idle for long
TOLD_AT = (2, 1, 3, 0)  # quarters of the film in which a frame is looked for to try the engine on
FRAMES_UNKNOWN = 1 << 20  # of a pipe


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


def draft_job(config: UpscaleConfig, load: Callable[[str, float, float | None], Generator] = load) -> Draft:
    """Looks at the source, the output's place and the model (`load`: for callers that keep networks). Raises the VsrError that
    names what cannot be done."""
    source, info = _open(config)
    if config.fps is not None and info.container != IMAGES:
        raise UsageError("--fps is for a sequence of images: a film has times of its own, and they are kept")
    width, height = target_size(config, info.format.width, info.format.height)
    output, container = choose_output(config, info, width, height)
    generator = load(config.model, max(width / info.format.width, height / info.format.height), config.blend)
    return Draft(config, source, info, width, height, output, container, generator)


def fingerprint(draft: Draft) -> dict[str, Any]:
    """What makes two jobs the same: source, wishes, weights, versions. Everything that could change a pixel or a timestamp."""
    config, spec = draft.config, draft.generator.spec
    return {
        **identity_of(config),
        "device": instructions_of(config.device),  # of several devices of one kind, any may go on
        "weights": spec.weights_sha256,
        "versions": {"vsr": __version__, "torch": version("torch"), "machine": platform.machine(), **library_versions()},
    }


def identity_of(config: UpscaleConfig) -> dict[str, Any]:
    """The part of it that needs neither the network nor the device: the source's place, size and time, and the wishes."""
    wishes = to_plain(config)
    for name in ("source", "output", "work_dir", "overwrite", "verify", "resume", "device", "share"):
        del wishes[name]
    stat = Path(config.source).stat()
    return {
        "source": str(Path(config.source).resolve()),
        "source size": stat.st_size,
        "source time": stat.st_mtime_ns,
        **{f"option {key}": value for key, value in wishes.items()},
    }


def make_plan(draft: Draft) -> Plan:
    """Resolves everything that the user leaves open."""
    config, info, spec = draft.config, draft.info, draft.generator.spec
    encoding, target, losses = _encoding(config, info, draft.container, draft.width, draft.height, spec)
    streams = _streams(draft.source, info, draft.container)
    start, stop = trimmed(info, config.start, config.duration)
    # of a film that is cut the engine is chosen once more, when its frames are known
    engine, tried = choose_engine(config, draft.generator, info.format, target, None, 0, FRAMES_UNKNOWN)
    hwaccel, refused = choose_hardware(config.hwaccel, engine.device, draft.source, info)
    plan = Plan(
        info=replace(info, sar=fit_sar(info.sar, info.format.width, info.format.height, target.width, target.height)),
        output=draft.output,
        container=draft.container,
        model=config.model,
        blend=config.blend,
        model_scale=spec.scale,
        weights_sha256=spec.weights_sha256,
        target=target,
        engine=engine,
        encoding=encoding,
        streams=streams,
        segments=(Segment(0, start, stop, begin=start, end=stop),),
        deinterlace=choose_deinterlace(config, info),
        start=start,
        stop=stop,
        work_dir=str(draft.work_dir),
        hwaccel=hwaccel,
        warnings=(
            *info.warnings,
            *refused,
            *(() if draft.segmented else tried),
            *spec.warnings,
            *losses,
            *ignored_options(config, draft.container),
            *size_warnings(draft.width, draft.height, target),
            *cheaper_ways(spec, max(draft.width / info.format.width, draft.height / info.format.height)),
            *stream_warnings(info, streams),
            *container_warnings(info, draft.container),
        ),
    )
    if draft.segmented:
        return _cut(draft, plan)
    if spec.context and isinstance(draft.source, str) and (start, stop) != (None, None):
        plan = _with_neighbours(draft, plan)
    return replace(
        plan, warnings=(*plan.warnings, *picture_warnings(plan.info, encoding.codec, plan.deinterlace, config.deinterlace))
    )


def _with_neighbours(draft: Draft, plan: Plan) -> Plan:
    """The plan of a part that is written while it is made, read with the frames around it: its windows are the whole film's."""
    plan, index = _indexed(draft, plan)
    return replace(plan, segments=film_segments(plan, index, 0.0, draft.generator.spec.context))


def _indexed(draft: Draft, plan: Plan) -> tuple[Plan, FrameIndex]:
    """The plan as its film's index has it, and that. Raises ConfigError where no frame lies in the part that is wanted."""
    assert isinstance(draft.source, str)
    images = draft.info.container == IMAGES
    index = FrameIndex(tuple(range(draft.info.frames)), ()) if images else build_index(draft.source, draft.info)
    info = replace(plan.info, clock=index.clock, start_pts=index.pts[0], interlaced=plan.info.interlaced or index.interlaced > 0)
    start, stop = trimmed(info, draft.config.start, draft.config.duration)
    if not index.between(start, stop):
        raise ConfigError(f"{draft.info.source}: no frame lies in the part that was asked for")
    return replace(plan, info=info, start=start, stop=stop), index


def _cut(draft: Draft, plan: Plan) -> Plan:
    """The plan with its film cut into segments."""
    assert isinstance(draft.source, str)
    plan, index = _indexed(draft, plan)
    info, pts = plan.info, index.between(plan.start, plan.stop)
    told = tuple(picture_warnings(info, plan.encoding.codec, plan.deinterlace, draft.config.deinterlace))
    plan = replace(plan, warnings=(*plan.warnings, *told))
    sample = telling_frame(draft.source, info, (index.entry_before(pts[len(pts) * at // 4]) for at in TOLD_AT))
    engine, notes = choose_engine(
        draft.config, draft.generator, info.format, plan.target, sample, len(pts), len(pts) // FRAMES_EACH
    )
    plan = replace(plan, engine=engine, warnings=(*plan.warnings, *notes))
    fps = model_fps(sample, plan, draft.generator) if sample is not None and draft.config.segment is None else None
    seconds = segment_seconds(draft.config.segment, pts, info.time_base, fps)
    return replace(plan, segments=film_segments(plan, index, seconds, draft.generator.spec.context))


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
