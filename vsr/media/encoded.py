"""Pictures as bytes in memory: what a page or a sheet carries its pictures as."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from vsr.errors import DecodeError, EncodeError
from vsr.media.imagemeta import StillImage, batch_of
from vsr.media.imagetargets import TARGETS
from vsr.media.pillow import write_with_pillow
from vsr.media.png import read_png
from vsr.media.pngwrite import write_png

Rgb = npt.NDArray[np.uint8]  # (H, W, 3), sRGB


def png_bytes(rgb: Rgb) -> bytes:
    """A picture (H, W, 3) as PNG."""
    file = io.BytesIO()
    write_png(file, StillImage(batch_of(rgb, alpha=False), "PNG"))
    return file.getvalue()


def jpeg_bytes(rgb: Rgb, quality: int) -> bytes:
    """A picture (H, W, 3) as JPEG without chroma subsampling. Raises EncodeError for what the format cannot hold."""
    limit = TARGETS["JPEG"].max_side
    if max(rgb.shape) > limit:
        raise EncodeError(f"a picture of {rgb.shape[1]}x{rgb.shape[0]} is beyond JPEG's {limit} pixels a side; keep it as PNG")
    file = io.BytesIO()
    write_with_pillow(file, StillImage(batch_of(rgb, alpha=False), "JPEG", lossless=False), "JPEG", quality)
    return file.getvalue()


def through_jpeg(rgb: Rgb, quality: int) -> Rgb:
    """A picture (H, W, 3) as JPEG (4:2:0, as cameras and the web have it) leaves it; `quality` 1 to 100 as libjpeg counts."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality, subsampling=2)
    file.seek(0)
    return np.array(JpegImageFile(file))


def png_pixels(data: bytes) -> Rgb:
    """What `png_bytes` was given. Raises DecodeError for another kind of PNG."""
    batch = read_png(data).batch
    if (batch.format.layout.plane_count, batch.format.layout.bits) != (3, 8):
        raise DecodeError("is not an 8-bit RGB picture")
    return np.stack([plane[0] for plane in batch.planes], axis=2).astype(np.uint8, copy=False)
