"""Schedules against torch's own, and their edges."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from vsr.train.schedule import cosine, multi_step, warm_up


def factors(steps: int, make: Callable[[Optimizer], LRScheduler]) -> list[float]:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimiser)
    told = []
    for _ in range(steps):
        told.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return told


def test_multi_step_is_torchs() -> None:
    expected = factors(12, lambda optimiser: MultiStepLR(optimiser, [3, 5, 9], 0.5))
    assert [multi_step(step, (3, 5, 9)) for step in range(12)] == pytest.approx(expected)
    assert [multi_step(step, (5, 3)) for step in (2, 3, 5)] == [1, 0.5, 0.25]
    assert multi_step(10**6, ()) == 1


def test_cosine_is_torchs() -> None:
    expected = factors(20, lambda optimiser: CosineAnnealingLR(optimiser, 20, 0.1))
    assert [cosine(step, (20,), floor=0.1) for step in range(20)] == pytest.approx(expected)


def test_cosine_begins_anew_in_each_period_and_ends_at_the_floor() -> None:
    assert [cosine(step, (4, 8), 0.25) for step in (0, 4, 8)] == pytest.approx([1, 1, 0.625])
    assert cosine(3, (4, 8)) == pytest.approx(cosine(10, (4, 8)), abs=1e-12) == pytest.approx(0.1464466)
    assert cosine(12, (4, 8), 0.25) == cosine(10**9, (4, 8), 0.25) == 0.25


def test_warm_up() -> None:
    assert [warm_up(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert warm_up(0, 0) == warm_up(0, 1) == 1
