"""How far a network sees, by following the gradient back."""

from __future__ import annotations

import torch

from vsr.models.single import SingleFrame


def assert_radius_is_the_reach(net: SingleFrame, dtype: torch.dtype = torch.float32) -> None:
    """One pixel in the middle depends on exactly `radius_px` rows on each side."""
    radius, scale = net.spec.radius_px, net.spec.scale
    assert scale is not None
    middle = radius + 2
    image = torch.rand(1, 3, 2 * middle + 1, 2 * middle + 1, dtype=dtype, requires_grad=True)
    net(image)[..., middle * scale : (middle + 1) * scale, middle * scale : (middle + 1) * scale].sum().backward()
    assert image.grad is not None
    rows = image.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    assert (middle - int(rows.min()), int(rows.max()) - middle) == (radius, radius)
