"""What becomes of each film: names and sizes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.films import Film, make
from vsr.errors import ConfigError
from vsr.frames import VideoInfo
from vsr.jobs.definition import Definition
from vsr.jobs.sources import Source
from vsr.jobs.targets import Left, displayed, excerpt_of, target_of, target_size, targets_of
from vsr.media.probe import probe

UHD = Definition(job="hd_to_uhd", fit="3840x2160")


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(str(make(Film("plain"), tmp_path_factory.mktemp("film"))))


def sized(info: VideoInfo, width: int, height: int, sar: Fraction = Fraction(1), rotation: int = 0) -> VideoInfo:
    return replace(info, format=replace(info.format, width=width, height=height), sar=sar, rotation=rotation)


@pytest.mark.parametrize(
    ("size", "sar", "rotation", "target"),
    [
        ((1920, 1080), Fraction(1), 0, (3840, 2160)),
        ((1280, 720), Fraction(1), 0, (3840, 2160)),
        ((1920, 800), Fraction(1), 0, (3840, 1600)),
        ((1440, 1080), Fraction(4, 3), 0, (2880, 2160)),  # HDV: shown as 1920x1080, its pixels stay as wide
        ((720, 576), Fraction(16, 15), 0, (2700, 2160)),
        ((1080, 1920), Fraction(1), 0, (2160, 3840)),  # upright
        ((1920, 1080), Fraction(1), 90, (3840, 2160)),  # coded lying, shown upright
        ((480, 270), Fraction(1), 0, (1920, 1080)),  # no more than four times
        ((1998, 1080), Fraction(1), 0, (3840, 2076)),
    ],
)
def test_a_box_is_filled(info: VideoInfo, size: tuple[int, int], sar: Fraction, rotation: int, target: tuple[int, int]) -> None:
    assert target_size(UHD, sized(info, *size, sar, rotation)) == target


@pytest.mark.parametrize("size", [(3840, 2160), (4096, 2160), (3840, 1600), (2160, 3840), (5120, 2880)])
def test_what_is_large_enough_is_left_out(info: VideoInfo, size: tuple[int, int]) -> None:
    left = target_size(UHD, sized(info, *size))
    assert isinstance(left, Left) and f"{size[0]}x{size[1]} already" in left.why


def test_a_limit_of_ones_own(info: VideoInfo) -> None:
    limited = replace(UHD, skip_at="1280x720")
    assert isinstance(target_size(limited, sized(info, 1280, 536)), Left)
    assert target_size(limited, sized(info, 720, 480)) == (2880, 1920)
    scaled = Definition(scale=2, skip_at="1920x1080")
    assert isinstance(target_size(scaled, sized(info, 1080, 1920)), Left)
    assert target_size(scaled, sized(info, 1280, 720)) is None


@given(st.integers(16, 3000), st.integers(16, 3000), st.sampled_from([Fraction(1), Fraction(4, 3), Fraction(8, 9)]))
def test_a_target_fits_is_even_and_keeps_the_shape(width: int, height: int, sar: Fraction) -> None:
    info = _Sized.of(width, height, sar)
    assume(0.2 < width / height < 5)
    found = target_size(UHD, info)
    if isinstance(found, Left) or found is None:
        assert max(displayed(info)) >= 2160
        return
    assert found[0] % 2 == found[1] % 2 == 0
    shown = sorted((float(found[0] * sar), float(found[1])))
    assert shown[1] <= 3840 + 2 and shown[0] <= 2160 + 2 and max(found[0] / width, found[1] / height) <= 4.13
    assert abs(found[0] / found[1] - width / height) <= 2.1 * (1 + found[0] / found[1]) / min(found)


class _Sized:
    made: VideoInfo | None = None

    @classmethod
    def of(cls, width: int, height: int, sar: Fraction) -> VideoInfo:
        if cls.made is None:
            import tempfile

            with tempfile.TemporaryDirectory() as folder:
                cls.made = probe(str(make(Film("plain"), Path(folder))))
        return sized(cls.made, width, height, sar)


def test_names() -> None:
    source = Source(Path("in/s1/film.avi"), Path("s1"))
    assert str(target_of(UHD, source).output) == "in/s1/film.hd_to_uhd.mkv"
    assert str(target_of(replace(UHD, output="out"), source).output) == "out/s1/film.mkv"
    assert str(target_of(replace(UHD, output="out", name="{stem}-{model}.{ext}", container="mp4"), source).output) == (
        "out/s1/film-esrgan.avi.mp4"
    )
    webm = Source(Path("a.webm"))
    hevc = replace(UHD.encode, codec="hevc")
    assert [str(target_of(replace(UHD, encode=e), webm).output) for e in (UHD.encode, hevc)] == [
        "a.hd_to_uhd.webm",
        "a.hd_to_uhd.mkv",
    ]


def test_two_results_of_one_name_are_refused() -> None:
    both = [Source(Path("in/a.avi")), Source(Path("in/a.mkv"))]
    with pytest.raises(ConfigError, match=r"would both become out/a\.mkv"):
        targets_of(replace(UHD, output="out"), both)
    assert len(targets_of(replace(UHD, output="out", name="{stem}-{ext}"), both)) == 2


def test_a_result_in_the_place_of_a_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="is a source itself"):
        targets_of(replace(UHD, output="in"), [Source(Path("in/a.mkv"))])


def test_an_excerpt_lies_in_the_middle(info: VideoInfo) -> None:
    film = replace(info, duration=100.0)
    assert excerpt_of(10, film) == (45.0, 10)
    assert excerpt_of(0, film) == (None, None)
    assert excerpt_of(200, film) == (None, 200)
