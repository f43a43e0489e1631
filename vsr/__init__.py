"""vsr: video super-resolution that keeps every frame, timestamp, stream and tag.

    from vsr import UpscaleConfig, upscale
    report = upscale(UpscaleConfig("input.mp4", scale=4, model="esrgan"))

Public names are resolved on first use: `import vsr` loads neither torch nor PyAV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vsr.config import EncodeConfig, UpscaleConfig
    from vsr.errors import VsrError
    from vsr.media.probe import probe
    from vsr.pipeline import upscale
    from vsr.report import Progress, Report

_HOMES = {
    "EncodeConfig": "vsr.config",
    "Progress": "vsr.report",
    "Report": "vsr.report",
    "UpscaleConfig": "vsr.config",
    "VsrError": "vsr.errors",
    "probe": "vsr.media.probe",
    "upscale": "vsr.pipeline",
}
__all__ = ["EncodeConfig", "Progress", "Report", "UpscaleConfig", "VsrError", "probe", "upscale"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vsr' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
