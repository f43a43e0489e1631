"""Reader of ncnn's weight files (.param text graph, .bin blobs), for the few layers that super-resolution nets use.

Format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure. The library itself is not needed, and no code of
the file runs. The .bin has no index: blobs lie one after another in graph order, so one unknown layer would shift all that
follow; such a graph is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vsr.errors import WeightsError

Array = npt.NDArray[np.float32]
Value = int | float | tuple[float, ...]

MAGIC = "7767517"
FLAG_FP32_RAW = 0x00000000
FLAG_FP32 = 0x0002C056
FLAG_FP16 = 0x01306B47
# Layers without weights that these graphs hold.
WEIGHTLESS = frozenset(
    {"Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle", "ReLU", "Sigmoid", "Swish", "Noop"}
)
CONSTANT = "MemoryData"  # numbers that the graph computes with and that were never learnt: a mean colour, say


@dataclass(frozen=True)
class Layer:
    """One line of the graph with its weights: a convolution's (out, in, k, k) and (out,), a PReLU's (channels,), a constant."""

    kind: str
    name: str
    options: Mapping[int, Value]
    blobs: tuple[Array, ...] = ()


def read(param: Path, binary: Path) -> tuple[Layer, ...]:
    """The graph's layers in order, weights as float32.

    Raises WeightsError, naming the file: missing, not an ncnn file, truncated, longer than its graph, or with a layer or a
    number format that is not read here.
    """
    graph = _read_graph(param)
    blobs = _Blobs(binary)
    layers = tuple(Layer(g.kind, g.name, g.options, _weights(g, blobs)) for g in graph)
    if blobs.left:
        raise WeightsError(f"{binary}: {blobs.left} bytes more than {param.name} describes; the two files do not belong together")
    return layers


def match(layers: tuple[Layer, ...], shapes: Mapping[str, tuple[int, ...]], origin: Path) -> dict[str, Array]:
    """Name the weights of `layers` as `shapes` (a network's state dict: name -> shape, in order) does.

    Both orders are the order of execution, so the n-th blob is the n-th parameter; each shape must agree. Constants are left
    out: the network's own code holds them.
    Raises WeightsError when the graph is that of another network.
    """
    blobs = [(layer.name, blob) for layer in layers if layer.kind != CONSTANT for blob in layer.blobs]
    if len(blobs) != len(shapes):
        raise WeightsError(f"{origin}: {len(blobs)} weight tensors, the network has {len(shapes)}; it is another network's")
    for (layer, blob), (name, shape) in zip(blobs, shapes.items(), strict=True):
        if blob.shape != tuple(shape):
            raise WeightsError(f"{origin}: layer {layer} is {blob.shape}, {name} is {tuple(shape)}; it is another network's")
    return {name: blob for name, (_, blob) in zip(shapes, blobs, strict=True)}


def _read_graph(param: Path) -> list[Layer]:
    try:
        lines = param.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise WeightsError(f"{param}: not a readable ncnn .param file ({exc}); install its package again") from exc
    if not lines or lines[0].strip() != MAGIC:
        raise WeightsError(f"{param}: not an ncnn .param file (the first line is not {MAGIC})")
    try:
        count = int(lines[1].split()[0])
        layers = [_parse(line) for line in lines[2:] if line.strip()]
    except (ValueError, IndexError) as exc:
        raise WeightsError(f"{param}: damaged ncnn .param file ({exc}); install its package again") from exc
    if len(layers) != count:
        raise WeightsError(f"{param}: {len(layers)} layers of {count}: the file is truncated; install its package again")
    return layers


def _parse(line: str) -> Layer:
    """`kind name n_in n_out inputs... outputs... key=value...`; a key of -23300 - k holds `length,value,...` for key k."""
    kind, name, inputs, outputs, *rest = line.split()
    options: dict[int, Value] = {}
    for item in rest[int(inputs) + int(outputs) :]:
        key, _, text = item.partition("=")
        number = int(key)
        if number <= -23300:
            length, *values = text.split(",")
            if int(length) != len(values):
                raise ValueError(f"{name}: {item} holds {len(values)} values")
            options[-23300 - number] = tuple(float(v) for v in values)
        else:
            options[number] = float(text) if "." in text or "e" in text else int(text)
    return Layer(kind, name, options)


class _Blobs:
    """The .bin file, read front to back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._data = path.read_bytes()
        except OSError as exc:
            raise WeightsError(f"{path}: cannot be read ({exc.strerror}); install its package again") from exc
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def plain(self, count: int, dtype: str = "<f4") -> Array:
        size = count * np.dtype(dtype).itemsize
        if size > self.left:
            raise WeightsError(f"{self._path}: truncated after {len(self._data)} bytes; install its package again")
        values = np.frombuffer(self._data, dtype, count, self._at).astype(np.float32)
        self._at += size
        return values

    def flagged(self, count: int) -> Array:
        """Weights behind a four-byte tag that says how they are stored; fp16 is padded to a multiple of four bytes."""
        flag = int.from_bytes(self._data[self._at : self._at + 4], "little")
        self.plain(1)
        if flag in (FLAG_FP32_RAW, FLAG_FP32):
            return self.plain(count)
        if flag == FLAG_FP16:
            return self.plain(count + count % 2, "<f2")[:count]
        raise WeightsError(f"{self._path}: weights stored as {flag:#010x}; only fp32 and fp16 can be read, not quantised files")


def _weights(layer: Layer, blobs: _Blobs) -> tuple[Array, ...]:
    def option(key: int, default: int = 0) -> int:
        value = layer.options.get(key, default)
        if not isinstance(value, int) or value < 0:
            raise WeightsError(f"layer {layer.name}: option {key}={value} is no count; the .param file is damaged")
        return value

    if layer.kind in WEIGHTLESS:
        return ()
    if layer.kind == CONSTANT:  # width, height, channels; 0 = there is no such axis
        return (blobs.plain(max(1, option(0)) * max(1, option(1)) * max(1, option(2))),)
    if layer.kind == "PReLU":
        return (blobs.plain(option(0)),)
    if layer.kind != "Convolution":
        raise WeightsError(f"layer {layer.name}: type {layer.kind} cannot be read from ncnn files; use a .pth checkpoint instead")
    out, kernel, count = option(0), option(1), option(6)
    inputs, rest = divmod(count, max(1, out * kernel**2))
    if rest or not inputs or option(11, kernel) != kernel:
        raise WeightsError(f"layer {layer.name}: {count} weights are no {kernel}x{kernel} convolution to {out} channels")
    weight = blobs.flagged(count).reshape(out, inputs, kernel, kernel)
    return (weight, blobs.plain(out)) if option(5) else (weight,)
