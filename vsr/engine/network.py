"""A generator on a device: a copy for each precision, padding, tiles. RGB in, larger RGB out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from vsr.config import EngineSettings
from vsr.engine.runners import Runner, runner
from vsr.engine.tiling import cut, paste, plan_tiles
from vsr.errors import ModelError
from vsr.models.spec import Generator, Precision


class Network:
    """Runs a single-frame generator. Raises ModelError for one that needs neighbouring frames."""

    def __init__(self, generator: Generator, device: torch.device, settings: EngineSettings) -> None:
        if generator.spec.context:
            raise ModelError(f"model {generator.spec.name}: it needs several frames at once, which is not supported yet")
        self.spec = generator.spec
        self._generator = generator
        self._device = device
        self._settings = settings
        self._runners: dict[Precision, Runner] = {}

    def enlarge(self, rgb: Tensor, precision: Precision, tile: int | None, halo: int) -> Tensor:
        """Run the network at its native scale.

        rgb      (N, 3, H, W) float32, gamma-coded; padded by reflection to what the model needs, and cropped afterwards
        tile     side of the square tiles in input pixels without `halo`; None = whole frames
        returns  (N, 3, H * scale, W * scale) float32, possibly a view

        The network computes in `precision`; with tiles only one of them is in it at a time.
        """
        scale, (height, width) = self.spec.scale or 1, rgb.shape[-2:]
        padded = reflect(rgb, *(self._padded(size) for size in (height, width)))
        tiles = plan_tiles(padded.shape[2], padded.shape[3], tile, halo, self.spec.multiple_of)
        with full_float32() if precision == "fp32" and self._device.type == "cuda" else nullcontext():
            if len(tiles) == 1:
                out = self._run(padded, precision).to(torch.float32, memory_format=torch.contiguous_format)
            else:
                out = padded.new_empty((*padded.shape[:2], padded.shape[2] * scale, padded.shape[3] * scale))
                for part in tiles:
                    paste(out, self._run(cut(padded, part), precision), part, scale)
        return out[..., : height * scale, : width * scale]

    def _run(self, frames: Tensor, precision: Precision) -> Tensor:
        if precision not in self._runners:
            self._runners[precision] = runner(self._generator, self._device, precision, self._settings)
        return self._runners[precision](frames)

    def _padded(self, size: int) -> int:
        multiple = self.spec.multiple_of
        return -(-max(size, self.spec.min_size) // multiple) * multiple


def reflect(x: Tensor, height: int, width: int) -> Tensor:
    """Extend (..., H, W) at the bottom and on the right to `height` x `width` by reflection, the edge itself not repeated.

    As torch's "reflect" padding, and beyond it: an image of one pixel can be padded, and by more than its own size.
    """
    for axis, size in ((-2, height), (-1, width)):
        length = x.shape[axis]
        if size > length:
            period = max(1, 2 * length - 2)
            position = torch.arange(size, device=x.device) % period
            x = x.index_select(axis, torch.minimum(position, period - position) if length > 1 else position)
    return x


@contextmanager
def full_float32() -> Iterator[None]:
    """Let float32 be float32: by default cuDNN rounds the factors of convolutions to 10 bits (TF32), no better than fp16."""
    namespaces: Any = torch.backends  # without types in some releases
    backends = (namespaces.cudnn.conv, namespaces.cuda.matmul)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
