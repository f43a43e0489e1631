"""Captions, active format and timecode stay with their pictures, through every codec that has a place for them."""

from __future__ import annotations

import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import Packet
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.films import Film, make, vfr
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.frames import PictureData, Timecode
from vsr.media.check_beside import Beside
from vsr.media.picture_data import merged, picture_data_of, read_picture_data
from vsr.media.sei import CARRIED, embed
from vsr.media.verify import verify_files

B_FRAMES = {"preset": "veryfast", "crf": "8", "bf": "3", "g": "6"}
HEVC = {"preset": "ultrafast", "crf": "8", "x265-params": "log-level=none:bframes=3"}
SIZE = (96, 80)


def beside(number: int) -> PictureData:
    """Something else for every frame; zeros, which have to be escaped, among it."""
    triples = b"".join(bytes([0xFC | n % 2, 0, 0x80 | number]) for n in range(number % 4 + 1)) + b"\xfa\x00\x00" * 3
    return PictureData(triples, 8 + number % 4, (Timecode(10, 59, 58 + number // 25, number % 25),))


def captioned(folder: Path, codec: str = "libx265", name: str = "film", frames: int = 20, late: int = 0) -> Path:
    """A film with something beside every frame but the fifth, all of it `late` by so many frames."""
    options = HEVC if codec == "libx265" else B_FRAMES
    plain = make(
        Film(name, ".mkv", codec, options=options, size=SIZE, time_base=Fraction(1, 1000), pts=vfr(frames, [40])), folder
    )
    target = folder / f"{name}.beside.mkv"
    kind = "hevc" if codec == "libx265" else "h264"
    with av.open(str(plain)) as source:
        order = {pts: n for n, pts in enumerate(sorted(p.pts for p in source.demux(video=0) if p.pts is not None and p.size))}
    with av.open(str(plain)) as source, av.open(str(target), "w") as out:
        film = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size and packet.pts is not None:
                number = order[packet.pts]
                # Matroska holds lengths where `embed` wants start codes
                content = embed(kind, annex_b(bytes(packet)), None if number == 4 else beside((number - late) % frames))
                fuller: Packet[Any] = Packet(content)
                fuller.pts, fuller.dts, fuller.time_base = packet.pts, packet.dts, packet.time_base
                fuller.is_keyframe, fuller.stream = packet.is_keyframe, film
                out.mux_one(with_lengths(fuller))
    return target


def annex_b(coded: bytes) -> bytes:
    out, at = b"", 0
    while at < len(coded):
        size = int.from_bytes(coded[at : at + 4], "big")
        out += b"\x00\x00\x00\x01" + coded[at + 4 : at + 4 + size]
        at += 4 + size
    return out


def with_lengths(packet: Packet[Any]) -> Packet[Any]:
    coded = bytes(packet)
    starts = [at for at in range(len(coded) - 3) if coded[at : at + 4] == b"\x00\x00\x00\x01"] + [len(coded)]
    units = [coded[a + 4 : b] for a, b in pairwise(starts)]
    plain: Packet[Any] = Packet(b"".join(len(unit).to_bytes(4, "big") + unit for unit in units))
    plain.pts, plain.dts, plain.time_base = packet.pts, packet.dts, packet.time_base
    plain.is_keyframe, plain.stream = packet.is_keyframe, packet.stream
    return plain


def found(path: Path) -> list[PictureData | None]:
    """As FFmpeg's decoders report it."""
    with av.open(str(path)) as film:
        return [picture_data_of(frame, Fraction(25)) for frame in film.decode(video=0)]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_decoders_read_what_was_embedded(codec: str, tmp_path: Path) -> None:
    seen = found(captioned(tmp_path, codec))
    for number, data in enumerate(seen):
        wanted = beside(number)
        if codec == "libx264":
            wanted = PictureData(wanted.captions, wanted.afd)
        assert data == (None if number == 4 else wanted)


@pytest.mark.parametrize(
    ("codec", "suffix", "kept"),
    [
        ("h264", ".mkv", {"captions", "afd"}),
        ("h264", ".mp4", {"captions", "afd"}),
        ("h264", ".ts", {"captions", "afd"}),
        ("hevc", ".mkv", {"captions", "afd", "timecode"}),
        ("hevc", ".mp4", {"captions", "afd", "timecode"}),
        ("av1", ".mkv", {"captions"}),
        ("av1", ".mp4", {"captions"}),
        ("ffv1", ".mkv", set()),
    ],
)
@pytest.mark.parametrize("segment", [0.0, 0.3])
def test_what_lies_beside_the_pictures_is_carried(
    codec: str, suffix: str, kept: set[str], segment: float, tmp_path: Path
) -> None:
    assert kept == CARRIED.get(codec, set())
    source, target = captioned(tmp_path), tmp_path / f"out{suffix}"
    encode = EncodeConfig(codec=codec, preset="ultrafast" if codec != "av1" else "12")
    report = upscale(UpscaleConfig(str(source), str(target), scale=2, model="bicubic", encode=encode, segment=segment))
    assert all(check.ok for check in report.checks), [c for c in report.checks if not c.ok]
    for before, after in zip(found(source), found(target), strict=True):
        wanted = before and PictureData(
            before.captions if "captions" in kept else b"",
            before.afd if "afd" in kept else None,
            before.timecode if "timecode" in kept else (),
        )
        assert after == (wanted if wanted != PictureData() else None)
    told = " ".join(report.warnings)
    for kind, name in {"captions": "closed captions", "afd": "active format", "timecode": "timecode of each frame"}.items():
        assert (name in told) == (kind not in kept), told
    checks = {check.name: check for check in verify_files(str(source), str(target))}
    for kind, name in {"captions": "captions", "afd": "active format", "timecode": "timecode"}.items():
        assert checks[name].ok
        assert checks[name].stated == (kind not in kept), checks[name]


@pytest.mark.parametrize(("kind", "name"), [("captions", "captions"), ("afd", "active format"), ("timecode", "timecode")])
def test_verify_names_what_is_lost(kind: str, name: str, tmp_path: Path) -> None:
    whole = captioned(tmp_path, name="whole")
    plain = tmp_path / "whole.mkv"
    assert all(check.ok for check in verify_files(str(whole), str(whole)))
    broken = {check.name for check in verify_files(str(whole), str(plain)) if not check.ok}
    assert name in broken
    assert broken == {"captions", "active format", "timecode"}


@pytest.mark.parametrize("late", [1, 5])
def test_captions_with_other_frames_are_named(late: int, tmp_path: Path) -> None:
    before, after = captioned(tmp_path, name="before"), captioned(tmp_path, name="after", late=late)
    broken = {check.name for check in verify_files(str(before), str(after)) if not check.ok}
    assert {"captions", "active format", "timecode"} & broken == broken
    assert "captions" in broken


def test_impossible_timecodes_are_no_timecodes() -> None:
    held = {"S12M_TIMECODE": struct.pack("=4I", 1, 0x3F7F7F3F, 0, 0)}
    assert read_picture_data(held, Fraction(25)) is None
    good = {"S12M_TIMECODE": struct.pack("=4I", 1, 0x52595823, 0, 0)}
    data = read_picture_data(good, Fraction(30000, 1001))
    assert data is not None
    assert str(data.timecode[0]) == "23:58:59;12"


def test_all_captions_of_five_frames_are_in_four() -> None:
    data = [beside(n) for n in range(5)]
    both = merged(data[3:])
    assert both is not None
    assert both.captions == data[3].captions + data[4].captions
    assert both.afd == data[3].afd
    assert merged([None, None]) is None


def test_more_captions_than_one_message_holds(tmp_path: Path) -> None:
    """31 triples a message; what a decoder gathers from several is the whole."""
    triples = b"".join(bytes([0xFC, n, n]) for n in range(1, 61))
    coded = b"\x00\x00\x00\x01\x65\x88"
    unit = embed("h264", coded, PictureData(triples))
    assert unit.count(b"GA94\x03") == 2
    assert unit.endswith(coded)


@given(st.lists(st.binary(min_size=3, max_size=3), min_size=1, max_size=31))
@settings(max_examples=200)
def test_no_start_code_arises_inside(triples: list[bytes]) -> None:
    coded = b"\x00\x00\x00\x01\x26\x01\xaf"
    whole = embed("hevc", coded, PictureData(b"".join(triples), 10, (Timecode(0, 0, 0, 0),)))
    inner = whole[4 : -len(coded)]
    assert all(mark not in inner for mark in (b"\x00\x00\x00", b"\x00\x00\x01", b"\x00\x00\x02"))
    assert whole.endswith(coded)


def test_a_counter_of_what_lies_beside() -> None:
    one, two = Beside(), Beside()
    for number in range(3):
        one.add(beside(number), number)
        two.add(beside(number), number + 1)
    assert one.frames == two.frames == {"captions": 3, "afd": 3, "timecode": 3}
    assert one.hashes["afd"].digest() != two.hashes["afd"].digest()
