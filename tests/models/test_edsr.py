"""EDSR: the authors' names and layout, BasicSR's and OpenMMLab's, and the facts it states about itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models.reach import assert_radius_is_the_reach
from vsr.errors import ModelError
from vsr.models import edsr
from vsr.models.edsr import EDSR, RGB_MEAN
from vsr.models.probe import count_mflop
from vsr.models.spec import Generator

SCALES = (2, 3, 4)


def small(scale: int = 2, blocks: int = 1, **options: float) -> EDSR:
    torch.manual_seed(scale)
    return EDSR(blocks, num_feat=8, scale=scale, **options).eval()


@pytest.mark.parametrize(
    ("blocks", "channels", "scale", "parameters", "mflop", "radius"),
    [
        (16, 64, 2, 1_369_859, 2.745, 36),
        (16, 64, 3, 1_554_499, 3.131, 36),
        (16, 64, 4, 1_517_571, 3.966, 36),
        (32, 256, 2, 40_729_603, 81.465, 68),
        (32, 256, 3, 43_680_003, 87.432, 68),
        (32, 256, 4, 43_089_923, 100.505, 68),
    ],
)
def test_published_sizes(blocks: int, channels: int, scale: int, parameters: int, mflop: float, radius: int) -> None:
    with torch.device("meta"):
        spec = EDSR(blocks, num_feat=channels, scale=scale).spec
    assert (spec.parameters, round(spec.mflop_per_pixel, 3), spec.radius_px) == (parameters, mflop, radius)


@pytest.mark.parametrize("scale", SCALES)
def test_shape_protocol_and_cost(scale: int) -> None:
    net, frames = small(scale), torch.rand(2, 3, 7, 9)
    with torch.inference_mode():
        out = net.reconstruct(net.features(frames)[:, None])
    assert isinstance(net, Generator)
    assert (out.shape, net.spec.scale) == ((2, 3, 7 * scale, 9 * scale), scale)
    assert count_mflop(net) == pytest.approx(net.spec.mflop_per_pixel, rel=1e-9)


def test_names_are_the_authors() -> None:
    ends = {"head.0", "body.1", "tail.0.0", "tail.0.2", "tail.1", "sub_mean", "add_mean"}
    blocks = {"body.0.body.0", "body.0.body.2"}
    assert {name.rpartition(".")[0] for name in small(4).state_dict()} == ends | blocks
    assert {name.rpartition(".")[0] for name in small(3).state_dict()} == (ends | blocks) - {"tail.0.2"}


def in_pieces(state: dict[str, Tensor], image: Tensor, scale: int, res_scale: float) -> Tensor:
    """The paper's network on 0..255, written out, with the mean as the authors subtract it: a 1x1 convolution."""

    def conv(name: str, x: Tensor) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    x = first = conv("head.0", conv("sub_mean", image * 255))
    for block in range(2):
        x = x + res_scale * conv(f"body.{block}.body.2", conv(f"body.{block}.body.0", x).relu())
    x = conv("body.2", x) + first
    for name, step in {2: (("tail.0.0", 2),), 3: (("tail.0.0", 3),), 4: (("tail.0.0", 2), ("tail.0.2", 2))}[scale]:
        x = F.pixel_shuffle(conv(name, x), step)
    return conv("add_mean", conv("tail.1", x)) / 255


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("res_scale", [1.0, 0.1])
def test_computes_what_the_paper_says(scale: int, res_scale: float) -> None:
    net, image = small(scale, blocks=2, res_scale=res_scale), torch.rand(1, 3, 10, 12)
    with torch.inference_mode():
        torch.testing.assert_close(net(image), in_pieces(net.state_dict(), image, scale, res_scale), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_radius_is_the_reach_of_the_gradient(scale: int) -> None:
    net = small(scale)
    assert_radius_is_the_reach(net)


def test_weights_learn_and_the_mean_does_not() -> None:
    net = small(blocks=2).train()
    net(torch.rand(1, 3, 8, 8)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    assert not {"sub_mean.bias", "add_mean.bias"} & {name for name, _ in net.named_parameters()}
    torch.testing.assert_close(net.state_dict()["sub_mean.bias"], -255 * torch.tensor(RGB_MEAN))


def test_inplace_steps_leave_gradients_and_input_right() -> None:
    net = small(res_scale=0.1).double()
    image = torch.rand(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    before = image.detach().clone()
    assert torch.autograd.gradcheck(net, (image,), atol=1e-6)
    assert torch.equal(image.detach(), before)


def as_basicsr(state: dict[str, Tensor], blocks: int, *, mmagic: bool = False) -> dict[str, Tensor]:
    """The tensors under the names of BasicSR, or of OpenMMLab's mmagic; neither stores the mean."""
    other = {"head.0": "conv_first", f"body.{blocks}": "conv_after_body", "tail.1": "conv_last"}
    for i in range(blocks):
        other |= {f"body.{i}.body.0": f"body.{i}.conv1", f"body.{i}.body.2": f"body.{i}.conv2"}
    other |= {f"tail.0.{2 * i}": f"upsample.{i}.upsample_conv" if mmagic else f"upsample.{2 * i}" for i in range(2)}
    layers = {name: name.rpartition(".") for name in state if "mean" not in name}
    return {f"{other[layer]}.{kind}": state[name] for name, (layer, _, kind) in layers.items()}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mmagic", [False, True])
def test_other_layouts_get_the_authors_names(scale: int, mmagic: bool) -> None:
    net = small(scale, blocks=3, rgb_range=1.0 if mmagic else 255.0)
    state = edsr.renamed(as_basicsr(net.state_dict(), 3, mmagic=mmagic))
    options = {"num_block": 3, "num_feat": 8, "scale": scale, "res_scale": 1.0, "rgb_range": net.rgb_range}
    assert edsr.options_from(state) == options
    assert state.keys() == net.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_options_of_the_papers_large_network_and_of_others() -> None:
    with torch.device("meta"):
        large = EDSR(32, num_feat=256, scale=3).state_dict()
    large |= small(3).sub_mean.state_dict(prefix="sub_mean.") | small(3).add_mean.state_dict(prefix="add_mean.")
    assert edsr.options_from(large) == {"num_block": 32, "num_feat": 256, "scale": 3, "res_scale": 0.1, "rgb_range": 255.0}
    assert edsr.options_from({**large, "add_mean.weight": 2 * torch.eye(3).reshape(3, 3, 1, 1)}) is None
    assert edsr.options_from({"head.0.weight": torch.ones(1)}) is None


def test_unknown_scale_is_refused() -> None:
    with pytest.raises(ModelError, match="scale 8"):
        EDSR(1, scale=8)
