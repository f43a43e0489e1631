"""`--faithful N`: what is enlarged comes nearer to the input with every step, and stays as it was without."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from tests.engine.test_upscaler import YUV, TwoConvs, assert_same, film, format_of
from tests.engine.test_window import Looking, shots, windowed
from vsr import UpscaleConfig, upscale
from vsr.choose_engine import resolve_engine
from vsr.config import EngineSettings
from vsr.engine.upscaler import Upscaler
from vsr.errors import UsageError
from vsr.frames import FrameFormat, PixelLayout
from vsr.models.spec import ModelSpec
from vsr.names import target_size
from vsr.resample import back_project, resize


def lacking(enlarged: Tensor, source: Tensor) -> float:
    return float((resize(enlarged, *source.shape[-2:]) - source).square().mean())


@given(seed=st.integers(0, 1000), height=st.integers(8, 24), width=st.integers(8, 24), scale=st.sampled_from([1.5, 2, 3, 4, 8]))
@settings(deadline=None)
def test_what_is_lacking_falls_with_every_step(seed: int, height: int, width: int, scale: float) -> None:
    torch.manual_seed(seed)
    source = torch.rand(1, 3, height, width, dtype=torch.float64)
    enlarged = torch.rand(1, 3, round(height * scale), round(width * scale), dtype=torch.float64)
    left = [lacking(back_project(enlarged, source, steps), source) for steps in range(6)]
    assert all(after < before for before, after in pairwise(left))
    assert left[5] < 0.1 * left[0]


def test_what_lacks_nothing_stays() -> None:
    source = torch.full((1, 3, 6, 8), 0.25)
    enlarged = torch.full((1, 3, 24, 32), 0.25)
    assert torch.allclose(back_project(enlarged, source, 3), enlarged, atol=1e-6)


RGB16 = PixelLayout("rgb", 16)


@pytest.mark.parametrize("tile", [None, 16])
def test_the_engine_does_it_after_the_tiles(tile: int | None) -> None:
    source, target = format_of(RGB16), format_of(RGB16, 76, 44)
    (batch,) = film(source, 1)
    made = []
    for steps in (0, 1, 5):
        chosen = EngineSettings(threads=1, tile=tile, halo=2 if tile else 0, faithful=steps)
        made.append(Upscaler(TwoConvs(), source, target, chosen).up(batch))
    truth = torch.from_numpy(np.stack(batch.planes, 1)) / 65535.0
    left = [lacking(torch.from_numpy(np.stack(one.planes, 1)) / 65535.0, truth) for one in made]
    assert left[0] > 1.5 * left[1] > 1.5 * left[2]  # of noise: much of it is clipped


def test_frames_with_neighbours_come_nearer_to_themselves() -> None:
    source, target = format_of(RGB16), format_of(RGB16, 76, 44)
    frames = shots([3, 2], source)
    upscaler = Upscaler(Looking(), source, target, EngineSettings(threads=1, faithful=4))
    plain = Upscaler(Looking(), source, target, EngineSettings(threads=1))
    placed, _ = windowed(frames, 2)
    for made, before, frame in zip(upscaler.stream(placed), plain.stream(placed), frames, strict=True):
        truth = torch.from_numpy(np.stack(frame.planes, 1)) / 65535.0
        left = [lacking(torch.from_numpy(np.stack(one.planes, 1)) / 65535.0, truth) for one in (made, before)]
        assert left[0] < left[1] / 5


def test_it_is_off_by_default() -> None:
    source, target = format_of(YUV), format_of(YUV, 76, 44)
    (batch,) = film(source, 1)
    known = resolve_engine(UpscaleConfig("film.mkv", threads=1, device="cpu", precision="fp32"), TwoConvs().spec, source, target)
    assert known.faithful == 0
    assert_same(
        Upscaler(TwoConvs(), source, target, known).up(batch), Upscaler(TwoConvs(), source, target, EngineSettings()).up(batch)
    )


def test_its_memory_counts() -> None:
    spec = ModelSpec("m", "M", scale=4, halo_px=16, bytes_per_pixel=9_000)
    source, target = FrameFormat(3840, 2160, YUV), FrameFormat(15360, 8640, YUV)
    config = UpscaleConfig("film.mkv", device="cpu", precision="fp32", threads=1)
    plain, faithful = (resolve_engine(replace(config, faithful=n), spec, source, target) for n in (0, 3))
    assert plain.tile is not None and faithful.tile is not None
    assert faithful.tile < plain.tile


def test_a_picture_comes_out_nearer_to_the_input(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(60, 200, (24, 32, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    left = []
    for steps in (0, 1, 4):
        path = tmp_path / f"{steps}.png"
        upscale(UpscaleConfig(str(tmp_path / "in.png"), str(path), model="animevideo", faithful=steps, precision="fp32"))
        made = torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1)[None].double()
        left.append(lacking(made, torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].double()))
    assert left[0] > 2 * left[1] > 2 * left[2]


@pytest.mark.parametrize("size", [(64, 48), (32, 96), (64, 47)])
def test_what_is_no_enlargement_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="is no enlargement of 64x48"):
        target_size(UpscaleConfig("film.mkv", size=size, faithful=1), 64, 48)
    assert target_size(UpscaleConfig("film.mkv", size=size), 64, 48) == size
