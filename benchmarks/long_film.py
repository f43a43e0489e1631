"""A film of an hour: memory, a kill in the middle, and where the time goes:  python benchmarks/long_film.py [--minutes 60]

Makes a film of tiny frames (64x36, 25 a second, H.264 with B-frames, AAC), upscales it by 2 with bicubic on the real command
line, once undisturbed and once with SIGKILL in the middle and a second start. Both results are compared with each other (every
frame's pixels) and with the source (number of frames, every pts, every audio packet) by PyAV alone. Memory is VmRSS of the
process, twice a second. `--profile` samples all threads of one run in this process instead.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import numpy as np
from clips import LONG, look, make


class Job:
    """One start of `vsr upscale` as a process: its memory over time, and when it encoded its first new frame."""

    def __init__(self, source: Path, output: Path, log: Path) -> None:
        self.memory: list[tuple[float, float]] = []  # seconds since the start, MB
        self.first_frame = self.joining = 0.0  # when they began; 0 = not yet
        self._work, self._part = output.parent / f".{output.name}.vsr", output.parent / f".{output.name}.part"
        self._log, self.began = log, monotonic()
        command = [sys.executable, "-m", "vsr", "upscale", str(source), "-o", str(output), "--model", "bicubic", "--scale", "2"]
        with log.open("wb") as said:
            self.process = subprocess.Popen([*command, "--segment", "60", "--progress", "json"], stdout=said, stderr=said)

    def wait(self, until_segments: int | None = None) -> None:
        """Samples until the process ends; kills it once so many segments are done."""
        while self.process.poll() is None:
            passed = monotonic() - self.began
            if not self.first_frame and self._log.stat().st_size:
                self.first_frame = passed
            if not self.joining and self._part.exists():
                self.joining = passed
            if not self.memory or passed - self.memory[-1][0] >= 0.5:
                self.memory.append((passed, _rss(self.process.pid)))
            if until_segments is not None and self.segments() >= until_segments:
                self.process.send_signal(signal.SIGKILL)
                until_segments = None
            sleep(0.01)
        self.seconds = monotonic() - self.began

    def segments(self) -> int:
        return sum(path.stem.isdigit() for path in self._work.glob("*.json"))


def _rss(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in text.splitlines() if line.startswith("VmRSS")), 0.0)


def curve_of(job: Job) -> dict[str, float]:
    """Peaks of both halves of the time in which frames were made, the slope over the second half, and the peak at the end."""
    steady = [(t, mb) for t, mb in job.memory if job.first_frame <= t < job.joining and mb]
    middle = (steady[0][0] + steady[-1][0]) / 2
    first, second = ([p for p in steady if (p[0] < middle) == early] for early in (True, False))
    slope = float(np.polyfit([t for t, _ in second], [mb for _, mb in second], 1)[0])
    peaks = [max(mb for _, mb in half) for half in (first, second)]
    return {
        "peak_first_half_mb": round(peaks[0], 1),
        "peak_second_half_mb": round(peaks[1], 1),
        "grown": round(peaks[1] / peaks[0] - 1, 4),
        "slope_second_half_mb_per_minute": round(slope * 60, 2),
        "peak_join_and_verify_mb": round(max((mb for t, mb in job.memory if t >= job.joining), default=0.0), 1),
        "join_and_verify_seconds": round(job.seconds - job.joining, 1),
    }


def run(folder: Path, minutes: float) -> dict[str, object]:
    began = monotonic()
    source = make(LONG, folder, round(minutes * 1500), (64, 36), 16000)
    print(f"made {source.name} in {monotonic() - began:.0f} s", flush=True)
    whole, killed = folder / "whole.mp4", folder / "killed.mp4"
    undisturbed = Job(source, whole, folder / "whole.log")
    undisturbed.wait()
    assert undisturbed.process.returncode == 0, (folder / "whole.log").read_text()[-2000:]
    print(f"undisturbed: {undisturbed.seconds:.1f} s", flush=True)
    cut = Job(source, killed, folder / "cut.log")
    cut.wait(until_segments=max(1, round(minutes / 2)))
    kept = cut.segments()
    print(f"killed after {cut.seconds:.1f} s with {kept} segments done", flush=True)
    resumed = Job(source, killed, folder / "resumed.log")
    resumed.wait()
    assert resumed.process.returncode == 0, (folder / "resumed.log").read_text()[-2000:]
    before, after, again = look(source), look(whole), look(killed)
    told = json.loads(next(line for line in (folder / "resumed.log").read_text().splitlines() if line.startswith("{")))
    return {
        "frames": {"source": len(before.times), "undisturbed": len(after.times), "killed": len(again.times)},
        "differs_from_source": [name for name in before.differs(after) if name != "pixels"],
        "killed_differs_from_undisturbed": after.differs(again),
        "same_bytes": after.whole == again.whole,
        "undisturbed_seconds": round(undisturbed.seconds, 1),
        "frames_per_second": round(len(before.times) / undisturbed.seconds, 1),
        "killed_and_resumed_seconds": [round(cut.seconds, 1), round(resumed.seconds, 1)],
        "first_frame_seconds": {"undisturbed": round(undisturbed.first_frame, 2), "resumed": round(resumed.first_frame, 2)},
        "first_told_when_resumed": told,
        "memory": curve_of(undisturbed),
        "memory_resumed": curve_of(resumed),
    }


def sample_threads(work: Callable[[], object]) -> Counter[tuple[str, str]]:
    """Runs `work` and counts every 5 ms in which function, and which of its lines, each thread is (waiting threads as well)."""
    seen: Counter[tuple[str, str]] = Counter()
    stop = threading.Event()

    def watch() -> None:
        own = threading.get_ident()
        while not stop.wait(0.005):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if ident != own:
                    code = frame.f_code
                    where = f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_qualname}"
                    seen[names.get(ident, "?"), where] += 1

    watcher = threading.Thread(target=watch, name="watcher")
    watcher.start()
    try:
        work()
    finally:
        stop.set()
        watcher.join()
    return seen


def profile(folder: Path, minutes: float) -> dict[str, object]:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does
    from vsr import UpscaleConfig, upscale

    source = make(LONG, folder, round(minutes * 1500), (64, 36), 16000)
    config = UpscaleConfig(str(source), str(folder / "out.mp4"), scale=2, model="bicubic", segment=60)
    began = monotonic()
    seen = sample_threads(lambda: upscale(config))
    seconds = monotonic() - began
    top: dict[str, list[str]] = {}
    for thread in sorted({thread for thread, _ in seen}):
        lines = Counter({where: count for (name, where), count in seen.items() if name == thread})
        total = sum(lines.values())
        top[thread] = [f"{count / total:.1%} {where}" for where, count in lines.most_common(12)]
    return {"seconds": round(seconds, 1), "frames_per_second": round(minutes * 1500 / seconds, 1), "threads": top}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = (profile if options.profile else run)(Path(folder), options.minutes)
    text = json.dumps(found, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
