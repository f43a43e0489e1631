"""Pixels that are not square, in every container and codec: also where the pictures do not say it themselves."""

from __future__ import annotations

import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import pytest

from tests.films import Film, Sound, Words, look, make
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.errors import EncodeError
from vsr.media.aspect import write_aspect

SARS = (Fraction(16, 11), Fraction(32, 27), Fraction(12, 11), Fraction(8, 9))


@pytest.mark.parametrize("sar", SARS, ids=str)
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mkv", "ffv1"), (".mkv", "vp9"), (".mkv", "av1"), (".mkv", "prores"), (".webm", "vp9"), (".webm", "av1"),
        (".mkv", "h264"), (".mkv", "hevc"), (".mp4", "av1"), (".mov", "prores"),
    ],
)  # fmt: skip
def test_the_shape_of_the_pixels_stays(suffix: str, codec: str, sar: Fraction, tmp_path: Path) -> None:
    film = Film("clip", suffix=".mkv", size=(88, 72), pts=(0, 40, 80), time_base=Fraction(1, 1000), sar=sar)
    source = make(film, tmp_path)
    encode = EncodeConfig(codec=codec, preset="ultrafast")
    report = upscale(UpscaleConfig(str(source), str(tmp_path / f"out{suffix}"), scale=2, model="bicubic", encode=encode))
    assert all(check.ok for check in report.checks)
    seen = look(Path(report.output))
    assert float(seen.sar) * 2 * 88 == pytest.approx(float(sar * 2 * 88), abs=0.51)
    assert len(seen.times) == 3


def test_a_size_that_changes_the_shape(tmp_path: Path) -> None:
    source = make(Film("clip", size=(96, 64), pts=(0, 512)), tmp_path)
    encode = EncodeConfig(codec="ffv1")
    upscale(UpscaleConfig(str(source), str(tmp_path / "out.mkv"), size=(200, 96), model="bicubic", encode=encode))
    assert look(tmp_path / "out.mkv").sar == Fraction(96, 64) * Fraction(96, 200)


@pytest.mark.parametrize("title", ["", "a film", "x" * 300, "titl\u00e9 \u4e2d"])
def test_titles_and_everything_else_stay(title: str, tmp_path: Path) -> None:
    film = Film(
        "clip", suffix=".mkv", size=(96, 64), pts=(0, 40, 80), time_base=Fraction(1, 1000), sar=Fraction(4, 3),
        sounds=(Sound(title="sound"),), words=(Words(),), labels={"title": title, "language": "fre"} if title else {},
        chapters=((0.0, 0.05, "one"),), fonts=("a.ttf",),
    )  # fmt: skip
    source = make(film, tmp_path)
    report = upscale(
        UpscaleConfig(str(source), str(tmp_path / "out.mkv"), scale=2, model="bicubic", encode=EncodeConfig(codec="ffv1"))
    )
    assert all(check.ok for check in report.checks), report.checks
    before, after = look(source), look(tmp_path / "out.mkv")
    assert after.labels.get("title", "") == title
    assert after.sar == Fraction(4, 3)
    assert (len(after.chapters), after.fonts) == (1, before.fonts)
    for name, packets in before.packets.items():
        assert [data for _, data in after.packets[name]] == [data for _, data in packets]
    data = (tmp_path / "out.mkv").read_bytes()
    assert b"\x1f" * 8 not in data
    mark = b"\x16\x54\xae\x6b"
    at = data.index(mark, data.index(mark) + 4) + 4  # it first stands in the table of what is where
    wide = 9 - data[at].bit_length()
    size = int.from_bytes(data[at : at + wide], "big") & ((1 << 7 * wide) - 1)
    tracks = data[at + wide : at + wide + size]
    assert tracks[:2] == b"\xbf\x84", "the tracks have a checksum"
    assert zlib.crc32(tracks[6:]) == int.from_bytes(tracks[2:6], "little")


def test_a_file_without_room_is_refused(tmp_path: Path) -> None:
    source = make(Film("clip", suffix=".mkv", pts=(0, 40), time_base=Fraction(1, 1000)), tmp_path)
    before = source.read_bytes()
    with pytest.raises(EncodeError, match="no place"):
        write_aspect(source, Fraction(4, 3), 64, 48)
    assert source.read_bytes() == before


@pytest.mark.parametrize("sar", [Fraction(4, 3), Fraction(1)])
def test_y4m_says_the_shape_and_raw_nut_is_told_of(sar: Fraction, tmp_path: Path) -> None:
    source = make(Film("clip", suffix=".mkv", pts=(0, 40), time_base=Fraction(1, 1000), sar=sar), tmp_path)
    for kind in ("y4m", "nut"):
        done = subprocess.run(
            [sys.executable, "-m", "vsr", "upscale", str(source), "-o", "-", "--pipe-format", kind, "--model", "bicubic"],
            capture_output=True,
            check=True,
        )
        (tmp_path / f"out.{kind}").write_bytes(done.stdout)
        seen = look(tmp_path / f"out.{kind}")
        assert len(seen.times) == 2
        if kind == "y4m":
            assert seen.sar == sar
            assert f" A{sar.numerator}:{sar.denominator} ".encode() in done.stdout[:80]
        else:
            assert (b"no pixel aspect" in done.stderr) == (sar != 1)
