"""Films as numbered image files: a sequence as a source, a pattern as a target."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from types import TracebackType

from vsr.errors import ConfigError, DecodeError, EncodeError
from vsr.frames import FrameBatch, FrameFormat, VideoInfo
from vsr.media.decode import ReadReport
from vsr.media.imagemeta import StillImage
from vsr.media.images import read_image, write_image
from vsr.media.sequences import list_sequence, sequence_path

IMAGES = "images"  # the container of numbered files


def sequence_info(pattern: str, fps: str | None) -> VideoInfo:
    """A numbered sequence as a film of `fps` frames a second (default 25). Raises DecodeError for missing or odd files."""
    try:
        rate = Fraction(fps or 25).limit_denominator(100_000)  # FFmpeg's rationals are 32 bits wide
    except (ValueError, ZeroDivisionError) as exc:
        raise ConfigError(f"--fps {fps}: give a number or a fraction, as 24 or 30000/1001") from exc
    if not 0 < rate <= 1000:
        raise ConfigError(f"--fps {fps}: must be above 0 and at most 1000")
    paths = list(list_sequence(pattern).values())
    first = read_image(paths[0])
    return VideoInfo(
        source=pattern,
        container=IMAGES,
        index=0,
        codec=first.source_format.lower(),
        pix_fmt=first.batch.format.layout.kind,
        format=first.batch.format,
        time_base=1 / rate,
        start_pts=0,
        rate=rate,
        duration=float(len(paths) / rate),
        frames=len(paths),
        sar=Fraction(1),
    )


def first_number(info: VideoInfo) -> int:
    """The number of a film's first image when it becomes images: as in the sequence that it comes from, else 1."""
    return next(iter(list_sequence(info.source))) if info.container == IMAGES else 1


class SequenceReader:
    """The files of a pattern as `FrameBatch`es, from number `start` to `stop` (exclusive); those within `shown` are shown.

    All must have the first one's size and kind: DecodeError names the odd one.
    """

    def __init__(
        self,
        info: VideoInfo,
        *,
        start: int | None = None,
        stop: int | None = None,
        shown: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self.report = ReadReport()
        self._info, self._start, self._stop = info, start or 0, stop
        self._first, self._after = shown[0] or 0, shown[1]

    def __enter__(self) -> SequenceReader:
        self._paths = list(list_sequence(self._info.source).values())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._paths = []

    def __iter__(self) -> Iterator[FrameBatch]:
        for number, path in list(enumerate(self._paths))[self._start : self._stop]:
            started = perf_counter()
            batch = read_image(path).batch
            if batch.format != self._info.format:
                began_as = _describe(self._info.format)
                raise DecodeError(
                    f"{path}: {_describe(batch.format)} where the sequence began with {began_as}; all must be alike"
                )
            shown = self._first <= number and (self._after is None or number < self._after)
            self.report.frames += shown
            seconds = {"decode": perf_counter() - started}
            yield FrameBatch(batch.format, batch.planes, (number,), (1,), number - self._first, seconds, shown=shown)


def _describe(format: FrameFormat) -> str:
    layout = format.layout
    return f"{format.width}x{format.height} {layout.bits}-bit {layout.kind}{' with alpha' if layout.alpha else ''}"


class PatternWriter:
    """Frames as numbered images from `first` up, each whole under its name or not there; `finish` adds `timestamps.json`."""

    def __init__(self, pattern: str, time_base: Fraction, first: int = 1) -> None:
        self.pts: list[int] = []
        self.seconds = 0.0
        self.warnings: dict[str, None] = {}
        self._pattern, self._time_base, self._first = pattern, time_base, first

    def write(self, batch: FrameBatch) -> None:
        """Writes each frame of a batch to its file."""
        began = perf_counter()
        for i, pts in enumerate(batch.pts):
            one = FrameBatch(batch.format, tuple(plane[i : i + 1] for plane in batch.planes), (pts,))
            path = sequence_path(self._pattern, self._first + len(self.pts))
            self.warnings.update(dict.fromkeys(write_image(path, StillImage(one, "PNG"))))
            self.pts.append(pts)
        self.seconds += perf_counter() - began

    def finish(self, zero: Fraction) -> Path:
        """Writes the time of every file, in seconds and in ticks of the source's clock; returns its path."""
        path = timestamps_path(self._pattern)
        times: Mapping[str, object] = {
            "time_base": str(self._time_base),
            "frames": [
                {
                    "file": sequence_path(self._pattern, self._first + i).name,
                    "pts": pts,
                    "seconds": float(pts * self._time_base - zero),
                }
                for i, pts in enumerate(self.pts)
            ],
        }
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            part.write_text(json.dumps(times, indent=1) + "\n", encoding="utf-8")
            part.replace(path)
        except OSError as exc:
            part.unlink(missing_ok=True)
            raise EncodeError(f"{path}: cannot be written: {exc.strerror}") from exc
        return path


def timestamps_path(pattern: str) -> Path:
    """Where the times of a pattern's frames stand."""
    return Path(sequence_path(pattern, 1)).with_name("timestamps.json")
