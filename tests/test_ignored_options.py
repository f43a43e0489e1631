"""An option that has no meaning for what is written is named, or refused where it can only be a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.films import Film, make
from vsr import EncodeConfig, UpscaleConfig
from vsr.errors import UsageError
from vsr.planning import draft_job, make_plan

ENCODE = EncodeConfig(crf=0, preset="fast", bit_depth=10)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make(Film("film", ".mkv"), tmp_path_factory.mktemp("film")))


def ignored(film: str, output: str, encode: EncodeConfig, pipe_format: str = "auto") -> list[str]:
    config = UpscaleConfig(film, output, scale=1, model="bicubic", encode=encode, pipe_format=pipe_format, segment=0)
    return [text for text in make_plan(draft_job(config)).warnings if "ignored" in text]


@pytest.mark.parametrize("pipe_format", ["nut", "y4m"])
def test_raw_frames_have_no_encoder(film: str, pipe_format: str) -> None:
    (told,) = ignored(film, "-", ENCODE, pipe_format)
    assert told.startswith("--crf, --preset, --bit-depth are ignored: raw frames are written to the pipe")
    (told,) = ignored(film, "-", EncodeConfig(options={"tune": "film"}), pipe_format)
    assert told.startswith("--encoder-option is ignored")


def test_what_is_used_is_not_named(film: str, tmp_path: Path) -> None:
    assert not ignored(film, "-", EncodeConfig("h264", crf=20, preset="fast"))
    assert not ignored(film, str(tmp_path / "out.mkv"), EncodeConfig(crf=20, preset="fast", bit_depth=10))
    assert not ignored(film, str(tmp_path / "f_%03d.png"), EncodeConfig(bit_depth=10))


def test_images_have_no_encoder(film: str, tmp_path: Path) -> None:
    (told,) = ignored(film, str(tmp_path / "f_%03d.png"), EncodeConfig("h264", crf=20))
    assert told == "--codec, --crf are ignored: images are written"


def test_a_format_for_pipes_needs_a_pipe(film: str, tmp_path: Path) -> None:
    assert ignored(film, str(tmp_path / "out.mkv"), EncodeConfig(), "y4m") == ["--pipe-format is ignored: the output is no pipe"]


def test_a_film_has_its_own_times(film: str, tmp_path: Path) -> None:
    """Whoever gives a rate means another speed, which would be a film out of step with its sound."""
    with pytest.raises(UsageError, match="--fps is for a sequence of images"):
        draft_job(UpscaleConfig(film, str(tmp_path / "out.mkv"), scale=1, model="bicubic", fps="50"))
