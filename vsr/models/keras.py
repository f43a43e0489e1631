"""Reader of weights that Keras saved as HDF5 (`Model.save_weights`), for the layers of convolutional networks.

Layout: an attribute `layer_names` at the root, in the order of execution; a group for each layer, with an attribute
`weight_names` and the arrays that it names. No code of the file runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vsr.errors import WeightsError

Array = npt.NDArray[np.float32] | npt.NDArray[np.int64]
NORM = ("gamma", "beta", "moving_mean", "moving_variance")
BLOCK = 2  # of depth_to_space


def read(path: Path, shuffled: Sequence[str] = ()) -> tuple[tuple[str, Array], ...]:
    """(layer/weight, array) in the order of execution and in torch's layout; batch norms get the counter that torch keeps.

    shuffled  layers before a depth_to_space: their output channels are put into the order of torch's pixel shuffle

    Raises WeightsError, naming the file: no h5py, not such a file, a layer that is not read here.
    """
    layers = _open(path)
    missing = set(shuffled) - {name for name, _ in layers}
    if missing:
        raise WeightsError(f"{path}: holds no layer {', '.join(sorted(missing))}; it is another network's")
    return tuple(
        (f"{layer}/{weight}", array)
        for layer, weights in layers
        for weight, array in _layer(path, layer, weights, layer in shuffled)
    )


def match(arrays: Sequence[tuple[str, Array]], shapes: Mapping[str, tuple[int, ...]], origin: Path) -> dict[str, Array]:
    """Name the arrays as `shapes` (a network's state dict: name -> shape, in the order of execution) does.

    Raises WeightsError when the file is that of another network.
    """
    if len(arrays) != len(shapes):
        raise WeightsError(f"{origin}: {len(arrays)} weight tensors, the network has {len(shapes)}; it is another network's")
    for (layer, array), (name, shape) in zip(arrays, shapes.items(), strict=True):
        if array.shape != tuple(shape):
            raise WeightsError(f"{origin}: {layer} is {array.shape}, {name} is {tuple(shape)}; it is another network's")
    return {name: array for name, (_, array) in zip(shapes, arrays, strict=True)}


def _open(path: Path) -> list[tuple[str, dict[str, npt.NDArray[np.float32]]]]:
    try:
        import h5py  # an extra: nothing else needs it
    except ImportError as exc:
        raise WeightsError(f"{path}: Keras weights need h5py; run: pip install h5py") from exc
    try:
        with h5py.File(path, "r") as file:
            found = []
            for layer in map(_text, file.attrs["layer_names"]):
                names = [_text(name) for name in file[layer].attrs["weight_names"]]
                found.append((layer, {_kind(name): np.asarray(file[layer][name], np.float32) for name in names}))
            return found
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as exc:
        raise WeightsError(f"{path}: not whole Keras weights ({exc}); get the file again") from exc


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _kind(name: str) -> str:
    """`conv2d_1/kernel:0` -> kernel."""
    return name.rpartition("/")[2].partition(":")[0]


def _layer(path: Path, layer: str, weights: Mapping[str, npt.NDArray[np.float32]], shuffled: bool) -> list[tuple[str, Array]]:
    kinds = tuple(weights)
    if not kinds:
        return []
    if kinds in (("kernel",), ("kernel", "bias")) and weights["kernel"].ndim == 4:
        # (height, width, in, out) -> (out, in, height, width)
        arrays = {**weights, "kernel": weights["kernel"].transpose(3, 2, 0, 1)}
        return [(kind, np.ascontiguousarray(_shuffle(array) if shuffled else array)) for kind, array in arrays.items()]
    if kinds == NORM:
        return [*weights.items(), ("num_batches_tracked", np.zeros((), np.int64))]
    if kinds == ("alpha",) and weights["alpha"].shape[:-1] == (1, 1):  # PReLU, one slope for each channel
        return [("alpha", weights["alpha"][0, 0])]
    shapes = ", ".join(f"{kind} {array.shape}" for kind, array in weights.items())
    raise WeightsError(f"{path}: layer {layer} ({shapes}) cannot be read from Keras files")


def _shuffle(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Output channels (row, column, channel), as depth_to_space has them -> (channel, row, column)."""
    ordered = array.reshape(BLOCK**2, -1, *array.shape[1:]).swapaxes(0, 1)
    return ordered.reshape(array.shape)
