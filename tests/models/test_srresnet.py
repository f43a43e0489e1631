"""SRResNet: sizes, reference names, receptive field, batch norm folded away, and the paper's PSNR with real weights."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.models.reach import assert_radius_is_the_reach
from vsr.config import EngineSettings
from vsr.engine.runners import runner
from vsr.errors import ModelError
from vsr.models import weights
from vsr.models.probe import count_mflop
from vsr.models.spec import Fusible, Generator
from vsr.models.srresnet import SRResNet


def small(scale: int = 4, num_block: int = 1, *, keras: bool = False) -> SRResNet:
    """With statistics as training leaves them, so that batch norm does something."""
    torch.manual_seed(0)
    options = {"tanh": True, "conv_bias": True, "channel_slopes": True} if keras else {}
    net = SRResNet(num_block, num_feat=8, scale=scale, bn_eps=1e-3 if keras else 1e-5, **options).eval()
    for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.2, 3)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return net


@pytest.mark.parametrize(("scale", "parameters", "mflop"), [(2, 1_402_883, 2.883), (4, 1_550_659, 4.436), (8, 1_698_435, 10.648)])
def test_published_sizes(scale: int, parameters: int, mflop: float) -> None:
    with torch.device("meta"):
        net = SRResNet(scale=scale, conv_bias=True, channel_slopes=True)
    assert (net.spec.parameters, round(net.spec.mflop_per_pixel, 3), net.spec.radius_px) == (parameters, mflop, 40)
    # What Keras counts for x4: the running means and variances too, but not torch's counter of batches.
    if scale == 4:
        assert sum(t.numel() for name, t in net.state_dict().items() if "num_batches" not in name) == 1_554_883


def test_names_are_the_references() -> None:
    """Lornatang's SRGAN-PyTorch as it is by default: no bias before a batch norm, one slope for all channels."""
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in SRResNet().state_dict().items()}
    assert shapes["conv_block1.0.weight"] == (64, 3, 9, 9)
    assert shapes["trunk.15.rcb.3.weight"] == (64, 64, 3, 3)
    assert shapes["trunk.0.rcb.2.weight"] == (1,)
    assert shapes["conv_block2.1.running_var"] == (64,)
    assert shapes["upsampling.1.upsample_block.0.weight"] == (256, 64, 3, 3)
    assert shapes["conv_block3.weight"] == (3, 64, 9, 9)
    assert "trunk.0.rcb.0.bias" not in shapes
    assert len(shapes) == 3 + 16 * 13 + 6 + 2 * 3 + 2


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_shape_protocol_and_cost(scale: int) -> None:
    net = small(scale)
    with torch.inference_mode():
        out = net.reconstruct(net.features(torch.rand(2, 3, 5, 7))[:, None])
    assert isinstance(net, Generator)
    assert isinstance(net, Fusible)
    assert out.shape == (2, 3, 5 * scale, 7 * scale)
    assert count_mflop(net) == pytest.approx(net.spec.mflop_per_pixel, rel=1e-9)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_radius_is_the_reach_of_the_gradient(scale: int) -> None:
    net = small(scale)
    assert_radius_is_the_reach(net)


@pytest.mark.parametrize("keras", [False, True])
def test_folded_batch_norm_gives_the_same_picture(keras: bool) -> None:
    net, image = small(num_block=3, keras=keras), torch.rand(1, 3, 12, 10)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fused = net.fused()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    with torch.inference_mode():
        expected = net(image)
        assert expected.std() > 1e-3
        assert (fused(image) - expected).abs().max() < 1e-5 * max(1.0, float(expected.abs().max()))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_the_engine_runs_it_folded() -> None:
    net, image = small(keras=True), torch.rand(1, 3, 8, 8)
    run = runner(net, torch.device("cpu"), "fp32", EngineSettings())
    with torch.inference_mode():
        assert torch.equal(run(image), net.fused().to(memory_format=torch.channels_last)(channels_last(image)))
        assert (run(image) - net(image)).abs().max() < 1e-5


def channels_last(image: Tensor) -> Tensor:
    return image.to(memory_format=torch.channels_last)


def test_tanh_maps_to_zero_and_one() -> None:
    net, image = small(keras=True), torch.rand(1, 3, 6, 6)
    with torch.inference_mode():
        out = net(image)
        net.tanh = False
        torch.testing.assert_close(out, (net(image).tanh() + 1) / 2)


def test_every_weight_learns() -> None:
    net = small(keras=True).train()
    net(torch.rand(2, 3, 8, 8)).square().mean().backward()
    idle = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert idle == set()


def test_unknown_scale_is_refused() -> None:
    with pytest.raises(ModelError, match="scale 3"):
        SRResNet(scale=3)


SET5 = Path(__file__).parents[3] / "shared" / "data" / "Set5" / "x4"


@pytest.mark.slow
@pytest.mark.skipif(not SET5.is_dir(), reason="the Set5 images are not here")
@pytest.mark.parametrize(("name", "decibels"), [("srresnet", 28.29), ("srgan", 26.23), ("span", 28.63)])
def test_set5_as_published(name: str, decibels: float) -> None:
    """One image of Set5 by the papers' protocol; all five give 32.02, 29.19 and 32.20 dB (32.05, 29.40, 32.20 published)."""
    if not weights.available(name):
        pytest.skip(f"vsr models pull {name}")
    quality = importlib.import_module("benchmarks.quality_set5")
    image = torch.from_numpy(quality.read(SET5 / "LR" / "img_003.png").copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        out = weights.load(name, 4).reconstruct(image[None])[0]
    made = (out.clamp(0, 1) * 255 + 0.5).floor().byte().permute(1, 2, 0).numpy()
    assert quality.psnr(made, quality.read(SET5 / "HR" / "img_003.png"), 4) == pytest.approx(decibels, abs=0.05)
