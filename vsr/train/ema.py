"""The exponential moving average of a network while it trains: what is validated and shipped."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """A copy of a network that follows it: average = decay * average + (1 - decay) * network, after every step.

    Buffers that are real numbers (batch norm's mean and variance) go along, since the average's weights see other activations;
    counters are copied. `network` is the average, in evaluation mode, on the device of the original, without gradients.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"a moving average with decay {decay}: from 0 (no average) to below 1")
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Follow `network` (not its DistributedDataParallel shell) one step; in place, and on its device."""
        theirs = network.state_dict()
        real: tuple[list[Tensor], list[Tensor]] = ([], [])
        for name, mine in self.network.state_dict().items():
            if mine.is_floating_point():
                real[0].append(mine)
                real[1].append(theirs[name])
            else:
                mine.copy_(theirs[name])
        torch._foreach_lerp_(real[0], real[1], 1 - self.decay)  # one launch on a GPU instead of one for each of 700 tensors

    def state_dict(self) -> dict[str, Tensor]:
        """The average's tensors under the network's names: loads into the network, too."""
        return dict(self.network.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`. Raises RuntimeError for another network's."""
        self.network.load_state_dict(state, strict=True)
