"""PSNR of models on a folder of pairs, by the protocol of the papers:  python benchmarks/quality_set5.py DIR [MODEL ...]

DIR holds LR/ and HR/ with images of the same names (Set5 as everybody has it: cut to a multiple of the scale, shrunk by MATLAB).
Each model goes the user's way: images in, `vsr.upscale` to PNG files, these read again. PSNR is that of the luma of BT.601 in
16..235, not rounded, without a border as wide as the scale; gray images are their own luma. Beside the models stands MATLAB's
bicubic as `vsr.resample` computes it (rounded after each pass), which the papers compare with; `--model bicubic` rounds once.
`vsr bench quality` measures the same and more, without files between.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from vsr import UpscaleConfig, metrics, upscale
from vsr.resample import imresize

MATLAB = "bicubic (MATLAB)"


def tensor(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) RGB or (H, W) gray -> (1, 3 or 1, H, W)."""
    return torch.from_numpy(np.atleast_3d(pixels).copy()).permute(2, 0, 1)[None]


def psnr(made: npt.NDArray[np.uint8], true: npt.NDArray[np.uint8], border: int) -> float:
    """In dB; both of one size and kind."""
    if made.shape != true.shape:
        raise SystemExit(f"sizes differ: {made.shape} and {true.shape}")
    return float(metrics.psnr(tensor(made), tensor(true), metrics.Protocol("y", border)))


def read(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def matlab_bicubic(pixels: npt.NDArray[np.uint8], scale: int) -> npt.NDArray[np.uint8]:
    grown = imresize(tensor(pixels).double(), scale, 1, rounded=True)[0].permute(1, 2, 0).numpy().astype(np.uint8)
    return grown if pixels.ndim == 3 else grown[..., 0]


def measure(folder: Path, model: str, scale: int, precision: str) -> dict[str, float]:
    """PSNR of each image."""
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / "made"
        if model == MATLAB:
            pictures = {path.name: matlab_bicubic(read(path), scale) for path in sorted((folder / "LR").iterdir())}
        else:
            upscale(UpscaleConfig(str(folder / "LR"), str(made), scale=scale, model=model, precision=precision))
            pictures = {path.name: read(path) for path in sorted(made.iterdir())}
    return {file: psnr(picture, read(folder / "HR" / file), scale) for file, picture in pictures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", default=[MATLAB, "bicubic", "srresnet", "srgan", "span"])
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="fp32")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table = {}
    for model in args.models:
        table[model] = measure(args.folder, model, args.scale, args.precision)
        mean = sum(table[model].values()) / len(table[model])
        print(f"{model:<20}{mean:>7.2f} dB   " + "  ".join(f"{value:.2f}" for value in table[model].values()), flush=True)
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
