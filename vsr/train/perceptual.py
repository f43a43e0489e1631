"""Perceptual losses: how far two pictures are apart in VGG19's features (Johnson et al. 2016; SRGAN, Ledig et al. 2017, eq. 5).

SRGAN   MSE after the activation, at relu5_4 ("vgg54") or relu2_2 ("vgg22"), features rescaled by 1/12.75: weight 0.006
ESRGAN  L1 before the activation, at conv5_4, where features are denser, not rescaled: weight 1
Real-ESRGAN  L1 at conv1_2 and conv2_2 (0.1 each), conv3_4, conv4_4 and conv5_4 (1 each)

Means go over every value of a layer, its channels too. SRGAN's factor was found with another file of VGG's weights, to make the
term as large as the MSE of pictures of -1..1. By torchvision's VGG16 (40 photographs, srresnet's and srgan's x4 of them) it still
does so about: 0.1 to 0.3 of that MSE at the end of block 5, 1.3 to 2.5 of it at relu2_2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from vsr.errors import ConfigError
from vsr.train.losses import PIXEL_LOSSES, PixelLoss
from vsr.train.vgg import ALIASES, Vgg19, load_vgg19

SRGAN_RESCALING = 1 / 12.75**2  # of the MSE: the paper says "about 0.006"


class PerceptualLoss:
    """The weighted sum of a pixel loss over layers of VGG19, for pictures (N, 3, H, W) of 0..1; one float32 number.

    No nn.Module, on purpose: what it holds can get into no optimiser, no state dict and no DistributedDataParallel by being a
    member of something that does.
    """

    def __init__(self, layers: Mapping[str, float], criterion: PixelLoss, network: Vgg19) -> None:
        self.layers = {ALIASES.get(name, name): weight for name, weight in layers.items()}
        self.criterion = criterion
        self.network = network

    def to(self, device: torch.device | str) -> Self:
        """Moves to a device; gives itself."""
        self.network.to(device)
        return self

    def __call__(self, made: Tensor, truth: Tensor) -> Tensor:
        """Nothing flows back into `truth`. Inside autocast VGG19 computes in half precision: three times as fast, and its
        gradient keeps its direction (mean cosine 0.94 to 0.99 by layer; docs/lab.md). Differences are float32."""
        with torch.no_grad():
            wanted = self.network(truth)
        seen = self.network(made)
        with torch.autocast(made.device.type, enabled=False):
            terms = [weight * self.criterion(seen[name], wanted[name]) for name, weight in self.layers.items()]
        return torch.stack(terms).sum()


def perceptual_loss(layers: Mapping[str, float], criterion: str = "l1", path: str = "") -> PerceptualLoss:
    """The loss of a recipe: layers of VGG19 with their weights, a pixel loss by name, and VGG's weights (a path; "": those here).

    Raises ConfigError for a name that does not exist, WeightsError, saying how to get them, without weights.
    """
    if criterion not in PIXEL_LOSSES:
        raise ConfigError(f"no criterion of a perceptual loss is called {criterion!r}; there are {', '.join(PIXEL_LOSSES)}")
    if not layers:
        raise ConfigError("a perceptual loss without layers: name some with their weights, such as conv5_4 = 1.0")
    return PerceptualLoss(layers, PIXEL_LOSSES[criterion], load_vgg19(layers, path))
