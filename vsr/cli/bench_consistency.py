"""`vsr bench consistency`: whether a result still is a picture of its input."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from vsr.cli.console import Console, require_writable, write_json
from vsr.errors import UsageError
from vsr.names import STDIO, require_free


@click.command(short_help="How well an enlarged image, shrunk again, agrees with its input: figures and a map.")
@click.argument("source", type=click.Path(path_type=Path), metavar="INPUT")
@click.argument("made", type=click.Path(path_type=Path), metavar="OUTPUT")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="MAP.png", help="Write the map.")
@click.option(
    "--full",
    type=click.FloatRange(min=0, min_open=True),
    metavar="LEVELS",
    help="The difference in the map's full colour, in levels of INPUT.  [default: what 99.9 % stay below]",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing map.")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")
def consistency(
    source: Path, made: Path, output: Path | None, full: float | None, overwrite: bool, json_file: str | None
) -> None:
    """Shrink OUTPUT to INPUT's size and compare: images of 8 or 16 bits, in their own levels, without any truth.

    \b
    Example:
      vsr upscale sky.png --model srresnet -o sky-x4.png
      vsr bench consistency sky.png sky-x4.png -o map.png
    """
    from vsr.bench.consistency import measure, write_map
    from vsr.media.images import IMAGE_SUFFIXES, is_image

    require_writable(json_file)
    if output is not None:
        if not is_image(str(output)):
            raise UsageError(f"{output}: a map is an image; end its name in one of {', '.join(sorted(IMAGE_SUFFIXES))}")
        require_free(output, str(source), overwrite)
        require_free(output, str(made), overwrite)
    found, shown = measure(source, made, full)
    console = Console(quiet=json_file == STDIO)
    sizes = "{}x{} to {}x{}".format(*found.source, *found.made)
    light = "black" if found.light is None else f"{100 * (found.light - 1):+.3f} %"
    rows = {
        "sizes": f"{sizes}; levels 0 to {found.peak}",
        "consistency": f"{found.psnr:.2f} dB",
        "difference": f"{found.rms:.2f} levels (root mean square), {found.worst:.0f} at worst",
        "brightness": f"{found.bias:+.2f} levels in the mean; light {light}",
        "at the ends": "{:.4%} of the input's samples, {:.4%} of the output's: what went beyond was cut off".format(
            *found.at_ends
        ),
    }
    for name, text in rows.items():
        console.say(f"{name:<14}{text}")
    if output is not None:
        write_map(output, shown, found.full)
        console.say(f"{output}: written; red is {found.full:.2f} levels too bright, blue too dark, white the same")
    facts = asdict(found) | {"psnr": None if found.psnr == float("inf") else found.psnr}
    write_json(json_file, "bench consistency", "ok", [], **facts)
