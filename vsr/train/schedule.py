"""How the learning rate goes: by what factor of its first value a step is made. Pure functions of the step, so nothing is saved.

Steps count from 0: the factor of step 0 is that of the first change of the weights.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate


def multi_step(step: int, milestones: Sequence[int], gamma: float = 0.5) -> float:
    """`gamma` to the number of milestones that `step` has reached (EDSR: 200000; ESRGAN: 50, 100, 200, 300 thousand)."""
    return float(gamma ** bisect_right(sorted(milestones), step))


def cosine(step: int, periods: Sequence[int], floor: float = 0.0) -> float:
    """From 1 along half a cosine to `floor`, anew in each of `periods` (their lengths in steps); `floor` after the last one.

    One period is plain cosine annealing, several are EDVR's restarts (Loshchilov and Hutter 2017, arXiv:1608.03983).
    """
    ends = list(accumulate(periods))
    number = bisect_right(ends, step)
    if number == len(ends):
        return floor
    done = (step - (ends[number] - periods[number])) / periods[number]
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


def warm_up(step: int, steps: int) -> float:
    """A factor beside one of the above: from 1 / `steps` in equal stairs to 1, and 1 from then on; 0 steps: always 1."""
    return min(1.0, (step + 1) / steps) if steps > 0 else 1.0
