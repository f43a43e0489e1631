"""TIFF directories (TIFF 6.0, section 2). EXIF blocks have them too: one is a TIFF file without pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

BYTE, SHORT, LONG, RATIONAL, UNDEFINED = 1, 3, 4, 5, 7
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # 13 = IFD
ORIENTATION, EXIF_IFD, GPS_IFD, INTEROP_IFD = 274, 34665, 34853, 40965
# What an EXIF block and a TIFF's own directory share: description, maker, dates, rights, ratings, IPTC, GPS. All else is layout.
EXIF_TAGS = (270, 271, 272, ORIENTATION, 305, 306, 315, 316, 18246, 18249, 33432, 33723, EXIF_IFD, GPS_IFD, *range(40091, 40096))

ByteOrder = Literal["<", ">"]
Values = tuple[int, tuple[int, ...] | bytes]  # an entry's type and values; bytes stand in the file's byte order


@dataclass(frozen=True)
class Entry:
    """One entry of a TIFF directory: where it stands (`slot`), its type, how many values, and where they stand (`at`)."""

    slot: int
    kind: int
    count: int
    at: int


def byte_order(tiff: bytes | bytearray) -> ByteOrder:
    """ "<" or ">" from the first bytes of a TIFF file or EXIF block. Raises ValueError for anything else (BigTIFF too)."""
    if bytes(tiff[:4]) == b"II*\0":
        return "<"
    if bytes(tiff[:4]) == b"MM\0*":
        return ">"
    raise ValueError("not a TIFF structure")


def read_ifd(tiff: bytes | bytearray, at: int) -> tuple[dict[int, Entry], int]:
    """The directory at `at`: entries by tag, and the offset of the next one (0 = last). Raises ValueError when it is damaged."""
    order = byte_order(tiff)
    try:
        (count,) = struct.unpack_from(order + "H", tiff, at)
        entries: dict[int, Entry] = {}
        for slot in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, n = struct.unpack_from(order + "HHI", tiff, slot)
            size = TYPE_BYTES.get(kind, 0) * n
            where = slot + 8 if size <= 4 else struct.unpack_from(order + "I", tiff, slot + 8)[0]
            if size and where + size <= len(tiff):  # one of no known type, or that points outside, is as good as absent
                entries.setdefault(tag, Entry(slot, kind, n, where))
        (following,) = struct.unpack_from(order + "I", tiff, at + 2 + 12 * count)
    except struct.error as exc:
        raise ValueError("a TIFF directory is cut short") from exc
    return entries, following


def first_ifd(tiff: bytes | bytearray) -> int:
    """Offset of the first directory. Raises ValueError."""
    try:
        return int(struct.unpack_from(byte_order(tiff) + "I", tiff, 4)[0])
    except struct.error as exc:
        raise ValueError("a TIFF header is cut short") from exc


def integers(tiff: bytes | bytearray, entry: Entry | None, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The values of an entry of type BYTE, SHORT or LONG; `default` where it is absent or of another type."""
    letter = {1: "B", 3: "H", 4: "I", 13: "I"}.get(entry.kind) if entry else None
    if entry is None or letter is None:
        return default
    return struct.unpack_from(f"{byte_order(tiff)}{entry.count}{letter}", tiff, entry.at)


def set_integer(tiff: bytearray, entry: Entry, value: int) -> None:
    """Put one LONG into an entry's slot, whatever it held before."""
    struct.pack_into(byte_order(tiff) + "HII", tiff, entry.slot + 2, 4, 1, value)


def raw_values(tiff: bytes | bytearray, entry: Entry) -> bytes:
    """An entry's values as they stand, in the file's byte order."""
    return bytes(tiff[entry.at : entry.at + entry.count * TYPE_BYTES[entry.kind]])


def directory(tags: dict[int, Values], inherited: dict[int, bytes], at: int, order: ByteOrder) -> bytes:
    """A directory that stands at `at`, followed by the values that do not fit into it; `inherited` are entries of 12 bytes."""
    entries, outside = dict(inherited), b""
    start = at + 2 + 12 * len(inherited | tags) + 4
    for tag, (kind, value) in tags.items():
        letter = "H" if kind == SHORT else "I"
        packed = value if isinstance(value, bytes) else struct.pack(f"{order}{len(value)}{letter}", *value)
        entry = struct.pack(order + "HHI", tag, kind, len(packed) // TYPE_BYTES[kind])
        if len(packed) <= 4:
            entries[tag] = entry + packed.ljust(4, b"\0")
        else:
            entries[tag] = entry + struct.pack(order + "I", start + len(outside))
            outside += packed + b"\0" * (len(packed) % 2)
    table = b"".join(entries[tag] for tag in sorted(entries))
    return struct.pack(order + "H", len(entries)) + table + b"\0\0\0\0" + outside


def exif_of(tiff: bytes, entries: dict[int, Entry]) -> bytes | None:
    """The EXIF block that a TIFF file's directory amounts to; None when there is nothing in it. Raises ValueError."""
    order = byte_order(tiff)
    main: dict[int, Values] = {tag: (entries[tag].kind, raw_values(tiff, entries[tag])) for tag in EXIF_TAGS if tag in entries}
    start, details = 8 + len(directory(main, {}, 8, order)), b""
    for tag in (EXIF_IFD, GPS_IFD):
        if pointer := integers(tiff, entries.get(tag)):
            inner, _ = read_ifd(tiff, pointer[0])
            fields: dict[int, Values] = {t: (e.kind, raw_values(tiff, e)) for t, e in inner.items() if t != INTEROP_IFD}
            main[tag] = (LONG, (start + len(details),))
            details += directory(fields, {}, start + len(details), order)
    if not main:
        return None
    return tiff[:4] + struct.pack(order + "I", 8) + directory(main, {}, 8, order) + details
