"""Films that several processes share without an engine (`--part`): who plans, who may throw away, who joins."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.films import Film, make
from tests.jobs.test_batch import LONG, SETTINGS, SLOTS, command, done
from tests.test_resume import same
from vsr.errors import ConfigError, JobError
from vsr.jobs import ledger
from vsr.jobs.batch import look
from vsr.jobs.definition import Definition, load_definition
from vsr.jobs.holds import Alone, Shared, SharedLock
from vsr.jobs.local import LocalPool, Slot, serve
from vsr.jobs.run import run_films, share_of
from vsr.jobs.tasks import Made, PlanTask, RenderTask
from vsr.jobs.worker import Worker
from vsr.journal import Journal
from vsr.pipeline import upscale


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    make(LONG, folder)
    return folder


def job_of(archive: Path, *settings: str, out: str = "out") -> Definition:
    return load_definition("hd_to_uhd", [*SETTINGS, *settings], [str(archive)], str(archive.parent / out))


def convert(job: Definition, **more: Any) -> dict[str, str]:
    films = look(job, "cpu", overwrite=more.get("anew", False))
    run_films(films, LocalPool(SLOTS[:1]), 1, **more)
    return {film.source.name: f"{film.status}: {film.why}" for film in films}


def whole(archive: Path, job: Definition) -> Path:
    """What `vsr upscale` makes of the long film."""
    (film,) = look(load_definition("hd_to_uhd", SETTINGS, [str(archive / "long.mp4")], str(archive.parent / "whole")), "cpu")
    assert film.config is not None
    film.output.parent.mkdir(exist_ok=True)
    upscale(film.config)
    return film.output


def render_all(job: Definition) -> Path:
    """Every segment of the long film is made, and nobody has joined them; gives its work folder."""
    (film,) = look(job, "cpu")
    assert film.config is not None
    ledger.make_folder(film.output)
    film.work_dir.mkdir()
    worker, told = Worker("cpu"), list[Any]()
    worker.do(PlanTask(0, film.config), told.append)
    worker.do(RenderTask(0, film.config, tuple(range(len(told[0].frames)))), told.append)
    assert sum(isinstance(each, Made) for each in told) == 10
    return film.work_dir


def states(*holds: Shared) -> list[bool]:
    return [hold.alone for hold in holds]


def test_locks(tmp_path: Path) -> None:
    output, folder = tmp_path / "film.mkv", tmp_path / ".film.mkv.vsr"
    ledger.make_folder(output)
    one, other, third = (Shared(output, Journal(folder)) for _ in range(3))
    assert one.open() and states(one) == [True]
    assert [other.open(), third.open()] == [False, False], "the first plans"
    with pytest.raises(JobError, match="another vsr is at work"):
        Alone(output, Journal(folder)).open()
    one.planned()
    assert other.open() and states(one, other) == [False, False]
    assert not third.claim()
    other.planned()
    assert third.claim() and not one.claim()
    third.unclaim()
    one.release()
    with pytest.raises(JobError, match="another vsr is at work"):
        Alone(output, Journal(folder)).open()
    other.release()
    lone = Alone(output, Journal(folder))
    assert lone.open()
    with pytest.raises(JobError, match="another vsr is at work"):
        third.open()
    lone.release()
    third.release()
    assert third.open() and states(third) == [True]
    third.release()


def _before_rendering(what: Callable[[Path, Path], None]) -> Callable[[Slot, Connection, str, int], None]:
    """A worker's life in which something happens to the long film (its source, its result) before it is rendered."""

    def happens(slot: Slot, connection: Connection, log: str, parent: int) -> None:
        import vsr.jobs.worker

        class Unlucky(vsr.jobs.worker.Worker):
            def _render(self, task: RenderTask, emit: Any) -> Any:
                if "long" in task.config.source and task.config.output:
                    what(Path(task.config.source), Path(task.config.output))
                return super()._render(task, emit)

        vsr.jobs.worker.Worker = Unlucky  # type: ignore[misc]
        serve(slot, connection, log, parent)

    return happens


