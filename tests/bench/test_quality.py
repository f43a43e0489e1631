"""`vsr bench quality`: figures of what the program itself would write, remembered by content, refused where they mean nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vsr import UpscaleConfig, upscale
from vsr.bench.pairs import batch_of, made_pair, read_truth, tensor_of
from vsr.bench.quality import QualityConfig, bench_quality
from vsr.bench.scores import METRICS, parse_metrics
from vsr.bench.strip import Detail, write_strip
from vsr.cli.main import cli
from vsr.errors import ConfigError, ModelError, UsageError
from vsr.metrics import Protocol, psnr

SHARED = Path(__file__).parents[3] / "shared/data"
ENGINE = UpscaleConfig("", threads=1, precision="fp32")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache" / "quality"


def save(path: Path, seed: int, width: int = 64, height: int = 48, *, gray: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:height, :width]
    levels = 128 + 80 * np.sin((x + 3 * seed) * 0.3) * np.cos(y * 0.2)
    pixels = levels if gray else np.stack([levels, levels * 0.5 + 40, 255 - levels], -1)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    save(tmp_path / "photos/one.png", 0)
    save(tmp_path / "photos/two.png", 5, 60, 40)
    save(tmp_path / "photos/gray.png", 9, gray=True)
    return tmp_path / "photos"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    for number in range(4):
        save(tmp_path / f"clip/{number:03d}.png", number)
    return tmp_path / "clip"


def config(dataset: Path, *models: str, **wishes: Any) -> QualityConfig:
    return replace(QualityConfig(str(dataset), models or ("bicubic",), 2, engine=ENGINE), **wishes)


def test_figures_are_those_of_the_files_that_upscale_writes(photos: Path, tmp_path: Path) -> None:
    """Every pixel by the product's own way: kept pictures equal `vsr upscale`'s, and PSNR is that of these files."""
    report = bench_quality(config(photos, keep=tmp_path / "kept", metrics=("psnr", "consistency")))
    figures = report.models["bicubic"].images
    assert set(figures) == {"one", "two", "gray"}
    for name in figures:
        with Image.open(photos / f"{name}.png") as image:
            hr = np.asarray(image)
        pair = made_pair(name, read_truth(photos / f"{name}.png"), 2)
        low = np.stack([plane[0] for plane in pair.lr.planes], -1)
        Image.fromarray(low[..., 0] if low.shape[-1] == 1 else low).save(tmp_path / "low.png")
        upscale(
            UpscaleConfig(
                str(tmp_path / "low.png"), str(tmp_path / "made.png"), 2, model="bicubic", precision="fp32", overwrite=True
            )
        )
        made = read_truth(tmp_path / "made.png")
        kept = read_truth(tmp_path / f"kept/bicubic/{name}.png")
        assert (tensor_of(made) == tensor_of(kept)).all()
        assert hr.shape[:2] == kept.planes[0].shape[1:]
        assert figures[name]["psnr_y"] == float(psnr(tensor_of(made), tensor_of(pair.hr), Protocol("y", 2)))
        assert batch_of(tensor_of(made)).format == made.format
        with Image.open(tmp_path / f"kept/bicubic.consistency/{name}.png") as shown:
            assert (shown.height, shown.width) == low.shape[:2]
    mean = report.models["bicubic"].mean
    assert mean["psnr_y"] == pytest.approx(np.mean([values["psnr_y"] for values in figures.values()]))


def test_what_was_measured_is_remembered_by_content(photos: Path, cache: Path) -> None:
    first = bench_quality(config(photos))
    assert first.models["bicubic"].cached == 0
    assert len(list(cache.iterdir())) == 3
    again = bench_quality(config(photos))
    assert again.models["bicubic"].cached == 3
    assert again.models["bicubic"].images == first.models["bicubic"].images
    more = bench_quality(config(photos, metrics=("psnr", "consistency")))
    assert more.models["bicubic"].cached == 0, "a figure that is not known needs the picture again"
    assert bench_quality(config(photos, metrics=("ssim", "consistency"))).models["bicubic"].cached == 3
    assert bench_quality(config(photos, border=5)).models["bicubic"].cached == 0, "another protocol"
    assert bench_quality(config(photos, cache=False)).models["bicubic"].cached == 0
    save(photos / "one.png", 77)
    assert bench_quality(config(photos)).models["bicubic"].cached == 2, "other pixels under the same name"
    for path in cache.iterdir():
        path.write_text("{ damaged")
    assert bench_quality(config(photos)).models["bicubic"].cached == 0


def test_a_clip_has_figures_of_motion_from_the_second_frame_on(clip: Path) -> None:
    report = bench_quality(config(clip, metrics=("psnr", "tpsnr", "warp")))
    found = report.models["bicubic"]
    assert list(found.images) == ["000", "001", "002", "003"]
    assert found.images["000"].keys() == {"psnr_y"}
    assert found.images["001"].keys() == {"psnr_y", "tpsnr_y", "warp"}
    assert found.mean["tpsnr_y"] == pytest.approx(np.mean([found.images[f"00{n}"]["tpsnr_y"] for n in (1, 2, 3)]))
    assert bench_quality(config(clip, metrics=("psnr", "tpsnr", "warp"))).models["bicubic"].cached == 4


def test_what_means_nothing_is_refused(photos: Path) -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"metrics": ("tpsnr",)}, "follow each other"),
        ({"metrics": ("ms-ssim",)}, "161 pixels"),
        ({"metrics": ("ssim",), "border": 18}, "11 pixels"),
        ({"scale": 1}, "nothing to enlarge"),
        ({"models": ("bicubic", "bicubic")}, "twice"),
    )
    for wishes, text in wrong:
        with pytest.raises(ConfigError, match=text):
            bench_quality(replace(config(photos), **wishes))
    with pytest.raises(ModelError):
        bench_quality(config(photos, "nosuch"))
    with pytest.raises(ConfigError, match="there are psnr, ssim"):
        parse_metrics("psnr,vibes")
    assert parse_metrics("PSNR, ssim,psnr") == ("psnr", "ssim")


def test_networks_at_another_scale_are_named(photos: Path) -> None:
    report = bench_quality(config(photos, "animevideo", metrics=("psnr",), scale=3))
    assert any("is a network for x4, resized to x3" in warning for warning in report.warnings)


def test_the_command(photos: Path, tmp_path: Path) -> None:
    target, picture = tmp_path / "quality.json", tmp_path / "strip.png"
    arguments = ["bench", "quality", "--dataset", str(photos), "--model", "bicubic", "--scale", "2", "--threads", "1", "-v"]
    detail = ["--crop", "4,6,32,20", "-o", str(picture), "--image", "two"]
    done = CliRunner().invoke(cli, [*arguments, *detail, "--json", str(target), "--metrics", "psnr,ssim,consistency"])
    assert done.exit_code == 0, done.output
    assert "luma (BT.601, 16..235, not rounded; gray is its own), 2 pixels of border left out" in done.output.splitlines()[0]
    facts = json.loads(target.read_text())
    assert facts.keys() >= {"version", "command", "status", "warnings", "protocol", "models"}
    assert facts["models"]["bicubic"]["mean"].keys() == {"psnr_y", "ssim_y", "consistency_y"}
    assert set(facts["models"]["bicubic"]["images"]) == {"one", "two", "gray"}
    shown = next(line for line in done.output.splitlines() if line.startswith("bicubic"))
    assert f"{facts['models']['bicubic']['mean']['psnr_y']:.2f}" in shown
    with Image.open(picture) as image:
        assert image.width > 3 * 192
    assert isinstance(CliRunner().invoke(cli, [*arguments, "--crop", "1,1,4,4"]).exception, UsageError)
    assert CliRunner().invoke(cli, [*arguments, "--crop", "1,1,4"]).exit_code == 2


def test_equal_pictures_are_null_in_json(tmp_path: Path) -> None:
    """Infinity is no JSON."""
    flat = np.full((40, 40, 3), 90, np.uint8)
    (tmp_path / "flat").mkdir()
    Image.fromarray(flat).save(tmp_path / "flat/a.png")
    arguments = ["bench", "quality", "--dataset", str(tmp_path / "flat"), "--model", "bicubic", "--scale", "2", "--threads", "1"]
    done = CliRunner().invoke(cli, [*arguments, "--json", "-"])
    facts = json.loads(done.output)
    assert facts["models"]["bicubic"]["mean"]["psnr_y"] is None


def test_a_detail_must_lie_inside(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lies outside one, which has 64x48"):
        write_strip(config(photos), Detail((50, 0, 32, 32), tmp_path / "s.png", "one"))
    with pytest.raises(ConfigError, match="has none of that name"):
        write_strip(config(photos), Detail((0, 0, 8, 8), tmp_path / "s.png", "three"))
    with pytest.raises(ConfigError, match="no image by its name"):
        write_strip(config(photos), Detail((0, 0, 8, 8), tmp_path / "s.txt"))


def test_every_metric_says_what_it_is() -> None:
    assert all(metric.told and metric.title for metric in METRICS.values())


@pytest.mark.skipif(not SHARED.is_dir(), reason="the test images are not here")
@pytest.mark.parametrize(
    ("name", "scale", "decibels", "within"), [("Set5", 2, 33.66, 0.03), ("Set5", 4, 28.42, 0.02), ("Set14", 4, 26.0, 0.02)]
)
def test_the_model_bicubic_as_published(name: str, scale: int, decibels: float, within: float) -> None:
    """Through the Upscaler, rounded once; MATLAB's rounds after each pass (tests/test_metrics.py)."""
    report = bench_quality(config(SHARED / name, scale=scale))
    assert report.models["bicubic"].mean["psnr_y"] == pytest.approx(decibels, abs=within)
    assert "equal to MATLAB's bicubic of HR" in report.told[0]


