"""The program on one page: plan, render, finish.

    plan     what will be done, resolved once                                   vsr.planning
    render   decode -> upscale -> encode, one segment file after the other
    finish   join the segments with every other stream, verify, give the final name

A pipe and a folder of frames are written while they are made: the same three stages, another end.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import TracebackType

from vsr.config import UpscaleConfig
from vsr.engine.prefetch import prefetch
from vsr.engine.upscaler import Upscaler, engine_notes
from vsr.errors import BrokenPromise, ConfigError
from vsr.frames import FrameBatch
from vsr.media.decode import Reader
from vsr.media.encode import Writer
from vsr.media.framefiles import IMAGES, PatternWriter, SequenceReader
from vsr.media.join import SegmentFile, join, stream_out, zero_of
from vsr.media.source import Pipe
from vsr.media.verify import verify
from vsr.names import STDIO
from vsr.plan import Plan, Segment
from vsr.planning import Job, make_job
from vsr.report import OnProgress, Progress, Report
from vsr.stills import is_still, upscale_stills

QUEUE_DEPTH = 4  # batches between two stages: enough to hide a slow frame, little memory


def upscale(config: UpscaleConfig, on_progress: OnProgress | None = None) -> Report:
    """Upscales a film (every frame, every other stream; one whole file under the final name, or none) or still images.

    Raises VsrError and its kinds; BrokenPromise when the work is done but not what was promised (the file is then kept as
    `<stem>.unverified<ext>`).
    """
    if is_still(config):
        return upscale_stills(config, on_progress)
    job = make_job(config)
    run = Run(job, on_progress)
    with work_folder(Path(job.plan.work_dir)):
        if job.plan.output == STDIO:
            run.to_pipe()
        elif job.plan.container == IMAGES:
            run.to_images()
        else:
            run.finish(run.render(), check=config.verify)
    return run.report


class Run:
    """One job under way: the network stays loaded, and the report grows, across segments."""

    def __init__(self, job: Job, on_progress: OnProgress | None = None) -> None:
        self.job, self.plan, self.on_progress = job, job.plan, on_progress
        self.report = Report(job.plan.output, job.plan, warnings=list(job.plan.warnings))
        self.upscaler = Upscaler(job.generator, job.plan.info.format, job.plan.target, job.plan.engine)
        self.began = monotonic()

    def render(self) -> list[SegmentFile]:
        """Decodes, upscales and encodes every segment of the plan into a file of its own."""
        return [self._render_segment(segment) for segment in self.plan.segments]

    def _render_segment(self, segment: Segment) -> SegmentFile:
        plan = self.plan
        path = Path(plan.work_dir) / f"{segment.number:06d}.mkv"
        with Writer(path, plan) as writer:
            with self._frames(segment) as upscaled:
                for batch in upscaled:
                    writer.write(batch)
            if not writer.pts:
                raise ConfigError(f"{plan.info.source}: no frame lies in the part that was asked for")
        return SegmentFile(path, tuple(writer.pts), writer.last_duration, writer.reorder_depth)

    @contextmanager
    def _frames(self, segment: Segment) -> Iterator[Iterator[FrameBatch]]:
        """The upscaled frames of a segment: decoding and upscaling run ahead, each on its own thread."""
        reader = self._reader(segment)
        with (
            reader,
            prefetch(reader, QUEUE_DEPTH, "decode") as decoded,
            prefetch(self.upscaler.stream(decoded), QUEUE_DEPTH, "upscale") as upscaled,
        ):
            yield self._counted(upscaled)
        self.report.frames_in += reader.report.frames
        self.report.read = reader.report
        self.report.seconds = monotonic() - self.began
        self.report.warnings += engine_notes(self.upscaler.report)

    def _counted(self, batches: Iterator[FrameBatch]) -> Iterator[FrameBatch]:
        for batch in batches:
            yield batch
            self.report.frames_out += len(batch)
            self._tell("upscale", expected_frames(self.plan))

    def _reader(self, segment: Segment) -> Reader | SequenceReader:
        job, plan = self.job, self.plan
        if plan.info.container == IMAGES:
            return SequenceReader(plan.info, start=segment.start, stop=segment.stop)
        if isinstance(job.source, Pipe):
            job.source.rewind()
        return Reader(job.source, plan.info, batch=plan.engine.batch, start=segment.start, stop=segment.stop, spool=self._spool())

    def _spool(self) -> Path | None:
        """Where a pipe's other streams wait for the film."""
        return Path(self.plan.work_dir) / "streams" if isinstance(self.job.source, Pipe) else None

    def finish(self, segments: Sequence[SegmentFile], *, check: bool = True) -> None:
        """Joins, verifies, and only then gives the final name."""
        plan, output = self.plan, Path(self.plan.output)
        self._tell("finish", self.report.frames_out)
        part = output.with_name(f".{output.name}.part")
        try:
            joined = join(plan, self.job.source, segments, part, self._spool())
            self.report.warnings += [f"stream {i}: {n} damaged timestamps were mended" for i, n in joined.repaired.items()]
            self.report.checks = verify(plan, self.job.source, segments, part, self._spool()) if check else ()
            broken = [c for c in self.report.checks if not c.ok]
            final = output.with_name(f"{output.stem}.unverified{output.suffix}") if broken else output
            part.replace(final)
        finally:
            part.unlink(missing_ok=True)
        self.report.output = str(final)
        if broken:
            raise BrokenPromise(f"{final}: kept under this name because {'; '.join(f'{c.name}: {c.detail}' for c in broken)}")

    def to_pipe(self) -> None:
        """Writes the film to standard output as it is made."""
        with self._frames(self.plan.segments[0]) as upscaled:
            stream_out(self.plan, self.job.source, upscaled, sys.stdout.buffer, self._spool())
        sys.stdout.buffer.flush()

    def to_images(self) -> None:
        """Writes numbered images as they are made, and their times beside them."""
        writer = PatternWriter(self.plan.output, self.plan.info.time_base)
        with self._frames(self.plan.segments[0]) as upscaled:
            for batch in upscaled:
                writer.write(batch)
        if not writer.pts:
            raise ConfigError(f"{self.plan.info.source}: no frame lies in the part that was asked for")
        writer.finish(zero_of(self.plan, writer.pts[0]))
        self.report.warnings += writer.warnings

    def _tell(self, stage: str, total: int) -> None:
        if self.on_progress:
            self.on_progress(Progress(stage, self.report.frames_out, total, monotonic() - self.began))


def expected_frames(plan: Plan) -> int:
    """The film's frame count as far as the container tells; of a part, its share."""
    if plan.stop is not None and plan.info.rate:
        first = plan.start if plan.start is not None else plan.info.start_pts
        return round((plan.stop - first) * plan.info.time_base * plan.info.rate)
    return plan.info.frames


class work_folder:
    """The hidden folder for unfinished work; gone afterwards, however the job ended."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"{self._path}: cannot be created: {exc.strerror}") from exc
        return self._path

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
