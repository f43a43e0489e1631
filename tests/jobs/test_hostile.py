"""What a hostile user does to a batch: one bad film, name or folder costs itself, and what lies there is taken for what it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest

from tests.films import Film, Words, make
from tests.jobs.test_batch import SETTINGS, SLOTS, command, done
from vsr.errors import ConfigError, UsageError
from vsr.jobs import ledger
from vsr.jobs.batch import look
from vsr.jobs.definition import load_definition
from vsr.jobs.local import LocalPool
from vsr.jobs.run import run_films, share_of
from vsr.jobs.sources import find_sources
from vsr.jobs.tasks import PlanTask
from vsr.jobs.worker import Worker
from vsr.journal import Journal

MINUTES = tuple(range(0, 16000, 40))
TINY = Film("tiny", pts=tuple(range(0, 5 * 512, 512)))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    make(TINY, folder)
    return folder


def statuses(archive: Path, *settings: str, out: str = "out", overwrite: bool = False) -> dict[str, str]:
    job = load_definition("hd_to_uhd", [*SETTINGS, *settings], [str(archive)], str(archive.parent / out))
    return {film.source.name: f"{film.status}: {film.why}" for film in look(job, "cpu", overwrite=overwrite)}


def convert(archive: Path, *settings: str, out: str = "out", overwrite: bool = False) -> dict[str, str]:
    job = load_definition("hd_to_uhd", [*SETTINGS, *settings], [str(archive)], str(archive.parent / out))
    films = look(job, "cpu", overwrite=overwrite)
    run_films(films, LocalPool(SLOTS[:1]), 1, anew=overwrite)
    return done(films)


def test_what_is_no_file_or_leads_nowhere(archive: Path) -> None:
    os.mkfifo(archive / "pipe.mp4")
    (archive / "a.mp4").symlink_to("b.mp4")
    (archive / "b.mp4").symlink_to("a.mp4")
    (archive / "broken.mp4").symlink_to("nowhere.mp4")
    (archive / f"{'n' * 251}.mp4").write_bytes(b"x")
    (archive / "bad\udcff.mp4").write_bytes(b"no film")
    (archive / "season" / "back").mkdir(parents=True)
    (archive / "season" / "back" / "up").symlink_to(archive)
    (archive / "more").symlink_to(archive.parent / "elsewhere")
    (archive.parent / "elsewhere").mkdir()
    make(Film("other", pts=TINY.pts), archive.parent / "elsewhere")
    told = statuses(archive)
    assert told["pipe.mp4"].startswith("failed") and "is no file" in told["pipe.mp4"]
    assert all(told[name].startswith("failed") for name in ("a.mp4", "broken.mp4", "bad\udcff.mp4"))
    assert told["tiny.mp4"] == told["other.mp4"] == "todo: ", "links to folders are followed, once"
    long = load_definition("preview", ["model=bicubic"], [str(archive)])
    (film,) = [film for film in look(long, "cpu") if film.source.name.startswith("nnn")]
    assert film.status == "failed" and "name is too long" in film.why
    assert 1 <= share_of("bad\udcff.mp4", 0, 3) <= 3


def test_names_that_are_too_long_or_empty(archive: Path) -> None:
    (archive / "list.txt").write_bytes(b"\xef\xbb\xbftiny.mp4\n" + b"x" * 400 + b"\n")
    first, second = find_sources([f"@{archive / 'list.txt'}"])
    assert first.path == archive / "tiny.mp4" and len(second.path.name) == 400
    job = load_definition(
        "hd_to_uhd", SETTINGS, [f"@{archive / 'list.txt'}", str(archive / ("y" * 400 + ".mp4"))], str(archive / "o")
    )
    told = {film.source.name[:4]: f"{film.status}: {film.why}" for film in look(job, "cpu")}
    assert told["tiny"] == "todo: " and told["xxxx"].startswith("failed: ") and told["yyyy"].startswith("failed: ")
    with pytest.raises(UsageError, match="empty name"):
        find_sources([""])


def test_a_folder_that_cannot_be_read_is_told(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (archive / "locked").mkdir()
    listed = os.scandir

    def scandir(path: object = ".") -> object:
        if str(path).endswith("locked"):  # root reads everything
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scandir)
    told = statuses(archive)
    assert told["locked"].startswith("failed") and "locked: cannot be read: Permission denied" in told["locked"]
    assert told["tiny.mp4"] == "todo: "


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("encode.codec=foo", "encode.codec"), ("engine.tile=0", "from 1 to"), ("engine.threads=100000", "from 1 to 1024"),
        ("encode.bit_depth=9", "8, 10 or 12"), ("name={stem!z}", "no template"), ("name={stem:d}", "no template"),
        ("devices=[]", "name one"), ("fit=²x²", "WIDTHxHEIGHT"), ("output=a\0b", "NUL"),
    ],
)  # fmt: skip
def test_absurd_values_are_refused_by_name(setting: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_definition("hd_to_uhd", [setting], ["film.mp4"])


def test_garbage_in_the_ledger_is_nothing_written_down(archive: Path) -> None:
    folder = archive.parent / "out" / ledger.FOLDER
    folder.mkdir(parents=True)
    entry = {"format": ledger.FORMAT, "output": "tiny.mp4", "size": 1, "time": 1, "identity": {}, "frames": 1, "seconds": 1}
    wrongs: list[dict[str, object]] = [{"identity": 5}, {"output": 5}, {"format": None}]
    for number, wrong in enumerate(wrongs):
        (folder / f"{number}.json").write_text(json.dumps({**entry, **wrong}))
    (folder / "tiny.mp4.json").write_text(json.dumps({**entry, "identity": 5}))
    assert statuses(archive) == {"tiny.mp4": "todo: "}


@pytest.mark.slow
def test_results_of_a_batch_are_films_of_the_next(archive: Path) -> None:
    assert convert(archive) == {"tiny.mp4": "done"}
    chain = archive.parent / "out"
    assert statuses(chain, "fit=5120x3840", "skip_at=5000x3800", out="out2") == {"tiny.mp4": "todo: "}
    beside = load_definition("hd_to_uhd", SETTINGS, [str(archive)])
    films = look(beside, "cpu")
    run_films(films, LocalPool(SLOTS[:1]), 1)
    assert {film.source.name: film.status for film in look(beside, "cpu")} == {"tiny.mp4": "kept"}
    (archive / "tiny.mp4").unlink()
    with pytest.raises(ConfigError, match="no film is left to convert"):
        look(beside, "cpu")
    (named,) = find_sources([str(archive / "tiny.hd_to_uhd.mp4")])
    assert named.named


@pytest.mark.slow
def test_a_result_that_was_not_written_down_is_no_other_film_s(archive: Path) -> None:
    """Killed between the final name and the ledger; then the source, or the settings, are others."""
    output, work = archive.parent / "out" / "tiny.mp4", archive.parent / "out" / ".tiny.mp4.vsr"
    (film,) = look(load_definition("hd_to_uhd", SETTINGS, [str(archive)], str(output.parent)), "cpu")
    run_films([film], LocalPool(SLOTS[:1]), 1, book=False)
    assert film.status == "done"

    def killed() -> None:
        """As the kill left it: the plan, the mark, and no entry."""
        work.mkdir()
        (work / "plan.json").write_text(plan)
        Journal(work).crown(output)
        ledger.path_of(output, ".json").unlink(missing_ok=True)

    (again,) = look(load_definition("hd_to_uhd", SETTINGS, [str(archive)], str(archive.parent / "again")), "cpu")
    assert again.config is not None
    again.work_dir.mkdir(parents=True)
    Worker("cpu").do(PlanTask(0, again.config), lambda event: None)
    plan = (again.work_dir / "plan.json").read_text()
    killed()
    assert convert(archive) == {"tiny.mp4": "done"} and not work.exists(), "it is what was wanted"
    killed()
    assert convert(archive, "encode.crf=40") == {"tiny.mp4": "failed"}, "of other settings: not without --overwrite"
    made = output.stat().st_mtime_ns
    assert convert(archive, "encode.crf=40", overwrite=True) == {"tiny.mp4": "done"} and output.stat().st_mtime_ns != made
    ledger.path_of(output, ".json").unlink()
    killed()
    make(Film("tiny", pts=tuple(range(0, 7 * 512, 512))), archive)
    films = look(load_definition("hd_to_uhd", SETTINGS, [str(archive)], str(output.parent)), "cpu")
    run_films(films, LocalPool(SLOTS[:1]), 1)
    assert (films[0].status, films[0].frames) == ("done", 7), "of the film as it was before"


@pytest.mark.slow
def test_what_a_kill_left_of_a_finished_film_goes(archive: Path) -> None:
    assert convert(archive) == {"tiny.mp4": "done"}
    output, work = archive.parent / "out" / "tiny.mp4", archive.parent / "out" / ".tiny.mp4.vsr"
    work.mkdir()
    (work / "000000.mkv").write_bytes(b"segment")
    assert statuses(archive)["tiny.mp4"].startswith("kept") and work.exists(), "somebody's unfinished work"
    Journal(work).crown(output)
    assert statuses(archive)["tiny.mp4"].startswith("kept") and not work.exists()


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["", "[]", '{"fingerprint": 1'])
def test_a_plan_that_cannot_be_read_is_made_anew(archive: Path, plan: str) -> None:
    work = archive.parent / "out" / ".tiny.mp4.vsr"
    work.mkdir(parents=True)
    (work / "plan.json").write_text(plan)
    (work / "000000.json").write_text('{"pts": ["x"]}')
    assert convert(archive) == {"tiny.mp4": "done"} and not work.exists()


@pytest.mark.slow
def test_an_excerpt_with_words_that_are_far_apart(tmp_path: Path) -> None:
    """Subtitles that are converted, and some that have no line in the part."""
    long = tuple(range(0, 400 * 512, 512))
    make(Film("text", pts=long, words=(Words("mov_text"),)), tmp_path)
    make(Film("lines", suffix=".mkv", time_base=Fraction(1, 1000), pts=MINUTES, words=(Words("srt"),)), tmp_path)
    for length in (3, 6):
        job = load_definition("preview", ["model=bicubic", f"excerpt={length}"], [str(tmp_path)], str(tmp_path / f"out{length}"))
        films = look(job, "cpu")
        run_films(films, LocalPool(SLOTS[:1]), 1)
        assert done(films) == {"text.mp4": "done", "lines.mkv": "done"}, [film.why for film in films]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_has_a_report(archive: Path, number: signal.Signals) -> None:
    make(Film("long", pts=tuple(range(0, 400 * 512, 512)), size=(160, 48)), archive)
    report = archive.parent / "report.json"
    with subprocess.Popen(
        [*command(archive), "--json", str(report), "--progress", "json"], stderr=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stderr is not None
        for line in driver.stderr:
            if line.startswith("{") and json.loads(line)["frames"] > 0:
                break
        for _ in range(3):  # impatience
            driver.send_signal(number)
            time.sleep(0.02)
        rest = driver.stderr.read()
        assert driver.wait(60) == 130 and "Traceback" not in rest and "goes on from here" in rest, rest
    told = json.loads(report.read_text())
    assert told["status"] == "interrupted" and {each["status"] for each in told["files"]} <= {"done", "unfinished"}


def test_a_stop_while_workers_begin_is_quiet(archive: Path) -> None:
    words = command(archive, "--workers", "2")
    for after in (0.4, 0.9, 1.6):
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as driver:
            time.sleep(after)
            os.killpg(driver.pid, signal.SIGINT)
            _, said = driver.communicate(timeout=60)
        assert "Traceback" not in said, said
        assert driver.returncode in (130, 0, -2), said  # -2: before Python listens


def test_dry_run_tells_what_cannot_be_written(archive: Path) -> None:
    (archive.parent / "file").write_bytes(b"mine")
    told = subprocess.run(
        [sys.executable, "-m", "vsr", "batch", "preview", str(archive), "-o", str(archive.parent / "file" / "out"), "--dry-run",
         "--set", "model=bicubic"], capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert told.returncode == 0 and "cannot be written; every film would fail" in told.stderr, told.stderr
