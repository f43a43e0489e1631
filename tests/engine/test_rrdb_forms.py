"""Every form of RRDBNet against the plain module."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.engine.pictures import picture, psnr, run, small_rrdb
from vsr.config import EngineSettings
from vsr.engine.rrdb_forms import FORMS, RrdbForm, nearest, subpixel
from vsr.engine.runners import runner
from vsr.models import weights
from vsr.models.rrdb import RRDBNet

CPU = torch.device("cpu")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (13, 9)])
def test_every_form_is_the_network(form: str, scale: int, size: tuple[int, int]) -> None:
    network = small_rrdb(scale)
    height, width = (side * network.spec.multiple_of for side in size)
    frames = torch.cat([picture(height, width, number) for number in (1, 3)])
    with torch.inference_mode():
        assert psnr(RrdbForm(network, CPU, torch.float32, form)(frames), run(network, frames)) >= 100


def test_plainly_and_in_float32_it_is_the_module_itself() -> None:
    network, frames = small_rrdb(), picture(20, 31)
    module = copy.deepcopy(network).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        ours = runner(network, CPU, "fp32", EngineSettings())(frames)
        assert torch.equal(ours, run(module, frames.contiguous(memory_format=torch.channels_last)))


@pytest.mark.parametrize("bias", [True, False])
def test_thesubpixel_form_is_enlarging_and_a_convolution(bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 7, 3, padding=1, bias=bias).requires_grad_(False)
    x = torch.randn(2, 5, 6, 9)
    torch.testing.assert_close(subpixel(conv)(x), nearest(conv)(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["esrgan", "esrgan-anime"])
def test_bf16_keeps_the_gate_where_the_plain_module_loses_more(name: str) -> None:
    """The residual stream and the first convolution in float32: at least 50 dB, and better than all in bf16."""
    network = weights.load(name, 4)
    assert isinstance(network, RRDBNet)
    half = copy.deepcopy(network).to(dtype=torch.bfloat16)
    for number in (3, 9):
        frames = picture(40, 40, number)
        with torch.inference_mode():
            truth = run(network, frames).clamp(0, 1)
            form = psnr(RrdbForm(network, CPU, torch.bfloat16)(frames).float().clamp(0, 1), truth)
            plain = psnr(run(half, frames.bfloat16()).float().clamp(0, 1), truth)
        assert form >= 50
        assert form > plain


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cat\+nearest"):
        RrdbForm(small_rrdb(), CPU, torch.float32, "magic")
