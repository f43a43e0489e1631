"""What the samples of the film mean: orientation, shape, colour, depth, HDR. Their values are `check_pixels`'."""

from __future__ import annotations

import struct
from fractions import Fraction

from vsr.frames import UNSPECIFIED, ColorSpec, Siting, VideoInfo
from vsr.media.check import Check, verdict
from vsr.media.codecs import suffix_of
from vsr.media.siting import is_sited
from vsr.media.survey import Survey

_UNTURNED = (0x10000, 0, 0, 0x10000)
_NO_MATRIX = frozenset({"mpegts"})  # muxers that store no display matrix
_NO_ALPHA = frozenset({"mp4", "mpegts"})
_CLOSE = Fraction(1, 5000)  # HDR values are stored in steps of 0.00002 (chromaticity) and 0.0001 cd/m2


def check_rotation(source: Survey, output: Survey, muxer: str) -> Check:
    """The display matrix turns and mirrors as before; its shift, which counts in pixels, is no part of that."""
    before, after = _turn(source.info), _turn(output.info)
    fine = "upright" if before == _UNTURNED else f"{source.info.rotation} degrees{', mirrored' if _mirrored(before) else ''}"
    if before == after:
        return Check("rotation", True, fine)
    told = f"{fine} became {'upright' if after == _UNTURNED else f'{output.info.rotation} degrees'}"
    return Check("rotation", muxer in _NO_MATRIX, told, stated=muxer in _NO_MATRIX)


def _turn(info: VideoInfo) -> tuple[int, ...]:
    matrix = info.display_matrix
    return _UNTURNED if matrix is None else (matrix[0], matrix[1], matrix[3], matrix[4])


def _mirrored(turn: tuple[int, ...]) -> bool:
    return turn[0] * turn[3] - turn[1] * turn[2] < 0


def check_aspect(source: Survey, output: Survey) -> Check:
    """The picture has the same shape on the screen, to one pixel of the smaller of the two sizes."""
    shapes = [s.sar * s.info.format.width / s.info.format.height for s in (source, output)]
    least = min(side for s in (source, output) for side in (s.info.format.width, s.info.format.height))
    fine = f"{float(shapes[0]):.4f}, sample aspect {output.sar}"
    told = f"{float(shapes[0]):.4f} became {float(shapes[1]):.4f} (sample aspect {source.sar} became {output.sar})"
    return verdict("aspect", [told] if abs(shapes[1] / shapes[0] - 1) > Fraction(1, least) else (), fine)


def check_color_tags(source: Survey, output: Survey, *, siting: Siting | None = None) -> Check:
    """Matrix, range, primaries and transfer are tagged as before; of an untagged source, with the matrix that players assume.

    Chroma lies where it lay, or left; with `siting`, where the frames were made for.
    """
    before, after = source.info.format.color, output.info.format.color
    faults = []
    if source.info.format.layout.kind == "yuv" and before.matrix != after.matrix:
        guess = ", the one players guess for this size" if after.matrix_guessed else ""
        faults.append(f"matrix {before.matrix}{' (untagged)' if before.matrix_guessed else ''} became {after.matrix}{guess}")
    if source.info.format.layout.kind == "yuv" and before.full_range != after.full_range:
        faults.append(f"{_range(before)} range became {_range(after)}")
    for name, old, new in (("primaries", before.primaries, after.primaries), ("transfer", before.transfer, after.transfer)):
        if old != new and old not in (0, UNSPECIFIED):
            faults.append(f"{name} {old} became {new}")
    fine = f"matrix {after.matrix}, {_range(after)} range, primaries {after.primaries}, transfer {after.transfer}"
    if is_sited(output.info.format.layout):
        # of a source without 4:2:0 the siting says nothing: "left"
        if after.siting not in ((siting,) if siting else (before.siting, "left")):
            faults.append(f"chroma siting {before.siting} is tagged {after.siting}, not {siting or 'left'}")
        fine += f", chroma {after.siting}"
    return verdict("colour tags", faults, fine)


def _range(color: ColorSpec) -> str:
    return "full" if color.full_range else "limited"


def check_depth(source: Survey, output: Survey, *, asked: bool = False) -> Check:
    """As many bits a sample as before, or more; fewer only where the job asked for that."""
    before, after = source.info.format.layout.bits, output.info.format.layout.bits
    told = f"{before} bits became {after}"
    if after >= before:
        return Check("bit depth", True, f"{after} bits" if after == before else told)
    return Check("bit depth", asked, told + (" as planned" if asked else ""), stated=asked)


def check_alpha(source: Survey, output: Survey, muxer: str, *, asked: bool = False) -> Check:
    """Transparency is still there where a codec of the container has it."""
    if not source.alpha:
        return Check("alpha", True, "none")
    if output.alpha:
        return Check("alpha", True, "kept")
    excused = asked or muxer in _NO_ALPHA
    return Check("alpha", excused, f"lost{f': {suffix_of(muxer)} holds none' if muxer in _NO_ALPHA else ''}", stated=excused)


def check_hdr(source: Survey, output: Survey, *, asked: bool = False) -> Check:
    """Mastering display (SMPTE ST 2086) and content light level (CTA-861.3) have the same values; dynamic metadata is stated."""
    faults: list[str] = []
    kept: list[str] = []
    for key, name, read in (
        ("MASTERING_DISPLAY_METADATA", "mastering display", _mastering),
        ("CONTENT_LIGHT_LEVEL", "content light level", _light),
    ):
        if key not in source.side_data:
            continue
        if key not in output.side_data:
            faults.append(f"{name} is missing")
        elif any(abs(a - b) > _CLOSE for a, b in zip(read(source.side_data[key]), read(output.side_data[key]), strict=True)):
            faults.append(f"{name} has other values")
        else:
            kept.append(name)
    dynamic = [name for name in source.info.hdr if name in ("HDR10+", "Dolby Vision") and name not in output.info.hdr]
    notes = [f"{name} is left out: no encoder here writes it" for name in dynamic]
    if asked and faults:
        faults, notes = [], [*faults, *notes]
    return verdict("HDR", faults, ", ".join(kept) or ("" if notes else "none"), notes)


def _mastering(data: bytes) -> tuple[Fraction, ...]:
    """AVMasteringDisplayMetadata: three primaries and white point (x, y), least and greatest luminance; two flags."""
    numbers = struct.unpack("=22i", data[:88])
    pairs = zip(numbers[0:20:2], numbers[1:20:2], strict=True)
    return (*(Fraction(a, b or 1) for a, b in pairs), Fraction(numbers[20]), Fraction(numbers[21]))


def _light(data: bytes) -> tuple[Fraction, ...]:
    return tuple(Fraction(n) for n in struct.unpack("=2I", data[:8]))
