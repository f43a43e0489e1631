"""The ledger: which results are finished, of what, by which job. It lies beside them, in a hidden folder.

While a film is made, its journal says how far it is (`vsr.journal`); when it is finished that is gone, and this is what a second
run goes by: it needs no decoding, no network, and no torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from vsr.errors import ConfigError
from vsr.journal import Journal, write_whole

FOLDER = ".vsr-batch"
FORMAT = 1
SOURCE = ("source", "source size", "source time")

Identity = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A finished result: its name, size and time, and what it was made of (`identity`)."""

    output: str
    size: int
    time: int | str  # elsewhere: what stands for it there
    identity: Identity
    frames: int = 0
    seconds: float = 0.0


def folder_of(output: Path) -> Path:
    """Where what is known of a result is kept."""
    return output.parent / FOLDER


def path_of(output: Path, suffix: str) -> Path:
    """A file in that folder for a result: `<name><suffix>`, or a digest of a name that would be too long."""
    name = output.name if len(os.fsencode(output.name)) <= 200 else blake2b(os.fsencode(output.name), digest_size=16).hexdigest()
    return folder_of(output) / f"{name}{suffix}"


def enter(output: Path, identity: Identity, frames: int, seconds: float) -> None:
    """Writes down that a result is finished. Raises EncodeError for a full disk."""
    stat = output.stat()
    entry = Entry(output.name, stat.st_size, stat.st_mtime_ns, identity, frames, seconds)
    folder_of(output).mkdir(exist_ok=True)
    write_whole(path_of(output, ".json"), written(entry))


def written(entry: Entry) -> bytes:
    """An entry as it is stored."""
    return json.dumps({"format": FORMAT, **asdict(entry)}).encode()


def read(output: Path) -> Entry | None:
    """What is written down of a result; None where nothing is."""
    return _entry(path_of(output, ".json"))


def results_in(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every result of a folder that is written down, or that was finished by a run that was killed before it could do so; and of
    what it was made ("" where that is not known)."""
    for path in (folder / FOLDER).glob("*.json"):
        entry = _entry(path)
        if entry is not None:
            yield folder / entry.output, str(entry.identity.get("source", ""))
    for work in folder.glob(".*.vsr"):
        output = folder / work.name.removeprefix(".").removesuffix(".vsr")
        if Journal(work).crowned(output):
            yield output, ""


def _entry(path: Path) -> Entry | None:
    try:
        return entry_of(path.read_bytes())
    except OSError:
        return None


def entry_of(data: bytes) -> Entry | None:
    """What `written` gave; None for anything else."""
    try:
        content = json.loads(data)
        entry = Entry(**content) if content.pop("format") == FORMAT else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return entry if entry and isinstance(entry.output, str) and isinstance(entry.identity, dict) else None


@dataclass(frozen=True)
class Standing:
    """How a result stands: "done", "todo", or "taken" (there is another file under its name); `why`, for people, where it was
    made before."""

    state: str
    why: str = ""
    entry: Entry | None = None


def standing(output: Path, identity: Identity, *, overwrite: bool = False) -> Standing:
    """Whether a result is finished, has to be made, or must not be touched.

    A source that changed is done again. A result of other settings, one that somebody has changed since, and a file that this
    tool has not made, are replaced only with `overwrite`.
    """
    try:
        stat = output.stat()
    except OSError:
        return judge(read(output), None, identity, overwrite=overwrite)
    return judge(read(output), (stat.st_size, stat.st_mtime_ns), identity, overwrite=overwrite)


def judge(entry: Entry | None, there: tuple[int, int | str] | None, identity: Identity, *, overwrite: bool) -> Standing:
    """`standing`, by what is written down of a result and by size and time of what lies there."""
    if there is None:
        return Standing("todo", "the result is gone" if entry else "")
    if entry is None:
        return Standing("todo") if overwrite else Standing("taken", "a file of this name exists, and no batch made it")
    before, now = dict(entry.identity), json.loads(json.dumps(dict(identity)))
    differing = sorted(key for key in {*before, *now} - {*SOURCE} if before.get(key) != now.get(key))
    # a film that lies elsewhere now is the same film
    changed = any(before.get(key) != now.get(key) for key in SOURCE[1:])
    if there != (entry.size, entry.time):
        why = "the result was changed after it was made"
    elif not differing:
        return Standing("todo", "the source has changed since", entry) if changed else Standing("done", entry=entry)
    else:
        why = f"it was made with {_told(differing[0], before)}, not {_told(differing[0], now)}"
    return Standing("todo", why) if overwrite else Standing("taken", why, entry)


def _told(key: str, identity: Identity) -> str:
    value = identity.get(key)
    return f"no {key}" if value in (None, "") else f"{key} {json.dumps(value)}"


def make_folder(output: Path) -> None:
    """The folder of a result, and the hidden one in it. Raises ConfigError where they cannot be."""
    try:
        folder_of(output).mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"{output.parent}: cannot be created or written: {exc.strerror}") from exc
