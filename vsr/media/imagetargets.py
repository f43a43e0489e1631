"""What each image format can hold, and making a picture fit: every loss is said by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vsr.errors import EncodeError
from vsr.frames import FrameBatch, Plane
from vsr.media.imagemeta import Samples, StillImage, exif_with_size, icc_fits, xmp_with_size
from vsr.media.png import COLOR_CHUNKS

JPEG_SEGMENT = 65533  # bytes in one
SRGB_GAMMA = 45455  # gAMA that says the same as sRGB


@dataclass(frozen=True)
class Target:
    """What a format can hold: largest side, 16 bits, alpha, gray; ICC + EXIF + XMP; resolution; a comment."""

    name: str
    max_side: int = 2**31 - 1
    deep: bool = False
    alpha: bool = False
    gray: bool = True
    tags: bool = True
    dpi: bool = True
    comment: bool = False


TARGETS = {
    "PNG": Target("PNG", deep=True, alpha=True, comment=True),
    "JPEG": Target("JPEG", max_side=65500, comment=True),  # libjpeg's own limit
    "WEBP": Target("WebP", max_side=16383, alpha=True, gray=False, dpi=False),
    "TIFF": Target("TIFF", deep=True, alpha=True),
    "BMP": Target("BMP", tags=False),
}


def fitted(image: StillImage, target: Target) -> tuple[StillImage, tuple[str, ...]]:
    """The picture as the format can hold it, and what that costs. Raises EncodeError for one that is too large."""
    format = image.batch.format
    if format.layout.kind == "yuv" or format.layout.bits not in (8, 16):
        raise ValueError(f"a still image is RGB or gray with 8 or 16 bits, not {format.layout}")
    if max(format.width, format.height) > target.max_side:
        raise EncodeError(f"{format.width}x{format.height} is larger than {target.name} can be ({target.max_side}); write a .png")
    warnings: list[str] = []
    batch = _fitted_pixels(image.batch, target, warnings)
    return _fitted_metadata(replace(image, batch=batch), target, warnings), tuple(warnings)


def _fitted_pixels(batch: FrameBatch, target: Target, warnings: list[str]) -> FrameBatch:
    layout = batch.format.layout
    planes: tuple[Plane, ...] = batch.planes
    if layout.alpha and not target.alpha:
        top = (1 << layout.bits) - 1
        if (planes[-1] != top).any():
            warnings.append(f"{target.name} holds no transparency: the picture is laid over white")
            planes = tuple(_over_white(plane, planes[-1], top) for plane in planes[:-1])
        else:
            planes = planes[:-1]
        layout = replace(layout, alpha=False)
    if layout.bits == 16 and not target.deep:
        warnings.append(f"{target.name} holds 8 bits: 16-bit samples are rounded")
        planes = tuple(_rounded(plane) for plane in planes)
        layout = replace(layout, bits=8)
    if layout.kind == "gray" and not target.gray:
        warnings.append(f"{target.name} holds no gray: it is stored as RGB")
        planes = (planes[0], planes[0], *planes)
        layout = replace(layout, kind="rgb")
    return batch.with_planes(replace(batch.format, layout=layout), planes)


def _rounded(plane: Plane) -> Plane:
    """16 to 8 bits: v / 257, to the nearest."""
    rounded: Samples = ((plane.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rounded


def _over_white(plane: Plane, alpha: Plane, top: int) -> Plane:
    """color * a + white * (1 - a), on gamma-coded values as browsers do, rounded half up."""
    a = alpha.astype(np.uint32)  # 65535^2 + 32767 is just under 2^32
    laid: Samples = ((plane * a + top * (top - a) + top // 2) // top).astype(plane.dtype)
    return laid


def _fitted_metadata(image: StillImage, target: Target, warnings: list[str]) -> StillImage:
    layout, width, height = image.batch.format.layout, image.batch.format.width, image.batch.format.height
    lost = [] if target.tags else [name for name in ("icc", "exif", "xmp") if getattr(image, name)]
    if target.name == "JPEG":
        lost += [name for name in ("exif", "xmp", "comment") if len(getattr(image, name) or b"") > JPEG_SEGMENT - 40]
    if image.icc and "icc" not in lost and not icc_fits(image.icc, layout.kind):
        warnings.append(f"the ICC profile is not one for {layout.kind} pixels and left out")
        image = replace(image, icc=None)
    if image.comment and not target.comment:
        lost.append("comment")
    if image.dpi and not target.dpi:
        # 72 and 96 are what programs write when they know nothing: not worth a word
        lost += ["dpi"] if image.dpi not in ((72, 72), (96, 96)) else []
        image = replace(image, dpi=None)
    if lost:
        warnings.append(f"{target.name} cannot hold this picture's {', '.join(_NAMES[name] for name in lost)}: left out")
        gone: dict[str, Any] = dict.fromkeys(lost)
        image = replace(image, **gone)
    if target.name != "PNG":
        warnings += _lost_chunks(image, target)
        image = replace(image, chunks=())
    try:
        exif = exif_with_size(image.exif, width, height) if image.exif else None
    except ValueError:
        exif = None
        warnings.append("the EXIF block is damaged and left out")
    return replace(image, exif=exif, xmp=xmp_with_size(image.xmp, width, height) if image.xmp else None)


_NAMES = {"icc": "ICC profile", "exif": "EXIF", "xmp": "XMP", "dpi": "resolution", "comment": "comment"}


def _lost_chunks(image: StillImage, target: Target) -> list[str]:
    """Text, and colour that says something else than plain sRGB (an ICC profile overrides all of it)."""
    texts = [payload.partition(b"\0")[0].decode("latin-1") for kind, payload in image.chunks if kind not in COLOR_CHUNKS]
    colors = {kind: payload for kind, payload in image.chunks if kind in COLOR_CHUNKS}
    plain = b"sRGB" in colors or int.from_bytes(colors.get(b"gAMA", SRGB_GAMMA.to_bytes(4, "big")), "big") == SRGB_GAMMA
    if plain or image.icc:
        colors = {kind: payload for kind, payload in colors.items() if kind not in (b"gAMA", b"sRGB", b"cHRM")}
    lost = []
    if texts:
        lost.append(f"the PNG's text ({', '.join(texts)}) is left out: {target.name} has no place for it")
    if colors:
        names = ", ".join(kind.decode() for kind in colors)
        lost.append(f"the PNG's colour description ({names}) is left out: colours may look different")
    return lost
