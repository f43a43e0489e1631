"""Which files a batch job is about: folders, patterns, lists and single files, each film once."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from vsr.errors import ConfigError, UsageError
from vsr.jobs.addresses import is_remote, name_of, under
from vsr.jobs.refusals import Absent
from vsr.jobs.remote import MISSING, Object, Store
from vsr.names import FILM_SUFFIXES

UNVERIFIED = ".unverified"  # ends the stem of a result that is not what was promised
LIST = "@"  # begins the name of a file that lists sources, one a line


@dataclass(frozen=True)
class Source:
    """A film to convert; `below` is its folder within the source that it was found by, which its result keeps.

    `remote`: it lies elsewhere, and `path` is where it will be when its turn comes (`vsr.jobs.targets`); until that is known,
    only its name counts.
    """

    path: Path
    below: Path = Path()
    remote: Object | None = None
    named: bool = False  # itself, not found in a folder or by a pattern
    fault: str = ""  # it is a folder that cannot be read

    @property
    def place(self) -> str:
        """Its address, or its path without links: what tells films apart."""
        return self.remote.url if self.remote else os.path.realpath(self.path)

    @property
    def name(self) -> str:
        """Where it lies, as people name it."""
        return self.remote.url if self.remote else str(self.path)


def find_sources(
    wanted: Sequence[str], exclude: Sequence[str] = (), output: str | Path | None = None, store: Store | None = None
) -> list[Source]:
    """Every film once, in natural order within each source (2 before 10). Hidden files and folders do not count, and in folders
    only what is a film by its name; `output`, where it lies inside one, is not looked into. A file that is named itself is taken
    as it is, also where it does not exist: what is wrong with it is told of it alone.

    Raises ConfigError where a folder or a pattern gives nothing, or nothing is left; JobError where `store` does not answer.
    """
    found: dict[str, Source] = {}
    for source in _sources(wanted, str(output or ""), store or Store({})):
        if not any(_matches(source, pattern) for pattern in exclude):
            known = found.setdefault(source.place, source)
            if source.named and not known.named:
                found[source.place] = replace(known, named=True)
    if not found:
        raise ConfigError(f"{', '.join(wanted)}: no film is left to convert")
    return list(found.values())


def _sources(wanted: Sequence[str], output: str, store: Store, lists: tuple[str, ...] = ()) -> Iterator[Source]:
    for each in wanted:
        path = Path(each)
        if not each.strip():
            raise UsageError("an empty name is no source: give films, folders or patterns")
        if is_remote(each):
            yield from _elsewhere(each, output, store)
        elif _there(path) and path.is_dir():
            yield from _below(path, os.path.realpath(output) if output and not is_remote(output) else None)
        elif each.startswith(LIST) and not _there(path):
            yield from _listed(each, output, store, lists)
        elif glob.has_magic(each) and not _there(path):
            yield from _matching(each)
        else:
            yield Source(path, named=True)


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or in a folder that may not be entered: told of it alone
        return False


def _below(root: Path, output: str | None) -> list[Source]:
    found: list[Source] = []
    unread: list[OSError] = []
    seen = {os.path.realpath(root)}  # links may lead back
    for folder, folders, names in os.walk(root, onerror=unread.append, followlinks=True):
        here = Path(folder)
        places = {name: os.path.realpath(here / name) for name in folders if not name.startswith(".")}
        folders[:] = [name for name, place in places.items() if place != output and place not in seen]
        seen.update(places[name] for name in folders)
        found += [Source(here / name, here.relative_to(root)) for name in names if _is_film(name)]
    found += [
        Source(Path(each.filename), named=True, fault=f"{each.filename}: cannot be read: {each.strerror}") for each in unread
    ]
    if not found:
        raise ConfigError(f"{root}: holds no film; films are known by their extensions ({', '.join(sorted(FILM_SUFFIXES))})")
    return sorted(found, key=lambda source: natural(source.path))


def _matching(pattern: str) -> list[Source]:
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    paths = [path for path in root.glob(str(Path(*parts[fixed:]))) if path.is_file()]
    shown = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    found = [Source(path, path.parent.relative_to(root)) for path in shown]
    if not found:
        raise ConfigError(f"{pattern}: matches no file")
    return sorted(found, key=lambda source: natural(source.path))


def _elsewhere(url: str, output: str, store: Store) -> list[Source]:
    """As files of this machine: an object, a folder's films, or what matches a pattern."""
    url = url.rstrip("/")
    try:
        found = store.find(url)
    except Absent:
        if glob.has_magic(url):
            return _matching_elsewhere(url, store)
        if not _is_film(name_of(url)):
            raise
        found = Object(url, MISSING, "")
    if found is not None:
        return [replace(_remote(found), named=True)]
    results = f"{output.rstrip('/')}/" if output else "\0"
    films = [
        _remote(each, _below_root(name))
        for name, each in store.files(url).items()
        if _shown(name) and _is_film(each.name) and not under(url, name).startswith(results)
    ]
    if not films:
        raise ConfigError(f"{url}: holds no film; films are known by their extensions ({', '.join(sorted(FILM_SUFFIXES))})")
    return sorted(films, key=lambda source: natural(source.path))


def _matching_elsewhere(pattern: str, store: Store) -> list[Source]:
    parts = pattern.split("/")
    root = under("/".join(parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))]), "")
    found = [(each, each.url.removeprefix(root)) for each in store.matching(pattern)]
    films = [_remote(each, _below_root(name)) for each, name in found if _shown(name)]
    if not films:
        raise ConfigError(f"{pattern}: matches no file")
    return sorted(films, key=lambda source: natural(source.path))


def _below_root(key: str) -> Path:
    """The folder of a key as folders of this machine, wherever its slashes stand: a//b is no way out."""
    return Path(*[part for part in key.split("/")[:-1] if part])


def _remote(found: Object, below: Path | None = None) -> Source:
    return Source(Path(found.url), below or Path(), found)


def _shown(name: str) -> bool:
    return not any(part.startswith(".") for part in name.split("/"))


def _listed(name: str, output: str, store: Store, lists: tuple[str, ...]) -> Iterator[Source]:
    if is_remote(name.removeprefix(LIST)):
        raise ConfigError(f"{name}: a list is a file of this machine")
    path = Path(name.removeprefix(LIST))
    if name in lists:
        raise ConfigError(f"{name}: lists itself")
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "is no text"
        raise ConfigError(f"{path}: cannot be read as a list of films: {reason}") from exc
    entries = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    yield from _sources([_beside(path, entry) for entry in entries], output, store, (*lists, name))


def _beside(path: Path, entry: str) -> str:
    """What a list names, from the list's own folder."""
    if entry.startswith(LIST):
        return f"{LIST}{path.parent / entry.removeprefix(LIST)}"
    return entry if is_remote(entry) else str(path.parent / entry)


def _is_film(name: str) -> bool:
    path = Path(name)
    return not name.startswith(".") and path.suffix.lower() in FILM_SUFFIXES and not path.stem.endswith(UNVERIFIED)


def _matches(source: Source, pattern: str) -> bool:
    return any(fnmatch(text, pattern) for text in (source.path.name, str(source.below / source.path.name), source.name))


def natural(path: Path) -> list[list[tuple[int, str]]]:
    """A key that sorts paths by their parts, numbers in them by value."""
    return [[(int(bit), "") if bit.isdecimal() else (-1, bit) for bit in re.split(r"(\d+)", part)] for part in path.parts]
