"""`vsr bench consistency`: what an enlarged image says of its input, in the input's own 8 or 16 bits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from vsr import UpscaleConfig, upscale
from vsr.bench.consistency import measure
from vsr.cli.main import cli
from vsr.errors import ConfigError, DecodeError
from vsr.media.imagemeta import StillImage, batch_of
from vsr.media.images import write_image
from vsr.metrics import residual
from vsr.resample import back_project


def save(path: Path, samples: npt.NDArray[np.uint16] | npt.NDArray[np.uint8]) -> Path:
    write_image(path, StillImage(batch_of(np.atleast_3d(samples), alpha=False), "PNG"))
    return path


def sky(height: int = 24, width: int = 32, bits: int = 16) -> npt.NDArray[np.uint16]:
    """Faint, with one bright star, away from both ends."""
    y, x = np.mgrid[:height, :width]
    levels = 6000 + 200 * np.sin(x / 3) + 30_000 * np.exp(-((x - 11) ** 2 + (y - 9) ** 2) / 3)
    return np.asarray((levels / 2 ** (16 - bits)).round(), dtype=np.uint16)


def test_what_was_repeated_shrinks_to_what_it_was(tmp_path: Path) -> None:
    flat = np.full((12, 16), 40_001, np.uint16)
    found, shown = measure(save(tmp_path / "a.png", flat), save(tmp_path / "b.png", np.full((48, 64), 40_001, np.uint16)))
    assert found.rms < 1e-6 and found.light == pytest.approx(1, abs=1e-9) and found.peak == 65535
    assert shown.shape == (1, 1, 12, 16)


def test_one_level_of_sixteen_bits_counts(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", sky())
    grown = np.repeat(np.repeat(sky(), 4, 0), 4, 1)
    plain, _ = measure(source, save(tmp_path / "b.png", grown))
    brighter, _ = measure(source, save(tmp_path / "c.png", grown + np.uint16(1)))
    assert brighter.bias - plain.bias == pytest.approx(1, abs=1e-6)
    assert brighter.light is not None and plain.light is not None
    assert brighter.light - plain.light == pytest.approx(1 / sky().mean(), rel=1e-6)


def test_it_measures_what_back_projection_mends(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", sky())
    left = []
    for steps in (0, 1, 4):
        made = tmp_path / f"{steps}.png"
        upscale(UpscaleConfig(str(source), str(made), model="animevideo", faithful=steps, threads=1))
        left.append(measure(source, made)[0].rms)
    assert left[0] > 2 * left[1] > 2 * left[2]


def test_a_residual_is_neither_rounded_nor_clamped() -> None:
    torch.manual_seed(0)
    source, made = torch.rand(1, 1, 6, 8) * 70_000 - 500, torch.rand(1, 1, 24, 32) * 70_000 - 500
    assert residual(made, source).dtype == torch.float64
    mended = back_project(made.double(), source.double(), 60)
    assert float(residual(mended, source).abs().max()) < 1e-3 * float(residual(made, source).abs().max())


def test_what_was_cut_off_is_counted(tmp_path: Path) -> None:
    grown = np.repeat(np.repeat(sky(), 2, 0), 2, 1)
    grown[:4, :16] = 65535
    grown[-2:, :16] = 0
    found, _ = measure(save(tmp_path / "a.png", sky()), save(tmp_path / "b.png", grown))
    before, after = found.at_ends
    assert before == 0 and after == pytest.approx(96 / grown.size)


def test_eight_bits_colour_and_depths_that_differ(tmp_path: Path) -> None:
    colour = np.stack([sky(bits=8), sky(bits=8), sky(bits=8)], -1).astype(np.uint8)
    source = save(tmp_path / "a.png", colour)
    same, _ = measure(source, source)
    assert same.psnr == float("inf") and same.peak == 255 and same.rms == 0
    deeper, _ = measure(source, save(tmp_path / "b.png", colour.astype(np.uint16) * 257))
    assert deeper.rms < 1e-9, "257 levels of 16 bits are one of 8"
    redder = colour.copy()
    redder[..., 0] += 3
    found, shown = measure(source, save(tmp_path / "c.png", redder))
    assert found.worst == 3
    assert shown.allclose(torch.ones(()).double()), "the map has the mean of the channels"


def test_the_command_says_it_and_draws_it(tmp_path: Path) -> None:
    source, star = save(tmp_path / "a.png", sky()), np.repeat(np.repeat(sky(), 4, 0), 4, 1)
    star[:8, :8] += 4000
    star[-8:, -8:] -= 4000
    made, target, drawn = save(tmp_path / "b.png", star), tmp_path / "facts.json", tmp_path / "map.png"
    arguments = ["bench", "consistency", str(source), str(made), "-o", str(drawn), "--full", "2000", "--json", str(target)]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    facts = json.loads(target.read_text())
    assert facts["command"] == "bench consistency" and facts["peak"] == 65535 and facts["full"] == 2000
    assert f"{facts['psnr']:.2f} dB" in done.output
    with Image.open(drawn) as picture:
        assert picture.size == (32, 24)
        assert picture.getpixel((0, 0)) == (255, 0, 0) and picture.getpixel((31, 23)) == (0, 0, 255)
        assert np.asarray(picture)[14:18, 20:28].min() > 230, "nearly white where nothing was changed"
    assert CliRunner().invoke(cli, arguments, standalone_mode=False).exception is not None, "a map is not replaced unasked"


def test_what_is_no_enlargement_is_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", sky())
    for wrong, why in (
        (sky(12, 16), "no enlargement"),
        (sky(48, 90), "has not the shape"),
        (np.stack([sky(48, 64)] * 3, -1), "is rgb and .* gray"),
    ):
        with pytest.raises(ConfigError, match=why):
            measure(source, save(tmp_path / "wrong.png", wrong))
    with pytest.raises(DecodeError, match="no such file"):
        measure(source, tmp_path / "none.png")
