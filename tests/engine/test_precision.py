"""What the wishes for device, precision and threads come to on a given machine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vsr import UpscaleConfig
from vsr.choose_engine import resolve_engine
from vsr.engine.precision import cpu_quota, has_bf16, present_devices, resolve_device, resolve_precision, resolve_threads
from vsr.errors import ConfigError, DeviceError
from vsr.frames import FrameFormat, PixelLayout
from vsr.models.spec import ModelSpec, Precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
BF16_HERE = Path("/proc/cpuinfo").exists() and has_bf16(Path("/proc/cpuinfo").read_text())


def spec(*precisions: Precision) -> ModelSpec:
    return ModelSpec("net", "Net", scale=4, precisions=frozenset(precisions))


def test_devices() -> None:
    present = present_devices()
    assert present[-1] == "cpu"
    assert resolve_device("cpu") == CPU
    assert str(resolve_device("auto")) == present[0]
    for name in present:
        assert str(resolve_device(name)) == name


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "", "cpu:1", "cuda:x"])
def test_an_absent_device_is_named_with_those_there_are(name: str) -> None:
    with pytest.raises(DeviceError, match=f"--device {name}: no such device here; there is .*cpu"):
        resolve_device(name)


@pytest.mark.needs_cuda
def test_cuda_without_a_number_is_the_first() -> None:
    assert resolve_device("cuda") == CUDA == resolve_device("auto")


def test_auto_is_the_fastest_safe_precision() -> None:
    assert resolve_precision("auto", CUDA, spec("fp32", "bf16", "fp16")) == "fp16"
    assert resolve_precision("auto", CUDA, spec("fp32", "bf16")) == "bf16"
    assert resolve_precision("auto", CUDA, spec("fp32")) == "fp32"
    assert resolve_precision("auto", CPU, spec("fp32", "fp16")) == "fp32"
    assert resolve_precision("auto", CPU, spec("fp32", "bf16", "fp16")) == ("bf16" if BF16_HERE else "fp32")
    assert resolve_precision("auto", torch.device("mps"), spec("fp32", "bf16", "fp16")) == "fp32"


def test_sixteen_bits_are_not_rounded_unless_somebody_says_so() -> None:
    every = spec("fp32", "bf16", "fp16")
    assert [resolve_precision("auto", CUDA, every, bits) for bits in (8, 10, 12, 16)] == ["fp16", "fp16", "fp16", "fp32"]
    assert resolve_precision("auto", CPU, every, 16) == "fp32"
    assert resolve_precision("fp16", CUDA, every, 16) == "fp16"
    config = UpscaleConfig("sky.png", device="cpu", threads=1)
    deep, shallow = (FrameFormat(64, 64, PixelLayout("gray", bits)) for bits in (16, 8))
    assert resolve_engine(config, every, deep, deep).precision == "fp32"
    assert resolve_engine(config, every, deep, shallow).precision == resolve_precision("auto", CPU, every)
    assert resolve_engine(replace(config, precision="bf16"), every, deep, deep).precision == "bf16"


def test_a_stated_precision_is_taken_except_fp16_on_a_cpu() -> None:
    assert resolve_precision("bf16", CPU, spec("fp32")) == "bf16"
    assert resolve_precision("fp32", CUDA, spec("fp32", "fp16")) == "fp32"
    with pytest.raises(DeviceError, match="--precision fp16: CPUs compute it"):
        resolve_precision("fp16", CPU, spec("fp32", "fp16"))
    with pytest.raises(ConfigError, match="--precision int8: unknown; choose auto, fp32, bf16, fp16"):
        resolve_precision("int8", CPU, spec("fp32"))


def test_bf16_instructions_in_cpuinfo() -> None:
    assert has_bf16("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\n")
    assert has_bf16("flags\t\t: fpu amx_bf16\n")
    assert not has_bf16("flags\t\t: fpu avx2 avx512f\nbugs\t\t: avx512_bf16\n")
    assert not has_bf16("")


def test_threads() -> None:
    assert resolve_threads(7) == 7
    with pytest.raises(ConfigError, match="--threads 0"):
        resolve_threads(0)
    assert 1 <= resolve_threads(None) <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_threads_follow_the_affinity_mask() -> None:
    mask = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mask)})
        assert resolve_threads(None) == 1
    finally:
        os.sched_setaffinity(0, mask)


def test_cpu_quota_of_a_control_group(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu.cfs_quota_us").write_text("250000\n")
    assert cpu_quota(tmp_path) == 2.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cpu_quota(tmp_path) == 0.5
