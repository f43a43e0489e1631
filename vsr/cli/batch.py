"""`vsr batch`: the films of a job, on everything that this machine, or a cluster, has."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsr.cli.batch_report import dry_run, facts_of, line_of, show_summary
from vsr.cli.console import Console, progress_shown, require_writable, write_json
from vsr.errors import Interrupted, UsageError, VsrError
from vsr.names import STDIO

if TYPE_CHECKING:
    from vsr.jobs.batch import Film
    from vsr.jobs.definition import Definition
    from vsr.jobs.pool import Pool
    from vsr.jobs.progress import Progress as BatchProgress

    Hire = Callable[[Callable[[str], None]], Pool]


class Part(click.ParamType[tuple[int, int]]):
    """i/n."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        one, slash, all_ = str(value).partition("/")
        if not (slash and one.isascii() and one.isdigit() and all_.isascii() and all_.isdigit() and 1 <= int(one) <= int(all_)):
            self.fail(f"{value!r} is not i/n with i from 1 to n, as 2/8", param, ctx)
        return int(one), int(all_)


@click.command(short_help="Convert many films by a job: HD to UHD, DVDs, archives.")
@click.argument("job", required=False, metavar="NAME|JOB.toml")
@click.argument("sources", nargs=-1, metavar="[INPUT ...]")
@click.option("-o", "--output", metavar="DIR", help="Folder of the results.  [default: as the job says, or beside each film]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As encode.crf=20 or model=animevideo.")
@click.option("--device", metavar="NAME,...", help="auto, all, or several as cuda:0,cuda:1: one process each.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Workers on this machine, or on every node of a Ray cluster.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="On a CPU, processes that divide its cores; with ray, how many in all.",
)
@click.option("--part", type=Part(), help="Do the i-th of n shares; other processes or machines do the others.")
@click.option("--stage", metavar="DIR", help="Where films of s3://, gs://, sftp:// lie meanwhile.  [default: the user's cache]")
@click.option("--overwrite", is_flag=True, help="Replace results of other settings, and files that no batch has made.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, with time and disk, and stop.")
@click.option("--list", "listed", is_flag=True, help="Name the jobs that vsr brings.")
@click.option("--report", "--json", "json_file", metavar="FILE", help="Write the summary as JSON; - is standard output.")
@click.option("--progress", type=click.Choice(["auto", "bar", "json", "none"]), default="auto", show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="Write what is said to a file as well.")
def batch(**options: Any) -> None:
    """Convert the films that a job names, or INPUTs: files, folders, patterns, lists (@films.txt). The same command goes on after
    a stop, and does nothing where everything is done.

    \b
    Examples:
      vsr batch hd_to_uhd season1/ -o season1-uhd/
      vsr batch hd_to_uhd season1/ -o season1-uhd/ --dry-run
      vsr batch archive.toml --device cuda:0,cuda:1 --set encode.crf=18
      vsr batch hd_to_uhd /shared/season1/ -o /shared/season1-uhd/ --engine ray
    """
    if options["listed"]:
        list_jobs(options["json_file"])
        return
    if options["job"] is None:
        raise UsageError("name a job; vsr batch --list has them")
    if options["engine"] == "ray" and options["part"]:
        raise UsageError("--part is for processes that know nothing of each other; --engine ray shares the work by itself")
    require_writable(options["json_file"])
    try:
        run_batch(options)
    except Unwritten as exc:
        raise exc.error from None
    except (VsrError, KeyboardInterrupt) as exc:
        status = "interrupted" if isinstance(exc, KeyboardInterrupt) else "error"
        write_json(options["json_file"], "batch", status, [], error=str(exc), files=[])
        raise


class Unwritten(Exception):
    """An error that stands in the report already."""

    def __init__(self, error: VsrError | Interrupted) -> None:
        self.error = error


def list_jobs(target: str | None) -> None:
    """Names and titles."""
    from vsr.jobs.definition import shipped_titles

    titles = shipped_titles()
    if target != STDIO:
        for name, title in titles.items():
            click.echo(f"{name:<24}{title}")
    write_json(target, "batch", "ok", [], jobs=titles)


