"""A batch job's definition: what a file of `pipelines/` says, as frozen dataclasses. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from string import Formatter
from typing import Literal

from vsr import toml
from vsr.config import EncodeConfig
from vsr.errors import UsageError
from vsr.fields import Deinterlace
from vsr.media.codecs import CODECS
from vsr.names import FILM_SUFFIXES

FOLDER = "pipelines"
CODEC_NAMES = frozenset({"auto", *CODECS})
MOST = {"batch": 1024, "tile": 65536, "threads": 1024}  # what is more is a slip
NAME_FIELDS = frozenset({"stem", "ext", "job", "model"})


@dataclass(frozen=True)
class EngineWishes:
    """How the network is run, as the options of `vsr upscale` of the same names; None = choose."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    backend: Literal["auto", "torch", "winograd", "ncnn"] = "auto"
    hwaccel: str = "auto"
    batch: int | None = None
    tile: int | Literal["off"] | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Definition:
    """What is done to which films.

    source      films, folders (all films below them), patterns (season*/*.mkv, **/*.ts), lists of these (@films.txt)
    exclude     patterns of names, or of paths below a folder, that are left out
    output      folder of the results, in the same sub-folders; "" = beside each film
    name        of a result without its extension, from {stem}, {ext} (of the source, without a dot), {job} and {model};
                "" = {stem} in a folder of its own, {stem}.{job} beside the film
    container   extension of the results, as "mkv"; "" = as `vsr upscale` chooses
    model       a name of `vsr models list`, or a checkpoint file
    scale       of every film; or
    fit         "WIDTHxHEIGHT" to fill as far as the picture's shape allows (upright films: turned), as it is displayed
    max_scale   the largest enlargement to `fit`
    skip_at     "WIDTHxHEIGHT": films as wide or as high as that, as they are displayed, are left out ("" = `fit`)
    excerpt     seconds from the middle of each film (0 = all of it)
    segment     seconds of film in a crash-safe segment, or "auto"
    devices     "auto" (the best), "all" (of its kind), or names as cuda:0, cuda:1; one process for each
    workers     processes on a CPU that divide its cores (0 = one); of a cluster, in all (0 = as many as there is room for)
    on_failure  "continue" with the other films, or "stop" beginning new ones
    stage       folder of this machine where films of remote storage lie while they are worked on; "" = in the user's cache
    remote      what remote storage is told beyond what it finds in the environment, by protocol: {s3 = {endpoint_url = "..."}}
    """

    title: str = ""
    job: str = ""
    source: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    output: str = ""
    name: str = ""
    container: str = ""
    model: str = "esrgan"
    blend: float | None = None
    scale: float | None = None
    fit: str = ""
    max_scale: float = 4.0
    skip_at: str = ""
    excerpt: float = 0.0
    deinterlace: Deinterlace = "auto"
    reuse: str = "exact"
    faithful: int = 0
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    engine: EngineWishes = field(default_factory=EngineWishes)
    segment: float | Literal["auto"] = "auto"
    devices: tuple[str, ...] = ("auto",)
    workers: int = 0
    on_failure: Literal["continue", "stop"] = "continue"
    stage: str = ""
    remote: dict[str, dict[str, str | bool | int | float]] = field(default_factory=dict, repr=False)  # may hold secrets

    def __post_init__(self) -> None:
        if (self.scale is None) == (not self.fit):
            raise ValueError("scale, fit: give one of them")
        if self.scale is not None and not 1 <= self.scale <= 16:
            raise ValueError("scale: must be from 1 to 16")
        if not 1 <= self.max_scale <= 16:
            raise ValueError("max_scale: must be from 1 to 16")
        for key in ("fit", "skip_at"):
            if getattr(self, key):
                size_of(getattr(self, key), key)
        if self.container and f".{self.container}" not in FILM_SUFFIXES:
            raise ValueError(f"container: {self.container!r} is no film's extension; give one as mkv, without a dot")
        if min(self.excerpt, self.workers, self.faithful) < 0 or (self.segment != "auto" and self.segment < 0):
            raise ValueError("excerpt, workers, faithful, segment: cannot be negative")
        if self.encode.codec not in CODEC_NAMES:
            raise ValueError(f"encode.codec: {self.encode.codec!r} is not one of {', '.join(sorted(CODEC_NAMES))}")
        if self.encode.bit_depth not in (None, 8, 10, 12):
            raise ValueError("encode.bit_depth: must be 8, 10 or 12")
        for key, most in MOST.items():
            value = getattr(self.engine, key)
            if isinstance(value, int) and not 1 <= value <= most:
                raise ValueError(f"engine.{key}: must be from 1 to {most}")
        if not self.devices:
            raise ValueError("devices: name one, or auto")
        if any("\0" in text for text in (*self.source, *self.exclude, self.output, self.name, self.model, self.stage)):
            raise ValueError("a name holds a NUL, which no file has")
        if self.blend is not None and not 0 <= self.blend <= 1:
            raise ValueError("blend: must be from 0 to 1")
        self._check_name()

    def _check_name(self) -> None:
        try:
            used = {name for _, name, _, _ in Formatter().parse(self.name) if name is not None}
            if used <= NAME_FIELDS:
                self.name.format(**dict.fromkeys(NAME_FIELDS, "a"))
        except (ValueError, LookupError, AttributeError) as exc:
            raise ValueError(f"name: {self.name!r} is no template: {exc}") from exc
        if used - NAME_FIELDS:
            raise ValueError(
                f"name: {{{min(used - NAME_FIELDS)}}} is not known; there are {{{'}, {'.join(sorted(NAME_FIELDS))}}}"
            )
        if self.name and ("/" in self.name or "\\" in self.name or self.name.startswith(".")):
            raise ValueError("name: is that of a file, not of a path, and cannot begin with a dot")
        if self.name and "stem" not in used:
            raise ValueError("name: without {stem} all films would get one name")


def size_of(text: str, key: str) -> tuple[int, int]:
    """(3840, 2160) of "3840x2160". Raises ValueError, naming the key."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"{key}: {text!r} must be WIDTHxHEIGHT, as 3840x2160")
    return int(width), int(height)


def load_definition(name: str, settings: Sequence[str], sources: Sequence[str] = (), output: str | None = None) -> Definition:
    """A shipped job by its name or a .toml file, with KEY=VALUE settings; `sources` and `output` replace those of the file.

    Raises ConfigError, naming file and key; UsageError where nobody names a source.
    """
    path = toml.find(name, FOLDER)
    table = toml.read(path, FOLDER)
    said = {setting.partition("=")[0] for setting in settings}
    for key, other in (("scale", "fit"), ("fit", "scale")):
        if key in said and other not in said:
            table.pop(other, None)  # what is said now is meant instead of what the file says
    table = toml.with_settings(table, settings)
    definition = toml.build(Definition, {"job": path.stem, **table}, path.name)
    definition = replace(definition, source=tuple(sources) or definition.source, output=output or definition.output)
    if not definition.source:
        raise UsageError(f"{path.name}: names no source; give films, folders or patterns")
    return definition


def shipped_titles() -> dict[str, str]:
    """The jobs that vsr brings, by name."""
    paths = sorted(toml.shipped(FOLDER).glob("*.toml"))
    return {path.stem: toml.build(Definition, {"job": path.stem, **toml.read(path, FOLDER)}, path.name).title for path in paths}
