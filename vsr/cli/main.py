"""The command line: parse -> dataclass -> one call -> exit code. No tensor, no path logic."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from vsr import __version__
from vsr.cli.audition import audition
from vsr.cli.batch import batch
from vsr.cli.bench import bench
from vsr.cli.compare import compare
from vsr.cli.engine_options import engine_options, engine_wishes
from vsr.cli.models import models
from vsr.cli.process import set_up
from vsr.cli.rate import rate
from vsr.cli.train import train
from vsr.cli.types import Segment, Share, Size, Time, key_value
from vsr.config import EncodeConfig, UpscaleConfig
from vsr.errors import VsrError
from vsr.names import parse_scale

PROGRAM = "vsr"


def main() -> NoReturn:
    """Entry point of the console script: exit codes as in docs/cli.md, tracebacks only with VSR_DEBUG=1."""
    set_up()
    try:
        code = cli.main(prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        code = exc.exit_code
    except (Stopped, KeyboardInterrupt, click.Abort) as exc:
        # A second Ctrl-C leaves the thread that computes a frame behind; leaving the process this way does not wait for it.
        click.echo(f"{PROGRAM}: interrupted; {str(exc) or 'nothing is left behind'}", err=True)
        sys.stdout.flush()
        os._exit(130)
    except VsrError as exc:
        if os.environ.get("VSR_DEBUG") == "1":
            raise
        fail(str(exc), exc.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left: nothing more to say
        os._exit(1)
    except Exception as exc:
        if os.environ.get("VSR_DEBUG") == "1":
            raise
        fail(f"internal error: {type(exc).__name__}: {exc} (VSR_DEBUG=1 shows where; please report it)", 1)
    sys.exit(code if isinstance(code, int) else 0)


def fail(message: str, code: int) -> NoReturn:
    click.echo(f"{PROGRAM}: {' '.join(message.split())}", err=True)
    sys.exit(code)


class Stopped(Exception):
    """Ctrl-C on its way past click, which would print an empty line."""


class Program(click.Group):
    """The commands; an interrupt leaves them as `Stopped`."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as exc:
            raise Stopped(str(exc)) from exc


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Video super-resolution that keeps every frame, timestamp, stream and tag.

    \b
    Example:
      vsr upscale input.mp4 --scale 4 --model esrgan
    """


cli.add_command(audition)
cli.add_command(batch)
cli.add_command(bench)
cli.add_command(compare)
cli.add_command(models)
cli.add_command(rate)
cli.add_command(train)


@cli.command(short_help="Upscale a video, an image, a folder or a sequence of images.")
@click.argument("source", metavar="INPUT")
@click.option(
    "-o", "--output", metavar="OUTPUT", help="A path, a pattern for frames, or - for stdout. Default: beside the input."
)
@click.option("--scale", type=float, metavar="F", help="1 to 16, fractions too.  [default: 4]")
@click.option("--size", type=Size(), help="Exact size, as in 3840x2160.")
@click.option("--height", type=click.IntRange(1, 65536), help="Height; the width follows.")
@click.option(
    "--model",
    default="esrgan",
    show_default=True,
    metavar="NAME|PATH",
    help="A name from `vsr models list`, or a checkpoint file.",
)
@click.option("--blend", type=Share(), metavar="F", help="From 0, the model's PSNR-oriented twin, to 1, itself.")
@engine_options
@click.option("--reuse", default="exact", show_default=True, metavar="off|exact|near:DB", help="Enlarge repeated frames once.")
@click.option(
    "--faithful",
    type=click.IntRange(0, 100),
    default=0,
    metavar="N",
    help="Steps of back-projection: shrunk again, the result comes nearer to the input.  [default: 0]",
)
@click.option(
    "--codec", type=click.Choice(["auto", "h264", "hevc", "av1", "vp9", "prores", "ffv1"]), default="auto", show_default=True
)
@click.option("--encoder", metavar="NAME", help="A certain encoder of FFmpeg's for the codec, as h264_nvenc.")
@click.option("--crf", type=click.IntRange(0, 63), help="Quality, lower is better.  [h264 18, hevc 20, av1 28, vp9 24]")
@click.option("--preset", metavar="NAME", help="x264's names for every codec, or the encoder's own.  [default: medium]")
@click.option("--bit-depth", type=click.Choice(["auto", "8", "10", "12"]), default="auto", show_default=True)
@click.option(
    "--encoder-option",
    "encoder_options",
    multiple=True,
    callback=key_value,
    metavar="K=V",
    help="Passed to the encoder as it is.",
)
@click.option(
    "--deinterlace",
    type=click.Choice(["auto", "off", "frame", "field", "ivtc"]),
    default="auto",
    show_default=True,
    help="auto: frames that are flagged; frame: all; field: two for each; ivtc: undo a 3:2 pulldown.",
)
@click.option("--start", type=Time(), help="Begin there: seconds or HH:MM:SS.")
@click.option("--duration", type=Time(), help="Do only so much.")
@click.option("--fps", metavar="RATE", help="Frame rate of an image sequence, as 24 or 30000/1001.")
@click.option(
    "--pipe-format",
    type=click.Choice(["auto", "y4m", "nut"]),
    default="auto",
    show_default=True,
    help="Of -o -: frames alone (y4m), or every stream (nut). auto: y4m for y4m and images, else nut.",
)
@click.option(
    "--segment", type=Segment(), default="auto", help="Seconds of film in a crash-safe segment; 0 = off.  [default: auto]"
)
@click.option("--no-resume", is_flag=True, help="Begin again instead of going on with unfinished work.")
@click.option("--work-dir", type=click.Path(path_type=Path), help="Where unfinished work is kept.  [default: beside the output]")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--no-verify", is_flag=True, help="Do not re-read the output.")
@click.option("--report", "--json", "json_file", metavar="FILE", help="Write a report as JSON; - is standard output.")
@click.option("--progress", type=click.Choice(["auto", "bar", "json", "none"]), default="auto", show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="Write what is said to a file as well.")
def upscale(**options: Any) -> None:
    """Upscale INPUT: a video, an image, a folder of images, a pattern (frames_%05d.png), or - for standard input.

    \b
    Examples:
      vsr upscale input.mp4 --scale 4 --model esrgan
      vsr upscale film.mkv --height 2160 --model animevideo --codec hevc -o film-4k.mkv
      vsr upscale film.mkv --device cuda:0,cuda:1     (or --device all: one film on several devices)
    """
    from vsr.cli.commands import run_upscale

    run_upscale(upscale_config(options), options)


def upscale_config(options: dict[str, Any]) -> UpscaleConfig:
    """The command line's options as a config."""
    if sum(options[name] is not None for name in ("scale", "size", "height")) > 1:
        raise click.UsageError("--scale, --size and --height exclude each other: give one")
    encode = EncodeConfig(
        options["codec"],
        options["encoder"],
        options["crf"],
        options["preset"],
        None if options["bit_depth"] == "auto" else int(options["bit_depth"]),
        options["encoder_options"],
    )
    scale = options["scale"]
    return UpscaleConfig(
        source=options["source"],
        output=options["output"],
        scale=None if scale is None else parse_scale(scale),
        size=options["size"],
        height=options["height"],
        model=options["model"],
        blend=options["blend"],
        **engine_wishes(options),
        encode=encode,
        start=options["start"],
        duration=options["duration"],
        fps=options["fps"],
        pipe_format=options["pipe_format"],
        deinterlace=options["deinterlace"],
        reuse=options["reuse"],
        faithful=options["faithful"],
        segment=None if options["segment"] == "auto" else options["segment"],
        resume=not options["no_resume"],
        work_dir=options["work_dir"],
        overwrite=options["overwrite"],
        verify=not options["no_verify"],
    )


