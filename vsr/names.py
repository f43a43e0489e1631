"""Names of outputs and sizes of targets: pure functions of what the user asked for."""

from __future__ import annotations

import math
import os
import re
from fractions import Fraction
from pathlib import Path

from vsr.config import UpscaleConfig
from vsr.errors import ConfigError, UsageError

STDIO = "-"
KEPT_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts")
FILM_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".m2v", ".vob", ".wmv", ".asf",
    ".flv", ".ogv", ".3gp", ".mxf", ".y4m", ".gif",
})  # fmt: skip
MAX_SIDE = 65_536
LONGEST_NAME = 240  # bytes: file systems allow 255, and the unfinished file carries a few more


def target_size(config: UpscaleConfig, width: int, height: int) -> tuple[int, int]:
    """The size that was asked for, in whole pixels. Raises ConfigError where it makes no sense for this source."""
    if config.size is not None:
        target = config.size
    elif config.height is not None:
        target = (max(1, _half_up(Fraction(width * config.height, height))), config.height)
    else:
        scale = Fraction(config.scale if config.scale is not None else 4.0).limit_denominator(10_000)
        target = (_half_up(width * scale), _half_up(height * scale))
    if max(target) > MAX_SIDE:
        raise UsageError(f"{target[0]}x{target[1]} is beyond {MAX_SIDE} pixels a side: ask for a smaller --scale or --size")
    if config.faithful and not (target[0] >= width and target[1] >= height and target != (width, height)):
        raise UsageError(f"--faithful: {target[0]}x{target[1]} is no enlargement of {width}x{height}; leave the option out")
    return target


def fit_sar(sar: Fraction, width: int, height: int, target_width: int, target_height: int) -> Fraction:
    """The sample aspect ratio that keeps the picture's shape; whole-pixel rounding alone does not touch it."""
    stretch = Fraction(target_width * height, target_height * width)
    if abs(stretch - 1) <= Fraction(1, min(target_width, target_height)) + Fraction(1, 200):
        return sar
    return (sar / stretch).limit_denominator(65_535)


def size_label(config: UpscaleConfig, width: int, height: int) -> str:
    """The end of a default name: x4, x1.5, or 3840x2160."""
    if config.size is None and config.height is None:
        return f"x{config.scale if config.scale is not None else 4:g}"
    return f"{width}x{height}"


def model_label(model: str) -> str:
    """A zoo name as it is, a checkpoint's stem; always one plain word for a file name."""
    stem = Path(model).stem if Path(model).suffix or "/" in model else model
    return re.sub(r"[^\w.+-]+", "_", stem)


def default_output(source: str, suffix: str, model: str, label: str) -> str:
    """Beside the input: `<stem>.<model>-<label><suffix>`."""
    path = Path(source)
    return str(path.with_name(f"{path.stem}.{model_label(model)}-{label}{suffix}"))


def default_suffix(source: str) -> str:
    """The input's container where it is one of those that are kept, else .mkv."""
    suffix = Path(source).suffix.lower()
    return suffix if suffix in KEPT_SUFFIXES else ".mkv"


def require_free(path: Path, source: str, overwrite: bool, option: str = "-o") -> None:
    """Refuses an output that is the input, that exists without --overwrite, or whose folder is not there or cannot be written;
    `option` names it."""
    other = f" with {option}" if option else ""
    try:
        there = path.exists()
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be used as a name: {exc.strerror}; choose another{other}") from exc
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise ConfigError(f"{path}: the name is too long; choose a shorter one{other}")
    if there:
        if Path(source).exists() and path.samefile(source):
            raise ConfigError(f"{path}: the output is the input itself; choose another name{other}")
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; name a file{other}")
        if not overwrite:
            raise ConfigError(f"{path}: exists already; add --overwrite to replace it, or choose another name{other}")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path}: no permission to write in {path.parent}; choose another place{other}")


def parse_scale(value: float) -> float:
    """A scale from 1 to 16."""
    if not math.isfinite(value) or not 1 <= value <= 16:
        raise UsageError(f"--scale {value:g}: must be from 1 to 16")
    return value


def _half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))
