"""Frames in, larger frames out: colour, network, resize and colour again, on one device, whatever happens on the way.

`up` is the slow twin, one batch at a time; `stream` gives the same frames while upload, model and download overlap. Both share
every step, and the tests hold one against the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from vsr.color import alpha_to_float, float_to_plane, planes_to_rgb, rgb_to_planes
from vsr.config import EngineSettings
from vsr.engine.lanes import Lanes, backend_for
from vsr.engine.memory import choose_tile, is_out_of_memory, smaller_portion
from vsr.engine.network import Network
from vsr.engine.precision import resolve_device
from vsr.errors import ConfigError, DeviceError, MediaError
from vsr.frames import FrameBatch, FrameFormat, Plane
from vsr.models.spec import Generator, Precision
from vsr.resample import resize


@dataclass(frozen=True)
class BackOff:
    """Memory ran out: from frame `frame` on, the network sees `batch` frames at once, in tiles of `tile` (None = whole)."""

    frame: int
    batch: int
    tile: int | None


@dataclass(frozen=True)
class Retry:
    """The network gave NaN or infinity for frame `frame`, and `precision` helped."""

    frame: int
    precision: Precision


@dataclass(frozen=True)
class EngineReport:
    """What may have changed pixels against a run without trouble. `bicubic`: frames that no precision could save."""

    back_offs: tuple[BackOff, ...] = ()
    retries: tuple[Retry, ...] = ()
    bicubic: tuple[int, ...] = ()


def engine_notes(report: EngineReport) -> list[str]:
    """The report in sentences, for people."""
    notes = []
    for it in report.back_offs:
        tiles = f"tiles of {it.tile} pixels" if it.tile else "whole frames"
        notes.append(f"frame {it.frame}: out of memory; from there on in batches of {it.batch} and {tiles}")
    for precision in dict.fromkeys(it.precision for it in report.retries):
        frames = [it.frame for it in report.retries if it.precision == precision]
        notes.append(f"{_list(frames)}: the network overflowed; computed again in {precision}")
    if report.bicubic:
        notes.append(f"{_list(report.bicubic)}: the network gave no numbers in any precision; enlarged by bicubic")
    return notes


def _list(frames: Sequence[int], most: int = 8) -> str:
    shown = ", ".join(str(frame) for frame in frames[:most])
    more = f" and {len(frames) - most} more" if len(frames) > most else ""
    return f"frame{'s' if len(frames) > 1 else ''} {shown}{more}"


class Upscaler:
    """Enlarges frames of format `source` to format `target` with `generator`, as `settings` say.

    `target` may differ from `source` in size, bits and subsampling. RGB and gray may become YUV and YUV may become RGB; colour
    never becomes gray, and alpha is not invented. Gray goes through the network as three equal channels, alpha through
    bicubic. Raises ConfigError for other pairs of formats, ModelError for a model that needs neighbouring frames, DeviceError
    for a device that is not there.
    """

    def __init__(self, generator: Generator, source: FrameFormat, target: FrameFormat, settings: EngineSettings) -> None:
        _check_formats(source, target)
        self.source, self.target, self.settings = source, target, settings
        self._device = resolve_device(settings.device)
        self._network = Network(generator, self._device, settings)
        # On a CPU always one by one: batching buys nothing there (0.96 to 1.05 times), and so a frame's bytes cannot depend on
        # the batch that it came in, whatever kernel oneDNN picks for a batch of that size.
        self._batch = 1 if self._device.type == "cpu" else settings.batch
        self._tile = settings.tile
        self._halo = generator.spec.halo_px if settings.tile is None else settings.halo  # None may become tiles in a back-off
        self._lanes: Lanes[FrameBatch] = Lanes(backend_for(self._device), settings.slots)
        self._report = EngineReport()

    @property
    def report(self) -> EngineReport:
        """What happened so far, over all streams."""
        return self._report

    def up(self, batch: FrameBatch) -> FrameBatch:
        """Enlarge one batch. Same frames, timestamps and index; `timings` gains "model", in seconds.

        Raises MediaError for frames of another format, DeviceError when not even the smallest tile fits into memory.
        """
        self._begin()
        started = perf_counter()
        with torch.inference_mode():
            planes = tuple(self._upload(plane) for plane in self._planes(batch))
            outputs = self._enlarge(batch.index, planes, self.settings.precision)
            arrays = tuple(tensor.cpu().numpy() for tensor in outputs)
        return self._finish(batch, arrays, {"model": perf_counter() - started})

    def stream(self, batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
        """Enlarge all batches, in order: the same frames as `up` gives, with upload, model and download overlapped.

        `timings` gains "h2d", "model" and "d2h", in seconds on the device. Raises what `up` raises, after the frames before.
        """
        self._begin()
        items = ((batch, self._planes(batch)) for batch in batches)
        with closing(self._lanes.run(items, self._compute)) as landings:
            for landed in landings:
                yield self._finish(landed.key, landed.planes, landed.seconds)

    def _begin(self) -> None:
        """The one place that sets torch's thread count; it belongs to the process and to the thread that we run in."""
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)

    def _planes(self, batch: FrameBatch) -> tuple[Plane, ...]:
        changes = [
            f"{field.name} {now} instead of {then}"
            for field in fields(FrameFormat)
            if (now := getattr(batch.format, field.name)) != (then := getattr(self.source, field.name))
        ]
        if changes:
            raise MediaError(f"frame {batch.index} has {', '.join(changes)}: convert the film to one format first")
        return batch.planes

    def _upload(self, plane: Plane) -> Tensor:
        return torch.from_numpy(plane.copy()).to(self._device)  # a copy: torch warns about arrays that it may not write to

    def _compute(self, batch: FrameBatch, planes: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return self._enlarge(batch.index, planes, self.settings.precision)

    def _enlarge(self, index: int, planes: tuple[Tensor, ...], precision: Precision) -> tuple[Tensor, ...]:
        """Planes of the target and, last, one flag a frame: whether the network's output was finite.

        The flags come back with the planes, so nobody waits for the device to look at them.
        """
        parts: list[tuple[Tensor, ...]] = []
        at = 0
        while at < len(planes[0]):
            part = tuple(plane[at : at + self._batch] for plane in planes)
            outputs = self._attempt(part, precision)
            if outputs is None:  # the same frames again; the exception is gone by now, and the memory that it held
                self._back_off(index + at)
                continue
            parts.append(outputs)
            at += len(part[0])
        return parts[0] if len(parts) == 1 else tuple(torch.cat(pieces) for pieces in zip(*parts, strict=True))

    def _attempt(self, planes: tuple[Tensor, ...], precision: Precision) -> tuple[Tensor, ...] | None:
        """Enlarge these frames at once; None when there is not enough memory for that."""
        try:
            return self._convert(planes, precision)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _convert(self, planes: tuple[Tensor, ...], precision: Precision | None) -> tuple[Tensor, ...]:
        """Planes to RGB, network (None = leave it out), resize, RGB to planes: one name, so that each step's input is freed."""
        target = self.target
        rgb = planes_to_rgb(planes, self.source)
        if precision is not None:
            rgb = self._network.enlarge(rgb, precision, self._tile_for(precision), self._halo)
        finite = rgb.sum(dim=(1, 2, 3)).isfinite()  # a sum is finite when all its terms are: one pass, no temporary
        rgb = resize(rgb, target.height, target.width)
        out = rgb_to_planes(rgb, target)
        if target.layout.alpha:
            alpha = resize(alpha_to_float(planes[-1], self.source.layout.bits), target.height, target.width)
            out = (*out, float_to_plane(alpha, target.layout.bits))
        return (*out, finite)

    def _finish(self, batch: FrameBatch, arrays: tuple[Plane, ...], seconds: Mapping[str, float]) -> FrameBatch:
        *planes, finite = arrays
        for frame in np.flatnonzero(finite == 0):
            for plane, saved in zip(planes, self._rescue(batch, int(frame)), strict=True):
                plane[frame] = saved[0]
        return replace(batch, format=self.target, planes=tuple(planes), timings={**batch.timings, **seconds})

    def _rescue(self, batch: FrameBatch, at: int) -> list[Plane]:
        """Enlarge one frame again: in each better precision, and at last without the network. A frame is never lost."""
        index = batch.index + at
        with torch.inference_mode():
            planes = tuple(self._upload(plane[at : at + 1]) for plane in batch.planes)
            for precision in self._better_precisions():
                *saved, finite = self._enlarge(index, planes, precision)
                if bool(finite):
                    self._report = replace(self._report, retries=(*self._report.retries, Retry(index, precision)))
                    break
            else:
                *saved, _ = self._convert(planes, None)
                self._report = replace(self._report, bicubic=(*self._report.bicubic, index))
            return [tensor.cpu().numpy() for tensor in saved]

    def _better_precisions(self) -> Iterator[Precision]:
        if self.settings.precision == "fp16" and "bf16" in self._network.spec.precisions:
            yield "bf16"
        if self.settings.precision != "fp32":
            yield "fp32"

    def _tile_for(self, precision: Precision) -> int | None:
        """The tile in use; a retry in fp32 needs twice the memory that the tile was chosen for."""
        if precision == self.settings.precision or not self.settings.memory:
            return self._tile
        fitting = choose_tile(self._network.spec, self.source, self.target, precision, 1, self.settings.memory)
        return min((tile for tile in (self._tile, fitting) if tile is not None), default=None)

    def _back_off(self, index: int) -> None:
        """Memory ran out at frame `index`: halve the batch, then the tile, for this frame and all that follow."""
        if self._device.type != "cpu":
            torch.accelerator.empty_cache()
        smaller = smaller_portion(self._batch, self._tile, max(self.source.width, self.source.height), self._network.spec)
        if smaller is None:
            raise DeviceError(
                f"frame {index}: out of memory on {self._device} even in the smallest tiles: close other programs, "
                "or ask for a smaller --scale or --size"
            )
        self._batch, self._tile = smaller
        self._report = replace(self._report, back_offs=(*self._report.back_offs, BackOff(index, self._batch, self._tile)))


def _check_formats(source: FrameFormat, target: FrameFormat) -> None:
    if target.layout.kind == "gray" and source.layout.kind != "gray":
        raise ConfigError(f"{source.layout.kind} frames cannot become gray: choose an output with colour")
    if target.layout.alpha and not source.layout.alpha:
        raise ConfigError("the output has an alpha channel and the source has none: choose an output without")