@cli.command(short_help="Prove or refute every promise for an upscaled film.")
@click.argument("source", metavar="INPUT")
@click.argument("output", metavar="OUTPUT")
@click.option("--no-pixels", is_flag=True, help="Do not decode the films: everything but their pictures.")
@click.option("--json", "json_file", metavar="FILE", help="Write the checks as JSON; - is standard output.")
@click.option("--progress", type=click.Choice(["auto", "bar", "json", "none"]), default="auto", show_default=True)
def verify(source: str, output: str, no_pixels: bool, json_file: str | None, progress: str) -> None:
    """Read INPUT and OUTPUT again and check every promise: frames, times, streams, colour, pictures.

    The exit code is 3 when a promise is broken.

    \b
    Example:
      vsr verify film.mkv film.esrgan-x4.mkv
    """
    from vsr.cli.commands import run_verify

    run_verify(source, output, json_file, pixels=not no_pixels, progress=progress)


@cli.command(short_help="Show what the tool sees in a file.")
@click.argument("source", metavar="INPUT")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")
def probe(source: str, json_file: str | None) -> None:
    """Show what the tool sees in INPUT: streams, frames, timing, colour, HDR, rotation.

    \b
    Example:
      vsr probe film.mkv
    """
    from vsr.cli.commands import run_probe

    run_probe(source, json_file)
