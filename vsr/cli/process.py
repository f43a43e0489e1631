"""What the program sets for its whole process before it begins: threads that wait, memory, signals, warnings."""

from __future__ import annotations

import ctypes
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8  # malloc.h


def set_up() -> None:
    """Once, before torch is loaded."""
    # OpenMP's threads spin while they wait; beside an encoder that wants the same cores, that made torch 4 times slower. A short
    # spin keeps the speed of an idle machine (docs/lab.md). It is read when torch is loaded, so it must be said before.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    keep_heap()
    signal.signal(signal.SIGTERM, _interrupt)
    if os.environ.get("VSR_DEBUG") != "1":
        warnings.simplefilter("ignore")  # what libraries tell their callers; ours are said by name
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def keep_heap() -> None:
    """Lets glibc keep the memory that tensors give back, and all threads use one heap.

    By default it returns every large block to the system, which hands it out again page by page: up to 79,000 page faults a
    frame, a fifth of the time of RRDBNet (docs/lab.md). A thread's own heap is too small for tensors. Elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return
    for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, (1 << 31) - 1), (_TOP_PAD, 64 << 20)):
        mallopt(parameter, value)


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
