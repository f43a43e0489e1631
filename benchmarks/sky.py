"""Pictures of the sky as numbers: a reader of FITS, stars, and their light."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float64]
BOX = 5  # a star's light is summed over 11x11 input pixels, edges on the input's grid: no aperture correction, no rounding
KINDS = {"-32": ">f4", "-64": ">f8", "8": "u1", "16": ">i2", "32": ">i4"}  # by BITPIX


def fits_images(path: Path) -> dict[str, Plane]:
    """The images of a FITS file by EXTNAME (FITS 4.0, 3.1 to 3.3): blocks of 2880 bytes, cards of 80, big-endian samples."""
    data, at, found = path.read_bytes(), 0, {}
    while at < len(data):
        cards: list[str] = []
        while "END" not in (card.strip() for card in cards[-36:]):
            cards += [data[at + i : at + i + 80].decode("ascii") for i in range(0, 2880, 80)]
            at += 2880
        head = {card[:8].strip(): card[10:].split(" /")[0].strip(" '") for card in cards if card[8:10] == "= "}
        shape = [int(head[f"NAXIS{axis}"]) for axis in range(int(head["NAXIS"]), 0, -1)]
        count = math.prod(shape) if shape else 0
        kind = KINDS[head["BITPIX"]]
        if len(shape) == 2 and "EXTNAME" in head:
            found[head["EXTNAME"]] = np.frombuffer(data, kind, count, at).reshape(shape).astype(np.float64)
        at += -(-(count * np.dtype(kind).itemsize + int(head.get("PCOUNT", 0))) // 2880) * 2880
    return found


def stars_of(electrons: Plane, bad: npt.NDArray[np.bool_], wanted: int = 20) -> list[tuple[int, int]]:
    """The brightest stars that are whole: a peak of its box, no bad pixel in it, no hit of a cosmic ray."""
    found: list[tuple[float, int, int]] = []
    height, width = electrons.shape
    for flat in np.argsort(electrons, axis=None)[::-1]:
        y, x = divmod(int(flat), width)
        if not (2 * BOX < y < height - 2 * BOX and 2 * BOX < x < width - 2 * BOX):
            continue
        box = (slice(y - BOX, y + BOX + 1), slice(x - BOX, x + BOX + 1))
        inner = electrons[y - 1 : y + 2, x - 1 : x + 2]
        sharp = electrons[y, x] / inner.sum()  # a telescope's star covers several pixels, a cosmic ray one
        if electrons[box].max() > electrons[y, x] or bad[box].any() or sharp > 0.5:
            continue
        if all(max(abs(y - b), abs(x - a)) > 2 * BOX for _, b, a in found):
            found.append((float(electrons[y, x]), y, x))
        if len(found) == wanted:
            break
    return [(y, x) for _, y, x in found]


def box_sum(electrons: Plane, y: int, x: int, scale: int, reach: int = BOX) -> float:
    """Electrons of a square of input pixels; of an enlarged picture divided by how many pixels became of one."""
    part = electrons[(y - reach) * scale : (y + reach + 1) * scale, (x - reach) * scale : (x + reach + 1) * scale]
    return float(part.sum()) / scale**2
