"""What a network in training makes of some pictures, for people: input, result, truth side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from vsr.errors import EncodeError
from vsr.media.encoded import Rgb
from vsr.media.imagemeta import StillImage, batch_of
from vsr.media.images import write_image
from vsr.media.sheet import Cell, draw_sheet
from vsr.train.validate import Sample

WIDTH = 320


def write_samples(path: Path, samples: Sequence[Sample], title: str, step: int) -> None:
    """A contact sheet with a row for each sample. Raises EncodeError where it cannot be written."""
    if not samples:
        return
    rows = [
        [Cell(f"input {it.name}", _rgb(it.lr)), Cell(f"{it.psnr_y:.2f} dB", _rgb(it.made)), Cell("truth", _rgb(it.true))]
        for it in samples
    ]
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as exc:
        raise EncodeError(f"{path.parent}: cannot be made: {exc.strerror}; make room, then --resume") from exc
    sheet = draw_sheet(rows, title=f"{title}, step {step}", width=WIDTH)
    write_image(path, StillImage(batch_of(sheet, alpha=False), "PNG"))


def _rgb(pixels: Tensor) -> Rgb:
    return pixels[0].expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
