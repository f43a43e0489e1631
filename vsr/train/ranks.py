"""The processes that train one network together, one on each device: the only torch.distributed.

`torchrun` starts them and says in the environment which is which; without it there is one, and nothing here costs anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vsr.errors import JobError


@dataclass(frozen=True)
class Rank:
    """Which of how many: `rank` of `world` processes, on device number `local` of this machine."""

    rank: int = 0
    world: int = 1
    local: int = 0


@contextmanager
def joined(device_type: str, meeting: str = "env://") -> Iterator[Rank]:
    """Meet the other processes, and part again: NCCL between CUDA devices, gloo beside it; alone where torchrun started none.

    `meeting`: where they find each other, as torch.distributed writes it; torchrun's way is by the environment.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Rank()
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device_type == "cuda":
        torch.cuda.set_device(local)
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=meeting, rank=int(os.environ["RANK"]), world_size=world)
    try:
        yield Rank(dist.get_rank(), dist.get_world_size(), local)
    finally:
        dist.destroy_process_group()


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean of all values of all processes, which must have equally many, as a scalar; gradients flow back to every process.

    Gradients are right where those of all processes are averaged afterwards, as DistributedDataParallel does. Every process must
    call it, and run its backward, equally often. Alone, it is the plain mean.
    """
    mean = values.mean()
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return mean
    averaged: Tensor = _Average.apply(mean)
    return averaged


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the mean of all processes' gradients: one message for all. Alone, nothing happens.

    Processes must agree on which parameters have one. Networks of 16 to 67 MB take a millisecond between GPUs of one machine, so
    nothing is gained by sending parts while others are computed, as DistributedDataParallel does.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = _averaged(torch.cat([gradient.flatten() for gradient in gradients]))
    at = 0
    for gradient in gradients:
        gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
        at += gradient.numel()


def averaged(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars by name as their means over all processes."""
    together = torch.stack([value.detach().float() for value in values.values()])
    if dist.is_initialized() and dist.get_world_size() > 1:
        together = _averaged(together)
    return dict(zip(values, together.tolist(), strict=True))


def any_of(flag: bool) -> bool:
    """Whether it is so in one process at least, asked by all at the same step: a signal comes to each at a time of its own."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return flag
    return bool(_averaged(torch.tensor(float(flag))) > 0)  # between CPUs: nobody waits for a GPU


class _Average(torch.autograd.Function):
    """The average over processes; its gradient is the average of theirs, since each of them used it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _averaged(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _averaged(grad)


def _averaged(value: Tensor) -> Tensor:
    total = value.detach().clone()
    try:
        dist.all_reduce(total)
    except RuntimeError as exc:
        raise JobError("another process of this training has ended; what it said last, if anything, is the reason") from exc
    return total / dist.get_world_size()
