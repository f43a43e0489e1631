"""RRDBNet for inference: the plain module's results (to rounding) with less traffic and better rounding.

stream   Every dense block adds a little to a long residual stream. In bfloat16, which has 8 bits, 70 such sums in a row round the
         picture away: 48.0 dB to float32 in the worst of 18 photographs. With this stream, and the first convolution, which
         reads the 8-bit picture itself, in float32, it is 53.5 dB, in the same time. float16 has 11 bits and needs neither.
dense    "cat": every convolution reads a tensor that grows by concatenation. "buffer": one channels_last buffer for all,
         of which each convolution reads the front and writes the next slice.
tail     "nearest": enlarge by 2, then a 3x3 convolution. "subpixel": the same sums at the small size, four 2x2 convolutions:
         4/9 of the work, and no enlarged picture to read.

Which of dense and tail is faster depends on the device: `vsr.engine.race` measures; benchmarks/gpu/dense_block.py shows it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.models.rrdb import LEAK, RESIDUAL_SCALE, RRDBNet

Block = Callable[[list[nn.Conv2d], Tensor], Tensor]  # the block's convolutions and its input -> what is added to that
Dense = Literal["cat", "buffer"]
Tail = Literal["nearest", "subpixel"]
FORMS = tuple(f"{dense}+{tail}" for dense in get_args(Dense) for tail in get_args(Tail))
PLAIN = FORMS[0]


class RrdbForm:
    """Runs a copy of `net` on `device` in `dtype`: (N, 3, H, W) float32 -> (N, 3, H*scale, W*scale) in `dtype`."""

    def __init__(self, net: RRDBNet, device: torch.device, dtype: torch.dtype, form: str = PLAIN) -> None:
        if form not in FORMS:
            raise ValueError(f"{form}: no form of RRDBNet; there are {', '.join(FORMS)}")
        self._dense, tail = form.split("+")
        self._dtype = dtype
        self._stream = torch.float32 if dtype == torch.bfloat16 else dtype
        self._net = copy.deepcopy(net).to(device, dtype, memory_format=torch.channels_last)
        self._first = copy.deepcopy(net.conv_first).to(device, self._stream).to(memory_format=torch.channels_last)
        self._blocks = [[convolutions(block) for block in part.children()] for part in self._net.body]
        self._up = [subpixel(conv) if tail == "subpixel" else nearest(conv) for conv in (self._net.conv_up1, self._net.conv_up2)]

    def __call__(self, frames: Tensor) -> Tensor:
        net = self._net
        x = frames.to(self._stream, memory_format=torch.channels_last)
        if net.unshuffle > 1:
            x = F.pixel_unshuffle(x, net.unshuffle)
        first = x = self._first(x)
        block = buffered(self._dtype) if self._dense == "buffer" else grown(self._dtype)
        for part in self._blocks:
            y = x
            for convs in part:
                y = torch.add(y, block(convs, y), alpha=RESIDUAL_SCALE)
            x = torch.add(x, y, alpha=RESIDUAL_SCALE)
        x = net.conv_body(x.to(self._dtype)).add(first).to(self._dtype)
        for up in self._up:
            x = F.leaky_relu_(up(x), LEAK)
        image: Tensor = net.conv_last(F.leaky_relu_(net.conv_hr(x), LEAK))
        return image


def grown(dtype: torch.dtype) -> Block:
    """The dense block with a tensor that grows by concatenation."""

    def block(convs: list[nn.Conv2d], x: Tensor) -> Tensor:
        *growing, last = convs
        dense = x.to(dtype)
        for conv in growing:
            dense = torch.cat((dense, F.leaky_relu_(conv(dense), LEAK)), 1)
        out: Tensor = last(dense)
        return out

    return block


def buffered(dtype: torch.dtype) -> Block:
    """The dense block in one buffer, which is made for the first picture and serves the blocks that follow."""
    buffer: Tensor | None = None

    def block(convs: list[nn.Conv2d], x: Tensor) -> Tensor:
        nonlocal buffer
        *growing, last = convs
        if buffer is None:
            n, _, h, w = x.shape
            buffer = torch.empty((n, last.in_channels, h, w), dtype=dtype, device=x.device, memory_format=torch.channels_last)
        buffer[:, : x.shape[1]] = x
        for conv in growing:
            seen, made = conv.in_channels, conv.out_channels
            buffer[:, seen : seen + made] = F.leaky_relu_(conv(buffer[:, :seen]), LEAK)
        out: Tensor = last(buffer)
        return out

    return block


def convolutions(block: nn.Module) -> list[nn.Conv2d]:
    """Of a block, in order."""
    return [conv for conv in block.children() if isinstance(conv, nn.Conv2d)]


def nearest(conv: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    """The tail's step as it is written: enlarge, then convolve."""
    return lambda x: conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def subpixel(conv: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    """ "nearest x2, then `conv`" as one 2x2 convolution to four times the channels: output pixel (2i + a, 2j + b) sees 2x2 pixels
    of the small picture, and of the 3x3 weights those that fall on the same pixel are added up (in float32)."""
    rows = torch.tensor([[[1.0, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], device=conv.weight.device)  # phase, small, weight row
    summed = torch.einsum("apr,bqs,oirs->oabipq", rows, rows, conv.weight.float())
    outputs, inputs = conv.out_channels, conv.in_channels
    weight = summed.reshape(4 * outputs, inputs, 2, 2).to(conv.weight.dtype, memory_format=torch.channels_last)
    bias = None if conv.bias is None else conv.bias.repeat_interleave(4)

    def run(x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        phases = F.conv2d(x, weight, bias, padding=1)  # (N, outputs * 4, h + 1, w + 1); phase a begins at row a
        n = len(x)
        phases = phases.view(n, outputs, 2, 2, height + 1, width + 1)
        out = torch.empty((n, outputs, 2 * height, 2 * width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        for a in (0, 1):
            for b in (0, 1):
                out[:, :, a::2, b::2] = phases[:, :, a, b, a : a + height, b : b + width]
        return out

    return run
