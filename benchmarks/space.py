"""A picture of the sky in electrons through networks made for photographs: what becomes of its light (docs/space.md).

python benchmarks/space.py j8bt06nyq_flt.fits FOLDER [--models srresnet,span] [--truth] [--draw space.png]

Of a FITS file with SCI, ERR and DQ (electrons, their standard error, what is wrong with a pixel), files in, files out: SCI as a
16-bit PNG, `vsr upscale`, and back to electrons. --truth shrinks it by 4 first; what it was is the truth then.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sky import BOX, Plane, box_sum, fits_images, stars_of

from vsr import UpscaleConfig, upscale
from vsr.media.imagemeta import StillImage, batch_of
from vsr.media.images import read_image, write_image
from vsr.media.sheet import Cell, draw_sheet
from vsr.metrics import heat
from vsr.resample import back_project, resize

TOP = 65535
SCALE = 4
SATURATED, COSMIC = 256, 4096 | 8192  # bits of DQ (ACS Data Handbook)


DETAIL = 48  # input pixels of what is drawn


@dataclass(frozen=True)
class Scene:
    """What is enlarged, in electrons, with its standard error and its stars; the truth and its error where there is one."""

    source: Plane
    error: Plane
    stars: list[tuple[int, int]]
    truth: Plane | None = None
    truth_error: Plane | None = None


@dataclass(frozen=True)
class Coding:
    """Electrons as numbers from 0 to 1, and back."""

    name: str
    coded: Callable[[Plane], Plane]
    electrons: Callable[[Plane], Plane]


def linear(name: str, low: float, high: float) -> Coding:
    return Coding(name, lambda e: (e - low) / (high - low), lambda v: v * (high - low) + low)


def stretched(soft: float, low: float, high: float) -> Coding:
    """asinh: linear for what is fainter than `soft`, a logarithm far beyond it (Lupton et al. 1999)."""
    first, last = math.asinh(low / soft), math.asinh(high / soft)
    return Coding(
        "asinh",
        lambda e: (np.arcsinh(e / soft) - first) / (last - first),
        lambda v: soft * np.sinh(v * (last - first) + first),
    )


def rooted(low: float, high: float) -> Coding:
    """The square root, in which the noise of counted light is the same everywhere (Anscombe 1948); below 0 its mirror image."""
    first, last = -math.sqrt(-low), math.sqrt(high)

    def electrons(v: Plane) -> Plane:
        root = v * (last - first) + first
        return root * np.abs(root)

    return Coding("root", lambda e: (np.sign(e) * np.sqrt(np.abs(e)) - first) / (last - first), electrons)


def save(path: Path, coding: Coding, electrons: Plane) -> float:
    """Writes a 16-bit gray PNG; returns the share of pixels that it cannot hold."""
    levels = np.floor(coding.coded(electrons) * TOP + 0.5)
    write_image(path, StillImage(batch_of(levels.clip(0, TOP).astype(np.uint16)[..., None], alpha=False), "PNG"))
    return float(((levels < 0) | (levels > TOP)).mean())


def levels_of(path: Path) -> npt.NDArray[np.uint16]:
    batch = read_image(path).batch
    assert batch.format.layout.bits == 16 and len(batch.planes) == 1, path
    return np.asarray(batch.planes[0][0], dtype=np.uint16)


def scaled(plane: Plane, height: int, width: int) -> Plane:
    """Bicubic, antialiased: what `--faithful` takes for the input's view of a result."""
    return np.asarray(resize(torch.from_numpy(np.ascontiguousarray(plane))[None, None], height, width)[0, 0], dtype=np.float64)


