"""Runs a batch: gives tasks to workers as long as there are any, and writes down what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from vsr.errors import ConfigError, Interrupted, JobError, VsrError
from vsr.jobs import ledger
from vsr.jobs.batch import Film
from vsr.jobs.holds import Alone, Hold, Shared
from vsr.jobs.local import deaf
from vsr.jobs.outcome import count, film_report, tidy
from vsr.jobs.pool import JOINER, Pool
from vsr.jobs.progress import OnProgress, Tally
from vsr.jobs.queue import Queue, Step
from vsr.jobs.tasks import (
    ENDS,
    Advanced,
    Event,
    Failed,
    Finished,
    FinishTask,
    Left,
    Lost,
    Made,
    Planned,
    PlanTask,
    Ready,
    Rendered,
    RenderTask,
    Task,
    Unfit,
)  # fmt: skip
from vsr.jobs.watch import Watch
from vsr.journal import Journal
from vsr.outputs import part_of

WAIT = 0.5  # seconds between two looks at everything


class Driver:
    """One run over the films of a batch that are "todo"; afterwards each says what became of it.

    A film's work folder is closed to every other process from its plan to its end; `shared`: to all but those that share it, too.
    `anew`: what another job has begun of a film goes. `book`: results are entered in the ledger, failures in logs beside it.
    `on_note`: what befalls workers, when it does.
    """

    def __init__(
        self, films: Sequence[Film], pool: Pool, queue: Queue, on_progress: OnProgress | None = None, *,
        shared: bool = False, anew: bool = False, stop_on_failure: bool = False, book: bool = True,
        on_note: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.films, self.pool, self.queue = films, pool, queue
        self.shared, self.anew, self.stop_on_failure = shared, anew, stop_on_failure
        self.book, self.on_note = book, on_note
        self.notes: list[str] = []
        self._doing: dict[int, Step] = {}
        self._watch = Watch()
        self._holds: dict[int, Hold] = {}  # of films in work
        self._later: list[int] = []  # films that another plans or joins right now
        self._contested: set[int] = set()  # films of which we could not see whether they are for us to join
        self._unbooked: set[int] = set()
        self._tally = Tally(films, on_progress)

    def run(self) -> None:
        """Until nothing is left to do. Raises JobError when no worker is left, Interrupted on Ctrl-C; what is finished stays."""
        try:
            while not self.queue.over or self._contested:
                self.queue.workers = max(1, self.pool.alive())  # nodes come and go
                self._give()
                for worker, event in self.pool.events(WAIT):
                    self._hear(worker, event)
                self._tally.tell(now=False)
                self._look_around()
                for worker, seconds in self._watch.hanging().items():
                    self.pool.kill(worker, f"no frame came from it for {seconds:.0f} s, so it was ended")
            self._tally.tell()
        except KeyboardInterrupt as exc:
            raise Interrupted(self._left_behind()) from exc
        finally:
            with deaf():  # who presses Ctrl-C twice would leave processes, and locks
                self._end()

    def _end(self) -> None:
        self.pool.close()
        for number in list(self._holds):
            self._close(number)
        for film in self.films:
            if film.status == "todo":
                film.status = "unfinished"

    def _look_around(self) -> None:
        """Is there still somebody to work? And have others made what was theirs, when nothing of ours is left?"""
        if self.queue.over:
            for number in list(self._holds):
                self._join_for_others(number)
        elif not self.pool.alive() and not any(step.kind == "finish" for step in self._doing.values()):
            raise JobError(f"no worker is left: {self.notes[-1] if self.notes else 'none could begin'}")

    def _give(self) -> None:
        for worker in self.pool.free():
            step = self.queue.next_join() if worker <= JOINER else self.queue.next()
            while step is not None and step.kind == "plan" and not self._opened(step):
                step = self.queue.next()
            if step is not None:
                self._doing[worker] = step
                if step.kind == "render":
                    self._watch.begins(worker, step.film)
                self.pool.give(worker, self._task(step))
        for number in self._later:
            self.queue.postponed(number)
        self._later.clear()

    def _task(self, step: Step) -> Task:
        config = self.films[step.film].config
        assert config is not None
        if step.kind == "plan":
            return PlanTask(step.film, config, self._holds[step.film].alone, self.anew)
        if step.kind == "render":
            return RenderTask(step.film, config, step.segments)
        return FinishTask(step.film, config, self.shared)

    def _opened(self, step: Step) -> bool:
        """Makes a film's folders and closes them to others; false where the film is not to be planned, or not now."""
        number, film = step.film, self.films[step.film]
        if number in self._holds:
            return True
        hold = (Shared if self.shared else Alone)(film.output, Journal(film.work_dir))
        try:
            if self.book:
                ledger.make_folder(film.output)
            if not hold.open():
                self._later.append(number)
                return False
        except (VsrError, OSError) as exc:
            hold.release()
            error = exc if isinstance(exc, VsrError) else ConfigError(f"{film.work_dir}: cannot be created: {exc.strerror}")
            self.queue.failed(step, final=True)
            self._settle(number, "failed", str(error))
            return False
        self._holds[number] = hold
        if self._joined_by_another(number):
            self.queue.failed(step, final=True)
            return False
        return True

    def _joined_by_another(self, number: int) -> bool:
        """Has another part, or another run, finished a film meanwhile? Then it is settled."""
        film = self.films[number]
        if not self.book or film.target.url or ledger.standing(film.output, film.identity).state != "done":
            return False
        self._settle(number, "kept", "another part has joined it" if self.shared else "another run has finished it")
        return True

    def _hear(self, worker: int, event: Event) -> None:
        if isinstance(event, Ready):
            return
        step = self._doing.pop(worker, None) if isinstance(event, ENDS) else self._doing.get(worker)
        if isinstance(event, Lost):
            self._note(f"{self.pool.name_of(worker)}: {event.reason}")
        elif isinstance(event, Unfit):
            self._note(f"{self.pool.name_of(worker)} is left out: {event.reason}")
            self.pool.retire(worker)
        if isinstance(event, ENDS):
            self._tally.ended(worker)
            self._watch.ends(worker)
        if step is None:
            return
        self._watch.heard(worker)
        if isinstance(event, Advanced):
            self._tally.advanced(worker, event.frames)
        elif isinstance(event, Made):
            self._tally.made(worker, event.frames)
            self.queue.made(step.film, event.segment)
            self._join_for_others(step.film)
        elif isinstance(event, Planned):
            self._planned(step.film, event)
        elif isinstance(event, Left):
            self.queue.planned(step.film, ())
            self.queue.done(step.film)
            self._settle(step.film, "skipped", event.why)
        elif isinstance(event, Rendered):
            count(self.films[step.film], event)
        elif isinstance(event, Finished):
            self._finished(step.film, event)
        elif isinstance(event, Unfit):
            self.queue.returned(step)
        elif isinstance(event, Failed):
            self._failed(step, event.reason, event.trace, final=event.final, broken=event.broken)
        elif isinstance(event, Lost):
            self._failed(step, f"a worker was lost: {event.reason}", event.reason, final=False)

    def _planned(self, number: int, plan: Planned) -> None:
        film = self.films[number]
        if plan.finished:
            self.queue.planned(number, ())
            self.queue.done(number)
            self._settle(number, "done")
            return
        film.frames = sum(plan.frames)
        self.queue.planned(number, range(len(plan.frames)), plan.kept)
        try:
            self._holds[number].planned()
        except JobError as exc:  # a run that shares with nobody was quicker
            self.queue.fail(number)
            self._settle(number, "failed", str(exc))
            return
        self._tally.kept += sum(plan.frames[s] for s in plan.kept)
        self._join_for_others(number)

    def _join_for_others(self, number: int) -> None:
        """All that is ours of a film is made. Whoever sees that the rest is, too, joins it, unless another has."""
        film, hold = self.films[number], self._holds.get(number)
        if hold is None or self.queue.state(number) != "elsewhere":
            return
        film.status = "elsewhere"
        if not hold.claim():  # another joins, or plans and will look; whichever it is, it may be killed
            self._contested.add(number)
            return
        self._contested.discard(number)
        if self._joined_by_another(number):
            return
        done, planned = Journal(film.work_dir).counts()
        if done == planned > 0:
            film.status = "todo"
            self.queue.join_after_all(number)
        else:
            hold.unclaim()

    def _finished(self, number: int, event: Finished) -> None:
        film = self.films[number]
        film.frames = event.report.frames_out
        film.report = film_report(film, event)
        self.queue.done(number)
        self._settle(number, "done")

    def _failed(self, step: Step, reason: str, trace: str, *, final: bool, broken: bool = False) -> None:
        film = self.films[step.film]
        if film.status != "todo" or self._joined_by_another(step.film):
            self.queue.failed(step, final=True)
            return
        if self.book:
            film.log = ledger.path_of(film.output, ".log")
            what = f"segments {', '.join(map(str, step.segments))}" if step.segments else step.kind
            with suppress(OSError), film.log.open("a", encoding="utf-8", errors="surrogateescape") as log:
                log.write(f"{what}: {reason}\n{trace}\n")
        film.broken = broken
        if self.queue.failed(step, final=final):
            self._settle(step.film, "failed", reason)

    def _settle(self, number: int, status: str, why: str = "") -> None:
        """A film is done or given up: writes it down, cleans up, lets others at it."""
        film = self.films[number]
        film.status, film.why = status, why or film.why  # type: ignore[assignment]
        if status == "done" and self.book:
            try:
                ledger.enter(film.output, film.identity, film.frames, film.seconds)
                ledger.path_of(film.output, ".log").unlink(missing_ok=True)
            except (OSError, VsrError) as exc:  # its work folder says that it is finished, and stays
                self._unbooked.add(number)
                self._note(f"{film.output}: is finished, but that cannot be written down: {exc}")
        elif status == "failed" and self.stop_on_failure:
            self.queue.stopped = True
        self._close(number)
        self._tally.tell(film)

    def _close(self, number: int) -> None:
        """Cleans up what nobody needs any more, and lets others at the film. Finished segments stay until it is done."""
        film, hold = self.films[number], self._holds.pop(number, None)
        self._contested.discard(number)
        if hold is None:
            return
        journal = Journal(film.work_dir)
        with suppress(OSError):
            if (film.status == "done" and number not in self._unbooked) or film.broken:
                journal.remove()
            elif hold.alone or self.queue.state(number) == "joining":
                part_of(film.output, film.work_dir).unlink(missing_ok=True)  # of a join that was stopped
            if hold.alone and journal.folder.exists():
                tidy(journal)
        hold.release()

    def _note(self, text: str) -> None:
        self.notes.append(text)
        if self.on_note is not None:
            self.on_note(text)

    def _left_behind(self) -> str:
        done = sum(film.status in ("done", "kept") for film in self.films)
        return f"{done} of {len(self.films)} films are finished; the same command goes on from here"
