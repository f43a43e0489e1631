"""SPAN against spandrel's, merged and not, and its facts."""

from __future__ import annotations

import pytest
import torch

from tests.models.reach import assert_radius_is_the_reach
from vsr.models.probe import count_mflop
from vsr.models.span import SPAN
from vsr.models.spec import Fusible, Generator


@pytest.mark.parametrize(
    ("channels", "scale", "parameters", "mflop"),
    [(48, 4, 426_288, 0.850), (48, 2, 410_700, 0.819), (52, 4, 498_208, 0.994)],
)
def test_published_sizes(channels: int, scale: int, parameters: int, mflop: float) -> None:
    with torch.device("meta"):
        spec = SPAN(channels, upscale=scale, merged=True).spec
    assert (spec.parameters, round(spec.mflop_per_pixel, 3), spec.radius_px, spec.halo_px) == (parameters, mflop, 21, 21)


@pytest.mark.parametrize("scale", [2, 4])
def test_same_output_as_spandrel(scale: int) -> None:
    architecture = pytest.importorskip("spandrel.architectures.SPAN")
    torch.manual_seed(0)
    other = architecture.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=16, upscale=scale).eval()
    net = SPAN(16, upscale=scale).eval()
    net.load_state_dict(other.state_dict(), strict=True)
    image = torch.rand(1, 3, 11, 9)
    with torch.inference_mode():
        expected = other(image)
        for form in (net, net.fused()):
            torch.testing.assert_close(form(image), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_merging_is_exact_and_leaves_the_network_alone() -> None:
    torch.manual_seed(0)
    net, image = SPAN(8, upscale=2).double(), torch.rand(1, 3, 6, 7, dtype=torch.float64)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fused = net.fused()
    with torch.inference_mode():
        assert (fused(image) - net(image)).abs().max() < 1e-12  # borders too
    assert list(fused.state_dict()) == list(SPAN(8, upscale=2, merged=True).state_dict())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert count_mflop(fused.float()) == pytest.approx(net.spec.mflop_per_pixel, rel=1e-9)
    with torch.inference_mode():
        assert torch.equal(fused.fused()(image.float()), fused(image.float()))


def test_shape_protocol_and_gradients() -> None:
    net = SPAN(8, upscale=2)
    out = net.reconstruct(net.features(torch.rand(2, 3, 5, 7))[:, None])
    out.square().mean().backward()  # type: ignore[no-untyped-call]
    assert isinstance(net, Generator)
    assert isinstance(net, Fusible)
    assert out.shape == (2, 3, 10, 14)
    # The merged convolutions beside the branches are made, not learnt.
    assert all(p.grad is not None for name, p in net.named_parameters() if "eval_conv" not in name)
    assert all(p.grad is None for name, p in net.named_parameters() if "eval_conv" in name)


@pytest.mark.parametrize("scale", [2, 4])
def test_radius_is_the_reach_of_the_gradient(scale: int) -> None:
    torch.manual_seed(0)
    net = SPAN(8, upscale=scale, merged=True).double()
    assert_radius_is_the_reach(net, torch.float64)  # what is far weighs so little that it may vanish in float32
