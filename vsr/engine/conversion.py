"""Planes to larger planes on one device, in portions that fit: colour, network, resize and colour again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vsr.color import alpha_to_float, float_to_plane, planes_to_rgb, rgb_to_planes
from vsr.config import EngineSettings
from vsr.engine.features import Features
from vsr.engine.graphs import Graphs, Recorder
from vsr.engine.memory import choose_tile, is_out_of_memory, smaller_portion
from vsr.engine.network import Network
from vsr.errors import DeviceError
from vsr.frames import FrameBatch, FrameFormat, Window
from vsr.models.spec import Generator, ModelSpec, Precision
from vsr.resample import back_project, resize

Convert = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
Key = tuple[Precision, int | None] | tuple[()]


@dataclass(frozen=True)
class BackOff:
    """Memory ran out: from frame `frame` on, the network sees `batch` frames at once, in tiles of `tile` (None = whole)."""

    frame: int
    batch: int
    tile: int | None


class Conversion:
    """From format `source` to format `target`, and the portion (batch and tile) that memory allows.

    `graphs` records what returns with every batch; None = nothing is recorded. What `features` knows is kept while somebody
    looks at it; several conversions may share it.
    """

    def __init__(
        self,
        generator: Generator,
        source: FrameFormat,
        target: FrameFormat,
        settings: EngineSettings,
        device: torch.device,
        graphs: Graphs | None,
        features: Features | None = None,
    ) -> None:
        self._source, self._target, self._settings, self._device = source, target, settings, device
        self._network = Network(generator, device, settings)
        # On a CPU always one by one: batching buys nothing there (0.96 to 1.05 times), and so a frame's bytes cannot depend on
        # the batch that it came in, whatever kernel oneDNN picks for a batch of that size. (The twin of a GPU does as a GPU.)
        self._batch = 1 if device.type == "cpu" and graphs is None else settings.batch
        self._tile = settings.tile
        self._halo = generator.spec.halo_px if settings.tile is None else settings.halo  # None may become tiles in a back-off
        # Windows differ in how many frames of theirs are known already: there is nothing that could be replayed.
        self._recorder = Recorder(graphs) if graphs is not None and not generator.spec.context else None
        self._features = features or Features()
        self.back_offs: tuple[BackOff, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        return self._network.spec

    def pieces(
        self,
        index: int,
        planes: tuple[Tensor, ...],
        precision: Precision,
        *,
        window: Window | None = None,
        recorded: bool = False,
        keep: bool = False,
    ) -> Iterator[tuple[Tensor, ...]]:
        """Planes of the target and, last, one flag a frame: whether the network's output was finite.

        The flags come back with the planes, so nobody waits for the device to look at them. `index` is the first frame's
        number. With a `window` the planes are those of its frames, and the window says what becomes of them; features of these
        frames are kept for the next call where it says `keep`. Where it is `recorded`, a piece is valid only until the next is
        asked for, or the next call's. Raises DeviceError when not even the smallest tile fits into memory.
        """
        features = self._features if keep else None
        if window is not None and features is not None:
            features.look(id(self), window.frames)  # not itself: they would keep each other alive
        at, count = 0, len(planes[0]) if window is None else len(window.picks)
        while at < count:
            last = min(at + self._batch, count)
            if window is None:
                part = tuple(plane[at:last] for plane in planes)
                outputs = self._attempt(partial(self._convert, precision=precision), part, (precision, self._tile), recorded)
            else:
                convert = partial(self._convert_window, window, window.of(at, last), precision, features)
                outputs = self._attempt(convert, planes, (), False)
            if outputs is None:  # the same frames again; the exception is gone by now, and the memory that it held
                if features is not None:
                    features.drop()
                self._make_room(index + at)
                continue
            yield outputs
            at = last

    def bicubic(self, planes: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """As `pieces`, all at once and without the network."""
        return self._convert(planes, None)

    def _attempt(self, convert: Convert, planes: tuple[Tensor, ...], key: Key, recorded: bool) -> tuple[Tensor, ...] | None:
        """Enlarge these frames at once; None when there is not enough memory for that."""
        try:
            if recorded and self._recorder is not None:
                return self._recorder.run(convert, planes, self._batch, key)
            return convert(planes)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _convert(self, planes: tuple[Tensor, ...], precision: Precision | None) -> tuple[Tensor, ...]:
        """Planes to RGB, network (None = leave it out), and back: one name, so that each step's input is freed."""
        rgb = planes_to_rgb(planes, self._source)
        lr = rgb if self._settings.faithful else None
        if precision is not None:
            rgb = self._network.enlarge(rgb, precision, self._tile_for(precision), self._halo)
        return self._finish(rgb, planes[-1:], lr)

    def _convert_window(
        self, whole: Window, window: Window, precision: Precision, features: Features | None, planes: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The frames of `window`, a part of `whole`, whose frames `planes` are."""
        position = {id(frame): at for at, frame in enumerate(whole.frames)}

        def rgb_of(frames: Sequence[FrameBatch]) -> Tensor:
            each = [position[id(frame)] for frame in frames]  # one by one: not every device can pick from uint16
            return torch.cat([planes_to_rgb(tuple(plane[at : at + 1] for plane in planes), self._source) for at in each])

        tile = self._tile_for(precision)
        rgb = self._network.enlarge_windows(window, rgb_of, precision, tile, self._halo, features)
        middle = [window.frames[pick[len(pick) // 2]] for pick in window.picks]
        lr = rgb_of(middle) if self._settings.faithful else None
        places = [position[id(frame)] for frame in middle]
        return self._finish(rgb, [planes[-1][at : at + 1] for at in places], lr)

    def _finish(self, rgb: Tensor, alphas: Sequence[Tensor], lr: Tensor | None) -> tuple[Tensor, ...]:
        """Resize, and RGB to planes; `alphas` are the source's last planes, whatever they hold, in any portions; `lr` is the
        source to which the result is brought nearer.
        """
        target = self._target
        finite = rgb.sum(dim=(1, 2, 3)).isfinite()  # a sum is finite when all its terms are: one pass, no temporary
        rgb = resize(rgb, target.height, target.width)
        if lr is not None:
            rgb = back_project(rgb, lr, self._settings.faithful)
        out = rgb_to_planes(rgb, target)
        if target.layout.alpha:
            alpha = torch.cat([alpha_to_float(part, self._source.layout.bits) for part in alphas])
            grown = resize(alpha, target.height, target.width)
            out = (*out, float_to_plane(grown, target.layout.bits))
        return (*out, finite)

    def _tile_for(self, precision: Precision) -> int | None:
        """The tile in use; a retry in fp32 needs twice the memory that the tile was chosen for."""
        if precision == self._settings.precision or not self._settings.memory:
            return self._tile
        memory, keep = self._settings.memory, self._settings.keep
        fitting = choose_tile(self.spec, self._source, self._target, precision, 1, memory, keep=keep)
        return min((tile for tile in (self._tile, fitting) if tile is not None), default=None)

    def _make_room(self, index: int) -> None:
        """Memory ran out at frame `index`: give up the recordings, which changes no pixel; where there are none, back off."""
        dropped = self._recorder is not None and self._recorder.drop()
        if self._device.type != "cpu":
            # Only a courtesy: the allocator does the same before it gives up. After a capture that CUDA broke off, torch before
            # https://github.com/pytorch/pytorch/pull/180395 believes that it goes on for ever, and refuses.
            with suppress(RuntimeError):
                torch.accelerator.empty_cache()
        if not dropped:
            self._back_off(index)

    def _back_off(self, index: int) -> None:
        """Halve the batch, then the tile, for frame `index` and all that follow."""
        smaller = smaller_portion(self._batch, self._tile, max(self._source.width, self._source.height), self.spec)
        if smaller is None:
            raise DeviceError(
                f"frame {index}: out of memory on {self._device} even in the smallest tiles: close other programs, "
                "or ask for a smaller --scale or --size"
            )
        self._batch, self._tile = smaller
        self.back_offs = (*self.back_offs, BackOff(index, self._batch, self._tile))
