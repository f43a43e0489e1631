"""How long a whole job will take and how large its file will be, from pieces of the film that really go through the chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from vsr.bench.cast import BASELINE, Role
from vsr.bench.scout import Film
from vsr.cutting import film_segments
from vsr.journal import Journal
from vsr.media.weigh import packet_bytes, stream_rate
from vsr.pipeline import Run
from vsr.plan import Segment
from vsr.planning import Job
from vsr.report import Progress
from vsr.segments import segment_seconds

PIECE = 48  # frames: enough for an encoder's rate control to settle after its first one
LEAST = 8  # frames in a piece that still say something
PIECES = 6
TRIAL = 24  # frames that tell how fast the baseline is, and how many of them there is time for
BASELINE_SHARE = 0.15  # of the time that is left
OTHERS_SEEN = 5  # places at which the other streams are weighed
KEYINT = 250  # frames from one key frame to the next at most, by x264's and x265's defaults


@dataclass(frozen=True)
class Rendered:
    """What came of some pieces of a film: `rate` in frames a second, the bytes of each piece's packets."""

    rate: float
    packets: tuple[tuple[int, ...], ...]

    @property
    def frames(self) -> int:
        return sum(map(len, self.packets))

    def film_bytes(self, frames: int, keys: int) -> float:
        """The size of so many frames among which are `keys` key frames: the first of each piece is one."""
        first = [each[0] for each in self.packets]
        others = [size for each in self.packets for size in each[1:]] or first
        keys = max(keys, ceil(frames / KEYINT))
        return keys * _mean(first) + (frames - keys) * _mean(others)


def pieces_of(film: Film, count: int, frames: int, context: int) -> tuple[Segment, ...]:
    """Up to `count` parts of the film of about `frames` frames each, evenly over it, each as the segment that it would be; the
    whole film as one where it is no longer than that. For a model that looks at `context` neighbours they come with them.
    """
    pts = film.pts
    if len(pts) <= count * frames:
        return (_piece(film, 0, len(pts), 0, context),)
    free = (len(pts) - frames) / max(1, count - 1)
    reach = int(free * (pts[-1] - pts[0]) / len(pts)) // 2
    found: list[Segment] = []
    after = 0
    for number in range(count):
        wanted = round(number * free) if count > 1 else (len(pts) - frames) // 2
        begin = max(after, pts.index(film.after_key(pts[wanted], reach)))
        if begin + LEAST > len(pts):
            break
        after = min(len(pts), begin + frames)
        found.append(_piece(film, begin, after, number, context))
    return tuple(found)


def _piece(film: Film, begin: int, end: int, number: int, context: int) -> Segment:
    pts, plan = film.pts, film.plan
    stop = pts[end] if end < len(pts) else plan.stop
    (segment,) = film_segments(replace(plan, start=pts[begin], stop=stop), film.index, 0.0, context)
    # decoding may begin right before: no frame of it is kept
    return replace(segment, number=number, enter=film.entry(segment.begin if segment.begin is not None else pts[begin]))


