"""benchmarks/claims: what the scripts measure is what they say, on cases whose answer is known."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vsr.models.edsr import EDSR
from vsr.models.srresnet import SRResNet
from vsr.train.losses import mse
from vsr.train.vgg import Vgg19

CLAIMS = Path(__file__).parents[1] / "benchmarks" / "claims"


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """They import one another as scripts do."""
    monkeypatch.syspath_prepend(str(CLAIMS))


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_pictures_made_by_code_follow_from_the_seed_and_are_no_noise() -> None:
    evidence = script("evidence")
    first, again, other = (evidence.pictures(None, 2, 64, seed) for seed in (1, 1, 2))
    assert first.shape == (2, 3, 64, 64) and first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert mse(first[..., 1:], first[..., :-1]) < 0.2 * 2 * first.var()  # neighbours of noise would differ by twice its variance


def test_pictures_of_a_folder_are_crops_of_its_images(tmp_path: Path) -> None:
    evidence = script("evidence")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    evidence.save(tmp_path / "large.png", pixels)
    evidence.save(tmp_path / "small.png", pixels[:20])
    (tmp_path / "notes.txt").write_text("no picture")
    found = evidence.pictures(tmp_path, 9, 32, 0)
    assert found.shape == (1, 3, 32, 32)
    whole = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    assert any(torch.equal(found[0], whole[:, y : y + 32, x : x + 32]) for y in range(9) for x in range(19))
    with pytest.raises(ValueError, match="no image of 64 pixels"):
        evidence.pictures(tmp_path, 1, 64, 0)


def test_report_prints_and_writes_all_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = argparse.Namespace(json=tmp_path / "out.json", seed=3)
    script("evidence").report([{"a": 1 / 3, "b": "x"}, {"a": 2}], asked, more=[1])
    assert capsys.readouterr().out.splitlines() == ["a       b", "0.3333  x", "2"]
    kept = json.loads(asked.json.read_text())
    assert kept["rows"] == [{"a": 1 / 3, "b": "x"}, {"a": 2}] and kept["more"] == [1] and kept["asked"]["seed"] == 3


def test_shares_of_active_units() -> None:
    sparsity = script("sparsity")
    maps = torch.full((4, 2, 2), -1.0)
    maps[0, 0] = 1.0
    assert sparsity.measured(maps) == {"active %": 12.5, "empty maps %": 75.0, "even before": 1.0, "even after": 0.125}


def test_layers_of_vgg_are_those_before_the_activation() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Vgg19(["conv2_1", "conv3_4"])
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = {layer.name: layer.maps for layer in script("sparsity").layers(network, picture)}
    assert list(found) == [f"conv{block}_{each}" for block, of in ((1, 2), (2, 2), (3, 4)) for each in range(1, of + 1)]
    for name, maps in network(picture).items():
        assert torch.equal(found[name], maps[0]) and maps.min() < 0
    assert not any(module._forward_hooks for module in network.modules())


def test_what_is_compared_with_the_shift_has_its_mse() -> None:
    large = script("evidence").pictures(None, 1, 65, 0)
    made = script("shift").versions(large, 0)
    errors = {name: float(mse(*pair)) for name, pair in made.items()}
    assert errors["blurred"] == pytest.approx(errors["shifted by 1 px"], rel=0.01)
    assert errors["noise"] == pytest.approx(errors["shifted by 1 px"], rel=0.05)
    moved, truth = made["shifted by 1 px"]
    assert torch.equal(moved[..., :-1], truth[..., 1:])


def test_blur_keeps_what_is_flat() -> None:
    flat = torch.full((1, 3, 24, 24), 0.4)
    torch.testing.assert_close(script("shift").blurred(flat, 2.0), flat)


class Texture(nn.Module):
    """Adds the first texture, so many times."""

    def __init__(self, times: float) -> None:
        super().__init__()
        self.times = times

    def forward(self, small: Tensor) -> Tensor:
        toy = script("two_modes")
        made: Tensor = toy.enlarged(small) + self.times * toy.stripes()
        return made


@pytest.mark.parametrize(("times", "mean", "nearest"), [(0.0, 0, 1), (1.0, 1, 0), (-1.0, 1, 0), (2.0, 2, 1)])
def test_distances_to_both_textures_and_their_mean(times: float, mean: float, nearest: float) -> None:
    found = script("two_modes").distances(Texture(times))
    assert found["to the mean"] == pytest.approx(mean, abs=1e-6) and found["to the nearest"] == pytest.approx(nearest, abs=1e-6)
    assert times == 0 or found["% first"] == 100 * (times > 0)


def test_the_small_picture_does_not_tell_which_texture() -> None:
    small, large = script("two_modes").pairs(32, torch.Generator().manual_seed(0))
    torch.testing.assert_close(nn.functional.avg_pool2d(large, 4), small)
    assert (
        0
        < sum(float((one - script("two_modes").enlarged(s[None]))[0, 0, 0, 0]) > 0 for one, s in zip(large, small, strict=True))
        < 32
    )


@pytest.mark.slow
def test_mse_learns_the_mean() -> None:
    toy = script("two_modes")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = toy.maker()
    toy.train_by_mse(network, 300, 0)
    found = toy.distances(network)
    assert found["to the mean"] < 0.4 < 0.8 < found["to the nearest"]


def test_kept_bytes_of_known_layers() -> None:
    norm = script("batch_norm")
    x = torch.rand(1, 8, 16, 16)
    plane = 8 * 16 * 16 * 4
    bare = norm.saved_bytes(nn.Conv2d(8, 8, 3, padding=1), x)
    both = norm.saved_bytes(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)), x)
    assert bare in (2 * plane, 3 * plane)  # its input, and what the loss takes: a difference or both of its sides
    assert both == bare + plane + 2 * 8 * 4  # what is normalised; mean and spread of each channel


def test_blocks_without_batch_norm_keep_two_fifths_less() -> None:
    """EDSR, section 3.1: about 40 %."""
    rows = {row["network"]: row for row in script("batch_norm").memory(crop=8, batch=1)}
    assert 36 < rows["the same without BN"]["saved %"] < 42
    assert 20 < rows["SRResNet x4 without BN"]["saved %"] < 30


def test_gap_between_both_modes() -> None:
    norm = script("batch_norm")
    truth = script("evidence").pictures(None, 2, 32, 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SRResNet(1, num_feat=8)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert norm.gap(network, [truth])["between"] < 60
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert norm.gap(norm.without_norms(network), [truth])["between"] > 100
    assert norm.gap(EDSR(1, num_feat=8), [truth])["between"] > 100


def test_when_a_curve_stays_above_a_level() -> None:
    claim = script("pretraining")
    points = [(10, 1.0), (20, 3.0), (30, 2.0), (40, 3.0), (50, 3.5)]
    assert claim.reached(points, 3.0) == 40 and claim.reached(points, 0.5) == 10 and claim.reached(points, 4.0) is None
    rows = claim.compared(0, points, [(step, value + 2) for step, value in points])
    assert [row["as good as scratch at"] for row in rows] == [50, 20]
    assert claim.drawn([("from scratch", points), ("from x2", points)]).shape == (420, 760, 3)
