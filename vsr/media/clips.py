"""Random access to frames by their number in display order: films, folders of frames and single pictures alike.

Training reads a few frames here and there. Whatever reads them, the same number gives the same pixels, those of the `Reader`
from the beginning on: a film is entered at the key frame before, its frames are held against the index, and what was decoded
on the way stays in memory up to a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from vsr.errors import DecodeError
from vsr.media.film import Film
from vsr.media.framecache import Decoded, FrameCache
from vsr.media.images import is_image, read_image
from vsr.media.imagesize import image_size
from vsr.media.rgb import Box, rgb_of
from vsr.media.sequences import is_pattern, list_images, list_sequence
from vsr.scenes import Thumb, is_cut, thumb

ReaderName = Literal["av", "decord"]


class Frames(Protocol):
    """Where a clip's frames come from. `read` gives frames `first` to `last`, and before them those that lie on the way.

    `shareable`: several threads may read at once, for nothing is held open.
    """

    shareable: bool
    count: int
    width: int
    height: int

    def entry(self, number: int) -> int:
        """The first frame that has to be read to reach `number`."""

    def read(self, first: int, last: int) -> Iterator[tuple[int, Decoded]]:
        """Frames with their numbers, in order. Raises DecodeError."""

    def close(self) -> None:
        """Lets go of what is held open; the next read opens it again."""


class Clip:
    """Frames by number, 0 being the first that is displayed. Get one from `open_clip`; not for two threads at once."""

    def __init__(self, path: str, source: Frames, cache: FrameCache) -> None:
        self.path, self.source = path, source
        self.height, self.width = source.height, source.width
        self._cache = cache
        self._cuts: dict[int, bool] = {}

    def __len__(self) -> int:
        return self.source.count

    def frames(self, numbers: Sequence[int], box: Box | None = None) -> Tensor:
        """These frames, or `box` of each, as RGB (N, 3, H, W) uint8. Raises DecodeError, IndexError for a number out of range."""
        found = self._decoded(numbers)
        return torch.stack([rgb_of(found[n].planes, found[n].format, box) for n in numbers])

    def cut_within(self, numbers: range) -> bool:
        """Does a new shot begin in these frames, after their first? By `vsr.scenes`."""
        unknown = [n for n in numbers[1:] if n not in self._cuts]
        if unknown:
            found = self._decoded(range(unknown[0] - 1, unknown[-1] + 1))
            thumbs = {n: thumb(frame.planes, frame.format.layout) for n, frame in found.items()}
            self._cuts |= {n: is_cut(thumbs[n - 1], thumbs[n]) for n in unknown}
        return any(self._cuts[n] for n in numbers[1:])

    def shots(self) -> tuple[range, ...]:
        """The shots of the whole clip, which is read once from end to end."""
        begins, before = [0], None
        for number, frame in self.source.read(0, len(self) - 1):
            now: Thumb = thumb(frame.planes, frame.format.layout)
            if before is not None:
                self._cuts[number] = is_cut(before, now)
                begins += [number] * self._cuts[number]
            before = now
        return tuple(range(a, b) for a, b in zip(begins, [*begins[1:], len(self)], strict=True))

    def close(self) -> None:
        """Closes what is open; frames can still be asked for."""
        self.source.close()

    def _decoded(self, numbers: Sequence[int]) -> dict[int, Decoded]:
        found: dict[int, Decoded] = {}
        missing = []
        for number in sorted(set(numbers)):
            if not 0 <= number < len(self):
                raise IndexError(f"{self.path}: frame {number} of {len(self)}")
            held = self._cache.get(self.path, number)
            if held is None:
                missing.append(number)
            else:
                found[number] = held
        for first, last in self._runs(missing):
            for number, frame in self.source.read(first, last):
                self._cache.put(self.path, number, frame)
                if first <= number:
                    found[number] = frame
        return found

    def _runs(self, missing: Sequence[int]) -> Iterator[tuple[int, int]]:
        """First and last of the missing frames that one reading gets; a seek in between where it saves frames."""
        run: list[int] = []
        for number in missing:
            if run and self.source.entry(number) > run[-1] + 1:
                yield run[0], run[-1]
                run = []
            run.append(number)
        if run:
            yield run[0], run[-1]


class _Pictures:
    """Image files as frames, all of one size."""

    shareable = True

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self.count = len(self._paths)
        self.width, self.height = image_size(self._paths[0])

    def entry(self, number: int) -> int:
        return number

    def read(self, first: int, last: int) -> Iterator[tuple[int, Decoded]]:
        for number in range(first, last + 1):
            batch = read_image(self._paths[number]).batch
            if (batch.format.width, batch.format.height) != (self.width, self.height):
                size = f"{batch.format.width}x{batch.format.height}"
                raise DecodeError(f"{self._paths[number]}: is {size} where the clip began with {self.width}x{self.height}")
            yield number, Decoded(tuple(plane[0] for plane in batch.planes), batch.format)

    def close(self) -> None:
        """Nothing is held open."""


def open_clip(path: Path | str, *, reader: ReaderName = "av", cache: FrameCache | None = None) -> Clip:
    """A film, an image (a clip of one frame), a folder of frames in natural order, or a pattern (frames_%05d.png).

    With `reader="decord"` films are read by decord where it is installed and agrees with the index (`vsr.media.decord_frames`),
    by PyAV all the same where not: `clip.source` says which. `cache` is for clips that share their memory.
    Raises DecodeError for what cannot be read, for HDR and for interlaced films: training takes SDR and whole frames.
    """
    cache, text = cache or FrameCache(), str(path)
    if is_pattern(text) and not Path(text).exists():
        return Clip(text, _Pictures(list(list_sequence(text).values())), cache)
    if Path(text).is_dir():
        return Clip(text, _Pictures(list_images(Path(text))[0]), cache)
    if is_image(text):
        return Clip(text, _Pictures([Path(text)]), cache)
    film = Film(text)
    if reader == "decord":
        from vsr.media.decord_frames import by_decord  # decord is not to be had everywhere

        return Clip(text, by_decord(film) or film, cache)
    return Clip(text, film, cache)
