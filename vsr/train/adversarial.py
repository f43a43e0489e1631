"""Adversarial losses, from a critic's logits (any shape; a positive one says "a photograph"), as one float32 number.

standard       -log D, the form that does not saturate (Goodfellow et al. 2014; SRGAN, Ledig et al. 2017, eq. 6), weight 1e-3
relativistic   is the real one more real than the fakes on average, and the other way round (Jolicoeur-Martineau 2018,
               arXiv:1807.00734; ESRGAN, Wang et al. 2018, eq. 1 and 2), weight 5e-3
hinge          margins of 1 (Lim and Ye 2017, arXiv:1705.02894); no logarithm, the generator's loss has no lower bound

Each loss is the sum of its terms, as the papers write it. ESRGAN's released code takes half of it, for both networks: the weight
that repeats its runs is 2.5e-3. Under Adam, the half makes no difference to a critic that has no other loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from vsr.errors import ConfigError

Adversary = Literal["standard", "relativistic", "hinge"]
ADVERSARIES: tuple[str, ...] = get_args(Adversary)

# The mean over the logits of all processes, with its gradient (`vsr.train.ranks.mean_over_ranks`). Relativistic losses are no
# means of what each process has alone: without it, two processes of batch 8 would train another network than one of batch 16.
MeanOverAll = Callable[[Tensor], Tensor]


def generator_loss(kind: Adversary, fake: Tensor, real: Tensor | None = None, mean_over_all: MeanOverAll = Tensor.mean) -> Tensor:
    """What the generator wants: its pictures taken for photographs.

    `fake`: the critic's logits of what the generator made; `real`: those of photographs, of which "relativistic" alone has need,
    and through which nothing flows back. Raises ConfigError without them, or for another kind.
    """
    fake = fake.float()
    if kind == "standard":
        return F.softplus(-fake).mean()  # -log sigmoid(x) = softplus(-x), without the overflow
    if kind == "hinge":
        return -fake.mean()
    if kind != "relativistic":
        raise _unknown(kind)
    if real is None:
        raise ConfigError("a relativistic generator loss compares with photographs: give the critic's logits of them, too")
    real = real.detach().float()
    # Both terms reach the generator: the first one through the mean over its pictures.
    return F.softplus(real - mean_over_all(fake)).mean() + F.softplus(-(fake - mean_over_all(real))).mean()


def discriminator_loss(kind: Adversary, real: Tensor, fake: Tensor, mean_over_all: MeanOverAll = Tensor.mean) -> Tensor:
    """What the critic wants: photographs told from made pictures.

    `real`, `fake`: its logits of both; the pictures behind `fake` must be detached from the generator. Raises ConfigError for
    another kind.
    """
    real, fake = real.float(), fake.float()
    if kind == "standard":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if kind != "relativistic":
        raise _unknown(kind)
    return F.softplus(-(real - mean_over_all(fake))).mean() + F.softplus(fake - mean_over_all(real)).mean()


def _unknown(kind: str) -> ConfigError:
    return ConfigError(f"no adversarial loss is called {kind!r}; there are {', '.join(ADVERSARIES)}")
