"""How much memory there is, on a device and on the host: of the machine, of control groups, of the process's own limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import torch

BUDGET_SHARE = 0.6  # of what is free: the decoder, the encoder and the page cache live from the rest
UNKNOWN_SYSTEM_BYTES = 4 << 30  # no /proc and no sysconf: a machine that runs torch has this much
UNLIMITED = 1 << 60  # cgroup v1 writes about 2**63 for "no limit"


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
