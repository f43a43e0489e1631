"""Opening inputs: a path, or a pipe that can be read only once."""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import av.error
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from vsr.errors import DecodeError

# Tags that are not UTF-8 pass through byte by byte: PyAV 19 always does so, PyAV 18 has to be told.
OPEN_OPTIONS: dict[str, Any] = {"metadata_errors": "surrogateescape"} if int(av.__version__.split(".")[0]) < 19 else {}


class Pipe:
    """A forward-only stream that remembers what was read until `rewind`, so that it can be probed and then read again.

    Both readings see the same bytes from the first one on; memory holds what probing read (a few megabytes), no more.
    `head` is that first part again, headers included, for whoever needs the description of the streams later. A read that waits
    for a stalled writer ends soon after `stop`.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head = bytearray()
        self._position = 0
        self._recording = True
        self._stopped = False

    def head(self) -> BytesIO:
        """The bytes that probing read."""
        return BytesIO(bytes(self._head))

    def rewind(self) -> None:
        """Starts over for the second and last reading."""
        self._position = 0
        self._recording = False

    def stop(self) -> None:
        """Makes every read, also one that is waiting in another thread, return the end of the stream."""
        self._stopped = True

    def read(self, size: int) -> bytes:
        if self._position < len(self._head):
            chunk = bytes(self._head[self._position : self._position + size])
            self._position += len(chunk)
            return chunk
        chunk = self._wait_and_read(size)
        if self._recording:
            self._head += chunk
            self._position += len(chunk)
        return chunk

    def _wait_and_read(self, size: int) -> bytes:
        while os.name == "posix" and not self._stopped:  # elsewhere select knows no pipes: the read just waits
            if select.select([self._descriptor], [], [], WAKE_SECONDS)[0]:
                break
        return b"" if self._stopped else os.read(self._descriptor, size)


WAKE_SECONDS = 0.5


def standard_input() -> Pipe:
    """Standard input as a source. Raises DecodeError when the process has none."""
    if sys.stdin is None:
        raise DecodeError("standard input is closed: pipe a film into it, or name a file")
    return Pipe(sys.stdin.fileno())


def named_pipe(path: str) -> Pipe:
    """A FIFO, or what a shell makes of <(command), as a source."""
    try:
        return Pipe(os.open(path, os.O_RDONLY))
    except OSError as exc:
        raise DecodeError(f"{path}: cannot be opened: {exc.strerror}") from exc


@contextmanager
def open_input(source: str | Pipe | BytesIO, hwaccel: HWAccel | None = None) -> Iterator[InputContainer]:
    """Opens a file or a pipe for demuxing. Raises DecodeError, in one line that names it, for whatever cannot be opened.

    `hwaccel` is the device that the video streams are to be decoded on (see `vsr.media.hardware`).
    """
    name = source_name(source)
    try:
        if isinstance(source, str):
            _check_path(source)
        # with "file:" before it a path is never a protocol ("concat:", "http:"), whatever its name
        container = av.open(f"file:{source}" if isinstance(source, str) else source, mode="r", hwaccel=hwaccel, **OPEN_OPTIONS)
    except (av.error.FFmpegError, OSError, ValueError) as exc:
        raise DecodeError(_explain(name, exc, piped=not isinstance(source, str))) from exc
    try:
        yield container
    finally:
        container.close()


def exact(value: Any) -> Fraction:
    """PyAV's rationals as fractions: 18 gives `Fraction`, 19 a type of its own that rounds."""
    return Fraction(value.numerator, value.denominator)


def exact_or(value: Any, default: Fraction) -> Fraction:
    """The same for a field that may be unset (None in PyAV 18, 0/1 or x/0 in 19)."""
    return exact(value) if value else default


def library_versions() -> dict[str, str]:
    """Versions of what decodes and encodes: other ones may give other pixels."""
    return {"av": av.__version__, **{name: ".".join(map(str, number)) for name, number in sorted(av.library_versions.items())}}


def source_name(source: str | Pipe | BytesIO) -> str:
    return source if isinstance(source, str) else "standard input"


def _check_path(source: str) -> None:
    path = Path(source)
    if path.is_dir():
        raise DecodeError(f"{source}: is a folder, not a video")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise DecodeError(f"{source}: the file is empty")
    except FileNotFoundError as exc:
        raise DecodeError(f"{source}: no such file") from exc
    except PermissionError as exc:
        raise DecodeError(f"{source}: no permission to read it") from exc
    except OSError as exc:
        raise DecodeError(f"{source}: cannot be read: {exc.strerror}") from exc


def _explain(name: str, exc: Exception, piped: bool) -> str:
    if piped:
        return f"{name}: no video that can be read from a pipe ({reason(exc)}); save it as a file (mp4 wants its index in front)"
    if isinstance(exc, av.error.InvalidDataError):
        return f"{name}: no video that FFmpeg can read, or its index is missing (an unfinished recording?)"
    return f"{name}: cannot be opened: {reason(exc)}"


def reason(exc: BaseException) -> str:
    """A library's error as a few words, without errno and path; with the next step where there is one."""
    words = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    if getattr(exc, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return f"{words}: make room, or choose another place with -o and --work-dir"
    return str(words)
