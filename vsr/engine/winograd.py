"""3x3 convolutions in exact float32 with a quarter of the multiplications: Winograd's F(4x4, 3x3) on torch's matrix products.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016, arXiv:1509.09308): 4x4 outputs are
A^T ((G g G^T) * (B^T d B)) A, where d are 6x6 inputs. What is ours is the layout. A picture lives as sixteen planes, one for
each place in its 4x4 tiles, so that

  - each of the three steps is one large matrix product (both sides of B, and of A, in one Kronecker product), at the rate that
    the library reaches for matrices;
  - the 6x6 inputs of all tiles are these planes and twenty shifted copies of them, never a gather;
  - a dense block, whose every convolution reads all that came before, transforms each part of its input once.

Pictures are cut into strips of rows of tiles, so that what passes between the steps stays in the cache.

Two matrix products accumulate in another order than one convolution: 126 to 142 dB to it on photographs
(docs/lab.md; the tests hold 100).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

TILE = 4  # outputs of a tile along an axis
SEEN = 6  # inputs of a tile along an axis
STRIP_TILES = 512  # of one thread. 128, 256, 512 and 1024 took 2.04, 1.93, 1.82 and 1.93 s (RRDB-23, 160x90); for two threads
# 256, 512 and 1024 took 1.17, 1.11 and 1.07 s: torch shares out nothing that has less than 32,768 numbers for each
# Where the polynomials are evaluated, beside infinity. Textbooks take 1 and 2; these cost nothing and lose 8 dB less (found by
# trying; after Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution", arXiv:1803.10986).
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
# Rows and columns of a tile's input in the order in which its planes are kept: those of the tile itself come first.
_INNER, _OUTER = (1, 2, 3, 4), (0, 5)

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Strips = tuple[Tensor, ...]
Activation = Callable[[Tensor], object]  # in place, on (16, C, rows, columns)


def toom_cook() -> tuple[Matrix, Matrix, Matrix]:
    """A^T (4x6), G (6x3) and B^T (6x6) for one axis: A^T ((G g) * (B^T d)) are the four sums of g along d."""
    a, g, b = np.zeros((TILE, SEEN)), np.zeros((SEEN, 3)), np.zeros((SEEN, SEEN))
    for i, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        a[:, i] = point ** np.arange(TILE)
        g[i] = point ** np.arange(3) / np.prod([point - other for other in others])
        b[i, : len(POINTS)] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1  # infinity
    b[-1] = np.poly(POINTS)[::-1]
    return a, g, b


def _planes() -> list[tuple[int, int]]:
    """Row and column in the 6x6 input of each of the 36 planes: the tile itself, the rows beside it, the columns beside these."""
    rows = (*_INNER, *_OUTER)
    return [*((u, v) for u in rows for v in _INNER), *((u, 0) for u in rows), *((u, 5) for u in rows)]


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """Of both axes: A (16 x 37, the last column adds the bias), G (36 x 9), B (36 x 36, its columns in the planes' order)."""
    a, g, b = (np.kron(one, one) for one in toom_cook())
    order = [SEEN * u + v for u, v in _planes()]
    with_bias = np.hstack([a, np.ones((len(a), 1))])
    return torch.from_numpy(with_bias).float(), torch.from_numpy(g), torch.from_numpy(b[:, order]).float()


@dataclass(frozen=True)
class Grid:
    """How a picture of `height` x `width` is cut: tiles of 4x4 pixels, strips of whole rows of about `strip` tiles each."""

    height: int
    width: int
    strip: int = STRIP_TILES

    @property
    def columns(self) -> int:
        return -(-self.width // TILE)

    @property
    def strips(self) -> list[int]:
        """Rows of tiles in each."""
        rows = -(-self.height // TILE)
        most = max(1, round(self.strip / self.columns))
        return [min(most, rows - at) for at in range(0, rows, most)]

    def empty(self, channels: int, planes: int = TILE**2) -> Strips:
        """Room for a picture: for each strip (planes, channels, rows, columns) of tiles."""
        return tuple(torch.empty(planes, channels, rows, self.columns) for rows in self.strips)

    def cut(self, image: Tensor, out: Strips) -> None:
        """(C, height, width) into the planes of `out`; beyond the picture zeros."""
        channels = len(image)
        whole = image.new_zeros(channels, sum(self.strips) * TILE, self.columns * TILE)
        whole[:, : self.height, : self.width] = image
        tiles = whole.view(channels, -1, TILE, self.columns, TILE).permute(2, 4, 0, 1, 3)
        for strip, part in zip(out, torch.split(tiles, self.strips, 3), strict=True):
            strip[: TILE**2].view(TILE, TILE, *strip.shape[1:]).copy_(part)

    def join(self, strips: Sequence[Tensor]) -> Tensor:
        """The picture (C, height, width) of its planes."""
        channels = strips[0].shape[1]
        image = strips[0].new_empty(channels, sum(self.strips), TILE, self.columns, TILE)
        for part, strip in zip(torch.split(image, self.strips, 1), strips, strict=True):
            part.copy_(strip[: TILE**2].view(TILE, TILE, *strip.shape[1:]).permute(2, 3, 0, 4, 1))
        return image.view(channels, -1, self.columns * TILE)[:, : self.height, : self.width]

    def clear_beyond(self, strips: Strips) -> None:
        """What a convolution made beyond the picture's edge is zero for the next: that is what padding means."""
        down, right = self.height % TILE, self.width % TILE
        if down:
            strips[-1][down * TILE : TILE**2, :, -1] = 0
        for strip in strips if right else ():
            strip[: TILE**2].view(TILE, TILE, *strip.shape[1:])[:, right:, :, :, -1] = 0


def double(strips: Strips, grid: Grid) -> tuple[Strips, Grid]:
    """A picture of twice the size, every pixel four times ("nearest"). Tile (i, j) becomes tiles (2i, 2j) ... (2i+1, 2j+1)."""
    rows, columns = grid.strips, grid.columns
    larger = replace(grid, height=2 * grid.height, width=2 * grid.width)
    whole = torch.empty(TILE, TILE, strips[0].shape[1], 2 * sum(rows), 2 * columns)
    for part, strip in zip(torch.split(whole, [2 * count for count in rows], 3), strips, strict=True):
        small = strip[: TILE**2].view(TILE, TILE, *strip.shape[1:])
        for a in range(TILE):
            for b in range(TILE):
                for down in (0, 1):
                    for right in (0, 1):
                        part[a, b, :, down::2, right::2] = small[2 * down + a // 2, 2 * right + b // 2]
    # an odd number of tiles' halves may lie beyond the picture
    whole = whole[:, :, :, : sum(larger.strips), : larger.columns].reshape(TILE**2, -1, sum(larger.strips), larger.columns)
    return torch.split(whole, larger.strips, 2), larger


class Convolution:
    """A 3x3 convolution with padding 1 and stride 1, its weights (outputs, inputs, 3, 3) transformed once, in float64."""

    def __init__(self, conv: nn.Conv2d) -> None:
        _, g, _ = _matrices()
        weight = conv.weight.detach().double().flatten(2) @ g.T
        self.weight = weight.permute(2, 0, 1).float().contiguous()  # (36, outputs, inputs)
        _, self.outputs, self.inputs = self.weight.shape
        self.bias = torch.zeros(self.outputs, 1) if conv.bias is None else conv.bias.detach()[:, None].float()


class Taps:
    """A 3x3 convolution to few channels: its nine taps as one matrix product, and then shifted and added as pictures."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.outputs = conv.out_channels
        self.weight = conv.weight.detach().permute(2, 3, 0, 1).reshape(9 * self.outputs, -1).contiguous()
        self.bias = torch.zeros(self.outputs) if conv.bias is None else conv.bias.detach()

    def __call__(self, strips: Strips, grid: Grid) -> Tensor:
        """A picture (outputs, height, width)."""
        made = [torch.matmul(self.weight, strip[: TILE**2].flatten(2)).view(TILE**2, -1, *strip.shape[2:]) for strip in strips]
        taps = grid.join(made)
        taps = taps.reshape(3, 3, self.outputs, *taps.shape[1:])
        height, width = taps.shape[-2:]
        image = self.bias[:, None, None].expand(-1, height, width).clone()
        for i in range(3):
            for j in range(3):
                rows, columns = slice(max(0, 1 - i), height + min(0, 1 - i)), slice(max(0, 1 - j), width + min(0, 1 - j))
                seen_rows, seen_columns = (
                    slice(max(0, i - 1), height + min(0, i - 1)),
                    slice(max(0, j - 1), width + min(0, j - 1)),
                )
                image[:, rows, columns] += taps[i, j, :, seen_rows, seen_columns]
        return image


class Workshop:
    """Scratch memory and the two directions between pictures and what is multiplied. One thread at a time."""

    def __init__(self, threads: int) -> None:
        self._strip = STRIP_TILES * threads
        self._a, _, self._b = _matrices()
        self._grid: Grid | None = None
        self._scratch: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def grid(self, height: int, width: int) -> Grid:
        """How this picture is cut. Another size than the last one's gives all scratch memory back."""
        grid = Grid(height, width, self._strip)
        if grid != self._grid:
            self._scratch.clear()
            self._grid = grid
        return grid

    def scratch(self, name: str, *shape: int) -> Tensor:
        """The same memory for the same name and shape; zeros at first."""
        if (name, shape) not in self._scratch:
            self._scratch[name, shape] = torch.zeros(shape)
        return self._scratch[name, shape]

    def picture(self, name: str, grid: Grid, channels: int) -> Strips:
        """Scratch memory for a picture, all 36 planes of it, so that `transform` needs no copy."""
        return tuple(
            self.scratch(f"{name} {index}", SEEN**2, channels, rows, grid.columns) for index, rows in enumerate(grid.strips)
        )

    def transform(self, strips: Strips, index: int, out: Tensor) -> None:
        """B^T d B of one strip, into `out`: 36 rows of (channels x tiles) numbers, possibly a slice of longer ones."""
        strip = strips[index]
        _, channels, rows, columns = strip.shape
        planes = strip
        if len(strip) == TILE**2:
            planes = self.scratch("planes", SEEN**2, channels, rows, columns)
            planes[: TILE**2] = strip
        spread(planes, strips[index - 1] if index else None, strips[index + 1] if index + 1 < len(strips) else None)
        torch.mm(self._b, planes.view(SEEN**2, -1), out=out)

    def multiply(self, conv: Convolution, seen: Tensor, out: Tensor) -> None:
        """The convolution of a strip whose input is transformed: (36, inputs, tiles) into the first 16 planes of `out`."""
        outputs = out.shape[1]
        product = self.scratch("product", SEEN**2 + 1, outputs, seen.shape[2])
        torch.bmm(conv.weight, seen, out=product[: SEEN**2])
        product[SEEN**2] = conv.bias
        torch.mm(self._a, product.view(SEEN**2 + 1, -1), out=out[: TILE**2].view(TILE**2, -1))

    def convolve(
        self, conv: Convolution, strips: Strips, grid: Grid, out: Strips, activation: Activation | None = None
    ) -> Strips:
        """A whole picture through one convolution, strip by strip."""
        for index, strip in enumerate(out):
            _, _, rows, columns = strip.shape
            seen = self.scratch("seen", SEEN**2, conv.inputs, rows * columns)
            self.transform(strips, index, seen.view(SEEN**2, -1))
            self.multiply(conv, seen, strip)
            if activation is not None:
                activation(strip[: TILE**2])
        grid.clear_beyond(out)
        return out


def spread(planes: Tensor, above: Tensor | None, below: Tensor | None) -> None:
    """Fill planes 16 to 35 (what a tile sees beside itself) from the first 16 and those of the strips above and below.

    Plane (0, v) of a tile is row 3 of the tile above it, plane (5, v) row 0 of the one below; the columns likewise, of all six
    rows. Beyond the picture there are zeros: at its left and right they are there from the beginning, and nobody writes to them.
    """
    inner = planes[: TILE * SEEN].view(SEEN, TILE, *planes.shape[1:])  # rows 1, 2, 3, 4, 0, 5 of columns 1 to 4
    inner[4, :, :, 1:] = inner[3, :, :, :-1]
    inner[5, :, :, :-1] = inner[0, :, :, 1:]
    inner[4, :, :, 0] = 0 if above is None else above[12:16, :, -1]
    inner[5, :, :, -1] = 0 if below is None else below[0:4, :, 0]
    left, right = planes[24:30], planes[30:36]
    left[..., 1:], right[..., :-1] = inner[:, 3, ..., :-1], inner[:, 0, ..., 1:]
