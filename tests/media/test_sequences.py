"""Numbered sequences and folders of images."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.errors import ConfigError, DecodeError
from vsr.media.sequences import is_pattern, list_images, list_sequence, sequence_path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"x")


@pytest.mark.parametrize("text", ["%d.png", "a/frames_%05d.png", "/x/%3d", "50%%_%d.png", "a %b %d.png", "ä %04d"])
def test_patterns(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize("text", ["a.png", "", "-", "100%.png", "50%%d.png", "50%done/a.png", "%s.png", "%", "%%05d", "%05x.png"])
def test_names_that_are_no_patterns(text: str) -> None:
    assert not is_pattern(text)


def test_numbers_in_order_from_anywhere(tmp_path: Path) -> None:
    touch(tmp_path, "f_10.png", "f_9.png", "f_8.png", "f_11.png")
    expected = {8: "f_8.png", 9: "f_9.png", 10: "f_10.png", 11: "f_11.png"}
    assert {n: path.name for n, path in list_sequence(str(tmp_path / "f_%d.png")).items()} == expected
    assert list(list_sequence(str(tmp_path / "f_%d.png"))) == [8, 9, 10, 11], "in order"


def test_padding_counts_only_as_far_as_it_goes(tmp_path: Path) -> None:
    touch(tmp_path, "998.png", "999.png", "1000.png", "0997.png", "1.png", "01000.png")
    assert [path.name for path in list_sequence(str(tmp_path / "%03d.png")).values()] == ["998.png", "999.png", "1000.png"]


def test_other_files_and_folders_do_not_count(tmp_path: Path) -> None:
    touch(tmp_path, "a0.png", "a1.png", "a2.jpg", "xa2.png", "a2.png.bak", "a٣.png", "a-2.png", "a+2.png", "a 2.png", "a.png")
    (tmp_path / "a2.png").mkdir()
    assert [path.name for path in list_sequence(str(tmp_path / "a%d.png")).values()] == ["a0.png", "a1.png"]


def test_the_first_gap_is_named(tmp_path: Path) -> None:
    touch(tmp_path, *(f"f_{n:05d}.png" for n in (1, 2, 4, 5, 8)))
    with pytest.raises(DecodeError, match=r"f_00003\.png: is missing from the sequence 1 to 8"):
        list_sequence(str(tmp_path / "f_%05d.png"))


def test_nothing_found_says_what_was_looked_for(tmp_path: Path) -> None:
    touch(tmp_path, "f_001.png", "f_002.png")
    with pytest.raises(DecodeError, match=r"f_00001\.png, say.*there is f_001\.png: did you mean %03d\?"):
        list_sequence(str(tmp_path / "f_%05d.png"))
    with pytest.raises(DecodeError, match=r"no file has such a name \(g1\.png, say\); look into"):
        list_sequence(str(tmp_path / "g%d.png"))
    with pytest.raises(DecodeError, match="no such folder"):
        list_sequence(str(tmp_path / "none" / "%d.png"))


@pytest.mark.parametrize("text", ["a.png", "%d_%d.png", "%99d.png", "%%d.png", "%d/a.png"])
def test_one_number_field_is_needed(text: str) -> None:
    with pytest.raises(ConfigError, match="one number field"):
        list_sequence(text)
    with pytest.raises(ConfigError, match="one number field"):
        sequence_path(text, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="such names are not allowed there")
def test_odd_names(tmp_path: Path) -> None:
    folder = tmp_path / "50%d ä [x]*"
    folder.mkdir()
    pattern = str(folder / "100%% (é) $1.%04d.[b]?.png")
    first, second = sequence_path(pattern, 1), sequence_path(pattern, 2)
    assert first == folder / "100% (é) $1.0001.[b]?.png"
    touch(folder, first.name, second.name)
    assert tuple(list_sequence(pattern).values()) == (first, second)


def test_a_relative_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "1.png")
    assert list_sequence("%d.png") == {1: Path("1.png")}


@settings(deadline=None, max_examples=60)
@given(st.text("ab%._ -[(\\$", max_size=6), st.integers(0, 8), st.text("ab._ -])^", max_size=6), st.integers(0, 10**9))
def test_what_a_pattern_writes_it_finds(before: str, digits: int, after: str, number: int) -> None:
    from vsr.media.sequences import _parse

    pattern = f"{before.replace('%', '%%')}%0{digits}d{after}"
    parsed = _parse(pattern)
    name = sequence_path(pattern, number).name
    assert name == f"{before}{number:0{digits}d}{after}"
    assert parsed.number(name) == number
    assert parsed.number(name + "x") is None or after.endswith("x")


def test_images_in_natural_order_and_the_rest_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "b10.png", "b2.png", "B1.JPG", "a.webp", "notes.txt", "clip.mp4", ".hidden.png", "b02.png")
    (tmp_path / "sub.png").mkdir()
    images, others = list_images(tmp_path)
    assert [path.name for path in images] == ["a.webp", "B1.JPG", "b02.png", "b2.png", "b10.png"]
    assert others == ("clip.mp4", "notes.txt", "sub.png/")


def test_order_does_not_depend_on_kinds_of_characters(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "a1.png", "1a.png", "².png", "٣.png", "10.png", "-.png")
    images, _ = list_images(tmp_path)
    assert len(images) == 7
    names = [path.name for path in images]
    assert names.index("1.png") < names.index("1a.png") < names.index("10.png")


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"holds no image .*; give another"):
        list_images(tmp_path)
    touch(tmp_path, "a.mp4", "b.txt")
    with pytest.raises(DecodeError, match=r"it holds a\.mp4, b\.txt; give another"):
        list_images(tmp_path)
    with pytest.raises(DecodeError, match="no such folder"):
        list_images(tmp_path / "none")
    with pytest.raises(DecodeError, match="cannot be read as a folder"):
        list_images(tmp_path / "a.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_dangling_links_are_skipped_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "none.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "c.png")
    assert list_images(tmp_path) == ((tmp_path / "a.png",), ("b.png", "c.png"))
