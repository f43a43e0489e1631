"""SRVGGNetCompact against the field's own code, and the facts it states about itself."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from vsr.errors import ModelError
from vsr.models.compact import SRVGGNetCompact
from vsr.models.probe import count_mflop, peak_bytes
from vsr.models.spec import Generator

Activation = Literal["prelu", "relu", "leakyrelu"]


def test_published_sizes() -> None:
    with torch.device("meta"):
        spec, large = SRVGGNetCompact(16).spec, SRVGGNetCompact(32).spec
    assert (spec.parameters, round(spec.mflop_per_pixel, 3), spec.radius_px, spec.halo_px) == (621_424, 1.238, 18, 18)
    assert (large.parameters, round(large.mflop_per_pixel, 3)) == (1_213_296, 2.418)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_same_output_as_spandrel(scale: int) -> None:
    spandrel = pytest.importorskip("spandrel")
    torch.manual_seed(scale)
    net = SRVGGNetCompact(3, num_feat=24, upscale=scale).eval()
    other = spandrel.ModelLoader("cpu").load_from_state_dict(net.state_dict())
    image = torch.rand(1, 3, 21, 17)
    with torch.inference_mode():
        assert other.scale == scale
        torch.testing.assert_close(net(image).clamp(0, 1), other(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("activation", ["prelu", "relu", "leakyrelu"])
def test_shape_protocol_and_gradients(activation: Activation) -> None:
    net = SRVGGNetCompact(1, num_feat=8, upscale=3, activation=activation)
    out = net.reconstruct(net.features(torch.rand(2, 3, 5, 7))[:, None])
    out.square().mean().backward()  # type: ignore[no-untyped-call]
    assert isinstance(net, Generator)
    assert out.shape == (2, 3, 15, 21)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_without_weights_it_is_nearest_neighbour() -> None:
    net = SRVGGNetCompact(1, num_feat=8, upscale=2)
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    image = torch.rand(1, 3, 4, 4)
    assert torch.equal(net(image), image.repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_tiles_with_the_halo_give_the_same_bytes() -> None:
    """The halo is the receptive field; in channels_last, as the engine runs it, not even the order of sums differs."""
    torch.manual_seed(0)
    net = SRVGGNetCompact(4, num_feat=16).eval().to(memory_format=torch.channels_last)
    halo, side = net.spec.halo_px, 75
    assert halo == 6
    image = torch.rand(1, 3, side, side).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        whole = net(image)
        for x in range(0, side, 25):
            left, right = max(0, x - halo), min(side, x + 25 + halo)
            part = net(image[..., left:right])[..., (x - left) * 4 : (x - left + 25) * 4]
            difference = (part - whole[..., 4 * x : 4 * x + 100]).abs().max()
            assert difference < 1e-6
            assert torch.equal((part * 255 + 0.5).floor(), (whole[..., 4 * x : 4 * x + 100] * 255 + 0.5).floor())


def test_counted_cost_is_the_stated_one() -> None:
    net = SRVGGNetCompact(2, num_feat=16, upscale=2)
    assert count_mflop(net) == pytest.approx(net.spec.mflop_per_pixel, rel=1e-9)


def test_probe_counts_live_tensors_without_touching_the_network() -> None:
    net = SRVGGNetCompact(2, num_feat=64)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    # Two 64-channel fp32 tensors are alive around each PReLU; nothing else in this net is larger.
    assert 2 * 64 * 4 <= peak_bytes(net) <= 2 * 64 * 4 + 12 + 12
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(ModelError, match="'gelu'"):
        SRVGGNetCompact(1, activation="gelu")  # type: ignore[arg-type]
