"""Metrics against naive loops in float64, their properties, and the figures that papers publish."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor

from vsr.metrics import (
    SMALLEST_MS_SSIM,
    Protocol,
    consistency,
    consistency_map,
    heat,
    luma,
    ms_ssim,
    psnr,
    shrunk,
    ssim,
)
from vsr.resample import imresize

DATA = Path(__file__).parents[2] / "shared/data"
RGB = Protocol("rgb")


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (1, channels, height, width), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def waves(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = [128 + 90 * torch.sin(x * 0.2 + k) * torch.cos(y * (0.1 + 0.05 * k)) for k in range(3)]
    return torch.stack(planes)[None].round().to(torch.uint8)


def naive_ssim(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Wang et al. 2004, window by window."""
    at = np.arange(11) - 5
    row = np.exp(-(at**2) / (2 * 1.5**2))
    window = np.outer(row, row) / row.sum() ** 2
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            both = (window * (p - mp) * (q - mq)).sum()
            top = (2 * mp * mq + 6.5025) * (2 * both + 58.5225)
            values.append(top / ((mp**2 + mq**2 + 6.5025) * (vp + vq + 58.5225)))
    return float(np.mean(values))


def test_luma_is_that_of_bt601() -> None:
    colours = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]).T.reshape(1, 3, 1, 5)
    expected = torch.tensor([16, 235, 81.481, 144.553, 40.966], dtype=torch.float64)
    torch.testing.assert_close(luma(colours).flatten(), expected, atol=1e-3, rtol=0)
    assert luma(colours, rounded=True).flatten().tolist() == [16, 235, 81, 145, 41]


def test_gray_is_its_own_luma() -> None:
    gray = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    assert torch.equal(luma(gray), gray.double())
    assert float(psnr(gray + 2, gray, Protocol("y", 1))) == pytest.approx(20 * math.log10(255 / 2))
    as_rgb = float(psnr((gray + 2).expand(-1, 3, -1, -1), gray.expand(-1, 3, -1, -1), Protocol("y", 1)))
    assert as_rgb - 20 * math.log10(255 / 2) == pytest.approx(20 * math.log10(255 / 219)), "the trap of 1.3 dB"


def test_the_border_does_not_count() -> None:
    true = torch.full((1, 3, 20, 20), 100, dtype=torch.uint8)
    made = true.clone()
    made[..., :4, :] = made[..., -4:, :] = 0
    made[..., :4] = made[..., -4:] = 0
    made[..., 10, 10] = 110
    error = (10 * 219 / 255) ** 2 / 12**2
    assert float(psnr(made, true, Protocol("y", 4))) == pytest.approx(10 * math.log10(255**2 / error), abs=1e-3)
    assert float(psnr(made, true, Protocol("rgb", 4))) == pytest.approx(10 * math.log10(255**2 / (100 / 12**2)))


def test_rounding_the_luma_is_a_choice() -> None:
    a, b = noise(32, 32), noise(32, 32, seed=1)
    exact, rounded = (float(psnr(a, b, Protocol("y", 0, r))) for r in (False, True))
    levels = [luma(x).add(0.5).floor() for x in (a, b)]
    assert rounded == pytest.approx(10 * math.log10(255**2 / float((levels[0] - levels[1]).square().mean())))
    assert 0 < abs(exact - rounded) < 0.05


@pytest.mark.parametrize("metric", [psnr, ssim, ms_ssim])
@pytest.mark.parametrize("protocol", [Protocol(), RGB, Protocol("y", 3, True)], ids=str)
def test_identity_and_symmetry(metric: Callable[[Tensor, Tensor, Protocol], Tensor], protocol: Protocol) -> None:
    a, b = waves(170, 171), noise(170, 171)
    assert float(metric(a, a, protocol)) == (math.inf if metric is psnr else pytest.approx(1, abs=1e-12))
    assert float(metric(a, b, protocol)) == pytest.approx(float(metric(b, a, protocol)), rel=1e-12)
    assert float(metric(a, b, protocol)) < float(metric(a, a, protocol))


def test_each_picture_of_a_batch_has_its_own_figure() -> None:
    a, b = torch.cat((waves(40, 40), noise(40, 40))), torch.cat((noise(40, 40, seed=2), noise(40, 40, seed=3)))
    for metric in (psnr, ssim):
        both = metric(a, b, Protocol())
        assert both.tolist() == pytest.approx([float(metric(a[i : i + 1], b[i : i + 1], Protocol())) for i in (0, 1)])


def test_psnr_of_a_known_step() -> None:
    a = torch.full((1, 3, 9, 9), 10, dtype=torch.uint8)
    assert float(psnr(a + 10, a, RGB)) == pytest.approx(20 * math.log10(25.5))


def test_ssim_as_the_naive_loop_has_it() -> None:
    a, b = waves(24, 27), waves(24, 27) // 2 + noise(24, 27) // 4
    ours = float(ssim(a, b, Protocol("y", 2)))
    first, second = (luma(x)[0, 0, 2:-2, 2:-2].numpy() for x in (a, b))
    assert ours == pytest.approx(naive_ssim(first, second), abs=1e-10)
    channels = [naive_ssim(a[0, c].double().numpy(), b[0, c].double().numpy()) for c in range(3)]
    assert float(ssim(a, b, RGB)) == pytest.approx(np.mean(channels), abs=1e-10), "channels count alike"


