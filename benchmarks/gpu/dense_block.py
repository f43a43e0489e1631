"""RRDB's dense block and its tail, the ways:  python benchmarks/gpu/dense_block.py --json FILE [--device cuda] [--quick]

cat        the plain module: every convolution reads a tensor that grows by concatenation
buffer     one preallocated channels_last buffer; every convolution writes its slice of it
split      no concatenation: a convolution of C + n*g channels is the sum of n + 1 convolutions with slices of its weights
nearest    the tail's step as it is: nearest x2, then a 3x3 convolution
subpixel   the same sums at the small size: four 2x2 convolutions, 4/9 of the work and no enlarged tensor to read

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

from vsr.engine.rrdb_forms import Block, buffered, convolutions, grown, nearest, subpixel
from vsr.models.rrdb import LEAK, RESIDUAL_SCALE, ResidualDenseBlock

Run = Callable[[Tensor], Tensor]


def whole(block: ResidualDenseBlock, sums: Block) -> Run:
    """A form of the product's, with the block's own residual."""
    convs = convolutions(block)
    return lambda x: sums(convs, x) * RESIDUAL_SCALE + x


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
            block_runs = {
                "cat": whole(block, grown(dtype)),
                "buffer": whole(block, buffered(dtype)),
                "split": with_split(block, x),
            }
            tail_runs = {"nearest": nearest(conv), "subpixel": subpixel(conv)}
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
