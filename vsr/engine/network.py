"""A generator on a device: a copy for each precision, padding, tiles. RGB in, larger RGB out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from vsr.config import EngineSettings
from vsr.engine.features import Features
from vsr.engine.precision import DTYPES
from vsr.engine.runners import Runner, moved, runner
from vsr.engine.tiling import Tile, cut, paste, plan_tiles
from vsr.frames import FrameBatch, Window
from vsr.models.spec import Generator, Precision


class Network:
    """Runs a generator at its native scale, in one of its precisions; with tiles only one of them is in it at a time."""

    def __init__(self, generator: Generator, device: torch.device, settings: EngineSettings) -> None:
        self.spec = generator.spec
        self._generator = generator
        self._device = device
        self._settings = settings
        self._runners: dict[Precision, Runner] = {}
        self._moved: dict[Precision, Generator] = {}

    def enlarge(self, rgb: Tensor, precision: Precision, tile: int | None, halo: int) -> Tensor:
        """Enlarge frames, each on its own.

        rgb      (N, 3, H, W) float32, gamma-coded; padded by reflection to what the model needs, and cropped afterwards
        tile     side of the square tiles in input pixels without `halo`; None = whole frames
        returns  (N, 3, H * scale, W * scale) float32, possibly a view
        """
        padded = self._pad(rgb)
        run = self._runner(precision)
        out = self._tiled(padded.shape, precision, tile, halo, lambda part: run(cut(padded, part)))
        return self._cropped(out, *rgb.shape[-2:])

    def enlarge_windows(
        self,
        window: Window,
        rgb_of: Callable[[Sequence[FrameBatch]], Tensor],
        precision: Precision,
        tile: int | None,
        halo: int,
        features: Features | None,
    ) -> Tensor:
        """Enlarge frames with the neighbours that their windows show, as `enlarge`.

        `rgb_of` gives (N, 3, H, W) of frames of the window; it is asked only for those whose features are not in `features` yet.
        None: nothing is kept, not even until the next tile.
        """
        net, dtype = self._net(precision), DTYPES[precision]
        format = window.frames[0].format
        shape = (len(window.picks), 3, self._padded(format.height), self._padded(format.width))

        def run(part: Tile) -> Tensor:
            def make(frames: Sequence[FrameBatch]) -> Tensor:
                crop = cut(self._pad(rgb_of(frames)), part).to(dtype, memory_format=torch.channels_last)
                # how many are lacking is chance, and oneDNN has kernels for single frames whose last bits differ
                return torch.cat([net.features(one) for one in crop.chunk(len(crop) if self._device.type == "cpu" else 1)])

            known = Features() if features is None else features
            each = known.of(window.frames, (part, precision), make)
            return net.reconstruct(torch.stack([torch.cat([each[at] for at in pick]) for pick in window.picks]))

        out = self._tiled(torch.Size(shape), precision, tile, halo, run)
        return self._cropped(out, format.height, format.width)

    def _tiled(
        self, shape: torch.Size, precision: Precision, tile: int | None, halo: int, run: Callable[[Tile], Tensor]
    ) -> Tensor:
        """What `run` makes of each tile of frames of `shape`, as one picture (N, 3, H * scale, W * scale) float32."""
        scale, (height, width) = self.spec.scale or 1, shape[-2:]
        tiles = plan_tiles(height, width, tile, halo, self.spec.multiple_of)
        with full_float32() if precision == "fp32" and self._device.type == "cuda" else nullcontext():
            if len(tiles) == 1:
                return run(tiles[0]).to(torch.float32, memory_format=torch.contiguous_format)
            out = torch.empty((*shape[:2], height * scale, width * scale), device=self._device)
            for part in tiles:
                paste(out, run(part), part, scale)
        return out

    def _runner(self, precision: Precision) -> Runner:
        if precision not in self._runners:
            self._runners[precision] = runner(self._generator, self._device, precision, self._settings)
        return self._runners[precision]

    def _net(self, precision: Precision) -> Generator:
        if precision not in self._moved:
            self._moved[precision] = moved(self._generator, self._device, DTYPES[precision])
        return self._moved[precision]

    def _pad(self, rgb: Tensor) -> Tensor:
        return reflect(rgb, *(self._padded(size) for size in rgb.shape[-2:]))

    def _cropped(self, out: Tensor, height: int, width: int) -> Tensor:
        scale = self.spec.scale or 1
        return out[..., : height * scale, : width * scale]

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
