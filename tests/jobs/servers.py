"""Servers of other programs on this machine, for as long as a test needs them."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(words: Callable[[int], list[str]], log: Path) -> Iterator[int]:
    """A server at a port that is free, when it answers there; `words` begin it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    with log.open("w") as file, subprocess.Popen(words(port), stdout=file, stderr=file) as process:
        try:
            for _ in range(300):
                with socket.socket() as tried:
                    if tried.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield port
        finally:
            process.kill()
