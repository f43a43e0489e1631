"""What a network costs, found by running it without data: nothing is computed, only shapes travel (torch's meta device)."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


def count_mflop(network: nn.Module, *, side: int = 64) -> float:
    """2 x multiply-adds per input pixel, in millions: convolutions and matrix products of one (3, side, side) image."""
    counter = FlopCounterMode(display=False)
    _run_on_meta(network, side, counter)
    return float(counter.get_total_flops() / side**2 / 1e6)


def peak_bytes(network: nn.Module, *, side: int = 64) -> int:
    """Peak bytes of live tensors per input pixel in fp32, weights left out.

    Scratch memory of the convolution library and the allocator's slack are not seen: a process grows by more.
    """
    watch = _LivePeak()
    _run_on_meta(network, side, watch)
    return -(-watch.peak // side**2)


def _run_on_meta(network: nn.Module, side: int, watch: AbstractContextManager[object]) -> None:
    # A copy: some networks keep tensors from their last run, and would keep ones without data.
    shadow = copy.deepcopy(network).to("meta")
    with torch.no_grad(), watch:
        shadow(torch.empty(1, 3, side, side, device="meta"))


class _LivePeak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the storages that are alive after each operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        self.peak = max(self.peak, self.live)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._seen:
            self._seen.add(storage)
            self.live += storage.nbytes()
            weakref.finalize(storage, self._drop, storage.nbytes())

    def _drop(self, size: int) -> None:
        self.live -= size