def run_batch(options: dict[str, Any]) -> None:
    """Looks at the films, does what is to be done, says what became of each."""
    from vsr.jobs.batch import look
    from vsr.jobs.definition import load_definition

    settings = list(options["settings"])
    if options["workers"]:
        settings.append(f"workers={options['workers']}")
    definition = load_definition(options["job"], settings, options["sources"], options["output"])
    definition = replace(definition, stage=options["stage"] or definition.stage)
    target = options["json_file"]
    console = Console(
        quiet=options["quiet"], verbose=options["verbose"], log=options["log"], to_stderr=options["json_file"] == STDIO
    )
    wanted = options["device"].split(",") if options["device"] else list(definition.devices)
    films = look(definition, "auto", overwrite=options["overwrite"])
    if options["dry_run"]:
        dry_run(console, definition, films, wanted, target)
        return
    notes: list[str] = []
    error: VsrError | Interrupted | None = None
    if any(film.status == "todo" for film in films):
        from vsr.jobs.run import require_model
        from vsr.jobs.staging import require_writable as require_outputs

        require_model(definition)
        require_outputs(films, definition)
        hire = hiring(options["engine"], wanted, definition.workers)
        try:
            convert(console, definition, films, hire, options, notes)
        except (VsrError, Interrupted) as exc:
            error = exc
    failed = [film for film in films if film.status == "failed"]
    show_summary(console, films)
    status = "interrupted" if isinstance(error, Interrupted) else "error" if error else "failed" if failed else "ok"
    more = {"error": str(error)} if error else {}
    write_json(target, "batch", status, notes, job=definition.job, files=[facts_of(film) for film in films], **more)
    if error is not None:
        raise Unwritten(error)
    if failed:
        raise Unwritten(VsrError(f"{len(failed)} of {len(films)} films failed; the same command tries them again"))


def convert(
    console: Console, definition: Definition, films: Sequence[Film], hire: Hire, options: dict[str, Any], notes: list[str]
) -> None:
    """Does what is to be done, and says so film by film; what befalls workers goes into `notes`, too."""
    from vsr.jobs.run import run_films
    from vsr.report import Progress

    # Ray itself writes some of what befalls its nodes to standard output, where our report may be wanted
    clean = redirect_stdout(sys.stderr) if options["json_file"] == STDIO else nullcontext()
    with clean, progress_shown(options["progress"], console) as draw:

        def tell(progress: BatchProgress) -> None:
            if progress.film is not None:
                with aside(draw is not None):
                    console.say(line_of(progress.film))
                    for text in progress.film.report.warnings if progress.film.report else ():
                        console.warn(f"{progress.film.target.source.name}: {text}")
            if draw is not None:
                stage = f"{progress.done}/{progress.films} films"
                draw(Progress(stage, progress.frames, progress.total - progress.kept, progress.seconds))

        def warn(text: str) -> None:
            with aside(draw is not None):
                console.warn(text)

        def note(text: str) -> None:
            notes.append(text)
            warn(text)

        pool = hire(warn)
        run_films(
            films, pool, pool.alive(), tell,
            part=options["part"], anew=options["overwrite"], stop_on_failure=definition.on_failure == "stop",
            definition=definition, on_note=note,
        )  # fmt: skip


def hiring(engine: str, wanted: Sequence[str], workers: int) -> Hire:
    """What makes the pool of workers, given what is to be told while it works; devices that are not there are refused here."""
    if engine == "ray":
        from vsr.jobs.cluster import RayPool, device_for

        device = device_for(wanted)
        return lambda warn: RayPool(device, workers, warn)
    from vsr.jobs.local import LocalPool, slots_of
    from vsr.jobs.run import devices_of

    slots = slots_of(devices_of(wanted), workers)
    return lambda warn: LocalPool(slots)


def aside(drawing: bool) -> Any:
    """Lines that are written while a bar is drawn."""
    if not drawing:
        return nullcontext()
    from tqdm import tqdm

    return tqdm.external_write_mode(file=sys.stdout)
