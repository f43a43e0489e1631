"""The ncnn reader, on files made here byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from vsr.errors import WeightsError
from vsr.models import ncnn

GRAPH = """7767517
5 6
Input            input    0 1 data
Split            split    1 2 data a b
Convolution      conv0    1 1 a c 0=2 1=3 4=1 5=1 6=54 9=2 -23310=1,2.000000e-01
PReLU            act      1 1 c d 0=2
Convolution      conv1    1 1 d output 0=1 1=1 5=0 6=2
"""
SHAPES = {"conv0.weight": (2, 3, 3, 3), "conv0.bias": (2,), "act.weight": (2,), "conv1.weight": (1, 2, 1, 1)}

rng = np.random.default_rng(0)
WEIGHT0 = rng.standard_normal(54).astype(np.float16).astype(np.float32)
BIAS0, SLOPE = np.array([0.1, 0.2], np.float32), np.array([0.3, 0.4], np.float32)
WEIGHT1 = np.array([1.5, -2.5], np.float32)


def binary(flag: int) -> bytes:
    dtype = "<f2" if flag == ncnn.FLAG_FP16 else "<f4"
    first = struct.pack("<I", flag) + WEIGHT0.astype(dtype).tobytes()
    second = struct.pack("<I", flag) + WEIGHT1.astype(dtype).tobytes()
    return first + BIAS0.tobytes() + SLOPE.tobytes() + second


FP16 = binary(ncnn.FLAG_FP16)


def files(folder: Path, graph: str = GRAPH, data: bytes | None = None) -> tuple[Path, Path]:
    param, weights = folder / "net.param", folder / "net.bin"
    param.write_text(graph)
    weights.write_bytes(FP16 if data is None else data)
    return param, weights


@pytest.mark.parametrize("flag", [ncnn.FLAG_FP16, ncnn.FLAG_FP32, ncnn.FLAG_FP32_RAW])
def test_weights_come_back_by_name(tmp_path: Path, flag: int) -> None:
    param, weights = files(tmp_path, data=binary(flag))
    state = ncnn.match(ncnn.read(param, weights), SHAPES, weights)
    assert list(state) == list(SHAPES)
    for values, expected in zip(state.values(), (WEIGHT0, BIAS0, SLOPE, WEIGHT1), strict=True):
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values.ravel(), expected)


def test_odd_fp16_blob_is_padded_to_four_bytes(tmp_path: Path) -> None:
    graph = "7767517\n1 2\nConvolution c 1 1 a b 0=1 1=1 5=1 6=3\n"
    data = struct.pack("<I", ncnn.FLAG_FP16) + np.array([1, 2, 3, 99], "<f2").tobytes() + struct.pack("<f", 7.0)
    (layer,) = ncnn.read(*files(tmp_path, graph, data))
    assert layer.blobs[0].ravel().tolist() == [1, 2, 3]
    assert layer.blobs[1].tolist() == [7]


def test_options_are_read(tmp_path: Path) -> None:
    layers = ncnn.read(*files(tmp_path))
    assert [layer.kind for layer in layers] == ["Input", "Split", "Convolution", "PReLU", "Convolution"]
    assert layers[2].options[10] == (0.2,)
    assert layers[2].options[0] == 2


@pytest.mark.parametrize(
    ("graph", "data", "message"),
    [
        ("hello\n", FP16, "not an ncnn .param"),
        ("", FP16, "not an ncnn .param"),
        (GRAPH.replace("5 6", "6 6"), FP16, "truncated"),
        (GRAPH.replace("0=2 1=3", "zero=2 1=3"), FP16, "damaged"),
        (GRAPH.replace("-23310=1,", "-23310=2,"), FP16, "damaged"),
        (GRAPH.replace("6=54", "6=55"), FP16, "55 weights are no 3x3 convolution"),
        (GRAPH.replace("0=2 1=3", "0=-2 1=3"), FP16, "is no count"),
        (GRAPH.replace("PReLU ", "Gelu "), FP16, "type Gelu"),
        (GRAPH, FP16[:-1], "truncated"),
        (GRAPH, FP16[:20], "truncated"),
        (GRAPH, b"", "truncated"),
        (GRAPH, FP16 + b"more", "4 bytes more"),
        (GRAPH, struct.pack("<I", 0x000D4B38) + FP16[4:], "0x000d4b38"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, graph: str, data: bytes, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        ncnn.read(*files(tmp_path, graph, data))
    assert "\n" not in str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    param, weights = files(tmp_path)
    weights.unlink()
    with pytest.raises(WeightsError, match=r"net\.bin: cannot be read"):
        ncnn.read(param, weights)
    param.unlink()
    with pytest.raises(WeightsError, match=r"net\.param: not a readable"):
        ncnn.read(param, weights)


def test_a_binary_given_as_param(tmp_path: Path) -> None:
    param, weights = files(tmp_path)
    param.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsError, match="not a readable"):
        ncnn.read(param, weights)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({**SHAPES, "conv2.weight": (1,)}, "4 weight tensors, the network has 5"),
        ({**SHAPES, "conv0.weight": (2, 27, 1, 1)}, "layer conv0 is"),
    ],
)
def test_another_networks_graph_is_refused(tmp_path: Path, shapes: dict[str, tuple[int, ...]], message: str) -> None:
    layers = ncnn.read(*files(tmp_path))
    with pytest.raises(WeightsError, match=message):
        ncnn.match(layers, shapes, Path("net.bin"))


def test_constants_are_read_over(tmp_path: Path) -> None:
    """Numbers of the graph's own lie between the weights, and are none of them."""
    lines = GRAPH.replace("5 6", "9 10").splitlines()
    lines[3:3] = [
        "MemoryData mean 0 1 m 0=1 1=1 2=3",
        "BinaryOp sub 2 1 a m n 0=1",
        "Swish swish 1 1 n s",
        "Sigmoid gate 1 1 s g",
    ]
    mean = np.array([0.4, 0.5, 0.6], np.float32)
    param, weights = files(tmp_path, "\n".join(lines) + "\n", mean.tobytes() + FP16)
    layers = ncnn.read(param, weights)
    assert layers[1].blobs[0].tolist() == mean.tolist()
    assert list(ncnn.match(layers, SHAPES, weights)) == list(SHAPES)
