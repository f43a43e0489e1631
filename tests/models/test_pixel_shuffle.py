"""The order in which channels become pixels, as every network here takes it: checked against loops."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from vsr.models.edsr import upsampler

Array = npt.NDArray[np.float32]


def shuffled(x: Array, factor: int) -> Array:
    """Channel c*f*f + i*f + j of pixel (y, x) becomes channel c of pixel (y*f + i, x*f + j); equation 4 of arXiv:1609.05158."""
    n, channels, height, width = x.shape
    out = np.zeros((n, channels // factor**2, height * factor, width * factor), np.float32)
    for picture, channel, row, column in np.ndindex(out.shape):
        source = channel * factor**2 + (row % factor) * factor + column % factor
        out[picture, channel, row, column] = x[picture, source, row // factor, column // factor]
    return out


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_against_loops(factor: int) -> None:
    x = torch.rand(2, 3 * factor**2, 4, 5)
    assert np.array_equal(nn.PixelShuffle(factor)(x).numpy(), shuffled(x.numpy(), factor))
    assert np.array_equal(nn.functional.pixel_unshuffle(nn.functional.pixel_shuffle(x, factor), factor), x)


def test_layout_in_memory_does_not_matter() -> None:
    x = torch.rand(1, 12, 4, 5)
    assert torch.equal(nn.PixelShuffle(2)(x.to(memory_format=torch.channels_last)), nn.PixelShuffle(2)(x))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_an_upsamplers_convolution_feeds_it_in_that_order(scale: int) -> None:
    """Each output channel of the last convolution adds a number of its own: where it lands is where the loops put it."""
    net = upsampler(2, scale)
    conv, shuffle = net[-2], net[-1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(shuffle, nn.PixelShuffle)
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    numbers = torch.arange(float(conv.out_channels))
    with torch.no_grad():
        conv.bias.copy_(numbers)
        out = net(torch.rand(1, 2, 2, 2))
    side, factor = 2 * scale, shuffle.upscale_factor
    want = shuffled(numbers.reshape(1, -1, 1, 1).expand(1, -1, side // factor, side // factor).numpy(), factor)
    assert np.array_equal(out.numpy(), want)
