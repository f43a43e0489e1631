"""Figures that were measured before: by the content of everything that they depend on, never by date."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from vsr.bench.pairs import Pair
from vsr.models.weights import cache_dir

Figures = dict[str, dict[str, float]]  # of each picture: psnr_y, ...


def key_of(settings: str, pairs: Iterable[Pair]) -> str:
    """A checksum of the settings and of every pixel."""
    digest = hashlib.sha256(settings.encode())
    for pair in pairs:
        digest.update(
            f"{pair.name} {pair.hr.format} {pair.lr.format}".encode(errors="surrogateescape")
        )  # names of files need not be text
        for plane in (*pair.hr.planes, *pair.lr.planes):
            digest.update(plane.tobytes())
    return digest.hexdigest()


def remembered(key: str) -> Figures:
    """What is known under this key; nothing where there is no such file, or a damaged one."""
    with suppress(OSError, ValueError):
        content = json.loads(_path(key).read_text(encoding="utf-8"))
        if isinstance(content, dict) and all(isinstance(figures, dict) for figures in content.values()):
            return content
    return {}


def remember(key: str, figures: Figures) -> None:
    """Adds to what is known. A folder that cannot be written costs the next run its time and nothing else."""
    known = remembered(key)
    for name, found in figures.items():
        known.setdefault(name, {}).update(found)
    path = _path(key)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(known), encoding="utf-8")
        part.replace(path)


def _path(key: str) -> Path:
    return cache_dir() / "quality" / f"{key[:40]}.json"
