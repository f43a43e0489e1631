"""How much disk a job will take: an estimate, good to a factor of about three either way."""

from __future__ import annotations

import shutil
from pathlib import Path

from vsr.errors import ConfigError
from vsr.plan import Plan

# Bits per output pixel and frame at the default quality; films differ by a factor of three either way.
BITS_PER_PIXEL = {"h264": 0.12, "hevc": 0.07, "av1": 0.06, "vp9": 0.09, "prores": 3.5, "ffv1": 7.0}


def output_bytes(plan: Plan, frames: int) -> int:
    """Bytes of the finished film's pictures; 0 where nothing is known of the codec."""
    bits = BITS_PER_PIXEL.get(plan.encoding.codec, 0.0)
    return int(bits * plan.target.width * plan.target.height * frames / 8)


def require_room(plan: Plan, frames: int) -> None:
    """Refuses a job that cannot fit: segments and the finished file are there together at the end.

    Raises ConfigError when a third of the estimate is more than what is free: the estimate is no better than that.
    """
    needed = 2 * output_bytes(plan, frames)
    free = shutil.disk_usage(Path(plan.work_dir).parent).free
    if needed / 3 > free:
        raise ConfigError(
            f"{plan.output}: work and result need about {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free; "
            "make room, choose another place with -o and --work-dir, or a higher --crf"
        )
