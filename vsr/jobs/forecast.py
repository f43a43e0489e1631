"""What a batch will take, before it is begun: time and disk, from a short measurement for each kind of film."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from vsr.errors import ConfigError, VsrError
from vsr.estimate import estimate
from vsr.jobs.batch import Film
from vsr.journal import Journal
from vsr.pipeline import Run
from vsr.planning import Job, draft_job, make_plan

FEW = 8  # frames that are done to measure
MORE = 6  # times as many where that was quick
SAMPLE_WORK = 10.0  # seconds that either may take, about


@dataclass(frozen=True)
class Cost:
    """Of one film: its size before and after, the network's seconds on one device, bytes; None = not known."""

    source: tuple[int, int]
    target: tuple[int, int]
    seconds: float | None = None
    size: float | None = None


@dataclass(frozen=True)
class _Rate:
    target: tuple[int, int]
    seconds: float | None  # for a frame
    size: float | None


def forecast(films: Sequence[Film], device: str) -> dict[int, Cost]:
    """The cost of every film that is to be done, by its place. One film of each size and kind is measured; one that turns out
    not to be usable has failed then, and the next is taken."""
    rates: dict[object, _Rate] = {}
    costs = {}
    with tempfile.TemporaryDirectory(prefix="vsr-batch-") as folder:
        for number, film in sorted(enumerate(films), key=lambda each: each[1].info.duration or 0.0 if each[1].info else 0.0):
            if film.status != "todo" or film.config is None or film.info is None:
                continue
            kind = (film.info.format, film.config.size, film.config.scale)
            if kind not in rates:
                try:
                    rates[kind] = _measured(film, Path(folder), device)
                except VsrError as exc:
                    film.status, film.why = "failed", str(exc)
                    continue
            rate, frames = rates[kind], film.frames
            costs[number] = Cost(
                (film.info.format.width, film.info.format.height), rate.target,
                rate.seconds * frames if rate.seconds and frames else None, rate.size * frames if rate.size and frames else None,
            )  # fmt: skip
    return costs


def _measured(film: Film, folder: Path, device: str) -> _Rate:
    """Of a frame: by doing a few from the middle of the film, decoding and encoding included, and more where these were quick;
    where the network alone takes too long for that, by a crop of one."""
    assert film.config is not None and film.info is not None
    rate = float(film.info.rate or 25)
    job = _piece(film, folder / "few", device, FEW / rate)
    facts, plan = estimate(job), job.plan
    frames = plan.expected_frames or 1
    seconds = frames / float(str(facts["model_fps"])) if facts.get("model_fps") else None
    size = float(str(facts["gigabytes"])) * 1e9 if facts.get("gigabytes") else None
    if seconds is not None and seconds <= SAMPLE_WORK:
        frames, seconds, size = _done(job)
        if seconds * MORE < SAMPLE_WORK:
            frames, seconds, size = _done(_piece(film, folder / "more", device, FEW * MORE / rate))
    return _Rate((plan.target.width, plan.target.height), seconds / frames if seconds else None, size / frames if size else None)


def _piece(film: Film, folder: Path, device: str, seconds: float) -> Job:
    """A job for so much from the middle of a film."""
    assert film.config is not None and film.info is not None
    folder.mkdir(exist_ok=True)
    middle = (film.config.start or 0.0) + (film.config.duration or float(film.info.duration or 0.0)) / 2
    output = str(folder / film.output.name)
    config = replace(film.config, output=output, device=device, segment=0.0, start=middle, duration=seconds)
    try:
        draft = draft_job(config)
        return Job(make_plan(draft), draft.source, draft.generator)
    except ConfigError:  # a container may claim to be longer than it is
        draft = draft_job(replace(config, start=None))
        return Job(make_plan(draft), draft.source, draft.generator)


def _done(job: Job) -> tuple[int, float, float]:
    """Frames, seconds and bytes of a job that is done."""
    work = Path(job.plan.work_dir)
    work.mkdir(parents=True, exist_ok=True)
    began = monotonic()
    records = list(Run(job, Journal(work)).rendered(job.plan.segments))
    return sum(len(r.pts) for r in records) or 1, monotonic() - began, float(sum(r.size for r in records))


def free_bytes(folder: Path) -> int:
    """Of the disk on which a folder lies, or will."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
