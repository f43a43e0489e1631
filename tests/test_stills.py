"""Folders of images: what is found by trying is found once, and not on a picture that tells nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vsr.choose_engine
from vsr.config import UpscaleConfig
from vsr.stills import _Batch


def batch_of(folder: Path, *sides: int) -> _Batch:
    targets = {}
    for number, side in enumerate(sides):
        source = folder / f"{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (side, side, 3), np.uint8)).save(source)
        targets[source] = folder / f"{number}.large.png"
    config = UpscaleConfig(str(folder), model="animevideo", device="cpu", precision="fp32")
    return _Batch(config, str(folder), targets, [], None)


def test_images_of_one_size_race_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vsr.choose_engine, "WORTH_A_RACE", 0.0)
    batch = batch_of(tmp_path, 16, 16, 24)
    assert not [image.error for image in batch.run().images if image.error]
    assert batch.tried.backend != "auto"  # the wish of all that come: nothing is left to be raced
    assert batch.tried_pixels == 16 * 16
    assert batch.config.backend == "auto"


def test_a_first_image_of_one_pixel_does_not_decide(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, 1, 32, 1)
    assert not [image.error for image in batch.run().images if image.error]
    assert batch.tried_pixels == 32 * 32
