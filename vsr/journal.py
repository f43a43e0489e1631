"""The journal: the plan on disk, and which segments are done. What resume, workers and nodes read.

A work folder holds `plan.json` (the fingerprint of the job and the plan that it was begun with), one `NNNNNN.json` for each
finished segment beside its film, and `lock`. Every file appears whole or not at all: written elsewhere, fsynced, renamed, its
folder fsynced. So after a kill or a power cut at any moment, a segment is either finished or was never begun.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vsr.errors import EncodeError, JobError
from vsr.plain import from_plain, to_plain
from vsr.plan import Plan, Segment

FORMAT = 2  # of the files below; another number is another journal
PLAN, FINAL, LOCK = "plan.json", "final.json", "lock"
SOURCE = frozenset({"source size", "source time"})  # of a fingerprint: in these a film that was changed differs
UNREADABLE = "its plan, which cannot be read"

Fingerprint = Mapping[str, Any]


@dataclass(frozen=True)
class SegmentRecord:
    """A finished segment: its file's size and digest, and what `join` must know of its frames.

    `pts` in display order; `last_duration` of its last frame (0 = unknown); `reorder_depth` frames by which decode order runs
    ahead; `notes` for the report (frames that would not decode, precision that was raised); `cuts` are the numbers of frames that
    begin a new shot, for models that look at neighbours.
    """

    number: int
    file: str
    size: int
    digest: str
    pts: tuple[int, ...]
    last_duration: int = 0
    reorder_depth: int = 0
    notes: tuple[str, ...] = ()
    cuts: tuple[int, ...] = ()


class Journal:
    """One job's work folder. Use inside `locked`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, fingerprint: Fingerprint, plan: Plan) -> None:
        """Writes down what is about to be done."""
        content = {"format": FORMAT, "fingerprint": fingerprint, "plan": to_plain(plan)}
        write_whole(self.folder / PLAN, json.dumps(content).encode())

    def plan(self) -> Plan:
        """The plan of whatever was begun here. Raises JobError where there is none that can be read."""
        try:
            plan: Plan = from_plain(Plan, json.loads((self.folder / PLAN).read_text(encoding="utf-8"))["plan"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise JobError(f"{self.folder / PLAN}: cannot be read ({exc}); --no-resume begins again") from exc
        return plan

    def resume(self, fingerprint: Fingerprint) -> Plan | None:
        """The plan of the job that was begun here; None where there is none.

        Raises JobError, saying what differs, when it was another job, or was made by a version that wrote its journal otherwise.
        """
        try:
            content = json.loads((self.folder / PLAN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            raise JobError(f"{self.folder / PLAN}: cannot be read ({exc}); --no-resume begins again") from exc
        began, differing = _differing(content, fingerprint)
        if differing:
            told = "; ".join(_change(key, began.get(key), fingerprint.get(key)) for key in differing[:3])
            raise JobError(
                f"{self.folder}: holds unfinished work of another job ({told}); --no-resume throws it away and begins again"
            )
        try:
            plan: Plan = from_plain(Plan, content["plan"])
        except (KeyError, TypeError, ValueError) as exc:
            raise JobError(f"{self.folder / PLAN}: was written by another version of vsr; --no-resume begins again") from exc
        return plan

    def finished(self, segment: Segment) -> SegmentRecord | None:
        """The record of a segment that is done and whose film is whole; None where it has to be made."""
        record = self.record(segment)
        try:
            return record if record is not None and digest_of(self.folder / record.file) == record.digest else None
        except OSError:
            return None

    def differences(self, fingerprint: Fingerprint) -> set[str]:
        """In what the job that was begun here differs from this one; empty where none was."""
        try:
            return set(_differing(json.loads((self.folder / PLAN).read_text(encoding="utf-8")), fingerprint)[1])
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, AttributeError):
            return {UNREADABLE}

    def require_same_source(self) -> None:
        """Raises JobError where the film is not the one any more that was planned for: its segments may be of either."""
        try:
            began = json.loads((self.folder / PLAN).read_text(encoding="utf-8"))["fingerprint"]
            stat = Path(began["source"]).stat()
            same = [began["source size"], began["source time"]] == [stat.st_size, stat.st_mtime_ns]
        except (OSError, ValueError, KeyError, TypeError):
            return  # nothing was begun here that goes on later, or the join will tell
        if not same:
            raise JobError(
                f"{began['source']}: was changed while it was worked on, so nothing of the result can be trusted; "
                "run it again, and it is made anew (vsr upscale wants --no-resume)"
            )

    def record(self, segment: Segment) -> SegmentRecord | None:
        """As `finished`, without reading the film: for what this job has made itself."""
        try:
            content = json.loads(self._record(segment.number).read_text(encoding="utf-8"))
            record: SegmentRecord = from_plain(SegmentRecord, content)
            whole = (self.folder / record.file).stat().st_size == record.size and all(type(pts) is int for pts in record.pts)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if whole else None

    def finish(self, record: SegmentRecord) -> None:
        """Writes down that a segment is done; its film must be in place."""
        path = self._record(record.number)
        write_whole(path, json.dumps(to_plain(record)).encode(), unfinished(path))

    def crown(self, path: Path) -> None:
        """Writes down that `path`, still under its working name, is the whole result and gets the final name next."""
        stat = path.stat()
        write_whole(self.folder / FINAL, json.dumps([stat.st_size, stat.st_mtime_ns]).encode())

    def crowned(self, path: Path) -> bool:
        """Is `path` the result of this job, killed after it had given the final name and before it had cleaned up?"""
        try:
            stat = path.stat()
            wanted = json.loads((self.folder / FINAL).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(wanted == [stat.st_size, stat.st_mtime_ns])

    def clear(self) -> None:
        """Throws away what is here of another job, but for the lock."""
        for path in self.folder.iterdir():
            if path.name != LOCK:
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Cleans up after the job, its marks last: a kill in between must not look like work that is yet to do.

        The plan goes after the mark of the result: without its plan a marked job would begin again.
        """
        last = {name: rank for rank, name in enumerate((FINAL, PLAN, LOCK), 1)}
        for path in sorted(self.folder.iterdir(), key=lambda path: last.get(path.name, 0)):
            path.unlink(missing_ok=True)
        self.folder.rmdir()

    def drop_parts(self) -> None:
        """Removes what was being written."""
        for path in self.folder.glob("*.part"):
            path.unlink(missing_ok=True)

    def counts(self) -> tuple[int, int]:
        """Segments that are written down as done, and segments planned."""
        done = sum(path.stem.isdigit() for path in self.folder.glob("*.json"))
        try:
            content = json.loads((self.folder / PLAN).read_text(encoding="utf-8"))
            return done, len(content["plan"]["segments"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0, 0

    def path_of(self, segment: Segment) -> Path:
        """Where a segment's film belongs."""
        return self.folder / f"{segment.number:06d}.mkv"

    def _record(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"

    def sweep(self) -> None:
        """Removes the folder where nothing is left in it but the lock: its job was killed in the last moment."""
        if not self.folder.is_dir() or {path.name for path in self.folder.iterdir()} - {LOCK}:
            return
        with suppress(JobError, OSError), self.locked():
            (self.folder / LOCK).unlink(missing_ok=True)
            self.folder.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps every other process out. Raises JobError when one is at work here."""
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as exc:
            raise taken(self.folder) from exc
        except OSError as exc:
            raise JobError(f"{self.folder}: cannot be locked: {exc.strerror}") from exc
        try:
            yield
        finally:
            lock.release()


def taken(folder: Path) -> JobError:
    """What is said where another process is at work."""
    return JobError(f"{folder}: another vsr is at work on this output; wait for it, or choose another name with -o")


def _differing(content: Mapping[str, Any], fingerprint: Fingerprint) -> tuple[Fingerprint, list[str]]:
    began = content.get("fingerprint", {}) if content.get("format") == FORMAT else {"journal": content.get("format")}
    now = json.loads(json.dumps(fingerprint))
    return began, sorted(key for key in {**began, **now} if began.get(key) != now.get(key))


def _change(key: str, was: object, is_: object) -> str:
    if isinstance(was, dict) and isinstance(is_, dict):
        return "; ".join(
            _change(f"{key}: {each}", was.get(each), is_.get(each)) for each in {**was, **is_} if was.get(each) != is_.get(each)
        )
    return f"{key} was {_short(was)} and is {_short(is_)}"


def _short(value: object) -> str:
    text = "not there" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def digest_of(path: Path) -> str:
    """BLAKE2b of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def unfinished(path: Path) -> Path:
    """Where this process writes what gets the name `path` when it is whole. Another process has another place: one that was
    given up for lost, on a node that could not be reached, may still be at work on the same segment."""
    tag = hashlib.blake2b(f"{platform.node()} {os.getpid()}".encode(), digest_size=4).hexdigest()
    return path.with_name(f"{path.name}.{tag}.part")


def write_whole(path: Path, data: bytes, part: Path | None = None) -> None:
    """Puts a file in place so that it is there whole, or not, whatever happens. Raises EncodeError for a full disk."""
    part = part or path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        fsync(path.parent)
    except OSError as exc:
        raise EncodeError(
            f"{path}: cannot be written: {exc.strerror}; make room, or choose another place with --work-dir"
        ) from exc


def fsync(path: Path) -> None:
    """Makes a file's bytes, or the names in a folder (POSIX; elsewhere the system does that), survive a power cut."""
    if os.name != "posix" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
