"""Network interpolation from a PSNR-oriented network to its GAN:  python benchmarks/blend.py DIR [--strip OUT.png]

DIR holds LR/ and HR/ with images of the same names. For each alpha the user's way: `--blend`, images in, PNG out, measured as
`quality_set5.py` does. The ends must be the two models themselves, sample for sample, and Y-PSNR must fall all the way.
`--strip` writes a detail of one image (`--image`, `--crop`) at every alpha, side by side.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from quality_set5 import psnr, read

from vsr import UpscaleConfig, upscale
from vsr.models import zoo

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def enlarge(folder: Path, out: Path, model: str, blend: float | None) -> dict[str, Path]:
    """Every image of `folder`, enlarged by 4 in float32: name -> file."""
    upscale(UpscaleConfig(str(folder), str(out), scale=4, model=model, blend=blend, precision="fp32"))
    return {path.name: path for path in sorted(out.iterdir())}


def mean_psnr(made: dict[str, Path], truth: Path) -> float:
    return float(np.mean([psnr(read(path), read(truth / name), 4) for name, path in made.items()]))


def equal(first: dict[str, Path], second: dict[str, Path]) -> bool:
    return all(np.array_equal(read(path), read(second[name])) for name, path in first.items())


def strip(pictures: list[Path], crop: tuple[int, int, int, int]) -> Image.Image:
    x, y, width, height = crop
    parts = [Image.open(path).convert("RGB").crop((x, y, x + width, y + height)) for path in pictures]
    whole = Image.new("RGB", (len(parts) * width + (len(parts) - 1) * 4, height), "white")
    for at, part in enumerate(parts):
        whole.paste(part, (at * (width + 4), 0))
    return whole


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="srgan")
    parser.add_argument("--strip", type=Path)
    parser.add_argument("--image", default="img_003.png")
    parser.add_argument("--crop", type=int, nargs=4, default=(96, 40, 128, 128), metavar=("X", "Y", "W", "H"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    twin = zoo.entry(options.model).psnr_twin
    if twin is None:
        raise SystemExit(f"{options.model} has no PSNR-oriented twin")
    with tempfile.TemporaryDirectory() as name:
        room, lr, hr = Path(name), options.folder / "LR", options.folder / "HR"
        made = {alpha: enlarge(lr, room / f"{alpha}", options.model, alpha) for alpha in ALPHAS}
        ends = [enlarge(lr, room / model, model, None) for model in (twin, options.model)]
        figures = {alpha: mean_psnr(images, hr) for alpha, images in made.items()}
        exact = equal(made[0.0], ends[0]) and equal(made[1.0], ends[1])
        falls = all(a > b for a, b in itertools.pairwise(figures.values()))
        if options.strip:
            pictures = [made[alpha][options.image] for alpha in ALPHAS]
            strip(pictures, tuple(options.crop)).save(options.strip)
    for alpha, figure in figures.items():
        print(f"{alpha:.1f}  {figure:.2f} dB")
    print(f"ends exact: {exact}; falls all the way: {falls}")
    if options.json:
        options.json.write_text(json.dumps({"psnr_y": figures, "ends_exact": exact, "falls": falls}, indent=1) + "\n")
    return 0 if exact and falls else 1


if __name__ == "__main__":
    raise SystemExit(main())