@pytest.mark.parametrize("kind", ["photos", "clip"])
def test_the_page_shows_what_was_measured(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder, page = request.getfixturevalue(kind), tmp_path / "page.html"
    words = [
        "bench",
        "quality",
        "--dataset",
        str(folder),
        "--model",
        "bicubic",
        "--scale",
        "2",
        "--threads",
        "1",
        "--html",
        str(page),
    ]
    for times in range(2):  # the second time from the cache
        done = CliRunner().invoke(cli, [*words, *(["--overwrite"] if times else [])], catch_exceptions=False)
        assert done.exit_code == 0
        assert f"{page}: written" in done.output
        text = page.read_text(encoding="utf-8")
        report = bench_quality(config(folder))
        assert all(f'"{name}"' in text for name in report.models["bicubic"].images)
        assert text.count("data:image/png") + text.count('"image/png') >= 1
        assert report.protocol in text
    refused = CliRunner().invoke(cli, words)
    assert refused.exit_code != 0
    assert "exists already" in str(refused.exception)


@pytest.mark.slow
def test_the_tour(tmp_path: Path) -> None:
    sheet, report = tmp_path / "sheet.png", tmp_path / "tour.json"
    words = ["bench", "--model", "animevideo", "-o", str(sheet), "--json", str(report)]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert "the truth, which MATLAB's bicubic shrinks by 4" in done.output
    facts = json.loads(report.read_text())
    assert set(facts["quality"]["models"]) == {"bicubic", "animevideo"}
    assert facts["speed"]["frames"] == 8
    with Image.open(sheet) as image:
        assert image.width > 4 * 100 and image.height > 3 * 100
    assert "exists already" in str(CliRunner().invoke(cli, words).exception)


def test_what_psnr_does_not_rank_is_named(photos: Path) -> None:
    report = bench_quality(config(photos, "bicubic", "animevideo", scale=4))
    named = [warning.partition(":")[0] for warning in report.warnings if "trained against a discriminator" in warning]
    assert named == ["animevideo"], "it has no twin to be blended with, and is a GAN all the same"
