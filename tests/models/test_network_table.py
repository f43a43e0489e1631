"""benchmarks/network_table.py: what it counts is what was published."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from vsr.models.zoo import ARCHITECTURES

table = importlib.import_module("benchmarks.network_table")


def test_counted_costs_are_the_published_ones() -> None:
    rows = {row["network"]: row for row in table.table()}
    assert rows.keys() == {row.name for row in table.ROWS if row.architecture in ARCHITECTURES}
    for row in rows.values():
        if row["published"] is not None:
            assert row["mflop_per_pixel"] == pytest.approx(row["published"], rel=table.TOLERANCE), row
    assert rows["RRDB 23 x4 (ESRGAN)"]["parameters"] == 16_697_987


def test_one_mdsr_against_three_edsrs() -> None:
    """Lim et al.: 3.2 M for the baseline, 8.0 M for the full one."""
    sizes = {row["size"]: (row["edsr_x2_x3_x4"], row["mdsr"]) for row in table.shared()}
    assert sizes == {"baseline": (4_441_929, 3_227_203), "full": (127_499_529, 7_953_987)}


def test_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.json"
    monkeypatch.setattr(sys, "argv", ["network_table.py", "--json", str(path)])
    with pytest.raises(SystemExit) as stop:
        table.main()
    assert not stop.value.code
    assert "EDSR baseline x4                 1,517,571        3.966      3.966" in capsys.readouterr().out
    assert json.loads(path.read_text())["shared"][0]["mdsr"] == 3_227_203
