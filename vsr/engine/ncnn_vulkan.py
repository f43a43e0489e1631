"""Our networks on any card with a Vulkan driver, by PyPI's `ncnn` (extra "ncnn"): what `--device vulkan` means.

The network alone runs there; its input and output, and all conversions, are torch's on the CPU in float32. fp32 is exact (at
least 100 dB to torch); fp16 stores in 16 bits and computes in 32: at least 64 dB to fp32 on photos. Arithmetic in fp16 would
leave 52 (esrgan-anime).
"""

from __future__ import annotations

import math
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vsr.engine.exact_cpu import ExactCpuNetwork, scaled_bytes
from vsr.engine.memory import MIN_TILE, TILE_STEP
from vsr.engine.ncnn_cpu import ROUNDING, extract, installed, load_graph, set_options
from vsr.engine.ncnn_graph import Graph, draw
from vsr.engine.room import BUDGET_SHARE
from vsr.errors import DeviceError, ModelError
from vsr.models.spec import Generator, ModelSpec, Precision

KIND = "vulkan"
SOFTWARE = 3  # VK_PHYSICAL_DEVICE_TYPE_CPU less one, as ncnn counts: a driver that computes on the CPU
SHARED = (1, SOFTWARE)  # ... and the cards that have no memory of their own
_STORAGE = ("use_fp16_packed", "use_fp16_storage")  # where the card has it; without it ncnn stays in float32
_ON = ("use_vulkan_compute", "lightmode", "use_winograd_convolution", "use_sgemm_convolution", "use_packing_layout")
# Peak bytes on the device per input pixel in fp32, measured as growth of the process on a software device, with 64 channels
# (Winograd included); half in fp16. The weights beside it: as they are, and transformed for F(4,3) and F(2,3).
BYTES_PER_PIXEL = {"RRDBNet": 50_000, "SRVGGNetCompact": 5_000}
BYTES_PER_PARAMETER = 32
# One buffer holds one blob, the largest a twelfth of the peak. Drivers serve buffers of 1 GiB (older Intel) to 4 GiB, and ncnn
# does not ask them how much.
MOST_BYTES = 12 << 30


def is_vulkan(name: str) -> bool:
    """Does `--device NAME` ask for Vulkan, here or not?"""
    return name.partition(":")[0] == KIND


class VulkanNetwork(ExactCpuNetwork):
    """Computes with ncnn on device `number`, in fp32 or in fp16; float32 on the CPU at both ends. Made by `build`.

    The same bytes from run to run on the same device and driver. For one thread at a time, as its pools are.
    """

    engine = "ncnn on Vulkan"

    def __init__(self, graph: Graph, spec: ModelSpec, number: int, precision: Precision, threads: int) -> None:
        import ncnn

        super().__init__(spec)
        device = ncnn.get_gpu_device(number)
        self._net: Any = ncnn.Net()
        # Of our own: in those that a device shares, the block that could not be had would stay for ever.
        self._pools: tuple[Any, Any] = (ncnn.VkBlobAllocator(device), ncnn.VkStagingAllocator(device))
        option = self._net.opt
        set_options(option, off=ROUNDING, on=(*_ON, *(_STORAGE if precision == "fp16" else ())))
        option.num_threads = threads
        option.blob_vkallocator = option.workspace_vkallocator = self._pools[0]
        option.staging_vkallocator = self._pools[1]
        self._net.set_vulkan_device(number)
        # ncnn ends its instance with the process, and nothing of ours may be left on a device by then (this runs at exit, too).
        weakref.finalize(self, _release, self._net, self._pools)
        load_graph(self._net, graph, spec)

    def enlarge(self, frame: Tensor) -> Tensor:
        """(3, H, W) -> (3, H*scale, W*scale). Raises MemoryError when there is not enough, ModelError when ncnn fails."""
        import ncnn

        # A copy in which channels begin at multiples of 16 bytes: the upload takes that for granted, and in a borrowed array of
        # 25x39 they do not, which gives noise.
        pixels = frame.contiguous().numpy()  # a name of its own: `ncnn.Mat` borrows, and keeps nothing alive
        source = ncnn.Mat(pixels).clone()
        try:
            return extract(self._net, self.spec, frame, source)
        except MemoryError:
            for pool in self._pools:
                pool.clear()
            raise


