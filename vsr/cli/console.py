"""Where words go: the screen, a log file, JSON reports, the progress bar."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from vsr import __version__
from vsr.errors import ConfigError, VsrError

if TYPE_CHECKING:
    from vsr.report import Progress


class Console:
    """Where words go: standard output (standard error where the film goes to standard output), a log file, or nowhere."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False, log: Path | None = None, to_stderr: bool = False) -> None:
        self.quiet, self.verbose, self._to_stderr = quiet, verbose, to_stderr
        self._log: IO[str] | None = None
        if log is not None:
            try:
                self._log = log.open("a", encoding="utf-8", errors="surrogateescape")
            except OSError as exc:
                raise ConfigError(f"--log {log}: cannot be written: {exc.strerror}") from exc

    def say(self, text: str, *, err: bool = False) -> None:
        try:
            if self._log is not None:
                print(text, file=self._log, flush=True)
            if not self.quiet:
                click.echo(text, err=err or self._to_stderr)
        except BrokenPipeError:
            raise
        except OSError as exc:
            raise ConfigError(f"what is said cannot be written: {exc.strerror}") from exc

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}", err=True)

    def detail(self, text: str) -> None:
        if self.verbose:
            self.say(text)


def write_json(target: str | None, command: str, status: str, warnings: list[str], **content: Any) -> None:
    """The report of a command; `target` is a path, "-" or None."""
    if target is None:
        return
    text = json.dumps(
        {"version": __version__, "command": command, "status": status, "warnings": warnings, **content}, default=plain, indent=2
    )
    if target == "-":
        click.echo(text)
        return
    try:
        Path(target).write_text(text + "\n", encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"--json {target}: cannot be written: {exc.strerror}") from exc


def require_writable(target: str | None) -> None:
    """Refuses a report that could not be written, before the work is done."""
    if target in (None, "-"):
        return
    path = Path(str(target))
    if path.is_dir() or not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"--json {target}: cannot be written there; choose another file")


@contextmanager
def reported(target: str | None, command: str) -> Iterator[None]:
    """Work whose report is asked for: where it can be written is known before, and an error stands in it, too."""
    require_writable(target)
    try:
        yield
    except VsrError as exc:
        write_json(target, command, "error", [], error=str(exc))
        raise


def plain(value: Any) -> Any:
    """Dataclasses, fractions, paths and sets as JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


@contextmanager
def progress_shown(how: str, console: Console, unit: str = "frame") -> Iterator[Callable[[Progress], None] | None]:
    """Draws progress on standard error: a bar on a terminal, JSON lines on request, nothing else."""
    if how == "none" or console.quiet or (how == "auto" and not (sys.stderr and sys.stderr.isatty())):
        yield None
        return
    if how == "json":
        yield lambda p: click.echo(
            json.dumps(
                {"stage": p.stage, "frames": p.frames, "total": p.total, "seconds": round(p.seconds, 3), "fps": round(p.fps, 3)}
            ),
            err=True,
        )
        return
    from tqdm import tqdm

    bar = tqdm(unit=unit, dynamic_ncols=True, file=sys.stderr, leave=False)

    def draw(progress: Progress) -> None:
        if not progress.seconds:  # work that is gone on with: what was there before says nothing of the speed
            bar.initial = bar.n = progress.frames
        bar.set_description(progress.stage, refresh=False)
        if progress.total and bar.total != max(progress.total, progress.frames):
            bar.total = max(progress.total, progress.frames)
        bar.update(progress.frames - bar.n)

    try:
        yield draw
    finally:
        bar.close()


def show_rows(rows: dict[str, object], width: int = 12) -> None:
    """A table of two columns; empty values are left out."""
    for key, value in rows.items():
        if value not in ("", None):
            click.echo(f"{key:<{width}}{value}")
