"""What a model tells about itself, and what the engine may ask of it. No caller ever asks for a model's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Precision = Literal["fp32", "bf16", "fp16"]
Option = int | float | str | bool  # what a network is built with


@dataclass(frozen=True)
class ModelSpec:
    """Facts of one built network (one scale).

    name            the name it was asked for (a checkpoint's stem for files)
    architecture    as the field calls it: RRDBNet, SRVGGNetCompact, ...
    scale           output pixels per input pixel along one axis; None = any (the engine's own resize does all the work)
    context         frames needed on each side of a frame (0 for single-frame models)
    multiple_of     the input's width and height must be a multiple of this (the engine pads by reflection)
    min_size        smallest input side
    radius_px       exact receptive-field radius in input pixels
    halo_px         what tiling uses: the radius where it is <= 40, else a measured compromise
    halo_levels     largest 8-bit difference to the untiled image measured with halo_px (0 = same bytes)
    precisions      those it is safe in (>= 50 dB to fp32 on real images)
    bytes_per_pixel measured peak bytes per input pixel in fp32, whole network, inference mode
    feature_bytes   bytes of one frame's features per input pixel in fp32, kept while its neighbours need them (0: context is 0)
    mflop_per_pixel 2 x multiply-adds per input pixel, in millions; each frame's features counted once
    parameters      number of weights
    weights_sha256  of the loaded weights (what resume compares); "" where there are none
    warnings        what the user should know about this file or name (an odd checkpoint, say)
    """

    name: str
    architecture: str
    scale: int | None
    context: int = 0
    multiple_of: int = 1
    min_size: int = 1
    radius_px: int = 0
    halo_px: int = 0
    halo_levels: int = 0
    precisions: frozenset[Precision] = frozenset({"fp32"})
    bytes_per_pixel: int = 0
    feature_bytes: int = 0
    mflop_per_pixel: float = 0.0
    parameters: int = 0
    weights_sha256: str = ""
    warnings: tuple[str, ...] = ()


@runtime_checkable
class Generator(Protocol):
    """What the engine runs. Both calls are pure functions of their input, in `torch.inference_mode`.

    features(frames)      (N, 3, H, W) RGB, gamma-coded, 0..1  ->  (N, C, H', W'); the identity for single-frame models
    reconstruct(window)   (N, 2*context + 1, C, H', W') features  ->  (N, 3, H*scale, W*scale) RGB
    to(...)               as torch.nn.Module.to: moves to a device, dtype or memory format; returns itself
    """

    spec: ModelSpec

    def features(self, frames: Tensor) -> Tensor: ...

    def reconstruct(self, window: Tensor) -> Tensor: ...

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        memory_format: torch.memory_format | None = None,
    ) -> Generator: ...


@runtime_checkable
class Fusible(Protocol):
    """A generator that is trained in one form and run in a cheaper one (batch norm folded, branches merged)."""

    def fused(self) -> Generator:
        """A copy for inference, in fp32 and in evaluation mode; the generator itself stays as it is."""
        ...
