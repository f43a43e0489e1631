"""The baseline: no network at all. The engine's final antialiased bicubic resize does the whole enlargement."""

from __future__ import annotations

from torch import Tensor

from vsr.models.single import SingleFrame
from vsr.models.spec import ModelSpec


class Bicubic(SingleFrame):
    """Any scale: gives its input back unchanged, (N, 3, H, W) -> (N, 3, H, W), and leaves the resize to the engine.

    That resize is float32 on gamma-coded values, so no other precision is offered, and it needs no halo here: it runs on the
    whole frame, after the tiles have been joined.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spec = ModelSpec(name="bicubic", architecture="Bicubic", scale=None)

    def forward(self, x: Tensor) -> Tensor:
        return x
