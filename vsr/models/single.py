"""What all single-frame networks share: the `Generator` protocol around `forward`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from typing import Self

    import torch

    from vsr.models.spec import ModelSpec


class Network(nn.Module):
    """A module with facts about itself, and `to` as the `Generator` protocol has it."""

    spec: ModelSpec

    def at(self, scale: int) -> Self:
        """A copy for one of the scales that it was trained for: of most, the only one."""
        return copy.deepcopy(self)

    if TYPE_CHECKING:
        # torch declares overloads without memory_format beside a device; nn.Module.to itself takes all three.
        def to(  # type: ignore[override]
            self,
            device: torch.device | str | None = None,
            dtype: torch.dtype | None = None,
            *,
            memory_format: torch.memory_format | None = None,
        ) -> Self: ...


class SingleFrame(Network):
    """A network whose `forward` maps (N, 3, H, W) RGB 0..1 to (N, 3, H*scale, W*scale), without context frames."""

    def features(self, frames: Tensor) -> Tensor:
        return frames

    def reconstruct(self, window: Tensor) -> Tensor:
        """(N, 1, 3, H, W) -> (N, 3, H*scale, W*scale)."""
        image: Tensor = self(window[:, 0])
        return image
