"""What one process does with films, wherever it runs: plans, renders, joins. It keeps the network from one task to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from vsr.config import UpscaleConfig
from vsr.engine.crew import Crew
from vsr.errors import JobError
from vsr.jobs.joining import Emit, OtherMaker, told
from vsr.jobs.tasks import Advanced, Event, Made, Planned, PlanTask, Rendered, RenderTask, Task
from vsr.journal import SOURCE, UNREADABLE, Journal
from vsr.models.spec import Generator
from vsr.models.weights import load
from vsr.pipeline import Run, begin, crew_for
from vsr.planning import Draft, Job, draft_job, fingerprint
from vsr.report import Progress

TELL_EVERY = 0.5  # seconds


@dataclass
class _Film:
    """The film that was worked on last."""

    config: UpscaleConfig
    job: Job
    journal: Journal
    crew: Crew | None = None


class Worker:
    """Does tasks on one device, and tells what comes of them as events; nothing is raised for a film's fault."""

    def __init__(self, device: str, share: int = 1) -> None:
        self.device, self.share = device, share
        self._film: _Film | None = None
        self._network: tuple[tuple[str, float, float | None], Generator] | None = None

    def do(self, task: Task, emit: Emit) -> None:
        """Does a task; the last event is one of `tasks.ENDS`."""
        told(lambda: self._do(task, emit), emit, final=isinstance(task, PlanTask))

    def _do(self, task: Task, emit: Emit) -> Event:
        if isinstance(task, PlanTask):
            return self._plan(task)
        assert isinstance(task, RenderTask)
        return self._render(task, emit)

    def _plan(self, task: PlanTask) -> Planned:
        draft = self._draft(task.config)
        if not draft.segmented:
            raise JobError(f"{draft.info.source}: cannot be cut into segments; vsr upscale takes it")
        journal = Journal(draft.work_dir)
        began_by = journal.differences(fingerprint(draft))
        if not began_by and journal.crowned(Path(draft.output)):
            return Planned((), finished=True)
        if began_by and task.alone and (task.anew or began_by <= SOURCE or UNREADABLE in began_by):
            journal.clear()
        elif began_by:
            what = f"{journal.folder}: holds unfinished work of another job ({', '.join(sorted(began_by)[:3])}: not the same)"
            hint = "--overwrite throws it away and begins again (--no-resume of vsr upscale)"
            raise JobError(f"{what}; {hint if task.alone else 'others are at work on it: wait for them, or stop them'}")
        plan = begin(draft, journal, shared=not task.alone)
        self._film = _Film(task.config, Job(plan, draft.source, draft.generator), journal)
        kept = [s.number for s in plan.segments if journal.finished(s) is not None]
        return Planned(tuple(s.frames for s in plan.segments), tuple(kept))

    def _render(self, task: RenderTask, emit: Emit) -> Rendered:
        film = self._film_of(task.config)
        if film.crew is None:
            film.crew = crew_for(film.job)
        last = monotonic()

        def advanced(progress: Progress) -> None:
            nonlocal last
            if monotonic() - last >= TELL_EVERY:
                last = monotonic()
                emit(Advanced(progress.frames))

        run = Run(film.job, film.journal, advanced, film.crew)
        segments = {segment.number: segment for segment in film.job.plan.segments}
        for record in run.rendered([segments[number] for number in task.segments]):
            emit(Made(record.number, len(record.pts)))
        return Rendered(replace(run.report, plan=None))

    def _film_of(self, config: UpscaleConfig) -> _Film:
        if self._film is None or self._film.config != config:
            draft = self._draft(config)
            journal = Journal(draft.work_dir)
            differing = journal.differences(fingerprint(draft))
            try:
                plan = journal.resume(fingerprint(draft))
            except JobError as exc:
                if differing <= SOURCE:
                    raise JobError(f"{draft.info.source}: was changed after its plan was made; run the batch again") from exc
                if UNREADABLE in differing:
                    raise
                raise OtherMaker(str(exc)) from exc
            if plan is None:
                raise JobError(f"{journal.folder}: the plan is gone; run the batch again")
            engine = replace(plan.engine, device=self._device_of(plan.engine.device))
            plan = replace(plan, engine=engine, work_dir=str(draft.work_dir), output=draft.output)
            self._film = _Film(config, Job(plan, draft.source, draft.generator), journal)
        return self._film

    def _device_of(self, planned: str) -> str:
        """Ours, which must be of the kind that was planned for: other kinds make other pixels."""
        if planned.partition(":")[0] != self.device.partition(":")[0]:
            raise OtherMaker(f"this film's plan is for {planned}, and this worker has {self.device}")
        return planned if ":" not in self.device else self.device

    def _draft(self, config: UpscaleConfig) -> Draft:
        return draft_job(replace(config, device=self.device, share=self.share), self._load)

    def _load(self, model: str, scale: float, blend: float | None) -> Generator:
        if self._network is None or self._network[0] != (model, scale, blend):
            self._film = self._network = None  # the memory of the one before
            self._network = (model, scale, blend), load(model, scale, blend)
        return self._network[1]
