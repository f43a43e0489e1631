"""Upload, model and download overlap: a ring of slots on the three lanes of a device.

    slot 0   upload ─► model ─► download            ordered by events; the host waits only for the
    slot 1            upload ─► model ─► download   oldest batch in flight, and only when every slot is taken
    slot 2                     upload ─► model ...

Who owns what. What goes up is copied into staging memory that belongs to the slot and is allocated once. So is, where work is
recorded (graphs.py), what was computed, for the next replay overwrites it while this one's copy is on its way. What comes down
belongs to whoever holds it: on CUDA it lies in pinned memory from torch's caching host allocator, which takes a block back
when the last array that looks at it is gone. The encoder may keep it as long as it likes, nothing is copied a second time,
and in the steady state nothing is allocated: as many blocks go round as batches are held downstream. Copying out of a
pinned buffer of the slot would cost every 4K frame another 12 MB of memory traffic on fresh pages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from vsr.engine.lanes import LANES, Backend, Lane
from vsr.frames import Plane

K = TypeVar("K")
Piece = tuple[Tensor, ...]  # of some frames each
Compute = Callable[[K, tuple[Tensor, ...]], Iterable[Piece]]

_TORCH = {"uint8": torch.uint8, "uint16": torch.uint16}


def join(pieces: Iterable[Piece]) -> Piece:
    """All pieces as one, in memory of its own unless there is only one. (Not by torch.cat: not every device has it in uint16.)"""
    parts = [*pieces]
    if len(parts) == 1:
        return parts[0]
    count = sum(len(part[0]) for part in parts)
    whole = tuple(tensor.new_empty((count, *tensor.shape[1:])) for tensor in parts[0])
    at = 0
    for part in parts:
        for tensor, memory in zip(part, whole, strict=True):
            memory[at : at + len(tensor)].copy_(tensor)
        at += len(part[0])
    return whole


@dataclass(frozen=True)
class Landed(Generic[K]):
    """What came back for one item: its key, arrays on the host, and the seconds it spent in each lane."""

    key: K
    planes: tuple[Plane, ...]
    seconds: dict[str, float]


class _Slot:
    """The memory that a batch goes through on its way, and its events."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.begin = {lane: backend.event() for lane in LANES}
        self.end = {lane: backend.event() for lane in LANES}
        self.staging: tuple[Tensor, ...] = ()
        self.mirror: tuple[Tensor, ...] = ()
        self.output: tuple[Tensor, ...] = ()

    @contextmanager
    def on(self, lane: Lane, after: Lane | None = None) -> Iterator[None]:
        """Queue the work inside on `lane`, once what this slot queued on lane `after` is done."""
        with self.backend.on(lane):
            if after is not None:
                self.end[after].wait()
            self.begin[lane].record()
            yield
            self.end[lane].record()

    def prepare(self, planes: tuple[Plane, ...]) -> None:
        """Have memory for these planes; a short batch uses the front of a longer one's."""
        wanted = [(plane.shape, _TORCH[plane.dtype.name]) for plane in planes]
        if not _fit(self.staging, wanted):
            self.end["h2d"].synchronize()
            with self.backend.on("h2d"):
                self.staging = tuple(self.backend.staging(shape, dtype) for shape, dtype in wanted)
                self.mirror = tuple(self.backend.mirror(staging) for staging in self.staging)

    def upload(self, planes: tuple[Plane, ...]) -> tuple[Tensor, ...]:
        """Copy the planes into staging memory and queue their upload."""
        self.end["h2d"].synchronize()  # long over, unless the batch before failed on its way
        count = len(planes[0])
        with self.on("h2d"):
            for plane, staging, mirror in zip(planes, self.staging, self.mirror, strict=True):
                np.copyto(staging.numpy()[:count], plane)
                self.backend.upload(staging[:count], mirror[:count])
        return tuple(mirror[:count] for mirror in self.mirror)

    def prepare_to_hold(self, piece: Piece, count: int) -> None:
        """Have memory for `count` frames like those of `piece`, of the entered lane."""
        wanted = [((count, *tensor.shape[1:]), tensor.dtype) for tensor in piece]
        if not _fit(self.output, wanted):
            self.output = tuple(tensor.new_empty(shape) for tensor, (shape, _) in zip(piece, wanted, strict=True))

    def hold(self, piece: Piece, at: int) -> None:
        """Queue on the entered lane the copy of `piece`, from frame `at` on, to where nothing overwrites it before it landed."""
        for tensor, memory in zip(piece, self.output, strict=True):
            self.backend.hold(tensor, memory[at : at + len(tensor)])


