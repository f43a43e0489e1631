"""`vsr batch` and `vsr upscale --device a,b` as calls: films through the workers of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from time import monotonic

from vsr.config import UpscaleConfig
from vsr.engine.precision import present_devices, resolve_device
from vsr.errors import BrokenPromise, DeviceError, JobError, UsageError
from vsr.jobs.batch import Film
from vsr.jobs.definition import Definition
from vsr.jobs.driver import Driver
from vsr.jobs.local import LocalPool, Slot
from vsr.jobs.pool import Pool
from vsr.jobs.progress import OnProgress
from vsr.jobs.progress import Progress as BatchProgress
from vsr.jobs.queue import Queue
from vsr.jobs.sources import Source
from vsr.jobs.staging import StagedPool
from vsr.jobs.targets import Target
from vsr.media.probe import probe
from vsr.models.weights import load
from vsr.names import STDIO, target_size
from vsr.outputs import choose_output
from vsr.report import Progress, Report
from vsr.stills import is_still

Part = tuple[int, int]


def devices_of(wanted: Sequence[str]) -> list[str]:
    """Names of devices: "auto" is the best, "all" are all of the best's kind. Raises DeviceError for one that is not here."""
    names: list[str] = []
    for each in wanted:
        if each == "all":
            present = present_devices()
            names += [name for name in present if name.partition(":")[0] == present[0].partition(":")[0]]
        elif each.startswith("vulkan"):
            names.append(each)
        else:
            names.append(str(resolve_device(each)))
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise DeviceError(f"--device {','.join(wanted)}: {min(doubled)} is named twice")
    if len({name.partition(":")[0] for name in names}) > 1:
        raise DeviceError(f"--device {','.join(wanted)}: devices of one kind; those of another would make other pixels")
    return names


def require_model(definition: Definition) -> None:
    """Raises ModelError or WeightsError where no film could be done: said once, before any is begun."""
    load(definition.model, definition.scale or definition.max_scale, definition.blend)


def run_films(
    films: Sequence[Film], pool: Pool, workers: int, on_progress: OnProgress | None = None, *,
    part: Part | None = None, anew: bool = False, stop_on_failure: bool = False, book: bool = True,
    definition: Definition | None = None, on_note: Callable[[str], None] | None = None,
) -> list[str]:  # fmt: skip
    """Does the films that are "todo"; gives what is to be said about workers. Raises JobError, Interrupted.

    `part`: (i, n), only the i-th of n shares of all segments (from 1 on), while others do the rest; of whole films where some
    lie in remote storage, which has no locks. `definition`: needed for those.
    """
    if part is not None and any(film.remote for film in films):
        for film in films:
            if film.status == "todo" and share_of(film.target.name, 0, part[1]) != part[0]:
                film.status = "elsewhere"
        part = None
    todo = [film for film in films if film.status == "todo"]

    def mine(film: int, segment: int) -> bool:
        assert part is not None
        return share_of(todo[film].output.name, segment, part[1]) == part[0]

    if definition is not None and any(film.remote for film in todo):
        pool = StagedPool(pool, todo, definition)
    queue = Queue(len(todo), workers, mine=mine if part is not None else None)
    queue.stopped = stop_on_failure and any(film.status == "failed" for film in films)  # some cannot even be read
    driver = Driver(
        todo, pool, queue, on_progress,
        shared=part is not None, anew=anew, stop_on_failure=stop_on_failure, book=book, on_note=on_note,
    )  # fmt: skip
    driver.run()
    return driver.notes


def share_of(name: str, segment: int, count: int) -> int:
    """Which of `count` shares a film's segment belongs to, from 1 on: in turn, beginning anywhere."""
    first = int.from_bytes(blake2b(os.fsencode(name), digest_size=4).digest())
    return (first + segment) % count + 1


def upscale_on(config: UpscaleConfig, slots: Sequence[Slot], on_progress: Callable[[Progress], None] | None = None) -> Report:
    """One film by several processes at once; else as `vsr.pipeline.upscale`."""
    if is_still(config) or config.source == STDIO or config.output == STDIO:
        raise UsageError("--device with several names is for films that are files; a pipe, or an image, is done by one")
    info = probe(config.source)
    output, _ = choose_output(config, info, *target_size(config, info.format.width, info.format.height))
    path = Path(output)
    film = Film(Target(Source(Path(config.source)), path), config=replace(config, output=output), frames=info.frames)

    def tell(batch: BatchProgress) -> None:
        if on_progress is not None:
            on_progress(Progress("upscale", batch.frames, batch.total, batch.seconds, batch.kept))

    began = monotonic()
    notes = run_films([film], LocalPool(slots), len(slots), tell, anew=not config.resume, book=False)
    if film.status == "failed":
        raise (BrokenPromise if film.broken else JobError)(film.why)
    report = film.report or Report(output)
    report.seconds = monotonic() - began
    report.warnings += notes
    return report
