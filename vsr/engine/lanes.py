"""Upload, model and download overlap: a ring of slots on three lanes. The only user of `torch.cuda.Stream`.

    slot 0   upload ─► model ─► download            ordered by events; the host waits only for the
    slot 1            upload ─► model ─► download   oldest batch in flight, and only when every slot is taken
    slot 2                     upload ─► model ...

Who owns what. What goes up is copied into staging memory that belongs to the slot and is allocated once. What comes down
belongs to whoever holds it: on CUDA it lies in pinned memory from torch's caching host allocator, which takes a block back
when the last array that looks at it is gone. The encoder may keep it as long as it likes, nothing is copied a second time,
and in the steady state nothing is allocated: as many blocks go round as batches are held downstream. Copying out of a
pinned buffer of the slot would cost every 4K frame another 12 MB of memory traffic on fresh pages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from vsr.frames import Plane

K = TypeVar("K")
Lane = Literal["h2d", "model", "d2h"]
LANES: tuple[Lane, ...] = ("h2d", "model", "d2h")
Compute = Callable[[K, tuple[Tensor, ...]], tuple[Tensor, ...]]

_TORCH = {"uint8": torch.uint8, "uint16": torch.uint16}


class Event(Protocol):
    """A point in a lane's work, as `torch.cuda.Event`; `record` and `wait` refer to the lane that is entered."""

    def record(self) -> None: ...
    def wait(self) -> None: ...
    def query(self) -> bool: ...
    def synchronize(self) -> None: ...
    def elapsed_time(self, end_event: Any, /) -> float: ...  # of the same class, in milliseconds


class Backend(Protocol):
    """What differs between devices.

    on(lane)          work issued inside is queued on that lane
    staging(plane)    host memory to upload from
    mirror(staging)   the device memory that it is uploaded to
    upload(from, to)  queue the copy on the entered lane
    download(tensor)  host memory that will hold the tensor once the entered lane gets there
    """

    def on(self, lane: Lane) -> AbstractContextManager[object]: ...
    def event(self) -> Event: ...
    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor: ...
    def mirror(self, staging: Tensor) -> Tensor: ...
    def upload(self, staging: Tensor, mirror: Tensor) -> None: ...
    def download(self, tensor: Tensor) -> Tensor: ...


class CudaBackend:
    """Three streams, pinned memory, events with timing."""

    def __init__(self, device: torch.device) -> None:
        cuda: Any = torch.cuda  # Stream and Event carry no types in some releases
        self._device = device
        self._new_event = cuda.Event
        self._streams = {lane: cuda.Stream(device) for lane in LANES}

    def on(self, lane: Lane) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._streams[lane])

    def event(self) -> Event:
        event: Event = self._new_event(enable_timing=True)
        return event

    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def mirror(self, staging: Tensor) -> Tensor:
        return torch.empty_like(staging, device=self._device, pin_memory=False)

    def upload(self, staging: Tensor, mirror: Tensor) -> None:
        mirror.copy_(staging, non_blocking=True)

    def download(self, tensor: Tensor) -> Tensor:
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


class HostEvent:
    """Work on the host is done when the call returns: an event is a clock reading."""

    def __init__(self) -> None:
        self._at = 0.0

    def record(self) -> None:
        self._at = perf_counter()

    def wait(self) -> None:
        pass

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end_event: HostEvent, /) -> float:
        return (end_event._at - self._at) * 1e3


class HostBackend:
    """Everything in program order: the CPU, and devices whose streams we do not drive (mps, xpu), with blocking copies."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def on(self, lane: Lane) -> AbstractContextManager[object]:
        return nullcontext()

    def event(self) -> Event:
        return HostEvent()

    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype)

    def mirror(self, staging: Tensor) -> Tensor:
        return staging if self._device.type == "cpu" else torch.empty_like(staging, device=self._device)

    def upload(self, staging: Tensor, mirror: Tensor) -> None:
        if mirror.device != staging.device:
            mirror.copy_(staging)

    def download(self, tensor: Tensor) -> Tensor:
        return tensor.to("cpu")


def backend_for(device: torch.device) -> Backend:
    return CudaBackend(device) if device.type == "cuda" else HostBackend(device)


@dataclass(frozen=True)
class Landed(Generic[K]):
    """What came back for one item: its key, arrays on the host, and the seconds it spent in each lane."""

    key: K
    planes: tuple[Plane, ...]
    seconds: dict[str, float]


class _Slot:
    """The memory that a batch is uploaded through, and its events."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.begin = {lane: backend.event() for lane in LANES}
        self.end = {lane: backend.event() for lane in LANES}
        self.staging: tuple[Tensor, ...] = ()
        self.mirror: tuple[Tensor, ...] = ()

    @contextmanager
    def on(self, lane: Lane, after: Lane | None = None) -> Iterator[None]:
        """Queue the work inside on `lane`, once what this slot queued on lane `after` is done."""
        with self.backend.on(lane):
            if after is not None:
                self.end[after].wait()
            self.begin[lane].record()
            yield
            self.end[lane].record()

    def upload(self, planes: tuple[Plane, ...]) -> tuple[Tensor, ...]:
        """Copy the planes into staging memory and queue their upload; a short batch uses the front of a longer one's memory."""
        self.end["h2d"].synchronize()  # long over, unless the batch before failed on its way
        count = len(planes[0])
        with self.on("h2d"):
            if not self._fits(planes):
                self.staging = tuple(self.backend.staging(plane.shape, _TORCH[plane.dtype.name]) for plane in planes)
                self.mirror = tuple(self.backend.mirror(staging) for staging in self.staging)
            for plane, staging, mirror in zip(planes, self.staging, self.mirror, strict=True):
                np.copyto(staging.numpy()[:count], plane)
                self.backend.upload(staging[:count], mirror[:count])
        return tuple(mirror[:count] for mirror in self.mirror)

    def _fits(self, planes: tuple[Plane, ...]) -> bool:
        return len(planes) == len(self.staging) and all(
            len(plane) <= len(staging) and plane.shape[1:] == staging.shape[1:] and _TORCH[plane.dtype.name] == staging.dtype
            for plane, staging in zip(planes, self.staging, strict=True)
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


class Lanes(Generic[K]):
    """The ring. It outlives a stream: buffers stay for the next one and are replaced when its planes have other shapes."""

    def __init__(self, backend: Backend, slots: int) -> None:
        if slots < 1:
            raise ValueError(f"{slots} slots: must be at least 1")
        self._backend = backend
        self._idle = deque(_Slot(backend) for _ in range(slots))
        self._running = False

    def run(self, items: Iterable[tuple[K, tuple[Plane, ...]]], compute: Compute[K]) -> Generator[Landed[K], None, None]:
        """Send each item's planes (N, rows, columns) through `compute` on the device, and yield what lands, in order.

        `compute(key, planes)` gets views of the slot's memory and must return tensors of its own. What `items` or `compute`
        raises is raised here after everything before it has been yielded, as a plain loop would do. Raises RuntimeError
        when another run is not finished yet.
        """
        if self._running:
            raise RuntimeError("these lanes are taken: finish or close the other run first")
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
            received = slot.upload(planes)
            with slot.on("model", after="h2d"):
                computed = compute(key, received)
            with slot.on("d2h", after="model"):
                landing = tuple(self._backend.download(tensor) for tensor in computed)
        self._idle.popleft()  # only now: a batch that failed leaves its slot in the ring
        return _Flight(key, slot, computed, landing)

    def _land(self, flying: deque[_Flight[K]]) -> Landed[K]:
        flight = flying.popleft()
        self._idle.append(flight.slot)
        return flight.land()
