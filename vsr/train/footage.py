"""What there is to train on: images and films in folders, opened when they are first drawn, and what of them cannot be used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vsr.errors import ConfigError, MediaError
from vsr.media.clips import Clip, Frames, ReaderName, open_clip
from vsr.media.framecache import FrameCache
from vsr.media.images import is_image
from vsr.media.imagesize import image_size
from vsr.names import FILM_SUFFIXES

STILLS_BYTES = 2 << 30  # 470 photographs of 1.5 megapixels, decoded
FILMS_BYTES = 512 << 20
_MOST_OPEN = 4  # films that decord holds open: some 50 MB each


@dataclass(frozen=True)
class Item:
    """One entry of an epoch: an image, a film or a folder of frames, of which frames `first` to `stop` (exclusive) are used.

    `lr` is what belongs to it in LR, frame for frame; None: LR is made by a degradation.
    """

    path: str
    first: int = 0
    stop: int | None = None
    lr: str | None = None

    def __str__(self) -> str:
        part = f" [{self.first}:{'' if self.stop is None else self.stop}]" if self.first or self.stop is not None else ""
        return f"{self.path}{part}"


def find_items(roots: Sequence[Path], frames: int = 1, lr: Path | None = None) -> tuple[Item, ...]:
    """Everything below `roots` (files or folders), in an order that depends on names only.

    For clips of several frames a folder of images is one item, its images being frames in natural order; else each image is one.
    `lr` is a folder with files of the same names, or with x2, x3, ... after the stem. Hidden files are left out, and what is
    neither image nor film. Raises ConfigError where nothing is left, or nothing in `lr` has an item's name.
    """
    items = [Item(str(path)) for root in roots for path in _below(root, frames)]
    if lr is None:
        return tuple(items)
    if len(roots) != 1 or not roots[0].is_dir():
        raise ConfigError(f"{lr}: pairs take one folder of HR and one of LR")
    return tuple(Item(item.path, lr=str(_partner(Path(item.path), roots[0], lr))) for item in items)


def _below(root: Path, frames: int) -> list[Path]:
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise ConfigError(f"{root}: there is no such file or folder to train on; check data.train")
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = sorted(Path(folder, name) for name in names if not name.startswith("."))
        stills = [path for path in files if is_image(path.name)]
        found += [Path(folder)] * bool(stills) if frames > 1 else stills
        found += [path for path in files if path.suffix.lower() in FILM_SUFFIXES]
    if not found:
        raise ConfigError(f"{root}: holds no image and no film to train on; check data.train")
    return found


def _partner(path: Path, root: Path, lr: Path) -> Path:
    folder = lr / path.relative_to(root).parent
    if path.is_dir() and (lr / path.relative_to(root)).is_dir():
        return lr / path.relative_to(root)
    names = [path.name, *(f"{path.stem}{x}{suffix}" for suffix in (path.suffix, ".png") for x in ("", "x2", "x3", "x4", "x8"))]
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise ConfigError(f"{path}: there is no LR for it; {folder / path.name} was looked for (or x2, x3, x4 after the name)")


def check_pairs(items: Sequence[Item], scale: int) -> None:
    """Raise ConfigError, naming both sizes, where an image's LR is not HR / scale. Reads headers only."""
    for item in items:
        if item.lr is not None and is_image(item.path) and is_image(item.lr):
            _check_pair(item, image_size(Path(item.path)), image_size(Path(item.lr)), scale)


def _check_pair(item: Item, hr: tuple[int, int], lr: tuple[int, int], scale: int) -> None:
    """Sizes are (width, height); an HR that is no multiple may have been rounded either way."""
    if any(not big // scale <= small <= -(-big // scale) for big, small in zip(hr, lr, strict=True)):
        raise ConfigError(
            f"{item.lr}: is {lr[0]}x{lr[1]}, and its HR {item.path} {hr[0]}x{hr[1]}: that is not x{scale}; "
            "check network.scales, or the folder of LR"
        )


@dataclass
class Footage:
    """Opens items, once each. What cannot be used stands in `unusable`, with the reason; what is damaged in places in `damaged`.

    Single images stay in `stills` until that is full, and are read again after that; films' frames in `films`. Whether an
    item is usable does not depend on what was asked before. Not for two threads at once; `fork` shares the memory of images
    and the findings.
    """

    reader: ReaderName = "av"
    stills: FrameCache = field(default_factory=lambda: FrameCache(STILLS_BYTES, evict=False))
    films_bytes: int = FILMS_BYTES
    unusable: dict[Item, str] = field(default_factory=dict)
    damaged: dict[Item, str] = field(default_factory=dict)
    sources: dict[str, Frames] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._films = FrameCache(self.films_bytes)
        self._clips: dict[str, Clip] = {}
        self._recent: list[str] = []

    def fork(self) -> Footage:
        """For another thread."""
        return Footage(self.reader, self.stills, self.films_bytes, self.unusable, self.damaged, self.sources)

    def pair(self, item: Item, scale: int, least: int, frames: int) -> tuple[Clip, Clip | None] | None:
        """The item's HR and perhaps LR; None where it is unusable: unreadable, smaller than `least` pixels, fewer than `frames`.

        Raises ConfigError where LR is not HR / scale.
        """
        if item in self.unusable:
            return None
        try:
            hr = self._clip(item.path)
            lr = None if item.lr is None else self._clip(item.lr)
        except MediaError as exc:
            self.unusable[item] = str(exc)
            return None
        if lr is not None:
            _check_pair(item, (hr.width, hr.height), (lr.width, lr.height), scale)
            if len(lr) != len(hr):
                raise ConfigError(f"{item.lr}: has {len(lr)} frames, and its HR {item.path} {len(hr)}; check the folder of LR")
        count = len(hr) if item.stop is None else min(item.stop, len(hr))
        if count - item.first < frames:
            self.unusable[item] = f"{item}: has {count - item.first} frames, and {frames} are wanted"
        elif min(hr.width, hr.height) < least:
            self.unusable[item] = f"{item}: {hr.width}x{hr.height} is smaller than the crop of {least}x{least}"
        else:
            return hr, lr
        return None

    def _clip(self, path: str) -> Clip:
        if path not in self._clips:
            cache, source = self.stills if is_image(path) else self._films, self.sources.get(path)
            clip = Clip(path, source, cache) if source else open_clip(path, reader=self.reader, cache=cache)
            if clip.source.shareable:  # a film's index takes 0.3 to 2.5 s to make
                self.sources[path] = clip.source
            self._clips[path] = clip
        if self.reader == "decord" and not is_image(path):
            self._recent = [other for other in self._recent if other != path] + [path]
            for other in self._recent[:-_MOST_OPEN]:
                self._clips[other].close()
            self._recent = self._recent[-_MOST_OPEN:]
        return self._clips[path]
