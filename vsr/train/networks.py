"""The networks that are trained: built from a recipe, begun from a seed or from other weights."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from vsr.errors import ConfigError, ModelError
from vsr.models import checkpoints, discriminators, weights, zoo
from vsr.models.community import CommunityNetwork
from vsr.models.single import Network
from vsr.models.spec import Option
from vsr.models.stored import Stored
from vsr.recipe import LossRecipe, NetworkRecipe, recipe_names

_SHOWN = 4  # names of tensors in one sentence


@dataclass(frozen=True)
class Begun:
    """A generator with what it began from: `parents` as `vsr.models.stored.Origin` has them, `notes` for people.

    `options` are what it is built with; None for a network that is not ours, whose weights are kept as they came.
    """

    network: Network
    options: Mapping[str, Option] | None
    parents: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def build_generator(recipe: NetworkRecipe, seed: int, init: str = "") -> Begun:
    """The recipe's generator with random weights of this seed, or those of `init` (a model's name or a file) as far as they fit.

    Where `init` is of the same architecture, its options hold where the recipe says nothing: an SRResNet with a tanh at its end
    is another function without it, though all its weights fit.

    Raises ConfigError for options that it does not take, ModelError and WeightsError for weights that cannot be had, or of which
    nothing fits.
    """
    if not recipe.architecture:
        return _whole(init, float(max(recipe.scales)), seed)
    if recipe.architecture not in zoo.ARCHITECTURES:
        raise ConfigError(f"network.architecture: {recipe.architecture} is not known; there are {', '.join(zoo.ARCHITECTURES)}")
    scale = max(recipe.scales)
    module, _, name = zoo.ARCHITECTURES[recipe.architecture].partition(":")
    kind = getattr(importlib.import_module(module), name)
    takes = {"scale", "upscale"} & inspect.signature(kind).parameters.keys()
    begun = _read_init(init, scale) if init else None
    theirs = begun.origin.options if begun is not None and begun.origin.architecture == recipe.architecture else {}
    options: dict[str, Option] = {**theirs, **recipe.options, **dict.fromkeys(takes, scale)}
    try:
        with seeded(seed):
            network: Network = kind(**options)
    except TypeError as exc:
        raise ConfigError(f"network.options: {recipe.architecture} does not take them: {exc}") from exc
    if network.spec.scale != scale:
        raise ConfigError(f"network.scales: {recipe.architecture} with these options is of x{network.spec.scale}, not x{scale}")
    return Begun(network, options) if begun is None else _begun_from(network, options, init, begun)


def _whole(init: str, scale: float, seed: int) -> Begun:
    """The network of `init` itself, with its weights."""
    if not init:
        raise ConfigError("network.architecture: is missing, and there is no train.init (--init MODEL|PATH) to take it from")
    known = checkpoints.read(init, scale)
    origin = known.weights.origin
    if known.ours:
        _require_scale(init, origin.scale, scale)
        own = {name: value for name, value in origin.options.items() if name not in ("scale", "upscale")}
        return build_generator(NetworkRecipe(origin.architecture, (int(scale),), own), seed, init)
    network = weights.load(init, scale)
    assert isinstance(network, CommunityNetwork)
    _require_scale(init, network.spec.scale, scale)
    note = f"begun from {init}: {network.spec.architecture}, all of it"
    return Begun(network.requires_grad_(True), None, (known.weights.sha256,), (note,))


def _require_scale(init: str, its: int | None, wanted: float) -> None:
    if its is not None and its != wanted:
        raise ConfigError(f"network.scales: {init} is a network of x{its}, not x{wanted:g}; give --set network.scales=[{its}]")


def _read_init(init: str, scale: int) -> Stored:
    if init.endswith(checkpoints.SUFFIX) and not Path(init).is_file():
        name = Path(init).stem
        how = f" (vsr train {name})" if name in recipe_names() else ""
        raise ConfigError(
            f"train.init = {init}: is not here. Train it first{how} and give its path with --init, or "
            "begin from nothing with --set train.init=''"
        )
    return checkpoints.read(init, float(scale)).weights


def _begun_from(network: Network, options: Mapping[str, Option], init: str, begun: Stored) -> Begun:
    mine = network.state_dict()
    fitting = {name: tensor for name, tensor in begun.state.items() if name in mine and mine[name].shape == tensor.shape}
    if not any(tensor.dim() > 1 for tensor in fitting.values()):
        raise ModelError(f"train.init = {init}: none of its weights fits {network.spec.architecture}; begin from another")
    network.load_state_dict({**mine, **{name: tensor.to(mine[name].dtype) for name, tensor in fitting.items()}})
    notes = [f"begun from {init}: {len(fitting)} of {len(mine)} tensors"]
    notes += _named("new, since it has none that fit", mine.keys() - fitting.keys())
    notes += _named("left behind", begun.state.keys() - fitting.keys())
    return Begun(network, options, (begun.sha256, *begun.origin.parents), tuple(notes))


def _named(what: str, names: set[str]) -> list[str]:
    shown = sorted(names)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return [f"{what}: {', '.join(shown[:_SHOWN])}{more}"] if shown else []


def build_critic(recipe: LossRecipe, side: int, seed: int) -> nn.Module | None:
    """The discriminator for pictures of `side` pixels, with random weights of this seed; None for a recipe without one.

    Raises ConfigError for one that is not known or does not take such pictures.
    """
    if recipe.adversarial == "none":
        return None
    known = {name: kind for name, kind in vars(discriminators).items() if isinstance(kind, type) and issubclass(kind, nn.Module)}
    if recipe.discriminator not in known:
        raise ConfigError(f"loss.discriminator: {recipe.discriminator} is not known; there are {', '.join(sorted(known))}")
    kind, options = known[recipe.discriminator], dict(recipe.discriminator_options)
    if "input_size" in inspect.signature(kind).parameters:
        options["input_size"] = side
    try:
        with seeded(seed + 1):  # not the generator's numbers again
            critic: nn.Module = kind(**options)
    except (TypeError, ValueError, ModelError) as exc:
        raise ConfigError(f"loss.discriminator: {recipe.discriminator} for pictures of {side}x{side}: {exc}") from exc
    return critic


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What is drawn inside follows from the seed; what is drawn after, from what was before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
