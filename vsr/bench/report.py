"""A self-contained HTML page: any two of several results under a divider, frame by frame, with plots of what was measured.

The page holds its pictures, style and scripts; it works from file://, and its own policy forbids the browser every request.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from platform import machine, python_version
from typing import Any

from vsr import __version__
from vsr.bench.album import Picture
from vsr.errors import ConfigError, EncodeError
from vsr.media.images import replaced

SCRIPTS = ("stage.js", "plots.js", "table.js", "page.js")
SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}

# No request leaves the page; the script's hash, which is added, lets this one run and none that a name might bring.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"


@dataclass(frozen=True)
class Measure:
    """How a metric is written, and which end of it is good (None: the page names no worst frame)."""

    name: str
    unit: str = ""
    digits: int = 3
    higher_is_better: bool | None = None


MEASURES = {
    "psnr": Measure("PSNR", "dB", 2, True),
    "psnr_y": Measure("PSNR (Y)", "dB", 2, True),
    "psnr_rgb": Measure("PSNR (RGB)", "dB", 2, True),
    "ssim": Measure("SSIM", "", 4, True),
    "ssim_y": Measure("SSIM (Y)", "", 4, True),
    "ssim_rgb": Measure("SSIM (RGB)", "", 4, True),
    "ms_ssim": Measure("MS-SSIM", "", 4, True),
    "vmaf": Measure("VMAF", "", 2, True),
    "consistency": Measure("Consistency", "dB", 2, True),
    "lpips": Measure("LPIPS", "", 4, False),
    "tlpips": Measure("tLPIPS", "", 4, False),
    "niqe": Measure("NIQE", "", 2, False),
}


@dataclass(frozen=True)
class Item:
    """One of the things that are compared.

    pictures  its frames; those at one place of all items are shown together and have one shape, though not one size
    metrics   values by the names of `MEASURES` (others are shown as they are): one for each number in `measured`, None where
              there is none, infinity where nothing differs
    measured  numbers of the frames that were measured, rising; empty = those of `pictures`
    facts     what else the table says of it, by column: its size, the hours of the full job, ...
    """

    label: str
    pictures: Sequence[Picture]
    metrics: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    measured: Sequence[int] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.pictures:
            raise ValueError(f"{self.label}: has no picture")
        count = len(self.measured or self.pictures)
        for name, values in self.metrics.items():
            if len(values) != count:
                raise ValueError(f"{self.label}: {len(values)} values of {name} for {count} frames")

    @property
    def numbers(self) -> list[int]:
        """Numbers of the frames that were measured."""
        return list(self.measured) or [picture.number for picture in self.pictures]

    def worst(self, name: str) -> int | None:
        """Number of the frame that is worst by this metric, see `worst_place`."""
        place = worst_place(name, self.metrics.get(name, ()))
        return None if place is None else self.numbers[place]

    def mean(self, name: str) -> tuple[float | None, int]:
        """The mean of the finite values, and how many frames are identical (infinite)."""
        values = [value for value in self.metrics.get(name, ()) if _there(value)]
        finite = [value for value in values if value is not None and math.isfinite(value)]
        return (sum(finite) / len(finite) if finite else None), len(values) - len(finite)


def worst_place(name: str, values: Sequence[float | None]) -> int | None:
    """Place of the worst value of a metric; None where there is none, or no bad end, or all are equal."""
    measure = MEASURES.get(name)
    found = [(value, place) for place, value in enumerate(values) if value is not None and _there(value)]
    if measure is None or measure.higher_is_better is None or len({value for value, _ in found}) < 2:
        return None
    return min(found, key=lambda each: each[0] if measure.higher_is_better else -each[0])[1]


def _there(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


@dataclass(frozen=True)
class Origin:
    """What made the page: command lines, and what a reader has to know (how frames were chosen, scaled, stored)."""

    commands: Sequence[str] = ()
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def write_report(
    path: Path, title: str, items: Sequence[Item], origin: Origin, *, film: bool = False, max_bytes: int | None = None
) -> int:
    """Write the page; the name is given only to a whole file. Returns its bytes.

    film  frames follow each other in time: plots have lines, frames are numbered. Else they are pictures of their own

    Raises ValueError for items that do not fit each other, ConfigError for a page above `max_bytes`, EncodeError where it
    cannot be written.
    """
    _check(items)
    data = page(title, items, origin, film=film).encode(errors="replace")  # names of files need not be text
    if max_bytes is not None and len(data) > max_bytes:
        raise ConfigError(
            f"{path}: would be {len(data) / 1e6:.1f} MB, more than the {max_bytes / 1e6:.1f} MB that are allowed: show less"
        )
    try:
        with replaced(path) as file:
            file.write(data)
    except OSError as exc:
        raise EncodeError(f"{path}: cannot be written ({exc.strerror}); check the folder and its free space") from exc
    return len(data)


def page(title: str, items: Sequence[Item], origin: Origin, *, film: bool = False) -> str:
    """The page as text."""
    parts = files("vsr.bench") / "page"
    script = "\n".join((parts / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{script}\n}})();\n'
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    content = {
        "title": html.escape(title),
        "policy": f"{POLICY}; script-src 'sha256-{digest}'",
        "style": (parts / "page.css").read_text(encoding="utf-8"),
        "data": _harmless(json.dumps(_plain(title, items, origin, film), allow_nan=False, separators=(",", ":"))),
        "script": script,
    }
    template = (parts / "page.html").read_text(encoding="utf-8")
    return re.sub(r"@@(\w+)@@", lambda found: content[found[1]], template)  # in one pass: a label may contain such a mark


def versions() -> dict[str, str]:
    """What the pixels and numbers depend on."""
    from vsr.media.source import library_versions

    return {"vsr": __version__, "python": python_version(), "torch": version("torch"), "machine": machine(), **library_versions()}


def _check(items: Sequence[Item]) -> None:
    if not items:
        raise ValueError("a report needs at least one item")
    for item in items:
        if len(item.pictures) != len(items[0].pictures):
            raise ValueError(f"{item.label}: {len(item.pictures)} pictures where {items[0].label} has {len(items[0].pictures)}")


def _plain(title: str, items: Sequence[Item], origin: Origin, film: bool) -> dict[str, Any]:
    """What the scripts read."""
    names = list(dict.fromkeys(name for item in items for name in item.metrics))
    measures = {name: MEASURES.get(name, Measure(name)) for name in names}
    return {
        "title": title,
        "film": film,
        "measures": {key: {"name": m.name, "unit": m.unit, "digits": m.digits} for key, m in measures.items()},
        "frames": [{"number": p.number, "seconds": p.seconds, "label": p.label} for p in items[0].pictures],
        "items": [_plain_item(item) for item in items],
        "commands": list(origin.commands),
        "notes": [*origin.notes, *_sizes_note(items)],
        "versions": dict(origin.versions or versions()),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _plain_item(item: Item) -> dict[str, Any]:
    return {
        "label": item.label,
        "facts": dict(item.facts),
        "measured": item.numbers,
        "metrics": {name: [_number(value) for value in values] for name, values in item.metrics.items()},
        "means": {name: {"value": _number(item.mean(name)[0]), "identical": item.mean(name)[1]} for name in item.metrics},
        "worst": {name: item.worst(name) for name in item.metrics},
        "pictures": [{"width": p.width, "height": p.height, "src": _data_uri(p.data)} for p in item.pictures],
    }


def _number(value: float | None) -> float | str | None:
    """JSON has no infinity; six digits are more than anything here is worth."""
    if value is None or math.isnan(value):
        return None
    return float(f"{value:.6g}") if math.isfinite(value) else "inf"


def _sizes_note(items: Sequence[Item]) -> list[str]:
    sizes = [{(item.pictures[i].width, item.pictures[i].height) for item in items} for i in range(len(items[0].pictures))]
    if all(len(each) == 1 for each in sizes):
        return []
    return ["Pictures of different size are drawn at the size of the largest, the smaller ones by nearest neighbour."]


def _data_uri(data: bytes) -> str:
    kind = next((kind for start, kind in SIGNATURES.items() if data.startswith(start)), None)
    if kind is None:
        raise ValueError("a picture is neither PNG nor JPEG nor WebP")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _harmless(text: str) -> str:
    """JSON that may stand within a script element: no character of it can end the element or open a comment."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
