"""How much memory the engine will need, and the tile and the batch that fit into what there is (vsr.engine.room)."""

from __future__ import annotations

import math
from functools import partial

import torch

from vsr.errors import DeviceError
from vsr.frames import FrameFormat
from vsr.models.spec import ModelSpec, Precision

MIN_TILE = 32
TILE_STEP = 16
MAX_BATCH = 16
PIXELS_AT_ONCE = 2_000_000  # of input: what keeps a large chip busy, about one frame of 1920x1080
KEPT_FOR = 1.2  # times the work that tiles of their size are worth to keep features: those of EDVR-M are a fifth of it

# Bytes per pixel, measured: float RGB itself, and the peaks of converting planes to it and it to planes (4:2:0 is the worst).
FLOAT_RGB = 12
FROM_PLANES = 36
TO_PLANES = 28
ALPHA = 4


def frame_bytes(
    spec: ModelSpec,
    source: FrameFormat,
    target: FrameFormat,
    precision: Precision,
    batch: int,
    tile: int | None,
    halo: int,
    *,
    keep: bool = True,
) -> int:
    """Predict the peak of the device's memory while `batch` frames are enlarged at once, in bytes.

    The stages follow each other, so the peak is the most hungry one's: planes to RGB, the network (on whole frames or on
    tiles of `tile` + 2 * `halo` input pixels beside the stitched output), the resize to the target's size, RGB to planes.
    Integer planes and the weights are there all the time; so are, of a model that looks at neighbours, the features of all
    frames of a window (`keep` them for the next, or not).
    """
    scale = spec.scale or 1
    pixels, out = source.width * source.height, target.width * target.height
    native, halfway = pixels * scale**2, source.width * scale * target.height  # resized in one axis of two
    width = 4 if precision == "fp32" else 2
    seen, stitched, tiles = pixels, 0, 1
    if tile is not None:
        seen = min(tile + 2 * halo, source.width) * min(tile + 2 * halo, source.height)
        stitched = native * FLOAT_RGB
        tiles = math.ceil(source.width / tile) * math.ceil(source.height / tile)
    looked_at = 2 * spec.context + 1  # by each of the frames, most of them by all
    features = looked_at * seen * (tiles if keep else 1) * spec.feature_bytes * width // 4
    network = seen * max(spec.bytes_per_pixel * width // 4, 2 * FLOAT_RGB * scale**2)
    stages = (
        pixels * FROM_PLANES,
        pixels * FLOAT_RGB * looked_at + stitched + network,
        (native + max(native + halfway, 2 * halfway + out)) * FLOAT_RGB if native != out else 0,  # it pads, so it copies
        out * TO_PLANES,
    )
    alpha = out * ALPHA if target.layout.alpha else 0
    planes = looked_at * source.frame_bytes + 2 * target.frame_bytes
    return spec.parameters * width + batch * (max(stages) + features + alpha + planes)


def faithful_bytes(steps: int, target: FrameFormat) -> int:
    """What bringing a frame nearer to its source takes beside the rest: three more of its size."""
    return 3 * FLOAT_RGB * target.width * target.height if steps else 0


def choose_tile(
    spec: ModelSpec,
    source: FrameFormat,
    target: FrameFormat,
    precision: Precision,
    batch: int,
    budget: int,
    *,
    keep: bool = True,
) -> int | None:
    """The largest tile (input pixels, without halo) that keeps `frame_bytes` within `budget`; None = whole frames fit.

    Tiles are multiples of 16 and of the model's `multiple_of`, from 32 up. Raises DeviceError when not even that fits.
    """
    need = partial(frame_bytes, spec, source, target, precision, batch, halo=spec.halo_px, keep=keep)
    if need(tile=None) <= budget:
        return None
    step, smallest = _tile_sizes(spec)
    for tile in range(max(source.width, source.height) // step * step, smallest - 1, -step):
        if need(tile=tile) <= budget:
            return tile
    needed = need(tile=smallest)
    raise DeviceError(
        f"{spec.name} from {source.width}x{source.height} to {target.width}x{target.height} needs {_gb(needed)} even in tiles of "
        f"{smallest} pixels, and {_gb(budget)} may be used: close other programs, or ask for a smaller --scale or --size"
    )


def worth_keeping(
    spec: ModelSpec, source: FrameFormat, target: FrameFormat, precision: Precision, batch: int, budget: int
) -> bool:
    """Whether the features of a window's frames are to be kept for the next: where that does not make tiles much smaller."""
    if not spec.context:
        return True
    try:
        with_them = choose_tile(spec, source, target, precision, batch, budget)
    except DeviceError:
        return False
    without = choose_tile(spec, source, target, precision, batch, budget, keep=False)

    def waste(tile: int | None) -> float:
        return 1.0 if tile is None else (1 + 2 * spec.halo_px / tile) ** 2

    return waste(with_them) <= KEPT_FOR * waste(without)


def choose_batch(
    spec: ModelSpec, source: FrameFormat, target: FrameFormat, precision: Precision, budget: int, device_kind: str
) -> int:
    """Frames for the network to see at once on a `device_kind` ("cuda", "cpu", ...): small frames together, large ones alone.

    On CUDA and XPU about `PIXELS_AT_ONCE` pixels, `MAX_BATCH` frames at most, and no more than fit into `budget` without tiles.
    Elsewhere 1: on a CPU a batch buys nothing (0.96 to 1.05 times), and on others nothing was measured.
    """
    if device_kind not in ("cuda", "xpu"):
        return 1
    batch = min(MAX_BATCH, max(1, round(PIXELS_AT_ONCE / (source.width * source.height))))
    while batch > 1 and frame_bytes(spec, source, target, precision, batch, None, spec.halo_px) > budget:
        batch -= 1
    return batch


# What allocators say when there is no memory, besides the exceptions made for it: torch's CPU allocator (Linux, Windows), the
# C++ library, oneDNN (which fails to create or run a primitive when its scratchpad cannot be had), cuDNN and cuBLAS.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "could not create a primitive",
    "could not create a memory",
    "could not execute a primitive",
    "ALLOC_FAILED",
    "out of memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of torch's says that memory, of the host or of the device, ran out."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in str(error) for words in _OUT_OF_MEMORY)


def smaller_portion(batch: int, tile: int | None, longest: int, spec: ModelSpec) -> tuple[int, int | None] | None:
    """The batch and tile to try after running out of memory: half the batch, then half the tile; None = nothing is left.

    `longest` is the frame's longer side: where a whole frame (None) stands, and tiles beyond it are no smaller.
    """
    if batch > 1:
        return batch // 2, tile
    step, smallest = _tile_sizes(spec)
    tile = min(tile or longest, longest)
    return (1, max(smallest, tile // 2 // step * step)) if tile > smallest else None


def _tile_sizes(spec: ModelSpec) -> tuple[int, int]:
    """Step between tile sides, and the smallest side."""
    step = math.lcm(TILE_STEP, spec.multiple_of)
    return step, -(-MIN_TILE // step) * step


def _gb(number: int) -> str:
    return f"{number / 1e9:.1f} GB"