def light(made: Plane, scene: Scene) -> dict[str, float]:
    """What became of the light in `made` (H * SCALE, W * SCALE), in electrons."""
    source, error, scale = scene.source, scene.error, SCALE
    lacking = scaled(made, *source.shape) - source
    sky = source < np.median(source)
    level = float(np.median(source))
    ratios = []
    for y, x in scene.stars:
        own = box_sum(source, y, x, 1) - level * (2 * BOX + 1) ** 2
        ratios.append(100 * (box_sum(made, y, x, scale) - box_sum(source, y, x, 1)) / own)
    size = np.abs(ratios)
    return {
        "total_percent": 100 * (float(made.mean()) / float(source.mean()) - 1),
        "sky_bias_e": float(np.median(lacking[sky])),
        "sky_rms_sigma": float(np.sqrt(np.mean((lacking / error)[sky] ** 2))),
        "rms_sigma": float(np.sqrt(np.mean((lacking / error) ** 2))),
        "stars_median_percent": float(np.median(size)),
        "stars_worst_percent": float(size.max()),
        "lowest_e": float(made.min()),
        "grid_e": float(grid_of(made, sky).std()),
    }


def grid_of(made: Plane, sky: npt.NDArray[np.bool_]) -> Plane:
    """The pattern that repeats with every input pixel: the mean over the sky for each of the SCALE x SCALE places in one.

    A ramp through the picture would be the same in all; the consistency map cannot show it, since it vanishes when shrunk.
    """
    cells = made.reshape(sky.shape[0], SCALE, sky.shape[1], SCALE)
    return np.asarray(cells.transpose(0, 2, 1, 3)[sky].mean(0))


def nearness(made: Plane, truth: Plane, error: Plane) -> dict[str, float]:
    """How far it is from the truth, whose standard error is `error`."""
    sky = truth < np.median(truth)
    wrong = made - truth
    return {
        "truth_rms_e": float(np.sqrt(np.mean(wrong**2))),
        "truth_sky_rms_e": float(np.sqrt(np.mean(wrong[sky] ** 2))),
        "truth_median_sigma": float(np.median(np.abs(wrong) / error)),
    }


