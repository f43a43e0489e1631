"""Still images in and out: PNG, JPEG, WebP, TIFF, BMP. Gray stays gray, RGB stays RGB, 16 bits stay 16 where the format can.

Pixels are never turned: the orientation stays a tag. What is lost on the way is said by name, on reading in
`StillImage.warnings`, on writing in what `write_image` returns.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from vsr.errors import DecodeError, EncodeError
from vsr.media.imagemeta import StillImage
from vsr.media.imagetargets import TARGETS, fitted
from vsr.media.pillow import read_bmp, read_jpeg, read_webp, write_with_pillow
from vsr.media.png import SIGNATURE as PNG_SIGNATURE
from vsr.media.png import read_png
from vsr.media.pngwrite import write_png
from vsr.media.tiff import read_tiff, write_tiff

__all__ = ["IMAGE_SUFFIXES", "StillImage", "is_image", "read_image", "write_image"]

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG",
    ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
}  # fmt: skip
IMAGE_SUFFIXES = frozenset(FORMATS)


def is_image(path: str) -> bool:
    """Whether the name ends like a still image, which vsr reads and writes."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path) -> StillImage:
    """Read one picture, by its content whatever its name says.

    Raises DecodeError for what is missing, no image, damaged, cut short, animated, or of a kind that vsr does not read.
    """
    data = _contents(path)
    name, reader = _reader(path, data)
    try:
        return reader(data)
    except DecodeError as exc:
        raise DecodeError(f"{path}: {exc}") from exc
    except MemoryError as exc:
        raise DecodeError(f"{path}: the picture does not fit into memory; cut it into parts") from exc
    except Exception as exc:  # Pillow's readers raise whatever a damaged file makes them stumble over
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise DecodeError(f"{path}: is a damaged or cut short {name} ({reason}): get the file again") from exc


def _contents(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise DecodeError(f"{path}: is a folder, not an image; give a file in it")
        if path.exists() and not path.is_file():  # a pipe or device may never end
            raise DecodeError(f"{path}: is not a regular file; save it as one first")
        data = path.read_bytes()
    except FileNotFoundError as exc:
        raise DecodeError(f"{path}: no such file; check the name") from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
        raise DecodeError(f"{path}: cannot be read ({_reason(exc)}); check the name and its permissions") from exc
    if not data:
        raise DecodeError(f"{path}: is empty; get the file again")
    return data


def _reader(path: Path, data: bytes) -> tuple[str, Callable[[bytes], StillImage]]:
    if data.startswith(PNG_SIGNATURE):
        return "PNG", read_png
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG", read_jpeg
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP", read_webp
    if data.startswith((b"II*\0", b"MM\0*")):
        return "TIFF", read_tiff
    if data.startswith(b"BM"):
        return "BMP", read_bmp
    if data.startswith(b"GIF8"):
        raise DecodeError(f"{path}: is a GIF, which vsr takes as a video; name it .gif")
    if data.startswith((b"II+\0", b"MM\0+")):
        raise DecodeError(f"{path}: is a BigTIFF, which vsr does not read; convert it to a plain TIFF or PNG")
    raise DecodeError(f"{path}: is not an image that vsr reads; convert it to PNG, JPEG, WebP, TIFF or BMP")


def write_image(path: Path, image: StillImage, *, quality: int = 95) -> tuple[str, ...]:
    """Write one picture in the format that the name's ending says; the name is given only to a whole file.

    JPEG is written without chroma subsampling, WebP without loss when the source had none; else `quality` (1 to 100) counts.
    Returns what the format could not hold, by name. Raises EncodeError.
    """
    format = FORMATS.get(path.suffix.lower())
    if format is None:
        raise EncodeError(f"{path}: no image format is called {path.suffix!r}; use {', '.join(sorted(IMAGE_SUFFIXES))}")
    try:
        ready, warnings = fitted(image, TARGETS[format])
        with replaced(path) as file:
            if format == "PNG":
                write_png(file, ready)
            elif format == "TIFF":
                write_tiff(file, ready)
            else:
                write_with_pillow(file, ready, format, quality)
    except EncodeError as exc:
        raise EncodeError(f"{path}: {exc}") from exc
    except (OSError, MemoryError) as exc:
        raise EncodeError(f"{path}: cannot be written ({_reason(exc)}); check the folder and its free space") from exc
    return warnings


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside `path` that takes its name once it is whole and on the disk, and leaves nothing behind otherwise."""
    # A name has 255 bytes: 60 characters take 240 at most, the rest 15.
    part = path.with_name(f".{path.name[:60]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _reason(exc: Exception) -> str:
    return str(getattr(exc, "strerror", None) or " ".join(str(exc).split()) or type(exc).__name__)