def test_ms_ssim_as_the_naive_scales_have_it() -> None:
    """Wang et al. 2003: contrast and structure at the fine scales, everything at the coarsest; odd sizes repeat their edge."""
    a, b = waves(165, 162), (waves(165, 162) // 2 + noise(165, 162) // 4)
    first, second = luma(a)[0, 0].numpy(), luma(b)[0, 0].numpy()
    at = np.arange(11) - 5
    row = np.exp(-(at**2) / 4.5)
    row /= row.sum()

    def blurred(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        down = np.stack([np.convolve(column, row, "valid") for column in x.T], 1)
        return np.stack([np.convolve(line, row, "valid") for line in down])

    product = 1.0
    for exponent in (0.0448, 0.2856, 0.3001, 0.2363, 0.1333):
        mp, mq = blurred(first), blurred(second)
        vp, vq = blurred(first**2) - mp**2, blurred(second**2) - mq**2
        contrast = (2 * (blurred(first * second) - mp * mq) + 58.5225) / (vp + vq + 58.5225)
        bright = (2 * mp * mq + 6.5025) / (mp**2 + mq**2 + 6.5025)
        product *= (contrast * bright if exponent == 0.1333 else contrast).mean() ** exponent
        halves = []
        for x in (first, second):
            padded = np.pad(x, [(0, n % 2) for n in x.shape], mode="edge")
            halves.append((padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]) / 4)
        first, second = halves
    assert float(ms_ssim(a, b, Protocol())) == pytest.approx(product, abs=1e-9)


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="two kinds"):
        psnr(noise(8, 8), noise(8, 9), RGB)
    with pytest.raises(ValueError, match="two kinds"):
        psnr(noise(8, 8, 1), noise(8, 8, 3), Protocol())
    with pytest.raises(ValueError, match="leaves nothing"):
        psnr(noise(8, 8), noise(8, 8), Protocol("y", 4))
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(noise(10, 30), noise(10, 30), RGB)
    with pytest.raises(ValueError, match="161 pixels"):
        ms_ssim(noise(160, 200), noise(160, 200), RGB)
    assert SMALLEST_MS_SSIM == 161
    ms_ssim(noise(161, 161), noise(161, 161), RGB)
    with pytest.raises(ValueError, match="expected"):
        psnr(noise(8, 8, 2), noise(8, 8, 2), RGB)
    for wrong in ({"channel": "luma"}, {"border": -1}):
        with pytest.raises(ValueError):
            Protocol(**wrong)


def test_the_protocol_says_what_it_is() -> None:
    assert str(Protocol("y", 4)) == "luma (BT.601, 16..235, not rounded; gray is its own), 4 pixels of border left out"
    assert "rounded to 8 bits" in str(Protocol("y", 4, True))
    assert str(RGB) == "RGB, all channels together, no pixels of border left out"


def test_consistency_is_infinite_for_what_shrinks_to_its_source() -> None:
    hr = waves(48, 40)
    lr = shrunk(hr, 4).to(torch.uint8)
    assert lr.shape == (1, 3, 12, 10)
    assert float(consistency(hr, lr, 4, Protocol())) == math.inf
    assert not consistency_map(hr, lr, 4).any()
    wrong = hr.clone()
    wrong[..., :4, :4] = 255 - wrong[..., :4, :4]
    assert float(consistency(wrong, lr, 4, Protocol("y", 4))) < 60, "the border counts here"
    shown = consistency_map(wrong, lr, 4)
    assert shown.abs().argmax() == 0
    assert not shown[..., 4:, 4:].any()


def test_heat_is_white_where_nothing_differs_and_red_where_it_is_too_bright() -> None:
    colours = heat(torch.tensor([0.0, 16.0, -16.0, 99.0]).view(1, 1, 1, 4))
    assert colours[0, :, 0].T.tolist() == [[255, 255, 255], [255, 0, 0], [0, 0, 255], [255, 0, 0]]


def read(path: Path) -> Tensor:
    pixels = np.atleast_3d(np.asarray(Image.open(path)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


@pytest.mark.skipif(not DATA.is_dir(), reason="the test images are not here")
@pytest.mark.parametrize(
    ("name", "scale", "decibels", "within", "similarity"),
    [
        ("Set5", 2, 33.66, 0.03, None),
        ("Set5", 3, 30.39, 0.03, None),
        ("Set5", 4, 28.42, 0.02, 0.8104),
        ("Set14", 4, 26.00, 0.02, None),
    ],
)
def test_bicubic_as_published(name: str, scale: int, decibels: float, within: float, similarity: float | None) -> None:
    figures = []
    for path in sorted((DATA / name / f"x{scale}" / "HR").iterdir()):
        hr, lr = read(path), read(DATA / name / f"x{scale}" / "LR" / path.name)
        assert torch.equal(shrunk(hr, scale), lr.double()), f"{path.name}: LR as MATLAB made it"
        grown = imresize(lr.double(), scale, 1, rounded=True)
        protocol = Protocol("y", scale)
        figures.append((float(psnr(grown, hr, protocol)), float(ssim(grown, hr, protocol)) if similarity else 0.0))
    means = np.mean(figures, 0)
    assert means[0] == pytest.approx(decibels, abs=within)
    assert similarity is None or means[1] == pytest.approx(similarity, abs=0.001)
