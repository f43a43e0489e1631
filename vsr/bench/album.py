"""Pictures for a page that must not grow beyond a size: lossless as long as they fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vsr.errors import ConfigError
from vsr.media.encoded import Rgb, jpeg_bytes, png_bytes, png_pixels

MAX_BYTES = 64_000_000  # of a page: browsers open it in a second or two, and mail or chat may still take it
BASE64 = 4 / 3
JPEG_QUALITY = 92


def pixels_of(pictures: Tensor) -> Rgb:
    """The first of (N, 3 or 1, H, W) uint8 as (H, W, 3); gray three times."""
    return np.ascontiguousarray(pictures[0].expand(3, -1, -1).permute(1, 2, 0).numpy())


@dataclass(frozen=True)
class Picture:
    """One frame of an item, encoded.

    number   which frame: of a film in display order from 0, of a set of pictures its place
    data     PNG, JPEG or WebP
    seconds  when it is shown, from the film's beginning; None for what has no time
    label    what it is called where "frame 12" will not do: a picture's file name, a moment's ("dark")
    """

    number: int
    width: int
    height: int
    data: bytes
    seconds: float | None = None
    label: str = ""


class Album:
    """Pictures as they are added: PNG while all fit into `max_bytes` of a page; once they do not, all of them JPEG."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._left = int(max_bytes / BASE64)
        self._data: list[bytes] = []
        self.lossless = True

    def add(self, rgb: Rgb) -> int:
        """Take a picture (H, W, 3); returns its place. Raises ConfigError where they do not fit as JPEG either."""
        self._keep(png_bytes(rgb) if self.lossless else jpeg_bytes(rgb, JPEG_QUALITY))
        if self._left < 0 and self.lossless:
            self.lossless = False
            before, self._data, self._left = self._data, [], int(self._max_bytes / BASE64)
            for data in before:
                self._keep(jpeg_bytes(png_pixels(data), JPEG_QUALITY))
        if self._left < 0:
            raise ConfigError(
                f"the first {len(self._data)} pictures take more than {self._max_bytes / 1e6:.0f} MB, as JPEG too: "
                "ask for fewer with --frames, or allow more with --max-mb"
            )
        return len(self._data) - 1

    def __getitem__(self, place: int) -> bytes:
        return self._data[place]

    @property
    def encoding(self) -> str:
        """How the pictures are stored, for people."""
        if self.lossless:
            return "lossless (PNG)"
        return f"JPEG of quality {JPEG_QUALITY} without chroma subsampling, since PNG would be larger than allowed"

    def _keep(self, data: bytes) -> None:
        self._data.append(data)
        self._left -= len(data)
