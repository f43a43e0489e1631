"""Pixel losses against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vsr.train.losses import PIXEL_LOSSES, charbonnier, l1, mse

MADE, TRUTH = torch.tensor([[0.0, 0.5], [1.0, 0.25]]), torch.tensor([[0.0, 0.0], [0.5, 0.5]])


def test_values() -> None:
    assert l1(MADE, TRUTH).item() == pytest.approx((0 + 0.5 + 0.5 + 0.25) / 4)
    assert mse(MADE, TRUTH).item() == pytest.approx((0 + 0.25 + 0.25 + 0.0625) / 4)
    far = math.sqrt(0.25 + 1e-6)
    assert charbonnier(MADE, TRUTH).item() == pytest.approx((1e-3 + far + far + math.sqrt(0.0625 + 1e-6)) / 4, abs=1e-7)
    assert charbonnier(MADE, MADE, eps=0.1).item() == pytest.approx(0.1)


def test_charbonnier_has_a_gradient_of_zero_where_nothing_is_wrong() -> None:
    made = TRUTH.clone().requires_grad_()
    charbonnier(made, TRUTH).backward()  # type: ignore[no-untyped-call]
    assert made.grad is not None
    assert made.grad.abs().max() == 0


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_in_float32_whatever_comes(name: str) -> None:
    made = torch.full((70_000,), 0.75, dtype=torch.float16)  # a sum of them is past what float16 holds
    loss = PIXEL_LOSSES[name](made, torch.zeros(70_000, dtype=torch.float16))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(PIXEL_LOSSES[name](made.float(), torch.zeros(70_000)).item())
    assert loss.isfinite()


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_two_shapes_are_never_broadcast(name: str) -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 8\) against \(2, 1, 8, 8\)"):
        PIXEL_LOSSES[name](torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8))
