"""A command line that is run, killed and run again, and what became of its film."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from shutil import rmtree
from time import monotonic
from typing import Any

from clips import look

Row = dict[str, Any]
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir")


class Task:
    """One source and what is asked for; `whole` is what an undisturbed run makes of it, in `seconds`."""

    def __init__(self, source: Path, output: Path, options: tuple[str, ...] = ("--segment", "1")) -> None:
        self.output, self.work = output, output.parent / f".{output.name}.vsr"
        self.part, self.report = output.parent / f".{output.name}.part", output.with_suffix(".json")
        self.arguments = ["upscale", str(source), "-o", str(output), "--model", "bicubic", "--scale", "2", *options]
        self.arguments += ["--json", str(self.report)]
        self.command = [sys.executable, "-m", "vsr", *self.arguments]
        began = monotonic()
        self.finish()
        self.seconds, self.whole, self.size = monotonic() - began, look(output), output.stat().st_size
        self.clear()

    def clear(self) -> None:
        self.output.unlink(missing_ok=True)
        assert not self.work.exists() and not self.part.exists(), "something is left behind"

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def finish(self) -> int | None:
        """Runs to the end; the frames that it had to make, None where it was killed when nothing was left to do but to end."""
        process = self.start()
        said, _ = process.communicate()
        if process.returncode == 1 and b"exists already" in said:
            return None
        assert process.returncode == 0, f"{self.output.name}: {said.decode()}"
        return int(json.loads(self.report.read_text())["frames_out"])

    def kept(self) -> int:
        """Frames in finished segments."""
        return sum(len(json.loads(p.read_text())["pts"]) for p in self.work.glob("*.json") if p.stem.isdigit())

    def check(self, trial: Row) -> Row:
        """After a kill: what stands under the final name, then the rest of the work, then whether it is the same film."""
        there, left = self.output.exists(), len(self.whole.times) - self.kept()
        differs = [f"kill: {name}" for name in self.whole.differs(look(self.output))] if there else []
        made = self.finish()
        wasted = (made or 0) - (0 if there else left)
        result = look(self.output)
        differs += self.whole.differs(result)
        differs += [f"{wasted} frames made twice"] if wasted > 0 else []
        littered = self.work.exists()
        differs += ["work folder left"] if littered and (made is not None or list(self.work.glob("*.mkv"))) else []
        rmtree(self.work, ignore_errors=True)
        self.clear()
        same = {"packets": result.coded == self.whole.coded, "bytes": result.whole == self.whole.whole}
        return {**trial, "was there": there, "frames made again": made or 0, "folder left": littered, "differs": differs, **same}


def kill(process: subprocess.Popen[bytes]) -> bool:
    """Kills the process with all its children; False when it had ended."""
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


class Forked(Task):
    """The same, but runs that nobody disturbs need no new interpreter: one that has loaded vsr already is forked for them."""

    def __init__(self, source: Path, output: Path, options: tuple[str, ...] = ("--segment", "1")) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
        super().__init__(source, output, options)

    def time_process(self) -> Forked:
        """Lets `seconds` be what a whole process takes, its start included."""
        began = monotonic()
        self.start().communicate()
        self.seconds = monotonic() - began
        self.clear()
        return self

    def finish(self) -> int | None:
        status, said = self.run()
        if status == 256 and "exists already" in said:
            return None
        assert status == 0, f"{self.output.name}: {said}"
        return int(json.loads(self.report.read_text())["frames_out"])

    def run(self, step: int = 0, number: int = signal.SIGKILL) -> tuple[int, str]:
        """Runs the command line and sends it a signal before file operation `step`: the wait status and what it said.

        Operations are counted by a hook of the interpreter, those in the output's folder only; said first: the operation.
        """
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does
        import vsr.cli.commands
        import vsr.pipeline  # noqa: F401  every forked process has it already

        log = self.output.with_suffix(".log")
        log.write_bytes(b"")
        child = os.fork()
        if child == 0:
            self._be_the_child(step, number, log)
        _, status = os.waitpid(child, 0)
        return status, log.read_text()

    def _be_the_child(self, step: int, number: int, log: Path) -> None:
        from vsr.cli.main import main

        said, seen = os.open(log, os.O_WRONLY | os.O_APPEND), 0

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            path = str(arguments[0]) if event in FILE_EVENTS else ""
            if path.startswith(str(self.output.parent)) and path != str(self.report):
                seen += 1
                if seen == step:
                    os.write(said, f"{event} {Path(path).name}\n".encode())
                    os.kill(os.getpid(), number)

        sys.argv = ["vsr", *self.arguments]
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.addaudithook(count)
        code = 70
        try:
            main()
        except SystemExit as exc:
            code = int(exc.code or 0)
        finally:
            os._exit(code)
