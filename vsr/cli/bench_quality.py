"""`vsr bench quality`: a table as in the papers."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsr.cli.console import Console, progress_shown, require_writable, write_json
from vsr.cli.engine_options import engine_options, engine_wishes
from vsr.cli.types import is_number
from vsr.config import UpscaleConfig
from vsr.errors import UsageError
from vsr.names import STDIO, require_free

if TYPE_CHECKING:
    from vsr.bench.quality import QualityConfig, QualityReport
    from vsr.bench.strip import Detail


class Crop(click.ParamType[tuple[int, int, int, int]]):
    """X,Y,WIDTH,HEIGHT."""

    name = "x,y,w,h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int, int]:
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if len(parts) != 4 or not all(map(is_number, parts)):
            self.fail(f"{value!r} is not X,Y,WIDTH,HEIGHT, as in 96,40,128,128", param, ctx)
        x, y, width, height = map(int, parts)
        return x, y, width, height


@click.command(short_help="How near models come to the truth on a test set: a table as in the papers.")
@click.option("--dataset", required=True, metavar="DIR|NAME|FILM", help="HR with LR or alone, a set in $VSR_DATA, or a film.")
@click.option("--model", "models", multiple=True, metavar="NAME|PATH", help="May be repeated.  [default: esrgan]")
@click.option("--scale", type=click.IntRange(2, 16), default=4, show_default=True)
@click.option(
    "--protocol", "channel", type=click.Choice(["y", "rgb"]), default="y", show_default=True, help="Luma, or all of RGB."
)
@click.option("--border", type=click.IntRange(0, 4096), help="Pixels left out on each side.  [default: the scale]")
@click.option("--round-luma", "rounded", is_flag=True, help="Round the luma to 8 bits, as MATLAB does for uint8.")
@click.option(
    "--metrics",
    default="psnr,ssim",
    show_default=True,
    metavar="LIST",
    help="Of psnr, ssim, ms-ssim, lpips, lpips-vgg, niqe, consistency; of clips tpsnr, warp, tlpips, vmaf, too.",
)
@click.option(
    "--degrade", default="bicubic", show_default=True, metavar="HOW", help="LR of a film: bicubic, h264:CRF or hevc:CRF."
)
@click.option("--frames", type=click.IntRange(1), help="Frames of each clip.  [default: a film's first 60]")
@engine_options
@click.option("--crop", type=Crop(), help="Write this detail of every model side by side to -o.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where the strip of --crop goes.")
@click.option("--image", metavar="NAME", help="The picture for --crop.  [default: the first]")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep what the models make: DIR/MODEL/PICTURE.png."
)
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with the pictures, to look at side by side."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing page or strip.")
@click.option("--no-cache", is_flag=True, help="Measure again what was measured before.")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON, with every picture; - is standard output.")
@click.option("--progress", type=click.Choice(["auto", "bar", "json", "none"]), default="auto", show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Every picture.")
def quality(**options: Any) -> None:
    """PSNR, SSIM and more of models on a test set, each model run as `vsr upscale` runs it.

    \b
    Example:
      vsr bench quality --dataset Set5 --model bicubic --model span --metrics psnr,ssim,consistency
    """
    crop, output = options["crop"], options["output"]
    if (crop is None) != (output is None):
        raise UsageError("--crop and -o go together: the detail, and where its strip goes")
    run_quality(options)


def run_quality(options: dict[str, Any]) -> None:
    """The table, the strip, and the report."""
    from vsr.bench.quality import QualityConfig, bench_quality
    from vsr.bench.scores import parse_metrics
    from vsr.bench.strip import Detail, check_detail

    target, page = options["json_file"], options["html"]
    require_writable(target)
    if page is not None:
        require_free(page, "", options["overwrite"], option="--html")
    config = QualityConfig(
        dataset=options["dataset"],
        models=options["models"] or ("esrgan",),
        metrics=parse_metrics(options["metrics"]),
        engine=UpscaleConfig("", **engine_wishes(options)),
        cache=not options["no_cache"],
        **{name: options[name] for name in ("scale", "channel", "border", "rounded", "degrade", "frames", "keep")},
    )
    detail = None
    if options["crop"] is not None:  # what cannot be shown is known before the work
        require_free(options["output"], "", options["overwrite"])
        detail = Detail(options["crop"], options["output"], options["image"])
        check_detail(config, detail)
    console = Console(quiet=target == STDIO)
    with progress_shown(options["progress"], console) as on_progress:
        report = bench_quality(config, on_progress)
    show(report, config, console, verbose=options["verbose"])
    if detail is not None:
        strip(config, detail, console)
    if page is not None:
        gallery(config, report, page, console)
    write_json(target, "bench quality", "ok", report.warnings, **contents(report))


def show(report: QualityReport, config: QualityConfig, console: Console, *, verbose: bool) -> None:
    """The protocol, then a row for each model; `verbose`: one for each clip and picture below it."""
    from vsr.bench.scores import METRICS, key_of

    console.say(f"{report.dataset} x{report.scale}, {report.pictures} pictures; {report.protocol}")
    for line in report.told:
        console.say(f"  {line}")
    columns = {key_of(name, config.protocol): METRICS[name] for name in config.metrics}
    label = max(20, *(len(name) + 2 for name in report.models))
    console.say("".join((" " * label, *(f"{metric.title:>11}" for metric in columns.values()))))

    def row(name: str, figures: dict[str, float]) -> None:
        cells = (f"{figures[key]:>11.{m.digits}f}" if key in figures else f"{'-':>11}" for key, m in columns.items())
        console.say(f"{name:<{label}}{''.join(cells)}")

    for model, found in report.models.items():
        row(model, found.mean)
        if verbose:
            for name, figures in (*(found.groups.items() if len(found.groups) > 1 else ()), *found.images.items()):
                row(f"  {name}", figures)
    for warning in report.warnings:
        console.warn(warning)


def strip(config: QualityConfig, detail: Detail, console: Console) -> None:
    """Writes the strip and says so."""
    from vsr.bench.strip import write_strip

    for note in write_strip(config, detail):
        console.warn(f"{detail.output}: {note}")
    console.say(f"{detail.output}: written")


def gallery(config: QualityConfig, report: QualityReport, page: Path, console: Console) -> None:
    """Writes the page and says so."""
    from vsr.bench.gallery import write_gallery

    size = write_gallery(config, report, page, shlex.join(["vsr", *sys.argv[1:]]))
    console.say(f"{page}: written, {size / 1e6:.1f} MB")


def contents(report: QualityReport) -> dict[str, Any]:
    """As JSON: equal pictures, whose PSNR is infinite, have null there."""
    facts = asdict(report)
    facts.pop("warnings")
    return {name: _finite(value) for name, value in facts.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return None if isinstance(value, float) and abs(value) == float("inf") else value
