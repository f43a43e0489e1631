"""What is carried between this machine and remote storage, as plain data that does itself: one errand after the other, by a
process of its own, while workers compute."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from vsr.errors import JobError, VsrError
from vsr.jobs import ledger
from vsr.jobs.addresses import name_of, under
from vsr.jobs.refusals import Absent
from vsr.jobs.remote import Object, Store
from vsr.jobs.shelf import crown_of, entry_url, here, plan_key, segment_name, segments_of, work_url
from vsr.journal import FINAL, PLAN, Journal, write_whole


@dataclass(frozen=True)
class Fetch:
    """A film comes here (`source`; None: it lies here already), with what was begun of its result (`url`; "": that is local)."""

    film: int
    source: Object | None
    path: Path
    url: str = ""
    work_dir: Path = Path()

    def do(self, store: Store) -> None:
        if self.source is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.is_file() or self.path.stat().st_size != self.source.size:
                store.fetch(self.source, self.path)
            # a film that changed differs in time, and one that did not has the same on every machine
            time = int.from_bytes(blake2b(self.source.stamp.encode(), digest_size=4).digest()) * 10**9
            os.utime(self.path, ns=(time, time))
        if self.url:
            self._take_up(store)

    def _take_up(self, store: Store) -> None:
        """What another machine, or this one before its disk was lost, has finished of the film."""
        work = work_url(self.url)
        try:
            plan = store.read(under(work, PLAN))
        except Absent:
            return
        try:
            key = plan_key(plan)
        except JobError:  # torn: there is nothing that could be gone on with
            return
        journal = Journal(self.work_dir)
        self.work_dir.mkdir(parents=True, exist_ok=True)
        mine = self.work_dir / PLAN
        if not mine.is_file() or plan_key(mine.read_bytes()) != key:
            journal.clear()
            write_whole(mine, here(plan, self.path))
        for number, (film, record) in segments_of(key, store.files(work)).items():
            path = self.work_dir / f"{number:06d}.json"
            if not path.exists():
                store.fetch(film, path.with_suffix(".mkv"))
                write_whole(path, store.read(record.url))


@dataclass(frozen=True)
class SendPlan:
    """What a film's work was begun with."""

    film: int
    work_dir: Path
    url: str

    def do(self, store: Store) -> None:
        store.send(self.work_dir / PLAN, under(work_url(self.url), PLAN))


@dataclass(frozen=True)
class SendSegment:
    """A finished segment, its record last. `perhaps`: it may be there."""

    film: int
    work_dir: Path
    url: str
    number: int
    key: str
    perhaps: bool = False

    def do(self, store: Store) -> None:
        work = work_url(self.url)
        record = under(work, segment_name(self.key, self.number, ".json"))
        if self.perhaps and _is_there(store, record):
            return
        path = self.work_dir / f"{self.number:06d}.mkv"
        store.send(path, under(work, segment_name(self.key, self.number, ".mkv")))
        store.send(path.with_suffix(".json"), record)


@dataclass(frozen=True)
class SendResult:
    """A finished result: it appears whole, is entered in the ledger beside it, and the unfinished work goes."""

    film: int
    path: Path
    url: str
    identity: Mapping[str, Any]
    frames: int
    seconds: float

    def do(self, store: Store) -> None:
        work = work_url(self.url)
        store.write(under(work, FINAL), crown_of(self.path.stat().st_size, self.identity))
        there = store.send(self.path, self.url)
        entry = ledger.Entry(name_of(self.url), there.size, there.stamp, self.identity, self.frames, self.seconds)
        store.write(entry_url(self.url), ledger.written(entry))
        store.clear(work)


@dataclass(frozen=True)
class Discard:
    """What was finished of a film is of no use."""

    film: int
    url: str

    def do(self, store: Store) -> None:
        store.clear(work_url(self.url))


Errand = Fetch | SendPlan | SendSegment | SendResult | Discard


def fault_of(errand: Errand, store: Store) -> str:
    """Does an errand; tells why it failed, in a line, or nothing."""
    try:
        errand.do(store)
    except VsrError as exc:
        return str(exc)
    except OSError as exc:
        return f"{exc.filename or 'the staging folder'}: {exc.strerror or exc}; choose another place with --stage"
    return ""


def _is_there(store: Store, url: str) -> bool:
    try:
        return store.find(url) is not None
    except Absent:
        return False
