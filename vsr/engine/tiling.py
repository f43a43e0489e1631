"""Cut an image into overlapping tiles and stitch the results. Pure geometry: no model, no device, no memory policy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """One tile, all in input pixels: the crop `[y0:y1, x0:x1]` to compute on, and the core of it to keep.

    The crop is the core and the halo around it. The cores of a plan partition the image.
    """

    y0: int
    y1: int
    x0: int
    x1: int
    core_y0: int
    core_y1: int
    core_x0: int
    core_x1: int


@dataclass(frozen=True)
class _Span:
    """A tile along one axis."""

    start: int
    stop: int
    core_start: int
    core_stop: int


def plan_tiles(height: int, width: int, tile: int | None, halo: int, multiple_of: int = 1) -> tuple[Tile, ...]:
    """Cover an image with the fewest crops of at most `tile + 2 * halo` pixels a side, row by row.

    height, width  of the image; multiples of `multiple_of` (the engine pads first)
    tile           side of a tile without its halo; None = one tile, the image
    halo           pixels of context that every core has on each side, up to the image's edge
    multiple_of    crops start at, and measure, multiples of this (networks that begin with a pixel-unshuffle need it). A tile
                   is rounded down to it (but to one multiple at least), a halo up

    All crops of a plan have the same shape and are as small as their number allows. An edge of the image needs no halo, so the
    cores there are larger by it: 1920 pixels with tile 512, halo 48 are 4 crops of 552, not of 576. Where the axis is no longer
    than `tile + 2 * halo` the crop is the whole axis. Raises ValueError for sizes that make no sense.
    """
    if min(height, width, multiple_of) < 1 or halo < 0 or (tile is not None and tile < 1):
        raise ValueError(f"cannot tile {width}x{height} by tile={tile}, halo={halo}, multiple_of={multiple_of}")
    if height % multiple_of or width % multiple_of:
        raise ValueError(f"{width}x{height} is not a multiple of {multiple_of}: pad the image first")
    rows, columns = (_plan_axis(size, tile or size, halo, multiple_of) for size in (height, width))
    return tuple(
        Tile(y.start, y.stop, x.start, x.stop, y.core_start, y.core_stop, x.core_start, x.core_stop)
        for y in rows
        for x in columns
    )


def cut(image: Tensor, tile: Tile) -> Tensor:
    """The tile's crop of an image (..., H, W), as a view."""
    return image[..., tile.y0 : tile.y1, tile.x0 : tile.x1]


def paste(out: Tensor, result: Tensor, tile: Tile, scale: int) -> None:
    """Copy the core of a tile's result into the output.

    out     (..., H * scale, W * scale), written in place
    result  (..., crop height * scale, crop width * scale): what the network made of `cut(image, tile)`
    """
    rows = slice(tile.core_y0 * scale, tile.core_y1 * scale)
    columns = slice(tile.core_x0 * scale, tile.core_x1 * scale)
    inner_rows = slice((tile.core_y0 - tile.y0) * scale, (tile.core_y1 - tile.y0) * scale)
    inner_columns = slice((tile.core_x0 - tile.x0) * scale, (tile.core_x1 - tile.x0) * scale)
    out[..., rows, columns].copy_(result[..., inner_rows, inner_columns])


def _plan_axis(size: int, tile: int, halo: int, multiple_of: int) -> list[_Span]:
    """Cut one axis, counting in units of `multiple_of`.

    `count` crops of length `crop` that overlap by two halos reach count * crop - 2 * halo * (count - 1) units.
    """
    size, tile, halo = size // multiple_of, max(1, tile // multiple_of), -(-halo // multiple_of)
    count = max(1, -(-(size - 2 * halo) // tile))
    crop = -(-(size + 2 * halo * (count - 1)) // count)
    starts = [index * (size - crop) // max(1, count - 1) for index in range(count)]
    # A border between cores lies a halo behind the start of the later crop, and so at least a halo before the end of the earlier.
    borders = [0, *(start + halo for start in starts[1:]), size]
    return [
        _Span(start * multiple_of, (start + crop) * multiple_of, border * multiple_of, next_border * multiple_of)
        for start, border, next_border in zip(starts, borders, borders[1:], strict=False)
    ]
