"""Batches as they run: processes, kills, shares, and results that equal an undisturbed run's."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from fractions import Fraction
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tests.films import Film, Sound, make
from tests.test_resume import same
from vsr.config import UpscaleConfig
from vsr.errors import JobError
from vsr.jobs import ledger, watch
from vsr.jobs.batch import Film as BatchFilm
from vsr.jobs.batch import look
from vsr.jobs.definition import Definition, load_definition
from vsr.jobs.local import STARTS, LocalPool, Slot, serve, slots_of
from vsr.jobs.progress import Progress
from vsr.jobs.run import run_films, upscale_on
from vsr.jobs.tasks import RenderTask
from vsr.pipeline import upscale

FRAMES = 50
LONG = Film(
    "long", pts=tuple(range(0, FRAMES * 512, 512)), options={"preset": "ultrafast", "crf": "1", "g": "5"}, sounds=(Sound(),)
)
SHORT = Film("short", suffix=".mkv", time_base=Fraction(1, 1000), pts=tuple(range(0, 400, 40)))
SETTINGS = ("model=bicubic", "segment=0.2", "engine.threads=1", "encode.preset=veryfast", "encode.codec=h264", "skip_at=64x4800")
SLOTS = slots_of(["cpu"], 2)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    make(LONG, folder)
    make(SHORT, folder / "sub")
    return folder


@pytest.fixture
def job(archive: Path) -> Definition:
    return load_definition("hd_to_uhd", SETTINGS, [str(archive)], str(archive.parent / "out"))


def command(archive: Path, *more: str, out: str = "out") -> list[str]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    start = [sys.executable, "-m", "vsr", "batch", "hd_to_uhd", str(archive), "-o", str(archive.parent / out)]
    return [*start, *settings, *more]


def run(archive: Path, *more: str, out: str = "out") -> tuple[int, dict[str, Any]]:
    told = archive.parent / f"{out}{len(more)}.json"
    done = subprocess.run([*command(archive, *more, out=out), "--json", str(told)], capture_output=True, text=True, timeout=200)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(told.read_text())


def undisturbed(archive: Path) -> Path:
    """The same films, one after the other, each by `vsr upscale`."""
    folder = archive.parent / "whole"
    for path in (archive / "long.mp4", archive / "sub" / "short.mkv"):
        output = folder / path.relative_to(archive)
        output.parent.mkdir(parents=True, exist_ok=True)
        job = load_definition("hd_to_uhd", SETTINGS, [str(path)], str(output.parent))
        (film,) = look(job, "cpu")
        assert film.config is not None
        upscale(film.config)
    return folder


def equal(archive: Path, out: str = "out") -> None:
    whole, made = archive.parent / "whole", archive.parent / out
    for name in ("long.mp4", "sub/short.mkv"):
        same(whole / name, made / name)
    hidden = [path.name for path in made.rglob(".*") if path.name != ledger.FOLDER]
    assert hidden == [], "nothing unfinished is left"


def done(films: list[BatchFilm]) -> dict[str, str]:
    return {film.source.name: film.status for film in films}


def test_a_folder_with_films_that_are_none(archive: Path) -> None:
    (archive / "broken.mp4").write_bytes(random.Random(0).randbytes(4000))
    (archive / "empty.mkv").touch()
    code, report = run(archive, "--workers", "2")
    assert code == 1 and report["status"] == "failed"
    files = {Path(each["source"]).name: each for each in report["files"]}
    assert {name: each["status"] for name, each in files.items()} == {
        "broken.mp4": "failed", "empty.mkv": "failed", "long.mp4": "done", "short.mkv": "done",
    }  # fmt: skip
    assert "empty" in files["empty.mkv"]["error"] and files["long.mp4"]["frames"] == FRAMES
    assert all(check["ok"] for check in files["long.mp4"]["verify"])
    undisturbed(archive)
    equal(archive)
    before = {path: path.stat().st_mtime_ns for path in (archive.parent / "out").rglob("*.m*")}
    code, report = run(archive)
    assert code == 1
    assert [each["status"] for each in report["files"]] == ["failed", "failed", "kept", "kept"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.slow
def test_a_source_that_changed_is_done_again(archive: Path, job: Definition) -> None:
    films = look(job, "cpu")
    run_films(films, LocalPool(SLOTS[:1]), 1)
    assert done(films) == {"long.mp4": "done", "short.mkv": "done"}
    make(Film("short", suffix=".mkv", time_base=Fraction(1, 1000), pts=tuple(range(0, 600, 40))), archive / "sub")
    films = look(job, "cpu")
    assert [(film.status, film.why) for film in films] == [("kept", ""), ("todo", "the source has changed since")]
    run_films(films, LocalPool(SLOTS[:1]), 1)
    assert films[1].frames == 15 and films[1].status == "done"


def test_results_of_other_settings_and_strangers_files_stay(archive: Path, job: Definition) -> None:
    out = archive.parent / "out"
    out.mkdir()
    (out / "long.mp4").write_bytes(b"mine")
    films = look(job, "cpu")
    assert [film.status for film in films] == ["skipped", "todo"] and "--overwrite" in films[0].why
    assert [film.status for film in look(job, "cpu", overwrite=True)] == ["todo", "todo"]


def _kill_once(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    """A worker's life that ends, once, when it is given the second part of a film."""
    import vsr.jobs.worker

    class Mortal(vsr.jobs.worker.Worker):
        def _render(self, task: RenderTask, emit: Any) -> Any:
            marker = Path(task.config.output or "").parent / "killed"
            if 3 in task.segments and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._render(task, emit)

    vsr.jobs.worker.Worker = Mortal  # type: ignore[misc]
    serve(slot, connection, log, parent)


