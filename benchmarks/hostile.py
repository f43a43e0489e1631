"""Signals, a second process and a full disk, at random moments:  python benchmarks/hostile.py [--count 30] [CLIP]

    signals    SIGINT or SIGTERM: exit code 130, one line, no traceback, nothing left but the work folder
    bursts     twenty of them within a fifth of a second
    steps      SIGINT before each single file operation (a hook of the interpreter)
    second     the same command while the first is at work: refused in one line, and the first is not disturbed
    limit      files may not grow beyond a random size (RLIMIT_FSIZE)
    disk       a small file system that fills up (needs root: a tmpfs is mounted)

After each the command is run again, with room, and must give the film of an undisturbed run. Exit code 1 when anything is amiss.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep

from clips import CLIPS, make
from tasks import Forked, Row, Task

BURST = 20
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def amiss(task: Task, code: int, said: str, wanted: tuple[int, ...]) -> list[str]:
    """What is wrong with an end: another exit code, more than a line, a traceback, or something left but the work folder."""
    lines = said.strip().splitlines()
    wrong = [f"exit code {code}"] if code not in wanted else []
    wrong += ["a traceback"] if "Traceback" in said else []
    wrong += [f"{len(lines)} lines"] if code != 0 and len(lines) != 1 else []
    wrong += ["a partial file"] if task.part.exists() or list(task.work.glob("*.part")) else []
    wrong += ["a work folder without a finished segment"] if task.work.exists() and not task.kept() and code != 0 else []
    wrong += ["it says that nothing is left"] if "nothing is left" in said and task.work.exists() else []
    return wrong


def interrupted(task: Task, count: int, chance: random.Random, burst: int = 1) -> Iterator[Row]:
    for _ in range(count):
        process = subprocess.Popen(task.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        moment = chance.uniform(0, 1) * task.seconds
        sleep(moment)
        kinds = [chance.choice(SIGNALS) for _ in range(burst)]
        for kind in kinds:
            process.send_signal(kind)
            if burst > 1:
                sleep(chance.uniform(0, 0.02))
        _, said = process.communicate()
        yield _after(task, {"at": round(moment / task.seconds, 3), "signal": kinds[0].name}, process.returncode, said, (0, 130))


def _after(task: Task, row: Row, code: int, said: str, wanted: tuple[int, ...]) -> Row:
    wrong = amiss(task, code, said, wanted)
    row |= {"exit": code, "said": said.strip() if len(said) < 300 else f"{said[:140]} ... {said[-140:]}"}
    end = task.check(row)
    return {**end, "differs": [*wrong, *end["differs"]]}


def interrupted_steps(task: Forked) -> Iterator[Row]:
    for step in range(1, 10_000):
        status, said = task.run(step, signal.SIGINT)
        operation, _, rest = said.partition("\n")
        if not said.startswith(("open ", "os.")):
            task.clear()
            return
        code = os.waitstatus_to_exitcode(status)
        yield _after(task, {"step": step, "before": operation}, code, rest, (0, 130))


def second(task: Task, count: int, chance: random.Random) -> Iterator[Row]:
    for _ in range(count):
        first = subprocess.Popen(task.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while first.poll() is None and not (task.work / "plan.json").exists():
            sleep(0.01)
        sleep(chance.uniform(0, 0.3))
        other = subprocess.run(task.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        wrong = [] if other.returncode == 1 and len(other.stderr.splitlines()) == 1 else [f"exit code {other.returncode}"]
        wrong += [f"the first ended with {first.returncode}"] if first.wait() else []
        there = task.output.exists()
        row = task.check({"exit": other.returncode, "said": other.stderr.strip()})
        yield {**row, "differs": [*wrong, *row["differs"], *([] if there else ["no result"])]}


def limited(task: Task, count: int, chance: random.Random) -> Iterator[Row]:
    biggest = task.size
    for _ in range(count):
        most = round(chance.uniform(0.001, 1) * biggest)

        def limit(most: int = most) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

        ended = subprocess.run(
            task.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, preexec_fn=limit
        )
        yield _after(task, {"room": most}, ended.returncode, ended.stderr, (1,))


def full_disk(source: Path, folder: Path, count: int, chance: random.Random) -> Iterator[Row]:
    place = folder / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "small", str(place)], check=True)
    try:
        task = Forked(source, place / f"out{source.suffix}")
        needed = 2.2 * task.size
        task.report.unlink()
        for _ in range(count):
            size = max(8, round(chance.uniform(0.02, 1) * needed / 4096)) * 4096
            subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)
            ended = subprocess.run(task.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
            subprocess.run(["mount", "-o", "remount,size=100m", str(place)], check=True)
            yield _after(task, {"room": size}, ended.returncode, ended.stderr, (0, 1))
            task.report.unlink()
    finally:
        subprocess.run(["umount", str(place)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip", nargs="?", type=Path, help="instead of one that is made by code")
    parser.add_argument("--count", type=int, default=30, help="of signals; a third as many of everything else")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chance, few = random.Random(options.seed), max(1, options.count // 3)
    table: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = options.clip or make(CLIPS[0], folder, options.frames)
        out = folder / f"out{source.suffix}"
        parts: dict[str, Callable[[], Iterator[Row]]] = {
            "signals": lambda: interrupted(Forked(source, out).time_process(), options.count, chance),
            "bursts": lambda: interrupted(Forked(source, out).time_process(), few, chance, BURST),
            "steps": lambda: interrupted_steps(Forked(source, out)),
            "second": lambda: second(Forked(source, out), few, chance),
            "limit": lambda: limited(Forked(source, out), few, chance),
            "disk": lambda: full_disk(source, folder, few, chance),
        }
        for part, rows in parts.items():
            if options.only and part not in options.only:
                continue
            for row in rows():
                table.append({"part": part, **row})
                print("; ".join(f"{key}: {value}" for key, value in table[-1].items()), flush=True)
    print(f"{len(table)} trials, {sum(bool(row['differs']) for row in table)} amiss")
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(row["differs"] for row in table))


if __name__ == "__main__":
    main()
