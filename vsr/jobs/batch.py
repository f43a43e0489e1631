"""A batch: the films of a job, and how each of them stands before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vsr.config import UpscaleConfig
from vsr.errors import VsrError
from vsr.fields import rate_factor
from vsr.frames import VideoInfo
from vsr.jobs import ledger
from vsr.jobs.definition import Definition
from vsr.jobs.sources import find_sources
from vsr.jobs.targets import Identity, Left, Target, config_of, identity_of, targets_of
from vsr.journal import Journal
from vsr.media.images import is_image
from vsr.media.probe import probe
from vsr.outputs import work_dir
from vsr.report import Report

Status = Literal["todo", "done", "kept", "skipped", "failed", "elsewhere", "unfinished"]


@dataclass
class Film:
    """One film of a batch.

    status   "todo"; "kept" (finished by an earlier run), "skipped" (by the job's rules, or something is in the way: `why`);
             later "done", "failed" (`why`), "elsewhere" (other parts still work on it), "unfinished" (the run was stopped)
    frames   that should come out, or that came out
    """

    target: Target
    status: Status = "todo"
    why: str = ""
    config: UpscaleConfig | None = None
    info: VideoInfo | None = None
    identity: Identity = field(default_factory=dict)
    frames: int = 0
    seconds: float = 0.0
    report: Report | None = None
    log: Path | None = None
    broken: bool = False  # it failed because the result is not what was promised; that is kept as <stem>.unverified<ext>

    @property
    def source(self) -> Path:
        return self.target.source.path

    @property
    def output(self) -> Path:
        return self.target.output

    @property
    def work_dir(self) -> Path:
        """The folder of its unfinished work."""
        assert self.config is not None
        return work_dir(self.config, str(self.output))


def look(
    definition: Definition, device: str, *, overwrite: bool = False, on_film: Callable[[int, int], None] | None = None
) -> list[Film]:
    """Every film of a job, and how it stands. One that cannot be read has failed already; the others go on.

    `device`: the kind that will compute. `on_film` is told how many have been looked at, of how many.
    Raises ConfigError where there are none, or two results would have one name.
    """
    output = Path(definition.output) if definition.output else None
    sources = find_sources(definition.source, definition.exclude, output)
    made = {path.resolve() for folder in {source.path.parent for source in sources} for path in ledger.results_in(folder)}
    targets = targets_of(definition, [source for source in sources if source.path.resolve() not in made])
    films = []
    for number, target in enumerate(targets):
        if on_film is not None:
            on_film(number, len(targets))
        films.append(_film(definition, target, device, overwrite=overwrite))
    return films


def _film(definition: Definition, target: Target, device: str, *, overwrite: bool) -> Film:
    film = Film(target)
    try:
        if is_image(str(film.source)):
            return _settled(film, "skipped", "is an image; vsr upscale takes images, and folders of them")
        film.identity = identity_of(definition, target)
        standing = ledger.standing(film.output, film.identity, overwrite=overwrite)
        if standing.state == "done" and standing.entry is not None:
            film.frames, film.seconds = standing.entry.frames, standing.entry.seconds
            return _settled(film, "kept")
        film.info = probe(str(film.source))
        config = config_of(definition, target, film.info, device)
        if isinstance(config, Left):
            return _settled(film, "skipped", config.why)
        film.config = config
        film.frames = frames_of(config, film.info)
        if standing.state == "taken" and not _crowned(film):
            return _settled(film, "skipped", f"{film.output}: {standing.why}; --overwrite replaces it")
        film.why = standing.why
    except VsrError as exc:
        return _settled(film, "failed", str(exc))
    return film


def frames_of(config: UpscaleConfig, info: VideoInfo) -> int:
    """About how many frames come out, as far as the container tells; 0 where it does not."""
    share = 1.0
    if config.duration is not None and info.duration:
        share = min(1.0, config.duration / float(info.duration))
    return round(info.frames * share * rate_factor(config.deinterlace))


def _crowned(film: Film) -> bool:
    """Was it finished by a run that was killed before it could write that down?"""
    return Journal(film.work_dir).crowned(film.output)


def _settled(film: Film, status: Status, why: str = "") -> Film:
    film.status, film.why = status, why
    return film
