"""What the claims' scripts share: photographs or pictures made by code, a table that is printed and written, a drawing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsr.media.encoded import Rgb
from vsr.media.imagemeta import StillImage, batch_of
from vsr.media.images import is_image, read_image, write_image
from vsr.media.rgb import rgb_frames

Row = Mapping[str, str | int | float]


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """What every claim takes."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table and what made it")
    return parser


def pictures(folder: Path | None, count: int, side: int, seed: int) -> Tensor:
    """One crop of `side` pixels of each of `count` pictures, (N, 3, side, side) RGB 0..1: of a folder's images, or made by code.

    Images that are too small are passed over. Raises ValueError where none is left.
    """
    draw = np.random.default_rng(seed)
    if folder is None:
        return torch.stack([made(side, draw) for _ in range(count)])
    paths = sorted(path for path in folder.iterdir() if is_image(str(path)))
    crops: list[Tensor] = []
    for at in draw.permutation(len(paths)):
        if len(crops) == count:
            break
        rgb = whole(paths[at])
        if min(rgb.shape[-2:]) >= side:
            y, x = (int(draw.integers(size - side + 1)) for size in rgb.shape[-2:])
            crops.append(rgb[..., y : y + side, x : x + side])
    if not crops:
        raise ValueError(f"{folder}: holds no image of {side} pixels a side")
    return torch.cat(crops)


def whole(path: Path) -> Tensor:
    """All of an image, (1, 3, H, W) RGB 0..1."""
    return rgb_frames(read_image(path).batch).float() / 255


def made(side: int, draw: np.random.Generator) -> Tensor:
    """A picture with the spectrum of a photograph (amplitude 1/f; Field 1987) and some edges, (3, side, side) of 0..1."""
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    f[0, 0] = 1 / side
    noise = np.fft.fft2(draw.standard_normal((3, side, side))) / f
    noise[1:] = 0.8 * noise[:1] + 0.2 * noise[1:]  # photographs are nearly gray
    plane = np.fft.ifft2(noise).real
    plane = 0.5 + 0.15 * (plane - plane.mean()) / plane.std()
    rows, columns = np.mgrid[:side, :side]
    for _ in range(6):
        angle, offset, step = draw.uniform(0, np.pi), draw.uniform(0.2, 0.8) * side, draw.uniform(-0.25, 0.25, (3, 1, 1))
        plane = plane + step * ((columns * np.cos(angle) + rows * np.sin(angle)) > offset)
    return torch.from_numpy(plane.clip(0, 1)).float()


def report(rows: Sequence[Row], asked: argparse.Namespace, **facts: object) -> None:
    """Print the rows as a table, and write them with the command and the machine where --json asks for it."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = [keys, *([_text(row.get(key, "")) for key in keys] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(keys))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if asked.json:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        made_by = {"claim": Path(sys.argv[0]).stem, "asked": vars(asked), "torch": torch.__version__, **machine}
        text = json.dumps({**made_by, **facts, "rows": [dict(row) for row in rows]}, indent=1, default=str)
        asked.json.write_text(text + "\n", encoding="utf-8")


def _text(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def save(path: Path, rgb: Rgb) -> None:
    """(H, W, 3) uint8 as a PNG."""
    write_image(path, StillImage(batch_of(rgb, alpha=False), "PNG"))
