"""`vsr rate`: what people say of the pictures."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsr.cli.console import Console, require_writable, write_json
from vsr.errors import ConfigError, UsageError, VsrError
from vsr.names import STDIO

if TYPE_CHECKING:
    from vsr.bench.mos import Summary

LOG = "ratings.jsonl"


@click.command(short_help="Blind opinion scores (MOS) of pictures, in a browser on this machine.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("more", nargs=-1, metavar="", type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Of the page's address.  [default: a free one]"
)
@click.option("--rater", metavar="NAME", help="Who rates.  [default: the user's name on this machine]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another one, another order.")
@click.option("--summary", is_flag=True, help="Say what all ratings so far amount to.")
@click.option(
    "--export", "kit", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.html",
    help="Write the whole study into one file for raters elsewhere.",
)  # fmt: skip
@click.option("--max-mb", type=click.IntRange(1, 2000), default=100, show_default=True, help="Largest such file.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option(
    "--merge", type=click.Path(path_type=Path, dir_okay=False), multiple=True, metavar="FILE ...",
    help="Take in ratings that such files gave.",
)  # fmt: skip
@click.option("--json", "json_file", metavar="FILE", help="Write the outcome as JSON; - is standard output.")
def rate(**options: Any) -> None:
    """Have people rate pictures from 1 to 5 without knowing how they were made: the mean opinion score of the SRGAN paper.

    DIR holds a folder for each method and one for the originals (HR or GT), with images of equal names. Ratings are kept in
    DIR/ratings.jsonl, each as it is made; the same command goes on where it stopped.

    \b
    Examples:
      vsr rate study --rater anna
      vsr rate study --export kit.html
      vsr rate study --merge ratings-ben.json ratings-eva.json
      vsr rate study --summary
    """
    merged = (*options["merge"], *options["more"])
    if options["more"] and not options["merge"]:
        raise UsageError(f"{options['more'][0]}: unexpected; DIR comes first, and files to take in follow --merge")
    if options["kit"] and (options["summary"] or merged):
        raise UsageError("--export stands alone: give --summary and --merge in a command of their own")
    if options["kit"] and options["kit"].suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--export {options['kit']}: is a web page; let its name end in .html")
    require_writable(options["json_file"])
    try:
        run_rate(options, merged)
    except VsrError as exc:
        write_json(options["json_file"], "rate", "error", [], error=str(exc))
        raise


def run_rate(options: dict[str, Any], merged: tuple[Path, ...]) -> None:
    """Merge and summary, or a kit, or the page."""
    folder, target = options["folder"], options["json_file"]
    console = Console(to_stderr=target == STDIO)
    facts: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
    if merged:
        from vsr.bench.kit import merge
        from vsr.bench.study import open_study

        new, known = merge(open_study(folder, look=False), folder / LOG, merged)
        facts |= {"merged": new, "known": known}
        console.say(f"{folder / LOG}: {new} ratings taken in{f', {known} were there already' if known else ''}")
    if options["summary"]:
        from vsr.bench.mos import summary_of

        summary = summary_of(folder, folder / LOG, options["seed"])
        for line in summary_lines(summary):
            console.say(line)
        warnings, facts["summary"] = summary.warnings, summary
    elif options["kit"]:
        facts |= run_export(options, console)
    elif not merged:
        facts |= run_page(options, console)
    for text in warnings:
        console.warn(text)
    write_json(target, "rate", "ok", list(warnings), **facts)


def run_export(options: dict[str, Any], console: Console) -> dict[str, Any]:
    """One file with everything in it."""
    from vsr.bench.kit import export_kit
    from vsr.bench.opinions import checked_name
    from vsr.bench.study import open_study

    path: Path = options["kit"]
    rater = checked_name(options["rater"]) if options["rater"] is not None else None
    if path.exists() and not options["overwrite"]:
        raise ConfigError(f"{path}: exists; --overwrite replaces it")
    study = open_study(options["folder"])
    size = export_kit(study, path, options["seed"], rater, options["max_mb"] * 1_000_000)
    console.say(f"{path}: {len(study.pictures)} pictures by {len(study.methods)} methods, {size / 1e6:.1f} MB")
    console.say("a rater opens it in a browser and sends back the file that it gives at the end, for --merge")
    return {"kit": path, "bytes": size, "pictures": len(study.pictures), "methods": study.methods}


def run_page(options: dict[str, Any], console: Console) -> dict[str, Any]:
    """The server, until all is rated."""
    from vsr.bench.opinions import checked_name
    from vsr.bench.rate import serve
    from vsr.bench.session import Session
    from vsr.bench.study import open_study

    rater = checked_name(options["rater"] if options["rater"] is not None else user_name())
    study = open_study(options["folder"])
    session = Session(study, options["folder"] / LOG, rater, options["seed"])
    total, before = len(session.trials), session.done
    repeats = sum(trial.repeat for trial in session.trials)
    console.say(f"{len(study.images)} images by {len(study.methods)} methods ({study.original} among them), {repeats} twice")
    console.say(f"examples of 5 are the originals; of 1, {study.worst}")
    if session.finished:
        console.say(f"{rater} has rated all {total}; --seed {options['seed'] + 1} begins again in another order")
    else:
        console.say(f"{rater}: {before} of {total} rated; the ratings go to {session.log}")

        def tell(url: str) -> None:
            console.say(f"open this in a browser on this machine, Ctrl-C stops:\n{url}")

        serve(session, options["port"], tell)
        console.say(
            f"{rater}: all {total} rated, {total - before} now; `vsr rate {options['folder']} --summary` says what comes of it"
        )
    return {"rater": rater, "seed": options["seed"], "rated": session.done, "total": total, "log": session.log}


def user_name() -> str:
    """The user's name, or a word where the system knows none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "rater"


