"""What storage says when it refuses, in a line of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vsr.errors import ConfigError, JobError, VsrError

HINT = "see docs/batch.md on credentials and addresses"
_QUERY = re.compile(r"\?[^\s'\"]*")  # of a signed address


class Absent(JobError):
    """There is no such object, folder or bucket."""


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Says of a file here that it cannot be written: trying again is no use."""
    try:
        yield
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be written: {exc.strerror}; make room, or choose another place with --stage") from exc


@contextmanager
def told(url: str, what: str) -> Iterator[None]:
    """Says in a line what storage answers. The libraries behind fsspec have no error in common, so all are caught here."""
    try:
        yield
    except VsrError:
        raise
    except (FileNotFoundError, NotADirectoryError) as exc:
        why = reason(exc)
        known = f" ({why})" if "bucket" in why.lower() or isinstance(exc, NotADirectoryError) else ""
        raise Absent(f"{url}: {what}: there is no such object, folder or bucket{known}") from exc
    except Exception as exc:
        raise JobError(f"{url}: {what}: {reason(exc)}; {HINT}") from exc


def reason(exc: BaseException) -> str:
    """An error's first line, without what a signed address carries."""
    text = str(exc.strerror if isinstance(exc, OSError) and exc.strerror else exc).strip()
    line = _QUERY.sub("", text.splitlines()[0]) if text else type(exc).__name__
    return line if len(line) <= 200 else f"{line[:197]}..."