def _release(net: Any, pools: Sequence[Any]) -> None:
    net.clear()
    for pool in pools:
        pool.clear()


def present() -> tuple[str, ...]:
    """Names of the Vulkan devices, by number; () without ncnn, without Vulkan's loader, or without a driver.

    Raises DeviceError when ncnn is installed and cannot be loaded.
    """
    if not installed():
        return ()
    try:
        import ncnn
    except ImportError as exc:
        raise DeviceError(f"ncnn is installed and cannot be loaded ({exc}); run: pip install --force-reinstall ncnn") from exc
    with _quiet():
        ncnn.create_gpu_instance()
        return tuple(ncnn.get_gpu_info(number).device_name() for number in range(ncnn.get_gpu_count()))


def number_of(name: str) -> int:
    """The number of the device that "vulkan" (ncnn's first choice: a card before a chip's own) or "vulkan:N" means.

    Raises DeviceError, naming what there is, when there is no such device here.
    """
    if not installed():
        raise DeviceError(f"--device {name}: needs PyPI's ncnn; run: pip install 'vsr[ncnn]'")
    names = present()
    if not names:
        raise DeviceError(f"--device {name}: no Vulkan device here; install the card's driver and Vulkan's loader (libvulkan)")
    _, colon, number = name.partition(":")
    if not colon:
        import ncnn

        return int(ncnn.get_default_gpu_index())
    if number not in map(str, range(len(names))):
        there = ", ".join(f"{KIND}:{i} ({it})" for i, it in enumerate(names))
        raise DeviceError(f"--device {name}: no such device here; there is {there}")
    return int(number)


def kind_of(number: int) -> int:
    """0 a card, 1 a chip's own graphics, 2 a virtual card, `SOFTWARE`."""
    import ncnn

    return int(ncnn.get_gpu_info(number).type())


def budget_bytes(number: int) -> int:
    """What the engine allows itself on the device: a share of what the driver says that it may take."""
    import ncnn

    return int(ncnn.get_gpu_device(number).get_heap_budget() * 2**20 * BUDGET_SHARE)


def knows(generator: Generator) -> bool:
    """Is this network one of those that ncnn is taught here?"""
    return draw(generator) is not None


def build(generator: Generator, name: str, precision: Precision, threads: int) -> VulkanNetwork:
    """`generator`, with the weights that it has in memory, on the device `name`; `threads` for what ncnn does beside it.

    Raises DeviceError when the device is not here, ModelError for a network that is not known (`knows`).
    """
    number, graph = number_of(name), draw(generator)
    if graph is None:
        raise ModelError(f"model {generator.spec.name}: ncnn does not know this network; use another --device")
    return VulkanNetwork(graph, generator.spec, number, precision, threads or torch.get_num_threads())


def choose_tile(spec: ModelSpec, height: int, width: int, precision: Precision, budget: int) -> int | None:
    """The largest tile (input pixels, without halo) for which `budget` bytes on the device suffice.

    None = whole frames fit. Raises DeviceError when not even the smallest tile does.
    """
    room = min(budget, MOST_BYTES) - BYTES_PER_PARAMETER * spec.parameters
    pixels = room * (1 if precision == "fp32" else 2) // bytes_per_pixel(spec)
    if height * width <= pixels:
        return None
    step = math.lcm(TILE_STEP, spec.multiple_of)
    tile = (math.isqrt(max(0, pixels)) - 2 * spec.halo_px) // step * step
    if tile < MIN_TILE:
        raise DeviceError(
            f"{spec.name}: {budget / 1e9:.1f} GB of the Vulkan device's memory may be used, too little for tiles of {MIN_TILE} "
            "pixels: close other programs, or use another --device"
        )
    return tile


def bytes_per_pixel(spec: ModelSpec) -> int:
    """Peak bytes per input pixel on the device in fp32, measured."""
    return scaled_bytes(BYTES_PER_PIXEL, spec)


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on stderr for the moment in which ncnn finds the devices: it lists their features there, and no option stops it."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
