"""`vsr compare`: one page to look at results on."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import click

from vsr.cli.console import Console, progress_shown, require_writable, write_json
from vsr.cli.types import Time
from vsr.errors import UsageError, VsrError
from vsr.names import STDIO

DEFAULT_MB = 64


@click.command(short_help="One HTML page to compare images or films on: divider, zoom, plots.")
@click.argument("items", nargs=-1, required=True, metavar="A B [C ...]")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.html")
@click.option("--label", "labels", multiple=True, metavar="NAME", help="What to call an item; once for each, in their order.")
@click.option("--title", default="", metavar="TEXT", help="Above the page.  [default: the labels]")
@click.option(
    "--frames",
    type=click.IntRange(1, 500),
    default=12,
    show_default=True,
    help="Of a film, evenly spaced; its worst come beside them.",
)
@click.option(
    "--fit",
    type=click.Choice(["bicubic", "nearest"]),
    default="bicubic",
    show_default=True,
    help="How smaller items are enlarged.",
)
@click.option(
    "--metrics",
    type=click.Choice(["psnr,ssim", "psnr", "ssim", "none"]),
    default="psnr,ssim",
    show_default=True,
    help="What every frame is measured by.",
)
@click.option("--start", type=Time(), help="Begin there: seconds or HH:MM:SS.")
@click.option("--duration", type=Time(), help="Compare only so much.")
@click.option("--max-mb", type=click.IntRange(1, 2000), default=DEFAULT_MB, show_default=True, help="Largest page.")
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")
@click.option("--progress", type=click.Choice(["auto", "bar", "json", "none"]), default="auto", show_default=True)
def compare(**options: Any) -> None:
    """Write one self-contained HTML page that shows A, B and others under a divider, with synchronised zoom.

    Items are images, films, or patterns of numbered images (frames_%05d.png). What has A's size is measured against A.

    \b
    Examples:
      vsr compare original.png bicubic.png esrgan.png -o report.html
      vsr compare film.mkv film.esrgan-x4.mkv film.animevideo-x4.mkv --start 60 --duration 10 -o report.html
    """
    if len(options["items"]) < 2:
        raise UsageError("give two items or more to compare")
    if str(options["output"]) == STDIO:
        raise UsageError("-o -: a page needs a file; name one that ends in .html")
    if len(options["items"]) > 36:
        raise UsageError(f"{len(options['items'])} items are more than a page can show: give 36 or fewer")
    target = options["json_file"]
    require_writable(target)
    try:
        run_compare(options, target)
    except VsrError as exc:
        write_json(target, "compare", "error", [], error=str(exc))
        raise


def run_compare(options: dict[str, Any], target: str | None) -> None:
    """Runs, shows progress, says what was made."""
    from vsr.bench.compare import Wish
    from vsr.bench.compare import compare as made
    from vsr.report import Progress

    wish = Wish(
        paths=options["items"],
        output=options["output"],
        labels=options["labels"],
        title=options["title"],
        frames=options["frames"],
        fit=options["fit"],
        metrics=() if options["metrics"] == "none" else options["metrics"].split(","),
        start=options["start"],
        duration=options["duration"],
        max_bytes=options["max_mb"] * 1_000_000,
        overwrite=options["overwrite"],
    )
    console = Console(to_stderr=target == STDIO)
    began = monotonic()
    with progress_shown(options["progress"], console) as draw:

        def tell(stage: str, done: int, total: int) -> None:
            if draw is not None:
                draw(Progress(stage, done, total, monotonic() - began))

        result = made(wish, shlex.join(["vsr", *sys.argv[1:]]), tell)
    for note in result.notes:
        console.say(note)
    shown = f"{len(result.shown)} of {result.frames} frames, " if result.frames > 1 else ""
    console.say(f"{result.output}: {len(result.items)} items, {shown}{result.page_bytes / 1e6:.1f} MB")
    items = {
        item.label: {
            "source": source,
            "facts": dict(item.facts),
            "mean": {name: item.mean(name)[0] for name in item.metrics},
            "identical": {name: item.mean(name)[1] for name in item.metrics},
            "worst": {name: item.worst(name) for name in item.metrics},
        }
        for source, item in zip(options["items"], result.items, strict=True)
    }
    facts = {"output": result.output, "bytes": result.page_bytes, "frames": result.frames, "shown": result.shown}
    write_json(target, "compare", "ok", [], **facts, encoding=result.encoding, notes=result.notes, items=items)
