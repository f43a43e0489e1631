"""What broadcasters put beside a picture, read from decoded frames: captions, active format, timecode."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av

from vsr.frames import PictureData, Timecode

NAMES = {"captions": "closed captions", "afd": "active format description", "timecode": "timecode of each frame"}
_WORDS = struct.Struct("=4I")  # AV_FRAME_DATA_S12M_TIMECODE: how many, then up to three words of SMPTE ST 12-1


def side_data(frame: av.VideoFrame) -> dict[str, bytes]:
    """Every side data of a frame, by its type's name. (Iterating the container gives values in PyAV 18 and keys in 19.)"""
    held: Any = frame.side_data  # the stubs know it as a mapping of motion vectors only
    # 18 iterates values and 19 types, whose number is less than that of the values where a type repeats
    items = (item if hasattr(item, "type") else held[item] for item in held)
    found: dict[str, bytes] = {}
    for item in items:
        with suppress(ValueError):  # a kind that this PyAV has no name for
            found[item.type.name] = bytes(item)
    return found


def picture_data_of(frame: av.VideoFrame, rate: Fraction | None) -> PictureData | None:
    """What `read_picture_data` finds with a frame."""
    return read_picture_data(side_data(frame), rate) if len(frame.side_data) else None


def read_picture_data(held: Mapping[str, bytes], rate: Fraction | None) -> PictureData | None:
    """Captions (ATSC A/53 part 4 cc_data), AFD (SMPTE ST 2016-1), timecodes (SMPTE ST 12-1) of a frame's side data; None = none.

    `rate` is the film's: above 30 frames a second a timecode counts pairs of frames, and a flag tells the two apart.
    """
    captions, format, words = held.get("A53_CC", b""), held.get("AFD", b""), held.get("S12M_TIMECODE", b"")
    count, *codes = _WORDS.unpack(words[: _WORDS.size]) if len(words) >= _WORDS.size else (0,)
    timecode = tuple(_timecode(word, rate) for word in codes[: min(count, 3)])
    data = PictureData(captions, format[0] & 15 if format else None, timecode)
    return data if data != PictureData() else None


def _timecode(word: int, rate: Fraction | None) -> Timecode:
    """Binary-coded decimals: frames, seconds, minutes, hours from the top; bit 30 tells drop-frame counting."""
    frames = (word >> 28 & 3) * 10 + (word >> 24 & 15)
    if rate is not None and rate > 30:
        frames = 2 * frames + (word >> (7 if rate == 50 else 23) & 1)
    return Timecode(
        hours=(word >> 4 & 3) * 10 + (word & 15),
        minutes=(word >> 12 & 7) * 10 + (word >> 8 & 15),
        seconds=(word >> 20 & 7) * 10 + (word >> 16 & 15),
        frames=frames,
        drop=bool(word >> 30 & 1),
    )


def merged(data: Sequence[PictureData | None]) -> PictureData | None:
    """Of several pictures that become one: all captions in their order, the rest of the first that has any."""
    given = [d for d in data if d is not None]
    if not given:
        return None
    format = next((d.afd for d in given if d.afd is not None), None)
    timecode = next((d.timecode for d in given if d.timecode), ())
    return PictureData(b"".join(d.captions for d in given), format, timecode)
