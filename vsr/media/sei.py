"""Captions, active format and timecode into a coded picture: as SEI messages of H.264 and HEVC, as metadata of AV1.

Written into the encoder's packets, so that every encoder of a codec carries them alike, and nothing depends on what it knows of
side data. User data registered by ITU-T T.35 as ATSC A/53 part 4 (captions) and SMPTE ST 2016-1 (AFD) have it, SEI messages as in
ITU-T H.264 and H.265 annex D, metadata OBUs as in the AV1 bitstream specification, 5.8.
"""

from __future__ import annotations

from collections.abc import Iterator

from vsr.frames import PictureData, Timecode

CARRIED = {  # codec -> what of PictureData it can hold, so that FFmpeg's and everybody's decoders find it
    "h264": frozenset({"captions", "afd"}),
    "hevc": frozenset({"captions", "afd", "timecode"}),
    "av1": frozenset({"captions"}),
}
_ATSC = b"\xb5\x00\x31"  # country: USA; provider: ATSC
_MOST_TRIPLES = 31  # cc_count has five bits
_T35, _TIME_CODE = 4, 136  # SEI payload types
_FRAME_OBUS = {3, 6, 7}  # frame header, frame, redundant frame header
_METADATA_OBU, _METADATA_T35 = 5, 4


def embed(codec: str, coded: bytes, data: PictureData | None) -> bytes:
    """A coded picture (H.264 and HEVC with start codes, AV1 a temporal unit) with `data` before its first slice or frame.

    What the codec cannot hold is left out (see `CARRIED`); raises ValueError where no picture is found.
    """
    if data is None or codec not in CARRIED:
        return coded
    registered = [*_captions(data.captions)] + ([_afd(data.afd)] if data.afd is not None and codec != "av1" else [])
    if codec == "av1":
        at = _first_frame_obu(coded)
        return coded[:at] + b"".join(_metadata_obu(payload) for payload in registered) + coded[at:]
    messages = [(_T35, payload) for payload in registered]
    if codec == "hevc" and data.timecode:
        messages.append((_TIME_CODE, _time_code(data.timecode)))
    if not messages:
        return coded
    at, header = _first_slice(coded, codec)
    unit = header + b"".join(_message(kind, payload) for kind, payload in messages) + b"\x80"
    return coded[:at] + b"\x00\x00\x00\x01" + _escaped(unit) + coded[at:]


def _captions(triples: bytes) -> Iterator[bytes]:
    """ATSC A/53 part 4, 6.2.3: cc_data, at most 31 triples in each."""
    for at in range(0, len(triples) - 2, 3 * _MOST_TRIPLES):
        part = triples[at : at + 3 * _MOST_TRIPLES]
        part = part[: len(part) // 3 * 3]
        yield _ATSC + b"GA94\x03" + bytes([0xC0 | len(part) // 3, 0xFF]) + part + b"\xff"


def _afd(code: int) -> bytes:
    """SMPTE ST 2016-1, as in ATSC A/53 part 4, 6.2.4: afd_data."""
    return _ATSC + b"DTG1" + bytes([0x41, 0xF0 | code])


def _time_code(codes: tuple[Timecode, ...]) -> bytes:
    """ITU-T H.265 D.2.27: time_code()."""
    bits = f"{len(codes):02b}"
    for code in codes:
        counting = 4 if code.drop else 0
        bits += f"10{counting:05b}10{int(code.drop)}{code.frames:09b}{code.seconds:06b}{code.minutes:06b}{code.hours:05b}{0:05b}"
    bits += "1" + "0" * (-(len(bits) + 1) % 8) if len(bits) % 8 else ""
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _message(kind: int, payload: bytes) -> bytes:
    """sei_message(): type and size in steps of 255."""
    return bytes([kind]) + b"\xff" * (len(payload) // 255) + bytes([len(payload) % 255]) + payload


def _escaped(unit: bytes) -> bytes:
    """Emulation prevention (H.264 7.4.1): no 00 00 00, 01, 02 or 03 inside a unit."""
    out, zeros = bytearray(), 0
    for byte in unit:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def _first_slice(coded: bytes, codec: str) -> tuple[int, bytes]:
    """Where the first slice's start code begins, and the header of an SEI unit that belongs to it."""
    at = coded.find(b"\x00\x00\x01")
    while 0 <= at < len(coded) - 4:
        header = coded[at + 3 : at + 5]
        start = at - 1 if at and coded[at - 1] == 0 else at
        if codec == "h264" and header[0] & 31 in (1, 2, 5):
            return start, b"\x06"
        if codec == "hevc" and header[0] >> 1 & 63 < 32:
            return start, bytes([39 << 1, header[1] & 7])  # the slice's temporal layer
        at = coded.find(b"\x00\x00\x01", at + 3)
    raise ValueError("no slice in a coded picture")


def _first_frame_obu(coded: bytes) -> int:
    at = 0
    while at < len(coded):
        header = coded[at]
        if header >> 3 & 15 in _FRAME_OBUS:
            return at
        if not header & 2:  # without a size it is the last one
            break
        size, begin = _leb128(coded, at + 1 + (header >> 2 & 1))
        at = begin + size
    raise ValueError("no frame in an AV1 temporal unit")


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 128:
            return value, at


def _metadata_obu(payload: bytes) -> bytes:
    content = bytes([_METADATA_T35]) + payload + b"\x80"
    size, rest = b"", len(content)
    while rest > 127:
        size, rest = size + bytes([rest & 127 | 128]), rest >> 7
    return bytes([_METADATA_OBU << 3 | 2]) + size + bytes([rest]) + content
