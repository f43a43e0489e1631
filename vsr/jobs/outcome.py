"""What became of a film: the counts of several workers as one report, and its work folder afterwards."""

from __future__ import annotations

from vsr.jobs.batch import Film
from vsr.jobs.tasks import Finished, Rendered
from vsr.journal import Journal
from vsr.report import Report


def count(film: Film, rendered: Rendered) -> None:
    """Adds what a worker has counted of a film to what others have."""
    report = rendered.report
    film.seconds += report.seconds
    if film.report is None:
        film.report = report
        return
    before = film.report
    before.read += report.read
    before.frames_out += report.frames_out
    before.frames_reused += report.frames_reused
    before.seconds_for_encoder += report.seconds_for_encoder


def film_report(film: Film, event: Finished) -> Report:
    """The report of the join with what the workers counted."""
    report, counted = event.report, film.report or Report()
    report.read, report.frames_in = counted.read, counted.read.frames
    report.frames_reused, report.seconds_for_encoder = counted.frames_reused, counted.seconds_for_encoder
    report.frames_kept = report.frames_out - counted.frames_out
    report.frames_out = counted.frames_out
    report.warnings += counted.read.notes()
    return report


def tidy(journal: Journal) -> None:
    """Removes what was being written, and the whole folder where no segment is finished."""
    if journal.counts()[0]:
        journal.drop_parts()
        return
    for path in journal.folder.iterdir():
        path.unlink(missing_ok=True)
    journal.folder.rmdir()