def render_pieces(job: Job, pieces: Sequence[Segment], folder: Path) -> Rendered:
    """The pieces through the pipeline's own threads, engine and encoder; `folder` is for what comes of them.

    The clock starts when the first frames have come out: what is set up once has been by then. Raises what `upscale` raises.
    """
    marks: list[tuple[int, float]] = []

    def tell(progress: Progress) -> None:
        marks.append((progress.frames, monotonic()))

    run = Run(replace(job, plan=replace(job.plan, segments=tuple(pieces), work_dir=str(folder))), Journal(folder), tell)
    began = monotonic()
    records = run.render()
    end = monotonic()
    total = run.report.frames_out
    settled = 2 * job.plan.engine.workers * job.plan.engine.batch
    first = next(((frames, at) for frames, at in marks if settled <= frames <= total // 2), (0, began))
    rate = (total - first[0]) / (end - first[1])
    return Rendered(rate, tuple(tuple(packet_bytes(folder / record.file)) for record in records if record.pts))


@dataclass(frozen=True)
class Estimate:
    """Of the whole job: frames a second with everything, seconds, bytes of the file. `measured` frames went through the whole
    chain; with none it is put together from a detail's speed and the baseline's chain, and is rougher."""

    fps: float
    seconds: float
    file_bytes: float
    measured: int

    @property
    def time(self) -> str:
        """The seconds as people say them."""
        if self.seconds < 90:
            return f"{self.seconds:.0f} s"
        if self.seconds < 90 * 60:
            return f"{self.seconds / 60:.{int(self.seconds < 600)}f} min"
        return f"{self.seconds / 3600:.1f} h" if self.seconds < 72 * 3600 else f"{self.seconds / 86400:.1f} days"

    @property
    def size(self) -> str:
        """The file as people say it."""
        if self.file_bytes < 1e6:
            return f"{self.file_bytes / 1e3:.0f} kB"
        return f"{self.file_bytes / 1e9:.1f} GB" if self.file_bytes >= 999.5e6 else f"{self.file_bytes / 1e6:.3g} MB"

    @property
    def speed(self) -> str:
        """Frames a second as people say them."""
        return f"{self.fps:.3g}" if self.fps < 999.5 else f"{self.fps:,.0f}"


class Forecaster:
    """Estimates the job of one role after the other, within the time that is left until `deadline` (of the monotonic clock).

    The baseline comes first: it measures decoder and encoder on the film for those that are too slow to. `segment` is what the
    user wishes of the job's segments, in seconds.
    """

    def __init__(self, film: Film, segment: float | None, folder: Path, deadline: float) -> None:
        self._film, self._segment, self._folder, self._deadline = film, segment, folder, deadline
        plan = film.plan
        self._seconds = film.seconds(film.pts[-1]) - film.seconds(film.pts[0]) or 1.0
        kept = [stream.index for stream in plan.streams if stream.action == "copy"]
        begin = film.seconds(film.pts[0])
        places = [begin + self._seconds * at / OTHERS_SEEN for at in range(OTHERS_SEEN)]
        self._others = self._seconds * stream_rate(film.source, kept, places)

    def estimate(self, role: Role, fps: float, ratio: float | None, roles: int) -> Estimate:
        """`fps` is the network's speed as far as it is known, `ratio` the size of its pictures to the baseline's (None: it has
        none); so many `roles`, this one too, share the time that is left."""
        baseline = role.model == BASELINE
        chain = fps if baseline else self._together(role, fps)
        affordable = chain * (self._deadline - monotonic()) / roles
        rendered = None
        if baseline or affordable >= LEAST + 2 * role.job.plan.engine.workers:
            rendered = self._rendered(role, TRIAL if baseline else int(affordable))
        if baseline and rendered is not None:
            affordable = rendered.rate * (self._deadline - monotonic()) * BASELINE_SHARE
            if affordable > 2 * TRIAL and rendered.frames < len(self._film.pts):
                rendered = self._rendered(role, int(affordable))
            self._base, self._base_job = rendered, role.job
        elif rendered is not None:
            ratio = self._compared(rendered)
        return self._estimate(role, chain, rendered, ratio)

    def _compared(self, rendered: Rendered) -> float:
        """The bytes of these pieces against the baseline's of the same: by how much a model's pictures are larger differs less
        from place to place than how large they are."""
        longest = max(map(len, rendered.packets))
        pieces = pieces_of(self._film, len(rendered.packets), longest, 0)
        with TemporaryDirectory(dir=self._folder) as folder:
            base = render_pieces(self._base_job, pieces, Path(folder))
        return sum(map(sum, rendered.packets)) / sum(map(sum, base.packets))

    def _rendered(self, role: Role, frames: int) -> Rendered:
        count = min(PIECES, max(1, frames // PIECE))
        context = role.generator.spec.context
        pieces = pieces_of(self._film, count, min(PIECE, max(LEAST, frames // count)), context)
        with TemporaryDirectory(dir=self._folder) as folder:
            return render_pieces(role.job, pieces, Path(folder))

    def _estimate(self, role: Role, chain: float, rendered: Rendered | None, ratio: float | None) -> Estimate:
        frames = role.job.plan.expected_frames
        fps = rendered.rate if rendered else chain
        film = self._base.film_bytes(frames, self._keys(fps)) * (ratio or 1.0)
        if rendered is not None and rendered.frames >= frames:
            film = rendered.film_bytes(frames, self._keys(fps))
        return Estimate(fps, role.setup + frames / fps, film + self._others, rendered.frames if rendered else 0)

    def _together(self, role: Role, fps: float) -> float:
        """The network's speed with a decoder and an encoder beside it: on a CPU they take its time."""
        rest = self._base.rate
        return 1 / (1 / fps + 1 / rest) if role.job.plan.engine.device == "cpu" else min(fps, rest)

    def _keys(self, fps: float) -> int:
        """Segments that the job is cut into: each begins with a key frame."""
        seconds = segment_seconds(self._segment, self._film.pts, self._film.plan.info.time_base, fps)
        return ceil(self._seconds / seconds) if seconds else 1


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)
