"""The three lanes of a device: where work is queued, and the memory at both ends. The only user of `torch.cuda.Stream`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from vsr.engine.graphs import CudaGraphs, Graphs

Lane = Literal["h2d", "model", "d2h"]
LANES: tuple[Lane, ...] = ("h2d", "model", "d2h")


class Event(Protocol):
    """A point in a lane's work, as `torch.cuda.Event`; `record` and `wait` refer to the lane that is entered."""

    def record(self) -> None: ...
    def wait(self) -> None: ...
    def query(self) -> bool: ...
    def synchronize(self) -> None: ...
    def elapsed_time(self, end_event: Any, /) -> float: ...  # of the same class, in milliseconds


class Backend(Protocol):
    """What differs between devices.

    graphs            what records work here; None: it is launched each time, and every result lies in memory of its own
    on(lane)          work issued inside is queued on that lane
    staging(plane)    host memory to upload from
    mirror(staging)   the device memory that it is uploaded to
    upload(from, to)  queue the copy on the entered lane
    hold(from, to)    the same from device to device
    download(tensor)  host memory that will hold the tensor once the entered lane gets there
    """

    @property
    def graphs(self) -> Graphs | None: ...
    def on(self, lane: Lane) -> AbstractContextManager[object]: ...
    def event(self) -> Event: ...
    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor: ...
    def mirror(self, staging: Tensor) -> Tensor: ...
    def upload(self, staging: Tensor, mirror: Tensor) -> None: ...
    def hold(self, piece: Tensor, memory: Tensor) -> None: ...
    def download(self, tensor: Tensor) -> Tensor: ...


class CudaBackend:
    """Three streams, pinned memory, events with timing; what the model lane does is recorded, unless `record` is False."""

    def __init__(self, device: torch.device, *, record: bool = True) -> None:
        cuda: Any = torch.cuda  # Stream and Event carry no types in some releases
        self._device = device
        self._new_event = cuda.Event
        self._streams = {lane: cuda.Stream(device) for lane in LANES}
        self.graphs = CudaGraphs(device) if record else None

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

    def hold(self, piece: Tensor, memory: Tensor) -> None:
        memory.copy_(piece, non_blocking=True)

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
    """Everything in program order: the CPU, and devices whose streams we do not drive (mps, xpu), with blocking copies.

    Nothing is recorded: on a CPU that would only cost copies.
    """

    graphs = None

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

    def hold(self, piece: Tensor, memory: Tensor) -> None:
        memory.copy_(piece)

    def download(self, tensor: Tensor) -> Tensor:
        return tensor.to("cpu")


def backend_for(device: torch.device) -> Backend:
    return CudaBackend(device) if device.type == "cuda" else HostBackend(device)
