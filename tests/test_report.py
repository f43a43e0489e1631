"""What a report concludes."""

from __future__ import annotations

import pytest

from vsr.report import Report


@pytest.mark.parametrize(
    ("seconds", "waited", "bound"), [(100.0, 60.0, True), (100.0, 40.0, False), (5.0, 4.9, False), (0.0, 0.0, False)]
)
def test_the_encoder_is_the_limit_when_the_network_waits_for_it(seconds: float, waited: float, bound: bool) -> None:
    assert Report(seconds=seconds, seconds_for_encoder=waited).encoder_bound == bound
