"""Strangers' files: whether one may be read at all, and whether what was in it can be weights. No torch at import time."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vsr.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
# torch.save does not compress, and trained weights cannot be: whoever packs them again gains a tenth.
MOST_UNPACKED = 20


def check_file(path: Path) -> None:
    """Raise WeightsError, with the next step, for a path that cannot be a checkpoint."""
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give the checkpoint file inside it")
    if not path.exists():
        raise WeightsError(f"{path}: no such checkpoint; check the path, or choose a name from `vsr models list`")
    if path.suffix.lower() not in SUFFIXES:
        raise WeightsError(f"{path}: not a checkpoint by its name; {', '.join(SUFFIXES)} can be loaded")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as exc:
        raise WeightsError(f"{path}: cannot be read ({exc.strerror}); check its permissions") from exc
    if empty:
        raise WeightsError(f"{path} is empty; get the checkpoint again")


def check_archive(path: Path) -> None:
    """Raise WeightsError for a zip archive that is damaged, a program (TorchScript), or a bomb; other files pass."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as exc:  # all that a damaged directory raises
        raise WeightsError(f"{path}: not a whole checkpoint ({exc}); get it again") from exc
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise WeightsError(f"{path}: a TorchScript archive is a program, and programs are not run; give a state dict")
    unpacked = sum(member.file_size for member in members)
    if unpacked > MOST_UNPACKED * path.stat().st_size:
        raise WeightsError(f"{path}: unpacks to {unpacked:,} bytes, which no weights of this size do; get another file")


def check_numbers(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raise WeightsError, naming the tensor, for what would be taken for weights without being any.

    Whole numbers are weights only together with their scales, which no network here has; sparse, quantized and empty (meta)
    tensors are other formats; and one NaN or infinity spreads over the whole picture.
    """
    import torch

    for name, tensor in state.items():
        if tensor.is_meta or tensor.is_quantized or tensor.layout is not torch.strided:
            kind = "has no numbers" if tensor.is_meta else "is quantized" if tensor.is_quantized else "is sparse"
            raise WeightsError(f"{path}: {name} {kind}; give a checkpoint of plain floating-point tensors")
        if not name.endswith(("weight", "bias")):
            continue  # counters, indices and masks may be anything
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise WeightsError(f"{path}: {name} is {kind}; give a checkpoint in floating point, as it was trained")
        if not bool(tensor.float().isfinite().all()):
            raise WeightsError(f"{path}: {name} holds NaN or infinity; the training had diverged, or the file is damaged")
