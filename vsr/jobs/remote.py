"""Storage elsewhere: s3://, gs://, sftp:// and whatever else fsspec knows.

Nothing is worked on there: films are fetched whole and results sent whole (`vsr.jobs.staging`), so that every promise which
holds for local files holds for these.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from vsr.errors import ConfigError, JobError
from vsr.jobs.addresses import WHOLE, name_of, place_of, protocol_of, under
from vsr.jobs.filesystems import Options, connected, path_in
from vsr.jobs.refusals import HINT, Absent, reason, told, written
from vsr.journal import fsync

T = TypeVar("T")

PIECE = 16 << 20  # bytes of one request
ROUND = 4 * PIECE  # asked for at once, in memory, and made safe on the disk together
MISSING = -1  # the size of what is not there
ATTEMPTS = 3  # of whatever moves bytes; a library's own come on top
PAUSE = 1.0  # seconds before the second attempt; then twice as long


@dataclass(frozen=True)
class Object:
    """A file elsewhere; `stamp` changes with its content: the storage's ETag, else its time."""

    url: str
    size: int
    stamp: str

    @property
    def name(self) -> str:
        return name_of(self.url)


class Store:
    """Files elsewhere. `options`: what fsspec's implementation of a protocol is given beyond what it finds in the environment.

    Raises JobError, naming the address, for whatever storage answers; ConfigError where a package is missing.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self._connections: dict[tuple[str, str], Any] = {}

    def files(self, folder: str) -> dict[str, Object]:
        """Every file below a folder by its path there, hidden ones too; none where there is no such folder."""

        def work() -> dict[str, Object]:
            fs, root = self._at(folder)
            try:
                found = fs.find(root, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
            prefix = f"{root.rstrip('/')}/"
            files = ((name.removeprefix(prefix), facts) for name, facts in found.items() if name.startswith(prefix))
            return {
                name: _object(under(folder, name), real) for name, facts in files if (real := _file(fs, facts)) and name
            }  # fmt: skip

        return self._tried(work, folder, "cannot be listed")

    def beside(self, folder: str) -> dict[str, Object]:
        """The files of a folder itself by name; none where there is no such folder."""

        def work() -> dict[str, Object]:
            fs, root = self._at(folder)
            try:
                found = fs.ls(root, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
            files = {name_of(each["name"]): real for each in found if (real := _file(fs, each))}
            return {name: _object(under(folder, name), facts) for name, facts in files.items()}

        return self._tried(work, folder, "cannot be listed")

    def matching(self, pattern: str) -> list[Object]:
        """Files whose addresses match a pattern; ** is any number of folders."""

        def work() -> list[Object]:
            fs, path = self._at(pattern)
            fixed = pattern[: len(pattern) - len(path)]
            found = fs.glob(path, detail=True)
            return [_object(fixed + name, real) for name, facts in found.items() if (real := _file(fs, facts))]

        return self._tried(work, pattern, "cannot be listed")

    def find(self, url: str) -> Object | None:
        """A file; None for a folder. Raises Absent where there is neither."""

        def work() -> Object | None:
            fs, path = self._at(url)
            facts = fs.info(path)
            return _object(url, facts) if facts["type"] == "file" else None

        return self._tried(work, url, "cannot be read")

    def read(self, url: str) -> bytes:
        """A small file's content."""

        def work() -> bytes:
            fs, path = self._at(url)
            return bytes(fs.cat_file(path))

        return self._tried(work, url, "cannot be read")

    def read_all(self, urls: Sequence[str]) -> dict[str, bytes]:
        """Small files' contents, side by side where the storage can; those that are gone by now are left out."""
        if not urls:
            return {}

        def work() -> list[Any]:
            fs, _ = self._at(urls[0])
            paths = [self._at(url)[1] for url in urls]
            return list(fs.cat_ranges(paths, [0] * len(paths), [None] * len(paths), on_error="return"))

        found = dict(zip(urls, self._tried(work, urls[0], "cannot be read"), strict=True))
        for url, data in found.items():
            if isinstance(data, Exception) and not isinstance(data, FileNotFoundError):
                raise JobError(f"{url}: cannot be read: {reason(data)}; {HINT}") from data
        return {url: bytes(data) for url, data in found.items() if not isinstance(data, Exception)}

    def write(self, url: str, data: bytes) -> None:
        """Puts a small file in place, whole or not at all."""

        def work() -> None:
            with self._placed(url) as (fs, path):
                fs.pipe_file(path, data)

        self._tried(work, url, "cannot be written")

    def send(self, path: Path, url: str) -> Object:
        """Copies a local file there: it appears whole or not at all."""

        def work() -> Object:
            with self._placed(url) as (fs, place):
                fs.put_file(str(path), place)
            there = self.find(url)
            if there is None or there.size != path.stat().st_size:
                raise JobError(f"{url}: has {there.size if there else 'no'} bytes after {path.stat().st_size} were sent")
            return there

        return self._tried(work, url, "cannot be written")

    def fetch(self, wanted: Object, path: Path) -> None:
        """Copies a file here: it appears whole or not at all, and goes on where an earlier attempt was killed.

        Raises JobError where the file is another one by now.
        """
        part = path.with_name(f"{path.name}.part")

        def work() -> None:
            self._require_same(wanted)
            with written(part), part.open("ab") as file:
                done = max(0, min(file.tell(), wanted.size) - 1) // ROUND * ROUND  # the last round may not be on the disk
                file.truncate(done)
                for start in range(done, wanted.size, ROUND):
                    with told(wanted.url, "cannot be fetched"):
                        pieces = self._pieces(wanted, start)
                    file.write(pieces)
                    file.flush()
                    os.fsync(file.fileno())
            self._require_same(wanted)

        self._tried(work, wanted.url, "cannot be fetched")
        part.replace(path)
        fsync(path.parent)

    def _pieces(self, wanted: Object, start: int) -> bytes:
        fs, name = self._at(wanted.url)
        starts = list(range(start, min(start + ROUND, wanted.size), PIECE))
        ends = [min(each + PIECE, wanted.size) for each in starts]
        data = b"".join(fs.cat_ranges([name] * len(starts), starts, ends, on_error="raise"))
        if len(data) != ends[-1] - start:
            raise OSError(f"{len(data)} bytes came instead of {ends[-1] - start}")
        return data

    def _require_same(self, wanted: Object) -> None:
        if self.find(wanted.url) != wanted:
            raise JobError(f"{wanted.url}: has changed since it was looked at; run the batch again")

    def clear(self, folder: str) -> None:
        """Removes a folder with all that is in it; nothing where there is none."""

        def work() -> None:
            fs, root = self._at(folder)
            if not re.search(r"[*?[]", root):
                with suppress(FileNotFoundError):
                    fs.rm(root, recursive=True)
                return
            for name in fs.find(root):  # fsspec would take the name for a pattern
                fs.rm_file(name)

        self._tried(work, folder, "cannot be removed")

    def require_writable(self, folder: str) -> None:
        """Raises JobError where nothing can be written below a folder: better now than after hours of work."""
        url = under(folder, ".vsr-batch", f"try-{uuid4().hex}")
        with told(folder, "cannot be written"):
            with self._placed(url) as (fs, place):
                fs.pipe_file(place, b"vsr")
            with suppress(Exception):  # storage may let us write and not remove
                fs.rm_file(self._at(url)[1])

    @contextmanager
    def _placed(self, url: str) -> Iterator[tuple[Any, str]]:
        """Where to write what appears under its name when this ends: in a hidden folder, or in that of unfinished work, which
        goes with all that a kill has left in it."""
        fs, path = self._at(url)
        if protocol_of(url) in WHOLE:
            yield fs, path
            return
        folder, _, name = path.rpartition("/")
        inside = folder if name_of(folder).startswith(".") else f"{folder}/.{name}.vsr"
        fs.makedirs(inside, exist_ok=True)
        part = f"{inside}/{name}.{uuid4().hex}.part"
        try:
            yield fs, part
            fs.mv(part, path)
        except BaseException:
            with suppress(Exception):
                fs.rm_file(part)
            raise

    def _at(self, url: str) -> tuple[Any, str]:
        """fsspec's file system, and the path in it; what it remembers of folders is forgotten."""
        key = protocol_of(url), place_of(url)
        if key not in self._connections:
            self._connections[key] = connected(url, self.options)
        fs = self._connections[key]
        fs.invalidate_cache()
        return fs, path_in(fs, url)

    def _tried(self, work: Callable[[], T], url: str, what: str) -> T:
        """Does some work, again after a pause and by a new connection where it fails: networks do."""
        for attempt in range(ATTEMPTS - 1):
            try:
                with told(url, what):
                    return work()
            except (Absent, ConfigError):
                raise
            except JobError:
                time.sleep(PAUSE * 2**attempt)
                self._connections.pop((protocol_of(url), place_of(url)), None)
        with told(url, what):
            return work()


def _object(url: str, facts: Mapping[str, Any]) -> Object:
    stamp = next((facts[key] for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created") if facts.get(key)), "")
    return Object(url, int(facts["size"] or 0), str(stamp).strip('"'))


def _file(fs: Any, facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is known of a file, of the one behind a link; None for folders, and for objects that stand for folders."""
    if facts["type"] == "link":
        try:
            facts = fs.info(facts["name"])
        except OSError:
            return None  # it leads nowhere
    return facts if facts["type"] == "file" and not str(facts["name"]).endswith("/") else None
