"""Statistics of opinion scores, against values by hand and of the literature."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.studies import said
from vsr.bench.agreement import krippendorff_alpha
from vsr.bench.mos import holm, sign_flip_test, summarise
from vsr.bench.opinions import Rating

RANDOM = np.random.default_rng(5)
GAP = math.nan
# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers, twelve units, values missing
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, GAP, GAP, GAP],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, GAP, 3],
        [GAP, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, GAP],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, GAP],
    ]
).T


def test_means_and_counts_by_hand() -> None:
    scores = {"srgan": (5, 4, 4, 3), "bicubic": (1, 2, 2, 2)}
    ratings = [
        said(rater, image, method, score)
        for method, given in scores.items()
        for (rater, image), score in zip(product(("anna", "ben"), ("baby", "bird")), given, strict=True)
    ]
    summary = summarise([*ratings, said("anna", "baby", "srgan", 1, repeat=1), said("ben", "bird", "bicubic", 3, repeat=1)])
    best, worst = summary.methods
    assert (best.method, best.mean, best.ratings, best.counts) == ("srgan", 4.0, 4, (0, 0, 1, 2, 1))
    assert (worst.method, worst.mean, worst.ratings, worst.counts) == ("bicubic", 1.75, 4, (1, 3, 0, 0, 0))
    (found,) = summary.differences
    # differences 4, 2, 2, 1: all of one sign, so 2 of 16 choices of signs are as far from 0; by image 3 and 1.5: 2 of 4
    assert (found.first, found.second, found.mean, found.pairs) == ("srgan", "bicubic", 2.25, 4)
    assert (found.p, found.p_holm, found.p_images) == (2 / 16, 2 / 16, 2 / 4)
    anna, ben = summary.raters
    assert (anna.ratings, anna.mean, anna.repeats, anna.same, anna.within_one) == (4, 3.0, 1, 0.0, 0.0)
    assert (ben.ratings, ben.mean, ben.repeats, ben.same, ben.within_one) == (4, 2.75, 1, 0.0, 1.0)
    assert any("2 images" in text for text in summary.warnings)


def test_the_hidden_original_is_told_of_each_rater() -> None:
    ratings = [
        said("anna", "baby", "HR", 4),
        said("anna", "bird", "HR", 5),
        said("anna", "baby", "x", 1),
        said("ben", "baby", "x", 1),
    ]
    anna, ben = summarise(ratings).raters
    assert (anna.original, ben.original) == (4.5, None)


def test_an_unbalanced_study_pairs_what_there_is() -> None:
    ratings = [
        said("anna", "baby", "a", 5),
        said("anna", "baby", "b", 3),
        said("anna", "bird", "a", 5),
        said("ben", "bird", "b", 1),
    ]
    (found,) = summarise(ratings).differences
    assert (found.pairs, found.mean) == (1, 2.0)
    assert summarise([said("anna", "baby", "a", 5), said("ben", "bird", "b", 3)]).differences == ()


def study(seed: int, raters: int, images: int, methods: dict[str, float]) -> list[Rating]:
    random = np.random.default_rng(seed)
    return [
        said(f"rater {r}", f"image {i}", method, int(np.clip(round(level + random.normal(0, 0.8)), 1, 5)))
        for r in range(raters)
        for i in range(images)
        for method, level in methods.items()
    ]


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 6))
def test_intervals_hold_the_mean_and_stay_on_the_scale(seed: int, raters: int, images: int) -> None:
    for score in summarise(study(seed, raters, images, {"a": 2.5, "b": 4.0})).methods:
        if score.interval is not None:
            assert 1 <= score.interval[0] <= score.mean + 1e-9 and score.mean - 1e-9 <= score.interval[1] <= 5


def test_the_interval_is_the_classical_one_where_there_is_one() -> None:
    """One rater, many images that have nothing to do with each other: mean +- 1.96 standard errors."""
    ratings = study(1, 1, 200, {"a": 3.0})
    scores = np.array([rating.score for rating in ratings])
    (found,) = summarise(ratings).methods
    assert found.interval is not None
    reach = 1.96 * scores.std() / math.sqrt(len(scores))
    assert found.interval == pytest.approx((scores.mean() - reach, scores.mean() + reach), abs=0.1 * reach)


def test_raters_who_differ_widen_the_interval() -> None:
    """Four raters of whom each has a score of his own, on 50 images: the 200 ratings are not 200 opinions."""
    ratings = [said(f"rater {r}", f"image {i}", "a", 2 + r % 3) for r in range(4) for i in range(50)]
    (found,) = summarise(ratings).methods
    assert found.interval is not None and found.interval[1] - found.interval[0] > 1


def test_a_summary_is_the_same_twice_and_in_any_order() -> None:
    ratings = study(2, 3, 5, {"a": 2.5, "b": 4.0, "HR": 4.8})
    assert summarise(ratings) == summarise(ratings[::-1]) == summarise(ratings)
    assert summarise(ratings, seed=1).methods[0].mean == summarise(ratings).methods[0].mean


@pytest.mark.parametrize(
    ("differences", "p"),
    [([1, 2, 3], 2 / 8), ([1, -1], 1.0), ([1, 1, 1, -1], 10 / 16), ([0, 0], 1.0), ([2], 1.0), ([1] * 8, 2 / 256)],
)
def test_sign_flips_by_hand(differences: list[int], p: float) -> None:
    assert sign_flip_test(np.array(differences, dtype=float), RANDOM) == p


def test_drawn_sign_flips_come_near_the_exact_ones() -> None:
    """14 differences are drawn for; all 2^14 choices of signs, counted here."""
    differences = np.array([1, 2, 0, -1, 1, 1, 3, -2, 1, 0, 1, -1, 2, 1], dtype=float)
    sums = np.array([np.dot(signs, differences) for signs in product((-1, 1), repeat=len(differences))])
    exact = (np.abs(sums) >= abs(differences.sum()) - 1e-9).mean()
    # 10,000 draws: a standard deviation below 0.003
    assert sign_flip_test(differences, np.random.default_rng(0)) == pytest.approx(exact, abs=0.015)
    assert 0 < sign_flip_test(np.ones(60), RANDOM) < 0.001


def test_true_nulls_are_rarely_refused() -> None:
    """The same distribution twice: p below 0.05 in about a twentieth of 400 studies, give or take 1.1 %."""
    random = np.random.default_rng(9)
    hits = sum(sign_flip_test(random.normal(size=10), random) < 0.05 for _ in range(400))
    assert hits / 400 < 0.09


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9, 0.001]) == pytest.approx([1.0, 1.0, 0.003])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorff_s_own_example(level: str, alpha: float) -> None:
    assert krippendorff_alpha(PUBLISHED, level) == pytest.approx(alpha, abs=0.0005)  # type: ignore[arg-type]


def test_agreement_at_its_ends() -> None:
    perfect = np.array([[1.0, 1.0], [3.0, 3.0], [5.0, 5.0]])
    assert krippendorff_alpha(perfect, "ordinal") == krippendorff_alpha(perfect, "interval") == 1.0
    assert krippendorff_alpha(np.array([[3.0, 3.0], [3.0, 3.0]]), "ordinal") is None  # nothing to tell apart
    assert krippendorff_alpha(np.array([[1.0, GAP], [GAP, 2.0]]), "ordinal") is None  # nobody saw what another saw
    chance = krippendorff_alpha(np.random.default_rng(4).integers(1, 6, (4000, 2)).astype(float), "ordinal")
    assert chance == pytest.approx(0, abs=0.05)


@given(st.permutations(range(4)))
def test_agreement_does_not_depend_on_who_is_who(order: list[int]) -> None:
    assert krippendorff_alpha(PUBLISHED[:, order], "ordinal") == pytest.approx(krippendorff_alpha(PUBLISHED, "ordinal"))
