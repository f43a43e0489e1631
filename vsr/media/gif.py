"""Is a GIF opaque? FFmpeg decodes every one of them to RGBA and does not say; the file's own blocks do (GIF89a).

Only blocks are walked over, no picture is decoded: a pass over the file's bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_EXTENSION, _IMAGE = 0x21, 0x2C
_CONTROL = 0xF9  # Graphic Control Extension: disposal method and transparency flag
_RESTORE_TO_BACKGROUND = 2


def is_opaque_gif(path: str) -> bool:
    """Does no pixel of any frame let the background through?

    True when the first image covers the whole screen without a transparent colour and no image is cleared away to the background:
    then transparency in later images only lets earlier ones through. False for whatever cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return _is_opaque(file)
    except (OSError, EOFError):
        return False


def _is_opaque(file: BinaryIO) -> bool:
    head = _read(file, 13)
    if head[:3] != b"GIF":
        return False
    screen = head[6:10]  # width and height, as an image descriptor has them
    _skip_palette(file, head[10])
    images, clear, cleared = 0, False, False
    while (kind := file.read(1)) and kind[0] in (_EXTENSION, _IMAGE):
        if kind[0] == _EXTENSION:
            label, data = _read(file, 1)[0], _first_block(file)
            if label == _CONTROL and data:
                clear, cleared = bool(data[0] & 1), cleared or data[0] >> 2 & 7 == _RESTORE_TO_BACKGROUND
            continue
        descriptor = _read(file, 9)
        if images == 0 and (clear or descriptor[:8] != bytes(4) + screen):
            return False
        images += 1
        _skip_palette(file, descriptor[8])
        _read(file, 1)  # LZW code size
        _first_block(file)
    return images > 0 and not cleared


def _first_block(file: BinaryIO) -> bytes:
    """The first of a chain of data blocks; the file is then behind the chain."""
    first = block = _read(file, _read(file, 1)[0])
    while block:
        block = _read(file, _read(file, 1)[0])
    return first


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        _read(file, 3 << (flags & 7) + 1)


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data
