"""RRDBNet against the field's own code, and the facts it states about itself."""

from __future__ import annotations

import pytest
import torch

from vsr.errors import ModelError
from vsr.models.probe import count_mflop
from vsr.models.rrdb import RRDBNet
from vsr.models.spec import Generator


def small(scale: int = 4, blocks: int = 1) -> RRDBNet:
    torch.manual_seed(scale)
    return RRDBNet(blocks, num_feat=8, num_grow=4, scale=scale).eval()


@pytest.mark.parametrize(("blocks", "parameters", "mflop", "radius"), [(23, 16_697_987, 35.854, 349), (6, 4_467_779, 11.413, 94)])
def test_published_sizes(blocks: int, parameters: int, mflop: float, radius: int) -> None:
    with torch.device("meta"):
        spec = RRDBNet(blocks).spec
    assert (spec.parameters, round(spec.mflop_per_pixel, 3), spec.radius_px) == (parameters, mflop, radius)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_same_output_as_spandrel(scale: int) -> None:
    spandrel = pytest.importorskip("spandrel")
    net = RRDBNet(2, num_feat=16, num_grow=32, scale=scale).eval()
    net.load_state_dict({**net.state_dict(), "conv_last.bias": torch.full((3,), 0.5)})  # away from 0, where spandrel clips
    other = spandrel.ModelLoader("cpu").load_from_state_dict(net.state_dict())
    image = torch.rand(1, 3, 24, 20)
    with torch.inference_mode():
        assert other.scale == scale
        torch.testing.assert_close(net(image).clamp(0, 1), other(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_shape_and_protocol(scale: int) -> None:
    net = small(scale)
    frames = torch.rand(2, 3, 8, 12)
    with torch.inference_mode():
        out = net.reconstruct(net.features(frames)[:, None])
    assert isinstance(net, Generator)
    assert out.shape == (2, 3, 8 * scale, 12 * scale)
    assert net.spec.scale == scale
    assert net.spec.multiple_of == net.spec.min_size == 4 // scale


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_radius_is_the_reach_of_the_gradient(scale: int) -> None:
    net = small(scale)
    radius, cell = net.spec.radius_px, 4 // scale
    side = 2 * radius + 4 * cell
    middle = side // 2 // cell * cell
    reach = 0
    for at in range(middle, middle + cell):  # pixels of a folded cell reach differently far
        image = torch.rand(1, 3, side, side, requires_grad=True)
        net(image)[..., at * scale : (at + 1) * scale, at * scale : (at + 1) * scale].sum().backward()
        assert image.grad is not None
        rows = image.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
        reach = max(reach, at - int(rows.min()), int(rows.max()) - at)
    assert reach == radius


def test_every_weight_learns() -> None:
    net = small().train()
    net(torch.rand(1, 3, 8, 8)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_inplace_steps_leave_gradients_right() -> None:
    net = small().double()
    image = torch.rand(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (image,), atol=1e-6)


def test_input_is_not_changed() -> None:
    net, image = small(), torch.rand(1, 3, 8, 8)
    before = image.clone()
    with torch.inference_mode():
        assert torch.equal(net(image), net(image))
    assert torch.equal(image, before)


def test_initialisation_is_a_tenth_of_he() -> None:
    torch.manual_seed(0)
    state = RRDBNet(1).state_dict()
    assert state["body.0.rdb1.conv1.weight"].std().item() == pytest.approx(0.1 * (2 / (64 * 9)) ** 0.5, rel=0.05)
    assert state["body.0.rdb3.conv5.bias"].abs().max() == 0


def test_counted_cost_is_the_stated_one() -> None:
    for scale in (2, 4):
        net = small(scale)
        assert count_mflop(net) == pytest.approx(net.spec.mflop_per_pixel, rel=1e-9)


def test_unknown_scale_is_refused() -> None:
    with pytest.raises(ModelError, match="scale 3"):
        RRDBNet(1, scale=3)
