"""MDSR: one set of weights, three scales."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.models.reach import assert_radius_is_the_reach
from vsr.errors import ModelError
from vsr.models import mdsr
from vsr.models.edsr import EDSR
from vsr.models.mdsr import MDSR
from vsr.models.probe import count_mflop
from vsr.models.spec import Generator

SCALES = (2, 3, 4)


def small(scale: int = 2, blocks: int = 1) -> MDSR:
    torch.manual_seed(0)
    return MDSR(blocks, num_feat=8, scale=scale).eval()


@pytest.mark.parametrize(
    ("blocks", "scale", "parameters", "mflop", "radius"),
    [(16, 4, 3_227_203, 4.786, 44), (80, 2, 7_953_987, 13.002, 172), (80, 4, 7_953_987, 14.223, 172)],
)
def test_published_sizes(blocks: int, scale: int, parameters: int, mflop: float, radius: int) -> None:
    with torch.device("meta"):
        spec = MDSR(blocks, scale=scale).spec
    assert (spec.parameters, round(spec.mflop_per_pixel, 3), spec.radius_px) == (parameters, mflop, radius)


@pytest.mark.parametrize(("mdsr_blocks", "blocks", "channels"), [(16, 16, 64), (80, 32, 256)])
def test_one_network_is_smaller_than_three(mdsr_blocks: int, blocks: int, channels: int) -> None:
    """The paper's point: the body is stored once. Baseline 3.2 M against 4.4 M, full 8.0 M against 127.5 M."""
    with torch.device("meta"):
        three = sum(EDSR(blocks, num_feat=channels, scale=scale).spec.parameters for scale in SCALES)
        one = MDSR(mdsr_blocks)
    assert sum({id(p): p.numel() for p in one.parameters()}.values()) == one.spec.parameters < 0.75 * three
    assert three == {64: 4_441_929, 256: 127_499_529}[channels]


@pytest.mark.parametrize("scale", SCALES)
def test_shape_protocol_and_cost(scale: int) -> None:
    net, frames = small(scale), torch.rand(2, 3, 7, 9)
    with torch.inference_mode():
        out = net.reconstruct(net.features(frames)[:, None])
        assert torch.equal(out, small(2)(frames, scale))  # the same weights, told for one call
    assert isinstance(net, Generator)
    assert (out.shape, net.spec.scale) == ((2, 3, 7 * scale, 9 * scale), scale)
    assert count_mflop(net) == pytest.approx(net.spec.mflop_per_pixel, rel=1e-9)


def test_every_scale_has_all_the_weights_under_the_authors_names() -> None:
    states = [small(scale).state_dict() for scale in SCALES]
    assert states[0].keys() == states[1].keys() == states[2].keys()
    layers = {name.rpartition(".")[0] for name in states[0]}
    pre = {f"pre_process.{i}.{j}.body.{k}" for i in range(3) for j in range(2) for k in (0, 2)}
    up = {"upsample.0.0", "upsample.1.0", "upsample.2.0", "upsample.2.2"}
    assert layers == pre | up | {"head.0", "tail.0", "body.0.body.0", "body.0.body.2", "body.1", "sub_mean", "add_mean"}


@pytest.mark.parametrize("scale", SCALES)
def test_a_batch_teaches_its_scale_and_the_shared_body(scale: int) -> None:
    net = small().train()
    net(torch.rand(1, 3, 8, 8), scale).square().mean().backward()
    branch = SCALES.index(scale)
    for name, parameter in net.named_parameters():
        part, _, rest = name.partition(".")
        shared = part not in ("pre_process", "upsample")
        taught = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert taught == (shared or rest.startswith(f"{branch}.")), name


@pytest.mark.parametrize("scale", SCALES)
def test_radius_is_the_reach_of_the_gradient(scale: int) -> None:
    net = small(scale)
    assert_radius_is_the_reach(net)


def test_without_shared_layers_a_branch_is_an_edsr() -> None:
    """With pre-processing blocks that add nothing, x3 is the EDSR of the same tensors."""
    net = small(3)
    for name, parameter in net.named_parameters():
        if name.startswith("pre_process"):
            torch.nn.init.zeros_(parameter)
    names = {"upsample.1": "tail.0", "tail.0": "tail.1"}
    state: dict[str, Tensor] = {}
    for name, tensor in net.state_dict().items():
        old = next((prefix for prefix in names if name.startswith(f"{prefix}.")), "")
        if not name.startswith(("pre_process", "upsample")) or old:
            state[names.get(old, "") + name[len(old) :]] = tensor
    other = EDSR(1, num_feat=8, scale=3).eval()
    other.load_state_dict(state, strict=True)
    image = torch.rand(1, 3, 6, 6)
    with torch.inference_mode():
        torch.testing.assert_close(net(image), other(image), rtol=0, atol=1e-6)


def test_options_from_weights() -> None:
    assert mdsr.options_from(small(3, blocks=2).state_dict()) == {"num_block": 2, "num_feat": 8, "rgb_range": 255.0}
    assert mdsr.options_from(EDSR(1, num_feat=8).state_dict()) is None


def test_unknown_scales_are_refused() -> None:
    with pytest.raises(ModelError, match="scale 8"):
        MDSR(1, scale=8)
    with pytest.raises(ModelError, match="scale 1"):
        small()(torch.rand(1, 3, 4, 4), 1)
