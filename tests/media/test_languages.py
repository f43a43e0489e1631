"""A language stays the same language in every container, though not always by the same code."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.films import Film, Sound, make
from vsr import UpscaleConfig, upscale
from vsr.media.languages import holds_language, language_for, one_language
from vsr.media.verify import verify_files


def spoken(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [s.metadata.get("language", "") for s in container.streams.audio]


@pytest.mark.parametrize(
    ("code", "mov"),
    [
        ("deu", "ger"),
        ("ger", "ger"),
        ("fre", "fra"),
        ("zho", "chi"),
        ("cze", "ces"),
        ("nld", "dut"),
        ("swe", "sve"),
        ("hrv", "hr "),
    ],
)
def test_mov_gets_the_code_that_it_knows(code: str, mov: str, tmp_path: Path) -> None:
    source, output = make(Film("film", ".mkv", sounds=(Sound(language=code),)), tmp_path), tmp_path / "out.mov"
    report = upscale(UpscaleConfig(str(source), str(output), scale=1, model="bicubic"))
    assert spoken(output) == [mov]
    assert not [w for w in report.warnings if "language" in w]
    assert next(c for c in verify_files(str(source), str(output), pixels=False) if c.name == "languages").ok
    back = tmp_path / "back.mp4"
    upscale(UpscaleConfig(str(output), str(back), scale=1, model="bicubic"))
    assert one_language(spoken(back)[0]) == one_language(code), "and it is a code of ISO 639-2 again"


def test_a_language_that_mov_has_not_is_named(tmp_path: Path) -> None:
    source, output = make(Film("film", ".mkv", sounds=(Sound(language="bre"),)), tmp_path), tmp_path / "out.mov"
    report = upscale(UpscaleConfig(str(source), str(output), scale=1, model="bicubic"))
    assert any(".mov holds no language 'bre'" in w for w in report.warnings)
    assert next(c for c in report.checks if c.name == "languages").stated


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_other_containers_keep_the_code(suffix: str, tmp_path: Path) -> None:
    codes = ("deu", "fre", "bre")
    source = make(Film("film", ".mkv", sounds=tuple(Sound(language=code) for code in codes)), tmp_path)
    upscale(UpscaleConfig(str(source), str(tmp_path / f"out{suffix}"), scale=1, model="bicubic"))
    assert spoken(tmp_path / f"out{suffix}") == list(codes)


def test_another_language_is_still_another() -> None:
    assert one_language("deu") == one_language("ger") != one_language("dut")
    assert one_language("und") == one_language("") == ""
    assert language_for("deu", "matroska") == "deu" and language_for("sve", "matroska") == "swe"
    assert holds_language("bre", "mp4") and not holds_language("bre", "mov") and holds_language("", "mov")
