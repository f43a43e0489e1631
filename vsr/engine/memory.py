"""How much memory there is, how much the engine will need, and the tile that makes the two agree."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import torch

from vsr.errors import DeviceError
from vsr.frames import FrameFormat
from vsr.models.spec import ModelSpec, Precision

BUDGET_SHARE = 0.6  # of what is free: the decoder, the encoder and the page cache live from the rest
MIN_TILE = 32
TILE_STEP = 16
MAX_BATCH = 16
PIXELS_AT_ONCE = 2_000_000  # of input: what keeps a large chip busy, about one frame of 1920x1080
KEPT_FOR = 1.2  # times the work that tiles of their size are worth to keep features: those of EDVR-M are a fifth of it
UNKNOWN_SYSTEM_BYTES = 4 << 30  # no /proc and no sysconf: a machine that runs torch has this much
UNLIMITED = 1 << 60  # cgroup v1 writes about 2**63 for "no limit"


# ---- how much there is ----------------------------------------------------------------------------------------------


def available_bytes(device: torch.device) -> int:
    """Bytes that the engine could still take on `device` without pushing anything out.

    CUDA and XPU: the driver's free memory and what torch's own cache holds unused. Everything else shares the host's memory:
    the least of MemAvailable, of what every cgroup above us still allows, and of RLIMIT_AS and RLIMIT_DATA.
    """
    if device.type in ("cuda", "xpu"):
        module = torch.get_device_module(device)
        free, _ = module.mem_get_info(device)
        return int(free) + int(module.memory_reserved(device)) - int(module.memory_allocated(device))
    rooms = [_system_room(), *(room for folder in cgroup_folders("memory") if (room := cgroup_room(folder)) is not None)]
    return max(0, min(rooms + list(_rlimit_rooms())))


def budget_bytes(device: torch.device) -> int:
    """What the engine allows itself on `device`: `BUDGET_SHARE` of what is available."""
    return int(available_bytes(device) * BUDGET_SHARE)


def meminfo_available(text: str) -> int | None:
    """MemAvailable of /proc/meminfo in bytes; None where an old kernel does not tell."""
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _system_room() -> int:
    available = meminfo_available(read_text(Path("/proc/meminfo")))
    if available is not None:
        return available
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # not POSIX, or it does not know
        return UNKNOWN_SYSTEM_BYTES


def cgroup_folders(controller: str) -> Iterator[Path]:
    """The folders of our control group and of all above it, in every hierarchy that could carry `controller`."""
    return cgroup_paths(read_text(Path("/proc/self/cgroup")), read_text(Path("/proc/self/mountinfo")), controller)


def cgroup_paths(cgroup: str, mountinfo: str, controller: str) -> Iterator[Path]:
    """As `cgroup_folders`, from the texts of /proc/self/cgroup and /proc/self/mountinfo (proc(5)).

    A mount shows the part of its hierarchy below `root`; in a container that is often our own group and nothing above.
    """
    groups: dict[str, str] = {}  # controller ("" is v2) -> our group
    for line in cgroup.splitlines():
        _, controllers, group = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), group))
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        root, mount, (kind, _, options) = before.split()[3], before.split()[4], after.split(" ", 2)
        carries = kind == "cgroup2" or (kind == "cgroup" and controller in options.split(","))
        key = "" if kind == "cgroup2" else controller
        if not carries or key not in groups:
            continue
        below = PurePosixPath(groups[key])
        below = below.relative_to(root) if below.is_relative_to(root) else PurePosixPath()
        yield from (Path(mount) / part for part in (below, *below.parents))


def cgroup_room(folder: Path) -> int | None:
    """Bytes that this memory cgroup (v2 or v1) still allows; None where it sets no limit."""
    v2 = (folder / "memory.current").exists()
    limits = [read_text(folder / name) for name in (("memory.max", "memory.high") if v2 else ("memory.limit_in_bytes",))]
    used = read_text(folder / ("memory.current" if v2 else "memory.usage_in_bytes"))
    return memory_room(limits, used, read_text(folder / "memory.stat"))


def memory_room(limits: list[str], used: str, stat: str) -> int | None:
    """What is left below the lowest of `limits`. Page cache is given back under pressure, so it does not count as used."""
    numbers = [int(text) for text in limits if text.strip().isdigit()]  # "max" and "" are no limit
    if not numbers or min(numbers) >= UNLIMITED or not used.strip().isdigit():
        return None
    counters = dict(line.split()[:2] for line in stat.splitlines() if len(line.split()) >= 2)
    # v1 counts the group alone in the plain names and the group with its children in total_*, as its usage does.
    cache = sum(int(counters.get(f"total_{name}", counters.get(name, 0))) for name in ("inactive_file", "active_file"))
    return max(0, min(numbers) - max(0, int(used) - cache))


def _rlimit_rooms() -> Iterator[int]:
    try:
        import resource  # POSIX only
    except ImportError:
        return
    status = read_text(Path("/proc/self/status"))
    for limit, counter in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft, _ = resource.getrlimit(limit)
        used = status_bytes(status, counter)
        if soft != resource.RLIM_INFINITY and used is not None:
            yield max(0, soft - used)


def status_bytes(text: str, counter: str) -> int | None:
    """One of the kB counters of /proc/self/status in bytes."""
    for line in text.splitlines():
        if line.startswith(f"{counter}:"):
            return int(line.split()[1]) * 1024
    return None


def read_text(path: Path) -> str:
    """A file of the kernel's; "" where it is missing or not ours to read."""
    try:
        return path.read_text()
    except OSError:
        return ""


# ---- how much is needed ---------------------------------------------------------------------------------------------


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
