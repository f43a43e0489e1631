"""RRDB's dense block, four ways:  python benchmarks/gpu/dense_block.py --json FILE [--device cuda] [--quick]

cat        the plain module: every convolution reads a tensor that grows by concatenation
buffer     one preallocated channels_last buffer; every convolution writes its slice of it
split      no concatenation: a convolution of C + n*g channels is the sum of n + 1 convolutions with slices of its weights
tail       the sub-pixel form of "nearest x2, then 3x3": four 2x2 convolutions, 4/9 of the work and no enlarged tensor to read

Each is compared with the plain module before it is timed. Rehearsal: --device cpu --quick.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from networks import captured, decibel, timed
from torch import Tensor, nn

from vsr.models.rrdb import LEAK, RESIDUAL_SCALE, ResidualDenseBlock

Run = Callable[[Tensor], Tensor]


def convolutions(block: ResidualDenseBlock) -> tuple[nn.Conv2d, ...]:
    return block.conv1, block.conv2, block.conv3, block.conv4, block.conv5


def with_buffer(block: ResidualDenseBlock, x: Tensor) -> Run:
    """One buffer of C + 4g channels, in channels_last a strided view for each convolution."""
    *growing, last = convolutions(block)
    n, c, h, w = x.shape
    g = growing[0].out_channels
    buffer = x.new_empty(n, c + 4 * g, h, w).to(memory_format=torch.channels_last)

    def run(frames: Tensor) -> Tensor:
        buffer[:, :c] = frames
        for i, conv in enumerate(growing):
            seen = c + i * g
            buffer[:, seen : seen + g] = F.leaky_relu(conv(buffer[:, :seen]), LEAK)
        out: Tensor = last(buffer) * RESIDUAL_SCALE + frames
        return out

    return run


def with_split(block: ResidualDenseBlock, x: Tensor) -> Run:
    """Sums of convolutions over the parts."""
    layers = convolutions(block)
    c, g = x.shape[1], layers[0].out_channels
    borders = [0, c, c + g, c + 2 * g, c + 3 * g, c + 4 * g]
    parts = [[conv.weight[:, borders[i] : borders[i + 1]].contiguous() for i in range(n + 1)] for n, conv in enumerate(layers)]

    def run(frames: Tensor) -> Tensor:
        seen = [frames]
        for conv, weights in zip(layers, parts, strict=True):
            out = F.conv2d(seen[0], weights[0], conv.bias, padding=1)
            for part, weight in zip(seen[1:], weights[1:], strict=True):
                out += F.conv2d(part, weight, padding=1)
            seen.append(F.leaky_relu(out, LEAK) if conv is not layers[-1] else out)
        return seen[-1] * RESIDUAL_SCALE + frames

    return run


def plain_tail(conv: nn.Conv2d) -> Run:
    return lambda x: conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def subpixel_tail(conv: nn.Conv2d) -> Run:
    """Output pixel (2i + a, 2j + b) sees 2x2 pixels of the small picture: sums of the 3x3 weights that fall on each."""
    rows = torch.tensor([[[1.0, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]]).to(conv.weight)  # phase, small row, weight row
    weight = torch.einsum("apr,bqs,oirs->aboipq", rows, rows, conv.weight)
    out_channels = conv.out_channels
    stacked = weight.reshape(4 * out_channels, conv.in_channels, 2, 2).contiguous(memory_format=torch.channels_last)
    bias = conv.bias

    def run(x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        phases = F.conv2d(x, stacked, padding=1).reshape(n, 2, 2, out_channels, h + 1, w + 1)
        out = x.new_empty(n, out_channels, 2 * h, 2 * w).to(memory_format=torch.channels_last)
        for a in (0, 1):
            for b in (0, 1):
                out[:, :, a::2, b::2] = phases[:, a, b, :, a : a + h, b : b + w]
        return out if bias is None else out.add_(bias[None, :, None, None])

    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--size", default="960x540")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = torch.device(options.device)
    width, height = (24, 20) if options.quick else map(int, options.size.split("x"))
    rows = []
    for dtype in (torch.float16, torch.bfloat16) if device.type == "cuda" else (torch.float32,):
        torch.manual_seed(0)
        block = ResidualDenseBlock(64, 32).to(device, dtype).to(memory_format=torch.channels_last)
        conv = nn.Conv2d(64, 64, 3, padding=1).to(device, dtype).to(memory_format=torch.channels_last)
        x = torch.randn(1, 64, height, width, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            block_runs = {"cat": block.forward, "buffer": with_buffer(block, x), "split": with_split(block, x)}
            tail_runs = {"nearest + 3x3": plain_tail(conv), "tail": subpixel_tail(conv)}
            for group in (block_runs, tail_runs):
                names = list(group)
                reference = group[names[0]](x)
                for name, run in group.items():
                    error = decibel(run(x), reference)
                    assert error > (100 if dtype == torch.float32 else 45), f"{name}: {error:.1f} dB to the plain module"
                    fast = captured(run, x) if device.type == "cuda" else run
                    seconds = timed(fast, x, 0.05 if options.quick else 1.0)
                    rows.append({"what": name, "dtype": str(dtype), "ms": 1e3 * seconds, "psnr": error})
                    print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"size": [width, height], "rows": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
