"""Finding test sets in the ways that people lay them out, and saying what is wrong with those that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.films import Film, make
from vsr.bench.datasets import find_dataset
from vsr.bench.films import parse_degradation
from vsr.bench.origin import origin_of
from vsr.bench.pairs import Pair, batch_of, tensor_of
from vsr.errors import ConfigError, DecodeError
from vsr.metrics import shrunk

SHARED = Path(__file__).parents[3] / "shared/data"


def picture(path: Path, width: int, height: int, mode: str = "RGB", seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    y = np.arange(height)[:, None] * 5 + np.arange(width)[None] * 3 + seed * 17
    levels = (y[..., None] + np.array([0, 40, 80]) if len(shape) == 3 else y) % 256
    Image.fromarray(levels.astype(np.uint8)).save(path)


def pairs_of(dataset: Path | str, scale: int = 2) -> list[Pair]:
    return [pair for group in find_dataset(str(dataset), scale).groups for pair in group.pairs()]


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("x2/HR/{}.png", "x2/LR/{}.png"),
        ("HR/{}.png", "LR/{}.png"),
        ("hr/X2/{}.png", "lr/X2/{}.png"),
        ("set_valid_HR/{}.png", "set_valid_LR_bicubic/X2/{}x2.png"),
        ("image_SRF_2/{}_SRF_2_HR.png", "image_SRF_2/{}_SRF_2_LR.png"),
        ("GTmod12/{}.png", "LRbicx2/{}.png"),
        ("HR/{}.png", "LR/{}.bmp"),
    ],
)
def test_layouts(tmp_path: Path, hr: str, lr: str) -> None:
    for seed, name in enumerate(("0801", "img_2")):
        picture(tmp_path / "set" / hr.format(name), 24, 20, seed=seed)
        picture(tmp_path / "set" / lr.format(name), 12, 10, seed=seed)
    dataset = find_dataset(str(tmp_path / "set"), 2)
    assert dataset.stored
    assert [pair.name for pair in dataset.groups[0].pairs()] == ["0801", "img_2"]
    assert not dataset.groups[0].clip


def test_a_folder_of_pictures_alone_is_shrunk_as_matlab_does(tmp_path: Path) -> None:
    picture(tmp_path / "photos/a.png", 25, 23)
    picture(tmp_path / "photos/b.png", 24, 22, mode="L")
    first, second = pairs_of(tmp_path / "photos")
    assert (first.hr.format.width, first.hr.format.height) == (24, 22), "cropped to a multiple"
    assert (first.lr.format.width, first.lr.format.height) == (12, 11)
    assert (tensor_of(first.lr) == shrunk(tensor_of(first.hr), 2)).all()
    assert second.lr.format.layout.kind == "gray"


def test_names_are_looked_up_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "Set5/x2/HR/a.png", 8, 8)
    picture(tmp_path / "Set5/x2/LR/a.png", 4, 4)
    monkeypatch.setenv("VSR_DATA", str(tmp_path))
    assert find_dataset("set5", 2).name == "Set5"
    with pytest.raises(ConfigError, match=r"Urban100.*holds Set5.*not downloaded"):
        find_dataset("Urban100", 2)
    with pytest.raises(ConfigError, match="there is x2: choose with --scale"):
        find_dataset("Set5", 4)
    monkeypatch.delenv("VSR_DATA")
    with pytest.raises(ConfigError, match="VSR_DATA"):
        find_dataset("Set5", 2)


@pytest.mark.parametrize("layout", ["set/{clip}/{half}/{name}.png", "set/{folder}/{clip}/{name}.png"])
def test_clips(tmp_path: Path, layout: str) -> None:
    for clip in ("calendar", "city"):
        for number in range(3):
            for half, folder, side in (("HR", "GT", 16), ("LR", "BIx2", 8)):
                name = layout.format(clip=clip, half=half, folder=folder, name=f"{number:08d}")
                picture(tmp_path / name, side, side, seed=number)
    dataset = find_dataset(str(tmp_path / "set"), 2, frames=2)
    assert [(group.name, group.clip, group.count) for group in dataset.groups] == [("calendar", True, 2), ("city", True, 2)]
    assert [pair.hr.pts for pair in dataset.groups[0].pairs()] == [(0,), (1,)]


def test_numbers_of_other_sizes_are_no_clip(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"set/{number:04d}.png", 16 + 2 * number, 16)
    assert not find_dataset(str(tmp_path / "set"), 2).groups[0].clip


def test_what_is_no_pair_is_refused(tmp_path: Path) -> None:
    def laid(name: str, hr: tuple[int, int, str], lr: tuple[int, int, str], lr_name: str = "a") -> Path:
        picture(tmp_path / name / "HR/a.png", *hr)
        picture(tmp_path / name / f"LR/{lr_name}.png", *lr)
        return tmp_path / name

    with pytest.raises(DecodeError, match="give --scale 3"):
        pairs_of(laid("three", (24, 24, "RGB"), (8, 8, "RGB")))
    with pytest.raises(DecodeError, match="no pair"):
        pairs_of(laid("odd", (24, 24, "RGB"), (12, 9, "RGB")))
    with pytest.raises(DecodeError, match="gray"):
        pairs_of(laid("mixed", (24, 24, "L"), (12, 12, "RGB")))
    with pytest.raises(ConfigError, match="equal names"):
        pairs_of(laid("names", (24, 24, "RGB"), (12, 12, "RGB"), "b"))
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(tmp_path / "alpha.png")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alpha.png").rename(tmp_path / "alone/alpha.png")
    with pytest.raises(DecodeError, match="alpha"):
        pairs_of(tmp_path / "alone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="looked for"):
        pairs_of(tmp_path / "empty")
    with pytest.raises(ConfigError, match="for films"):
        find_dataset(str(tmp_path / "alone"), 2, "h264:20")


def test_hr_that_was_not_cropped_is(tmp_path: Path) -> None:
    picture(tmp_path / "set/HR/a.png", 25, 21)
    picture(tmp_path / "set/LR/a.png", 12, 10)
    (pair,) = pairs_of(tmp_path / "set")
    assert (pair.hr.format.width, pair.hr.format.height) == (24, 20)


def test_the_origin_of_lr_is_found_out(tmp_path: Path) -> None:
    """Bicubic is recognised value for value; every fourth pixel is found to lie elsewhere than models put it."""
    y, x = np.mgrid[:96, :96]
    waves = 128 + 60 * np.sin(x * 0.11)[..., None] * np.cos(y * 0.13)[..., None] + np.array([0, 10, 20])
    hr = np.clip(waves + 20 * (x[..., None] > 40), 0, 255).astype(np.uint8)
    frame = batch_of(torch.from_numpy(hr).permute(2, 0, 1)[None])
    lows = {"exact": shrunk(tensor_of(frame), 4)[0].permute(1, 2, 0).numpy().astype(np.uint8), "corner": hr[::4, ::4]}
    for name, low in lows.items():
        for half, pixels in (("HR", hr), ("LR", low)):
            (tmp_path / name / half).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / name / half / "a.png")
    line, notes = origin_of(find_dataset(str(tmp_path / "exact"), 4))
    assert "equal to MATLAB's bicubic of HR in all 1,728 values" in line
    assert not notes
    line, notes = origin_of(find_dataset(str(tmp_path / "corner"), 4))
    assert "differ from MATLAB's bicubic" in line
    assert "1.5 pixels from where models put it" in notes[0]


def test_a_film_is_shrunk_and_degraded(tmp_path: Path) -> None:
    film = make(Film("film", size=(66, 50)), tmp_path)
    clean = find_dataset(str(film), 2, frames=3)
    pairs = [pair for group in clean.groups for pair in group.pairs()]
    assert len(pairs) == 3
    assert pairs[0].lr.format.layout.kind == "rgb"
    assert (tensor_of(pairs[1].lr) == shrunk(tensor_of(pairs[1].hr), 2)).all()
    coded = find_dataset(str(film), 2, "h264:30", frames=3)
    damaged = [pair for group in coded.groups for pair in group.pairs()]
    assert [pair.lr.pts for pair in damaged] == [(0,), (1,), (2,)]
    assert damaged[0].lr.format.layout.kind == "yuv"
    assert (damaged[0].hr.format.width, damaged[0].lr.format.width) == (64, 32), "4:2:0 needs even sizes"
    assert "h264 at crf 30" in coded.origin


@pytest.mark.parametrize("text", ["h264", "h264:99", "mpeg:3", "h264:-1", ""])
def test_degradations_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--degrade"):
        parse_degradation(text)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the test images are not here")
@pytest.mark.parametrize(("name", "scale", "count"), [("Set5", 3, 5), ("Set14", 4, 14), ("Vid4", 4, 15)])
def test_the_real_sets(name: str, scale: int, count: int) -> None:
    dataset = find_dataset(str(SHARED / name), scale)
    assert sum(group.count for group in dataset.groups) == count
    assert [group.clip for group in dataset.groups] == [name == "Vid4"]
    if name == "Vid4":
        line, notes = origin_of(dataset)
        assert "differ from MATLAB's bicubic" in line
        assert any("1.5 pixels" in note for note in notes)
