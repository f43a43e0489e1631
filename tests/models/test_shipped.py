"""The weights that vsr brings: whole, small, better than bicubic, of pictures whose licences allow it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import vsr
from vsr.models import stored, weights, zoo
from vsr.models.sources import FileWeights, Network
from vsr.resample import imresize

FOLDER = Path(vsr.__file__).parent / "weights"
SHIPPED = [network for entry in zoo.ZOO.values() for network in entry.networks if isinstance(network.weights, FileWeights)]
ALLOWED = ("CC0", "CC BY 2", "CC BY 3", "CC BY 4", "BSD", "MIT", "public domain")


def picture(side: int, scale: int) -> Tensor:
    """(1, 3, side, side): edges, lines and curves that a `scale` times smaller picture still has, drawn large and reduced."""
    at = torch.arange(side * 4) / (side * 4)
    y, x = torch.meshgrid(at, at, indexing="ij")
    rings = (torch.sin(120 / scale * ((x - 0.3) ** 2 + (y - 0.4) ** 2)) > 0).float()
    bars = ((x * 16 / scale + y * 8 / scale) % 1 < 0.3).float()
    drawn = torch.stack([0.2 + 0.6 * rings, 0.1 + 0.5 * bars + 0.3 * rings, 0.9 - 0.7 * bars])[None]
    return F.avg_pool2d(drawn, 4)


@pytest.mark.parametrize("network", SHIPPED, ids=lambda n: f"{n.spec.name}-x{n.spec.scale}")
def test_it_is_here_and_better_than_bicubic(network: Network) -> None:
    assert isinstance(network.weights, FileWeights) and network.spec.scale
    path = Path(network.weights.path)
    assert path.parent == FOLDER and path.stat().st_size < 20_000_000
    scale = network.spec.scale
    generator = weights.load(network.spec.name, scale)
    assert (generator.spec.scale, generator.spec.name) == (scale, network.spec.name)
    hr = picture(96, scale)
    lr = imresize(hr, 1, scale)
    with torch.inference_mode():
        made = generator.reconstruct(generator.features(lr)[:, None])
    ours, theirs = (10 * torch.log10(1 / F.mse_loss(each.clamp(0, 1), hr)) for each in (made, imresize(lr, scale, 1)))
    assert ours > theirs + 0.8, f"{ours:.2f} dB, bicubic {theirs:.2f}"


def test_each_file_is_named_by_its_card_and_by_the_zoo() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    files = sorted(FOLDER.glob("*.safetensors"))
    assert [path.name for path in files] == sorted(
        Path(n.weights.path).name for n in SHIPPED if isinstance(n.weights, FileWeights)
    )
    for path in files:
        assert f"`{path.name}`" in card
        kept = stored.read(path)
        assert kept is not None and kept.origin.notes["recipe"] in card and kept.origin.notes["steps"] in card.replace(",", "")
        assert all(tensor.dtype == torch.float16 for tensor in kept.state.values())


def test_every_photograph_may_be_trained_on() -> None:
    with (FOLDER / "credits.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 122 and len({row["sha256"] for row in rows}) == 122
    for row in rows:
        assert row["licence"].startswith(ALLOWED) and "SA" not in row["licence"] and row["source"], row["file"]
        assert row["author"] or not row["licence"].startswith("CC BY"), row["file"]
