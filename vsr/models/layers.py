"""What a network is made of, in the notation of the papers: "k9n64s1" is a 9x9 convolution to 64 channels with stride 1.

Found by running it without data (torch's meta device) and writing down every operation, so it says what the code does and not
what somebody wrote about it. Views, slices and changes of type are left out. Repetitions are folded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vsr.errors import ModelError
from vsr.models.spec import Generator

MAX_LINE = 110  # characters of a folded block on one line


@dataclass(frozen=True)
class Block:
    """`times` equal runs of layers, one after the other; `name` is the class of the module that each of them is, or ""."""

    name: str
    times: int
    layers: tuple[Block | str, ...]


Item = Block | str


def layers_of(generator: Generator) -> tuple[Item, ...]:
    """The layers of one output frame in the order in which they run; () where nothing is computed.

    Raises ModelError for a network that cannot be run without data.
    """
    spec = generator.spec
    side = -(-max(64, spec.min_size) // spec.multiple_of) * spec.multiple_of
    frames = torch.empty(1, 3, side, side, device="meta")
    trace = _Trace()
    try:
        shadow: Any = copy.deepcopy(generator).to("meta")  # a copy: some networks keep tensors from their last run
        if isinstance(shadow, nn.Module):
            shadow.eval()
        with torch.no_grad(), _blocks(shadow, trace), trace:
            features = shadow.features(frames)
            shadow.reconstruct(features[:, None].expand(-1, 2 * spec.context + 1, *features.shape[1:]))
    except (
        Exception
    ) as exc:  # data-dependent control flow, or tensors outside the state dict: any error of the network's own code
        raise ModelError(f"{spec.name}: {spec.architecture} cannot be run without data, so its layers are not known") from exc
    return _fold(trace.items)


def lines(items: Iterable[Item], indent: str = "") -> Iterator[str]:
    """As text: one layer a line, a folded block on one line where it fits, else its layers below it."""
    for item in items:
        if isinstance(item, str):
            yield indent + item
            continue
        head = f"{indent}{item.times} x {item.name}".rstrip()
        whole = f"{head}: {', '.join(layer for layer in item.layers if isinstance(layer, str))}"
        if all(isinstance(layer, str) for layer in item.layers) and len(whole) <= MAX_LINE:
            yield whole
        else:
            yield f"{head}:"
            yield from lines(item.layers, indent + "    ")


class _Trace(TorchFunctionMode):
    """Writes operations into the innermost open block."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[list[Item]] = [[]]

    @property
    def items(self) -> list[Item]:
        return self.open[0]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        text = _say(getattr(func, "__name__", ""), args, kwargs or {}, result)
        if text:
            self.open[-1].append(text)
        return result


@contextmanager
def _blocks(generator: object, trace: _Trace) -> Iterator[None]:
    """Each module that is not torch's own opens a block while it runs."""

    def enter(module: nn.Module, _: object) -> None:
        trace.open.append([])

    def leave(module: nn.Module, _: object, __: object) -> None:
        inside = trace.open.pop()
        if inside:
            trace.open[-1].append(Block(type(module).__name__, 1, _fold(inside)))

    hooks = []
    for module in generator.modules() if isinstance(generator, nn.Module) else ():
        if not type(module).__module__.startswith("torch.nn."):
            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _fold(items: list[Item]) -> tuple[Item, ...]:
    """Repetitions become one block; a block that is not repeated is taken apart, since its name says less than its layers."""
    folded: list[Item] = []
    at = 0
    while at < len(items):
        period, times = _repetition(items, at)
        run, at = items[at : at + period * times], at + period * times
        first = run[0]
        if times > 1 and period == 1 and isinstance(first, Block):
            folded.append(Block(first.name, times, first.layers))
        elif times > 1:
            folded.append(Block("", times, tuple(run[:period])))
        elif isinstance(first, Block) and first.times == 1:
            folded += first.layers
        else:
            folded += run
    return tuple(folded)


