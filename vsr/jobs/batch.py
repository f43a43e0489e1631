"""A batch: the films of a job, and how each of them stands before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vsr.config import UpscaleConfig
from vsr.errors import VsrError
from vsr.fields import rate_factor
from vsr.frames import VideoInfo
from vsr.jobs import ledger
from vsr.jobs.definition import Definition
from vsr.jobs.ledger import Standing
from vsr.jobs.looking import Seen, look_at
from vsr.jobs.remote import Store, folder_of
from vsr.jobs.shelf import Shelf
from vsr.jobs.sources import Source, find_sources
from vsr.jobs.targets import Identity, Left, Target, config_of, identity_of, targets_of
from vsr.journal import Journal
from vsr.media.images import is_image
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
    replaces: bool = False  # it may take the place of the file that has its name
    broken: bool = False  # it failed because the result is not what was promised; that is kept as <stem>.unverified<ext>

    @property
    def source(self) -> Path:
        return self.target.source.path

    @property
    def output(self) -> Path:
        return self.target.output

    @property
    def remote(self) -> bool:
        """Does it, or its result, lie elsewhere?"""
        return self.target.stage is not None

    @property
    def work_dir(self) -> Path:
        """The folder of its unfinished work."""
        assert self.config is not None
        return work_dir(self.config, str(self.output))


def look(definition: Definition, device: str, *, overwrite: bool = False) -> list[Film]:
    """Every film of a job, and how it stands. One that cannot be read has failed already; the others go on.

    `device`: the kind that will compute. Raises ConfigError where there are none, or two results would have one name.
    """
    store = Store(definition.remote)
    shelves: dict[str, Shelf] = {}
    sources = find_sources(definition.source, definition.exclude, definition.output, store)
    made = _results(sources, store, shelves)
    targets = targets_of(
        definition, [each for each in sources if (each.name if each.remote else each.path.resolve()) not in made]
    )
    films = [Film(target) for target in targets]
    todo = []
    for film in films:
        shelf = _shelf(film.target.url, store, shelves) if film.target.url else None
        standing = _standing(definition, film, shelf, overwrite=overwrite)
        if standing is not None:
            todo.append((film, standing, shelf))
    here = [film for film, _, _ in todo if film.target.source.remote is None]
    seen = dict(zip(map(id, here), look_at([film.source for film in here]), strict=True))
    for film, standing, shelf in todo:
        _judge(definition, film, seen.get(id(film)), device, standing, shelf)
    return films


def _results(sources: Sequence[Source], store: Store, shelves: dict[str, Shelf]) -> set[object]:
    """What is written down as a result in the folders of the sources: those are none."""
    folders = {source.path.parent for source in sources if source.remote is None}
    made: set[object] = {path.resolve() for folder in folders for path in ledger.results_in(folder)}
    for source in sources:
        if source.remote is not None:
            made |= _shelf(source.remote.url, store, shelves).results()
    return made


def _shelf(url: str, store: Store, shelves: dict[str, Shelf]) -> Shelf:
    """The remote folder of a result; each is looked at once."""
    folder = folder_of(url)
    if folder not in shelves:
        shelves[folder] = Shelf(store, folder)
    return shelves[folder]


def _standing(definition: Definition, film: Film, shelf: Shelf | None, *, overwrite: bool) -> Standing | None:
    """How a film's result stands; None where that settles the film, or it is none."""
    try:
        if is_image(str(film.source)):
            _settle(film, "skipped", "is an image; vsr upscale takes images, and folders of them")
            return None
        film.identity = identity_of(definition, film.target)
        if shelf is None:
            standing = ledger.standing(film.output, film.identity, overwrite=overwrite)
        else:
            standing = shelf.standing(film.target.url, film.identity, overwrite=overwrite)
    except VsrError as exc:
        _settle(film, "failed", str(exc))
        return None
    film.replaces = shelf is not None or (standing.state == "todo" and film.output.exists())
    if standing.state == "done" and standing.entry is not None:
        film.frames, film.seconds = standing.entry.frames, standing.entry.seconds
        _settle(film, "kept")
        return None
    return standing


def _judge(definition: Definition, film: Film, seen: Seen | None, device: str, standing: Standing, shelf: Shelf | None) -> None:
    """What becomes of a film whose result is not finished; `seen`: None where it lies elsewhere."""
    film.why = standing.why
    try:
        if seen is None:  # until it is here, only the places are known
            film.config = UpscaleConfig(str(film.source), str(film.output), overwrite=True)
        elif seen.info is None:
            _settle(film, "failed", seen.fault)
        elif (left := resolve(definition, film, seen.info, device)) is not None:
            _settle(film, "skipped", left.why)
        if film.status == "todo" and standing.state == "taken" and not _crowned(film, shelf):
            _settle(film, "skipped", f"{film.target.name}: {standing.why}; --overwrite replaces it")
    except VsrError as exc:
        _settle(film, "failed", str(exc))


def resolve(definition: Definition, film: Film, info: VideoInfo, device: str) -> Left | None:
    """What is asked for a film that was looked at, or why it is left out. Raises the VsrError that names its fault."""
    film.info = info
    config = config_of(definition, film.target, info, device, overwrite=film.replaces)
    if isinstance(config, Left):
        return config
    film.config, film.frames = config, frames_of(config, info)
    return None


def frames_of(config: UpscaleConfig, info: VideoInfo) -> int:
    """About how many frames come out, as far as the container tells; 0 where it does not."""
    share = 1.0
    if config.duration is not None and info.duration:
        share = min(1.0, config.duration / float(info.duration))
    return round(info.frames * share * rate_factor(config.deinterlace))


def _crowned(film: Film, shelf: Shelf | None) -> bool:
    """Was it finished by a run that was killed before it could write that down?"""
    if shelf is not None:
        return shelf.crowned(film.target.url)
    return Journal(film.work_dir).crowned(film.output)


def _settle(film: Film, status: Status, why: str = "") -> None:
    film.status, film.why = status, why
