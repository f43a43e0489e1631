"""The program on one page: plan, render, finish.

    plan     what will be done, resolved once, written to the journal           vsr.planning, vsr.journal
    render   decode -> upscale -> encode, one segment file after the other; those that are done already are taken as they are
    finish   join the segments with every other stream, verify, give the final name                 vsr.finishing

A pipe and a folder of frames are written while they are made: the same three stages, another end.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from time import monotonic

from vsr.config import UpscaleConfig
from vsr.engine.crew import Crew
from vsr.engine.prefetch import prefetch
from vsr.engine.reuse import Reuse
from vsr.engine.upscaler import engine_notes
from vsr.engine.window import Windows
from vsr.errors import ConfigError, Interrupted
from vsr.finishing import finish, tell_of
from vsr.frames import FrameBatch
from vsr.journal import Journal, SegmentRecord, digest_of
from vsr.losses import beside_warnings
from vsr.media.decode import Reader, ReadReport
from vsr.media.encode import Writer
from vsr.media.framefiles import IMAGES, PatternWriter, SequenceReader, first_number
from vsr.media.hardware import planned
from vsr.media.join import stream_out, zero_of
from vsr.media.source import Pipe
from vsr.names import STDIO
from vsr.plan import Plan, Segment
from vsr.planning import Draft, Job, draft_job, fingerprint, make_plan
from vsr.report import OnProgress, Progress, Report
from vsr.sizes import require_room
from vsr.stills import is_still, upscale_stills
from vsr.workfolder import work_folder

QUEUE_DEPTH = 4  # batches between two stages: enough to hide a slow frame, little memory


def upscale(config: UpscaleConfig, on_progress: OnProgress | None = None) -> Report:
    """Upscales a film (every frame, every other stream; one whole file under the final name, or none) or still images.

    The same call takes up unfinished work of the same job. Raises VsrError and its kinds: JobError when the work folder belongs
    to another job or process, BrokenPromise when the work is done but not what was promised (the file is then kept as
    `<stem>.unverified<ext>`); Interrupted when it is stopped.
    """
    if is_still(config):
        return upscale_stills(config, on_progress)
    draft = draft_job(config)
    with work_folder(draft) as journal:
        run = Run(Job(begin(draft, journal), draft.source, draft.generator), journal, on_progress)
        if draft.output == STDIO:
            run.to_pipe()
        elif draft.container == IMAGES:
            run.to_images()
        elif journal.crowned(Path(draft.output)):
            run.recall()
        else:
            run.finish(run.render(), check=config.verify, overwrite=config.overwrite)
    return run.report


def begin(draft: Draft, journal: Journal, *, shared: bool = False) -> Plan:
    """The plan of the work that was begun here, or a new one. `shared`: others may be writing here."""
    if not draft.segmented:
        return make_plan(draft)
    identity = fingerprint(draft)
    plan = journal.resume(identity) if draft.config.resume else None
    if plan is None:
        journal.clear()
        plan = make_plan(draft)
        require_room(plan, sum(s.frames for s in plan.segments))
        journal.begin(identity, plan)
    elif not shared:
        journal.drop_parts()
    return replace(plan, output=draft.output, work_dir=str(draft.work_dir))


class Run:
    """One job under way: the network stays loaded, and the report grows, across segments."""

    def __init__(self, job: Job, journal: Journal, on_progress: OnProgress | None = None, crew: Crew | None = None) -> None:
        self.job, self.plan, self.journal, self.on_progress = job, job.plan, journal, on_progress
        self.report = Report(job.plan.output, job.plan, warnings=list(job.plan.warnings))
        self.upscaler = crew or crew_for(job)
        self.windows = Windows(job.generator.spec.context, job.plan.engine.batch)
        self.noted = self.upscaler.report
        self.beside: set[str] = set()  # what lay beside the pictures so far
        self.reading: dict[int, ReadReport] = {}  # by segment; of one that is read again, the last
        self.began = monotonic()

    def render(self) -> list[SegmentRecord]:
        """Decodes, upscales and encodes every segment of the plan into a file of its own, but for those that are there."""
        segments = self.plan.segments
        records = {s.number: r for s in segments if (r := self.journal.finished(s)) is not None}
        self.report.frames_kept = sum(len(record.pts) for record in records.values())
        for record in self.rendered([segment for segment in segments if segment.number not in records]):
            records[record.number] = record
        done = [records[segment.number] for segment in segments]
        tell_of(done, self.plan, self.report)
        return done

    def rendered(self, segments: Sequence[Segment]) -> Iterator[SegmentRecord]:
        """Makes these segments; yields the record of each when it is written down."""
        todo = list(segments)
        while todo:
            todo = yield from self._render_segments(todo)
        self._count_reading()

    def _render_segments(self, segments: Sequence[Segment]) -> Generator[SegmentRecord, None, list[Segment]]:
        """One pass over these segments: network and threads go on while the encoder of one is drained and that of the next
        begins. Returns segments that a seek did not reach whole (or that are damaged): the long way round tells."""
        again: list[Segment] = []
        with self._frames(segments) as upscaled:
            parts = groupby(upscaled, attrgetter("segment"))
            number, batches = next(parts, (None, iter(())))
            for segment in segments:
                with Writer(self.journal.path_of(segment), self.plan) as writer:
                    if number == segment.number:
                        for batch in batches:
                            writer.write(batch)
                if number == segment.number:
                    number, batches = next(parts, (None, iter(())))
                if len(writer.pts) < segment.frames and segment.enter is not None:
                    self.report.frames_out -= len(writer.pts)
                    again.append(replace(segment, enter=None))
                else:
                    yield self._record(segment, writer)
        return again

    def _record(self, segment: Segment, writer: Writer) -> SegmentRecord:
        """Enters a segment that is done into the journal."""
        missing = segment.frames - len(writer.pts)
        if not writer.pts and len(self.plan.segments) == 1:
            raise ConfigError(f"{self.plan.info.source}: no frame lies in the part that was asked for")
        notes = [*self._engine_notes(), *self._late_warnings()]
        if segment.frames and missing > 0:
            notes.append(
                f"{missing} of {segment.frames} frames from number {segment.first} on could not be decoded and are left out"
            )
        path = writer.path
        record = SegmentRecord(
            segment.number, path.name, path.stat().st_size, digest_of(path), tuple(writer.pts),
            writer.last_duration, writer.reorder_depth, tuple(notes), tuple(self.windows.cuts.get(segment.number, ())),
        )  # fmt: skip
        self.journal.finish(record)
        return record

    @contextmanager
    def _frames(self, segments: Sequence[Segment]) -> Iterator[Iterator[FrameBatch]]:
        """The upscaled frames of segments: decoding and upscaling run ahead, each on its own thread, across borders too."""
        with (
            prefetch(self._decoded(segments), QUEUE_DEPTH, "decode") as decoded,
            prefetch(self._enlarged(decoded), QUEUE_DEPTH, "upscale") as upscaled,
        ):
            try:
                yield self._counted(upscaled)
            except BaseException:
                if isinstance(self.job.source, Pipe):  # its writer may be asleep, and the threads are about to be waited for
                    self.job.source.stop()
                raise
        self.report.seconds = monotonic() - self.began
        self.report.seconds_for_encoder += upscaled.producer_wait_seconds

    def _enlarged(self, batches: Iterator[FrameBatch]) -> Iterator[FrameBatch]:
        """Every frame enlarged, from its neighbours too where the model looks at them; repeats only once."""
        engine = self.plan.engine
        if self.job.generator.spec.context:
            yield from self.upscaler.stream(self.windows.through(batches))
            return
        if not engine.reuse:
            yield from self.upscaler.stream(batches)
            return
        reuse = Reuse(engine.reuse, engine.batch)
        yield from reuse.through(batches, self.upscaler.stream)
        self.report.frames_reused += reuse.frames

    def _decoded(self, segments: Sequence[Segment]) -> Iterator[FrameBatch]:
        """The frames of segments, one Reader after the other."""
        for segment in segments:
            with self._reader(segment) as reader:
                self.reading[segment.number] = reader.report
                for batch in reader:
                    yield replace(batch, segment=segment.number)

    def _count_reading(self) -> None:
        """What the Readers met, once for the whole film."""
        self.report.read = sum(self.reading.values(), start=ReadReport())
        self.report.frames_in = self.report.read.frames
        self.report.warnings += self.report.read.notes()

    def _counted(self, batches: Iterator[FrameBatch]) -> Iterator[FrameBatch]:
        for batch in batches:
            for data in filter(None, batch.data):
                self.beside.update(data.kinds)
            yield batch
            self.report.frames_out += len(batch)
            self._tell("upscale", self.plan.expected_frames)

    def _late_warnings(self) -> list[str]:
        """What lies beside later pictures and has no place; the plan warned of what the first one has."""
        late = sorted(self.beside - set(self.plan.info.picture_data))
        return [*beside_warnings(late, self.plan.encoding.codec)]

    def _engine_notes(self) -> list[str]:
        """What the engine had to do since it was asked last."""
        before, self.noted = self.noted, self.upscaler.report
        return engine_notes(self.noted.since(before))

    def _reader(self, segment: Segment) -> Reader | SequenceReader:
        job, plan = self.job, self.plan
        if plan.info.container == IMAGES:
            return SequenceReader(plan.info, start=segment.begin, stop=segment.end, shown=(segment.start, segment.stop))
        if isinstance(job.source, Pipe):
            job.source.rewind()
        return Reader(
            job.source, plan.info, batch=plan.engine.batch, start=segment.begin, stop=segment.end, enter=segment.enter,
            index=segment.first, spool=self._spool(), deinterlace=plan.deinterlace, origin=segment.origin,
            hardware=planned(plan.hwaccel), shown=(segment.start, segment.stop),
        )  # fmt: skip

    def _spool(self) -> Path | None:
        """Where a pipe's other streams wait for the film."""
        return Path(self.plan.work_dir) / "streams" if isinstance(self.job.source, Pipe) else None

    def finish(self, records: Sequence[SegmentRecord], *, check: bool = True, overwrite: bool = False) -> None:
        """Joins, verifies, and only then gives the final name."""
        self._tell("finish", self.report.frames_out)
        finish(
            self.plan, self.job.source, self.journal, records, self.report, self._spool(), check=check, overwrite=overwrite
        )  # fmt: skip

    def recall(self) -> None:
        """The job was killed after its result had got the final name: there is nothing left to do."""
        self.report.frames_kept = self.plan.expected_frames

    def to_pipe(self) -> None:
        """Writes the film to standard output as it is made."""
        with self._frames(self.plan.segments) as upscaled:
            stream_out(self.plan, self.job.source, upscaled, sys.stdout.buffer, self._spool())
        sys.stdout.buffer.flush()
        self._account()

    def to_images(self) -> None:
        """Writes numbered images as they are made, and their times beside them."""
        writer = PatternWriter(self.plan.output, self.plan.time_base, first_number(self.plan.info))
        try:
            with self._frames(self.plan.segments) as upscaled:
                for batch in upscaled:
                    writer.write(batch)
        except KeyboardInterrupt as exc:
            raise Interrupted(f"the {len(writer.pts)} images that are finished stay") from exc
        if not writer.pts:
            raise ConfigError(f"{self.plan.info.source}: no frame lies in the part that was asked for")
        writer.finish(zero_of(self.plan, writer.pts[0]))
        self.report.warnings += writer.warnings
        self._account()

    def _account(self) -> None:
        """What is known once a film that is written while it is made has ended."""
        self._count_reading()
        self.report.cuts = self.windows.cuts.get(0, [])
        self.report.warnings += [*self._engine_notes(), *self._late_warnings()]

    def _tell(self, stage: str, total: int) -> None:
        if self.on_progress:
            done = self.report.frames_out
            self.on_progress(Progress(stage, done, total, monotonic() - self.began, self.report.frames_kept))


def crew_for(job: Job) -> Crew:
    """What enlarges a job's frames."""
    return Crew(job.generator, job.plan.info.format, job.plan.target, job.plan.engine)
