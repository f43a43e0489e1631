"""Pixel losses: how far a picture is from the truth, as one float32 number. Each is a mean over every value of the batch.

Pictures are 0..1 here. SRGAN's are -1..1 where it measures MSE, so its MSE is 4 times ours: a recipe gives that weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

CHARBONNIER_EPS = 1e-3  # EDVR's; 1e-3 squared is what its code adds under the root

PixelLoss = Callable[[Tensor, Tensor], Tensor]


def l1(made: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of two tensors of one shape. Raises ValueError for two shapes."""
    return F.l1_loss(*_pair(made, truth))


def mse(made: Tensor, truth: Tensor) -> Tensor:
    """Mean squared difference of two tensors of one shape. Raises ValueError for two shapes."""
    return F.mse_loss(*_pair(made, truth))


def charbonnier(made: Tensor, truth: Tensor, eps: float = CHARBONNIER_EPS) -> Tensor:
    """Mean of sqrt(difference^2 + eps^2): L1 without its corner (Lai et al. 2017, arXiv:1704.03915; EDVR, arXiv:1905.02716).

    It never falls below `eps`. EDVR's code sums over the batch where this takes the mean. Raises ValueError for two shapes.
    """
    made, truth = _pair(made, truth)
    return torch.sqrt((made - truth).square() + eps**2).mean()


# What a recipe may call for.
PIXEL_LOSSES: Mapping[str, PixelLoss] = MappingProxyType({"l1": l1, "mse": mse, "charbonnier": charbonnier})


def _pair(made: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32: a mean over millions of values has no place in half precision. Broadcasting would hide a wrong crop."""
    if made.shape != truth.shape:
        raise ValueError(f"a loss of {tuple(made.shape)} against {tuple(truth.shape)}: both must have one shape")
    return made.float(), truth.float()
