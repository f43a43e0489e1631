"""Results elsewhere: the ledger of a folder in remote storage, and where unfinished work lies beside it.

The names are those that local results have: `.vsr-batch/NAME.json` is a finished result's entry, `.NAME.vsr/` holds a film's plan
and finished segments until it is done. A segment's name begins with a digest of its plan: what two machines with two plans may
leave there is never mixed.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path

from vsr.errors import JobError
from vsr.jobs import ledger
from vsr.jobs.addresses import folder_of, name_of, under
from vsr.jobs.refusals import Absent
from vsr.jobs.remote import Object, Store
from vsr.journal import FINAL


class Shelf:
    """A folder's results, looked at once."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store, self.folder = store, folder
        self._files = store.beside(folder)
        entries = [found.url for name, found in store.beside(under(folder, ledger.FOLDER)).items() if name.endswith(".json")]
        read = (ledger.entry_of(data) for data in store.read_all(entries).values())
        self._entries = {entry.output: entry for entry in read if entry is not None}

    def results(self) -> dict[str, str]:
        """Addresses of everything that is written down here, and of what it was made."""
        return {under(self.folder, name): str(entry.identity.get("source", "")) for name, entry in self._entries.items()}

    def standing(self, url: str, identity: ledger.Identity, *, overwrite: bool) -> ledger.Standing:
        """As `ledger.standing`."""
        there, entry = self._files.get(name_of(url)), self._entries.get(name_of(url))
        return ledger.judge(entry, (there.size, there.stamp) if there else None, identity, overwrite=overwrite)

    def crowned(self, url: str, identity: ledger.Identity) -> bool:
        """Was this result sent by a run that was killed before it could write that down?"""
        there = self._files.get(name_of(url))
        try:
            return there is not None and self._store.read(under(work_url(url), FINAL)) == crown_of(there.size, identity)
        except (Absent, ValueError):
            return False


def crown_of(size: int, identity: ledger.Identity) -> bytes:
    """What is written down before a result is sent: how many bytes, of what."""
    of = blake2b(json.dumps(dict(identity), sort_keys=True).encode(), digest_size=16).hexdigest()
    return json.dumps([size, of]).encode()


def entry_url(url: str) -> str:
    """The address of a result's entry in the ledger."""
    return under(folder_of(url), ledger.FOLDER, ledger.path_of(Path(name_of(url)), ".json").name)


def work_url(url: str) -> str:
    """The address of the folder of a result's unfinished work."""
    return under(folder_of(url), f".{name_of(url)}.vsr")


def plan_key(plan: bytes) -> str:
    """What tells plans apart, wherever the source lay when they were made. Raises JobError for what is none."""
    try:
        content = json.loads(plan)
        content["fingerprint"].pop("source", None)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise JobError(f"a plan that cannot be read: {exc}") from exc
    return blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=6).hexdigest()


def here(plan: bytes, source: Path) -> bytes:
    """The plan of a source that lies here now."""
    content = json.loads(plan)
    content["fingerprint"]["source"] = str(source.resolve())
    return json.dumps(content).encode()


def segment_name(key: str, number: int, suffix: str) -> str:
    return f"{key}-{number:06d}{suffix}"


def segments_of(key: str, files: dict[str, Object]) -> dict[int, tuple[Object, Object]]:
    """Film and record of every finished segment of a plan, by number."""
    found = {}
    for name, record in files.items():
        number = name.removeprefix(f"{key}-").removesuffix(".json")
        film = files.get(segment_name(key, int(number), ".mkv")) if number.isdecimal() else None
        if film is not None and name == segment_name(key, int(number), ".json"):
            found[int(number)] = film, record
    return found