def _fit(memory: tuple[Tensor, ...], wanted: Sequence[tuple[Sequence[int], torch.dtype]]) -> bool:
    """Whether the memory has tensors of these shapes and types, but for frames that it has more of."""
    return len(memory) == len(wanted) and all(
        shape[0] <= len(tensor) and tuple(shape[1:]) == tensor.shape[1:] and dtype == tensor.dtype
        for tensor, (shape, dtype) in zip(memory, wanted, strict=True)
    )


@dataclass(frozen=True)
class _Flight(Generic[K]):
    """A batch on its way. Holds what was computed until it has landed, or the allocator would give the memory to the next."""

    key: K
    slot: _Slot
    computed: tuple[Tensor, ...]
    landing: tuple[Tensor, ...]

    def land(self) -> Landed[K]:
        """Wait for it, and free its slot."""
        slot = self.slot
        slot.end["d2h"].synchronize()
        seconds: dict[str, float] = {lane: slot.begin[lane].elapsed_time(slot.end[lane]) / 1e3 for lane in LANES}
        return Landed(self.key, tuple(tensor.numpy() for tensor in self.landing), seconds)


class Ring(Generic[K]):
    """The ring. It outlives a stream: buffers stay for the next one and are replaced when its planes have other shapes."""

    def __init__(self, backend: Backend, slots: int) -> None:
        if slots < 1:
            raise ValueError(f"{slots} slots: must be at least 1")
        self._backend = backend
        self._idle = deque(_Slot(backend) for _ in range(slots))
        self._running = False

    def run(self, items: Iterable[tuple[K, tuple[Plane, ...]]], compute: Compute[K]) -> Generator[Landed[K], None, None]:
        """Send each item's planes (N, rows, columns) through `compute` on the device, and yield what lands, in order.

        `compute(key, planes)` gets views of the slot's memory and makes tensors of its own, in pieces along the first axis.
        Where the backend records, a piece need only be valid until the next is asked for, of this batch or of another. What
        `items` or `compute` raises is raised here after everything before it has been yielded, as a plain loop would do.
        Raises RuntimeError when another run is not finished yet.
        """
        if self._running:
            raise RuntimeError("this ring is taken: finish or close the other run first")
        self._running = True
        flying: deque[_Flight[K]] = deque()
        try:
            try:
                for key, planes in items:
                    if not self._idle:
                        yield self._land(flying)
                    flying.append(self._launch(key, planes, compute))
                    del key, planes  # not held while `items` makes the next
                    while flying and flying[0].slot.end["d2h"].query():
                        yield self._land(flying)
            except Exception:
                while flying:
                    yield self._land(flying)
                raise
            while flying:
                yield self._land(flying)
        finally:
            while flying:  # left early: the device may still be writing
                self._land(flying)
            self._running = False

    def _launch(self, key: K, planes: tuple[Plane, ...], compute: Compute[K]) -> _Flight[K]:
        """Queue all work of one batch. Inference mode and streams are the thread's state: left before anything is yielded."""
        slot = self._idle[0]
        with torch.inference_mode():
            for idle in self._idle:  # all slots with the first batch: later, a recording may have taken what there is
                idle.prepare(planes)
            received = slot.upload(planes)
            with slot.on("model", after="h2d"):
                computed = self._hold(slot, compute(key, received), len(planes[0]))
            with slot.on("d2h", after="model"):
                landing = tuple(self._backend.download(tensor) for tensor in computed)
        self._idle.popleft()  # only now: a batch that failed leaves its slot in the ring
        return _Flight(key, slot, computed, landing)

    def _hold(self, slot: _Slot, pieces: Iterable[Piece], count: int) -> Piece:
        """The pieces, of at most `count` frames, as one, in memory that neither the next piece nor the next batch overwrites."""
        if self._backend.graphs is None:
            return join(pieces)
        at = 0
        for piece in pieces:
            for idle in self._idle:  # as in `_launch`
                idle.prepare_to_hold(piece, count)
            slot.hold(piece, at)
            at += len(piece[0])
        return tuple(memory[:at] for memory in slot.output)

    def _land(self, flying: deque[_Flight[K]]) -> Landed[K]:
        flight = flying.popleft()
        self._idle.append(flight.slot)
        return flight.land()
