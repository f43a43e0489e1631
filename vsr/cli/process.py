"""What the program sets for its whole process before it begins: threads that wait, memory, signals, warnings."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

from vsr.engine.heap import keep_heap


def set_up() -> None:
    """Once, before torch is loaded."""
    # OpenMP's threads spin while they wait; beside an encoder that wants the same cores, that made torch 4 times slower. A short
    # spin keeps the speed of an idle machine (docs/lab.md). It is read when torch is loaded, so it must be said before.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    keep_heap()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # names of files may be any bytes, and terminals of any encoding
        utf8 = stream.encoding.lower().replace("-", "") == "utf8"
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")
    signal.signal(signal.SIGTERM, _interrupt)
    if os.environ.get("VSR_DEBUG") != "1":
        warnings.simplefilter("ignore")  # what libraries tell their callers; ours are said by name
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM as a question that work asks where it can stop; a second one interrupts at once."""
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
