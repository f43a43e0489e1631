"""Kits for raters elsewhere, what comes back of them, and `vsr rate` as a command without its page."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.bench.studies import IMAGES, METHODS, said, write_study
from vsr.bench.kit import export_kit, kit_name, merge, ratings_of
from vsr.bench.opinions import append_lines, plan_trials, rating_line, read_log
from vsr.bench.study import open_study
from vsr.cli.main import main
from vsr.errors import ConfigError

Run = Callable[..., tuple[int, str, str]]
LIMIT = 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study")


@pytest.fixture
def vsr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `vsr rate` in this process: exit code, standard output, standard error."""

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vsr", "rate", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def content_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    content: dict[str, Any] = json.loads(found[1])
    return content


def answers(kit: dict[str, Any], rater: str = "ben", score: int = 3, order: int = 0) -> dict[str, Any]:
    """What the page's download holds when all is rated."""
    trials = [kit["trials"][number] for number in kit["orders"][order]]
    ratings = [
        {
            "key": t["key"],
            "repeat": t["repeat"],
            "score": score,
            "seconds": 2,
            "place": place,
            "time": "2026-01-02T03:04:05+00:00",
        }
        for place, t in enumerate(trials)
    ]
    return {"kind": "vsr ratings", "format": 1, "kit": kit["kit"], "seed": kit["seed"], "rater": rater, "ratings": ratings}


@pytest.fixture
def kit(folder: Path, tmp_path: Path) -> dict[str, Any]:
    export_kit(open_study(folder), tmp_path / "kit.html", 0, None, LIMIT)
    return content_of((tmp_path / "kit.html").read_text(encoding="utf-8"))


def test_a_kit_is_one_file_that_asks_for_nothing(folder: Path, tmp_path: Path, kit: dict[str, Any]) -> None:
    page = (tmp_path / "kit.html").read_text(encoding="utf-8")
    links: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            links.extend(value or "" for name, value in attrs if name in ("src", "href", "action", "data"))

    Links().feed(page)
    assert links == ["data:,"]
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in page and "connect-src" not in page
    assert not re.search(
        rf"\b({'|'.join([*METHODS, *IMAGES])})\b", page.split('<script type="application/json"')[1], re.IGNORECASE
    )
    assert len(kit["pictures"]) == len(IMAGES) * (len(METHODS) + 1)  # and an example of score 1 of each
    assert all(picture.startswith("data:image/png;base64,") for picture in kit["pictures"])
    assert [example["score"] for example in kit["calibration"]] == [1, 5] * len(IMAGES)


def test_every_order_of_a_kit_shows_all(kit: dict[str, Any]) -> None:
    once = len(IMAGES) * len(METHODS)
    for order in kit["orders"]:
        assert sorted(number for number in order if number < once) == list(range(once))
        assert len(order) == once + 2
    assert len({tuple(order) for order in kit["orders"]}) == len(kit["orders"])


def test_a_name_cannot_end_the_script(folder: Path, tmp_path: Path) -> None:
    export_kit(open_study(folder), tmp_path / "kit.html", 0, "</script><b>@page@style@", LIMIT)
    page = (tmp_path / "kit.html").read_text(encoding="utf-8")
    assert page.count("</script>") == 2
    assert content_of(page)["rater"] == "</script><b>@page@style@"


