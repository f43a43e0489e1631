"""`vsr audition`: look before you wait."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

import click

from vsr.cli.console import Console, progress_shown, reported, write_json
from vsr.cli.engine_options import engine_options, engine_wishes
from vsr.cli.types import Segment, Size, Time, Within
from vsr.config import EncodeConfig, UpscaleConfig
from vsr.errors import UsageError
from vsr.names import STDIO, parse_scale

DEFAULT_MB = 64


@click.command(short_help="Telling moments of a film through several models, with hours and GB for each.")
@click.argument("source", metavar="INPUT")
@click.option("--model", "models", multiple=True, metavar="NAME|PATH", help="May be repeated.  [default: all that are here]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.html", help="Default: beside the input."
)
@click.option("--scale", type=float, metavar="F", help="1 to 16, fractions too.  [default: 4]")
@click.option("--size", type=Size(), help="Exact size, as in 3840x2160.")
@click.option("--height", type=click.IntRange(1, 65536), help="Height; the width follows.")
@click.option("--moments", type=click.IntRange(1, 48), default=6, show_default=True, help="How many are looked at.")
@click.option("--budget", type=Within(5, 1e6), default=300, show_default=True, metavar="SECONDS", help="What it may take, about.")
@engine_options
@click.option("--faithful", type=click.IntRange(0, 100), default=0, metavar="N", help="As in `vsr upscale`.  [default: 0]")
@click.option(
    "--codec", type=click.Choice(["auto", "h264", "hevc", "av1", "vp9", "prores", "ffv1"]), default="auto", show_default=True
)
@click.option("--encoder", metavar="NAME", help="As in `vsr upscale`.")
@click.option("--crf", type=click.IntRange(0, 63), help="As in `vsr upscale`.")
@click.option("--preset", metavar="NAME", help="As in `vsr upscale`.  [default: medium]")
@click.option("--bit-depth", type=click.Choice(["auto", "8", "10", "12"]), default="auto", show_default=True)
@click.option("--deinterlace", type=click.Choice(["auto", "off", "frame", "field", "ivtc"]), default="auto", show_default=True)
@click.option("--start", type=Time(), help="Of a part that begins there: seconds or HH:MM:SS.")
@click.option("--duration", type=Time(), help="... and is so long.")
@click.option("--segment", type=Segment(), default="auto", help="As in `vsr upscale`.  [default: auto]")
@click.option("--max-mb", type=click.IntRange(1, 2000), default=DEFAULT_MB, show_default=True, help="Largest page.")
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")
@click.option("--progress", type=click.Choice(["auto", "bar", "json", "none"]), default="auto", show_default=True)
def audition(**options: Any) -> None:
    """Find the moments of INPUT that tell most (dark, motion, fine texture, writing), run models on them, and write one page to
    look at, with the hours and the GB that the whole film would take.

    \b
    Example:
      vsr audition film.mkv --model esrgan --model animevideo --height 2160 --codec hevc
    """
    if sum(options[name] is not None for name in ("scale", "size", "height")) > 1:
        raise click.UsageError("--scale, --size and --height exclude each other: give one")
    if str(options["output"]) == STDIO:
        raise UsageError("-o -: a page needs a file; name one that ends in .html")
    with reported(options["json_file"], "audition"):
        run_audition(options)


def run_audition(options: dict[str, Any]) -> None:
    """Runs, shows progress, prints the table."""
    from vsr.bench.audition import Wish
    from vsr.bench.audition import audition as made
    from vsr.report import Progress

    source = Path(options["source"])
    wish = Wish(
        config=job_config(options),
        output=options["output"] or source.with_name(f"{source.stem}.audition.html"),
        models=options["models"],
        moments=options["moments"],
        budget=options["budget"],
        max_bytes=options["max_mb"] * 1_000_000,
        overwrite=options["overwrite"],
    )
    console = Console(to_stderr=options["json_file"] == STDIO)
    began = monotonic()
    with progress_shown(options["progress"], console) as draw:

        def tell(stage: str, done: int, total: int) -> None:
            if draw is not None:
                draw(Progress(stage, done, total, monotonic() - began))

        result = made(wish, shlex.join(["vsr", *sys.argv[1:]]), tell)
    console.say("moments: " + ", ".join(f"{kind} at {seconds:.1f} s" for kind, seconds in result.moments))
    console.say(f"{'':<24}{'whole film':>12}{'file':>10}{'frames/s':>10}")
    for model, it in result.estimates.items():
        rough = "" if it.measured else "  (rough)"
        console.say(f"{model:<24}{it.time:>12}{it.size:>10}{it.speed:>10}{rough}")
    for note in result.notes:
        console.say(note)
    console.say(f"{result.output}: {len(result.estimates) - len(result.left_out)} models, {result.page_bytes / 1e6:.1f} MB")
    write_json(options["json_file"], "audition", "ok", [], **asdict(result))


def job_config(options: dict[str, Any]) -> UpscaleConfig:
    """The job that is thought of."""
    scale, bits = options["scale"], options["bit_depth"]
    return UpscaleConfig(
        options["source"],
        scale=None if scale is None else parse_scale(scale),
        **engine_wishes(options),
        encode=EncodeConfig(
            options["codec"], options["encoder"], options["crf"], options["preset"], None if bits == "auto" else int(bits)
        ),
        segment=None if options["segment"] == "auto" else options["segment"],
        **{name: options[name] for name in ("size", "height", "faithful", "deinterlace", "start", "duration")},
    )
