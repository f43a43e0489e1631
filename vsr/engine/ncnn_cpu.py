"""A second way to run our networks on a CPU, in exact float32: PyPI's `ncnn` with Winograd convolutions (extra "ncnn").

Winograd's F(4,3) needs a quarter of the multiplications, and more memory traffic: what it gains depends on the CPU, and on the
size of the frame against the caches. Against torch (channels_last, float32, one thread): 1.4 to 1.7 times on an EPYC Zen 4; on a
Xeon with AMX 1.56 times for animevideo on 64x64 pixels, 1.4 on 160x90 and 0.87 on 256x256. `vsr.engine.race` measures it.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vsr.engine.exact_cpu import ExactCpuNetwork, scaled_bytes
from vsr.engine.ncnn_graph import INPUT, OUTPUT, Array, Graph, draw
from vsr.errors import ModelError
from vsr.models.spec import Generator, ModelSpec

# Everything that would round: we promise float32. Vulkan is another device (`vsr.engine.ncnn_vulkan`), and int8 another network.
ROUNDING = (
    "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage",
    "use_int8_inference", "use_int8_packed", "use_int8_storage", "use_int8_arithmetic",
)  # fmt: skip
_OFF = (*ROUNDING, "use_vulkan_compute")
_ON = ("lightmode", "use_winograd_convolution", "use_sgemm_convolution", "use_packing_layout")
# A free block serves requests down to half its size. ncnn's default, any size, wastes so much that a 4x RRDBNet peaks at 70 kB
# per input pixel instead of 53; nearer to 1 it finds fewer blocks (57).
POOL_RATIO = 0.5
OUT_OF_MEMORY = -100  # what a layer of ncnn's returns when it gets no memory
# Peak growth of the process per input pixel, measured with 64 channels; the weights beside it: F(4,3) keeps 36 numbers for 9.
BYTES_PER_PIXEL = {"RRDBNet": 62_000, "SRVGGNetCompact": 3_700}
BYTES_PER_PARAMETER = 20


class NcnnNetwork(ExactCpuNetwork):
    """Computes with ncnn. Made by `build`.

    The same bytes from run to run, from batch to batch, and for any number of threads; at least 100 dB to torch's float32.
    """

    engine = "ncnn"

    def __init__(self, graph: Graph, spec: ModelSpec, threads: int) -> None:
        import ncnn

        super().__init__(spec)
        self._net: Any = ncnn.Net()  # before the pools: it is freed before them, too
        self._pools: tuple[Any, Any] = (ncnn.PoolAllocator(), ncnn.PoolAllocator())
        for pool in self._pools:
            pool.set_size_compare_ratio(POOL_RATIO)
        option = self._net.opt
        set_options(option, off=_OFF, on=_ON)
        option.num_threads = threads
        option.blob_allocator, option.workspace_allocator = self._pools
        load_graph(self._net, graph, spec)

    def enlarge(self, frame: Tensor) -> Tensor:
        """(3, H, W) -> (3, H*scale, W*scale). Raises MemoryError when there is not enough, ModelError when ncnn fails.

        ncnn reads the frame where it lies.
        """
        import ncnn

        pixels = frame.contiguous().numpy()  # a name of its own: `ncnn.Mat` borrows, and keeps nothing alive
        return extract(self._net, self.spec, frame, ncnn.Mat(pixels))


def installed() -> bool:
    """Whether PyPI's `ncnn` is here; nothing is imported."""
    return importlib.util.find_spec("ncnn") is not None


def knows(generator: Generator) -> bool:
    """Is ncnn here, and does it take this network?"""
    return installed() and draw(generator) is not None


def build(generator: Generator, threads: int) -> NcnnNetwork | None:
    """`generator`, with the weights that it has in memory, as an ncnn network on `threads` threads (0 = torch's number).

    None where ncnn is not installed or the network is not one that is known here (`ncnn_graph.draw`): stay with torch.
    `generator` is left as it is, and must be in float32 on the CPU. Raises ModelError when ncnn cannot be loaded or refuses.
    """
    graph = draw(generator) if installed() else None
    if graph is None:
        return None
    try:
        return NcnnNetwork(graph, generator.spec, threads or torch.get_num_threads())
    except ImportError as exc:
        raise ModelError(f"ncnn is installed and cannot be loaded ({exc}); run: pip install --force-reinstall ncnn") from exc


def bytes_per_pixel(spec: ModelSpec) -> int:
    """Peak bytes per input pixel in this engine, for tiling; measured (process growth). `spec.bytes_per_pixel` is torch's.

    0 for an architecture that this engine does not run.
    """
    return scaled_bytes(BYTES_PER_PIXEL, spec)


def set_options(option: Any, *, off: Sequence[str], on: Sequence[str]) -> None:
    """Switch ncnn's options, as far as the release knows them: later ones have names that earlier ones lack."""
    for name, value in (*((n, False) for n in off), *((n, True) for n in on)):
        if hasattr(option, name):
            setattr(option, name, value)


def load_graph(net: Any, graph: Graph, spec: ModelSpec) -> None:
    """Give a `ncnn.Net` its layers and weights. Raises ModelError when ncnn does not take them."""
    import ncnn

    if net.load_param_mem(graph.param()) != 0:
        raise ModelError(f"{spec.name}: ncnn {ncnn.__version__} does not take the graph; run: pip install --upgrade ncnn")
    if net.load_model(_reader(graph.weights)) != 0:
        raise ModelError(f"{spec.name}: ncnn {ncnn.__version__} does not take the weights; run: pip install --upgrade ncnn")


def extract(net: Any, spec: ModelSpec, frame: Tensor, source: Any) -> Tensor:
    """(3, H, W), and the same as `ncnn.Mat` -> (3, H*scale, W*scale). ncnn's own result has padding between channels and belongs
    to a pool, so it is copied once.

    Raises MemoryError when there is not enough, ModelError when ncnn fails.
    """
    channels, height, width = frame.shape
    out = frame.new_empty((channels, height * (spec.scale or 1), width * (spec.scale or 1)))
    with net.create_extractor() as extractor:
        code = extractor.input(INPUT, source)
        if code == 0:
            code, result = extractor.extract(OUTPUT)
        if code == OUT_OF_MEMORY:
            raise MemoryError(f"{spec.name}: out of memory in ncnn on {width}x{height} pixels")
        if code != 0 or (made := np.asarray(result)).shape != tuple(out.shape):
            raise ModelError(f"{spec.name}: ncnn failed on {width}x{height} pixels (code {code})")
        out.numpy()[...] = made
    return out


def _reader(weights: Sequence[Array]) -> Any:
    """ncnn's reader of weights, straight from our arrays: no file, and no second copy in Python."""
    import ncnn

    # `load_model_mem` is no way: what it is given is freed when it returns, and layers keep pointers into it.
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]

    class WeightReader(ncnn.DataReader):  # type: ignore[misc]  # ncnn has no types
        def __init__(self, arrays: Iterable[Array]) -> None:
            super().__init__()
            self._arrays: Iterator[Array] = iter(arrays)

        def read(self, buffer: object, size: int) -> int:
            """Fill ncnn's buffer (a capsule) with the next array. No exception may leave: it would cross C++ built without."""
            array = next(self._arrays, None)
            if array is None or array.nbytes != size:
                return 0
            ctypes.memmove(address(buffer, None), array.ctypes.data, size)
            return size

    return WeightReader(weights)