def _repetition(items: list[Item], at: int) -> tuple[int, int]:
    """(how many items, how often) of the longest repetition that begins here; (1, 1) for none. Plain layers fold from three."""
    best = (1, 1)
    for period in range(1, (len(items) - at) // 2 + 1):
        first, times = items[at : at + period], 1
        while items[at + period * times : at + period * (times + 1)] == first:
            times += 1
        enough = 2 if any(isinstance(item, Block) for item in first) else 3
        if times >= enough and period * times > best[0] * best[1]:
            best = (period, times)
    return best


# What has no place in the notation: shapes, views, types, and reading attributes.
_SILENT = frozenset(
    (
        *("__get__", "__set__", "__delete__", "__getitem__", "__len__", "__bool__", "__hash__", "size", "dim", "ndim", "numel"),
        *("stride", "view", "view_as", "reshape", "reshape_as", "permute", "transpose", "t", "mT", "contiguous", "flatten"),
        *("unflatten", "unsqueeze", "squeeze", "expand", "expand_as", "repeat", "tile", "chunk", "split", "unbind", "narrow"),
        *("select", "stack", "pad", "movedim", "swapaxes", "to", "float", "half", "type", "type_as", "clone", "detach", "copy_"),
        *("empty_like", "zeros_like", "ones_like", "new_zeros", "new_empty", "new_tensor", "is_contiguous", "requires_grad_"),
    )
)
_NAMES = {
    "batch_norm": "BN",
    "layer_norm": "LN",
    "instance_norm": "IN",
    "group_norm": "GN",
    "prelu": "PReLU",
    "relu": "ReLU",
    "relu_": "ReLU",
    "gelu": "GELU",
    "silu": "SiLU",
    "cat": "concat",
    "concat": "concat",
    "__matmul__": "matmul",
    "bmm": "matmul",
}
_SIGNS = {"add": "add", "radd": "add", "iadd": "add", "sub": "subtract", "rsub": "subtract", "isub": "subtract"}
_SIGNS |= {"mul": "multiply", "rmul": "multiply", "imul": "multiply", "div": "divide", "truediv": "divide", "itruediv": "divide"}


def _say(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: object) -> str:
    """One operation in the papers' words; "" for one without a place in them."""
    plain = name.strip("_")
    if not isinstance(result, Tensor) or name in _SILENT:
        return ""
    if plain in ("conv2d", "conv_transpose2d"):
        return _convolution(plain, args, kwargs)
    if plain in _SIGNS:
        return _arithmetic(_SIGNS[plain], args)
    if plain == "linear":
        return f"dense {result.shape[-1]}"
    if plain == "leaky_relu":
        return f"LeakyReLU {kwargs.get('negative_slope', args[1] if len(args) > 1 else 0.01):g}"
    if plain == "pixel_shuffle":
        return f"PixelShuffle x{args[1] if len(args) > 1 else kwargs['upscale_factor']}"
    if plain == "pixel_unshuffle":
        return f"PixelUnshuffle /{args[1] if len(args) > 1 else kwargs['downscale_factor']}"
    if plain == "interpolate":
        return f"{kwargs.get('mode', 'nearest')} x{result.shape[-1] / args[0].shape[-1]:g}"
    if plain in ("cat", "concat"):
        return f"concat n{result.shape[1]}" if result.ndim == 4 else "concat"
    return _NAMES.get(name, plain)


def _convolution(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """F.conv2d(x, weight, bias, stride, padding, dilation, groups); F.conv_transpose2d(.., output_padding, groups, ..)."""
    weight: Tensor = args[1]
    direct = name == "conv2d"
    stride = _single(kwargs.get("stride", args[3] if len(args) > 3 else 1))
    groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
    dilation = _single(kwargs.get("dilation", args[5] if len(args) > 5 else 1)) if direct else "1"
    channels = weight.shape[0] if direct else weight.shape[1] * groups
    text = f"k{_single(tuple(weight.shape[2:]))}n{channels}s{stride}"
    text += (f"d{dilation}" if dilation != "1" else "") + (f"g{groups}" if groups != 1 else "")
    return text if direct else f"transposed {text}"


def _single(value: Any) -> str:
    values = list(value) if isinstance(value, (tuple, list, torch.Size)) else [value]
    return str(values[0]) if len(set(values)) == 1 else "x".join(str(v) for v in values)


def _arithmetic(word: str, args: tuple[Any, ...]) -> str:
    """Two pictures: the word. A picture and numbers: what is done to it."""
    one, other = args[0], args[1]
    number = next((value for value in (one, other) if not isinstance(value, Tensor)), None)
    if number is not None:
        return f"{word} {number:g}" if isinstance(number, (int, float)) else word
    smaller = min(one.numel(), other.numel())
    return word if smaller == max(one.numel(), other.numel()) else f"{word} {smaller} number{'s' * (smaller > 1)}"
