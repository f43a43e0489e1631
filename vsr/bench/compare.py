"""`vsr compare`: images or films side by side on one page, measured against the first where that means something."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from vsr.bench.album import MAX_BYTES, Album, Picture, pixels_of
from vsr.bench.report import Item, Origin, worst_place, write_report
from vsr.bench.sources import Shown, Source, frames_of, open_source
from vsr.errors import ConfigError, MediaError
from vsr.metrics import SMALLEST_SSIM, Protocol, psnr, ssim
from vsr.names import require_free
from vsr.resample import resize

OnFrame = Callable[[str, int, int], None]  # stage, frames done, expected (0 = unknown)
SHAPE_TOLERANCE = 0.02  # a width of 125 and one of 4 x 125 - 3 belong together
OVERHEAD_BYTES = 200_000  # of a page: everything but pictures and measured values
VALUE_BYTES = 20  # of a page for each measured value, its frame's number included


@dataclass(frozen=True)
class Wish:
    """What `vsr compare` was asked for.

    frames     pictures of a film that the page shows, evenly spaced; the worst ones come beside them
    fit        how smaller items are enlarged to the largest: "bicubic" before they are stored, "nearest" by the page
    metrics    what is measured of every frame, among `METRICS`; 1280x720: 0.1 s for PSNR, 0.3 s for SSIM
    start, duration    a part of the films, in seconds
    """

    paths: Sequence[str]
    output: Path
    labels: Sequence[str] = ()
    title: str = ""
    frames: int = 12
    fit: str = "bicubic"
    metrics: Sequence[str] = ("psnr", "ssim")
    start: float | None = None
    duration: float | None = None
    max_bytes: int = MAX_BYTES
    overwrite: bool = False


@dataclass
class Comparison:
    """What came of it: the items as they stand on the page, numbers of the frames that it shows, its size."""

    output: str
    items: list[Item]
    frames: int
    shown: list[int]
    encoding: str
    page_bytes: int
    notes: list[str] = field(default_factory=list)


def compare(wish: Wish, command: str, on_frame: OnFrame | None = None) -> Comparison:
    """Read, measure, choose frames, write the page; `command` is the line that its footer names.

    Raises ConfigError for items that cannot be compared, MediaError for those that cannot be read or written.
    """
    tell = on_frame or (lambda stage, done, total: None)
    for path in wish.paths:
        require_free(wish.output, path, wish.overwrite)
    sources = [open_source(path) for path in wish.paths]
    labels = _labels(wish)
    check_alike(sources)
    film = sources[0].is_film
    times, metrics = _measure(sources, wish, tell)
    count = len(times)
    found = [worst_place(name, values) for each in metrics for name, values in each.items()]
    worst = [number for number in found if number is not None]
    shown = sorted({*spread(count, wish.frames), *worst})
    album = Album(wish.max_bytes - OVERHEAD_BYTES - VALUE_BYTES * sum(count * (1 + len(each)) for each in metrics))
    pictures = _collect(sources, shown, times, wish, album, tell)
    items = [
        Item(label, shots, each, range(count), _facts(source, sources, wish.fit))
        for label, shots, each, source in zip(labels, pictures, metrics, sources, strict=True)
    ]
    notes = list(_notes(sources, labels, count, shown, worst, album, wish))
    title = wish.title or " / ".join(labels)
    size = write_report(wish.output, title, items, Origin([command], notes), film=film, max_bytes=wish.max_bytes)
    return Comparison(str(wish.output), items, count, shown, album.encoding, size, notes)


def check_alike(sources: Sequence[Source]) -> None:
    """Raises ConfigError where something is compared with what it cannot be compared with."""
    first = sources[0]
    largest = _largest(sources)
    for source in sources:
        if source.is_film != first.is_film:
            kinds = [f"{each.path} is {'a film' if each.is_film else 'an image'}" for each in (first, source)]
            raise ConfigError(f"{', and '.join(kinds)}: compare images with images, films with films")
        stretch = source.width * largest.height / (source.height * largest.width)
        # One pixel of the smaller is what a crop to a multiple of the scale may take.
        if abs(stretch - 1) > max(SHAPE_TOLERANCE, 1 / source.width, 1 / source.height):
            raise ConfigError(
                f"{source.path} is {source.width}x{source.height} and {largest.path} {largest.width}x{largest.height}: "
                "they have not one shape; crop them to the same picture first"
            )


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` frames at equal distances, the first and the last among them; the middle one if it is to be one."""
    if wanted == 1:
        return [(count - 1) // 2]
    return sorted({round(i * (count - 1) / (wanted - 1)) for i in range(wanted)})


def _labels(wish: Wish) -> list[str]:
    """File names; as much of the path as tells them apart; what the user said."""
    if wish.labels and len(wish.labels) != len(wish.paths):
        raise ConfigError(f"--label is given {len(wish.labels)} times for {len(wish.paths)} items: give one for each, or none")
    if len(set(wish.labels)) < len(wish.labels):
        raise ConfigError("--label: two items have one name; give each its own")
    if wish.labels:
        return list(wish.labels)
    parts = [Path(path).parts for path in wish.paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{Path(path).name} ({number})" for number, path in enumerate(wish.paths, 1)]


def _largest(sources: Sequence[Source]) -> Source:
    return max(sources, key=lambda source: source.width * source.height)


def _together(sources: Sequence[Source], wish: Wish) -> Generator[tuple[Shown, ...]]:
    """Frames of all sources in step. Raises MediaError where one ends before the others."""
    with ExitStack() as stack:
        runs = [stack.enter_context(closing(frames_of(source, wish.start, wish.duration))) for source in sources]
        number = 0
        while True:
            found = [next(run, None) for run in runs]
            there = [shown for shown in found if shown is not None]
            if not there:
                break
            if len(there) < len(found):
                ended, goes_on = (sources[[shown is None for shown in found].index(gone)].path for gone in (True, False))
                raise MediaError(
                    f"{ended}: ends after {number} frames where {goes_on} goes on; "
                    "compare films of one length, or a part that both have with --start and --duration"
                )
            yield tuple(there)
            number += 1
    if number == 0:
        raise MediaError(f"{sources[0].path}: has no frame there; choose another --start or --duration")


def _measure(
    sources: Sequence[Source], wish: Wish, tell: OnFrame
) -> tuple[list[float | None], list[dict[str, list[float | None]]]]:
    """Each frame's time in the first source, and for each source the metrics against it, where their sizes are equal."""
    first = sources[0]
    alike = [at for at, each in enumerate(sources[1:], 1) if (each.width, each.height) == (first.width, first.height)]
    metrics: list[dict[str, list[float | None]]] = [
        {name: [] for name in wish.metrics} if at in alike else {} for at in range(len(sources))
    ]
    times: list[float | None] = []
    expected = first.info.frames if first.info and wish.start is wish.duration is None else 0
    for shown in _together(sources, wish):
        times.append(shown[0].seconds)
        for at in alike:
            for name, values in metrics[at].items():
                values.append(METRICS[name][0](shown[0].rgb, shown[at].rgb))
        tell("measure", len(times), expected)
    return times, metrics


def _collect(
    sources: Sequence[Source], chosen: Sequence[int], times: Sequence[float | None], wish: Wish, album: Album, tell: OnFrame
) -> list[list[Picture]]:
    """The chosen frames of each source, encoded."""
    largest = _largest(sources)
    taken: list[list[tuple[int, int, int, int]]] = [[] for _ in sources]
    wanted = set(chosen)
    with closing(_together(sources, wish)) as run:
        for number, shown in enumerate(run):
            if number in wanted:
                for place, each in enumerate(shown):
                    rgb = each.rgb if wish.fit == "nearest" else _enlarged(each.rgb, largest.width, largest.height)
                    taken[place].append((number, rgb.shape[-1], rgb.shape[-2], album.add(pixels_of(rgb))))
                tell("store", len(taken[0]), len(chosen))
            if number == chosen[-1]:
                break
    # Only now: the album may have become JPEG on the way.
    return [[Picture(number, w, h, album[at], times[number]) for number, w, h, at in each] for each in taken]


def _enlarged(rgb: Tensor, width: int, height: int) -> Tensor:
    if tuple(rgb.shape[-2:]) == (height, width):
        return rgb
    return resize(rgb.float(), height, width).add(0.5).clamp_(0, 255).to(torch.uint8)


def _facts(source: Source, sources: Sequence[Source], fit: str) -> dict[str, str]:
    largest = _largest(sources)
    facts = {"Size": f"{source.width}x{source.height}"}
    if (source.width, source.height) != (largest.width, largest.height):
        facts["Size"] += f", enlarged by {'bicubic interpolation' if fit == 'bicubic' else 'nearest neighbour'}"
    if source.info is not None:
        facts["Kind"] = source.info.codec
    elif source.still is not None:
        facts["Kind"] = source.still.source_format
    return facts


def _notes(
    sources: Sequence[Source],
    labels: Sequence[str],
    count: int,
    shown: Sequence[int],
    worst: Sequence[int],
    album: Album,
    wish: Wish,
) -> Iterator[str]:
    first = sources[0]
    if first.is_film:
        evenly = f"{min(wish.frames, count)} at equal distances from the first to the last"
        yield f"{len(shown)} of {count} frames are shown: {evenly}{', and the worst of each item' if worst else ''}."
    yield f"Pictures are stored {album.encoding}; all of the page may take {wish.max_bytes / 1e6:.0f} MB."
    together = list(zip(labels, sources, strict=True))
    other = [label for label, each in together if (each.width, each.height) != (first.width, first.height)]
    if wish.metrics and len(other) < len(sources) - 1:
        how = " and ".join(METRICS[name][1] for name in wish.metrics)
        yield f"{how} of 8-bit pixels against {labels[0]}, no border cropped."
    if wish.metrics and other:
        yield f"Not measured, since {labels[0]} has another size: {', '.join(other)}."
    for label, source in together:
        for note in source.notes:
            yield f"{label}: {note}."


def _psnr(first: Tensor, second: Tensor) -> float:
    return float(psnr(first, second, Protocol("rgb")))


def _ssim(first: Tensor, second: Tensor) -> float | None:
    """None for pictures smaller than its window."""
    return float(ssim(first, second, Protocol("y"))) if min(first.shape[-2:]) >= SMALLEST_SSIM else None


METRICS = {"psnr": (_psnr, "PSNR (RGB, all three channels)"), "ssim": (_ssim, "SSIM (luma, 11x11, sigma 1.5)")}
