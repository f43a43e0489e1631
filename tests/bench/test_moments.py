"""What frames are found to show, and which of them are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from vsr.bench.moments import (
    DARK,
    FAST,
    FINE,
    WRITTEN,
    Look,
    Moment,
    choose_moments,
    displacement,
    look_at,
    luma_of,
    texture,
    with_shots,
    writing,
)
from vsr.frames import ColorSpec, FrameBatch, FrameFormat, PixelLayout

LINES = ("the quick brown fox", "jumps over a lazy dog", "and so on, at length")


def noise(height: int, width: int, contrast: float = 60, blur: int = 0, seed: int = 0) -> np.ndarray[Any, Any]:
    plane = np.random.default_rng(seed).normal(128, contrast, (height + blur, width + blur))
    for _ in range(blur):
        plane = (plane[1:, 1:] + plane[:-1, 1:] + plane[1:, :-1] + plane[:-1, :-1]) / 4
    plane = (plane - plane.mean()) / plane.std() * contrast + 128
    return np.asarray(np.clip(plane[:height, :width], 0, 255), np.float32)


def written(background: np.ndarray[Any, Any], ink: int, size: int) -> np.ndarray[Any, Any]:
    canvas = Image.fromarray(background.astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(LINES):
        draw.text((20, 40 + 2 * size * number), line, fill=ink, font=ImageFont.load_default(size))
    return np.asarray(canvas, np.float32)


def frame(luma: np.ndarray[Any, Any], pts: int = 0, bits: int = 8) -> FrameBatch:
    layout = PixelLayout("gray", bits)
    planes = (np.clip(luma * (1 << (bits - 8)), 0, (1 << bits) - 1).astype(layout.dtype)[None],)
    return FrameBatch(FrameFormat(luma.shape[1], luma.shape[0], layout, ColorSpec(matrix=0, full_range=True)), planes, (pts,))


@pytest.mark.parametrize("step", [1, 2, 4])
def test_displacement_is_about_the_step_of_a_smooth_picture(step: int) -> None:
    picture = noise(240, 320, blur=12)
    assert displacement(picture[:, step:], picture[:, :-step]) == pytest.approx(step / 2, rel=0.5)


def test_a_fade_is_no_motion() -> None:
    picture = noise(240, 320, blur=6)
    assert displacement(np.full_like(picture, 40), np.full_like(picture, 20)) == 0
    assert displacement(picture - 20, picture) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("size", "ink", "paper"), [(16, 20, 230), (24, 240, 30), (32, 0, 200)])
def test_words_on_paper_are_writing(size: int, ink: int, paper: int) -> None:
    assert writing(written(np.full((360, 480), paper), ink, size)) >= WRITTEN


def test_a_subtitle_on_a_busy_picture_is_writing() -> None:
    assert writing(written(noise(360, 480, 20, blur=8), 255, 28)) >= WRITTEN


@pytest.mark.parametrize(
    "picture",
    [
        noise(360, 480),
        noise(360, 480, blur=3),
        np.tile(np.linspace(0, 255, 480, dtype=np.float32), (360, 1)),
        np.tile(np.repeat([0, 255], 8).astype(np.float32), (360, 30)),  # bars
        np.full((360, 480), 128, np.float32),
        np.full((5, 7), 128, np.float32),
        np.full((1, 1), 128, np.float32),
    ],
    ids=["noise", "soft noise", "ramp", "bars", "flat", "tiny", "one pixel"],
)
def test_what_has_no_word_is_no_writing(picture: np.ndarray[Any, Any]) -> None:
    assert writing(picture) == 0


def test_texture_is_fine_detail_everywhere() -> None:
    assert texture(noise(240, 320, 30)) > 10 * FINE
    assert texture(noise(240, 320, 20, blur=40)) < FINE
    half = noise(240, 320, 30)
    half[:, :200] = 128  # most of the picture is smooth
    assert texture(half) == 0
    assert texture(half[:10, :10]) == 0


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_levels_do_not_depend_on_bits(bits: int) -> None:
    picture = np.round(noise(60, 80))
    np.testing.assert_array_equal(luma_of(frame(picture, bits=bits)), picture)


def test_large_pictures_are_reduced() -> None:
    assert luma_of(frame(noise(1080, 1920))).shape == (540, 960)
    assert luma_of(frame(noise(719, 100))).shape == (719, 100)


def test_a_cut_is_no_motion() -> None:
    one, other = frame(noise(96, 128, blur=4, seed=1)), frame(noise(96, 128, blur=4, seed=2))
    assert look_at(one, other).motion == 0
    assert look_at(one).motion == 0


def look(
    pts: int, *, light: float = 120, contrast: float = 40, motion: float = 0, fine: float = 0, words: float = 0, shot: int = 0
) -> Look:
    return Look(pts, np.zeros((18, 32)), light, contrast, motion, fine, words, shot)


def test_each_kind_gets_its_best_frame() -> None:
    looks = [
        look(0, shot=0), look(10, words=2 * WRITTEN, shot=1), look(20, light=30, shot=2), look(30, light=60, shot=3),
        look(40, motion=2 * FAST, shot=4), look(50, fine=2 * FINE, shot=5), look(60, fine=3 * FINE, motion=3 * FAST, shot=6),
        look(70, light=2, contrast=1, shot=7),
    ]  # fmt: skip
    chosen = {moment.kind: moment.look.pts for moment in choose_moments(looks, 4)}
    assert chosen == {"writing": 10, "dark": 20, "motion": 60, "texture": 50}


def test_what_is_not_there_is_not_claimed() -> None:
    looks = [look(at, light=DARK + 1, motion=FAST / 2, fine=FINE / 2, words=WRITTEN / 2, shot=at) for at in range(5)]
    assert {moment.kind for moment in choose_moments(looks, 3)} == {"typical"}


def test_black_frames_are_shown_only_where_there_is_nothing_else() -> None:
    black = [look(at, light=0, contrast=0) for at in range(3)]
    assert [moment.look.pts for moment in choose_moments([*black, look(9)], 2)] == [9]
    assert len(choose_moments(black, 2)) == 2


looks_of_any_film = st.lists(
    st.tuples(st.floats(0, 255), st.floats(0, 90), st.floats(0, 9), st.floats(0, 20), st.floats(0, 0.1), st.integers(0, 5)),
    min_size=1,
    max_size=30,
)


@given(looks_of_any_film, st.integers(1, 12))
def test_moments_are_some_of_the_frames_in_their_order(drawn: list[tuple[Any, ...]], count: int) -> None:
    looks = [Look(7 * at, np.zeros((18, 32)), *figures) for at, figures in enumerate(drawn)]
    chosen = choose_moments(looks, count)
    times = [moment.look.pts for moment in chosen]
    assert times == sorted(set(times))
    assert all(isinstance(moment, Moment) and moment.look in looks for moment in chosen)
    showing = [it for it in looks if it.contrast >= 6] or looks
    assert len(chosen) == min(count, len(showing))
    shots = {moment.look.shot for moment in chosen}
    assert len(shots) == min(len(chosen), len({it.shot for it in showing}))


def test_shots_are_numbered() -> None:
    one, other = noise(96, 128, blur=10, seed=1), noise(96, 128, blur=10, seed=2)
    looks = [look_at(frame(picture, at)) for at, picture in enumerate([one, one + 2, other, other, one])]
    assert [it.shot for it in with_shots(looks)] == [0, 0, 1, 1, 2]
    assert with_shots([]) == []
