"""`vsr bench speed` measures the product's own stages; that it does, not how fast they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests.films import Film, make
from vsr import EncodeConfig, UpscaleConfig
from vsr.bench.ceiling import matmul_tflops
from vsr.bench.clip import bundled_clip
from vsr.bench.speed import SpeedReport, _bottleneck, bench_speed
from vsr.cli.main import cli
from vsr.errors import ModelError
from vsr.planning import draft_job, make_plan


def measured(folder: Path, frames: int = 20, size: tuple[int, int] | None = None) -> SpeedReport:
    source = make(Film("film"), folder)
    config = UpscaleConfig(str(source), scale=2, model="bicubic", encode=EncodeConfig(preset="ultrafast"), threads=1)
    return bench_speed(config, size, frames)


def test_every_stage_is_measured(tmp_path: Path) -> None:
    report = measured(tmp_path)
    assert report.frames == 20, "a clip of 12 frames is read again"
    assert set(report.stages_ms) == {"decode", "h2d", "model", "d2h", "encode"}
    assert all(spent >= 0 for spent in report.stages_ms.values())
    assert set(report.inside_ms) == {"planes to RGB", "network", "resize", "RGB to planes"}
    assert report.fps_model > 0
    assert report.fps_end_to_end > 0
    assert report.ceiling_tflops > 0
    assert report.host_bytes > 10_000_000
    assert all(0 <= share <= 1 for share in report.waits.values())
    assert report.bottleneck


def test_the_clip_is_enlarged_to_the_size(tmp_path: Path) -> None:
    assert measured(tmp_path, frames=3, size=(128, 96)).size == (128, 96)


def test_the_limit_is_named(tmp_path: Path) -> None:
    source = make(Film("film"), tmp_path)
    draft = draft_job(UpscaleConfig(str(source), str(tmp_path / "out.mkv"), scale=2, model="bicubic"))
    plan = make_plan(draft)
    assert "network (95%" in _bottleneck(plan, {"decode": 0.1, "model": 0.95, "encode": 0.5}, [], 10.0, tmp_path)
    assert "decoding (90%" in _bottleneck(plan, {"decode": 0.9, "model": 0.2, "encode": 0.5}, [], 10.0, tmp_path)
    assert "no stage alone" in _bottleneck(plan, {"decode": 0.4, "model": 0.5, "encode": 0.5}, [], 10.0, tmp_path)


def test_a_matrix_product_has_a_rate() -> None:
    assert 0.001 < matmul_tflops(torch.device("cpu"), "fp32", 1) < 100


def test_the_command(tmp_path: Path) -> None:
    source, report = make(Film("film"), tmp_path), tmp_path / "speed.json"
    arguments = ["bench", "speed", "--input", str(source), "--model", "bicubic", "--frames", "5", "--threads", "1"]
    assert CliRunner().invoke(cli, [*arguments, "--scale", "99"], standalone_mode=False).exit_code != 0
    done = CliRunner().invoke(cli, [*arguments, "--scale", "2", "--json", str(report)])
    assert done.exit_code == 0, done.output
    facts = json.loads(report.read_text())
    promised = {"version", "command", "status", "warnings", "fps_model", "fps_end_to_end", "mfu", "stages_ms", "bottleneck"}
    assert facts.keys() >= promised
    assert facts["command"] == "bench speed"
    assert "limit" in done.output
    assert Path(bundled_clip()).is_file()


def test_wrong_wishes_are_named(tmp_path: Path) -> None:
    source = make(Film("film"), tmp_path)
    with pytest.raises(ModelError):
        bench_speed(UpscaleConfig(str(source), model="nosuch"), None, 3)
