"""The folders of a study, what is missing in them, and the pictures that raters see."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bench.studies import IMAGES, METHODS, write_study
from vsr.bench.study import open_study, whole_picture, worst_picture
from vsr.errors import ConfigError, DecodeError


def pixels(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_study_is_found(tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path / "s"))
    assert study.original == "HR"
    assert study.images == IMAGES
    assert sorted(study.methods) == sorted(METHODS)
    assert len(study.pictures) == len(IMAGES) * len(METHODS)
    assert set(study.small) == set(IMAGES)
    assert len(set(study.digests.values())) == len(study.pictures)


def test_endings_and_gt_and_hidden_folders(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s")
    (folder / "HR").rename(folder / "gt")
    (folder / ".cache").mkdir()
    (folder / "ratings.jsonl").touch()
    Image.open(folder / "srgan/baby.png").save(folder / "srgan/baby.webp", lossless=True)
    (folder / "srgan/baby.png").unlink()
    assert open_study(folder).original == "gt"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: shutil.rmtree(f / "HR"), "no folder HR or GT"),
        (lambda f: shutil.copytree(f / "HR", f / "GT"), "both HR and GT"),
        (lambda f: (f / "bicubic").rename(f / ".b") and (f / "srgan").rename(f / ".s"), "no method"),
        (lambda f: (f / "srgan/bird.png").rename(f / "bird"), "srgan lacks bird; "),
        (lambda f: (f / "HR/bird.png").rename(f / "bird"), "bicubic has bird, which HR has not; srgan has bird"),
        (lambda f: (f / "LR/comic.png").rename(f / "comic"), "LR: lacks comic"),
        (lambda f: shutil.copy(f / "LR/comic.png", f / "srgan/comic.png"), "is 6x4, the original 24x16"),
        (lambda f: shutil.copy(f / "HR/comic.png", f / "HR/comic.jpg"), "comic.jpg and comic.png"),
        (lambda f: (f / "HR/comic.png").rename(f / "HR/co\nmic.png"), "cannot be printed"),
        (lambda f: shutil.rmtree(f), "cannot be read as a folder"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, spoil: object, said: str) -> None:
    folder = write_study(tmp_path / "s")
    assert callable(spoil)
    spoil(folder)
    with pytest.raises(ConfigError, match=said):
        open_study(folder)


def test_a_damaged_picture_is_named_before_anybody_rates(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s")
    data = (folder / "srgan/comic.png").read_bytes()
    (folder / "srgan/comic.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DecodeError, match=r"srgan.comic\.png"):
        open_study(folder)


def test_raters_see_the_file_s_own_pixels_and_nothing_beside_them(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s")
    path = folder / "srgan/baby.png"
    before = pixels(path.read_bytes())
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", "srgan")
    Image.fromarray(before).save(path, pnginfo=info)
    shown = whole_picture(open_study(folder), "baby", "srgan")
    assert b"srgan" in path.read_bytes()
    assert b"srgan" not in shown
    assert np.array_equal(pixels(shown), before)


def test_the_worst_is_lr_with_its_pixels_repeated(tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path / "s"))
    small = pixels((study.folder / "LR/bird.png").read_bytes())
    assert np.array_equal(pixels(worst_picture(study, "bird")), small.repeat(4, 0).repeat(4, 1))
    assert "LR" in study.worst


@pytest.mark.parametrize("size", [(24, 16), (23, 18)])
def test_without_lr_the_worst_is_the_original_shrunk_and_repeated(tmp_path: Path, size: tuple[int, int]) -> None:
    study = open_study(write_study(tmp_path / "s", small=False, size=size))
    found = pixels(worst_picture(study, "bird"))
    assert found.shape == (size[1], size[0], 3)
    original = pixels((study.folder / "HR/bird.png").read_bytes())
    assert abs(float(found.mean()) - float(original.mean())) < 12
    if size == (24, 16):  # blocks of one colour, 4x4
        assert np.array_equal(found, found[::4, ::4].repeat(4, 0).repeat(4, 1))
    assert "bicubic" in study.worst


def test_a_picture_that_changes_on_the_way_is_not_shown(tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path / "s"))
    shutil.copy(study.folder / "HR/baby.png", study.folder / "srgan/baby.png")
    with pytest.raises(ConfigError, match="has changed"):
        whole_picture(study, "baby", "srgan")
