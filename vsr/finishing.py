"""The end of a job: its segments and every other stream in one file, which is verified before it gets the final name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vsr.errors import BrokenPromise, JobError
from vsr.journal import Journal, SegmentRecord, fsync
from vsr.media.join import SegmentFile, join
from vsr.media.source import Pipe
from vsr.media.verify import verify
from vsr.outputs import part_of
from vsr.plan import Plan, Segment
from vsr.report import Report


def finish(
    plan: Plan, source: str | Pipe, journal: Journal, records: Sequence[SegmentRecord], report: Report,
    spool: Path | None = None, *, check: bool = True, overwrite: bool = False,
) -> None:  # fmt: skip
    """Joins, verifies, and only then gives the final name; what is found out goes into the report.

    Raises BrokenPromise where the file is not what was promised; it is kept as `<stem>.unverified<ext>` then. JobError where the
    source was changed meanwhile, or a file appeared under the final name and there is no leave to `overwrite` it.
    """
    output = Path(plan.output)
    journal.require_same_source()
    segments = [SegmentFile(journal.folder / r.file, r.pts, r.last_duration, r.reorder_depth) for r in records if r.pts]
    part = part_of(output, Path(plan.work_dir))
    try:
        joined = join(plan, source, segments, part, spool)
        report.warnings += joined.notes
        report.checks = verify(plan, source, segments, part, spool) if check else ()
        broken = [c for c in report.checks if not c.ok]
        final = output.with_name(f"{output.stem}.unverified{output.suffix}") if broken else output
        if output.exists() and not overwrite and not broken:
            raise JobError(f"{output}: appeared while the film was worked on; move it away, or --overwrite replaces it")
        if not broken:
            journal.crown(part)
        part.replace(final)
        fsync(final.parent)
    finally:
        part.unlink(missing_ok=True)
    report.output = str(final)
    if broken:
        raise BrokenPromise(f"{final}: kept under this name because {'; '.join(f'{c.name}: {c.detail}' for c in broken)}")


def tell_of(records: Sequence[SegmentRecord], plan: Plan, report: Report) -> None:
    """Puts into the report what the records of the whole film say."""
    report.warnings += dict.fromkeys(note for record in records for note in record.notes)
    report.cuts = cuts_of(plan.segments, records)


def cuts_of(segments: Sequence[Segment], records: Sequence[SegmentRecord]) -> list[int]:
    """Numbers of the frames that begin a shot in what came out: frames that could not be decoded do not count."""
    cuts, lost = [], 0
    for segment, record in zip(segments, records, strict=True):
        cuts += [frame - lost for frame in record.cuts]
        lost += segment.frames - len(record.pts)
    return cuts
