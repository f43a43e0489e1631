"""Network interpolation (ESRGAN, Wang et al. 2018, arXiv:1809.00219, section 3.4): weights between those of two networks.

It needs two networks of one family: one trained on from the other, or both from the same. Between strangers there is only noise.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from vsr.errors import ModelError
from vsr.models import zoo
from vsr.models.stored import Origin, Stored, digest

NEARER = 0.5  # from here on, what cannot be interpolated (counters) is the second network's


def blend(first: Stored, second: Stored, alpha: float) -> Stored:
    """Weights `alpha` of the way from `first` (0) to `second` (1), both ends to the byte.

    Everything that is a real number goes along: biases, PReLU slopes, batch norm's running figures. Raises ModelError, naming the
    first difference, for two networks of different build, and for an `alpha` outside 0..1.
    """
    if not 0 <= alpha <= 1:  # which a NaN is not, either
        raise ModelError(f"blend {alpha}: between the two networks is from 0 to 1")
    require_same(first, second)
    state = {name: _between(tensor, second.state[name], alpha) for name, tensor in first.state.items()}
    source = f"{alpha:g} of the way from {first.sha256[:12]} to {second.sha256[:12]}"
    # With those further up: a blend of blends is still of the family.
    parents = tuple(dict.fromkeys((first.sha256, second.sha256, *first.origin.parents, *second.origin.parents)))
    origin = replace(first.origin, source=source, source_sha256="", parents=parents, notes={})
    return Stored(state, origin, digest(state))


def require_same(first: Stored, second: Stored) -> None:
    """Raise ModelError, naming the first difference, unless both are weights of the same network."""
    one, other = first.origin, second.origin
    if one.architecture != other.architecture:
        raise ModelError(f"{one.architecture} and {other.architecture} cannot be blended: give two checkpoints of one network")
    for name in sorted(first.state.keys() | second.state.keys()):
        if name not in first.state or name not in second.state:
            has = "first" if name in first.state else "second"
            raise ModelError(f"two different {one.architecture}s cannot be blended: only the {has} has {name}")
        ours, theirs = _kind(first.state[name]), _kind(second.state[name])
        if ours != theirs:
            raise ModelError(
                f"two different {one.architecture}s cannot be blended: {name} is {ours} in one, {theirs} in the other"
            )
    for key in sorted(one.options.keys() | other.options.keys()):
        ours, theirs = str(one.options.get(key, "unset")), str(other.options.get(key, "unset"))
        if ours != theirs:
            raise ModelError(
                f"two different {one.architecture}s cannot be blended: {key} is {ours} in one, {theirs} in the other"
            )


def stranger_warning(first: Stored, second: Stored) -> str | None:
    """What to say of two networks that are not known to be of one family; None when they are."""
    if first.sha256 == second.sha256 or _family(first) & _family(second) or _twins(first.origin, second.origin):
        return None
    known = bool(first.origin.parents) and bool(second.origin.parents)
    told = "were not trained from one another, nor from the same" if known else "may be strangers: what they come from is unknown"
    return f"the two networks {told}; if the picture is noise, that is why"


def _between(first: Tensor, second: Tensor, alpha: float) -> Tensor:
    if alpha in (0, 1) or not first.is_floating_point():
        return (first if alpha < NEARER else second).clone()
    # In float64 and rounded once: the same everywhere, and no way round gives other bytes.
    return ((1 - alpha) * first.double() + alpha * second.double()).to(first.dtype)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _family(weights: Stored) -> set[str]:
    return {weights.sha256, *weights.origin.parents}


def _twins(first: Origin, second: Origin) -> bool:
    """Are they the two weights of one name of the zoo, converted as they may be?"""
    names = {_zoo_name(first), _zoo_name(second)}
    return any(name in names and zoo.ZOO[name].psnr_twin in names - {None} for name in zoo.names())


def _zoo_name(origin: Origin) -> str | None:
    for name, entry in zoo.ZOO.items():
        digests = {network.weights.sha256 for network in entry.networks if network.weights}
        if origin.source_sha256 and origin.source_sha256 in digests:
            return name
    return None
