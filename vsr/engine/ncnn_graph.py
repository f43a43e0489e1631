"""Our networks as ncnn graphs: the text of a .param file and the weights in its order. Needs no ncnn.

Formats: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure and .../operation-param-weight-table. Every number
is a float32 of the network in memory, so it does not matter which checkpoint it came from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from vsr.models.compact import SRVGGNetCompact
from vsr.models.ncnn import MAGIC
from vsr.models.rrdb import LEAK, RESIDUAL_SCALE, RRDB, ResidualDenseBlock, RRDBNet
from vsr.models.spec import Generator

INPUT, OUTPUT = "in", "out"
RAW_FP32 = np.zeros(1, np.uint32)  # the tag before a convolution's weights that says "plain float32"
_RELU, _LEAKY = "9=1", "9=2 -23310=1,{slope!r}"  # activations that ncnn computes in the convolution itself

Array = npt.NDArray[np.float32] | npt.NDArray[np.uint32]


@dataclass
class _Node:
    kind: str
    inputs: tuple[str, ...]
    output: str
    options: str


@dataclass
class Graph:
    """A graph while it is drawn. Blobs are named as they are made; `weights` are in the order of the layers."""

    nodes: list[_Node] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)

    def add(self, kind: str, *inputs: str, options: str = "", output: str = "") -> str:
        """Draw a layer; returns the blob that it makes."""
        blob = output or f"b{len(self.nodes)}"
        self.nodes.append(_Node(kind, inputs, blob, options))
        return blob

    def convolution(self, conv: nn.Conv2d, blob: str, activation: str = "") -> str:
        """A 3x3 convolution with padding 1 and stride 1, as all of ours are."""
        outputs, count = conv.out_channels, conv.weight.numel()
        self.weights += [RAW_FP32, _numbers(conv.weight)]
        if conv.bias is not None:
            self.weights.append(_numbers(conv.bias))
        bias = int(conv.bias is not None)
        return self.add("Convolution", blob, options=f"0={outputs} 1=3 4=1 5={bias} 6={count} {activation}".rstrip())

    def param(self) -> str:
        """The text of the .param file. A blob that n layers read passes through a Split, which is how ncnn counts its readers."""
        readers = Counter(blob for node in self.nodes for blob in node.inputs)
        taken: Counter[str] = Counter()
        lines: list[str] = []
        blobs = 0
        for number, node in enumerate(self.nodes):
            inputs = []
            for blob in node.inputs:
                inputs.append(blob if readers[blob] == 1 else f"{blob}_{taken[blob]}")
                taken[blob] += 1
            lines.append(f"{node.kind} n{number} {len(inputs)} 1 {' '.join((*inputs, node.output))} {node.options}".rstrip())
            copies = [f"{node.output}_{i}" for i in range(readers[node.output])] if readers[node.output] > 1 else []
            if copies:
                lines.append(f"Split s{number} 1 {len(copies)} {' '.join((node.output, *copies))}")
            blobs += 1 + len(copies)
        return "\n".join([MAGIC, f"{len(lines)} {blobs}", *lines, ""])


def draw(generator: Generator) -> Graph | None:
    """The graph of `generator`, from blob "in" (3, H, W) to blob "out" (3, H*scale, W*scale); None for a network not known here.

    Known are RRDBNet and SRVGGNetCompact, exactly: a subclass may compute something else.
    """
    if type(generator) is RRDBNet:
        return _rrdb(generator)
    if type(generator) is SRVGGNetCompact:
        return _compact(generator)
    return None


def _rrdb(net: RRDBNet) -> Graph:
    graph = Graph()
    leaky = _LEAKY.format(slope=LEAK)
    x = graph.add("Input", output=INPUT)
    if net.unshuffle > 1:
        x = graph.add("Reorg", x, options=f"0={net.unshuffle}")  # pixel-unshuffle, channels in torch's order
    first = body = graph.convolution(net.conv_first, x)
    for block in net.body:
        assert isinstance(block, RRDB)
        inner = body
        for dense in (block.rdb1, block.rdb2, block.rdb3):
            inner = _dense(graph, dense, inner)
        body = _residual(graph, inner, body)
    x = graph.add("BinaryOp", graph.convolution(net.conv_body, body), first, options="0=0")
    for conv in (net.conv_up1, net.conv_up2):
        x = graph.convolution(conv, graph.add("Interp", x, options="0=1 1=2.0 2=2.0"), leaky)
    x = graph.convolution(net.conv_hr, x, leaky)
    graph.convolution(net.conv_last, x)
    graph.nodes[-1].output = OUTPUT
    return graph


def _dense(graph: Graph, block: ResidualDenseBlock, x: str) -> str:
    dense = x
    for conv in (block.conv1, block.conv2, block.conv3, block.conv4):
        dense = graph.add("Concat", dense, graph.convolution(conv, dense, _LEAKY.format(slope=LEAK)), options="0=0")
    return _residual(graph, graph.convolution(block.conv5, dense), x)


def _residual(graph: Graph, change: str, x: str) -> str:
    """change * RESIDUAL_SCALE + x in one pass over memory."""
    return graph.add("Eltwise", change, x, options=f"0=1 -23301=2,{RESIDUAL_SCALE!r},1.0")


def _compact(net: SRVGGNetCompact) -> Graph | None:
    graph = Graph()
    source = x = graph.add("Input", output=INPUT)
    layers = list(net.body)
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, nn.Conv2d):
            x = graph.convolution(layer, x, _fused(following))
        elif isinstance(layer, nn.PReLU):
            graph.weights.append(_numbers(layer.weight))
            x = graph.add("PReLU", x, options=f"0={layer.num_parameters}")
        elif not _fused(layer):
            return None
    x = graph.add("PixelShuffle", x, options=f"0={net.upscale}")
    nearest = graph.add("Interp", source, options=f"0=1 1={float(net.upscale)} 2={float(net.upscale)}")
    graph.add("BinaryOp", x, nearest, options="0=0", output=OUTPUT)
    return graph


def _fused(layer: nn.Module | None) -> str:
    """What a convolution is told of the activation behind it; "" when that is a layer of its own, or none."""
    if isinstance(layer, nn.ReLU):
        return _RELU
    return _LEAKY.format(slope=layer.negative_slope) if isinstance(layer, nn.LeakyReLU) else ""


def _numbers(values: Tensor) -> npt.NDArray[np.float32]:
    numbers: npt.NDArray[np.float32] = values.detach().float().contiguous().numpy()
    return numbers.ravel()
