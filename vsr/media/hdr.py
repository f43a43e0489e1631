"""Static HDR metadata (SMPTE ST 2086, CTA-861.3): from decoded frames to encoder options."""

from __future__ import annotations

import struct
from fractions import Fraction

from vsr.frames import LightLevel, MasteringDisplay

_RATIONALS = struct.Struct("=20i2i")  # AVMasteringDisplayMetadata: ten rationals (R, G, B, white, min, max), two flags


def read_mastering(data: bytes | None) -> MasteringDisplay | None:
    """FFmpeg's MASTERING_DISPLAY_METADATA side data; None where it is missing or says nothing."""
    if data is None or len(data) < _RATIONALS.size:
        return None
    *numbers, has_primaries, has_luminance = _RATIONALS.unpack(data[: _RATIONALS.size])
    pairs = [Fraction(n, d) if d else Fraction(0) for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
    if not (has_primaries and has_luminance):
        return None
    return MasteringDisplay(tuple(pairs[:8]), pairs[8], pairs[9])


def read_light(data: bytes | None) -> LightLevel | None:
    """FFmpeg's CONTENT_LIGHT_LEVEL side data."""
    if data is None or len(data) < 8:
        return None
    most, average = struct.unpack("=2I", data[:8])
    return LightLevel(most, average) if most or average else None


def encoder_params(encoder: str, mastering: MasteringDisplay | None, light: LightLevel | None) -> dict[str, str]:
    """Options that put the metadata into the bitstream; empty for encoders that cannot."""
    lists = {"libx265": "x265-params", "libx264": "x264-params", "libsvtav1": "svtav1-params"}
    if encoder not in lists or (mastering is None and light is None):
        return {}
    parts = ["hdr10=1", "repeat-headers=1"] if encoder == "libx265" else []
    if mastering is not None:
        parts.append(f"mastering-display={_svt(mastering)}" if encoder == "libsvtav1" else f"{_X26X[encoder]}={_sei(mastering)}")
    if light is not None:
        name = {"libx265": "max-cll", "libx264": "cll", "libsvtav1": "content-light"}[encoder]
        parts.append(f"{name}={light.most},{light.average}")
    return {lists[encoder]: ":".join(parts)}


_X26X = {"libx265": "master-display", "libx264": "mastering-display"}


def _sei(display: MasteringDisplay) -> str:
    """In the units of the SEI message: 0.00002 for chromaticity, 0.0001 cd/m2 for luminance."""
    red, green, blue, white = (tuple(round(v * 50_000) for v in display.chromaticity[i : i + 2]) for i in (0, 2, 4, 6))
    least, most = round(display.least * 10_000), round(display.most * 10_000)
    points = "".join(f"{name}({x},{y})" for name, (x, y) in zip("GBR", (green, blue, red), strict=True))
    return f"{points}WP({white[0]},{white[1]})L({most},{least})"


def _svt(display: MasteringDisplay) -> str:
    red, green, blue, white = (display.chromaticity[i : i + 2] for i in (0, 2, 4, 6))
    points = "".join(f"{n}({float(p[0]):.5f},{float(p[1]):.5f})" for n, p in zip("GBR", (green, blue, red), strict=True))
    return f"{points}WP({float(white[0]):.5f},{float(white[1]):.5f})L({float(display.most):.4f},{float(display.least):.4f})"
