"""ncnn in place of torch: the same film but for rounding, asked for by name or by a race, and only where it can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tests.films import Film, make
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.engine import ncnn_cpu
from vsr.errors import ConfigError
from vsr.models.weights import load
from vsr.planning import draft_job, make_plan, raced

pytestmark = pytest.mark.skipif(not ncnn_cpu.installed(), reason="needs the extra: ncnn")


def wish(folder: Path, **changes: object) -> UpscaleConfig:
    source = folder / "film.mp4"
    if not source.exists():
        make(Film("film"), folder)
    config = UpscaleConfig(
        str(source), str(folder / "out.mkv"), model="animevideo", precision="fp32", threads=1, encode=EncodeConfig(codec="ffv1")
    )
    return replace(config, **changes)  # type: ignore[arg-type]


def lumas(path: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    with av.open(path) as film:
        return np.stack([frame.to_ndarray().astype(np.int16) for frame in film.decode(video=0)])


@pytest.mark.parametrize("tile", [None, 32])
def test_the_same_film_but_for_rounding(tile: int | None, tmp_path: Path) -> None:
    made = {
        backend: upscale(wish(tmp_path, backend=backend, tile=tile, output=str(tmp_path / f"{backend}.mkv")))
        for backend in ("torch", "ncnn")
    }
    assert made["ncnn"].plan is not None
    assert made["ncnn"].plan.engine.backend == "ncnn"
    difference = np.abs(lumas(made["torch"].output) - lumas(made["ncnn"].output))
    assert difference.max() <= 1
    assert difference.mean() < 0.01


@pytest.mark.parametrize("changes", [{"model": "bicubic"}, {"precision": "bf16"}])
def test_where_it_cannot_be_it_is_refused(changes: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--backend ncnn"):
        make_plan(draft_job(wish(tmp_path, backend="ncnn", **changes)))


def test_auto_asks_only_for_long_jobs(tmp_path: Path) -> None:
    config = wish(tmp_path)
    plan = make_plan(draft_job(config))
    assert plan.engine.backend == "torch", "twelve small frames are not worth a race"
    generator = load("animevideo", 4)
    long = raced(config, plan, generator, 100_000)
    assert long.backend in ("torch", "ncnn")
    assert raced(replace(config, backend="torch"), plan, generator, 100_000) is plan.engine
    half = replace(plan, engine=replace(plan.engine, precision="bf16"))
    assert raced(config, half, generator, 100_000) is half.engine
