"""Contact sheets: each picture where it belongs, nothing invented in small ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vsr.bench.contact import Cell, write_contact_sheet
from vsr.errors import EncodeError
from vsr.media.images import read_image


def cell(label: str, color: tuple[int, int, int], width: int, height: int) -> Cell:
    return Cell(label, np.broadcast_to(np.array(color, np.uint8), (height, width, 3)).copy())


def test_cells_stand_in_rows(tmp_path: Path) -> None:
    red, green, blue = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    rows = [[cell("red", red, 100, 50), cell("green", green, 20, 10)], [cell("blue", blue, 50, 50)]]
    target = tmp_path / "sheet.png"
    sheet = write_contact_sheet(target, rows, title="three", width=50)
    planes = read_image(target).batch.planes
    assert (np.stack([plane[0] for plane in planes], axis=2) == sheet).all()
    for color, pixels in ((red, 50 * 25), (green, 40 * 20), (blue, 50 * 50)):
        assert (sheet == color).all(axis=2).sum() == pixels, "averaged down, enlarged by 2 (not 2.5), as it is"
    (top_red, left_red), (top_green, left_green), (top_blue, left_blue) = (
        np.argwhere((sheet == color).all(axis=2)).min(axis=0) for color in (red, green, blue)
    )
    assert top_red == top_green < top_blue
    assert left_red == left_blue < left_green


def test_a_label_that_is_too_long_is_cut_and_says_so() -> None:
    from vsr.media.sheet import draw_sheet

    short, long = (draw_sheet([[cell("m" * n, (9, 9, 9), 60, 10)]], width=60) for n in (3, 300))
    assert short.shape == long.shape
    assert (short != long).any()


def test_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        write_contact_sheet(tmp_path / "a.png", [[]])
    with pytest.raises(EncodeError, match="no image format"):
        write_contact_sheet(tmp_path / "a.xyz", [[cell("a", (1, 2, 3), 4, 4)]])
    assert list(tmp_path.iterdir()) == []
