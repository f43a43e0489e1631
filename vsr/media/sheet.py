"""A contact sheet: labelled pictures in a grid, drawn with Pillow and the font that it brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vsr.media.encoded import Rgb

BACKGROUND, TEXT, FAINT = (20, 23, 27), (230, 233, 237), (152, 162, 173)
GAP, TITLE_PX, LABEL_PX = 12, 20, 15  # pixels


@dataclass(frozen=True)
class Cell:
    """A picture (H, W, 3) uint8 and what is written below it."""

    label: str
    rgb: Rgb


def draw_sheet(rows: Sequence[Sequence[Cell]], *, title: str = "", width: int = 360) -> Rgb:
    """All cells of `rows` at `width` pixels or less each, labels below, the title above; returns (H, W, 3).

    Larger pictures are averaged down; smaller ones are enlarged by a whole factor without interpolation, so that what is shown
    of a small picture is its own pixels. Raises ValueError for a sheet without a picture.
    """
    if not any(rows):
        raise ValueError("a contact sheet needs at least one picture")
    label_font, title_font = ImageFont.load_default(LABEL_PX), ImageFont.load_default(TITLE_PX)
    fitted = [[_fitted(cell.rgb, width) for cell in row] for row in rows]
    heights = [max((picture.height for picture in row), default=0) + GAP + LABEL_PX for row in fitted]
    top = GAP + (TITLE_PX + GAP if title else 0)
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (GAP + columns * (width + GAP), top + sum(heights) + GAP * len(rows)), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((GAP, GAP), _shortened(title, title_font, sheet.width - 2 * GAP), TEXT, title_font)
    for row, pictures, height in zip(rows, fitted, heights, strict=True):
        for column, (cell, picture) in enumerate(zip(row, pictures, strict=True)):
            left = GAP + column * (width + GAP)
            sheet.paste(picture, (left, top))
            draw.text((left, top + picture.height + 3), _shortened(cell.label, label_font, width), FAINT, label_font)
        top += height + GAP
    return np.asarray(sheet)


def _fitted(rgb: Rgb, width: int) -> Image.Image:
    picture = Image.fromarray(rgb)
    if picture.width > width:
        return picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.BOX)
    factor = width // picture.width
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, cut with dots where it is wider than `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