def _poisoned(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    """A worker's life that ends whenever it is given a certain segment."""
    import vsr.jobs.worker

    class Mortal(vsr.jobs.worker.Worker):
        def _render(self, task: RenderTask, emit: Any) -> Any:
            if 1 in task.segments and "long" in task.config.source:
                os.write(2, b"the driver has gone mad\n")
                os.abort()
            return super()._render(task, emit)

    vsr.jobs.worker.Worker = Mortal  # type: ignore[misc]
    serve(slot, connection, log, parent)


def _hangs_once(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    """A worker's life that stands still, once, when it is given the second part of a film."""
    import vsr.jobs.worker

    class Sleeping(vsr.jobs.worker.Worker):
        def _render(self, task: RenderTask, emit: Any) -> Any:
            marker = Path(task.config.output or "").parent / "asleep"
            if 3 in task.segments and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGSTOP)
            return super()._render(task, emit)

    vsr.jobs.worker.Worker = Sleeping  # type: ignore[misc]
    serve(slot, connection, log, parent)


def _stillborn(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    """A worker that never begins, in the first slot; the joiner and the others do."""
    if slot.name.endswith("1"):
        sys.exit(7)
    serve(slot, connection, log, parent)


@pytest.mark.slow
def test_a_worker_that_dies_costs_only_what_it_was_doing(archive: Path, job: Definition) -> None:
    films = look(job, "cpu")
    notes = run_films(films, LocalPool(SLOTS[:1], _kill_once), 1)
    assert done(films) == {"long.mp4": "done", "short.mkv": "done"}
    assert len(notes) == 1 and "was killed by signal 9 (SIGKILL); the system may have run out of memory" in notes[0]
    (archive.parent / "out" / "killed").unlink()
    assert films[0].log is None or not films[0].log.exists()
    undisturbed(archive)
    equal(archive)


@pytest.mark.slow
def test_a_worker_that_hangs_is_ended_and_another_goes_on(
    archive: Path, job: Definition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 8)
    monkeypatch.setattr(watch, "SLOWER", 1)
    monkeypatch.setattr(watch, "FIRST", 1)
    films = look(job, "cpu")
    notes = run_films(films, LocalPool(SLOTS[:1], _hangs_once), 1)
    assert done(films) == {"long.mp4": "done", "short.mkv": "done"}
    assert len(notes) == 1 and "cpu worker 1: no frame came from it for" in notes[0]
    (archive.parent / "out" / "asleep").unlink()
    undisturbed(archive)
    equal(archive)


@pytest.mark.slow
def test_a_segment_that_kills_workers_fails_its_film_alone(archive: Path, job: Definition) -> None:
    films = look(job, "cpu")
    run_films(films, LocalPool(SLOTS[:1], _poisoned), 1)
    assert done(films) == {"long.mp4": "failed", "short.mkv": "done"}
    film = films[0]
    assert "SIGABRT" in film.why and "the driver has gone mad" in film.why
    assert film.log is not None and film.log.read_text().count("the driver has gone mad") >= 3
    assert not film.output.exists()
    films = look(job, "cpu")  # what was finished is taken up
    run_films(films, LocalPool(SLOTS[:1]), 1)
    assert done(films) == {"long.mp4": "done", "short.mkv": "kept"}


@pytest.mark.slow
def test_a_worker_that_never_begins_is_given_up(archive: Path, job: Definition) -> None:
    films = look(job, "cpu")
    notes = run_films(films, LocalPool(SLOTS, _stillborn), 2)
    assert done(films) == {"long.mp4": "done", "short.mkv": "done"}
    assert len(notes) <= STARTS and all("ended with code 7" in note for note in notes)
    films = look(load_definition("hd_to_uhd", SETTINGS, [str(archive)], str(archive.parent / "other")), "cpu")
    with pytest.raises(JobError, match=r"no worker is left: cpu worker 1: its process ended with code 7"):
        run_films(films, LocalPool(SLOTS[:1], _stillborn), 1)
    assert {film.status for film in films} == {"unfinished"}


@pytest.mark.slow
def test_one_film_by_several_processes(archive: Path) -> None:
    source, seen = archive / "long.mp4", list[Any]()
    settings = UpscaleConfig(str(source), scale=2, model="bicubic", segment=0.2, threads=1)
    whole = upscale(UpscaleConfig(**{**vars(settings), "output": str(archive / "whole.mp4")}))
    report = upscale_on(settings, SLOTS, seen.append)
    assert Path(report.output).name == "long.bicubic-x2.mp4" and (report.frames_out, report.frames_in) == (FRAMES, FRAMES)
    assert report.checks and all(check.ok for check in report.checks)
    assert seen[-1].frames == FRAMES == seen[-1].total and report.fps > 0
    same(Path(whole.output), Path(report.output))
    assert sorted(path.name for path in archive.iterdir()) == ["long.bicubic-x2.mp4", "long.mp4", "sub", "whole.mp4"]


@pytest.mark.slow
def test_a_driver_that_is_killed_again_and_again(archive: Path) -> None:
    undisturbed(archive)
    clock = random.Random(3)
    for _ in range(5):
        driver = subprocess.Popen(command(archive, "--workers", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(clock.uniform(3, 12))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        time.sleep(0.5)
        assert not _children_of(driver.pid)
    code, report = run(archive, "--workers", "2")
    assert code == 0 and {each["status"] for each in report["files"]} <= {"done", "kept"}
    equal(archive)


def _children_of(pid: int) -> list[str]:
    """Processes that still work for one that is gone: workers say in their command line whose they are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            text = path.read_text()
        except OSError:
            continue
        found += [text.splitlines()[0]] if f"\nPPid:\t{pid}\n" in text else []
    return found


@pytest.mark.slow
def test_shares_by_three_processes_at_once(archive: Path) -> None:
    undisturbed(archive)
    parts = [
        subprocess.Popen([*command(archive, "--part", f"{i}/3"), "--json", str(archive.parent / f"part{i}.json")])
        for i in (1, 2, 3)
    ]
    assert [part.wait(200) for part in parts] == [0, 0, 0]
    equal(archive)
    reports = [json.loads((archive.parent / f"part{i}.json").read_text()) for i in (1, 2, 3)]
    statuses = {file["status"] for report in reports for file in report["files"]}
    joined = {name: sum(bool(r["files"][n].get("verify")) for r in reports) for n, name in enumerate(("long", "short"))}
    assert statuses <= {"done", "elsewhere", "kept"}
    assert joined == {"long": 1, "short": 1}, "one of them has joined"


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(archive: Path) -> None:
    undisturbed(archive)
    driver = subprocess.Popen(
        command(archive, "--progress", "json"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert driver.stderr is not None
    for line in driver.stderr:
        if line.startswith("{") and json.loads(line)["frames"] > 0:
            break
    driver.send_signal(signal.SIGINT)
    rest = driver.communicate(timeout=60)[1]
    assert driver.returncode == 130
    assert "interrupted" in rest and "the same command goes on from here" in rest and "Traceback" not in rest
    assert not list((archive.parent / "out").rglob("*.part"))
    code, _ = run(archive)
    assert code == 0
    equal(archive)


@pytest.mark.slow
def test_unfinished_work_of_other_settings_is_not_thrown_away_unasked(archive: Path, job: Definition) -> None:
    films = look(job, "cpu")
    run_films(films, LocalPool(SLOTS[:1], _poisoned), 1)
    other = load_definition("hd_to_uhd", [*SETTINGS, "encode.crf=30"], [str(archive / "long.mp4")], str(archive.parent / "out"))
    films = look(other, "cpu")
    run_films(films, LocalPool(SLOTS[:1]), 1)
    assert films[0].status == "failed" and "option encode: not the same" in films[0].why and "--overwrite" in films[0].why
    films = look(other, "cpu", overwrite=True)
    run_films(films, LocalPool(SLOTS[:1]), 1, anew=True)
    assert films[0].status == "done"


@pytest.mark.slow
def test_progress_ends_with_everything(job: Definition) -> None:
    seen: list[Progress] = []
    films = look(job, "cpu")
    run_films(films, LocalPool(SLOTS[:1]), 1, seen.append)
    assert (seen[-1].frames, seen[-1].total, seen[-1].done, seen[-1].films) == (60, 60, 2, 2)
    assert [each.film.source.name for each in seen if each.film] == ["long.mp4", "short.mkv"]
    assert all(a.frames <= b.frames + 8 for a, b in pairwise(seen))
