"""What broadcasters put beside a picture, read from decoded frames: captions, active format, timecode."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
from av.sidedata.sidedata import SideDataContainer

from vsr.frames import PictureData, Timecode

_Container: Any = SideDataContainer  # the stubs forget its argument
NAMES = {"captions": "closed captions", "afd": "active format description", "timecode": "timecode of each frame"}
_WORDS = struct.Struct("=4I")  # AV_FRAME_DATA_S12M_TIMECODE: how many, then up to three words of SMPTE ST 12-1


def side_data(frame: av.VideoFrame) -> dict[str, bytes]:
    """Every side data of a frame, by its type's name. (Iterating the container gives values in PyAV 18 and keys in 19.)"""
    return _by_name(_Container(frame))


def _by_name(held: Any) -> dict[str, bytes]:
    # 18 iterates values and 19 types, whose number is less than that of the values where a type repeats
    items = (item if hasattr(item, "type") else held[item] for item in held)
    found: dict[str, bytes] = {}
    for item in items:
        with suppress(ValueError):  # a kind that this PyAV has no name for
            found[item.type.name] = bytes(item)
    return found


def picture_data_of(frame: av.VideoFrame, rate: Fraction | None) -> PictureData | None:
    """What `read_picture_data` finds with a frame."""
    # not frame.side_data: PyAV 18 makes a circle of it and the frame, which keeps its picture until the garbage collector comes
    held = _Container(frame)
    return read_picture_data(_by_name(held), rate) if len(held) else None


def read_picture_data(held: Mapping[str, bytes], rate: Fraction | None) -> PictureData | None:
    """Captions (ATSC A/53 part 4 cc_data), AFD (SMPTE ST 2016-1), timecodes (SMPTE ST 12-1) of a frame's side data; None = none.

    `rate` is the film's: above 30 frames a second a timecode counts pairs of frames, and a flag tells the two apart.
    """
    captions, format, words = held.get("A53_CC", b""), held.get("AFD", b""), held.get("S12M_TIMECODE", b"")
    count, *codes = _WORDS.unpack(words[: _WORDS.size]) if len(words) >= _WORDS.size else (0,)
    timecode = tuple(filter(None, (_timecode(word, rate) for word in codes[: min(count, 3)])))
    data = PictureData(captions, format[0] & 15 if format else None, timecode)
    return data if data != PictureData() else None


def _timecode(word: int, rate: Fraction | None) -> Timecode | None:
    """Binary-coded decimals: frames, seconds, minutes, hours from the top; bit 30 tells drop-frame counting. None = no time."""
    frames = (word >> 28 & 3) * 10 + (word >> 24 & 15)
    if rate is not None and rate > 30:
        frames = 2 * frames + (word >> (7 if rate == 50 else 23) & 1)
    code = Timecode(
        hours=(word >> 4 & 3) * 10 + (word & 15),
        minutes=(word >> 12 & 7) * 10 + (word >> 8 & 15),
        seconds=(word >> 20 & 7) * 10 + (word >> 16 & 15),
        frames=frames,
        drop=bool(word >> 30 & 1),
    )
    return code if code.hours < 24 and code.minutes < 60 and code.seconds < 60 else None


def group_timecode(held: Mapping[str, bytes]) -> Timecode | None:
    """MPEG-2's timecode of a group of pictures (ISO 13818-2, 6.2.2.6) in a frame's side data; None = none, or all zero."""
    data = held.get("GOP_TIMECODE", b"")
    bits = int.from_bytes(data[:8], "little") if len(data) >= 8 else 0
    if not bits:
        return None
    return Timecode(bits >> 19 & 31, bits >> 13 & 63, bits >> 6 & 63, bits & 63, bool(bits >> 24 & 1))


def merged(data: Sequence[PictureData | None]) -> PictureData | None:
    """Of several pictures that become one: all captions in their order, the rest of the first that has any."""
    given = [d for d in data if d is not None]
    if not given:
        return None
    format = next((d.afd for d in given if d.afd is not None), None)
    timecode = next((d.timecode for d in given if d.timecode), ())
    return PictureData(b"".join(d.captions for d in given), format, timecode)
