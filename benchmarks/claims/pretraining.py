"""x2 pre-training reaches x4 quality in fewer steps (EDSR, Lim et al. 2017, figure 4):

python benchmarks/claims/pretraining.py PHOTOS [--picture PNG]

For each seed three trainings by `vsr train`: a small EDSR of x2, one of x4 from that (--init), one of x4 from scratch; the same
steps, pairs and rates for both of x4. A training that --out holds already is not repeated.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from evidence import Row, arguments, report, save
from PIL import Image, ImageDraw, ImageFont

from vsr.media.encoded import Rgb
from vsr.train.log import read_log

Curve = list[tuple[int, float]]  # step, dB
COLOURS = {"from x2": (64, 160, 255), "from scratch": (240, 130, 60)}


def curve(folder: Path) -> Curve:
    """The validations of a training."""
    return [(line["step"], line["psnr_y"]) for line in read_log(folder) if line["kind"] == "validation"]


def trained(recipe: str, folder: Path, settings: Sequence[str], steps: int, init: Path | None = None) -> Curve:
    """Train by the command line, unless `folder` holds it whole; its validations."""
    found = curve(folder)
    if not found or found[-1][0] < steps:
        words = [f"--set={each}" for each in (*settings, f"train.out={folder}")]
        more = [f"--init={init}"] if init else []
        subprocess.run([sys.executable, "-m", "vsr", "train", recipe, *words, *more, "--progress=none"], check=True)
        found = curve(folder)
    return found


def reached(points: Curve, level: float) -> int | None:
    """The first validated step from which on the curve stays at `level` dB or above; None where it ends below."""
    below = [step for step, value in points if value < level]
    later = [step for step, _ in points if not below or step > below[-1]]
    return later[0] if later else None


def compared(seed: int, fresh: Curve, begun: Curve) -> list[Row]:
    """Both curves at a few steps, and when each comes to what training from scratch ends with."""
    level = fresh[-1][1]
    rows: list[Row] = []
    for name, points in (("from scratch", fresh), ("from x2", begun)):
        shown = {f"dB at {step}": round(value, 2) for step, value in points[:: max(1, len(points) // 6)] + points[-1:]}
        rows.append({"seed": seed, "x4": name, **shown, "as good as scratch at": reached(points, level) or "never"})
    return rows


def drawn(curves: Sequence[tuple[str, Curve]], size: tuple[int, int] = (760, 420)) -> Rgb:
    """PSNR over steps, (H, W, 3)."""
    width, height = size
    left, right, top, bottom = 60, width - 20, 20, height - 45
    values = [value for _, points in curves for _, value in points]
    low, high, last = min(values), max(values), max(points[-1][0] for _, points in curves)
    picture = Image.new("RGB", size, (255, 255, 255))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)

    def place(step: float, value: float) -> tuple[float, float]:
        return left + (right - left) * step / last, bottom - (bottom - top) * (value - low) / (high - low)

    for part in range(5):
        value, step = low + part * (high - low) / 4, part * last / 4
        draw.line([place(0, value), place(last, value)], (225, 225, 225))
        draw.text((8, place(0, value)[1] - 8), f"{value:.2f}", (60, 60, 60), font)
        draw.text((place(step, low)[0] - 12, bottom + 6), f"{step:.0f}", (60, 60, 60), font)
    for name, points in curves:
        draw.line([place(*point) for point in points], COLOURS[name], 2)
    for row, (name, colour) in enumerate(COLOURS.items()):
        draw.text((right - 150, bottom - 60 + 20 * row), name, colour, font)
    draw.text((left, height - 22), "steps of x4 training; dB of Y (each line a seed)", (60, 60, 60), font)
    return np.asarray(picture)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("photos", help="what is trained on")
    parser.add_argument("--validate", default="Set5", help="a test set, as `vsr bench quality --dataset` takes it")
    parser.add_argument("--out", type=Path, default=Path("runs/claims"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2, help="how many, from --seed on")
    parser.add_argument("--picture", type=Path, metavar="PNG")
    asked = parser.parse_args()
    rows: list[Row] = []
    curves: list[tuple[str, Curve]] = []
    for seed in range(asked.seed, asked.seed + asked.seeds):
        settings = [
            f"data.train={asked.photos}", f"data.validate={asked.validate}", f"train.steps={asked.steps}", f"train.seed={seed}",
            f"train.periods=[{asked.steps}]", f"train.validate_every={max(1, asked.steps // 12)}",
        ]  # fmt: skip
        home = asked.out / f"{asked.steps}-{seed}"
        trained("edsr_baseline_x2_small", home / "x2", settings, asked.steps)
        fresh = trained("edsr_baseline_x4_small", home / "x4", settings, asked.steps)
        begun = trained("edsr_baseline_x4_small", home / "x4_from_x2", settings, asked.steps, home / "x2" / "best.safetensors")
        rows += compared(seed, fresh, begun)
        curves += [("from scratch", fresh), ("from x2", begun)]
    report(rows, asked, curves=curves)
    if asked.picture:
        save(asked.picture, drawn(curves))


if __name__ == "__main__":
    main()
