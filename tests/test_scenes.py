"""Cuts: found where the picture changes, not where it moves, fades or stands still; the same wherever one begins to look."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.frames import PixelLayout, Plane
from vsr.scenes import is_cut, thumb

YUV = PixelLayout("yuv", 8, 1, 1)
Luma = npt.NDArray[np.float64]


def scene(number: int, height: int = 90, width: int = 160) -> Luma:
    """A picture with large and small shapes, 20 to 235."""
    draw = np.random.default_rng(number)
    coarse = np.kron(draw.uniform(40, 215, (6, 9)), np.ones((height // 6 + 1, width // 9 + 1)))[:height, :width]
    return np.clip(coarse + draw.normal(0, 8, coarse.shape), 20, 235).astype(np.float64)


def planes(luma: Luma) -> tuple[Plane, ...]:
    chroma = np.full((luma.shape[0] // 2, luma.shape[1] // 2), 128, np.uint8)
    return luma.astype(np.uint8), chroma, chroma


def cut(before: Luma, after: Luma) -> bool:
    return is_cut(thumb(planes(before), YUV), thumb(planes(after), YUV))


@given(a=st.integers(0, 200), b=st.integers(0, 200))
def test_another_scene_is_a_cut(a: int, b: int) -> None:
    if a != b:
        assert cut(scene(a), scene(b)) == cut(scene(b), scene(a))
    assert not cut(scene(a), scene(a))


def test_nearly_every_other_scene_is_a_cut() -> None:
    assert sum(cut(scene(n), scene(n + 1)) for n in range(100)) >= 95


@given(number=st.integers(0, 50), dx=st.integers(-12, 12), dy=st.integers(-6, 6))
def test_motion_is_no_cut(number: int, dx: int, dy: int) -> None:
    large = scene(number, 120, 200)
    assert not cut(large[15:105, 20:180], large[15 + dy : 105 + dy, 20 + dx : 180 + dx])


@given(number=st.integers(0, 50), steps=st.integers(10, 40))
def test_fades_to_black_and_white_are_no_cuts(number: int, steps: int) -> None:
    picture = scene(number)
    for end in (16.0, 235.0):
        levels = [picture + (end - picture) * step / steps for step in range(steps + 1)]
        assert not any(cut(a, b) for a, b in pairwise(levels))


def test_a_dissolve_is_no_cut() -> None:
    levels = [scene(1) + (scene(2) - scene(1)) * step / 24 for step in range(25)]
    assert not any(cut(a, b) for a, b in pairwise(levels))


def test_a_flash_is_a_cut_on_both_sides() -> None:
    picture = scene(3)
    white = np.minimum(picture * 0.3 + 165, 235)
    assert cut(picture, white)
    assert cut(white, picture)


@pytest.mark.parametrize(("levels", "is_flash"), [(37, False), (43, True)])
def test_a_flash_is_a_matter_of_brightness_alone(levels: int, is_flash: bool) -> None:
    picture = np.clip(scene(3), 20, 190)
    assert cut(picture, picture + levels) == cut(picture + levels, picture) == is_flash


def test_a_picture_may_move_by_an_eighth() -> None:
    large = scene(4, 120, 240)
    assert not cut(large[:90, :160], large[10:100, 20:180])


@pytest.mark.parametrize(("likeness", "is_new"), [(0.75, False), (0.65, True)])
def test_how_alike_two_frames_of_a_shot_are(likeness: float, is_new: bool) -> None:
    one, other = np.random.default_rng(2).normal(0, 1, (2, 18, 32))
    one -= one.mean()
    one /= one.std()
    other -= other.mean() + one * (other * one).mean()
    other /= other.std()
    mixed = likeness * one + (1 - likeness**2) ** 0.5 * other  # correlates so with `one`, and with none of its shifts
    assert is_cut(120 + 30 * one, 120 + 30 * mixed) == is_new


def test_what_nobody_sees_is_no_cut() -> None:
    one, other = np.random.default_rng(2).normal(0, 1.2, (2, 18, 32))
    assert not is_cut(20 + one, 20 + other)
    assert is_cut(20 + 4 * one, 20 + 4 * other)


def test_noise_in_the_dark_is_no_cut() -> None:
    draw = np.random.default_rng(1)
    dark = [np.clip(20 + draw.normal(0, 3, (90, 160)), 0, 255) for _ in range(5)]
    assert not any(cut(a, b) for a, b in pairwise(dark))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 2), (5, 3), (31, 17), (640, 1), (321, 241)])
def test_any_size_has_a_thumb_of_exact_averages(width: int, height: int) -> None:
    luma = np.random.default_rng(0).integers(0, 256, (height, width)).astype(np.uint8)
    small = thumb((luma,), PixelLayout("gray"))
    assert small.shape == (min(18, height), min(32, width))
    rows, columns = (np.arange(n + 1) * size // n for n, size in zip(small.shape, luma.shape, strict=True))
    for y in range(small.shape[0]):
        for x in range(small.shape[1]):
            assert small[y, x] == luma[rows[y] : rows[y + 1], columns[x] : columns[x + 1]].mean()
    assert not is_cut(small, small)


def test_depth_and_colour_model_do_not_matter() -> None:
    luma = scene(5)
    eight = thumb(planes(luma), YUV)
    ten = thumb(tuple((plane.astype(np.uint16) * 4) for plane in planes(luma)), PixelLayout("yuv", 10, 1, 1))
    assert np.array_equal(eight, ten)
    gray = luma.astype(np.uint8)
    assert np.allclose(thumb((gray, gray, gray), PixelLayout("rgb")), eight)


def test_black_between_two_shots_belongs_to_neither() -> None:
    dim, black = 16 + (scene(1) - 16) * 0.3, np.full((90, 160), 16.0)
    assert cut(dim, black)
    assert cut(black, dim)
    assert not cut(16 + (scene(1) - 16) * 0.05, black)  # the last step of a fade
