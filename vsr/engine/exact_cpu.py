"""Other ways than torch's convolutions to run a network on a CPU in float32, behind the same protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vsr.errors import ModelError
from vsr.models import compact, rrdb
from vsr.models.spec import ModelSpec

if TYPE_CHECKING:
    from typing import Self


TORCH_BYTES = {"RRDBNet": rrdb.BYTES_PER_PIXEL, "SRVGGNetCompact": compact.BYTES_PER_PIXEL}  # as measured, with 64 channels


def scaled_bytes(measured: Mapping[str, int], spec: ModelSpec) -> int:
    """Peak bytes per input pixel of an engine, `measured` with 64 channels; other widths as torch's figure scales.

    0 for an architecture that was not measured.
    """
    if spec.architecture not in measured:
        return 0
    return math.ceil(measured[spec.architecture] * spec.bytes_per_pixel / TORCH_BYTES[spec.architecture])


class ExactCpuNetwork:
    """A single-frame `Generator` that takes and gives float32 on the CPU, in a layout of its own; for one thread at a time.

    `engine` is its name for people. Subclasses say how one frame is enlarged.
    """

    engine = ""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def features(self, frames: Tensor) -> Tensor:
        """The frames themselves, as for all single-frame networks."""
        return frames

    def reconstruct(self, window: Tensor) -> Tensor:
        """(N, 1, 3, H, W) float32 on the CPU -> (N, 3, H*scale, W*scale) float32, contiguous; frame by frame.

        Raises MemoryError or RuntimeError when there is not enough, ModelError for other tensors or where the engine fails.
        """
        if window.dtype != torch.float32 or window.device.type != "cpu":
            name = f"{self.spec.name}: {self.engine}"
            raise ModelError(f"{name} computes float32 on the CPU, not {window.dtype} on {window.device}")
        frames = [self.enlarge(frame[0]) for frame in window]
        return frames[0][None] if len(frames) == 1 else torch.stack(frames)

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        memory_format: torch.memory_format | None = None,
    ) -> Self:
        """Itself. Raises ModelError for any other place or precision."""
        if torch.device(device or "cpu").type != "cpu" or dtype not in (None, torch.float32):
            raise ModelError(f"{self.spec.name}: {self.engine} computes float32 on the CPU, not {dtype} on {device}")
        return self

    def enlarge(self, frame: Tensor) -> Tensor:
        """(3, H, W) -> (3, H*scale, W*scale)."""
        raise NotImplementedError
