"""What a network costs, found by running it without data: nothing is computed, only shapes travel (torch's meta device)."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from vsr.models.spec import ModelSpec


def count_mflop(network: nn.Module, *, side: int = 64, anew: bool = False) -> float:
    """2 x multiply-adds per input pixel, in millions: convolutions and matrix products of one (3, side, side) image.

    Of a network with context frames: the features of one frame (`anew`: of all in the window), and one window. `side` is a
    multiple of what the network needs.
    """
    import torchvision.ops  # noqa: F401  late, as it takes seconds; it registers the operation that is counted here

    deformable = torch.ops.torchvision.deform_conv2d
    counter = FlopCounterMode(display=False, custom_mapping={deformable: _deformable_flop})
    _run_on_meta(network, side, counter, anew=anew)
    return float(counter.get_total_flops() / side**2 / 1e6)


def peak_bytes(network: nn.Module, *, side: int = 64) -> int:
    """Peak bytes of live tensors per input pixel in fp32, weights left out.

    Scratch memory of the convolution library and the allocator's slack are not seen: a process grows by more.
    """
    watch = _LivePeak()
    _run_on_meta(network, side, watch)
    return -(-watch.peak // side**2)


def _run_on_meta(network: nn.Module, side: int, watch: AbstractContextManager[object], *, anew: bool = False) -> None:
    # A copy: some networks keep tensors from their last run, and would keep ones without data.
    shadow: Any = copy.deepcopy(network).to("meta")
    with torch.no_grad(), watch:
        image = torch.empty(1, 3, side, side, device="meta")
        spec = getattr(network, "spec", None)  # networks that are not ours have none, and no context either
        if not (isinstance(spec, ModelSpec) and spec.context):
            shadow(image)
            return
        size = 2 * spec.context + 1
        known = shadow.features(image.expand(size if anew else 1, -1, -1, -1))
        shadow.reconstruct(known.expand(size, -1, -1, -1)[None])


def _deformable_flop(x: Sequence[int], weight: Sequence[int], *_: object, out_shape: Sequence[int], **__: object) -> int:
    """As a convolution of its size, like the field counts it: the bilinear samples are left out."""
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


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
