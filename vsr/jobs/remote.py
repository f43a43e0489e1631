"""Storage elsewhere: s3://, gs://, sftp:// and whatever else fsspec knows. The only module that imports it.

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

from vsr.errors import ConfigError, JobError, VsrError
from vsr.journal import fsync

T = TypeVar("T")
Options = Mapping[str, Mapping[str, Any]]

PIECE = 16 << 20  # bytes of one request
ROUND = 4 * PIECE  # asked for at once, in memory, and made safe on the disk together
MISSING = -1  # the size of what is not there
ATTEMPTS = 3  # of whatever moves bytes; a library's own come on top
PAUSE = 1.0  # seconds before the second attempt; then twice as long
# where an upload appears whole or not at all; elsewhere a file is sent under another name and renamed
WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@")
_QUERY = re.compile(r"\?[^\s'\"]*")  # of a signed address
_HINT = "see docs/batch.md on credentials and addresses"


class Absent(JobError):
    """There is no such object, folder or bucket."""


@dataclass(frozen=True)
class Object:
    """A file elsewhere; `stamp` changes with its content: the storage's ETag, else its time."""

    url: str
    size: int
    stamp: str

    @property
    def name(self) -> str:
        return name_of(self.url)


def is_remote(name: str) -> bool:
    """Whether a name is an address. Raises ConfigError for one with a password in it, which would end up in every log."""
    if _URL.match(name) is None:
        return False
    if _PASSWORD.search(name):
        raise ConfigError(f"{_PASSWORD.sub('//...@', name)}: leave the password out of the address; {_HINT}")
    return True


def under(folder: str, *names: str) -> str:
    """The address of something below a folder."""
    return "/".join([folder.rstrip("/"), *names])


def folder_of(url: str) -> str:
    return url.rstrip("/").rpartition("/")[0]


def name_of(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2]


