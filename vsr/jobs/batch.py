"""A batch: the films of a job, and how each of them stands before anything is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from vsr.config import UpscaleConfig
from vsr.errors import ConfigError, VsrError
from vsr.fields import rate_factor
from vsr.frames import VideoInfo
from vsr.jobs import ledger
from vsr.jobs.addresses import folder_of
from vsr.jobs.definition import Definition
from vsr.jobs.ledger import Standing
from vsr.jobs.looking import Seen, look_at
from vsr.jobs.remote import Store
from vsr.jobs.shelf import Shelf
from vsr.jobs.sources import Source, find_sources
from vsr.jobs.targets import Identity, Left, Target, config_of, identity_of, targets_of
from vsr.journal import Journal
from vsr.media.images import is_image
from vsr.names import LONGEST_NAME
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
    films = _films(definition, sources, store, shelves)
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


def _films(definition: Definition, sources: Sequence[Source], store: Store, shelves: dict[str, Shelf]) -> list[Film]:
    """The films that are to be done, without those of their folders that are results of other films of these, or of their folder:
    they lie there because a batch without `output` put them there. What is named itself is meant.

    Raises ConfigError where none is left, or two results would have one name.
    """
    made: dict[str, str] = {}
    for folder in {source.path.parent for source in sources if source.remote is None}:
        made |= {os.path.realpath(path): of for path, of in ledger.results_in(folder)}
    for source in sources:
        if source.remote is not None:
            made |= _shelf(source.remote.url, store, shelves).results()
    here = {source.place for source in sources}

    def is_result(source: Source) -> bool:
        of = made.get(source.place)
        return of is not None and not source.named and (of in here or not of or folder_of(of) == folder_of(source.place))

    left = [source for source in sources if not is_result(source)]
    if not left:
        raise ConfigError(f"{', '.join(definition.source)}: no film is left to convert; what is there, batches have made")
    return [Film(target) for target in targets_of(definition, left)]


def _shelf(url: str, store: Store, shelves: dict[str, Shelf]) -> Shelf:
    """The remote folder of a result; each is looked at once."""
    folder = folder_of(url)
    if folder not in shelves:
        shelves[folder] = Shelf(store, folder)
    return shelves[folder]


def _standing(definition: Definition, film: Film, shelf: Shelf | None, *, overwrite: bool) -> Standing | None:
    """How a film's result stands; None where that settles the film, or it is none."""
    try:
        if film.target.source.fault:
            raise ConfigError(film.target.source.fault)
        if len(os.fsencode(film.output.name)) > LONGEST_NAME:
            raise ConfigError(f'{film.target.name}: the name is too long; give a shorter one, as name = "{{stem}}"')
        if film.target.source.remote is None and film.source.exists() and not film.source.is_file():
            raise ConfigError(f"{film.source}: is no file; give films that are files")
        if is_image(str(film.source)):
            _settle(film, "skipped", "is an image; vsr upscale takes images, and folders of them")
            return None
        film.identity = identity_of(definition, film.target)
        if shelf is None:
            standing = ledger.standing(film.output, film.identity, overwrite=overwrite)
        else:
            standing = shelf.standing(film.target.url, film.identity, overwrite=overwrite)
        film.replaces = shelf is not None or (standing.state == "todo" and film.output.exists())
    except (VsrError, OSError) as exc:  # of the system: a folder that may not be entered, a name that it does not take
        _settle(film, "failed", str(exc) if isinstance(exc, VsrError) else f"{exc.filename or film.source}: {exc.strerror}")
        return None
    if standing.state == "done" and standing.entry is not None:
        film.frames, film.seconds = standing.entry.frames, standing.entry.seconds
        _settle(film, "kept")
        _sweep(film)
        return None
    return standing


def _sweep(film: Film) -> None:
    """Removes what a run left that was killed after it had written down that the film is finished."""
    if film.target.stage is not None:
        if film.target.stage.is_dir():
            with suppress(Timeout, OSError), FileLock(film.target.stage / "lock", timeout=0):
                shutil.rmtree(film.target.stage)
        return
    journal = Journal(work_dir(UpscaleConfig(str(film.source)), str(film.output)))
    if journal.crowned(film.output):
        with suppress(VsrError, OSError), journal.locked():
            journal.remove()


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
        if film.status == "todo" and standing.state == "taken":
            if _crowned(film, shelf) and film.config is not None:  # whether by this job, the worker finds out
                film.config, film.why, film.replaces = replace(film.config, overwrite=True), "", True
            else:
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
        return shelf.crowned(film.target.url, film.identity)
    return Journal(film.work_dir).crowned(film.output)


def _settle(film: Film, status: Status, why: str = "") -> None:
    film.status, film.why = status, why
