"""What is looked at: images, films and numbered sequences as 8-bit RGB, one frame after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vsr.errors import MediaError
from vsr.frames import FrameBatch, VideoInfo
from vsr.media.decode import Reader, trimmed
from vsr.media.framefiles import IMAGES, SequenceReader, sequence_info
from vsr.media.imagemeta import StillImage
from vsr.media.images import is_image, read_image
from vsr.media.probe import probe
from vsr.media.rgb import rgb_of as pixels
from vsr.media.sequences import is_pattern

HDR_TRANSFERS = (16, 18)  # H.273: PQ, HLG


@dataclass(frozen=True)
class Source:
    """An image (`still`) or a film (`info`), opened far enough to know its size.

    `notes` say what of it is not shown as a player would show it.
    """

    path: str
    width: int
    height: int
    still: StillImage | None = None
    info: VideoInfo | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_film(self) -> bool:
        return self.info is not None


@dataclass(frozen=True)
class Shown:
    """A frame: (1, 3, H, W) uint8 RGB, and seconds from the film's beginning (None for an image)."""

    rgb: Tensor
    seconds: float | None


def open_source(path: str) -> Source:
    """Look at an image, a film, or a pattern of numbered images. Raises DecodeError for what cannot be read."""
    if is_pattern(path) and is_image(path):
        info = sequence_info(path, None)
        return Source(path, info.format.width, info.format.height, info=info)
    if is_image(path):
        still = read_image(Path(path))
        format = still.batch.format
        notes = ["its colour profile is not applied"] * bool(still.icc) + ["its transparency is left out"] * format.layout.alpha
        return Source(path, format.width, format.height, still, notes=(*notes, *_depth(format.layout.bits)))
    if Path(path).is_dir():
        raise MediaError(f"{path}: is a folder; name an image, a film, or a pattern in it (frames_%05d.png)")
    info = probe(path)
    return Source(path, info.format.width, info.format.height, info=info, notes=tuple(film_notes(info)))


def frames_of(source: Source, start: float | None = None, duration: float | None = None) -> Generator[Shown]:
    """Every frame of a film between two times in seconds, or the one of an image. Raises DecodeError."""
    if source.info is None:
        assert source.still is not None
        yield Shown(rgb_of(source.still.batch), None)
        return
    info = source.info
    first, after = trimmed(info, start, duration)
    numbered = info.container == IMAGES
    reader: SequenceReader | Reader
    reader = SequenceReader(info, start=first, stop=after) if numbered else Reader(source.path, info, start=first, stop=after)
    with reader:
        for batch in reader:
            yield Shown(rgb_of(batch), float((batch.pts[0] - info.start_pts) * info.time_base))


def film_notes(info: VideoInfo) -> Iterator[str]:
    """What of a film's frames a page does not show as a player would."""
    color = info.format.color
    if color.transfer in HDR_TRANSFERS:
        yield "it is HDR, shown without tone mapping: flat, and in the wrong colours"
    if info.rotation:
        yield f"it is shown as stored, without its rotation by {info.rotation} degrees"
    if info.sar != 1:
        yield f"its pixels are shown square, though their aspect is {info.sar}"
    if info.format.layout.alpha:
        yield "its transparency is left out"
    yield from _depth(info.format.layout.bits)


def _depth(bits: int) -> Iterator[str]:
    if bits > 8:
        yield f"its {bits} bits are shown, and compared, as 8"


def rgb_of(batch: FrameBatch) -> Tensor:
    """(1, 3, H, W) uint8: gamma-coded as in the file, rounded half up."""
    return pixels([plane[0] for plane in batch.planes], batch.format)[None]
