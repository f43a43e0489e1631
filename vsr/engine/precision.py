"""Which device, which precision, how many threads: a wish and what the machine has, resolved once for the plan."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

from vsr.engine.ncnn_vulkan import is_vulkan, number_of
from vsr.engine.room import cgroup_folders, read_text
from vsr.errors import ConfigError, DeviceError
from vsr.models.spec import ModelSpec, Precision

PREFERENCE = ("cuda", "xpu", "mps", "cpu")
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
DEEPEST_ROUNDED = 12  # bits a sample up to which "auto" may round
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


def present_devices() -> tuple[str, ...]:
    """Names of the devices that torch can use here, best first: "cuda:0", "cuda:1", ..., "cpu"."""
    names: list[str] = []
    for kind in PREFERENCE[:-1]:
        module = getattr(torch, kind)
        if module.is_available():
            names += ["mps"] if kind == "mps" else [f"{kind}:{i}" for i in range(module.device_count())]
    return (*names, "cpu")


def resolve_device(name: str) -> torch.device:
    """The device that `--device NAME` means; "auto" is the best of cuda, xpu, mps, cpu, and "cuda" is "cuda:0".

    A Vulkan device is ncnn's, not torch's: what torch does beside it, it does on the CPU. "auto" never means one, since a driver
    may be software, twenty times slower than the CPU's own way.

    Raises DeviceError, naming what there is, when there is no such device here.
    """
    if is_vulkan(name):
        number_of(name)
        return torch.device("cpu")
    present = present_devices()
    if name == "auto":
        return torch.device(present[0])
    full = name if ":" in name or name in present else f"{name}:0"
    if full not in present:
        raise DeviceError(f"--device {name}: no such device here; there is {', '.join(present)}")
    return torch.device(full)


def resolve_precision(wish: str, device: torch.device, spec: ModelSpec, bits: int = 8) -> Precision:
    """The precision of the network that `--precision WISH` means on `device`, for samples of so many `bits`.

    "auto": the fastest in which the model is safe (`spec.precisions`). On CUDA fp16, else bf16; on a CPU bf16 where it has
    instructions for it (without them it is 3 to 7 times slower than fp32); on other devices, where nothing was measured, fp32.
    Samples of 16 bits always get fp32: what is 50 to 60 dB from it says nothing in their last six to eight bits.
    Raises ConfigError for an unknown word, DeviceError for fp16 on a CPU.
    """
    if wish == "auto":
        candidates: tuple[Precision, ...] = ()
        if device.type == "cuda" and bits <= DEEPEST_ROUNDED:
            candidates = ("fp16", "bf16")
        elif device.type == "cpu" and bits <= DEEPEST_ROUNDED and has_bf16(read_text(Path("/proc/cpuinfo"))):
            candidates = ("bf16",)
        return next((precision for precision in candidates if precision in spec.precisions), "fp32")
    if wish == "fp16" and device.type == "cpu":
        raise DeviceError("--precision fp16: CPUs compute it hundreds of times slower than fp32; use bf16, fp32 or auto")
    for precision in DTYPES:
        if precision == wish:
            return precision
    raise ConfigError(f"--precision {wish}: unknown; choose auto, {', '.join(DTYPES)}")


def resolve_threads(wish: int | None) -> int:
    """CPU threads of the model: `wish`, or the cores that this process may use (affinity mask and cgroup quota).

    Raises ConfigError for a wish below 1.
    """
    if wish is not None:
        if wish < 1:
            raise ConfigError(f"--threads {wish}: must be at least 1")
        return wish
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    quotas = (cpu_quota(folder) for folder in cgroup_folders("cpu"))
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas if quota is not None)]))


def cpu_quota(folder: Path) -> float | None:
    """Cores that this cpu cgroup (v2 or v1) allows; None where it sets no limit."""
    v2 = read_text(folder / "cpu.max").split()
    quota, period = v2 if len(v2) == 2 else (read_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:  # "max", "-1" and "" are no limit
        return None
    return int(quota) / int(period)


def instructions_of(name: str) -> str:
    """What of the device that `--device NAME` means decides the last bits of a result: its kind and its set of instructions."""
    if is_vulkan(name):
        return "vulkan"
    device = resolve_device(name)
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"cuda {major}.{minor}"
    if device.type != "cpu":
        return device.type
    rounds = " with bf16" if has_bf16(read_text(Path("/proc/cpuinfo"))) else ""
    return f"cpu {torch.backends.cpu.get_cpu_capability()}{rounds}"


def has_bf16(cpuinfo: str) -> bool:
    """Whether /proc/cpuinfo names instructions that multiply bf16 (x86)."""
    return any(BF16_FLAGS & set(line.split()) for line in cpuinfo.splitlines() if line.startswith("flags"))
