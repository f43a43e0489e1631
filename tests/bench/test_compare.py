"""`vsr compare`: what is read, measured and chosen, and what is refused."""

from __future__ import annotations

import base64
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.films import Film, make
from vsr.bench.album import MAX_BYTES
from vsr.bench.compare import Wish, compare, spread
from vsr.cli.compare import DEFAULT_MB
from vsr.cli.main import cli
from vsr.errors import ConfigError, DecodeError, MediaError, UsageError, VsrError
from vsr.frames import FrameFormat
from vsr.media.encoded import png_pixels
from vsr.resample import resize


def image(path: Path, *, width: int = 32, height: int = 24, seed: int = 0, offset: int = 0, contrast: int = 160) -> Path:
    pixels = np.random.default_rng(seed).integers(40, 40 + contrast, (height, width, 3)) + offset
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def made(tmp_path: Path, *paths: Path, **more: Any) -> dict[str, Any]:
    target = tmp_path / "report.html"
    compare(Wish([str(path) for path in paths], target, overwrite=True, **more), "vsr compare ...")
    return page_data(target)


def page_data(target: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', target.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def pixels_of(data: dict[str, Any], item: int, frame: int = 0) -> np.ndarray[Any, Any]:
    return png_pixels(base64.b64decode(data["items"][item]["pictures"][frame]["src"].split(",")[1]))


def dimmed(at: int) -> Film:
    """A film whose frame `at` is darker than it should be."""

    def draw(number: int, format: FrameFormat) -> list[np.ndarray[Any, Any]]:
        planes = [np.full(shape, 128, format.layout.dtype) for shape in format.plane_shapes]
        planes[0][:] = 60 + 8 * number - 20 * (number == at)
        return planes

    return Film(f"dimmed {at}", suffix=".mkv", codec="ffv1", options={}, draw=draw)


def test_images_are_shown_as_they_are_and_measured_against_the_first(tmp_path: Path) -> None:
    first, second = image(tmp_path / "a.png"), image(tmp_path / "b.png", offset=4)
    data = made(tmp_path, first, second)
    assert [item["label"] for item in data["items"]] == ["a.png", "b.png"]
    assert (pixels_of(data, 1) == np.asarray(Image.open(second))).all()
    assert data["items"][0]["metrics"] == {}
    assert data["items"][1]["metrics"]["psnr"] == [pytest.approx(20 * math.log10(255 / 4), abs=1e-3)]
    assert 0.9 < data["items"][1]["metrics"]["ssim"][0] < 1
    assert not data["film"]
    assert data["commands"] == ["vsr compare ..."]


def test_only_what_is_asked_for_is_measured(tmp_path: Path) -> None:
    first, second = image(tmp_path / "a.png"), image(tmp_path / "b.png", offset=4)
    assert made(tmp_path, first, second, metrics=("psnr",))["items"][1]["metrics"].keys() == {"psnr"}
    nothing = made(tmp_path, first, second, metrics=())
    assert nothing["items"][1]["metrics"] == {}
    assert not any("SSIM" in note or "PSNR" in note for note in nothing["notes"])


def test_ssim_against_a_window_that_is_moved_pixel_by_pixel(tmp_path: Path) -> None:
    first, second = image(tmp_path / "a.png", width=16, height=13), image(tmp_path / "b.png", width=16, height=13, seed=1)
    red, green, blue = (weight / 255 for weight in (65.481, 128.553, 24.966))
    x, y = ((np.asarray(Image.open(path)).astype(np.float64) * (red, green, blue)).sum(2) + 16 for path in (first, second))
    at = np.arange(11) - 5
    window = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for top, left in np.ndindex(3, 6):
        a, b = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
        ma, mb = (window * a).sum(), (window * b).sum()
        va, vb, both = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum(), (window * (a - ma) * (b - mb)).sum()
        c1, c2 = 2.55**2, 7.65**2
        values.append((2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    found = made(tmp_path, first, second)["items"][1]["metrics"]["ssim"]
    assert found == [pytest.approx(np.mean(values), rel=1e-5)]


def test_identical_images_are_called_so(tmp_path: Path) -> None:
    data = made(tmp_path, image(tmp_path / "a.png"), image(tmp_path / "b.png"))
    assert data["items"][1]["metrics"] == {"psnr": ["inf"], "ssim": [pytest.approx(1)]}


def test_a_smaller_item_is_enlarged_as_it_is_said(tmp_path: Path) -> None:
    large, small = image(tmp_path / "large.png"), image(tmp_path / "small.png", width=8, height=6)
    bicubic, nearest = made(tmp_path, large, small), made(tmp_path, large, small, fit="nearest")
    import torch

    original = torch.from_numpy(np.asarray(Image.open(small)).copy()).permute(2, 0, 1)[None].float()
    expected = resize(original, 24, 32).add(0.5).clamp_(0, 255).to(torch.uint8)[0].permute(1, 2, 0).numpy()
    assert (pixels_of(bicubic, 1) == expected).all()
    assert pixels_of(nearest, 1).shape == (6, 8, 3), "the page enlarges it"
    assert "bicubic" in bicubic["items"][1]["facts"]["Size"]
    assert "nearest" in nearest["items"][1]["facts"]["Size"]
    assert any("Not measured" in note and "small.png" in note for note in bicubic["notes"])
    assert bicubic["items"][1]["metrics"] == {}


def test_a_film_shows_frames_at_equal_distances_and_the_worst(tmp_path: Path) -> None:
    clean, bad = make(dimmed(-1), tmp_path), make(dimmed(7), tmp_path)
    data = made(tmp_path, clean, bad, frames=3)
    assert [frame["number"] for frame in data["frames"]] == [0, 6, 7, 11]
    assert data["frames"][2]["seconds"] == pytest.approx(7 / 25)
    assert data["items"][1]["worst"] == {"psnr": 7, "ssim": 7}
    values = data["items"][1]["metrics"]["psnr"]
    assert [value == "inf" for value in values] == [number != 7 for number in range(12)]
    assert data["items"][1]["measured"] == list(range(12))
    place = [frame["number"] for frame in data["frames"]].index(7)
    assert pixels_of(data, 1, place).mean() < pixels_of(data, 0, place).mean() - 10
    assert data["film"]


def test_a_part_of_a_film(tmp_path: Path) -> None:
    clean, bad = make(dimmed(-1), tmp_path), make(dimmed(7), tmp_path)
    data = made(tmp_path, clean, bad, frames=2, start=0.2, duration=0.16)
    assert data["frames"][0]["seconds"] == pytest.approx(5 / 25)
    assert data["items"][1]["worst"]["psnr"] == 2, "counted from the part's beginning"
    with pytest.raises(MediaError, match="no frame there"):
        made(tmp_path, clean, bad, start=100.0)


def test_numbered_images_are_a_film(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        image(tmp_path / f"f{number}.png", seed=number)
    pattern = tmp_path / "f%d.png"
    data = made(tmp_path, pattern, pattern, labels=("one", "two"))
    assert len(data["frames"]) == 3
    assert (pixels_of(data, 0, 2) == np.asarray(Image.open(tmp_path / "f3.png"))).all()


@pytest.mark.parametrize(("count", "wanted", "expected"), [(10, 3, [0, 4, 9]), (3, 12, [0, 1, 2]), (1, 5, [0]), (9, 1, [4])])
def test_spread(count: int, wanted: int, expected: list[int]) -> None:
    assert spread(count, wanted) == expected


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    picture, wide = image(tmp_path / "a.png"), image(tmp_path / "wide.png", width=64)
    film, short = make(dimmed(-1), tmp_path), make(Film("short", size=(64, 48), pts=(0, 512, 1024)), tmp_path)
    cases: list[tuple[type[VsrError], str, tuple[Path, ...], dict[str, Any]]] = [
        (ConfigError, r"wide\.png is 64x24 and|64x24: they have not one shape", (picture, wide), {}),
        (ConfigError, "is an image, and .* is a film", (picture, film), {}),
        (MediaError, r"short\.mp4: ends after 3 frames where .*dimmed", (film, short), {}),
        (DecodeError, "no such file", (picture, tmp_path / "missing.png"), {}),
        (MediaError, "is a folder", (picture, tmp_path), {}),
        (ConfigError, "--label is given 1 times for 2", (picture, picture), {"labels": ("a",)}),
        (ConfigError, "one name", (picture, picture), {"labels": ("a", "a")}),
    ]
    before = sorted(tmp_path.iterdir())
    for kind, text, paths, more in cases:
        with pytest.raises(kind, match=text):
            made(tmp_path, *paths, **more)
    assert sorted(tmp_path.iterdir()) == before, "nothing is left behind"


def test_one_name_in_several_folders_is_told_apart(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
    data = made(tmp_path, image(tmp_path / "x/a.png"), image(tmp_path / "y/a.png"))
    assert [item["label"] for item in data["items"]] == ["x/a.png", "y/a.png"]


def test_a_page_too_small_for_its_pictures(tmp_path: Path) -> None:
    paths = [image(tmp_path / f"{name}.png", width=300, height=400, seed=seed, contrast=32) for seed, name in enumerate("abc")]
    data = made(tmp_path, *paths, max_bytes=1_000_000)
    assert data["items"][0]["pictures"][0]["src"].startswith("data:image/jpeg;")
    assert (tmp_path / "report.html").stat().st_size <= 1_000_000
    assert any("JPEG" in note for note in data["notes"])
    with pytest.raises(ConfigError, match="--max-mb"):
        made(tmp_path, *paths, max_bytes=300_000)


def test_what_is_not_shown_as_players_do_is_said(tmp_path: Path) -> None:
    deep = make(Film("deep", suffix=".mkv", codec="ffv1", pix_fmt="yuv420p10le", options={}, color=(1, 9, 16, 9)), tmp_path)
    notes = " ".join(made(tmp_path, deep, deep)["notes"])
    assert "HDR" in notes
    assert "10 bits" in notes


def test_the_command(tmp_path: Path) -> None:
    first, second = image(tmp_path / "a.png"), image(tmp_path / "b.png", offset=4)
    target, report = tmp_path / "page.html", tmp_path / "page.json"
    arguments = ["compare", str(first), str(second), "-o", str(target)]
    done = CliRunner().invoke(cli, [*arguments, "--json", str(report), "--title", "mine"])
    assert done.exit_code == 0, done.output
    assert f"{target}: 2 items" in done.output
    facts = json.loads(report.read_text())
    assert (facts["command"], facts["status"], facts["bytes"]) == ("compare", "ok", target.stat().st_size)
    assert facts["items"]["b.png"]["mean"]["psnr"] == pytest.approx(36.09, abs=0.01)
    assert page_data(target)["title"] == "mine"
    again = CliRunner().invoke(cli, arguments)
    assert isinstance(again.exception, ConfigError)
    assert "--overwrite" in str(again.exception)
    assert CliRunner().invoke(cli, [*arguments, "--overwrite"]).exit_code == 0
    with pytest.raises(ConfigError, match="the input itself"):
        CliRunner().invoke(cli, ["compare", str(first), str(second), "-o", str(first)], catch_exceptions=False)
    for wrong in (["compare", str(first), "-o", str(target)], ["compare", str(first), str(second), "-o", "-"]):
        assert isinstance(CliRunner().invoke(cli, wrong).exception, UsageError)
    assert DEFAULT_MB * 1_000_000 == MAX_BYTES
