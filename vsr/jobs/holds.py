"""How a driver keeps others away from a film: from everything, or from all but those that share it (`--part`).

Two locks lie at a film. That of its work folder is held as long as a driver works on it, alone or together with others. That of
the ledger (`.vsr-batch/NAME.lock`) is for those that share: it is held while one of them plans the film, or joins it.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from vsr.errors import JobError
from vsr.jobs import ledger
from vsr.journal import LOCK, Journal, taken

if os.name == "posix":
    import fcntl


class Hold(Protocol):
    """A film in work."""

    @property
    def alone(self) -> bool:
        """Nobody else is at work on it: what another job has begun may be thrown away."""

    def open(self) -> bool:
        """Begins to hold it. False where another plans or joins it now. Raises JobError where it is another's, OSError."""

    def planned(self) -> None:
        """Its plan is written down: others may come."""

    def claim(self) -> bool:
        """To look whether it can be joined, and to join it; False where another does, or plans."""

    def unclaim(self) -> None:
        """It is not for us to join, as yet."""

    def release(self) -> None:
        """Lets go of it."""


class Alone:
    """A film of this driver's only."""

    alone = True

    def __init__(self, output: Path, journal: Journal) -> None:
        self._journal, self._stack = journal, ExitStack()

    def open(self) -> bool:
        self._journal.folder.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(self._journal.locked())
        return True

    def planned(self) -> None: ...

    def claim(self) -> bool:
        return True

    def unclaim(self) -> None: ...

    def release(self) -> None:
        self._stack.close()


class Shared:
    """A film that other drivers work on, too."""

    def __init__(self, output: Path, journal: Journal) -> None:
        self._journal, self._ours = journal, FileLock(ledger.path_of(output, ".lock"))
        self._folder: SharedLock | None = None

    @property
    def alone(self) -> bool:
        return self._folder is not None and self._folder.alone

    def open(self) -> bool:
        if not self.claim():
            return False
        self._journal.folder.mkdir(parents=True, exist_ok=True)
        self._folder = SharedLock(self._journal.folder)
        return True

    def planned(self) -> None:
        assert self._folder is not None
        if self._folder.alone:
            self._folder.share()
        self.unclaim()

    def claim(self) -> bool:
        try:
            self._ours.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def unclaim(self) -> None:
        self._ours.release()

    def release(self) -> None:
        if self._folder is not None:
            self._folder.release()
        self._ours.release(force=True)


class SharedLock:
    """The lock of a work folder, held by several at once. Who is first has it `alone`, until he shares it. Where the system has
    no such thing (Windows), it keeps nobody out. Raises JobError where somebody holds it who does not share."""

    def __init__(self, folder: Path) -> None:
        self._path, self._handle, self.alone = folder / LOCK, -1, True
        if os.name != "posix":
            return
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.share()
        except OSError as exc:
            self.release()
            raise JobError(f"{folder}: cannot be locked: {exc.strerror}") from exc

    def share(self) -> None:
        self.alone = False
        try:
            if self._handle >= 0:
                fcntl.flock(self._handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            self.release()
            raise taken(self._path.parent) from exc

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
