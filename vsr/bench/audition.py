"""`vsr audition`: a film's telling moments through several models, and what the whole film would take with each.

The first item is plain bicubic interpolation, which needs no model: it shows what a model adds, and measures all of the chain but
the network.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from vsr.bench.album import MAX_BYTES, Album, Picture, pixels_of
from vsr.bench.cast import BASELINE, Role, cast
from vsr.bench.forecast import TRIAL, Estimate, Forecaster
from vsr.bench.moments import Moment, choose_moments
from vsr.bench.report import Item, Origin, write_report
from vsr.bench.scenery import Detail, choose_details, enlarged
from vsr.bench.scout import Film, scout
from vsr.bench.sources import film_notes, rgb_of
from vsr.config import UpscaleConfig
from vsr.errors import ConfigError
from vsr.measure import telling
from vsr.media.encoded import jpeg_bytes
from vsr.media.index import build_index
from vsr.names import default_suffix, require_free
from vsr.planning import Job, draft_job, make_plan
from vsr.stills import is_still

LOOKING = 0.15  # of the time: for finding the moments
JPEG_QUALITY = 90

OnStep = Callable[[str, int, int], None]  # stage, done, of


@dataclass(frozen=True)
class Wish:
    """What `vsr audition` was asked for.

    config    of the job that is thought of: source, size, engine, encoder, part; its model and output do not matter
    models    names or paths of checkpoints; empty = all whose weights are here
    moments   how many
    budget    seconds that it may take, about
    """

    config: UpscaleConfig
    output: Path
    models: Sequence[str] = ()
    moments: int = 6
    budget: float = 300.0
    max_bytes: int = MAX_BYTES
    overwrite: bool = False


@dataclass(frozen=True)
class Audition:
    """What came of it. `moments`: kind and seconds; `estimates` by model, those that were left out of the page too."""

    output: str
    moments: list[tuple[str, float]]
    detail: tuple[int, int]
    frames: int
    estimates: dict[str, Estimate]
    left_out: list[str]
    page_bytes: int
    notes: list[str] = field(default_factory=list)


def audition(wish: Wish, command: str, on_step: OnStep | None = None) -> Audition:
    """Look, choose, try each model, write the page. Raises ConfigError for what is no film, and what `upscale` raises."""
    tell = on_step or (lambda stage, done, total: None)
    require_free(wish.output, wish.config.source, wish.overwrite)
    if is_still(wish.config):
        raise ConfigError(f"{wish.config.source}: is no film; upscale it with each model, and look at them with vsr compare")
    with TemporaryDirectory(prefix="vsr-audition-") as folder:
        began = monotonic()
        film, bare = _opened(wish, Path(folder))
        planning = monotonic() - began
        looks = scout(film, LOOKING * wish.budget, lambda seen, places: tell("look", seen, places))
        moments = choose_moments(looks, wish.moments)
        frames = [film.with_neighbours(moment.look.pts, 0)[0] for moment in moments]
        sample = telling(frames) or frames[0]
        roles = cast(wish.config, wish.models, film, bare, sample, planning, wish.budget)
        deadline = began + wish.budget
        shown, details = choose_details(roles, frames, (deadline - monotonic()) / 2 / len(roles))
        forecaster = Forecaster(film, wish.config.segment, Path(folder), deadline)
        page = _Page(wish, film, moments, Album(wish.max_bytes))
        for at, role in enumerate(roles):
            tell(role.model, at, len(roles))
            fps = page.show(role, details) if role in shown else role.network_fps
            page.estimates[role.model] = forecaster.estimate(role, fps, page.weight(role), len(roles) - at)
        return page.finish(command, roles, details)


def _opened(wish: Wish, folder: Path) -> tuple[Film, Job]:
    """The film, and the plan of its job with the baseline."""
    asked = wish.config.encode.codec != "auto" or wish.config.encode.encoder
    output = str(folder / f"film{'.mkv' if asked else default_suffix(wish.config.source)}")  # which holds every codec
    draft = draft_job(replace(wish.config, model=BASELINE, blend=None, output=output, work_dir=folder))
    if not draft.segmented or not isinstance(draft.source, str):
        raise ConfigError(f"{wish.config.source}: is not a film in a file, which can be looked at here and there")
    plan = make_plan(draft)
    return Film(draft.source, plan, build_index(draft.source, draft.info)), Job(plan, draft.source, draft.generator)


class _Page:
    """What the page will show, role by role."""

    def __init__(self, wish: Wish, film: Film, moments: Sequence[Moment], album: Album) -> None:
        self._wish, self._film, self._moments, self._album = wish, film, moments, album
        self._pictures: dict[str, list[tuple[int, int, int]]] = {}  # width, height, place in the album
        self._weights: dict[str, int] = {}
        self.estimates: dict[str, Estimate] = {}

    def show(self, role: Role, details: Sequence[Detail]) -> float:
        """Let a model make the pictures; returns its speed in whole frames a second."""
        began = monotonic()
        made = [pixels_of(rgb_of(frame)) for frame in enlarged(role, self._film, self._moments, details)]
        spent = monotonic() - began
        self._pictures[role.model] = [(pixels.shape[1], pixels.shape[0], self._album.add(pixels)) for pixels in made]
        self._weights[role.model] = sum(len(jpeg_bytes(pixels, JPEG_QUALITY)) for pixels in made)
        whole = self._film.plan.info.format
        return len(made) * details[0].width * details[0].height / (whole.width * whole.height) / spent

    def weight(self, role: Role) -> float | None:
        """The size of its pictures against the baseline's; None where it has none."""
        return self._weights[role.model] / self._weights[BASELINE] if role.model in self._weights else None

    def finish(self, command: str, roles: Sequence[Role], details: Sequence[Detail]) -> Audition:
        """Write the page."""
        items = [self._item(role) for role in roles if role.model in self._pictures]
        notes = [*self._notes(roles, details), f"Pictures are stored {self._album.encoding}."]
        title = f"Audition: {Path(self._film.source).name}"
        size = write_report(self._wish.output, title, items, Origin([command], notes), max_bytes=self._wish.max_bytes)
        return Audition(
            str(self._wish.output),
            [(moment.kind, self._film.seconds(moment.look.pts)) for moment in self._moments],
            (details[0].width, details[0].height),
            self._film.plan.expected_frames,
            self.estimates,
            [role.model for role in roles if role.model not in self._pictures],
            size,
            notes,
        )

    def _item(self, role: Role) -> Item:
        estimate = self.estimates[role.model]
        pictures = []
        for moment, (width, height, place) in zip(self._moments, self._pictures[role.model], strict=True):
            seconds = self._film.seconds(moment.look.pts)
            number = bisect_left(self._film.index.pts, moment.look.pts)
            pictures.append(Picture(number, width, height, self._album[place], seconds, f"{moment.kind}, {clock(seconds)}"))
        facts = {
            "Whole film": estimate.time,
            "File": estimate.size,
            "Speed": f"{estimate.speed} frames a second",
            "Runs as": f"{role.job.plan.engine.backend}, {role.job.plan.engine.precision}",
        }
        return Item(role.model, pictures, facts=facts)

    def _notes(self, roles: Sequence[Role], details: Sequence[Detail]) -> Iterator[str]:
        plan, whole = self._film.plan, self._film.plan.info.format
        encoding = plan.encoding
        options = " ".join(f"{key}={value}" for key, value in encoding.options.items())
        what = f"{plan.upscale_label}, {plan.expected_frames} frames"
        yield f"{what}, {encoding.encoder} {options}, on {roles[0].job.plan.engine.device}."
        if details[0].width < whole.width or details[0].height < whole.height:
            detail = f"{details[0].width}x{details[0].height}"
            yield f"Shown is the busiest {detail} of the source's {whole.width}x{whole.height} pixels."
        yield "The pictures are what the encoder gets: it loses a little more."
        yield from (f"{Path(self._film.source).name}: {note}." for note in film_notes(plan.info))
        for role in roles:
            estimate = self.estimates[role.model]
            if role.model not in self._pictures:
                slow = f"too slow for the time given ({estimate.time} for the film)"
                yield f"{role.model} is not shown: {slow}; allow more with --budget."
            elif estimate.measured < min(TRIAL, plan.expected_frames):
                yield f"{role.model}: hours and bytes are estimated from its pictures, and rough; allow more with --budget."
            yield from (f"{role.model}: {note}." for note in role.notes)


def clock(seconds: float) -> str:
    """0:01:22."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"
