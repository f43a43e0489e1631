"""`vsr bench`: how fast, and how good."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsr.cli.bench_consistency import consistency
from vsr.cli.bench_quality import quality
from vsr.cli.console import Console, progress_shown, require_writable, write_json
from vsr.cli.engine_options import engine_options, engine_wishes
from vsr.cli.types import Size
from vsr.config import EncodeConfig, UpscaleConfig
from vsr.names import STDIO, parse_scale, require_free

if TYPE_CHECKING:
    from vsr.bench.speed import SpeedReport


@click.group(invoke_without_command=True)
@click.option("--model", default="esrgan", show_default=True, metavar="NAME|PATH", help="Of the tour.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("vsr-bench.png"), show_default=True,
    help="The tour's contact sheet.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an existing contact sheet.")
@click.option("--json", "json_file", metavar="FILE", help="Write the tour as JSON; - is standard output.")
@click.pass_context
def bench(context: click.Context, model: str, output: Path, overwrite: bool, json_file: str | None) -> None:
    """Measure speed and quality. Without a command: a tour of about two minutes on the bundled clip.

    \b
    Examples:
      vsr bench
      vsr bench speed --model animevideo
    """
    if context.invoked_subcommand is None:
        run_tour(UpscaleConfig("", model=model), output, overwrite=overwrite, target=json_file)


def run_tour(config: UpscaleConfig, output: Path, *, overwrite: bool, target: str | None) -> None:
    """Speed, quality, and where the pictures are."""
    from vsr.bench.tour import FRAMES, take_tour
    from vsr.cli.bench_quality import contents, show

    require_writable(target)
    require_free(output, "", overwrite)
    console = Console(quiet=target == STDIO)
    console.say(
        f"{FRAMES} frames of the bundled clip: input for speed; for quality the truth, which MATLAB's bicubic shrinks by 4"
    )
    with progress_shown("auto", console) as on_progress:
        tour = take_tour(config, output, on_progress)
    for name, text in speed_rows(tour.speed).items():
        console.say(f"{name:<14}{text}")
    show(tour.quality, tour.asked, console, verbose=False)
    console.say(f"{tour.sheet}: written")
    facts = {"speed": asdict(tour.speed), "quality": contents(tour.quality), "sheet": str(tour.sheet)}
    write_json(target, "bench", "ok", tour.quality.warnings, **facts)


bench.add_command(quality)
bench.add_command(consistency)


@bench.command(short_help="How fast a model runs here, how close to the chip's limit, and what holds it back.")
@click.option("--input", "source", metavar="FILE", help="A clip without repeated frames.  [default: the bundled one]")
@click.option("--model", default="animevideo", show_default=True, metavar="NAME|PATH")
@click.option("--scale", type=float, metavar="F", help="1 to 16.  [default: 4]")
@click.option("--size", type=Size(), help="Size of the clip's frames before the model; the clip is enlarged to it.")
@click.option("--frames", type=click.IntRange(1), default=60, show_default=True)
@engine_options
@click.option("--codec", type=click.Choice(["auto", "h264", "hevc", "av1", "vp9", "prores", "ffv1"]), default="auto")
@click.option("--preset", metavar="NAME", help="As in `vsr upscale`.  [default: medium]")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")
def speed(**options: Any) -> None:
    """Frames a second of a model and of the whole chain, with the program's own decoder, engine and encoder.

    \b
    Example:
      vsr bench speed --model esrgan --size 480x270 --frames 10
    """
    config = UpscaleConfig(
        source=options["source"] or "",
        scale=None if options["scale"] is None else parse_scale(options["scale"]),
        model=options["model"],
        **engine_wishes(options),
        encode=EncodeConfig(codec=options["codec"], preset=options["preset"]),
    )
    run_speed(config, options["size"], options["frames"], options["json_file"])


def run_speed(config: UpscaleConfig, size: tuple[int, int] | None, frames: int, target: str | None) -> None:
    """A table and one sentence."""
    from vsr.bench.clip import bundled_clip
    from vsr.bench.speed import bench_speed

    require_writable(target)
    report = bench_speed(replace(config, source=config.source or bundled_clip()), size, frames)
    if target != STDIO:
        for name, text in speed_rows(report).items():
            click.echo(f"{name:<14}{text}")
    write_json(target, "bench speed", "ok", [], **asdict(report))


def speed_rows(report: SpeedReport) -> dict[str, str]:
    """What was measured, for people."""
    device_memory = f", {report.device_bytes / 1e9:.2f} GB of the device's" if report.device_bytes else ""
    share = f"{report.mfu:.0%} of the {report.ceiling_tflops:.3f} TFLOP/s that matrix products reach here"
    return {
        "model": f"{report.model}, {report.size[0]}x{report.size[1]}, {report.frames} frames",
        "on": f"{report.device}, {report.backend}, {report.precision}, {report.threads} threads, {report.workers} at a time",
        "network": f"{report.fps_model:.2f} frames a second{f', {share}' if report.ceiling_tflops else ''}",
        "whole chain": f"{report.fps_end_to_end:.2f} frames a second",
        "ms a frame": ", ".join(f"{name} {ms:.1f}" for name, ms in report.stages_ms.items()) + " (they overlap)",
        "inside model": ", ".join(f"{name} {ms:.1f}" for name, ms in report.inside_ms.items()) + " (a separate pass)",
        "waiting": ", ".join(f"{name} {share:.0%}" for name, share in report.waits.items()),
        "memory": f"{report.host_bytes / 1e9:.2f} GB{device_memory}",
        "limit": report.bottleneck,
    }