def test_a_kit_too_large_is_refused_and_not_left_behind(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--max-mb"):
        export_kit(open_study(folder), tmp_path / "kit.html", 0, None, 5000)
    assert not (tmp_path / "kit.html").exists()


def test_what_comes_back_is_merged_once(folder: Path, tmp_path: Path, kit: dict[str, Any]) -> None:
    study, log = open_study(folder), folder / "ratings.jsonl"
    paths = [tmp_path / "ben.json", tmp_path / "eva.json"]
    for path, rater in zip(paths, ("ben", "eva"), strict=True):
        path.write_text(json.dumps(answers(kit, rater)), encoding="utf-8")
    each = len(IMAGES) * len(METHODS) + 2
    assert merge(study, log, paths) == (2 * each, 0)
    assert merge(study, log, paths[:1]) == (0, each)
    ratings = read_log(log).ratings
    assert {rating.rater for rating in ratings} == {"ben", "eva"}
    assert {(r.image, r.method) for r in ratings} == set(study.pictures)
    assert all(rating.digest == study.digests[rating.image, rating.method] for rating in ratings)


def test_a_key_stands_for_its_own_picture(folder: Path, tmp_path: Path, kit: dict[str, Any]) -> None:
    """What a rater saw under a key is the picture that the merged rating names."""
    import base64

    from vsr.bench.study import whole_picture

    study = open_study(folder)
    content = answers(kit)
    (tmp_path / "ben.json").write_text(json.dumps(content), encoding="utf-8")
    shown = {trial["key"]: kit["pictures"][trial["picture"]] for trial in kit["trials"]}
    for item, rating in zip(content["ratings"], ratings_of(study, tmp_path / "ben.json"), strict=True):
        data = base64.b64decode(shown[item["key"]].partition(",")[2])
        assert data == whole_picture(study, rating.image, rating.method)


@pytest.mark.parametrize(
    ("change", "said_of_it"),
    [
        ({"kind": "other"}, "another kind"),
        ({"format": 2}, "another kind"),
        ({"rater": None}, "rater, seed or ratings"),
        ({"ratings": {}}, "rater, seed or ratings"),
        ({"rater": ""}, "printable"),
        ({"kit": "0" * 32}, "other pictures"),
        ({"seed": 5}, "other pictures"),
        ({"ratings": [{}]}, "not right"),
        ({"ratings": [3]}, "not right"),
    ],
)
def test_what_is_not_right_is_refused_whole(
    folder: Path, tmp_path: Path, kit: dict[str, Any], change: dict[str, Any], said_of_it: str
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(answers(kit)), encoding="utf-8")
    bad.write_text(json.dumps(answers(kit, "eva") | change), encoding="utf-8")
    with pytest.raises(ConfigError, match=said_of_it) as stop:
        merge(open_study(folder), folder / "ratings.jsonl", [good, bad])
    assert "bad.json" in str(stop.value)
    assert read_log(folder / "ratings.jsonl").ratings == []


@pytest.mark.parametrize(
    "change", [{"score": 9}, {"key": "0" * 32}, {"repeat": 7}, {"seconds": "x"}, {"time": 3}, {"time": "\ud800"}]
)
def test_each_rating_is_looked_at(folder: Path, tmp_path: Path, kit: dict[str, Any], change: dict[str, Any]) -> None:
    content = answers(kit)
    content["ratings"][3] |= change
    (tmp_path / "bad.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match="not right"):
        ratings_of(open_study(folder), tmp_path / "bad.json")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no endless file here")
def test_a_file_without_an_end_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="too large"):
        ratings_of(open_study(folder), Path("/dev/zero"))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_files_of_another_kind_are_refused(folder: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.json").write_bytes(data)
    with pytest.raises(ConfigError, match=r"bad\.json: holds no ratings"):
        ratings_of(open_study(folder), tmp_path / "bad.json")


def test_one_name_cannot_say_two_things(folder: Path, tmp_path: Path, kit: dict[str, Any]) -> None:
    for name, score in (("first", 2), ("second", 4)):
        (tmp_path / f"{name}.json").write_text(json.dumps(answers(kit, "ben", score)), encoding="utf-8")
    study, log = open_study(folder), folder / "ratings.jsonl"
    merge(study, log, [tmp_path / "first.json"])
    before = log.read_bytes()
    with pytest.raises(ConfigError, match=r"second\.json: ben has already rated"):
        merge(study, log, [tmp_path / "second.json"])
    assert log.read_bytes() == before


def test_pictures_that_changed_are_not_those_that_were_rated(folder: Path, tmp_path: Path, kit: dict[str, Any]) -> None:
    (tmp_path / "ben.json").write_text(json.dumps(answers(kit)), encoding="utf-8")
    (folder / "srgan/baby.png").write_bytes((folder / "bicubic/baby.png").read_bytes())
    assert kit_name(open_study(folder), 0) != kit["kit"]
    with pytest.raises(ConfigError, match="other pictures"):
        ratings_of(open_study(folder), tmp_path / "ben.json")


# ---- the command ----------------------------------------------------------------------------------------------------


def test_the_way_of_a_kit(vsr: Run, folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "kit.html"
    code, out, _ = vsr(folder, "--export", page, "--json", tmp_path / "e.json")
    assert code == 0 and "12 pictures by 3 methods" in out
    report = json.loads((tmp_path / "e.json").read_text())
    assert (report["command"], report["status"], report["pictures"], report["bytes"]) == ("rate", "ok", 12, page.stat().st_size)
    code, _, err = vsr(folder, "--export", page)
    assert code == 1 and "--overwrite" in err
    assert vsr(folder, "--export", page, "--overwrite")[0] == 0
    kit = content_of(page.read_text(encoding="utf-8"))
    for rater, score in (("ben", 4), ("eva", 5)):
        (tmp_path / f"{rater}.json").write_text(json.dumps(answers(kit, rater, score)), encoding="utf-8")
    code, out, _ = vsr(
        folder, "--merge", tmp_path / "ben.json", tmp_path / "eva.json", "--summary", "--json", tmp_path / "s.json"
    )
    assert code == 0 and "28 ratings taken in" in out and "2 raters and 4 images" in out
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["merged"] == 28
    assert [m["mean"] for m in summary["summary"]["methods"]] == [4.5, 4.5, 4.5]
    assert summary["summary"]["methods"][0]["counts"] == [0, 0, 0, 4, 4]


def test_json_alone_on_standard_output(vsr: Run, folder: Path) -> None:
    append_lines(folder / "ratings.jsonl", [rating_line(said("anna", "gone", method, 3)) for method in METHODS])
    code, out, err = vsr(folder, "--summary", "--json", "-")
    assert code == 0
    report = json.loads(out)
    assert report["warnings"] and "one rater" in report["warnings"][0]
    assert "warning: one rater" in err


def test_ratings_of_pictures_that_are_no_more_count_and_of_changed_ones_do_not(vsr: Run, folder: Path) -> None:
    lines = [said("anna", "gone", "HR", 5), said("anna", "baby", "HR", 1)]  # the second with another digest
    append_lines(folder / "ratings.jsonl", map(rating_line, lines))
    code, out, err = vsr(folder, "--summary")
    assert code == 0 and "1 ratings are of pictures that have changed" in err
    assert re.search(r"^HR +5\.00 ", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["{}", "--summary"], 1, "holds no rating"),
        (["{}", "extra.json"], 2, "follow --merge"),
        (["{}", "--export", "k.html", "--summary"], 2, "--export stands alone"),
        (["{}", "--export", "k.png"], 2, "end in .html"),
        (["{}", "--rater", " "], 1, "printable"),
        (["{}/nowhere"], 1, "cannot be read as a folder"),
        (["{}", "--merge", "nowhere.json"], 1, "nowhere.json: cannot be read"),
        (["{}", "--port", "70000"], 2, "--port"),
        (["{}", "--json", "{}/no/x.json"], 1, "cannot be written there"),
    ],
)
def test_errors_are_one_line(vsr: Run, folder: Path, args: list[str], code: int, text: str) -> None:
    found, _, err = vsr(*(arg.format(folder) for arg in args))
    assert found == code and text in err
    assert code == 2 or len(err.strip().splitlines()) == 1


def test_who_has_rated_all_is_told(vsr: Run, folder: Path, tmp_path: Path) -> None:
    study, log = open_study(folder), folder / "ratings.jsonl"
    for trial in plan_trials(study.pictures, 0, "ben"):
        rating = said("ben", trial.image, trial.method, 3, repeat=trial.repeat)
        append_lines(log, [rating_line(replace(rating, digest=study.digests[trial.image, trial.method]))])
    code, out, _ = vsr(folder, "--rater", "ben", "--json", tmp_path / "r.json")
    assert code == 0 and "has rated all 14; --seed 1" in out
    assert json.loads((tmp_path / "r.json").read_text())["rated"] == 14
