"""The pieces of the Winograd engine against torch's own operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vsr.engine.winograd import Convolution, Grid, Strips, Taps, Workshop, double, toom_cook

sides = st.integers(1, 21)
strips = st.sampled_from([1, 3, 512])


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def conv(inputs: int, outputs: int, *, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(inputs * outputs)
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias).requires_grad_(False)


def cut(image: Tensor, grid: Grid, planes: int = 16) -> Strips:
    strips = tuple(torch.zeros_like(strip) for strip in grid.empty(len(image), planes))
    grid.cut(image, strips)
    return strips


def test_one_axis_is_what_it_says() -> None:
    a, g, b = toom_cook()
    rng = np.random.default_rng(0)
    weights, inputs = rng.normal(size=3), rng.normal(size=6)
    sums = [inputs[i : i + 3] @ weights for i in range(4)]
    np.testing.assert_allclose(a @ ((g @ weights) * (b @ inputs)), sums, rtol=1e-12)


@given(height=sides, width=sides, strip=strips)
def test_a_picture_cut_and_joined_is_itself(height: int, width: int, strip: int) -> None:
    grid, image = Grid(height, width, strip), random(3, height, width)
    assert torch.equal(grid.join(cut(image, grid)), image)


@settings(deadline=None)
@given(height=sides, width=sides, strip=strips, bias=st.booleans(), planes=st.sampled_from([16, 36]))
def test_a_convolution_is_torchs(height: int, width: int, strip: int, bias: bool, planes: int) -> None:
    layer, grid, image = conv(5, 7, bias=bias), Grid(height, width, strip), random(5, height, width)
    work = Workshop(1)
    made = work.convolve(Convolution(layer), cut(image, grid, planes), grid, grid.empty(7))
    torch.testing.assert_close(grid.join(made), layer(image[None])[0], rtol=1e-4, atol=1e-5)


@settings(deadline=None)
@given(height=sides, width=sides, strip=strips)
def test_two_in_a_row_see_zeros_beyond_the_picture(height: int, width: int, strip: int) -> None:
    """The first leaves numbers beyond an edge that is not a tile's; the second must not see them."""
    layers, grid, image = [conv(4, 6), conv(6, 5)], Grid(height, width, strip), random(4, height, width)
    work = Workshop(1)
    here, expected = cut(image, grid), image[None]
    for layer in layers:
        here = work.convolve(Convolution(layer), here, grid, grid.empty(layer.out_channels), torch.relu_)
        expected = torch.relu(layer(expected))
    torch.testing.assert_close(grid.join(here), expected[0], rtol=1e-4, atol=1e-5)


@given(height=sides, width=sides, strip=strips)
def test_doubling_repeats_pixels(height: int, width: int, strip: int) -> None:
    grid, image = Grid(height, width, strip), random(2, height, width)
    large, larger = double(cut(image, grid), grid)
    assert torch.equal(larger.join(large), F.interpolate(image[None], scale_factor=2.0, mode="nearest")[0])


@settings(deadline=None)
@given(height=sides, width=sides, strip=strips, bias=st.booleans())
def test_taps_are_a_convolution(height: int, width: int, strip: int, bias: bool) -> None:
    layer, grid, image = conv(6, 3, bias=bias), Grid(height, width, strip), random(6, height, width)
    torch.testing.assert_close(Taps(layer)(cut(image, grid), grid), layer(image[None])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("planes", [16, 36])
def test_scratch_memory_of_another_size_is_given_back(planes: int) -> None:
    work = Workshop(1)
    first = work.grid(8, 8)
    before = work.scratch("x", 4)
    assert work.grid(8, 8) == first
    assert work.scratch("x", 4) is before
    work.grid(8, 12)
    assert work.scratch("x", 4) is not before
