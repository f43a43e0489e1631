"""What opinion scores say: means with their uncertainty, differences between methods, agreement between raters.

A second showing of a picture counts for the steadiness of its rater and for nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vsr.bench.agreement import krippendorff_alpha
from vsr.bench.opinions import SCORES, Rating, read_log
from vsr.bench.study import ORIGINALS, open_study
from vsr.errors import ConfigError, VsrError

Floats = npt.NDArray[np.float64]
RESAMPLES = 10_000
EXACT_UP_TO = 13  # differences: 2^13 signs are fewer than RESAMPLES


@dataclass(frozen=True)
class MethodScore:
    """A method's mean opinion score, its 95 % interval (None where nothing can be resampled), and how often it got 1 to 5."""

    method: str
    mean: float
    interval: tuple[float, float] | None
    ratings: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Difference:
    """Two methods on the same images by the same raters.

    mean            of first - second
    pairs           (rater, image) that rated both
    p               two-sided, that neither is better: signs of the pairs flipped; `p_holm` for all comparisons together (Holm)
    p_images        the same with one difference an image: what holds for other images too, though not for five of them
    """

    first: str
    second: str
    mean: float
    pairs: int
    p: float
    p_images: float
    p_holm: float = 1.0


@dataclass(frozen=True)
class RaterScore:
    """One rater: ratings, their mean, the mean for the hidden originals, and how repeats compare with the first answers."""

    rater: str
    ratings: int
    mean: float
    original: float | None
    repeats: int
    same: float | None
    within_one: float | None


@dataclass(frozen=True)
class Summary:
    """All of it. `alpha_*` are Krippendorff's, None where fewer than two raters saw the same picture or nobody ever differed."""

    methods: tuple[MethodScore, ...]
    differences: tuple[Difference, ...]
    raters: tuple[RaterScore, ...]
    images: int
    alpha_ordinal: float | None
    alpha_interval: float | None
    warnings: tuple[str, ...] = field(default=())


def summary_of(folder: Path, log: Path, seed: int = 0) -> Summary:
    """The summary of a study's log. Ratings of pictures that have been made anew since are left out, with a warning.

    Raises ConfigError where nothing has been rated.
    """
    found, warnings = read_log(log), []
    try:
        digests = open_study(folder, look=False).digests
    except VsrError as exc:  # the ratings can outlive the pictures
        digests = {}
        if found.ratings:
            warnings.append(f"the pictures cannot be compared with what was rated ({exc})")
    current = [rating for rating in found.ratings if digests.get((rating.image, rating.method), rating.digest) == rating.digest]
    if left := len(found.ratings) - len(current):
        warnings.append(f"{left} ratings are of pictures that have changed since, and left out")
    if found.unreadable:
        warnings.append(f"{log}: {found.unreadable} lines cannot be read (cut short by a crash?), and are left out")
    if not any(rating.repeat == 0 for rating in current):
        raise ConfigError(f"{log}: holds no rating{' that counts: ' + '; '.join(warnings) if warnings else ''}; rate first")
    summary = summarise(current, seed)
    return replace(summary, warnings=(*warnings, *summary.warnings))


def summarise(ratings: Sequence[Rating], seed: int = 0) -> Summary:
    """The summary of all ratings, at least one of them a first showing; equal for equal ratings and seed."""
    first = [rating for rating in ratings if rating.repeat == 0]
    methods = sorted({rating.method for rating in first})
    raters = sorted({rating.rater for rating in first})
    images = sorted({rating.image for rating in first})
    sums, counts = _table(first, methods, raters, images)
    random = np.random.default_rng(seed)
    drawn = [random.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64) for n in (len(raters), len(images))]
    scores = [_method_score(name, first, sums[m], counts[m], drawn) for m, name in enumerate(methods)]
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    cells = {method: means[m] for m, method in enumerate(methods)}
    ranked = sorted(scores, key=lambda score: -score.mean)
    differences = [_difference(a.method, b.method, cells[a.method] - cells[b.method], random) for a, b in combinations(ranked, 2)]
    differences = [found for found in differences if found.pairs]
    together = holm([found.p for found in differences])
    units = means.transpose(0, 2, 1).reshape(-1, len(raters))  # a picture a row, a rater a column
    return Summary(
        methods=tuple(ranked),
        differences=tuple(replace(found, p_holm=p) for found, p in zip(differences, together, strict=True)),
        raters=tuple(_rater_score(rater, ratings) for rater in raters),
        images=len(images),
        alpha_ordinal=krippendorff_alpha(units, "ordinal"),
        alpha_interval=krippendorff_alpha(units, "interval"),
        warnings=tuple(_cautions(len(raters), len(images))),
    )