class Store:
    """Files elsewhere. `options`: what fsspec's implementation of a protocol is given beyond what it finds in the environment.

    Raises JobError, naming the address, for whatever storage answers; ConfigError where a package is missing.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def files(self, folder: str) -> dict[str, Object]:
        """Every file below a folder by its path there, hidden ones too; none where there is no such folder."""
        with _told(folder, "cannot be listed"):
            fs, root = self._at(folder)
            try:
                found = fs.find(root, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
            prefix = f"{root.rstrip('/')}/"
            return {
                name.removeprefix(prefix): _object(under(folder, name.removeprefix(prefix)), facts)
                for name, facts in found.items()
                if name.startswith(prefix)
            }

    def beside(self, folder: str) -> dict[str, Object]:
        """The files of a folder itself by name; none where there is no such folder."""
        with _told(folder, "cannot be listed"):
            fs, root = self._at(folder)
            try:
                found = fs.ls(root, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
            files = {name_of(each["name"]): each for each in found if each["type"] == "file"}
            return {name: _object(under(folder, name), facts) for name, facts in files.items()}

    def matching(self, pattern: str) -> list[Object]:
        """Files whose addresses match a pattern; ** is any number of folders."""
        with _told(pattern, "cannot be listed"):
            fs, path = self._at(pattern)
            fixed = pattern[: len(pattern) - len(path)]
            found = fs.glob(path, detail=True)
            return [_object(fixed + name, facts) for name, facts in found.items() if facts["type"] == "file"]

    def find(self, url: str) -> Object | None:
        """A file; None for a folder. Raises Absent where there is neither."""
        with _told(url, "cannot be read"):
            fs, path = self._at(url)
            facts = fs.info(path)
            return _object(url, facts) if facts["type"] == "file" else None

    def read(self, url: str) -> bytes:
        """A small file's content."""

        def work() -> bytes:
            fs, path = self._at(url)
            return bytes(fs.cat_file(path))

        return _tried(work, url, "cannot be read")

    def read_all(self, urls: Sequence[str]) -> dict[str, bytes]:
        """Small files' contents, side by side where the storage can; what cannot be read is left out."""
        if not urls:
            return {}
        with _told(urls[0], "cannot be read"):
            fs, _ = self._at(urls[0])
            paths = [self._at(url)[1] for url in urls]
            found = fs.cat_ranges(paths, [0] * len(paths), [None] * len(paths), on_error="return")
        return {url: bytes(data) for url, data in zip(urls, found, strict=True) if isinstance(data, bytes)}

    def write(self, url: str, data: bytes) -> None:
        """Puts a small file in place, whole or not at all."""

        def work() -> None:
            with self._placed(url) as (fs, path):
                fs.pipe_file(path, data)

        _tried(work, url, "cannot be written")

    def send(self, path: Path, url: str) -> Object:
        """Copies a local file there: it appears whole or not at all."""

        def work() -> Object:
            with self._placed(url) as (fs, place):
                fs.put_file(str(path), place)
            there = self.find(url)
            if there is None or there.size != path.stat().st_size:
                raise JobError(f"{url}: has {there.size if there else 'no'} bytes after {path.stat().st_size} were sent")
            return there

        return _tried(work, url, "cannot be written")

    def fetch(self, wanted: Object, path: Path) -> None:
        """Copies a file here: it appears whole or not at all, and goes on where an earlier attempt was killed.

        Raises JobError where the file is another one by now.
        """
        part = path.with_name(f"{path.name}.part")

        def work() -> None:
            self._require_same(wanted)
            with part.open("ab") as file:
                done = max(0, min(file.tell(), wanted.size) - 1) // ROUND * ROUND  # the last round may not be on the disk
                file.truncate(done)
                for start in range(done, wanted.size, ROUND):
                    file.write(self._pieces(wanted, start))
                    file.flush()
                    os.fsync(file.fileno())
            self._require_same(wanted)

        _tried(work, wanted.url, "cannot be fetched")
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

        _tried(work, folder, "cannot be removed")

    def require_writable(self, folder: str) -> None:
        """Raises JobError where nothing can be written below a folder: better now than after hours of work."""
        url = under(folder, ".vsr-batch", f"try-{os.getpid()}")
        with _told(folder, "cannot be written"):
            with self._placed(url) as (fs, place):
                fs.pipe_file(place, b"vsr")
            with suppress(Exception):  # storage may let us write and not remove
                fs.rm_file(self._at(url)[1])

    @contextmanager
    def _placed(self, url: str) -> Iterator[tuple[Any, str]]:
        """Where to write what appears under its name when this ends."""
        fs, path = self._at(url)
        if _protocol(url) in WHOLE:
            yield fs, path
            return
        folder, _, name = path.rpartition("/")
        fs.makedirs(folder, exist_ok=True)
        part = f"{folder}/.{name}.{os.getpid()}.part"
        try:
            yield fs, part
            fs.mv(part, path)
        except BaseException:
            with suppress(Exception):
                fs.rm_file(part)
            raise

    def _at(self, url: str) -> tuple[Any, str]:
        """fsspec's file system, and the path in it; what it remembers of folders is forgotten."""
        try:
            from fsspec.core import url_to_fs
        except ImportError as exc:
            raise ConfigError(f"{url}: needs fsspec: pip install 'vsr[remote]'") from exc
        try:
            fs, path = url_to_fs(url, **self.options.get(_protocol(url), {}))
        except ImportError as exc:
            raise ConfigError(f"{url}: needs another package ({_reason(exc)}): pip install 'vsr[remote]'") from exc
        except ValueError as exc:
            raise ConfigError(f"{url}: {_reason(exc)}") from exc
        fs.invalidate_cache()
        return fs, str(path)


def _protocol(url: str) -> str:
    return url.partition("://")[0].lower()


def _object(url: str, facts: Mapping[str, Any]) -> Object:
    stamp = next((facts[key] for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created") if facts.get(key)), "")
    return Object(url, int(facts["size"] or 0), str(stamp).strip('"'))


@contextmanager
def _told(url: str, what: str) -> Iterator[None]:
    """Says in a line what storage answers. The libraries behind fsspec have no error in common, so all are caught here."""
    try:
        yield
    except VsrError:
        raise
    except (FileNotFoundError, NotADirectoryError) as exc:
        reason = _reason(exc)
        known = f" ({reason})" if "bucket" in reason.lower() or isinstance(exc, NotADirectoryError) else ""
        raise Absent(f"{url}: {what}: there is no such object, folder or bucket{known}") from exc
    except Exception as exc:
        raise JobError(f"{url}: {what}: {_reason(exc)}; {_HINT}") from exc


def _reason(exc: BaseException) -> str:
    """An error's first line, without what a signed address carries."""
    text = str(exc.strerror if isinstance(exc, OSError) and exc.strerror else exc).strip()
    line = _QUERY.sub("", text.splitlines()[0]) if text else type(exc).__name__
    return line if len(line) <= 200 else f"{line[:197]}..."


def _tried(work: Callable[[], T], url: str, what: str) -> T:
    """Does some work, again after a pause where it fails: networks do."""
    for attempt in range(ATTEMPTS - 1):
        try:
            with _told(url, what):
                return work()
        except (Absent, ConfigError):
            raise
        except JobError:
            time.sleep(PAUSE * 2**attempt)
    with _told(url, what):
        return work()
