"""How far raters agree."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt


def krippendorff_alpha(units: npt.NDArray[np.float64], level: Literal["nominal", "ordinal", "interval"]) -> float | None:
    """Agreement beyond chance: 1 = perfect, 0 = as by chance. `units` (pictures, raters), NaN where one did not rate.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), by coincidences. None where no picture has two ratings, or
    where all have the same one.
    """
    values = np.unique(units[~np.isnan(units)])
    tallies = (units[:, :, None] == values).sum(1).astype(np.float64)  # (pictures, values)
    tallies = tallies[tallies.sum(1) > 1]
    raters = tallies.sum(1)
    together = (tallies / (raters - 1)[:, None]).T @ tallies - np.diag((tallies / (raters - 1)[:, None]).sum(0))
    totals = together.sum(1)
    count = totals.sum()
    apart = values[:, None] - values[None, :]
    if level == "nominal":
        distance = (apart != 0).astype(np.float64)
    elif level == "interval":
        distance = apart**2
    else:
        ranks = np.cumsum(totals) - totals / 2  # the middle of those that a value has among all
        distance = (ranks[:, None] - ranks[None, :]) ** 2
    expected = (np.outer(totals, totals) * distance).sum()
    if count < 2 or expected == 0:
        return None
    return float(1 - (count - 1) * (together * distance).sum() / expected)
