"""A job killed at any moment and started again gives the same film:  python benchmarks/kills.py [--kills 20] [CLIP ...]

    random     SIGKILL at seeded moments spread over the whole run, start-up and the last rename included
    end        SIGKILL while the result is joined, verified, renamed and cleaned up after (`--end-kills`)
    steps      SIGKILL before the first, second, third ... file that is opened, renamed or removed: every one of them
    lengths    segments of 1 s, of 7 s and none: the same film, and how far apart the pictures are
    encoders   whether a killed and resumed file has the very bytes of an undisturbed one, encoder by encoder

Everything is the real command line in a process of its own. What it made is compared by PyAV alone: number of frames, every pts,
every audio packet, every decoded pixel. After each kill a file under the final name must be the whole film, and the next start
may make only those frames of which no finished segment is left. Exit code 1 when anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from clips import CLIPS, Facts, least_psnr, make
from tasks import Forked, Row, Task, kill

STEPS_WITHIN = (25, 45)  # of a job of five segments: some are done, some are not
ENCODERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "h264, 1 thread": (".mp4", ("--codec", "h264", "--encoder-option", "threads=1")),
    "h264": (".mp4", ("--codec", "h264")),
    "hevc": (".mp4", ("--codec", "hevc")),
    "av1": (".mp4", ("--codec", "av1")),
    "vp9": (".mp4", ("--codec", "vp9", "--preset", "veryfast")),
    "prores": (".mov", ("--codec", "prores")),
    "ffv1": (".mkv", ("--codec", "ffv1")),
}


def random_kills(task: Task, count: int, chance: random.Random) -> Iterator[Row]:
    """`count` kills, up to three in a row before the job may end."""
    while count > 0:
        moments = [chance.uniform(0, 1.05) * task.seconds for _ in range(min(count, chance.choice((1, 1, 2, 3))))]
        for moment in moments:
            process = task.start()
            sleep(moment)
            kill(process)
            if task.output.exists():
                break
        count -= len(moments)
        yield task.check({"kills": len(moments), "at": [round(moment / task.seconds, 3) for moment in moments]})


def end_kills(task: Task, count: int, chance: random.Random) -> Iterator[Row]:
    """Kills from the beginning of the join to a little after the last rename; a first run measures how long that takes."""
    lasts = 0.0
    for number in range(count + 1):
        process = task.start()
        while process.poll() is None and not task.part.exists():
            sleep(0.0005)
        began = monotonic()
        if number == 0:
            while process.poll() is None and not task.output.exists():
                sleep(0.0005)
            lasts = monotonic() - began
            process.communicate()
            task.clear()
            continue
        wait = 1.3 * lasts * (number - 1) / count * chance.uniform(0.8, 1.2)
        sleep(wait)
        killed = kill(process)
        yield task.check({"kills": int(killed), "ms after the join began": round(wait * 1000, 1)})


def step_kills(task: Forked) -> Iterator[Row]:
    """Kills before each single file operation in the output's folder, until a run has no more of them."""
    for step in range(1, 10_000):
        status, said = task.run(step)
        if not os.WIFSIGNALED(status):
            task.clear()
            return
        yield task.check({"kills": 1, "step": step, "before": said.strip()})


def lengths(source: Path, folder: Path) -> Iterator[Row]:
    """Segments of 1 s, 7 s and one for the whole film: with a lossless codec everything is equal."""
    for codec in ("ffv1", "auto"):
        made: dict[str, tuple[Path, Facts]] = {}
        for seconds in ("0", "1", "7"):
            output = folder / f"length-{codec}-{seconds}{'.mkv' if codec == 'ffv1' else source.suffix}"
            task = Forked(source, output, ("--segment", seconds, "--codec", codec))
            task.finish()
            made[seconds] = output, task.whole
        for seconds in ("1", "7"):
            differs = made["0"][1].differs(made[seconds][1])
            worst = least_psnr(made["0"][0], made[seconds][0])
            lossy = codec != "ffv1" and differs == ["pixels"]
            row: Row = {"source": source.name, "codec": codec, "segment": seconds, "least PSNR of a frame, dB": round(worst, 1)}
            yield row | {"differs": [] if lossy else differs}


def encoders(source: Path, folder: Path, chance: random.Random) -> Iterator[Row]:
    """A second undisturbed run, then three that are killed when one to three of the first segments are done."""
    for name, (suffix, options) in ENCODERS.items():
        task = Forked(
            source, folder / f"encoder-{name.replace(', ', '-').replace(' ', '-')}{suffix}", ("--segment", "2", *options)
        )
        rows = [task.check({})]
        for _ in range(3):
            task.run(chance.randint(*STEPS_WITHIN))
            rows.append(task.check({}))
        resumed = sum(row["frames made again"] < len(task.whole.times) for row in rows[1:])
        counted = {f"killed: {key}": f"{sum(row[key] for row in rows[1:])}/3" for key in ("packets", "bytes")}
        undisturbed = {f"undisturbed again: {key}": rows[0][key] for key in ("packets", "bytes")}
        differs = [word for row in rows for word in row["differs"]]
        yield {"encoder": name, **undisturbed, "resumed": f"{resumed}/3", **counted, "differs": differs}


@dataclass(frozen=True)
class Part:
    """One of the experiments above: its name and what it runs for each source."""

    name: str
    run: Callable[[Path, Path], Iterator[Row]]


def parts(options: argparse.Namespace, sources: int) -> list[Part]:
    chance, kills = random.Random(options.seed), -(-options.kills // sources)
    ends = -(-options.end_kills // sources)

    def task(source: Path, folder: Path) -> Task:
        return Forked(source, folder / f"out{source.suffix}").time_process()

    return [
        Part("random", lambda source, folder: random_kills(task(source, folder), kills, chance)),
        Part("end", lambda source, folder: end_kills(task(source, folder), ends, chance)),
        Part("steps", lambda source, folder: step_kills(Forked(source, folder / f"step{source.suffix}"))),
        Part("lengths", lengths),
        Part("encoders", lambda source, folder: encoders(source, folder, chance)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clips", nargs="*", type=Path, help="instead of the three that are made by code")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--end-kills", type=int, default=30)
    parser.add_argument("--frames", type=int, default=240, help="of the clips that are made by code")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="random, end, steps, lengths or encoders; may be repeated")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = options.clips or [make(clip, folder, options.frames) for clip in CLIPS]
        for part in parts(options, len(sources)):
            if options.only and part.name not in options.only:
                continue
            for source in sources[:1] if part.name == "encoders" else sources:
                for row in part.run(source, folder):
                    table.setdefault(part.name, []).append({"source": source.name, **row})
                    print(part.name, "; ".join(f"{key}: {value}" for key, value in table[part.name][-1].items()), flush=True)
    wrong = sum(bool(row["differs"]) for rows in table.values() for row in rows)
    print(
        "\n".join(f"{name}: {len(rows)} trials, {sum(bool(r['differs']) for r in rows)} differ" for name, rows in table.items())
    )
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
