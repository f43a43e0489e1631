"""The papers' protocol in benchmarks/quality_set5.py: luma, border, gray, and bicubic's published figure."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

quality = importlib.import_module("benchmarks.quality_set5")
SET5 = Path(__file__).parents[2] / "shared" / "data" / "Set5" / "x4"


def test_gray_is_its_own_luma() -> None:
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert quality.psnr(gray, gray + np.uint8(2), 1) == pytest.approx(20 * math.log10(255 / 2))
    with pytest.raises(SystemExit):
        quality.psnr(gray, np.stack([gray] * 3, -1), 1)


def test_the_border_does_not_count() -> None:
    true = np.full((20, 20, 3), 100, np.uint8)
    made = true.copy()
    made[:4] = made[-4:] = made[:, :4] = made[:, -4:] = 0
    made[10, 10] = 110
    error = (10 * 219 / 255) ** 2 / 12**2
    assert quality.psnr(made, true, 4) == pytest.approx(10 * math.log10(255**2 / error), abs=1e-3)


@pytest.mark.skipif(not SET5.is_dir(), reason="the Set5 images are not here")
def test_bicubic_as_published() -> None:
    values = quality.measure(SET5, quality.MATLAB, 4, "fp32")
    assert len(values) == 5
    assert sum(values.values()) / 5 == pytest.approx(28.42, abs=0.02)
