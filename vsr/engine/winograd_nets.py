"""Our networks on `vsr.engine.winograd`: a fast float32 on any CPU, with nothing to install.

Against torch (channels_last, float32): see docs/lab.md. `vsr.engine.race` measures it before it is chosen.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.engine.exact_cpu import ExactCpuNetwork
from vsr.engine.winograd import SEEN, TILE, Activation, Convolution, Grid, Strips, Taps, Workshop, double
from vsr.models.compact import SRVGGNetCompact
from vsr.models.rrdb import LEAK, RESIDUAL_SCALE, RRDBNet
from vsr.models.spec import Generator, ModelSpec

# Peak memory against torch's channels_last, measured (process growth a pixel, scratch memory included).
MORE_MEMORY = {"RRDBNet": 1.0, "SRVGGNetCompact": 1.7}
BYTES_PER_PARAMETER = 16  # F(4,3) keeps 36 numbers for 9
INNER = TILE**2  # the planes that are the picture; the others are copies


def knows(generator: Generator) -> bool:
    """RRDBNet and SRVGGNetCompact, exactly: a subclass may compute something else."""
    return type(generator) in (RRDBNet, SRVGGNetCompact)


def build(generator: Generator, threads: int) -> WinogradNetwork | None:
    """`generator`, with the weights that it has in memory (float32, on the CPU), for `threads` threads (0 = torch's number).

    None for a network that is not known here.
    """
    threads = threads or torch.get_num_threads()
    if type(generator) is RRDBNet:
        return _Rrdb(generator, threads)
    if type(generator) is SRVGGNetCompact:
        return _Compact(generator, threads)
    return None


def bytes_per_pixel(spec: ModelSpec) -> int:
    """Peak bytes per input pixel in this engine, for tiling; measured (process growth), and scaled for other widths as
    `spec.bytes_per_pixel`, which is torch's, is."""
    return math.ceil(MORE_MEMORY.get(spec.architecture, 0) * spec.bytes_per_pixel)


class WinogradNetwork(ExactCpuNetwork):
    """Made by `build`. The same bytes from run to run and from batch to batch; its scratch memory stays between frames."""

    engine = "Winograd"

    def __init__(self, spec: ModelSpec, threads: int) -> None:
        super().__init__(spec)
        self._work = Workshop(threads)


class _Compact(WinogradNetwork):
    def __init__(self, net: SRVGGNetCompact, threads: int) -> None:
        super().__init__(net.spec, threads)
        layers = list(net.body)
        self._scale = net.upscale
        self._first = layers[0]
        *inner, last = [Convolution(layer) for layer in layers[2:] if isinstance(layer, nn.Conv2d)]
        activations = [_in_place(layer) for layer in layers if not isinstance(layer, nn.Conv2d)]
        self._start, self._steps, self._last = activations[0], list(zip(inner, activations[1:], strict=True)), last

    def enlarge(self, frame: Tensor) -> Tensor:
        work = self._work
        grid = work.grid(*frame.shape[1:])
        x = self._first(frame[None])
        self._start(x)
        here, there = (work.picture(name, grid, x.shape[1]) for name in ("here", "there"))
        grid.cut(x[0], here)
        for conv, activation in self._steps:
            work.convolve(conv, here, grid, there, activation)
            here, there = there, here
        last = work.convolve(self._last, here, grid, work.picture("last", grid, self._last.outputs))
        image = F.pixel_shuffle(grid.join(last), self._scale)
        return image.add_(F.interpolate(frame[None], scale_factor=float(self._scale), mode="nearest")[0])


class _Rrdb(WinogradNetwork):
    def __init__(self, net: RRDBNet, threads: int) -> None:
        super().__init__(net.spec, threads)
        self._unshuffle, self._first = net.unshuffle, net.conv_first
        self._body = [[_dense(block) for block in part.children()] for part in net.body]
        self._after_body, self._up = Convolution(net.conv_body), [Convolution(net.conv_up1), Convolution(net.conv_up2)]
        self._hr, self._last = Convolution(net.conv_hr), Taps(net.conv_last)

    def enlarge(self, frame: Tensor) -> Tensor:
        folded = F.pixel_unshuffle(frame, self._unshuffle) if self._unshuffle > 1 else frame
        first = self._first(folded[None])[0]
        work = self._work
        grid = work.grid(*first.shape[1:])
        x, a, b = (work.picture(name, grid, len(first)) for name in ("x", "a", "b"))
        grid.cut(first, x)
        for first_block, second, third in self._body:
            self._block(first_block, grid, x, a)
            self._block(second, grid, a, b)
            self._block(third, grid, b, a)
            for strip, change in zip(x, a, strict=True):
                strip[:INNER].add_(change[:INNER], alpha=RESIDUAL_SCALE)
        skip = grid.empty(len(first))
        grid.cut(first, skip)
        body = work.convolve(self._after_body, x, grid, grid.empty(len(first)))
        for strip, start in zip(body, skip, strict=True):
            strip.add_(start)
        for conv in self._up:
            body, grid = double(body, grid)
            body = work.convolve(conv, body, grid, grid.empty(len(first)), _leak)
        body = work.convolve(self._hr, body, grid, grid.empty(len(first)), _leak)
        return self._last(body, grid)

    def _block(self, convs: list[Convolution], grid: Grid, x: Strips, out: Strips) -> None:
        """A dense block of the picture x, into `out`. What its convolutions see grows in transformed form."""
        work = self._work
        *growing, last = convs
        grow = work.picture("grow", grid, growing[0].outputs)
        seen = [work.scratch(f"seen {i}", SEEN**2, last.inputs, strip[0, 0].numel()) for i, strip in enumerate(x)]
        for index, part in enumerate(seen):
            work.transform(x, index, _rows(part, 0, growing[0].inputs))
        for conv in growing:
            for part, strip in zip(seen, grow, strict=True):
                work.multiply(conv, part[:, : conv.inputs], strip)
                _leak(strip[:INNER])
            grid.clear_beyond(grow)
            for index, part in enumerate(seen):
                work.transform(grow, index, _rows(part, conv.inputs, conv.inputs + conv.outputs))
        for part, strip, start in zip(seen, out, x, strict=True):
            work.multiply(last, part, strip)
            torch.add(start[:INNER], strip[:INNER], alpha=RESIDUAL_SCALE, out=strip[:INNER])
        grid.clear_beyond(out)


def _rows(seen: Tensor, begin: int, end: int) -> Tensor:
    """Channels `begin` to `end` of (36, channels, tiles), as 36 rows."""
    tiles = seen.shape[2]
    return seen.view(SEEN**2, -1)[:, begin * tiles : end * tiles]


def _dense(block: nn.Module) -> list[Convolution]:
    return [Convolution(conv) for conv in block.children() if isinstance(conv, nn.Conv2d)]


def _leak(x: Tensor) -> None:
    F.leaky_relu_(x, LEAK)


def _in_place(layer: nn.Module) -> Activation:
    """An activation of ours on (16, C, rows, columns), in place."""
    if isinstance(layer, nn.PReLU):
        slopes = layer.weight.detach()
        return lambda x: x.copy_(F.prelu(x, slopes))
    if isinstance(layer, nn.LeakyReLU):
        slope = layer.negative_slope
        return lambda x: F.leaky_relu_(x, slope)
    return torch.relu_
