"""The whole chain on one device:  python benchmarks/gpu/end_to_end.py --json FILE [--device cuda] [--quick]

planes up -> convert, network, convert -> planes down -> encode, with batches of one, two and four, against the rate of the
network alone; which stage is the limit, and peak memory. `vsr bench speed` for each. Rehearsal: --device cpu --quick.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import product
from pathlib import Path

from vsr import EncodeConfig, UpscaleConfig
from vsr.bench.clip import bundled_clip
from vsr.bench.speed import bench_speed

SIZES = ((480, 270), (960, 540))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes = (None,) if options.quick else SIZES
    models = ("animevideo",) if options.quick else ("animevideo", "esrgan")
    presets = ("ultrafast",) if options.quick else ("medium", "ultrafast")
    batches = (1,) if options.quick else (1, 2, 4)
    rows = []
    for model, size, preset, batch in product(models, sizes, presets, batches):
        config = UpscaleConfig(
            bundled_clip(), scale=4, model=model, device=options.device, batch=batch, encode=EncodeConfig(preset=preset)
        )
        report = bench_speed(config, size, 10 if options.quick else options.frames)
        rows.append({**asdict(report), "preset": preset, "batch": batch})
        print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
