"""What `vsr batch` says: of each film, of all, and of what would be done (--dry-run)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vsr.cli.console import Console, write_json

if TYPE_CHECKING:
    from vsr.jobs.batch import Film
    from vsr.jobs.definition import Definition
    from vsr.jobs.forecast import Cost

WORDS = {"kept": "finished before", "elsewhere": "in other parts' hands", "todo": "to do"}


def line_of(film: Film) -> str:
    """What became of a film, in a line."""
    word = WORDS.get(film.status, film.status)
    if film.status == "done":
        rate = f", {film.seconds:.1f} s of one worker" if film.seconds else ""
        again = f" ({film.why})" if film.why else ""
        return f"{film.target.name}: {film.frames} frames{rate}{again}"
    return f"{film.target.source.name}: {word}{f': {film.why}' if film.why else ''}{f' (see {film.log})' if film.log else ''}"


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
        "source": film.target.source.name,
        "output": film.target.name,
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
    unseen = sum(film.info is None for film in todo)
    if unseen:
        console.say(f"without {unseen} that lie in remote storage: what they take is known when they are here")
    warnings = [f"{folder}: cannot be written; every film would fail" for folder in unwritable(todo)]
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


def unwritable(films: Sequence[Film]) -> list[Path]:
    """Folders of results that cannot be made, or written."""
    folders = dict.fromkeys(film.output.parent for film in films)
    return [folder for folder in folders if not _takes_files(folder)]


def _takes_files(folder: Path) -> bool:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def planned_line(film: Film, cost: Cost | None) -> str:
    if cost is None:
        there = film.target.source.remote
        asked = f", {gigabytes(there.size)} to fetch; its frames are known when it is here" if there else ""
        return f"{line_of(film)}{asked if film.status == 'todo' else ''}"
    size = f"{cost.source[0]}x{cost.source[1]} -> {cost.target[0]}x{cost.target[1]}"
    took = [f"{film.frames} frames" if film.frames else "an unknown number of frames"]
    took += [clock(cost.seconds)] if cost.seconds else []
    took += [gigabytes(cost.size)] if cost.size else []
    again = f" (again: {film.why})" if film.why else ""
    return f"{film.target.source.name} -> {film.target.name}{again}: {size}, {', '.join(took)}"


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
