"""What each network costs, counted, beside what was published:  python benchmarks/network_table.py [--json FILE]

Parameters, and millions of floating-point operations (2 x multiply-adds of convolutions and dense layers) per input pixel. They
are counted by running the networks on torch's meta device, not taken from a formula. The mean colour of EDSR and MDSR is three
additions a pixel here: no operations are counted for it, as in the published figures; as the authors' 1x1 convolutions they would
be 18 (1 + scale^2) per input pixel, 0.0003 MFLOP at x4. SPAN is counted merged, as it is run.

"published" are counts over the reference implementations' convolutions (EDVR: also its deformable ones). EDVR's differ by 0.04 %:
they have one layer of the spatial attention at full size that runs at half of it. Exit code 1 when one of ours is more than 0.1 %
from it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from vsr.models.probe import count_mflop
from vsr.models.zoo import ARCHITECTURES

TOLERANCE = 0.001


@dataclass(frozen=True)
class Row:
    """One network: how to build it, and its published cost (None: none was found). EDVR's is with each frame's features once, or
    `anew` for every window.
    """

    name: str
    architecture: str
    options: dict[str, int | float | bool] = field(default_factory=dict)
    published: float | None = None
    anew: bool = False


Options = dict[str, int | float | bool]
FULL: Options = {"num_block": 32, "num_feat": 256, "res_scale": 0.1}
EDVR_L: Options = {"num_feat": 128, "num_reconstruct_block": 40}
ROWS = (
    Row("RRDB 23 x4 (ESRGAN)", "RRDBNet", {"num_block": 23}, 35.854),
    Row("RRDB 23 x2 (pixel-unshuffle)", "RRDBNet", {"num_block": 23, "scale": 2}, 8.966),
    Row("RRDB 6 x4 (anime)", "RRDBNet", {"num_block": 6}, 11.413),
    Row("Compact 16 x4", "SRVGGNetCompact", {"num_conv": 16}, 1.238),
    Row("Compact 32 x4", "SRVGGNetCompact", {"num_conv": 32}, 2.418),
    Row("Compact 16 x2", "SRVGGNetCompact", {"num_conv": 16, "upscale": 2}, 1.197),
    Row("SRResNet 16 x4", "SRResNet", {}, 4.436),
    Row("SPAN 48 x4", "SPAN", {"merged": True}),
    Row("SPAN 48 x2", "SPAN", {"merged": True, "upscale": 2}),
    Row("EDSR baseline x2", "EDSR", {"scale": 2}, 2.745),
    Row("EDSR baseline x3", "EDSR", {"scale": 3}),
    Row("EDSR baseline x4", "EDSR", {"scale": 4}, 3.966),
    Row("EDSR x2", "EDSR", {**FULL, "scale": 2}, 81.465),
    Row("EDSR x3", "EDSR", {**FULL, "scale": 3}),
    Row("EDSR x4", "EDSR", {**FULL, "scale": 4}, 100.505),
    Row("MDSR baseline x2", "MDSR", {"scale": 2}),
    Row("MDSR baseline x3", "MDSR", {"scale": 3}),
    Row("MDSR baseline x4", "MDSR", {"scale": 4}),
    Row("MDSR x2", "MDSR", {"num_block": 80, "scale": 2}, 13.002),
    Row("MDSR x3", "MDSR", {"num_block": 80, "scale": 3}),
    Row("MDSR x4", "MDSR", {"num_block": 80, "scale": 4}, 14.223),
    Row("EDVR-M x4, features once", "EDVR", {}, 13.762),
    Row("EDVR-M x4, features anew", "EDVR", {}, 16.909, anew=True),
    Row("EDVR-L x4, features once", "EDVR", EDVR_L, 60.92),
    Row("EDVR-L x4, features anew", "EDVR", EDVR_L, 73.48, anew=True),
)
# One MDSR against the three EDSRs that it stands for: the paper's point.
SHARED: tuple[tuple[str, Options, Options], ...] = (("baseline", {}, {}), ("full", FULL, {"num_block": 80}))


def build(architecture: str, options: Options) -> torch.nn.Module:
    """Without memory for its weights."""
    module, _, name = ARCHITECTURES[architecture].partition(":")
    with torch.device("meta"):
        network: torch.nn.Module = getattr(importlib.import_module(module), name)(**options)
    return network


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())  # a tensor that is used twice is there once


def table() -> list[dict[str, object]]:
    """One row for each network that this version has."""
    rows: list[dict[str, object]] = []
    for row in ROWS:
        if row.architecture not in ARCHITECTURES:
            continue
        network = build(row.architecture, row.options)
        mflop = count_mflop(network, anew=row.anew)
        off = None if row.published is None else mflop / row.published - 1
        rows.append(
            {
                "network": row.name,
                "parameters": parameters(network),
                "mflop_per_pixel": round(mflop, 3),
                "published": row.published,
                "off": None if off is None else round(off, 5),
            }
        )
    return rows


def shared() -> list[dict[str, object]]:
    """Parameters of EDSR x2, x3 and x4 together, and of one MDSR, whose shared tensors are counted once."""
    sizes: list[dict[str, object]] = []
    for name, edsr, mdsr in SHARED:
        three = sum(parameters(build("EDSR", {**edsr, "scale": scale})) for scale in (2, 3, 4))
        sizes.append({"size": name, "edsr_x2_x3_x4": three, "mdsr": parameters(build("MDSR", dict(mdsr)))})
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows, sizes = table(), shared()
    print(f"{'network':<30}{'parameters':>12}{'MFLOP/pixel':>13}{'published':>11}")
    for row in rows:
        published = "" if row["published"] is None else f"{row['published']:.3f}"
        print(f"{row['network']:<30}{row['parameters']:>12,}{row['mflop_per_pixel']:>13.3f}{published:>11}")
    for size in sizes:
        print(f"{size['size']}: EDSR x2 + x3 + x4 {size['edsr_x2_x3_x4']:,} parameters, one MDSR {size['mdsr']:,}")
    if options.json:
        options.json.write_text(json.dumps({"networks": rows, "shared": sizes}, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(isinstance(row["off"], float) and abs(row["off"]) > TOLERANCE for row in rows))


if __name__ == "__main__":
    main()
