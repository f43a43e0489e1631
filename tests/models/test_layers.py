"""The papers' notation, read off the code that runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models.bicubic import Bicubic
from vsr.models.compact import SRVGGNetCompact
from vsr.models.edsr import EDSR
from vsr.models.layers import Block, layers_of, lines
from vsr.models.rrdb import RRDBNet
from vsr.models.single import SingleFrame
from vsr.models.spec import ModelSpec


def text(network: SingleFrame) -> list[str]:
    return list(lines(layers_of(network)))


def test_edsr() -> None:
    assert text(EDSR(3, num_feat=8, scale=4, res_scale=0.1)) == [
        "multiply 255",
        "add 3 numbers",
        "k3n8s1",
        "3 x ResidualBlock: k3n8s1, ReLU, k3n8s1, multiply 0.1, add",
        "k3n8s1",
        "add",
        "k3n32s1",
        "PixelShuffle x2",
        "k3n32s1",
        "PixelShuffle x2",
        "k3n3s1",
        "add 3 numbers",
        "divide 255",
    ]


def test_layers_without_a_module_of_their_own_fold_too() -> None:
    with torch.device("meta"):
        net = SRVGGNetCompact(16, num_feat=64, upscale=4)
    assert text(net) == ["17 x: k3n64s1, PReLU", "k3n48s1", "PixelShuffle x4", "nearest x4", "add"]


def test_blocks_inside_blocks() -> None:
    with torch.device("meta"):
        found = layers_of(RRDBNet(23))
    (trunk,) = (item for item in found if isinstance(item, Block))
    assert (trunk.name, trunk.times) == ("RRDB", 23)
    dense = trunk.layers[0]
    assert isinstance(dense, Block)
    assert (dense.name, dense.times, dense.layers[:4]) == (
        "ResidualDenseBlock",
        3,
        ("k3n32s1", "LeakyReLU 0.2", "concat n96", "k3n32s1"),
    )
    assert trunk.layers[1:] == ("multiply 0.2", "add")
    convolutions = 23 * 3 * 5 + 6  # unfolded, none is lost
    assert count(found, "k3") == convolutions


def count(items: tuple[Block | str, ...], start: str) -> int:
    return sum(item.startswith(start) if isinstance(item, str) else item.times * count(item.layers, start) for item in items)


class Odd(SingleFrame):
    """One of everything that the networks here lack."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = ModelSpec("odd", "Odd", 2, multiple_of=4)
        self.first = nn.Conv2d(3, 8, (3, 1), padding=(1, 0), bias=False)
        self.strided = nn.Conv2d(8, 8, 9, stride=2, padding=4)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 4, 4, stride=4)
        self.last = nn.Conv2d(4, 3, 1)
        self.dense = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm(self.grouped(self.strided(self.first(x)))))
        weight = torch.sigmoid(self.dense(x.mean(dim=(2, 3)))[:, :1, None, None])
        return torch.tanh(self.last(self.up(x * weight)))


def test_every_kind_of_layer() -> None:
    assert text(Odd()) == [
        "k3x1n8s1",
        "k9n8s2",
        "k3n8s1d2g8",
        "BN",
        "GELU",
        "mean",
        "dense 5",
        "sigmoid",
        "multiply 1 number",
        "transposed k4n4s4",
        "k1n3s1",
        "tanh",
    ]


def test_nothing_is_computed_and_nothing_is_kept() -> None:
    net = EDSR(1, num_feat=8)
    assert layers_of(Bicubic()) == ()
    assert layers_of(net) == layers_of(net)
    assert all(parameter.device.type == "cpu" for parameter in net.parameters())


class Choosy(Bicubic):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.mean() > 0 else -x


def test_a_network_that_needs_data_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="bicubic: Bicubic cannot be run without data"):
        layers_of(Choosy())
