"""A film as a test set: its frames are the truth, and LR is made of them by a degradation that is stated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

from vsr.bench.pairs import Dataset, Pair, batch_of, cropped, made_pair, numbered, picture_format
from vsr.color import planes_to_rgb, rgb_to_planes
from vsr.errors import ConfigError
from vsr.frames import FrameBatch, FrameFormat, PixelLayout, VideoInfo
from vsr.media.decode import Reader
from vsr.media.probe import probe
from vsr.media.recompress import ENCODERS, recompress
from vsr.media.rgb import BT709

MOST_FRAMES = 60  # unless it is said otherwise
_YUV = PixelLayout("yuv", 8, 1, 1)


@dataclass(frozen=True)
class FilmGroup:
    """The first frames of a film; `codec` and `crf` degrade LR further (None: it is RGB, 8 bits)."""

    name: str
    source: str
    info: VideoInfo
    scale: int
    count: int
    codec: str | None = None
    crf: int = 0
    clip: bool = True

    def pairs(self) -> Iterator[Pair]:
        if self.codec is None:
            yield from self._clean()
            return
        pairs = self._clean(2 * self.scale)  # 4:2:0 takes even sizes only
        kept: list[Pair] = []

        def lows() -> Iterator[FrameBatch]:
            for pair in pairs:
                kept.append(pair)
                yield as_yuv(pair.lr)

        for lr in recompress(lows(), self.codec, self.crf):
            pair = kept.pop(0)
            yield replace(pair, lr=lr)

    def _clean(self, multiple: int | None = None) -> Iterator[Pair]:
        with Reader(self.source, self.info) as reader:
            for number, batch in enumerate(islice(reader, self.count)):
                hr = as_rgb(batch)
                if multiple:
                    width, height = (side // multiple * multiple for side in (hr.format.width, hr.format.height))
                    hr = cropped(hr, width, height)
                pair = made_pair(f"frame {number}", hr, self.scale)
                yield replace(pair, hr=numbered(pair.hr, number), lr=numbered(pair.lr, number))


def film_dataset(path: Path, scale: int, degrade: str, frames: int | None) -> Dataset:
    """A film's first frames (60 unless `frames` says otherwise). Raises ConfigError for a degradation that is none."""
    codec, crf = parse_degradation(degrade)
    info = probe(str(path))
    if info.hdr:
        raise ConfigError(
            f"--dataset {path}: is HDR ({', '.join(info.hdr)}), and figures are of 8-bit pictures: take an SDR film"
        )
    least = (2 if codec else 1) * scale
    if min(info.format.width, info.format.height) < least:
        raise ConfigError(f"--dataset {path}: {info.format.width}x{info.format.height} is too small for scale {scale}")
    count = frames or MOST_FRAMES
    if info.frames:
        count = min(count, info.frames)
    origin = f"HR: frames as 8-bit RGB; LR: shrunk by {scale} as MATLAB's imresize does"
    origin += f", then {codec} at crf {crf} (4:2:0)" if codec else " (bicubic, 8 bits)"
    group = FilmGroup(path.stem, str(path), info, scale, count, codec, crf)
    return Dataset(path.name, scale, (group,), origin, stored=False, notes=info.warnings)


def parse_degradation(text: str) -> tuple[str | None, int]:
    """ "bicubic" -> (None, 0); "h264:28" -> ("h264", 28). Raises ConfigError."""
    if text == "bicubic":
        return None, 0
    codec, _, crf = text.partition(":")
    if codec not in ENCODERS or not (crf.isascii() and crf.isdigit()) or int(crf) > 51:
        known = " or ".join(f"{name}:CRF" for name in ENCODERS)
        raise ConfigError(f"--degrade {text}: give bicubic, {known} with a CRF from 0 to 51, as h264:28")
    return codec, int(crf)


def as_rgb(batch: FrameBatch) -> FrameBatch:
    """One frame of any layout as 8-bit RGB; gray stays gray where it has 8 bits, alpha is left out."""
    format = batch.format
    if format.layout.kind == "gray" and format.layout.bits == 8:
        return FrameBatch(picture_format(format.width, format.height, 1), batch.planes[:1], batch.pts, index=batch.index)
    target = picture_format(format.width, format.height, 3)
    rgb = planes_to_rgb([torch.from_numpy(plane.copy()) for plane in batch.planes], format)
    return batch_of(torch.stack(rgb_to_planes(rgb, target), 1), batch.pts[0])


def as_yuv(batch: FrameBatch, layout: PixelLayout = _YUV) -> FrameBatch:
    """An RGB or gray frame as 8-bit YUV, 4:2:0 unless `layout` says otherwise, in BT.709."""
    target = FrameFormat(batch.format.width, batch.format.height, layout, BT709)
    rgb = planes_to_rgb([torch.from_numpy(plane.copy()) for plane in batch.planes], batch.format)
    planes = tuple(plane.numpy() for plane in rgb_to_planes(rgb, target))
    return FrameBatch(target, planes, batch.pts, index=batch.index)
