"""Nothing lost: a job that is stopped anywhere goes on, and gives the frames that it would have given."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import NoReturn

import av
import pytest

from tests.films import Film, Sound, look, make, vfr
from vsr import EncodeConfig, Progress, UpscaleConfig, upscale
from vsr.errors import ConfigError, EncodeError, Interrupted, JobError
from vsr.journal import Journal

FILMS = {
    "b-frames": Film(
        "b-frames", pts=vfr(40, [512]), options={"preset": "veryfast", "bf": "3", "g": "7"}, sounds=(Sound(),), size=(96, 64)
    ),
    "vfr": Film("vfr", ".mkv", time_base=Fraction(1, 1000), pts=vfr(40, [17, 33, 100, 7]), options={"g": "12", "preset": "fast"}),
    "10 bit hevc": Film(
        "hevc", codec="libx265", pix_fmt="yuv420p10le", pts=vfr(40, [1001]), time_base=Fraction(1, 24000), color=(1, 9, 16, 9),
        options={"preset": "ultrafast", "x265-params": "log-level=none:keyint=9:bframes=3"}, sounds=(Sound("ac3"),),
    ),
}  # fmt: skip


def pictures(path: Path) -> list[str]:
    """A digest of every decoded frame."""
    with av.open(str(path)) as film:
        return [
            hashlib.blake2b(b"".join(bytes(p) for p in frame.planes), digest_size=8).hexdigest() for frame in film.decode(video=0)
        ]


def same(left: Path, right: Path) -> None:
    a, b = look(left), look(right)
    assert a.times == b.times
    assert a.packets == b.packets
    assert pictures(left) == pictures(right)


def config(source: Path, output: Path, **more: object) -> UpscaleConfig:
    base = UpscaleConfig(str(source), str(output), scale=2, model="bicubic", segment=0.2, encode=EncodeConfig(preset="veryfast"))
    return replace(base, **more)  # type: ignore[arg-type]


class Stop:
    """Interrupts a job after some frames, as Ctrl-C would."""

    def __init__(self, frames: int) -> None:
        self.left = frames

    def __call__(self, progress: Progress) -> None:
        self.left -= 1
        if self.left <= 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", FILMS)
@pytest.mark.parametrize("frames", [1, 13, 39])
def test_an_interrupted_job_goes_on_where_it_was(name: str, frames: int, tmp_path: Path) -> None:
    source = make(FILMS[name], tmp_path)
    whole, resumed = tmp_path / "whole.mp4", tmp_path / "resumed.mp4"
    undisturbed = upscale(config(source, whole))
    assert undisturbed.plan is not None and len(undisturbed.plan.segments) > 3
    with pytest.raises(Interrupted) as stop:
        upscale(config(source, resumed), Stop(frames))
    work = tmp_path / ".resumed.mp4.vsr"
    if frames == 1:
        assert not str(stop.value) and not work.exists(), "before the first finished segment nothing is left behind"
    else:
        assert f"{work}" in str(stop.value)
        assert sorted(p.suffix for p in work.iterdir() if p.suffix == ".part") == []
    assert not resumed.exists()
    report = upscale(config(source, resumed))
    assert report.frames_kept + report.frames_out == 40
    assert (report.frames_kept > 0) == (frames > 1)
    same(whole, resumed)
    assert not work.exists()


@pytest.mark.parametrize("name", FILMS)
def test_segments_change_nothing_but_the_encoders_borders(name: str, tmp_path: Path) -> None:
    source = make(FILMS[name], tmp_path)
    outputs = [tmp_path / f"{seconds}.mkv" for seconds in (0, 0.1, 0.35)]
    for output in outputs:
        seconds = float(output.stem) if output.stem != "0" else 0.0
        upscale(config(source, output, segment=seconds, encode=EncodeConfig(codec="ffv1")))  # lossless: pixels must be equal
    for other in outputs[1:]:
        same(outputs[0], other)


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    source, output = make(FILMS["b-frames"], tmp_path), tmp_path / "out.mp4"
    with pytest.raises(Interrupted):
        upscale(config(source, output), Stop(20))
    with pytest.raises(JobError, match="option scale was 2 and is 3"):
        upscale(config(source, output, scale=3))
    with pytest.raises(JobError, match="option encode"):
        upscale(config(source, output, encode=EncodeConfig(crf=30)))
    source.touch()
    with pytest.raises(JobError, match="source time"):
        upscale(config(source, output))
    assert (tmp_path / ".out.mp4.vsr").exists(), "a refusal must not cost the work"
    assert upscale(config(source, output, resume=False)).frames_kept == 0


def test_damaged_segments_are_made_again(tmp_path: Path) -> None:
    source, output, whole = make(FILMS["b-frames"], tmp_path), tmp_path / "out.mp4", tmp_path / "whole.mp4"
    upscale(config(source, whole))
    with pytest.raises(Interrupted):
        upscale(config(source, output), Stop(35))
    work = tmp_path / ".out.mp4.vsr"
    films = sorted(work.glob("*.mkv"))
    films[0].write_bytes(films[0].read_bytes()[:-10])
    flipped = bytearray(films[1].read_bytes())
    flipped[len(flipped) // 2] ^= 0xFF
    films[1].write_bytes(flipped)
    films[2].unlink()
    upscale(config(source, output))
    same(whole, output)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    source, output = make(FILMS["b-frames"], tmp_path), tmp_path / "out.mp4"
    work = tmp_path / ".out.mp4.vsr"
    work.mkdir()
    with Journal(work).locked(), pytest.raises(JobError, match="another vsr is at work"):
        upscale(config(source, output))
    assert work.exists()
    upscale(config(source, output))


def kill_and_resume(command: list[str], whole: Path, killed: Path, chance: random.Random) -> None:
    """Makes `whole` undisturbed and `killed` with up to 12 kills at random moments."""
    began = time.monotonic()
    subprocess.run([*command, "-o", str(whole)], check=True, capture_output=True)
    took = time.monotonic() - began
    kills = 0
    for _ in range(12):
        process = subprocess.Popen([*command, "-o", str(killed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            _, said = process.communicate(timeout=chance.uniform(0.3, 1.0) * took)
            # a kill between the last clean-up and the end of the process leaves a finished job
            assert process.returncode == 0 or b"exists already" in said, said
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            assert not killed.exists() or look(killed).times == look(whole).times
    else:
        last = subprocess.run([*command, "-o", str(killed)], check=False, capture_output=True)
        assert last.returncode == 0 or b"exists already" in last.stderr, last.stderr
    assert kills or killed.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", FILMS)
def test_kill_minus_nine_at_random_moments(name: str, tmp_path: Path) -> None:
    source, whole, killed = make(FILMS[name], tmp_path), tmp_path / "whole.mp4", tmp_path / "killed.mp4"
    command = [sys.executable, "-m", "vsr", "upscale", str(source), "--scale", "2", "--model", "bicubic", "--segment", "0.2"]
    kill_and_resume(command, whole, killed, random.Random(name))
    same(whole, killed)
    assert {p.name for p in tmp_path.iterdir()} == {source.name, whole.name, killed.name}


def test_the_report_says_what_was_kept(tmp_path: Path) -> None:
    source, output = make(FILMS["b-frames"], tmp_path), tmp_path / "out.mp4"
    with pytest.raises(Interrupted):
        upscale(config(source, output), Stop(20))
    journal = json.loads((tmp_path / ".out.mp4.vsr" / "plan.json").read_text())
    assert journal["fingerprint"]["option model"] == "bicubic"
    seen: list[Progress] = []
    report = upscale(config(source, output), seen.append)
    assert report.frames_kept == seen[0].kept > 0
    assert all(check.ok for check in report.checks)


def in_a_fork(work: Callable[[], object], number: int = 0, step: int = 0, armed_by: str = "") -> int:
    """Does `work` in a child that gets signal `number` before its file operation `step`: its exit code (work's own, where it
    is an int), or the negative number of what killed it.

    Operations of Python in the working folder are counted (a hook of the interpreter sees them), from the first that touches a
    file called `armed_by` on.
    """
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs must not outlive the test
        _be_the_child(work, number, step, armed_by)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _be_the_child(work: Callable[[], object], number: int, step: int, armed_by: str) -> NoReturn:
    seen = -1 if armed_by else 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        path = str(arguments[0]) if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir") else ""
        if path.startswith(str(Path.cwd())):
            seen += seen >= 0 or Path(path).name == armed_by
            if seen == step > 0:
                # to the main thread itself: another one would only pass it on, some time later
                signal.pthread_kill(threading.main_thread().ident or 0, number)

    sys.addaudithook(hook)
    code = 70
    try:
        code = int(str(work() or 0))
    finally:
        os._exit(code)


MADE_FRAMES, FINISHED, UNFINISHED = 10, 20, 21


def work_on(job: UpscaleConfig) -> int:
    """What became of a job, as an exit code."""
    try:
        return MADE_FRAMES if upscale(job).frames_out else 0
    except ConfigError as exc:  # killed when nothing was left to do but to remove the folder
        assert "exists already" in str(exc)
        return 0
    except Interrupted as exc:
        left = Path(str(job.output)).with_name(".killed.mp4.vsr").exists()
        return FINISHED if "finished" in str(exc) and not left else UNFINISHED


def kill_before_each_file_operation(armed_by: str) -> None:
    source, whole, killed = Path.cwd() / "b-frames.mp4", Path.cwd() / "whole.mp4", Path.cwd() / "killed.mp4"
    assert in_a_fork(lambda: not make(FILMS["b-frames"], Path.cwd())) == 0
    assert in_a_fork(lambda: work_on(config(source, whole, segment=0.8))) == MADE_FRAMES
    job = config(source, killed, segment=0.8)
    for step in count(1):
        if in_a_fork(lambda: work_on(job), signal.SIGKILL, step, armed_by) != -signal.SIGKILL:
            break
        there = killed.exists()
        assert not there or in_a_fork(lambda: same(whole, killed)) == 0, step
        ended = in_a_fork(lambda: work_on(job))
        assert ended in ((0,) if there else (0, MADE_FRAMES)), f"step {step}: {ended}"
        assert in_a_fork(lambda: same(whole, killed)) == 0, step
        killed.unlink()
    assert step > 10


def interrupt_the_cleaning_up() -> None:
    source, killed = Path.cwd() / "b-frames.mp4", Path.cwd() / "killed.mp4"
    assert in_a_fork(lambda: not make(FILMS["b-frames"], Path.cwd())) == 0
    for step in (7, 11):  # the first segment goes, then the mark of the result
        job = config(source, killed, segment=0.8, overwrite=True)
        ended = in_a_fork(lambda job=job: work_on(job), signal.SIGINT, step, "final.json.part")  # type: ignore[misc]
        assert ended == FINISHED, f"step {step}: {ended}"


def fill_the_disk_before_the_journal() -> None:
    """No file may grow beyond a few bytes, so that the plan cannot be written."""
    import resource

    def work() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            return work_on(config(Path.cwd() / "b-frames.mp4", Path.cwd() / "killed.mp4"))
        except EncodeError as exc:
            return FINISHED if "plan.json: cannot be written: File too large; make room" in str(exc) else UNFINISHED

    assert in_a_fork(lambda: not make(FILMS["b-frames"], Path.cwd())) == 0
    assert in_a_fork(work) == FINISHED
    assert [path.name for path in Path.cwd().iterdir()] == ["b-frames.mp4"]


def alone(call: str, folder: Path) -> None:
    """In an interpreter that does nothing but fork: hooks stay, and what has computed with threads must not fork."""
    here = str(Path(__file__).parents[1])
    # a parent may ignore SIGINT (a shell's background job does), and children inherit that
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += f"import sys; sys.path.insert(0, {here!r}); import vsr.pipeline\nimport tests.test_resume as t\n"
    subprocess.run([sys.executable, "-W", "ignore", "-c", f"{code}t.{call}"], check=True, cwd=folder)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


@needs_fork
def test_a_kill_while_cleaning_up_costs_nothing(tmp_path: Path) -> None:
    alone("kill_before_each_file_operation('final.json.part')", tmp_path)


@needs_fork
def test_a_journal_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    alone("fill_the_disk_before_the_journal()", tmp_path)


@needs_fork
@pytest.mark.slow
def test_a_kill_before_any_file_operation_costs_nothing_that_was_finished(tmp_path: Path) -> None:
    alone("kill_before_each_file_operation('')", tmp_path)


@needs_fork
def test_an_interrupt_while_cleaning_up_says_that_the_result_is_there(tmp_path: Path) -> None:
    alone("interrupt_the_cleaning_up()", tmp_path)
