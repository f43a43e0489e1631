"""The models that can be asked for by name, and how to build any network by its architecture. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from vsr.errors import ModelError
from vsr.models.entries import ENTRIES
from vsr.models.sources import NoWeights, ZooEntry
from vsr.models.spec import ModelSpec

# architecture -> "module:class" that builds it from `Network.options`
ARCHITECTURES: Mapping[str, str] = MappingProxyType(
    {
        "RRDBNet": "vsr.models.rrdb:RRDBNet",
        "SRVGGNetCompact": "vsr.models.compact:SRVGGNetCompact",
        "SRResNet": "vsr.models.srresnet:SRResNet",
        "SPAN": "vsr.models.span:SPAN",
        "EDSR": "vsr.models.edsr:EDSR",
        "MDSR": "vsr.models.mdsr:MDSR",
        "Bicubic": "vsr.models.bicubic:Bicubic",
        "EDVR": "vsr.models.edvr:EDVR",
    }
)


ZOO: Mapping[str, ZooEntry] = MappingProxyType({entry.name: entry for entry in ENTRIES})


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


# A cheaper way has to be worth a sentence.
WORTH_SAYING = 2.0


def cheaper_ways(spec: ModelSpec, factor: float) -> Iterator[str]:
    """What it costs to compute a larger picture than is wanted, where a model of a nearer native scale is far cheaper.

    spec    of the network that was chosen        factor  the enlargement that is wanted
    """
    if spec.scale is None or spec.scale <= factor:
        return
    nearer = [
        (network.spec.mflop_per_pixel, name, network.spec.scale)
        for name, found in ZOO.items()
        for network in found.networks
        if network.spec.scale and factor <= network.spec.scale < spec.scale and not isinstance(network.weights, NoWeights)
    ]
    if not nearer:
        return
    mflop, name, scale = min(nearer)
    if mflop * WORTH_SAYING <= spec.mflop_per_pixel:
        directly = "directly" if scale == factor else f"from x{scale}"
        yield (
            f"x{factor:g} wanted: {spec.name} computes x{spec.scale} and shrinks, {spec.mflop_per_pixel:.1f} MFLOP a pixel; "
            f"{name} computes x{factor:g} {directly}, {mflop:.1f}"
        )