def summary_lines(summary: Summary) -> Iterator[str]:
    """The tables."""
    width = max(8, *(len(score.method) for score in summary.methods)) + 2
    raters = len(summary.raters)
    yield f"mean opinion scores of {raters} rater{'s' * (raters > 1)} and {summary.images} image{'s' * (summary.images > 1)}"
    yield f"{'method':<{width}}{'mean':>5}  {'95 %':^13}{'ratings':>8}   {'1':>5}{'2':>5}{'3':>5}{'4':>5}{'5':>5}"
    for score in summary.methods:
        span = "{:.2f} to {:.2f}".format(*score.interval) if score.interval else ""
        counts = "".join(f"{count:>5}" for count in score.counts)
        yield f"{score.method:<{width}}{score.mean:>5.2f}  {span:^13}{score.ratings:>8}   {counts}"
    if summary.differences:
        yield ""
        yield f"{'first - second':<{2 * width + 1}}{'mean':>6}{'pairs':>7}{'p':>9}{'p (Holm)':>10}{'p (images)':>12}"
    for found in summary.differences:
        names = f"{found.first:<{width}} {found.second:<{width}}"
        yield f"{names}{found.mean:>+6.2f}{found.pairs:>7}{found.p:>9.4f}{found.p_holm:>10.4f}{found.p_images:>12.4f}"
    yield ""
    if summary.alpha_ordinal is not None and summary.alpha_interval is not None:
        ordinal, interval = f"{summary.alpha_ordinal:.3f}", f"{summary.alpha_interval:.3f}"
        yield f"agreement of raters (Krippendorff's alpha): ordinal {ordinal}, interval {interval}"
    longest = max(5, *(len(rater.rater) for rater in summary.raters)) + 2
    yield f"{'rater':<{longest}}{'ratings':>8}{'mean':>6}{'originals':>11}{'repeats':>9}{'same':>6}{'within 1':>10}"
    for rater in summary.raters:
        original = f"{rater.original:.2f}" if rater.original is not None else ""
        same = f"{rater.same:.0%}" if rater.same is not None else ""
        within = f"{rater.within_one:.0%}" if rater.within_one is not None else ""
        line = f"{rater.rater:<{longest}}{rater.ratings:>8}{rater.mean:>6.2f}{original:>11}"
        yield f"{line}{rater.repeats:>9}{same:>6}{within:>10}".rstrip()
