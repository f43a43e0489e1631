"""`vsr bench quality --html`: the pictures behind the figures, on one page to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from vsr.bench.album import Album, Picture, pixels_of
from vsr.bench.datasets import find_dataset
from vsr.bench.enlarge import Enlarger, source_picture
from vsr.bench.pairs import Dataset, Group, Pair, tensor_of
from vsr.bench.quality import QualityConfig, QualityReport
from vsr.bench.report import Item, Origin, versions, write_report
from vsr.frames import FrameBatch

MOST = 24  # pictures of a set: more would make a page that nobody opens


@dataclass(frozen=True)
class Shown:
    """A picture of the set, under its name in the report."""

    name: str
    group: Group
    pair: Pair


def write_gallery(config: QualityConfig, report: QualityReport, path: Path, command: str) -> int:
    """Writes the page: the truth, what the models got, and what each made of it, with the figures of `report`; returns bytes.

    The first `MOST` pictures of the set. Raises what `bench_quality` raises, and EncodeError where the page cannot be written.
    """
    dataset = find_dataset(config.dataset, config.scale, config.degrade, config.frames)
    shown = list(islice(pictures_of(dataset), MOST))
    album = Album()
    truth = [_placed(album, at, one.name, one.pair.hr) for at, one in enumerate(shown)]
    source = [_placed(album, at, one.name, source_picture(one.pair)) for at, one in enumerate(shown)]
    made = {model: list(_made(config, model, shown, album)) for model in config.models}

    def item(label: str, places: list[_Place], figures: dict[str, dict[str, float]], **facts: str) -> Item:
        keys = sorted({key for values in figures.values() for key in values})
        metrics = {key: [figures.get(one.name, {}).get(key) for one in shown] for key in keys}
        return Item(label, [place.picture(album) for place in places], metrics, facts=facts)

    items = [
        item("HR", truth, {}, Size="the truth"),
        *(item(model, places, report.models[model].images) for model, places in made.items()),
        item("LR", source, {}, Size=f"1/{config.scale}, what the models got"),
    ]
    notes = [f"{report.protocol}.", *report.told, f"Pictures are stored {album.encoding}."]
    if report.pictures > len(shown):
        notes.append(f"The first {len(shown)} of {report.pictures} pictures are shown.")
    origin = Origin((command,), (*notes, *report.warnings), versions())
    return write_report(path, f"{report.dataset} x{config.scale}", items, origin)


def pictures_of(dataset: Dataset) -> Iterator[Shown]:
    """Every picture of a set, in order."""
    several = len(dataset.groups) > 1
    for group in dataset.groups:
        for pair in group.pairs():
            yield Shown(f"{group.name}/{pair.name}" if several else pair.name, group, pair)


@dataclass(frozen=True)
class _Place:
    """Where a picture lies in the album: which may yet be encoded anew to fit."""

    place: int
    number: int
    name: str
    width: int
    height: int

    def picture(self, album: Album) -> Picture:
        return Picture(self.number, self.width, self.height, album[self.place], label=self.name)


def _placed(album: Album, number: int, name: str, frame: FrameBatch) -> _Place:
    return _Place(album.add(pixels_of(tensor_of(frame))), number, name, frame.format.width, frame.format.height)


def _made(config: QualityConfig, model: str, shown: list[Shown], album: Album) -> Iterator[_Place]:
    for number, (one, frame) in enumerate(zip(shown, made_by(config, model, shown), strict=True)):
        yield _placed(album, number, one.name, frame)


def made_by(config: QualityConfig, model: str, shown: list[Shown]) -> Iterator[FrameBatch]:
    """What a model makes of each, with its neighbours where it looks at them (and then `shown` are a clip's first frames)."""
    enlarger = Enlarger(replace(config.engine, model=model), config.scale)
    clips: dict[int, Iterator[tuple[Pair, FrameBatch]]] = {}
    for one in shown:
        if one.group.clip and enlarger.generator.spec.context:
            yield next(clips.setdefault(id(one.group), enlarger.pictures(one.group)))[1]
        else:
            yield enlarger.picture(one.pair, len(shown))
