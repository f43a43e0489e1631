"""How the C library's heap keeps memory: set once for a process, before torch is loaded."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8  # malloc.h


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
