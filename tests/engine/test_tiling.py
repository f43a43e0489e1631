"""Cutting and stitching: geometry for any size, and pixels with a real network of known reach."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vsr.engine.tiling import Tile, cut, paste, plan_tiles

sizes = st.integers(1, 90)


@settings(deadline=None, max_examples=300)
@given(sizes, sizes, st.none() | st.integers(1, 60), st.integers(0, 30), st.sampled_from([1, 2, 4]))
def test_a_plan_keeps_its_promises(rows: int, columns: int, tile: int | None, halo: int, multiple_of: int) -> None:
    height, width = rows * multiple_of, columns * multiple_of
    tiles = plan_tiles(height, width, tile, halo, multiple_of)

    covered = torch.zeros(height, width, dtype=torch.int64)
    for t in tiles:
        covered[t.core_y0 : t.core_y1, t.core_x0 : t.core_x1] += 1
        assert t.core_y0 < t.core_y1 and t.core_x0 < t.core_x1, "an empty core"
        assert 0 <= t.y0 <= max(0, t.core_y0 - halo) and min(height, t.core_y1 + halo) <= t.y1 <= height
        assert 0 <= t.x0 <= max(0, t.core_x0 - halo) and min(width, t.core_x1 + halo) <= t.x1 <= width
        assert all(edge % multiple_of == 0 for edge in (t.y0, t.y1, t.x0, t.x1))
    assert bool((covered == 1).all()), "the cores do not partition the image"
    shapes = {(t.y1 - t.y0, t.x1 - t.x0) for t in tiles}
    assert len(shapes) == 1
    assert [(t.y0, t.x0) for t in tiles] == sorted((t.y0, t.x0) for t in tiles)

    crop_height, crop_width = shapes.pop()
    if tile is None:
        assert tiles == (Tile(0, height, 0, width, 0, height, 0, width),)
        return
    limit = max(tile, multiple_of) + 2 * halo + 2 * (multiple_of - 1)
    assert max(crop_height, crop_width) <= limit
    if height <= tile // multiple_of * multiple_of + 2 * halo:
        assert crop_height == height


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 500), st.integers(1, 200), st.integers(0, 60))
def test_no_plan_with_fewer_or_smaller_crops_exists(size: int, tile: int, halo: int) -> None:
    tiles = plan_tiles(1, size, tile, halo)
    count, crop = len(tiles), tiles[0].x1 - tiles[0].x0

    def reach(count: int, crop: int) -> int:
        """Pixels that `count` crops cover when neighbours share two halos."""
        return count * crop - 2 * halo * (count - 1)

    assert reach(count - 1, tile + 2 * halo) < size or count == 1, "one tile less would do"
    assert reach(count, crop - 1) < size, "smaller crops would do"


@pytest.mark.parametrize(
    ("size", "tile", "halo", "crops", "cores"),
    [
        (130, 128, 0, [(0, 65), (65, 130)], [0, 65, 130]),
        (130, 128, 18, [(0, 130)], [0, 130]),
        (1920, 512, 48, [(0, 552), (456, 1008), (912, 1464), (1368, 1920)], [0, 504, 960, 1416, 1920]),
    ],
)
def test_tiles_are_balanced(size: int, tile: int, halo: int, crops: list[tuple[int, int]], cores: list[int]) -> None:
    tiles = plan_tiles(size, 1, tile, halo)
    assert [(t.y0, t.y1) for t in tiles] == crops
    assert [t.core_y0 for t in tiles] + [size] == cores


class UpscaleByTwo(nn.Module):
    """Three 3x3 convolutions at input size, then a pixel shuffle: an output pixel sees exactly 3 input pixels around its own."""

    RADIUS = 3

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 8), (8, 8), (8, 12)))
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator) / 4

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(layer(x))
        return torch.pixel_shuffle(x, 2)


def upscale_by_tiles(net: nn.Module, image: Tensor, tile: int, halo: int) -> Tensor:
    n, channels, height, width = image.shape
    out = image.new_full((n, channels, 2 * height, 2 * width), torch.nan)
    for t in plan_tiles(height, width, tile, halo):
        paste(out, net(cut(image, t)), t, scale=2)
    return out


@pytest.mark.parametrize("shape", [(37, 52), (5, 64), (16, 16), (1, 41)])
@torch.inference_mode()
def test_tiled_equals_whole_when_the_halo_covers_the_radius(shape: tuple[int, int]) -> None:
    net, image = UpscaleByTwo(), torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(upscale_by_tiles(net, image, 7, net.RADIUS), net(image), rtol=0, atol=1e-6)


@torch.inference_mode()
def test_a_halo_short_of_the_radius_shows() -> None:
    net, image = UpscaleByTwo(), torch.rand(1, 3, 37, 52, generator=torch.Generator().manual_seed(1))
    assert float((upscale_by_tiles(net, image, 7, net.RADIUS - 1) - net(image)).abs().max()) > 1e-3


def test_cut_is_a_view() -> None:
    image = torch.zeros(1, 3, 20, 20)
    cut(image, plan_tiles(20, 20, 8, 2)[0]).fill_(1)
    assert image.sum() > 0


@pytest.mark.parametrize("wrong", [(0, 8, 4, 1, 1), (8, 8, 0, 1, 1), (8, 8, 4, -1, 1), (8, 8, 4, 1, 0), (8, 9, 4, 1, 2)])
def test_sizes_that_make_no_sense_are_refused(wrong: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="8"):
        plan_tiles(*wrong)
