"""What a job makes of each film: its result's name and size, or why it is left out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

import platformdirs

from vsr.config import EncodeConfig, UpscaleConfig
from vsr.errors import ConfigError
from vsr.frames import VideoInfo
from vsr.jobs.addresses import folder_of, is_remote, under
from vsr.jobs.definition import Definition, size_of
from vsr.jobs.remote import MISSING
from vsr.jobs.sources import Source
from vsr.media.codecs import CODECS, MUXERS
from vsr.names import default_suffix

Identity = dict[str, Any]

# what decides neither which result comes out nor where: it may differ when a job goes on
_HOW = frozenset(
    {"title", "job", "source", "exclude", "output", "name", "container", "segment", "devices", "workers", "on_failure"}
    | {"stage", "remote"}
)


@dataclass(frozen=True)
class Target:
    """A film and the place of its result; with an address (`url`), `output` is where it is made before it is sent there.

    `stage`: the folder of this machine for both, while they are worked on; None where neither lies elsewhere.
    """

    source: Source
    output: Path
    url: str = ""
    stage: Path | None = None

    @property
    def name(self) -> str:
        """The result's place, as people name it."""
        return self.url or str(self.output)


def targets_of(definition: Definition, sources: Sequence[Source]) -> list[Target]:
    """Where each result goes. Raises ConfigError where two would get one name, or a result would replace a source."""
    targets = [target_of(definition, source) for source in sources]
    taken: dict[str, Source] = {}
    films = {source.place for source in sources}
    for target in targets:
        where = target.url or os.path.realpath(target.output)
        if where in taken:
            raise ConfigError(
                f"{taken[where].name} and {target.source.name} would both become {target.name}; "
                "give a name with {ext}, another container, or two jobs"
            )
        if where in films:
            raise ConfigError(f"{target.name}: is a source itself; give another folder with -o, or a name")
        taken[where] = target.source
    return targets


def target_of(definition: Definition, source: Source) -> Target:
    """Where a film's result goes, and where both lie meanwhile."""
    folder = definition.output or (folder_of(source.remote.url) if source.remote else str(source.path.parent))
    below = source.below if definition.output else Path()
    name = name_of_result(definition, source)
    url = under(folder, *below.parts, name) if is_remote(folder) else ""
    here = Path(folder) / below / name
    if not url:
        with suppress(OSError):  # a name that is too long is told of its film alone
            here = Path(os.path.realpath(here)) if here.is_symlink() else here  # written through, as `vsr upscale` does
    if not url and source.remote is None:
        return Target(source, here)
    stage = stage_of(definition, source, url or os.path.realpath(here))
    if source.remote is not None:
        source = replace(source, path=stage / "in" / source.path.name)
    return Target(source, stage / "out" / name if url else here, url, stage)


def stage_of(definition: Definition, source: Source, output: str) -> Path:
    """The folder in which a film and its result lie while they are worked on: one for each pair, so that no two runs share it."""
    root = Path(definition.stage) if definition.stage else Path(platformdirs.user_cache_dir("vsr", appauthor=False)) / "stage"
    stamp = source.remote.stamp if source.remote else ""
    what = "\n".join([source.place, stamp, output])
    return root / blake2b(what.encode(), digest_size=12).hexdigest()


def name_of_result(definition: Definition, source: Source) -> str:
    """The file name of a film's result."""
    path = source.path
    suffix = f".{definition.container}" if definition.container else suffix_for(str(path), definition.encode.codec)
    name = definition.name or ("{stem}" if definition.output else "{stem}.{job}")
    model = Path(definition.model).stem if "/" in definition.model else definition.model
    stem = name.format(stem=path.stem, ext=path.suffix.removeprefix("."), job=definition.job, model=model)
    return f"{stem}{suffix}"


def suffix_for(source: str, codec: str) -> str:
    """The source's container where that is kept and can hold the codec, else Matroska's."""
    suffix = default_suffix(source)
    return suffix if codec not in CODECS or MUXERS[suffix] in CODECS[codec].containers else ".mkv"


