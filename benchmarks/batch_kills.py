"""A batch that is killed again and again:  python -m benchmarks.batch_kills FOLDER [--kills 5] [WORDS FOR vsr batch ...]

The films of FOLDER, and one that is none, by hd_to_uhd with bicubic: once undisturbed, once with the driver killed (SIGKILL) at
random moments, then run to its end, then once more. Every packet of the results must be the same; the last run must do nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av


def command(job: str, source: Path, output: Path, more: list[str]) -> list[str]:
    return [sys.executable, "-m", "vsr", "batch", job, str(source), "-o", str(output), "--set", "model=bicubic", *more]


def run(words: list[str], report: Path) -> tuple[float, dict[str, Any]]:
    """Seconds and the summary of a run to its end."""
    began = time.monotonic()
    subprocess.run([*words, "--json", str(report)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began, json.loads(report.read_text())


def digests(folder: Path) -> dict[str, str]:
    """Of every film: its streams' packets with their times, whatever the container writes around them."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not any(p.startswith(".") for p in path.parts)):
        sha = hashlib.sha256()
        with av.open(str(path)) as container:
            for packet in container.demux():
                sha.update(f"{packet.stream_index} {packet.pts} {packet.dts} {packet.time_base} {packet.is_keyframe}".encode())
                sha.update(bytes(packet))
        found[str(path.relative_to(folder))] = sha.hexdigest()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--job", default="hd_to_uhd")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=60, help="seconds in which a kill comes")
    options, rest = parser.parse_known_args()
    more = [word for word in rest if word != "--"]
    clock = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        shutil.copytree(options.folder, here / "in")
        (here / "in" / "corrupt.mp4").write_bytes(clock.randbytes(50_000))
        seconds, report = run(command(options.job, here / "in", here / "whole", more), here / "report.json")
        print(f"undisturbed: {seconds:.0f} s", [(Path(f["source"]).name, f["status"], f["frames"]) for f in report["files"]])
        words = command(options.job, here / "in", here / "killed", more)
        for kill in range(options.kills):
            driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            after = clock.uniform(5, options.within)
            time.sleep(after)
            ended = driver.poll() is not None
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            kept = len(list((here / "killed").rglob("[0-9]*.json")))
            print(f"kill {kill + 1} after {after:.1f} s{' (it had ended)' if ended else ''}: {kept} segments, "
                  f"{len(digests(here / 'killed'))} films are there", flush=True)  # fmt: skip
        seconds, report = run(words, here / "report.json")
        print(f"run to its end: {seconds:.0f} s", [(Path(f["source"]).name, f["status"]) for f in report["files"]])
        seconds, report = run(words, here / "report.json")
        print(f"once more: {seconds:.1f} s", [(Path(f["source"]).name, f["status"]) for f in report["files"]])
        whole, killed = digests(here / "whole"), digests(here / "killed")
        left = [str(p.relative_to(here)) for p in (here / "killed").rglob(".*") if p.name != ".vsr-batch"]
        print("equal" if whole == killed and not left else f"DIFFERENT: {whole} {killed} {left}")
        sys.exit(whole != killed or bool(left))


if __name__ == "__main__":
    main()
