"""The critics of adversarial training: SRGAN's, ESRGAN's and Real-ESRGAN's. They are trained with, never run by the engine.

All take (N, 3, H, W) RGB 0..1 and give logits: a positive one says "a photograph". ESRGAN's and Real-ESRGAN's have the parameter
names of BasicSR, so its files load with strict=True.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from vsr.errors import ModelError

LEAK = 0.2


def _check(name: str, x: Tensor, side: int) -> None:
    if x.ndim != 4 or tuple(x.shape[1:]) != (3, side, side):
        raise ModelError(f"{name} takes pictures of (N, 3, {side}, {side}), not {tuple(x.shape)}; crop them to {side}x{side}")


class SRGANDiscriminator(nn.Module):
    """(N, 3, 96, 96) -> (N, 1) logits: figure 4 of Ledig et al. 2017 (arXiv:1609.04802).

    Eight 3x3 convolutions of 64 to 512 channels, strides 1 and 2 in turn, batch normalisation after all but the first, then two
    dense layers, which fix the size of the input. Raises ModelError for another size, or one that is no multiple of 16.
    """

    def __init__(self, input_size: int = 96, *, num_feat: int = 64) -> None:
        super().__init__()
        if input_size < 16 or input_size % 16:
            raise ModelError(f"SRGANDiscriminator for {input_size}x{input_size}: the side must be a multiple of 16")
        self.input_size = input_size
        layers: list[nn.Module] = [nn.Conv2d(3, num_feat, 3, padding=1), nn.LeakyReLU(LEAK, inplace=True)]
        widths = [num_feat * factor for factor in (1, 1, 2, 2, 4, 4, 8, 8)]
        for index, (wide, wider) in enumerate(pairwise(widths)):
            # With a bias, which the normalisation makes idle: the published Keras weights have one.
            layers.append(nn.Conv2d(wide, wider, 3, stride=1 + (index + 1) % 2, padding=1))
            layers += [nn.BatchNorm2d(wider), nn.LeakyReLU(LEAK, inplace=True)]
        self.features = nn.Sequential(*layers)  # (N, 3, S, S) -> (N, 512, S/16, S/16)
        inside = widths[-1] * (input_size // 16) ** 2
        self.classifier = nn.Sequential(nn.Linear(inside, 1024), nn.LeakyReLU(LEAK, inplace=True), nn.Linear(1024, 1))

    def forward(self, x: Tensor) -> Tensor:
        _check("SRGANDiscriminator", x, self.input_size)
        logits: Tensor = self.classifier(self.features(x * 2 - 1).flatten(1))  # it was trained on -1..1
        return logits

    def probability(self, x: Tensor) -> Tensor:
        """(N, 1) in 0..1: how likely each is a photograph; the paper's last layer, left out of `forward` for the losses."""
        return torch.sigmoid(self(x))


class VGGStyleDiscriminator(nn.Module):
    """(N, 3, 128, 128) -> (N, 1) logits: ESRGAN's (Wang et al. 2018, arXiv:1809.00219), for 128 or 256 pixels a side.

    Every second convolution is 4x4 with stride 2, down to 4x4 pixels. Raises ModelError for another size.
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, input_size: int = 128) -> None:
        super().__init__()
        if input_size not in (128, 256):
            raise ModelError(f"VGGStyleDiscriminator for {input_size}x{input_size}: only 128 and 256 exist")
        self.input_size = input_size
        self.levels = 5 if input_size == 128 else 6
        widths = [num_in_ch, *(num_feat * factor for factor in (1, 2, 4, 8, 8, 8)[: self.levels])]
        for level, (wide, wider) in enumerate(pairwise(widths)):
            self.add_module(f"conv{level}_0", nn.Conv2d(wide, wider, 3, padding=1, bias=level == 0))
            if level:
                self.add_module(f"bn{level}_0", nn.BatchNorm2d(wider))
            self.add_module(f"conv{level}_1", nn.Conv2d(wider, wider, 4, stride=2, padding=1, bias=False))
            self.add_module(f"bn{level}_1", nn.BatchNorm2d(wider))
        self.linear1 = nn.Linear(widths[-1] * 4 * 4, 100)
        self.linear2 = nn.Linear(100, 1)

    def forward(self, x: Tensor) -> Tensor:
        _check("VGGStyleDiscriminator", x, self.input_size)
        for level in range(self.levels):
            for half in (0, 1):  # (N, C, s, s) -> (N, C', s, s) -> (N, C', s/2, s/2)
                x = self.get_submodule(f"conv{level}_{half}")(x)
                if level or half:
                    x = self.get_submodule(f"bn{level}_{half}")(x)
                x = F.leaky_relu(x, LEAK, inplace=True)
        logits: Tensor = self.linear2(F.leaky_relu(self.linear1(x.flatten(1)), LEAK, inplace=True))
        return logits


class UNetDiscriminatorSN(nn.Module):
    """(N, 3, H, W) -> (N, 1, H, W) logits, one for every pixel: Real-ESRGAN's (Wang et al. 2021, arXiv:2107.10833).

    A U-Net with spectral normalisation. Raises ModelError when H or W is no multiple of 8: its three halvings must fit back.
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, *, skip_connection: bool = True) -> None:
        super().__init__()
        self.skip_connection = skip_connection

        def down(wide: int, wider: int) -> nn.Module:
            return spectral_norm(nn.Conv2d(wide, wider, 4, stride=2, padding=1, bias=False))

        def flat(wide: int, narrow: int) -> nn.Module:
            return spectral_norm(nn.Conv2d(wide, narrow, 3, padding=1, bias=False))

        self.conv0 = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.conv1 = down(num_feat, num_feat * 2)
        self.conv2 = down(num_feat * 2, num_feat * 4)
        self.conv3 = down(num_feat * 4, num_feat * 8)
        self.conv4 = flat(num_feat * 8, num_feat * 4)
        self.conv5 = flat(num_feat * 4, num_feat * 2)
        self.conv6 = flat(num_feat * 2, num_feat)
        self.conv7 = flat(num_feat, num_feat)
        self.conv8 = flat(num_feat, num_feat)
        self.conv9 = nn.Conv2d(num_feat, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.conv0.in_channels or x.shape[2] % 8 or x.shape[3] % 8:
            raise ModelError(
                f"UNetDiscriminatorSN takes pictures of (N, 3, H, W) with sides in multiples of 8, not {tuple(x.shape)}"
            )
        skips = [F.leaky_relu(self.conv0(x), LEAK)]  # whole size, then a half, a quarter, an eighth
        for conv in (self.conv1, self.conv2, self.conv3):
            skips.append(F.leaky_relu(conv(skips[-1]), LEAK))
        x = skips.pop()
        for conv in (self.conv4, self.conv5, self.conv6):
            x = F.leaky_relu(conv(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)), LEAK)
            skip = skips.pop()
            if self.skip_connection:
                x = x + skip
        x = F.leaky_relu(self.conv7(x), LEAK)
        logits: Tensor = self.conv9(F.leaky_relu(self.conv8(x), LEAK))
        return logits
