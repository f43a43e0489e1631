"""`vsr batch`: the films of a job, on everything that this machine, or a cluster, has."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsr.cli.console import Console, progress_shown, require_writable, write_json
from vsr.errors import Interrupted, UsageError, VsrError
from vsr.names import STDIO

if TYPE_CHECKING:
    from vsr.jobs.batch import Film
    from vsr.jobs.definition import Definition
    from vsr.jobs.driver import Progress as BatchProgress
    from vsr.jobs.forecast import Cost
    from vsr.jobs.pool import Pool

    Hire = Callable[[Callable[[str], None]], Pool]

WORDS = {"kept": "finished before", "elsewhere": "in other parts' hands", "todo": "to do"}


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
    except VsrError as exc:
        write_json(options["json_file"], "batch", "error", [], error=str(exc), files=[])
        raise


class Unwritten(Exception):
    """An error that stands in the report already."""

    def __init__(self, error: VsrError) -> None:
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
    error: VsrError | None = None
    if any(film.status == "todo" for film in films):
        from vsr.jobs.run import require_model

        require_model(definition)
        hire = hiring(options["engine"], wanted, definition.workers)
        try:
            notes = convert(console, definition, films, hire, options)
        except VsrError as exc:
            error = exc
    for text in notes:
        console.warn(text)
    failed = [film for film in films if film.status == "failed"]
    show_summary(console, films)
    status = "interrupted" if isinstance(error, Interrupted) else "error" if error else "failed" if failed else "ok"
    more = {"error": str(error)} if error else {}
    write_json(target, "batch", status, notes, job=definition.job, files=[facts_of(film) for film in films], **more)
    if error is not None:
        raise Unwritten(error)
    if failed:
        raise Unwritten(VsrError(f"{len(failed)} of {len(films)} films failed; the same command tries them again"))


def convert(console: Console, definition: Definition, films: Sequence[Film], hire: Hire, options: dict[str, Any]) -> list[str]:
    """Does what is to be done, and says so film by film."""
    from vsr.jobs.run import run_films
    from vsr.report import Progress

    # Ray itself writes some of what befalls its nodes to standard output, where our report may be wanted
    clean = redirect_stdout(sys.stderr) if options["json_file"] == STDIO else nullcontext()
    with clean, progress_shown(options["progress"], console) as draw:

        def tell(progress: BatchProgress) -> None:
            if progress.film is not None:
                with aside(draw is not None):
                    console.say(line_of(progress.film))
            if draw is not None:
                stage = f"{progress.done}/{progress.films} films"
                draw(Progress(stage, progress.frames, progress.total - progress.kept, progress.seconds))

        def warn(text: str) -> None:
            with aside(draw is not None):
                console.warn(text)

        pool = hire(warn)
        return run_films(
            films, pool, pool.alive(), tell,
            part=options["part"], anew=options["overwrite"], stop_on_failure=definition.on_failure == "stop",
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


def line_of(film: Film) -> str:
    """What became of a film, in a line."""
    word = WORDS.get(film.status, film.status)
    if film.status == "done":
        rate = f", {film.seconds:.1f} s of one worker" if film.seconds else ""
        again = f" ({film.why})" if film.why else ""
        return f"{film.output}: {film.frames} frames{rate}{again}"
    return f"{film.source}: {word}{f': {film.why}' if film.why else ''}{f' (see {film.log})' if film.log else ''}"


def show_summary(console: Console, films: Sequence[Film]) -> None:
    """A table of all films, and how many of each kind."""
    width = min(60, max(len(film.source.name) for film in films)) + 2
    for film in films:
        name = film.source.name if len(film.source.name) < width else f"{film.source.name[: width - 5]}..."
        seconds = f"{film.seconds:.0f} s" if film.seconds else ""
        note = film.why if film.status != "done" else ""
        console.say(
            f"{name:<{width}}{WORDS.get(film.status, film.status):<16}{film.frames or '':>9}{seconds:>9}  {note}".rstrip()
        )
    counts = Counter(WORDS.get(film.status, film.status) for film in films)
    console.say(f"{len(films)} films: {', '.join(f'{count} {word}' for word, count in counts.items())}")


def facts_of(film: Film) -> dict[str, object]:
    """A film in the JSON summary."""
    report = film.report
    more = {"warnings": report.warnings, "verify": report.checks} if report is not None else {}
    return {
        "source": str(film.source),
        "output": str(film.output),
        "status": film.status,
        "frames": film.frames,
        "seconds": round(film.seconds, 3),
        "error": film.why if film.status == "failed" else None,
        "note": film.why if film.status != "failed" and film.why else None,
        "log": str(film.log) if film.log else None,
        **more,
    }


def dry_run(console: Console, definition: Definition, films: Sequence[Film], wanted: Sequence[str], target: str | None) -> None:
    """What would be done, and what it would take."""
    from vsr.jobs.forecast import forecast, free_bytes
    from vsr.jobs.local import slots_of
    from vsr.jobs.run import devices_of, require_model

    require_model(definition)
    devices = devices_of(wanted)
    costs = forecast(films, devices[0])
    for number, film in enumerate(films):
        console.say(planned_line(film, costs.get(number)))
    workers = len(slots_of(devices, definition.workers))
    # processes on a CPU divide it: they are no faster together than the measurement, which had all of it
    seconds = sum(cost.seconds or 0.0 for cost in costs.values()) / len(devices)
    size = sum(cost.size or 0.0 for cost in costs.values())
    todo = [film for film in films if film.status == "todo"]
    frames = sum(film.frames for film in todo)
    console.say(f"{len(todo)} of {len(films)} films to do, {frames} frames; {clock(seconds)} on {', '.join(devices)}")
    warnings = []
    if todo:
        free = free_bytes(todo[0].output.parent)
        console.say(f"about {gigabytes(size)}, and as much again for the film in work; {gigabytes(free)} are free")
        if size > free:
            warnings.append(f"{todo[0].output.parent}: there may be too little room: {gigabytes(size)} for {gigabytes(free)}")
    for text in warnings:
        console.warn(text)
    plan = {"films": len(todo), "frames": frames, "seconds": round(seconds, 1), "gigabytes": round(size / 1e9, 4)}
    files = [{**facts_of(film), **cost_of(costs.get(number))} for number, film in enumerate(films)]
    write_json(target, "batch", "planned", warnings, job=definition.job, devices=devices, workers=workers, plan=plan, files=files)
    if any(film.status == "failed" for film in films):
        console.warn("the films that failed would fail")


def planned_line(film: Film, cost: Cost | None) -> str:
    if cost is None:
        return line_of(film)
    size = f"{cost.source[0]}x{cost.source[1]} -> {cost.target[0]}x{cost.target[1]}"
    took = [f"{film.frames} frames" if film.frames else "an unknown number of frames"]
    took += [clock(cost.seconds)] if cost.seconds else []
    took += [gigabytes(cost.size)] if cost.size else []
    again = f" (again: {film.why})" if film.why else ""
    return f"{film.source} -> {film.output}{again}: {size}, {', '.join(took)}"


def cost_of(cost: Cost | None) -> dict[str, object]:
    if cost is None:
        return {}
    return {"size": cost.target, "planned_seconds": cost.seconds, "planned_bytes": cost.size}


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


def clock(seconds: float) -> str:
    """1:02:03, or 12 s."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"
