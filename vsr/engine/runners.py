"""The ways to run a generator: one callable for each, (N, 3, H, W) float32 RGB -> (N, 3, H*scale, W*scale) in any float type.

The generator that is given stays as it is: rounding its weights in place would leave nothing to fall back to.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from vsr.config import Backend, EngineSettings
from vsr.engine import ncnn_cpu, ncnn_vulkan, winograd_nets
from vsr.engine.exact_cpu import ExactCpuNetwork
from vsr.engine.precision import DTYPES
from vsr.engine.rrdb_forms import FORMS, PLAIN, RrdbForm
from vsr.errors import ModelError
from vsr.models.rrdb import RRDBNet
from vsr.models.spec import Fusible, Generator, ModelSpec, Precision

Runner = Callable[[Tensor], Tensor]
COMPILED = "+compile"  # at a form's end: through torch.compile
# Exact float32 on a CPU by other means than torch's convolutions, the likeliest to be fast first.
EXACT_CPU: tuple[Backend, ...] = ("winograd", "ncnn")


def forms_of(generator: Generator) -> tuple[str, ...]:
    """Forms of this network that a device may prefer; () where there is only one."""
    return FORMS if type(generator) is RRDBNet else ()


def runner(generator: Generator, device: torch.device, precision: Precision, settings: EngineSettings) -> Runner:
    """`generator` on `device` in `precision`, by the backend and in the form of `settings`.

    Float32 by one of `EXACT_CPU` is meant for float32 alone: other precisions are torch's. Raises ModelError when the backend
    of a job that was begun is not here now, DeviceError for its Vulkan device.
    """
    if ncnn_vulkan.is_vulkan(settings.device):
        return _runs(ncnn_vulkan.build(generator, settings.device, precision, settings.threads))
    if settings.backend != "torch" and precision == "fp32":
        net = exact(generator, settings.backend, settings.threads)
        if net is None:
            raise ModelError(
                f"model {generator.spec.name}: this job was begun with {settings.backend}, which is not here now"
                + ("; run: pip install ncnn" if settings.backend == "ncnn" else "")
            )
        return _runs(net)
    form = settings.form.removesuffix(COMPILED)
    if type(generator) is RRDBNet and (precision == "bf16" or form):
        run: Runner = RrdbForm(generator, device, DTYPES[precision], form or PLAIN)
    else:
        run = _plain(generator, device, DTYPES[precision])
    return _compiled(run) if settings.form.endswith(COMPILED) else run


def _compiled(run: Runner) -> Runner:
    # Never with `freezing`, which in bf16 gave pictures 19 dB from the right one (RRDB of 6 blocks, a CPU).
    made: Runner = torch.compile(run, dynamic=False)
    return made


def _runs(net: ExactCpuNetwork) -> Runner:
    return lambda frames: net.reconstruct(net.features(frames)[:, None])


def _plain(generator: Generator, device: torch.device, dtype: torch.dtype) -> Runner:
    net, size = moved(generator, device, dtype), 2 * generator.spec.context + 1

    def run(frames: Tensor) -> Tensor:
        each = net.features(frames.to(dtype, memory_format=torch.channels_last))
        return net.reconstruct(each[:, None].expand(-1, size, -1, -1, -1))  # every frame its own neighbour

    return run


def moved(generator: Generator, device: torch.device, dtype: torch.dtype) -> Generator:
    """A copy of the generator on a device, in a type, as the device likes it best."""
    # channels_last is what tensor cores want, and on a CPU 1.1 times (fp32) and 1.14 times (bf16) as fast as NCHW.
    net = generator.fused() if isinstance(generator, Fusible) else copy.deepcopy(generator)
    return net.to(device, dtype, memory_format=torch.channels_last)


def exact(generator: Generator, backend: Backend, threads: int) -> ExactCpuNetwork | None:
    """The generator on one of `EXACT_CPU`; None where that does not know it, or is not installed."""
    return ncnn_cpu.build(generator, threads) if backend == "ncnn" else winograd_nets.build(generator, threads)


def knows(backend: Backend, generator: Generator) -> bool:
    """Is the backend here, and does it take this network?"""
    return ncnn_cpu.knows(generator) if backend == "ncnn" else winograd_nets.knows(generator)


def memory_of(backend: Backend, spec: ModelSpec) -> tuple[int, int]:
    """Peak bytes for each input pixel in float32, and for each parameter beside them, for one of `EXACT_CPU`."""
    if backend == "ncnn":
        return ncnn_cpu.bytes_per_pixel(spec), ncnn_cpu.BYTES_PER_PARAMETER
    return winograd_nets.bytes_per_pixel(spec), winograd_nets.BYTES_PER_PARAMETER
