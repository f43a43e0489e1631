"""The moving average: its formula, what it takes along, and that it survives a stop exactly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vsr.train.ema import MovingAverage


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU())


def stir(net: nn.Module, seed: int) -> None:
    """New numbers everywhere, as a step of training makes them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator))
            else:
                tensor.add_(1)


def test_the_formula_for_weights_and_for_statistics() -> None:
    net = network()
    start = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    average = MovingAverage(net, 0.9)
    expected = start
    for seed in range(3):
        stir(net, seed)
        average.update(net)
        expected = {name: 0.9 * expected[name] + 0.1 * tensor.float() for name, tensor in net.state_dict().items()}
    for name, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, expected[name])
    assert not torch.equal(average.state_dict()["1.running_mean"], start["1.running_mean"])
    assert average.state_dict()["1.num_batches_tracked"] == net.state_dict()["1.num_batches_tracked"] == 3


def test_it_is_a_network_apart() -> None:
    net = network()
    average = MovingAverage(net)
    assert not average.network.training
    assert net.training
    assert not any(p.requires_grad for p in average.network.parameters())
    stir(net, 0)
    assert not torch.equal(average.state_dict()["0.weight"], net.state_dict()["0.weight"])
    average.update(net)
    assert not any(a.data_ptr() == b.data_ptr() for a, b in zip(average.network.parameters(), net.parameters(), strict=True))


def test_stopped_and_resumed_it_is_the_same() -> None:
    net = network()
    whole, first = MovingAverage(net, 0.99), MovingAverage(net, 0.99)
    for seed in range(6):
        if seed == 3:
            kept = {name: tensor.clone() for name, tensor in first.state_dict().items()}
            first = MovingAverage(network(), 0.99)
            first.load_state_dict(kept)
        stir(net, seed)
        whole.update(net)
        first.update(net)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, first.state_dict()[name]), name


@pytest.mark.parametrize("decay", [-0.1, 1, 2, float("nan")])
def test_a_decay_that_is_none(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        MovingAverage(network(), decay)