def scene_of(fits: Path, side: int | None) -> Scene:
    """The middle of the picture, `side` pixels; None: all of it shrunk by SCALE, with the truth."""
    planes = fits_images(fits)
    whole, error = planes["SCI"], planes["ERR"]
    bad = planes["DQ"].astype(int) & (SATURATED | COSMIC) != 0
    if side is not None:
        y, x = ((size - side) // 2 for size in whole.shape)
        part = (slice(y, y + side), slice(x, x + side))
        return Scene(whole[part], error[part], stars_of(whole[part], bad[part]))
    height, width = (size // SCALE for size in whole.shape)
    source = scaled(whole, height, width)
    cells = (height, SCALE, width, SCALE)
    mean_error = np.sqrt((error.reshape(cells) ** 2).sum((1, 3))) / SCALE**2
    return Scene(source, mean_error, stars_of(source, bad.reshape(cells).any((1, 3))), whole, error)


def codings_of(source: Plane) -> list[Coding]:
    """Without room for what rings beyond the ends, with a tenth on each side, and two that lift what is faint."""
    tight = linear("tight", float(source.min()), float(source.max()))
    return [tight, linear("linear", -20_000, 180_000), rooted(-20_000, 300_000), stretched(100, -2_000, 400_000)]


def enlarge(scene: Scene, coding: Coding, wish: UpscaleConfig) -> list[dict[str, Any]]:
    """One model on one coding: what became of the light, as it is and mended where light is a number of electrons."""
    lost = save(Path(wish.source), coding, scene.source)
    after = Path(str(wish.output))
    warnings = upscale(wish).warnings
    levels = levels_of(after)
    ways = {f"{wish.faithful} steps": coding.electrons(levels / TOP)}
    if coding.name in ("root", "asinh") and not wish.faithful:
        made, source = (torch.from_numpy(plane.copy())[None, None] for plane in (ways["0 steps"], scene.source))
        ways["5 steps in electrons"] = np.asarray(back_project(made, source, 5)[0, 0])
    table: list[dict[str, Any]] = []
    for way, made_e in ways.items():
        row = {"model": wish.model, "coding": coding.name, "way": way, "lost": lost, "warnings": warnings}
        row["clipped"] = int(((levels == 0) | (levels == TOP)).sum())
        row |= light(made_e, scene)
        if scene.truth is not None and scene.truth_error is not None:
            row |= nearness(made_e, scene.truth, scene.truth_error)
        table.append(row)
        np.save(after.with_suffix(f".{way.replace(' ', '_')}.npy"), made_e.astype(np.float32))
    return table


def shown(electrons: Plane, width: int) -> npt.NDArray[np.uint8]:
    """As astronomers look at it: asinh, from -100 to 50,000 electrons, repeated to `width` pixels."""
    coding = stretched(100, -100, 50_000)
    gray = (coding.coded(electrons).clip(0, 1) * 255).round().astype(np.uint8)
    gray = gray.repeat(width // gray.shape[1], 0).repeat(width // gray.shape[1], 1)
    return np.stack([gray] * 3, -1)


def draw(folder: Path, scene: Scene, target: Path) -> None:
    """A star's surroundings in some of the results, and below each its consistency map."""
    pictures = {
        "bicubic, linear": "linear.bicubic.0_steps",
        "srresnet, linear": "linear.srresnet.0_steps",
        "srresnet, linear, --faithful 5": "linear.srresnet-f5.5_steps",
        "srresnet, asinh": "asinh.srresnet.0_steps",
    }
    y, x = (min(max(at - DETAIL // 2, 0), size - DETAIL) for at, size in zip(scene.stars[0], scene.source.shape, strict=True))
    part = (slice(y, y + DETAIL), slice(x, x + DETAIL))
    side = DETAIL * SCALE
    above, below = (
        [Cell("input", shown(scene.source[part], side))],
        [Cell("all of the input", shown(scene.source, scene.source.shape[1]))],
    )
    for label, name in pictures.items():
        made = np.load(folder / f"{name}.npy").astype(np.float64)
        wrong = (scaled(made, *scene.source.shape) - scene.source) / scene.error
        colours = heat(torch.from_numpy(wrong[part].copy())[None, None], 10.0)[0].permute(1, 2, 0).numpy()
        above.append(Cell(label, shown(made[y * SCALE :, x * SCALE :][:side, :side], side)))
        below.append(Cell("shrunk - input, red +10 sigma", colours.repeat(SCALE, 0).repeat(SCALE, 1)))
    sheet = draw_sheet([above, below], width=side)
    write_image(target, StillImage(batch_of(sheet, alpha=False), "PNG"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fits", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default="srresnet,span")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--truth", action="store_true")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--draw", type=Path, metavar="FILE", help="only draw what an earlier run left in FOLDER")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    scene = scene_of(asked.fits, None if asked.truth else asked.side)
    source, stars = scene.source, scene.stars
    if asked.draw:
        draw(asked.folder, scene, asked.draw)
        return
    middle = f"median {np.median(source):.0f}, its error {np.median(scene.error):.1f}"
    print(f"{source.shape}: {source.min():.0f} to {source.max():.0f} e-, {middle}")
    print(f"{len(stars)} stars of {box_sum(source, *stars[-1], 1):,.0f} to {box_sum(source, *stars[0], 1):,.0f} e-")
    table: list[dict[str, Any]] = []
    for model in ("bicubic", *asked.models.split(",")):
        for coding in codings_of(source):
            for faithful in (0, 5) if model != "bicubic" else (0,):
                name = f"{coding.name}.{model}{f'-f{faithful}' if faithful else ''}.png"
                wish = UpscaleConfig(
                    str(asked.folder / f"{coding.name}.png"), str(asked.folder / name), scale=SCALE, model=model,
                    faithful=faithful, precision=asked.precision, threads=asked.threads, overwrite=True,
                )  # fmt: skip
                for row in enlarge(scene, coding, wish):
                    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
                    table.append(row)
    (asked.folder / "table.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
