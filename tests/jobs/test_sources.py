"""Which films a job is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from vsr.errors import ConfigError
from vsr.jobs.sources import find_sources


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "e2.mkv", "e10.mkv", "e1.MKV", "notes.txt", "poster.jpg", ".hidden.mkv", "s1/a.mp4", "s1/extras/trailer.mp4", "s2/a.mp4",
        ".trash/old.mkv", "done/e1.mkv",
    ):  # fmt: skip
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "in"


def names(wanted: list[str], **more: object) -> list[str]:
    return [str(source.path) for source in find_sources(wanted, **more)]  # type: ignore[arg-type]


def test_a_folder_is_all_films_below_it_in_natural_order(archive: Path) -> None:
    found = find_sources(["in"])
    assert [str(s.below / s.path.name) for s in found] == [
        "done/e1.mkv", "e1.MKV", "e2.mkv", "e10.mkv", "s1/a.mp4", "s1/extras/trailer.mp4", "s2/a.mp4",
    ]  # fmt: skip


def test_results_inside_the_folder_are_no_sources(archive: Path) -> None:
    assert "in/done/e1.mkv" not in names(["in"], output=Path("in/done"))
    assert "in/e2.mkv" in names(["in"], output=Path("in"))


def test_patterns(archive: Path) -> None:
    assert names(["in/*/a.mp4"]) == ["in/s1/a.mp4", "in/s2/a.mp4"]
    found = find_sources(["in/**/*.mp4"])
    assert [(s.path.name, str(s.below)) for s in found] == [("a.mp4", "s1"), ("trailer.mp4", "s1/extras"), ("a.mp4", "s2")]
    assert names([f"{archive}/e?.mkv"]) == [f"{archive}/e2.mkv"]


def test_what_is_excluded(archive: Path) -> None:
    assert names(["in"], exclude=["*trailer*", "s2/*", "e10.mkv", "done/*"]) == ["in/e1.MKV", "in/e2.mkv", "in/s1/a.mp4"]
    with pytest.raises(ConfigError, match="no film is left"):
        names(["in"], exclude=["*"])


def test_a_list_names_films_from_its_own_folder(archive: Path) -> None:
    (archive / "list.txt").write_text("# the best\ne2.mkv\n\ns1\n@more.txt\nmissing.mkv\n")
    (archive / "more.txt").write_text(f"{archive}/e10.mkv\n")
    found = names(["@in/list.txt"])
    assert found == ["in/e2.mkv", "in/s1/a.mp4", "in/s1/extras/trailer.mp4", f"{archive}/e10.mkv", "in/missing.mkv"]


def test_a_list_that_lists_itself(archive: Path) -> None:
    (archive / "list.txt").write_text("@list.txt\n")
    with pytest.raises(ConfigError, match="lists itself"):
        names(["@in/list.txt"])
    with pytest.raises(ConfigError, match="cannot be read as a list"):
        names(["@nothing.txt"])


def test_each_film_once(archive: Path) -> None:
    (archive / "link.mkv").symlink_to("e2.mkv")
    found = names(["in/e2.mkv", "in/e*.mkv", "in/link.mkv"])
    assert found == ["in/e2.mkv", "in/e10.mkv"]


def test_names_with_signs_of_patterns_are_files_first(archive: Path) -> None:
    (archive / "film [1080p].mkv").touch()
    assert names(["in/film [1080p].mkv"]) == ["in/film [1080p].mkv"]


def test_a_file_that_is_named_is_taken_as_it_is(archive: Path) -> None:
    assert names(["in/notes.txt", "nowhere.mkv"]) == ["in/notes.txt", "nowhere.mkv"]


@pytest.mark.parametrize(("wanted", "told"), [("in/*.avi", "matches no file"), ("in/s3", "holds no film")])
def test_nothing_found_is_said(archive: Path, wanted: str, told: str) -> None:
    (archive / "s3").mkdir()
    with pytest.raises(ConfigError, match=told):
        names([wanted])
