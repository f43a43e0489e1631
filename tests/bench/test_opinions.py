"""Which pictures a rater sees in which order, and the log of what was said."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.bench.studies import said
from vsr.bench.opinions import (
    Trial,
    append_lines,
    calibrated_line,
    checked_name,
    locked,
    plan_trials,
    rating_from,
    rating_line,
    read_log,
)
from vsr.errors import ConfigError, EncodeError


def pictures(images: int, methods: int) -> list[tuple[str, str]]:
    return [(f"image {i}", f"method {m}") for i in range(images) for m in range(methods)]


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**40), st.text(max_size=8))
def test_every_picture_comes_once_and_a_tenth_again_later(images: int, methods: int, seed: int, rater: str) -> None:
    trials = plan_trials(pictures(images, methods), seed, rater)
    first = [trial for trial in trials if not trial.repeat]
    again = [trial for trial in trials if trial.repeat]
    assert sorted((trial.image, trial.method) for trial in first) == sorted(pictures(images, methods))
    assert len(again) == min(-(-images * methods // 10), images * methods // 2)
    assert len(set(again)) == len(again)
    for trial in again:
        assert trials.index(Trial(trial.image, trial.method)) < trials.index(trial)


@given(st.integers(3, 12), st.integers(2, 6), st.integers(0, 2**40))
@example(3, 6, 2921)  # the first choice for a second showing has no place there
def test_no_image_follows_itself(images: int, methods: int, seed: int) -> None:
    """Two versions of an image one after the other would be compared with each other."""
    trials = plan_trials(pictures(images, methods), seed, "anna")
    assert all(a.image != b.image for a, b in pairwise(trials))


def test_the_order_is_that_of_seed_and_rater_alone() -> None:
    pairs = pictures(6, 4)
    order = plan_trials(pairs, 7, "anna")
    assert plan_trials(reversed(pairs), 7, "anna") == order
    assert plan_trials(pairs, 8, "anna") != order
    assert plan_trials(pairs, 7, "ben") != order
    # written down: another order after an update would ask raters anew for what they have rated
    assert [f"{t.image[-1]}{t.method[-1]}{t.repeat}" for t in plan_trials(pictures(2, 2), 0, "x")] == [
        "110",
        "010",
        "100",
        "000",
        "111",
    ]


def test_orders_do_not_favour_a_method() -> None:
    """Over many raters each method stands on average in the middle: none always comes first."""
    places: dict[str, list[int]] = {}
    for rater in range(200):
        for place, trial in enumerate(plan_trials(pictures(5, 4), 0, f"rater {rater}")):
            if not trial.repeat:
                places.setdefault(trial.method, []).append(place)
    for found in places.values():  # 20 places: standard deviation 6, of a mean of 1000 about 0.2
        assert abs(sum(found) / len(found) - 10) < 1


def test_what_is_written_is_read(tmp_path: Path) -> None:
    log = tmp_path / "ratings.jsonl"
    ratings = [said("anna", "baby", "HR", 5), said("Ben Ö", "baby", "HR", 4), said("anna", "baby", "HR", 4, repeat=1)]
    with locked(log):
        append_lines(log, [calibrated_line("anna", 0), rating_line(ratings[0])])
        append_lines(log, map(rating_line, ratings[1:]))
    found = read_log(log)
    assert found.ratings == ratings
    assert found.calibrated == {("anna", 0)}
    assert found.unreadable == 0


@pytest.mark.parametrize("cut", [1, 2, 20, 100])
def test_a_line_that_was_cut_short_costs_itself_alone(tmp_path: Path, cut: int) -> None:
    log = tmp_path / "ratings.jsonl"
    first, second, third = (said("anna", image, "HR", 5) for image in ("baby", "bird", "comic"))
    append_lines(log, map(rating_line, (first, second)))
    log.write_bytes(log.read_bytes()[:-cut])
    # without its newline alone a line is whole
    assert read_log(log).ratings == ([first, second] if cut == 1 else [first])
    append_lines(log, [rating_line(third)])
    assert read_log(log).ratings == ([first, second, third] if cut == 1 else [first, third])
    assert read_log(log).unreadable == (cut != 1)


def test_the_first_of_two_answers_counts(tmp_path: Path) -> None:
    log = tmp_path / "ratings.jsonl"
    append_lines(log, [rating_line(said("anna", "baby", "HR", score)) for score in (2, 5)])
    assert [rating.score for rating in read_log(log).ratings] == [2]


def test_what_is_no_rating_is_counted_and_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "ratings.jsonl"
    good = {"format": 1, **rating_line(said("anna", "baby", "HR", 5))}
    bad = ["[]", "7", "null", "{}", '{"format": 1}', "\udcff", json.dumps(good | {"score": 6}), json.dumps(good | {"format": 2})]
    log.write_bytes("\n".join([*bad, json.dumps(good), ""]).encode(errors="surrogateescape"))
    assert len(read_log(log).ratings) == 1
    assert read_log(log).unreadable == len(bad)


@pytest.mark.parametrize(
    "change",
    [
        *({"score": score} for score in (0, 6, 3.0, True, "3")),
        *({"seconds": seconds} for seconds in (-1.0, float("inf"), float("nan"))),
        *({"rater": 3}, {"rater": None}, {"digest": 1}, {"repeat": 2}, {"place": -1}),
    ],
)
def test_ratings_are_looked_at(change: dict[str, object]) -> None:
    good = asdict(said("anna", "baby", "HR", 3))
    assert rating_from(good) == said("anna", "baby", "HR", 3)
    with pytest.raises(ValueError):
        rating_from(good | change)


def test_names_of_raters() -> None:
    assert checked_name(" Ben Ö ") == "Ben Ö"
    for name in ("", "  ", "a\nb", "x" * 61):
        with pytest.raises(ConfigError, match="characters"):
            checked_name(name)


def test_a_log_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="cannot be written"):
        append_lines(tmp_path, [calibrated_line("anna", 0)])
