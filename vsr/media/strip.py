"""Pictures side by side with words below them, as papers show a detail. For people: nothing is measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vsr.frames import FrameBatch
from vsr.media.imagemeta import batch_of

_GAP, _LINE, _TEXT = 8, 18, 14  # pixels
_LEAST = 192  # a detail is enlarged by a whole number, without smoothing, until its shorter side has as many


@dataclass(frozen=True)
class Panel:
    """One picture (one frame, 8-bit RGB or gray) and the lines below it."""

    picture: FrameBatch
    lines: tuple[str, ...]


def comparison_strip(panels: Sequence[Panel], crop: tuple[int, int, int, int]) -> FrameBatch:
    """The first panel's whole picture with the detail framed, then the detail (x, y, width, height) of every panel."""
    x, y, width, height = crop
    times = max(1, -(-_LEAST // min(width, height)))
    size = (width * times, height * times)
    details = [_image(p.picture).crop((x, y, x + width, y + height)).resize(size, Image.Resampling.NEAREST) for p in panels]
    whole = _image(panels[0].picture)
    ImageDraw.Draw(whole).rectangle((x, y, x + width - 1, y + height - 1), outline=(255, 0, 0), width=max(2, whole.height // 150))
    whole = whole.resize((max(1, round(whole.width * size[1] / whole.height)), size[1]), Image.Resampling.LANCZOS)
    words = max(len(panel.lines) for panel in panels) * _LINE
    across = whole.width + sum(size[0] + _GAP for _ in panels)
    sheet = Image.new("RGB", (across, size[1] + words + _GAP), "white")
    sheet.paste(whole, (0, 0))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    at = whole.width + _GAP
    for panel, detail in zip(panels, details, strict=True):
        sheet.paste(detail, (at, 0))
        for number, line in enumerate(panel.lines):
            pen.text((at + size[0] / 2, size[1] + 4 + number * _LINE), line, fill="black", font=font, anchor="ma")
        at += size[0] + _GAP
    return batch_of(np.asarray(sheet), alpha=False)


def _image(batch: FrameBatch) -> Image.Image:
    planes = [plane[0] for plane in batch.planes]
    return Image.fromarray(np.stack(planes * 3 if len(planes) == 1 else planes, -1))
