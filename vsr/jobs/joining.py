"""The end of a film in a batch, and how whatever goes wrong in a worker is told. No torch: whoever joins needs no network."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from vsr.errors import BrokenPromise, JobError, VsrError
from vsr.finishing import finish, tell_of
from vsr.jobs.tasks import Event, Failed, Finished, FinishTask, Unfit
from vsr.journal import Journal
from vsr.outputs import work_dir
from vsr.report import Report

Emit = Callable[[Event], None]


class OtherMaker(JobError):
    """What was begun, was begun by something that this worker differs from."""


def told(work: Callable[[], Event], emit: Emit, *, final: bool) -> None:
    """Does some work and emits what comes of it, errors too; `final`: these are the film's own fault."""
    try:
        emit(work())
    except OtherMaker as exc:
        emit(Unfit(str(exc)))
    except VsrError as exc:
        emit(Failed(str(exc), traceback.format_exc(), final, isinstance(exc, BrokenPromise)))
    except Exception as exc:
        emit(Failed(f"internal error: {type(exc).__name__}: {exc}", traceback.format_exc()))


def join_film(task: FinishTask) -> Finished:
    """Joins a film's segments, verifies, and gives the final name. Raises JobError where one is missing or damaged."""
    output = Path(task.config.output or "")
    journal = Journal(work_dir(task.config, str(output)))
    plan = replace(journal.plan(), output=str(output), work_dir=str(journal.folder))
    read = journal.finished if task.check_films else journal.record
    there = []
    for segment in plan.segments:
        record = read(segment)
        if record is None:
            with suppress(OSError):
                (journal.folder / f"{segment.number:06d}.json").unlink()
            raise JobError(f"{journal.folder}: segment {segment.number} is damaged; run the batch again, and it is made anew")
        there.append(record)
    report = Report(str(output), plan, warnings=list(plan.warnings))
    tell_of(there, plan, report)
    finish(plan, task.config.source, journal, there, report, check=task.config.verify, overwrite=task.config.overwrite)
    report.frames_out = sum(len(record.pts) for record in there)
    return Finished(report)
