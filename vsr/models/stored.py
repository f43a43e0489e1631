"""Weights as vsr stores them: safetensors with reference parameter names, and metadata that says how to build the network.

Written whole or not at all, and checked against a stored checksum when read.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vsr.errors import WeightsError
from vsr.models.spec import Option

FORMAT = "vsr-1"
MAX_HEADER = 100_000_000  # bytes; the format's own limit


@dataclass(frozen=True)
class Origin:
    """What the file says about its weights: how to build their network, and where they come from.

    parents  the digests of the weights that these were trained on from, or blended of, and of theirs; () where none are known
    notes    what their training tells of itself (recipe, data, steps, metrics); {} for those that were not trained here
    """

    architecture: str
    options: Mapping[str, Option] = field(default_factory=dict)
    scale: int | None = None
    source: str = ""
    source_sha256: str = ""
    parents: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """Weights with their origin and the SHA-256 of all tensors (`digest`)."""

    state: dict[str, Tensor]
    origin: Origin
    sha256: str


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of the tensors, in the order of the names."""
    sha = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def write(path: Path, state: Mapping[str, Tensor], origin: Origin) -> Stored:
    """Write `path` atomically; several processes may do so at once, and the last one wins with a whole file.

    Raises OSError when the folder cannot be written.
    """
    sha256 = digest(state)
    metadata = {
        "format": FORMAT,
        "architecture": origin.architecture,
        "options": json.dumps(dict(origin.options), sort_keys=True),
        "scale": "any" if origin.scale is None else str(origin.scale),
        "source": origin.source,
        "source_sha256": origin.source_sha256,
        "tensors_sha256": sha256,
        **({"parents": json.dumps(origin.parents)} if origin.parents else {}),
        **({"notes": json.dumps(dict(origin.notes), sort_keys=True)} if origin.notes else {}),
    }
    _replace(path, save({name: tensor.contiguous() for name, tensor in state.items()}, metadata))
    return Stored(dict(state), origin, sha256)


def write_plain(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write the tensors alone, as any program reads them, and as atomically as `write`. Raises OSError."""
    # Copies: the format refuses tensors that share memory, which tied weights do.
    _replace(path, save({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, {"format": "pt"}))


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read(path: Path) -> Stored | None:
    """The weights in `path`; None when it is a safetensors file that vsr did not write.

    Raises WeightsError when the file is no safetensors file, is truncated, or differs from its checksum.
    """
    try:
        # One handle from header to tensors. safetensors' own safe_open opens the path twice, and mixes two files when another
        # process replaces it in between.
        with path.open("rb") as file:
            prefix = file.read(8)
            header = file.read(min(int.from_bytes(prefix, "little"), MAX_HEADER))
            metadata = dict(json.loads(header)).get("__metadata__")
            if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
                return None
            state = load(prefix + header + file.read())
        scale = metadata["scale"]
        origin = Origin(
            architecture=metadata["architecture"],
            options=json.loads(metadata["options"]),
            scale=None if scale == "any" else int(scale),
            source=metadata["source"],
            source_sha256=metadata["source_sha256"],
            parents=tuple(map(str, json.loads(metadata.get("parents", "[]")))),
            notes=dict(json.loads(metadata.get("notes", "{}"))),
        )
        expected = metadata["tensors_sha256"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as exc:
        raise WeightsError(f"{path}: not a whole safetensors file ({exc}); get it again") from exc
    if digest(state) != expected:
        raise WeightsError(f"{path}: the weights differ from their checksum; the file is damaged, get it again")
    return Stored(state, origin, expected)
