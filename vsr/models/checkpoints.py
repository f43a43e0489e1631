"""Weights by name or path, without running their network: what `vsr models convert` and `vsr models blend` read and write."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vsr import names
from vsr.errors import ModelError, UsageError, WeightsError
from vsr.models import blend, community, stored, weights, zoo
from vsr.models.recognise import recognise
from vsr.models.spec import Option
from vsr.models.stored import Origin, Stored

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Weights with where they come from; `ours`: of a network in `zoo.ARCHITECTURES`, which the origin says how to build."""

    weights: Stored
    ours: bool
    warnings: tuple[str, ...] = ()


def read(model: str, target_scale: float) -> Checkpoint:
    """The weights of a zoo name or of any checkpoint that can be loaded; `target_scale` chooses as in `weights.load`.

    Raises ModelError for a name without weights, and whatever loading it would raise.
    """
    if model not in zoo.ZOO and weights.is_path(model):
        return _read_file(Path(model), target_scale)
    network = zoo.entry(model).nearest(target_scale)
    if network.weights is None:
        raise ModelError(f"model {model}: has no weights, as it is no network")
    kept, warnings = weights.weights_of(network)
    return Checkpoint(_spelled_out(kept), True, warnings)


def write(path: Path, checkpoint: Checkpoint, *, overwrite: bool = False) -> None:
    """Write a .safetensors file whole or not at all: of ours with all that is known, of others the tensors alone.

    Raises ConfigError for another suffix, a missing folder, or a file that is there and may not be replaced; WeightsError when it
    cannot be written.
    """
    require_free(path, SUFFIX, overwrite=overwrite)
    try:
        if checkpoint.ours:
            stored.write(path, checkpoint.weights.state, checkpoint.weights.origin)
        else:
            stored.write_plain(path, checkpoint.weights.state)
    except OSError as exc:
        raise WeightsError(f"{path}: cannot be written ({exc.strerror}); choose another place") from exc


def halved(checkpoint: Checkpoint) -> Checkpoint:
    """The weights in half precision: half the bytes, and less than 1/2000 of each number lost. Raises WeightsError where one is
    beyond its range."""
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in checkpoint.weights.state.items()}
    for name, tensor in state.items():
        if not bool(tensor.isfinite().all()):
            raise WeightsError(f"{name}: holds numbers that half precision cannot; leave --half out")
    kept = checkpoint.weights
    origin = replace(kept.origin, parents=tuple(dict.fromkeys((kept.sha256, *kept.origin.parents))))
    return replace(checkpoint, weights=Stored(state, origin, stored.digest(state)))


def require_free(path: Path, suffix: str, *, overwrite: bool) -> None:
    """Raise ConfigError, with what to do, unless a file of this suffix may be written at `path`."""
    if path.suffix.lower() != suffix:
        raise UsageError(f"{path}: the output's name must end in {suffix}")
    names.require_free(path, "", overwrite, option="")


def blended(first: str, second: str, alpha: float, target_scale: float) -> Checkpoint:
    """Weights `alpha` of the way from one checkpoint to another, as `vsr.models.blend` does it, with its warnings."""
    one, other = read(first, target_scale), read(second, target_scale)
    mixed = blend.blend(one.weights, other.weights, alpha)
    mixed = replace(mixed, origin=replace(mixed.origin, source=f"{alpha:g} of the way from {first} to {second}"))
    stranger = blend.stranger_warning(one.weights, other.weights)
    warnings = (*one.warnings, *other.warnings, *([stranger] if stranger else []))
    return Checkpoint(mixed, one.ours, warnings)


def _read_file(path: Path, target_scale: float) -> Checkpoint:
    spec = weights.load(str(path), target_scale).spec  # raises for all that could not be run
    own = stored.read(path) if path.suffix.lower() == SUFFIX else None
    if own is not None:
        return Checkpoint(_spelled_out(own), True)
    content = community.read(path)
    known = recognise(content, target_scale)
    if known is not None:
        origin = Origin(known.architecture, known.options, spec.scale, path.name)
        return Checkpoint(_spelled_out(Stored(known.state, origin, spec.weights_sha256)), True)
    origin = Origin(spec.architecture, {}, spec.scale, path.name)
    return Checkpoint(Stored(community.tensors(content), origin, spec.weights_sha256), False, spec.warnings)


def _spelled_out(kept: Stored) -> Stored:
    """With every option of the network, so that two ways to write the same are one."""
    origin = kept.origin
    return replace(kept, origin=replace(origin, options=_all_options(origin.architecture, origin.options)))


def _all_options(architecture: str, options: Mapping[str, Option]) -> dict[str, Option]:
    module, _, name = zoo.ARCHITECTURES[architecture].partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
    defaults = {p.name: p.default for p in parameters if isinstance(p.default, int | float | str | bool)}
    return {**defaults, **options}
