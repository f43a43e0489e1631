"""The options that say how the network is run: the same wherever it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from vsr.cli.types import NumberOr

Command = Callable[..., Any]

_OPTIONS = (
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto, cpu, cuda, cuda:N, mps, xpu, vulkan or vulkan:N.",
    ),
    click.option(
        "--hwaccel",
        default="auto",
        show_default=True,
        metavar="auto|off|NAME",
        help="Hardware decoding where it equals software's.",
    ),
    click.option(
        "--backend",
        type=click.Choice(["auto", "torch", "winograd", "ncnn"]),
        default="auto",
        show_default=True,
        help="winograd, ncnn: fp32 on a CPU with fewer multiplications.",
    ),
    click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True),
    click.option("--batch", type=NumberOr("auto"), default="auto", show_default=True, help="Frames at once."),
    click.option(
        "--tile", type=NumberOr("auto", "off"), default="auto", show_default=True, help="Side of the tiles in input pixels."
    ),
    click.option("--threads", type=NumberOr(), help="CPU threads of the model."),
)


def engine_options(command: Command) -> Command:
    """A command with these options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def engine_wishes(options: dict[str, Any]) -> dict[str, Any]:
    """What they say, as fields of `UpscaleConfig`."""
    batch, tile = options["batch"], options["tile"]
    return {
        **{name: options[name] for name in ("device", "hwaccel", "backend", "precision", "threads")},
        "batch": None if batch == "auto" else batch,
        "tile": None if tile == "auto" else tile,
    }
