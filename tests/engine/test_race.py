"""Which way to run a network: the race answers, compares pictures, and leaves everything as it was."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.engine.pictures import picture, small_rrdb
from vsr.config import Backend, EngineSettings
from vsr.engine.race import EXACT, MARGIN, MARGIN_UNSEEN, _judge, fastest_exact, fastest_form, psnr, worth_rounding
from vsr.engine.rrdb_forms import FORMS
from vsr.engine.runners import COMPILED, EXACT_CPU, runner
from vsr.models import weights
from vsr.models.bicubic import Bicubic
from vsr.models.compact import SRVGGNetCompact
from vsr.models.rrdb import RRDBNet
from vsr.models.single import SingleFrame


def test_the_race_answers_and_leaves_everything_as_it_was() -> None:
    network, threads, state = small_rrdb(2), torch.get_num_threads(), torch.random.get_rng_state()
    choice = fastest_exact(network, 50, 66, 1, seconds=1000)  # time enough for all of it, however busy the machine
    assert choice.backend in ("torch", *EXACT_CPU)
    assert (choice.height, choice.width) == (50, 66)
    assert choice.seconds is not None
    assert {"torch", "winograd"} <= set(choice.seconds)
    assert min(choice.seconds.values()) > 0
    short = fastest_exact(network, 1080, 1920, 2, seconds=0.01)
    assert short.height < 1080
    assert "less than it will see" in short.reason
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_race_needs_a_rival() -> None:
    choice = fastest_exact(Bicubic(), 64, 64, 1)
    assert (choice.backend, choice.seconds) == ("torch", None)
    assert choice.reason


@pytest.mark.parametrize(
    ("winograd", "ncnn", "whole", "backend"),
    [
        (2.0, 2.0, True, "torch"),
        (0.95, 0.95, True, "torch"),
        (1 / MARGIN, 2.0, True, "winograd"),
        (0.8, 0.5, True, "ncnn"),
        (0.5, 0.8, True, "winograd"),
        (0.9, 0.7, False, "torch"),
        (1 / MARGIN_UNSEEN["winograd"], 0.7, False, "winograd"),
        (0.7, 0.6, False, "ncnn"),
    ],
)
def test_a_rival_must_win_clearly(winograd: float, ncnn: float, whole: bool, backend: Backend) -> None:
    choice = _judge({"torch": 1.0, "winograd": winograd, "ncnn": ncnn}, 64, 64, whole=whole)
    assert choice.backend == backend
    assert ("less than it will see" in choice.reason) != whole


def test_without_ncnn_the_others_race() -> None:
    assert _judge({"torch": 1.0, "winograd": 0.5}, 64, 64, whole=True).backend == "winograd"


class Fragile(SingleFrame):
    """Loses in bf16 what it is about: small differences of large numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor(64.0))
        self.spec = SRVGGNetCompact(1, upscale=1).spec

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.offset) - self.offset


def test_a_network_that_rounding_spoils_stays_in_float32() -> None:
    why = worth_rounding(Fragile(), picture(32, 32), "bf16", 1)
    assert "dB from float32" in why


def test_what_survives_rounding_is_a_matter_of_speed() -> None:
    why = worth_rounding(weights.load("animevideo", 4), picture(40, 40), "bf16", 1)
    assert why == "" or "not faster" in why


@pytest.mark.parametrize("size", [(1, 1), (21, 33)])
def test_what_is_tried_is_padded_as_the_engine_pads(size: tuple[int, int]) -> None:
    network = RRDBNet(1, num_feat=16, num_grow=8, scale=2)  # takes even sizes
    assert isinstance(worth_rounding(network, picture(*size), "bf16", 1), str)
    assert fastest_form(network, picture(*size), torch.device("cpu"), "fp32", compiled=False) in ("", *FORMS)


def test_the_fastest_form_is_one_that_there_is() -> None:
    device, pictures = torch.device("cpu"), picture(24, 24).expand(2, -1, -1, -1)
    assert fastest_form(small_rrdb(), pictures, device, "fp32", compiled=False) in ("", *FORMS)
    assert fastest_form(SRVGGNetCompact(1), pictures, device, "fp32", compiled=False) == ""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler on a CPU")
@pytest.mark.filterwarnings("ignore")  # of the compiler's
def test_a_compiled_network_is_the_network() -> None:
    network, device, frames = SRVGGNetCompact(1, num_feat=8).eval(), torch.device("cpu"), picture(24, 24)
    settings = EngineSettings()
    with torch.inference_mode():
        plain = runner(network, device, "fp32", settings)(frames)
        compiled = runner(network, device, "fp32", replace(settings, form=COMPILED))(frames)
    assert psnr(compiled, plain) >= EXACT
    assert fastest_form(network, frames, device, "fp32", compiled=True) in ("", COMPILED)


def test_no_number_is_no_likeness() -> None:
    picture = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(picture, picture) == float("inf")
    assert psnr(picture * float("nan"), picture) < EXACT
