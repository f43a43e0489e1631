"""Contact sheets: frames of several results under each other, at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vsr.media.encoded import Rgb
from vsr.media.imagemeta import StillImage, batch_of
from vsr.media.images import write_image
from vsr.media.sheet import Cell, draw_sheet

__all__ = ["Cell", "write_contact_sheet"]


def write_contact_sheet(path: Path, rows: Sequence[Sequence[Cell]], *, title: str = "", width: int = 360) -> Rgb:
    """Write a grid of labelled pictures, each `width` pixels wide, in the image format that the name says; returns its pixels.

    Raises EncodeError where it cannot be written, ValueError for a sheet without a picture. The file appears whole or not at all.
    """
    sheet = draw_sheet(rows, title=title, width=width)
    write_image(path, StillImage(batch_of(sheet, alpha=False), "PNG"))
    return sheet
