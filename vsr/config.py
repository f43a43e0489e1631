"""Every knob, as frozen dataclasses. What the user wishes; what came of it is in `vsr.plan`. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vsr.fields import Deinterlace

Precision = Literal["fp32", "bf16", "fp16"]
Backend = Literal["torch", "winograd", "ncnn"]


@dataclass(frozen=True)
class EngineSettings:
    """How the engine runs, fully resolved: everything here can change pixels or memory, so it is journaled.

    device      "cpu", "cuda", "cuda:1", "mps", "xpu", "vulkan:0", ...
    backend     what computes the network: "torch", or on a CPU in fp32 "winograd" or "ncnn"; with Vulkan always "ncnn"
    precision   of the network; colour conversion and resizing are always float32
    batch       frames the network sees at once
    tile        side of the square input tiles in pixels without halo; None = whole frames
    halo        context around each tile in input pixels
    threads     CPU threads of the model, of all workers together (0 = leave torch's default)
    workers     on a CPU, frames that are computed at the same time, each on its share of the threads
    slots       batches in flight between upload and download
    memory      bytes the engine may use on the device (0 = unlimited)
    form        how a network that has several forms is written down for the device ("" = plainly); see `vsr.engine.rrdb_forms`
    keep        what is known of a frame is kept for its neighbours' windows (False: found out anew for each, in less memory)
    faithful    steps of back-projection toward the input, after the network
    reuse       dB from which a frame counts as a repeat of the one before (0 = every frame is computed; 1000 = equal ones alone)
    """

    device: str = "cpu"
    precision: Precision = "fp32"
    batch: int = 1
    tile: int | None = None
    halo: int = 0
    threads: int = 0
    slots: int = 3
    memory: int = 0
    reuse: float = 0.0
    backend: Backend = "torch"
    form: str = ""
    workers: int = 1
    keep: bool = True
    faithful: int = 0

    @property
    def threads_each(self) -> int:
        """A worker's share of the threads."""
        return self.threads // self.workers


@dataclass(frozen=True)
class EncodeConfig:
    """What the user asks of the encoder; None = choose."""

    codec: str = "auto"
    encoder: str | None = None
    crf: int | None = None
    preset: str | None = None
    bit_depth: int | None = None
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class UpscaleConfig:
    """`vsr upscale` as data: one field for each option of the command line."""

    source: str
    output: str | None = None
    scale: float | None = None
    size: tuple[int, int] | None = None
    height: int | None = None
    model: str = "esrgan"
    blend: float | None = None  # network interpolation: 0 = the model's PSNR-oriented twin, 1 = its own weights
    device: str = "auto"
    hwaccel: str = "auto"  # what decodes: auto, off, or FFmpeg's name of a device
    backend: Literal["auto", "torch", "winograd", "ncnn"] = "auto"
    precision: str = "auto"
    batch: int | None = None
    tile: int | Literal["off"] | None = None
    threads: int | None = None
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    start: float | None = None
    duration: float | None = None
    fps: str | None = None
    pipe_format: str = "auto"
    deinterlace: Deinterlace = "auto"
    reuse: str = "exact"
    faithful: int = 0  # steps of back-projection toward the input
    segment: float | None = None  # seconds of film; None = by the measured speed; 0 = one segment
    resume: bool = True
    work_dir: Path | None = None
    overwrite: bool = False
    verify: bool = True
    share: int = 1  # processes that divide this machine's cores and memory among them