def _overtaken(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    """As if another had joined the film, written it down, and cleaned up."""

    def overtake(source: Path, output: Path) -> None:
        once = source.parents[1] / "once"
        if (once / output.name).exists():
            (once / output.name).rename(output)
            ledger.path_of(once / output.name, ".json").rename(ledger.path_of(output, ".json"))
            Journal(output.parent / f".{output.name}.vsr").remove()

    _before_rendering(overtake)(slot, connection, log, parent)


def _appearing(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    def appear(source: Path, output: Path) -> None:
        output.write_bytes(b"mine")

    _before_rendering(appear)(slot, connection, log, parent)


def _touched(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    _before_rendering(lambda source, output: os.utime(source, ns=(10**18, 10**18)))(slot, connection, log, parent)


@pytest.mark.slow
def test_two_that_come_when_all_is_made_join_once(archive: Path) -> None:
    job = job_of(archive)
    expected = whole(archive, job)
    render_all(job)
    lock = FileLock(ledger.path_of(archive.parent / "out" / "long.mp4", ".lock"))
    with lock:
        parts = [
            subprocess.Popen([*command(archive, "--part", f"{i}/2"), "--json", str(archive.parent / f"{i}.json")]) for i in (1, 2)
        ]
        time.sleep(12)
        assert [part.poll() for part in parts] == [None, None], "they wait for whoever plans or joins"
        assert not (archive.parent / "out" / "long.mp4").exists()
    assert [part.wait(100) for part in parts] == [0, 0]
    files = [json.loads((archive.parent / f"{i}.json").read_text())["files"][0] for i in (1, 2)]
    assert sorted(file["status"] for file in files) == ["done", "kept"]
    assert sum(bool(file.get("verify")) for file in files) == 1
    same(expected, archive.parent / "out" / "long.mp4")
    assert [path.name for path in (archive.parent / "out").iterdir() if path.name.startswith(".")] == [ledger.FOLDER]


@pytest.mark.slow
def test_what_others_are_at_work_on_is_not_thrown_away(archive: Path) -> None:
    folder = render_all(job_of(archive))
    other = SharedLock(folder)
    other.share()
    records = sorted(path.name for path in folder.iterdir())
    told = convert(job_of(archive, "encode.crf=30"), part=(1, 2), anew=True)
    assert "option encode: not the same); others are at work on it" in told["long.mp4"]
    os.utime(archive / "long.mp4", ns=(0, 0))
    told = convert(job_of(archive), part=(1, 2))
    assert "source time: not the same); others are at work on it" in told["long.mp4"]
    assert records == sorted(path.name for path in folder.iterdir())
    other.release()
    assert convert(job_of(archive), part=(1, 1))["long.mp4"].startswith("done")


@pytest.mark.slow
def test_parts_do_again_what_is_there(archive: Path) -> None:
    job = job_of(archive)
    assert convert(job, part=(1, 1)) == {"long.mp4": "done: "}
    os.utime(archive / "long.mp4", ns=(10**18, 10**18))
    told = [convert(job, part=(i, 2))["long.mp4"] for i in (1, 2)]
    assert told == ["elsewhere: the source has changed since", "done: the source has changed since"]
    other = job_of(archive, "encode.crf=30")
    assert convert(other, part=(1, 2))["long.mp4"].startswith("skipped: ")
    assert [convert(other, part=(i, 2), anew=True)["long.mp4"][:9] for i in (1, 2)] == ["elsewhere", "done: it "]


@pytest.mark.slow
def test_a_film_that_another_holds_alone_fails_and_the_part_ends(archive: Path) -> None:
    make(Film("short", pts=tuple(range(0, 5 * 512, 512))), archive)
    job = job_of(archive)
    folder = archive.parent / "out" / ".short.mp4.vsr"
    folder.mkdir(parents=True)
    not_ours = 3 - share_of("short.mp4", 0, 2)
    with Journal(folder).locked():
        told = convert(job, part=(not_ours, 2))
        assert [path.name for path in folder.iterdir()] == ["lock"], "nothing is written there"
    assert told["short.mp4"].startswith("failed") and "another vsr is at work" in told["short.mp4"]
    assert told["long.mp4"].startswith("elsewhere")


@pytest.mark.slow
def test_what_another_has_finished_meanwhile_is_no_failure(archive: Path) -> None:
    """With another number of parts, say: both make all segments, and one is done first."""
    assert convert(job_of(archive, out="once")) == {"long.mp4": "done: "}
    films = look(job_of(archive), "cpu")
    run_films(films, LocalPool(SLOTS[:1], _overtaken), 1, part=(1, 1))
    assert (films[0].status, films[0].why) == ("kept", "another part has joined it")
    assert not films[0].work_dir.exists()


@pytest.mark.slow
def test_what_another_run_has_finished_meanwhile_is_not_made_again(archive: Path) -> None:
    before = look(job_of(archive), "cpu")
    assert convert(job_of(archive)) == {"long.mp4": "done: "}
    made = before[0].output.stat().st_mtime_ns
    run_films(before, LocalPool(SLOTS[:1]), 1)
    assert (before[0].status, before[0].why) == ("kept", "another run has finished it")
    assert before[0].output.stat().st_mtime_ns == made and not before[0].work_dir.exists()


@pytest.mark.slow
def test_a_file_that_appears_meanwhile_stays(archive: Path) -> None:
    films = look(job_of(archive), "cpu")
    run_films(films, LocalPool(SLOTS[:1], _appearing), 1)
    assert films[0].status == "failed" and "appeared while the film was worked on" in films[0].why
    assert films[0].output.read_bytes() == b"mine"
    assert [film.status for film in look(job_of(archive), "cpu")] == ["skipped"]
    films = look(job_of(archive), "cpu", overwrite=True)
    run_films(films, LocalPool(SLOTS[:1]), 1, anew=True)
    assert films[0].status == "done" and films[0].report is not None and films[0].report.frames_kept == 50


@pytest.mark.slow
def test_a_source_that_is_changed_meanwhile_is_not_trusted(archive: Path) -> None:
    """Neither by a worker that takes the film up, nor by the join; and no worker is left out for it."""
    make(Film("short", pts=tuple(range(0, 5 * 512, 512))), archive)
    films = look(job_of(archive), "cpu")
    notes = run_films(films, LocalPool(SLOTS, _touched), 2)
    assert done(films) == {"long.mp4": "failed", "short.mp4": "done"} and not notes
    assert "was changed while it was worked on" in films[0].why or "was changed after its plan was made" in films[0].why
    assert convert(job_of(archive))["long.mp4"].startswith("done")


def test_results_beside_films_are_no_sources(archive: Path) -> None:
    output, work = archive / "long.hd_to_uhd.mp4", archive / ".long.hd_to_uhd.mp4.vsr"
    job = load_definition("hd_to_uhd", SETTINGS, [str(archive)])
    output.write_bytes((archive / "long.mp4").read_bytes())
    output.with_name("long.hd_to_uhd.unverified.mp4").write_bytes(b"broken")
    with pytest.raises(ConfigError, match="is a source itself"):
        look(job, "cpu")
    work.mkdir()
    Journal(work).crown(output)
    (film,) = look(job, "cpu")
    assert film.source.name == "long.mp4" and film.status == "todo", "killed before it was written down as finished"
