"""How large a still image is, from its header: nothing is decoded."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from vsr.errors import DecodeError


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels. Raises DecodeError for what is no image."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError) as exc:  # SyntaxError: Pillow's word for a damaged PNG
        raise DecodeError(f"{path}: is not an image that can be read; get the file again") from exc
