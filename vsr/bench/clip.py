"""The bundled clip: what is measured where nothing else is named."""

from __future__ import annotations

from pathlib import Path

from vsr.errors import ConfigError

_NAME = "examples/bunny_160x90.mp4"
_HERE = Path(__file__).parents[1]


def bundled_clip() -> str:
    """Its path: in an installed package, or in a checkout. Raises ConfigError where it was left out."""
    for path in (_HERE / "data" / _NAME, _HERE.parent / _NAME):
        if path.is_file():
            return str(path)
    raise ConfigError(f"{_NAME}: is not part of this installation; name a clip with --input")
