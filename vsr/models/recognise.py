"""Which of our own networks a checkpoint's weights are for: by names and shapes alone, under any of the field's layouts.

What is recognised runs as our networks do (exact halo, fast engines); everything else is left to `vsr.models.community`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vsr.errors import ModelError
from vsr.models import compact, edsr, edvr_names, mdsr, rrdb, span, srresnet, zoo
from vsr.models.spec import Option

State = Mapping[str, Tensor]

# Where checkpoints keep the weights, the averaged ones first: they are what the authors publish and test.
WRAPPERS = ("params_ema", "params-ema", "ema", "params", "model_state_dict", "state_dict", "generator", "net_g", "model", "net")
# What DataParallel and training programs put before the names; weights beside them (a discriminator's) are not the generator's.
PREFIXES = ("module.", "generator_ema.", "generator.", "netG.", "net_g.", "_orig_mod.")
# Lightning's, by the attribute that holds the network; ESRGAN's release of 2018 has a number behind it, and is left alone.
ATTRIBUTES = re.compile(r"(model|net)\.(?=\D)")
MOST_WRAPPED = 8  # one inside the other; a file can hold itself


@dataclass(frozen=True)
class Recognised:
    """An architecture of `zoo.ARCHITECTURES`, what to build it with, and its weights under its own names, float32."""

    architecture: str
    options: Mapping[str, Option]
    state: dict[str, Tensor]


@dataclass(frozen=True)
class Rule:
    """How one network knows its weights. Both functions live in the network's own file.

    options_from  what it was built with; None for another network's weights. It may be wrong: every shape is compared afterwards
    renamed       its own names for those of other layouts; what it does not know, it leaves as it is
    scales        of networks that hold several, whose option "scale" says which one runs
    """

    architecture: str
    options_from: Callable[[State], dict[str, Option] | None]
    renamed: Callable[[State], dict[str, Tensor]] = dict
    scales: tuple[int, ...] = ()


# One line for each network whose checkpoints can be told by their tensors.
RULES: tuple[Rule, ...] = (
    Rule("RRDBNet", rrdb.options_from, rrdb.renamed),
    Rule("SRVGGNetCompact", compact.options_from),
    Rule("SRResNet", srresnet.options_from),
    Rule("SPAN", span.options_from, span.renamed),
    Rule("EDSR", edsr.options_from, edsr.renamed),
    Rule("MDSR", mdsr.options_from, scales=edsr.SCALES),
    Rule("EDVR", edvr_names.options_from, edvr_names.renamed),
)


def recognise(content: Mapping[str, Any], target_scale: float) -> Recognised | None:
    """The network of a checkpoint's content (still wrapped as its author saved it); None when it is none of ours.

    `target_scale` chooses among the scales of a network that holds several.
    """
    state = unwrap(content)
    for rule in RULES if state else ():
        ours, options = _options(rule, state)
        if options is None:
            continue
        options = at_scale(rule.architecture, options, target_scale)
        if _shapes(rule.architecture, options) == {name: tuple(tensor.shape) for name, tensor in ours.items()}:
            return Recognised(rule.architecture, options, {name: _wide(tensor) for name, tensor in ours.items()})
    return None


def _options(rule: Rule, state: State) -> tuple[Mapping[str, Tensor], dict[str, Option] | None]:
    """The weights under the rule's names, and what it makes of them. A rule counts on the shapes that its names promise."""
    try:
        ours = rule.renamed(state)
        return ours, rule.options_from(ours)
    except (IndexError, KeyError, ValueError, ArithmeticError, RuntimeError):  # familiar names with other shapes
        return state, None


def _wide(tensor: Tensor) -> Tensor:
    """In float32, but for what counts."""
    return tensor.detach().float() if tensor.is_floating_point() else tensor.detach()


def at_scale(architecture: str, options: Mapping[str, Option], target_scale: float) -> dict[str, Option]:
    """The options, with the nearest scale at or above `target_scale` (else the largest) where the network holds several."""
    scales = scales_of(architecture)
    if not scales:
        return dict(options)
    return {**options, "scale": next((scale for scale in scales if scale >= target_scale), scales[-1])}


def scales_of(architecture: str) -> tuple[int, ...]:
    """All scales of a network that holds several; () for any other."""
    return next((rule.scales for rule in RULES if rule.architecture == architecture), ())


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The generator's tensors by name, out of whatever its author saved around them."""
    for _ in range(MOST_WRAPPED):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    state = {name: tensor for name, tensor in content.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
    for prefix in PREFIXES:
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    if any(ATTRIBUTES.match(name) for name in state):
        state = {ATTRIBUTES.sub("", name, count=1): tensor for name, tensor in state.items() if ATTRIBUTES.match(name)}
    return state


def _shapes(architecture: str, options: Mapping[str, Option]) -> dict[str, tuple[int, ...]] | None:
    """Names and shapes of the network's tensors; None when there is no network of these options."""
    module, _, name = zoo.ARCHITECTURES[architecture].partition(":")
    try:
        with torch.device("meta"):
            network: torch.nn.Module = getattr(importlib.import_module(module), name)(**options)
    except (ModelError, ArithmeticError, RuntimeError):
        return None
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
