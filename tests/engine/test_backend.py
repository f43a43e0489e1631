"""Other backends in place of torch: the same film but for rounding, asked for by name or by a race, and only where it can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tests.films import Film, make
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.choose_engine import busiest, choose_engine
from vsr.config import EngineSettings
from vsr.engine import ncnn_cpu
from vsr.engine.precision import has_bf16
from vsr.errors import ConfigError
from vsr.frames import ColorSpec, FrameBatch, FrameFormat, PixelLayout
from vsr.measure import sample_frame
from vsr.planning import draft_job, make_plan

needs_ncnn = pytest.mark.skipif(not ncnn_cpu.installed(), reason="needs the extra: ncnn")
BACKENDS = ["winograd", pytest.param("ncnn", marks=needs_ncnn)]


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
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_film_but_for_rounding(backend: str, tile: int | None, tmp_path: Path) -> None:
    made = {
        name: upscale(wish(tmp_path, backend=name, tile=tile, output=str(tmp_path / f"{name}.mkv")))
        for name in ("torch", backend)
    }
    plan = made[backend].plan
    assert plan is not None
    assert plan.engine.backend == backend
    difference = np.abs(lumas(made["torch"].output) - lumas(made[backend].output))
    assert difference.max() <= 1
    assert difference.mean() < 0.01


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("changes", [{"model": "bicubic"}, {"precision": "bf16"}])
def test_where_it_cannot_be_it_is_refused(backend: str, changes: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--backend {backend}"):
        make_plan(draft_job(wish(tmp_path, backend=backend, **changes)))


def chosen(config: UpscaleConfig, frames: int, sample: FrameBatch | None = None) -> tuple[EngineSettings, tuple[str, ...]]:
    draft = draft_job(config)
    source = draft.info.format
    target = replace(source, width=draft.width, height=draft.height)
    return choose_engine(config, draft.generator, source, target, sample, frames)


def test_auto_asks_only_for_long_jobs_in_float32(tmp_path: Path) -> None:
    config = wish(tmp_path)
    assert chosen(config, 12)[0].backend == "torch", "twelve small frames are not worth a race"
    assert chosen(config, 100_000)[0].backend in ("torch", "winograd", "ncnn")
    assert chosen(replace(config, backend="torch"), 100_000)[0].backend == "torch"
    assert chosen(replace(config, precision="bf16"), 100_000)[0].backend == "torch"


def test_what_was_asked_for_is_not_tried(tmp_path: Path) -> None:
    """A precision that the user names is used, whatever the picture; what is chosen for him is told when it is not."""
    config = wish(tmp_path, precision="bf16")
    sample = sample_frame(config.source, draft_job(config).info)
    assert sample is not None
    tried, notes = chosen(config, 12, sample)
    assert (tried.precision, notes) == ("bf16", ())
    engine, notes = chosen(replace(config, precision="auto"), 12, sample)
    assert engine.precision == "bf16" or "float32" in " ".join(notes) or not has_bf16(Path("/proc/cpuinfo").read_text())


def test_the_busiest_part_of_a_picture_is_found() -> None:
    format = FrameFormat(64, 48, PixelLayout("gray", 8), ColorSpec())
    plane = np.full((1, 48, 64), 128, np.uint8)
    plane[:, 20:24, 36:40] = 255
    batch = FrameBatch(format, (plane,), (0,))
    part = busiest(batch, 16)
    assert part.shape == (1, 3, 16, 16)
    assert float(part.max()) > float(part.min())
    assert busiest(batch, 100).shape == (1, 3, 48, 64)
