"""Frames in, larger frames out: colour, network, resize and colour again, on one device, whatever happens on the way.

`up` is the slow twin, one batch at a time; `stream` gives the same frames while upload, model and download overlap. Both share
every step, and the tests hold one against the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from vsr.config import EngineSettings
from vsr.engine.conversion import BackOff, Conversion
from vsr.engine.features import Features
from vsr.engine.lanes import Backend, backend_for
from vsr.engine.precision import resolve_device
from vsr.engine.reuse import stacked
from vsr.engine.ring import Ring, join
from vsr.engine.window import alone
from vsr.errors import ConfigError, MediaError
from vsr.frames import FrameBatch, FrameFormat, Plane, Window
from vsr.models.spec import Generator, Precision

T = TypeVar("T")


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

    def since(self, before: EngineReport) -> EngineReport:
        """What is new in it."""
        return EngineReport(
            _new(self.back_offs, before.back_offs), _new(self.retries, before.retries), _new(self.bicubic, before.bicubic)
        )


def _new(now: tuple[T, ...], before: tuple[T, ...]) -> tuple[T, ...]:
    """What `now` has more than `before`, wherever it stands: workers report in an order of their own."""
    known = [*before]
    found = []
    for it in now:
        if it in known:
            known.remove(it)
        else:
            found.append(it)
    return tuple(found)


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
    bicubic. `backend` is how the device is driven (None = the usual way). A model that looks at neighbours takes them from
    `FrameBatch.window`, and keeps what it knows of them in `features`, which workers may share; a frame without a window is its
    own neighbour. Raises ConfigError for other pairs of formats, DeviceError for a device that is not there.
    """

    def __init__(
        self,
        generator: Generator,
        source: FrameFormat,
        target: FrameFormat,
        settings: EngineSettings,
        backend: Backend | None = None,
        features: Features | None = None,
    ) -> None:
        _check_formats(source, target)
        self.source, self.target, self.settings = source, target, settings
        self._device = resolve_device(settings.device)
        backend = backend or backend_for(self._device)
        self._conversion = Conversion(generator, source, target, settings, self._device, backend.graphs, features)
        self._ring: Ring[FrameBatch] = Ring(backend, settings.slots)
        self._report = EngineReport()

    @property
    def report(self) -> EngineReport:
        """What happened so far, over all streams."""
        return replace(self._report, back_offs=self._conversion.back_offs)

    def up(self, batch: FrameBatch) -> FrameBatch:
        """Enlarge one batch. Same frames, timestamps and index; `timings` gains "model", in seconds.

        Raises MediaError for frames of another format, DeviceError when not even the smallest tile fits into memory.
        """
        self._begin()
        started = perf_counter()
        batch = self._seen(batch)
        with torch.inference_mode():
            planes = tuple(self._upload(plane) for plane in self._planes(batch))
            outputs = join(self._conversion.pieces(batch.index, planes, self.settings.precision, window=batch.window))
            arrays = tuple(tensor.cpu().numpy() for tensor in outputs)
        return self._finish(batch, arrays, {"model": perf_counter() - started})

    def stream(self, batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
        """Enlarge all batches, in order: the same frames as `up` gives, with upload, model and download overlapped.

        `timings` gains "h2d", "model" and "d2h", in seconds on the device. Raises what `up` raises, after the frames before.
        """
        self._begin()
        items = ((batch, self._planes(batch)) for batch in map(self._seen, batches))
        with closing(self._ring.run(items, self._compute)) as landings:
            for landed in landings:
                yield self._finish(landed.key, landed.planes, landed.seconds)

    def _begin(self) -> None:
        """The one place that sets torch's thread count; it belongs to the process and to the thread that we run in."""
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)

    def _seen(self, batch: FrameBatch) -> FrameBatch:
        """The batch with a window where, and only where, the model has a use for it."""
        context = self._conversion.spec.context
        if not context:
            return replace(batch, window=None)
        return batch if batch.window is not None else alone(batch, context)

    def _planes(self, batch: FrameBatch) -> tuple[Plane, ...]:
        changes = [
            f"{field.name} {now} instead of {then}"
            for field in fields(FrameFormat)
            if (now := getattr(batch.format, field.name)) != (then := getattr(self.source, field.name))
        ]
        if changes:
            raise MediaError(f"frame {batch.index} has {', '.join(changes)}: convert the film to one format first")
        return batch.planes if batch.window is None else _all_planes(batch.window)

    def _upload(self, plane: Plane) -> Tensor:
        return torch.from_numpy(plane.copy()).to(self._device)  # a copy: torch warns about arrays that it may not write to

    def _compute(self, batch: FrameBatch, planes: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
        keep = self.settings.keep
        return self._conversion.pieces(
            batch.index, planes, self.settings.precision, window=batch.window, recorded=True, keep=keep
        )

    def _finish(self, batch: FrameBatch, arrays: tuple[Plane, ...], seconds: Mapping[str, float]) -> FrameBatch:
        *planes, finite = arrays
        for frame in np.flatnonzero(finite == 0):
            for plane, saved in zip(planes, self._rescue(batch, int(frame)), strict=True):
                plane[frame] = saved[0]
        return replace(batch, format=self.target, planes=tuple(planes), timings={**batch.timings, **seconds}, window=None)

    def _rescue(self, batch: FrameBatch, at: int) -> list[Plane]:
        """Enlarge one frame again: in each better precision, and at last without the network. A frame is never lost."""
        index = batch.index + at
        with torch.inference_mode():
            planes = tuple(self._upload(plane[at : at + 1]) for plane in batch.planes)
            window = batch.window and batch.window.of(at, at + 1)
            seen = planes if window is None else tuple(self._upload(plane) for plane in _all_planes(window))
            for precision in self._better_precisions():
                *saved, finite = join(self._conversion.pieces(index, seen, precision, window=window))
                if bool(finite):
                    self._report = replace(self._report, retries=(*self._report.retries, Retry(index, precision)))
                    break
            else:
                *saved, _ = self._conversion.bicubic(planes)
                self._report = replace(self._report, bicubic=(*self._report.bicubic, index))
            return [tensor.cpu().numpy() for tensor in saved]

    def _better_precisions(self) -> Iterator[Precision]:
        if self.settings.precision == "fp16" and "bf16" in self._conversion.spec.precisions and self.settings.backend == "torch":
            yield "bf16"
        if self.settings.precision != "fp32":
            yield "fp32"


def _all_planes(window: Window) -> tuple[Plane, ...]:
    """Those of all its frames."""
    return stacked([replace(frame, window=None) for frame in window.frames]).planes


def _check_formats(source: FrameFormat, target: FrameFormat) -> None:
    if target.layout.kind == "gray" and source.layout.kind != "gray":
        raise ConfigError(f"{source.layout.kind} frames cannot become gray: choose an output with colour")
    if target.layout.alpha and not source.layout.alpha:
        raise ConfigError("the output has an alpha channel and the source has none: choose an output without")
