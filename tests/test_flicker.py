"""Metrics of motion: the motion that is found, and what counts as flicker."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vsr.metrics import Protocol
from vsr.temporal import difference_psnr, explained, motion, moved, warped_error


def texture(height: int = 96, width: int = 112, seed: int = 5) -> Tensor:
    """Noise at several scales, as photos have it: something to hold on to everywhere."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.zeros(1, 1, height, width, dtype=torch.float64)
    for block in (4, 8, 16, 32):
        grid = torch.rand((1, 1, -(-height // block), -(-width // block)), generator=generator, dtype=torch.float64)
        made += torch.nn.functional.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False)
    return (made * 64).clamp(0, 255)


@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (0, -5), (-7, 4), (13, -11)], ids=str)
def test_a_known_shift_is_found(shift: tuple[int, int]) -> None:
    before = texture()
    now = before.roll(shift[::-1], (2, 3))  # what is at x now was at x - shift before
    flow = motion(now, before)[..., 24:-24, 24:-24]
    expected = -torch.tensor(shift, dtype=torch.float64)
    assert ((flow[0] - expected.view(2, 1, 1)).abs().amax(0) < 0.25).double().mean() > 0.97


def test_half_a_pixel_is_found() -> None:
    before = texture()
    now = moved(before, torch.full((1, 2, 96, 112), 0.5, dtype=torch.float64))
    flow = motion(now, before)[..., 16:-16, 16:-16]
    assert flow.mean().item() == pytest.approx(0.5, abs=0.12)


def test_moved_takes_pixels_from_where_the_flow_says() -> None:
    picture = torch.arange(12, dtype=torch.float64).view(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(moved(picture, flow), picture)
    flow[:, 0] = 1
    torch.testing.assert_close(moved(picture, flow)[0, 0, 0], torch.tensor([1.0, 2, 3, 3], dtype=torch.float64))


def test_a_steady_film_does_not_flicker_and_an_unsteady_one_does() -> None:
    before = texture()
    now = before.roll((2, 3), (2, 3))
    flow = motion(now, before)
    judged = explained(now, before, flow)
    assert judged.mean() > 0.9
    steady = float(warped_error(now, before, flow, judged, 16))
    assert steady < 1
    assert float(warped_error(now + 12, before, flow, judged, 16)) == pytest.approx(12, abs=1)
    blurred = torch.nn.functional.avg_pool2d(now, 3, 1, 1), torch.nn.functional.avg_pool2d(before, 3, 1, 1)
    assert float(warped_error(*blurred, flow, judged, 16)) < 1, "softness is no flicker"


def test_what_stands_still_has_no_motion_and_no_flicker() -> None:
    still = torch.randint(0, 256, (1, 3, 48, 64), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    flow = motion(still, still)
    assert float(flow.abs().max()) == 0
    assert float(warped_error(still, still, flow, explained(still, still, flow), 2)) < 1e-9


def test_what_comes_to_light_is_not_judged() -> None:
    before = texture()
    now = before.clone()
    now[..., 40:60, 40:60] = 255 - now[..., 40:60, 40:60]
    judged = explained(now, before, torch.zeros(1, 2, 96, 112, dtype=torch.float64))
    assert judged[..., 45:55, 45:55].mean() < 0.2
    assert judged[..., :30, :].all()


def test_only_changes_count_for_the_difference() -> None:
    true, true_before = texture(seed=1), texture(seed=2)
    args = (true, true_before, Protocol())
    assert float(difference_psnr(true, true_before, *args)) == math.inf
    assert float(difference_psnr(true + 20, true_before + 20, *args)) > 200, "a constant offset is no change"
    assert float(difference_psnr(true + 5, true_before, *args)) == pytest.approx(20 * math.log10(255 / 5))
