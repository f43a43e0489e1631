"""What a second run goes by."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vsr.jobs import ledger

IDENTITY = {"source": "/in/a.mkv", "source size": 10, "source time": 5, "model": "esrgan", "encode": {"crf": None}}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    output = tmp_path / "a.mkv"
    output.write_bytes(b"film")
    ledger.enter(output, IDENTITY, 100, 2.5)
    return output


def test_what_is_finished_stays_so(made: Path) -> None:
    found = ledger.standing(made, IDENTITY)
    assert found.state == "done" and found.entry is not None and (found.entry.frames, found.entry.seconds) == (100, 2.5)
    assert ledger.standing(made, IDENTITY, overwrite=True).state == "done"
    assert ledger.standing(made, {**IDENTITY, "source": "/mnt/a.mkv"}).state == "done", "a film that lies elsewhere is the same"
    assert list(ledger.results_in(made.parent)) == [(made, "/in/a.mkv")]


def test_a_source_that_changed_is_done_again(made: Path) -> None:
    assert ledger.standing(made, {**IDENTITY, "source size": 11}) == ledger.Standing(
        "todo", "the source has changed since", ledger.read(made)
    )
    assert ledger.standing(made, {**IDENTITY, "source time": 6}).state == "todo"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model": "srgan"}, 'it was made with model "esrgan", not model "srgan"'),
        ({"model": "srgan", "source size": 11}, "it was made with model"),
        ({"faithful": 5}, "it was made with no faithful, not faithful 5"),
    ],
)
def test_a_result_of_other_settings_is_not_touched(made: Path, change: dict[str, object], why: str) -> None:
    found = ledger.standing(made, {**IDENTITY, **change})
    assert found.state == "taken" and why in found.why
    assert ledger.standing(made, {**IDENTITY, **change}, overwrite=True).state == "todo"


def test_what_somebody_changed_is_not_touched(made: Path) -> None:
    made.write_bytes(b"edited")
    assert ledger.standing(made, IDENTITY).state == "taken"
    made.unlink()
    assert ledger.standing(made, IDENTITY).state == "todo"


def test_a_file_that_no_batch_made_is_not_touched(tmp_path: Path) -> None:
    output = tmp_path / "b.mkv"
    assert ledger.standing(output, IDENTITY).state == "todo"
    output.touch()
    assert ledger.standing(output, IDENTITY).state == "taken"
    assert ledger.standing(output, IDENTITY, overwrite=True).state == "todo"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1, "what": 2}', "null"])
def test_a_damaged_entry_is_none(made: Path, text: str) -> None:
    ledger.path_of(made, ".json").write_text(text)
    assert ledger.read(made) is None
    assert ledger.standing(made, IDENTITY).state == "taken"
    assert list(ledger.results_in(made.parent)) == []


def test_long_names(tmp_path: Path) -> None:
    output = tmp_path / ("ä" * 119 + ".mkv")
    output.touch()
    ledger.enter(output, IDENTITY, 1, 1.0)
    assert ledger.read(output) is not None
    assert len(os.fsencode(ledger.path_of(output, ".json").name)) < 60