def _table(
    ratings: Sequence[Rating], methods: Sequence[str], raters: Sequence[str], images: Sequence[str]
) -> tuple[Floats, Floats]:
    """Sums and counts of scores, (methods, raters, images) each."""
    layer = {name: i for i, name in enumerate(methods)}
    row = {name: i for i, name in enumerate(raters)}
    column = {name: i for i, name in enumerate(images)}
    sums, counts = np.zeros((2, len(methods), len(raters), len(images)))
    for rating in ratings:
        at = layer[rating.method], row[rating.rater], column[rating.image]
        sums[at] += rating.score
        counts[at] += 1
    return sums, counts


def _method_score(method: str, ratings: Sequence[Rating], sums: Floats, counts: Floats, drawn: Sequence[Floats]) -> MethodScore:
    """Interval: raters and images drawn anew, both (Owen 2007, "The pigeonhole bootstrap"); sums and counts (raters, images)."""
    given = [rating.score for rating in ratings if rating.method == method]
    by_raters, by_images = drawn
    total = ((by_raters @ sums) * by_images).sum(1)
    weight = ((by_raters @ counts) * by_images).sum(1)
    some = weight > 0
    interval = None
    if len(given) > 1:
        low, high = np.quantile(total[some] / weight[some], (0.025, 0.975))
        interval = (float(low), float(high))
    return MethodScore(method, float(np.mean(given)), interval, len(given), tuple(given.count(score) for score in SCORES))


def _difference(first: str, second: str, cells: Floats, random: np.random.Generator) -> Difference:
    """`cells` (raters, images): difference of the scores, NaN where one of them is absent."""
    there = ~np.isnan(cells)
    pairs = cells[there]
    if not pairs.size:
        return Difference(first, second, 0.0, 0, 1.0, 1.0)
    seen = there.any(0)
    by_image = np.where(there, cells, 0).sum(0)[seen] / there.sum(0)[seen]
    p, p_images = (sign_flip_test(values, random) for values in (pairs, by_image))
    return Difference(first, second, float(pairs.mean()), int(pairs.size), p, p_images)


def sign_flip_test(differences: Floats, random: np.random.Generator) -> float:
    """Two-sided p that `differences` (n,) lie symmetrically around 0: every choice of signs, or RESAMPLES drawn ones for many.

    Fisher's randomisation test; drawn signs count the observed ones too (Phipson and Smyth 2010), so that p is never 0.
    """
    count = len(differences)
    observed = abs(differences.sum()) - 1e-9  # sums of the same numbers in another order
    if count <= EXACT_UP_TO:
        bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
        sums = (1 - 2 * bits) @ differences
        return float((np.abs(sums) >= observed).mean())
    hits = 0
    for _ in range(10):  # in parts: many differences times many draws need not be in memory at once
        signs = random.integers(0, 2, (RESAMPLES // 10, count)) * 2 - 1
        hits += int((np.abs(signs @ differences) >= observed).sum())
    return (hits + 1) / (RESAMPLES + 1)


def holm(ps: Sequence[float]) -> list[float]:
    """Each p for all tests together (Holm 1979): the k-th smallest of n, from 0, times n - k, rising."""
    adjusted, least = [1.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        least = adjusted[i] = max(least, min(1.0, ps[i] * (len(ps) - rank)))
    return adjusted


def _rater_score(rater: str, ratings: Sequence[Rating]) -> RaterScore:
    mine = [rating for rating in ratings if rating.rater == rater]
    first = {(rating.seed, rating.image, rating.method): rating.score for rating in mine if rating.repeat == 0}
    best = [rating.score for rating in mine if rating.repeat == 0 and rating.method.lower() in ORIGINALS]
    pairs = [(r.score, first.get((r.seed, r.image, r.method))) for r in mine if r.repeat]
    apart = [abs(again - before) for again, before in pairs if before is not None]
    return RaterScore(
        rater=rater,
        ratings=len(first),
        mean=float(np.mean(list(first.values()))),
        original=float(np.mean(best)) if best else None,
        repeats=len(apart),
        same=apart.count(0) / len(apart) if apart else None,
        within_one=sum(d <= 1 for d in apart) / len(apart) if apart else None,
    )


def _cautions(raters: int, images: int) -> list[str]:
    said = []
    if raters == 1:
        said.append("one rater: the intervals tell nothing of what others would say")
    if images < 6:
        said.append(
            f"{images} image{'s' if images != 1 else ''}: too few to show that a difference holds for others (p by image)"
        )
    return said