def identity_of(definition: Definition, target: Target) -> Identity:
    """What makes a result what it is, without opening the film. Raises ConfigError where there is none."""
    settings = {key: value for key, value in asdict(definition).items() if key not in _HOW}
    settings["engine"] = {"precision": definition.engine.precision}
    if Path(definition.model).is_file():
        model = Path(definition.model).stat()
        settings["model"] = [str(Path(definition.model).resolve()), model.st_size, model.st_mtime_ns]
    return {**_source_of(target.source), **settings}


def _source_of(source: Source) -> Identity:
    if source.remote is not None:
        if source.remote.size == MISSING:
            raise ConfigError(f"{source.name}: there is no such object")
        return {"source": source.remote.url, "source size": source.remote.size, "source time": source.remote.stamp}
    try:
        stat = source.path.stat()
    except OSError as exc:
        raise ConfigError(f"{source.path}: cannot be read: {exc.strerror}") from exc
    return {"source": str(source.path.resolve()), "source size": stat.st_size, "source time": stat.st_mtime_ns}


@dataclass(frozen=True)
class Left:
    """A film that is left out, and why."""

    why: str


def config_of(
    definition: Definition, target: Target, info: VideoInfo, device: str, *, overwrite: bool = False
) -> UpscaleConfig | Left:
    """What is asked for one film, or why it is left out. `overwrite`: a file of the result's name may be replaced."""
    size = target_size(definition, info)
    if isinstance(size, Left):
        return size
    encode, engine = definition.encode, definition.engine
    start, duration = excerpt_of(definition.excerpt, info)
    return UpscaleConfig(
        source=str(target.source.path),
        output=str(target.output),
        scale=definition.scale,
        size=size,
        model=definition.model,
        blend=definition.blend,
        device=device,
        hwaccel=engine.hwaccel,
        backend=engine.backend,
        precision=engine.precision,
        batch=engine.batch,
        tile=engine.tile,
        threads=engine.threads,
        encode=EncodeConfig(**{**vars(encode), "options": dict(encode.options)}),
        start=start,
        duration=duration,
        deinterlace=definition.deinterlace,
        reuse=definition.reuse,
        faithful=definition.faithful,
        segment=None if definition.segment == "auto" else definition.segment,
        overwrite=overwrite,
    )


def target_size(definition: Definition, info: VideoInfo) -> tuple[int, int] | Left | None:
    """The size that `fit` means for a film, None with `scale`, or why the film is left out."""
    width, height = info.format.width, info.format.height
    shown = displayed(info)
    limit = definition.skip_at or definition.fit
    if limit and _reaches(shown, size_of(limit, "skip_at")):
        return Left(f"is {shown[0]}x{shown[1]} already, {limit} or more")
    if not definition.fit:
        return None
    box = turned(size_of(definition.fit, "fit"), shown)
    factor = min(Fraction(box[0], shown[0]), Fraction(box[1], shown[1]), Fraction(definition.max_scale).limit_denominator(1000))
    if factor <= 1:
        return Left(f"is {shown[0]}x{shown[1]} already, which fills {definition.fit}")
    return even(width * factor), even(height * factor)


def displayed(info: VideoInfo) -> tuple[int, int]:
    """Width and height as a player shows them: square pixels, turned upright."""
    width, height = round(info.format.width * (info.sar or 1)), info.format.height
    return (height, width) if info.rotation % 180 else (width, height)


def turned(box: tuple[int, int], shown: tuple[int, int]) -> tuple[int, int]:
    """The box lying or standing as the picture does."""
    return (box[1], box[0]) if (box[0] > box[1]) != (shown[0] > shown[1]) else box


def _reaches(shown: tuple[int, int], limit: tuple[int, int]) -> bool:
    limit = turned(limit, shown)
    return shown[0] >= limit[0] or shown[1] >= limit[1]


def even(length: Fraction) -> int:
    """The nearest even number: 4:2:0 has a sample of colour for two."""
    return max(2, round(length / 2) * 2)


def excerpt_of(seconds: float, info: VideoInfo) -> tuple[float | None, float | None]:
    """Start and duration of that much from the middle of a film; of one that is hardly longer, all of it."""
    length = float(info.duration or 0.0)
    if not seconds or length <= seconds:
        return None, seconds or None
    return round((length - seconds) / 2, 3), seconds
