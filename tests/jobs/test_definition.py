"""Jobs: strict files, and those that vsr brings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vsr.errors import ConfigError, UsageError
from vsr.jobs.definition import Definition, load_definition, shipped_titles


@pytest.mark.parametrize("name", shipped_titles())
def test_every_job_that_vsr_brings_can_be_read(name: str) -> None:
    job = load_definition(name, [], ["film.mkv"], "out")
    assert job.title and job.job == name
    assert job.source == ("film.mkv",) and job.output == "out"


def test_the_page_names_every_job_and_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "batch.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z0-9_]+)`", page))
    assert set(shipped_titles()) <= told
    assert {*Definition.__dataclass_fields__} - {"title", "job", "encode", "engine"} <= told


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("scalee=2", "did you mean scale"),
        ("scale=20", "scale: must be from 1 to 16"),
        ("fit=1920", "fit = 1920: must be text"),
        ("fit=1920by1080", "fit: '1920by1080' must be WIDTHxHEIGHT"),
        ("fit=1x0x", "must be WIDTHxHEIGHT"),
        ("max_scale=0", "max_scale"),
        ("container=exe", "container: 'exe' is no film's extension"),
        ("name=movie", "without {stem}"),
        ("name={stem}/{ext}", "not of a path"),
        ("name={stem}{year}", "{year} is not known"),
        ("name={stem", "is no template"),
        ("excerpt=-1", "cannot be negative"),
        ("blend=2", "blend"),
        ("workers=-1", "cannot be negative"),
        ("on_failure=explode", "on_failure"),
        ("encode.crf=low", "encode.crf"),
        ("engine.precision=fp8", "engine.precision"),
        ("segment=soon", "segment"),
    ],
)
def test_mistakes_are_named(setting: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_definition("hd_to_uhd", [setting], ["x.mkv"])


def test_a_job_of_ones_own_extends_one_that_vsr_brings(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "hd_to_uhd"\nsource = ["in"]\nexclude = ["*trailer*"]\n[encode]\ncrf = 17\n')
    job = load_definition(str(path), [])
    shipped = load_definition("hd_to_uhd", [], ["in"])
    assert job.job == "mine" and job.fit == shipped.fit and job.encode.codec == shipped.encode.codec
    assert job.encode.crf == 17 and job.exclude == ("*trailer*",)


def test_a_scale_is_meant_instead_of_a_box() -> None:
    assert load_definition("hd_to_uhd", ["scale=2"], ["x.mkv"]).fit == ""
    assert load_definition("preview", ["fit=640x480"], ["x.mkv"]).scale is None
    with pytest.raises(ConfigError, match="scale, fit: give one"):
        load_definition("hd_to_uhd", ["scale=2", "fit=640x480"], ["x.mkv"])


def test_no_source_is_said() -> None:
    with pytest.raises(UsageError, match="names no source"):
        load_definition("hd_to_uhd", [])


def test_an_unknown_job_is_said_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean hd_to_uhd"):
        load_definition("hd_to_uhdd", [], ["x.mkv"])
