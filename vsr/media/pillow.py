"""What Pillow reads and writes for vsr: JPEG, WebP, BMP, and the odder kinds of TIFF.

Its plugin classes are called directly. `Image.open` would guess the format again, and refuse pictures over 178 megapixels as
bombs; sizes are checked here before anything is allocated.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from vsr.errors import DecodeError
from vsr.media.imagemeta import StillImage, batch_of, check_size, clean_exif, sane_dpi

EXIF_MARK = b"Exif\0\0"
START_OF_SCAN, APP1 = 0xDA, 0xE1


def read_jpeg(data: bytes) -> StillImage:
    """Decode a JPEG: gray, YCbCr, RGB; CMYK becomes RGB with a warning. Raises DecodeError, or what Pillow raises."""
    warnings: list[str] = []
    readable, exif = _without_exif(data)
    image = JpegImageFile(io.BytesIO(readable))
    xmp = _bytes(image.info, "xmp")
    if "mpoffset" in image.info or (xmp and b"Container:Directory" in xmp):
        warnings.append("the further pictures in this JPEG (preview, depth or gain map) are left out")
        xmp = None  # it would still promise them
    samples, alpha, icc = samples_of(image, warnings)
    return StillImage(
        batch_of(samples, alpha), "JPEG", lossless=False, icc=icc, exif=_exif(exif, warnings), xmp=xmp, dpi=_dpi(image),
        comment=_bytes(image.info, "comment"), warnings=tuple(warnings),
    )  # fmt: skip


def _without_exif(data: bytes) -> tuple[bytearray, bytes]:
    """The file with its EXIF marked as something else (Pillow would stumble over a damaged one), and the EXIF block."""
    file, exif, at = bytearray(data), b"", 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != START_OF_SCAN:
        (length,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] == APP1 and data.startswith(EXIF_MARK, at + 4):
            file[at + 4 : at + 8] = b"----"
            exif += data[at + 4 + (len(EXIF_MARK) if exif else 0) : at + 2 + length]  # a long one goes on in the next segment
        at += 2 + length
    return file, exif


def read_webp(data: bytes) -> StillImage:
    """Decode a WebP of one picture. Raises DecodeError, or what Pillow raises."""
    image = WebPImageFile(io.BytesIO(data))
    if image.n_frames > 1:
        raise DecodeError("is an animated WebP: convert it to a video first (ImageMagick: convert in.webp out.gif)")
    warnings: list[str] = []
    samples, alpha, icc = samples_of(image, warnings)
    return StillImage(
        batch_of(samples, alpha), "WEBP", lossless=b"VP8L" in _riff_chunks(data), icc=icc,
        exif=_exif(_bytes(image.info, "exif"), warnings), xmp=_bytes(image.info, "xmp"), warnings=tuple(warnings),
    )  # fmt: skip


def _riff_chunks(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        yield data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2


def read_bmp(data: bytes) -> StillImage:
    """Decode a BMP. Raises DecodeError, or what Pillow raises."""
    image = BmpImageFile(io.BytesIO(data))
    warnings: list[str] = []
    samples, alpha, icc = samples_of(image, warnings)
    return StillImage(batch_of(samples, alpha), "BMP", icc=icc, dpi=_dpi(image), warnings=tuple(warnings))


def samples_of(image: ImageFile, warnings: list[str]) -> tuple[npt.NDArray[np.uint8], bool, bytes | None]:
    """Samples (H, W, 1..4), whether the last is alpha, and their ICC profile. Raises DecodeError, or what Pillow raises."""
    check_size(*image.size, len(image.getbands()))
    image.load()
    icc = _bytes(image.info, "icc_profile")
    pixels: Image.Image = image
    if image.mode == "CMYK":
        pixels, icc = _rgb_of_cmyk(image, icc, warnings), None
    elif image.mode in _CONVERSIONS:
        pixels = image.convert(_CONVERSIONS[image.mode])
    elif image.mode == "P":
        pixels = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if pixels.mode not in ("L", "LA", "RGB", "RGBA"):
        raise DecodeError(f"has pixels of a kind that vsr does not read ({pixels.mode}): convert it to RGB or gray first")
    return np.atleast_3d(np.asarray(pixels)), pixels.mode in ("LA", "RGBA"), icc


_CONVERSIONS = {"1": "L", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB", "PA": "RGBA"}


def _rgb_of_cmyk(image: Image.Image, icc: bytes | None, warnings: list[str]) -> Image.Image:
    """Through the picture's own profile where it has one that works; the plain formula is far too bright for print inks."""
    if icc:
        try:
            out = ImageCms.profileToProfile(image, io.BytesIO(icc), ImageCms.createProfile("sRGB"), outputMode="RGB")
        except ImageCms.PyCMSError:
            out = None
        if out is not None:
            warnings.append("CMYK is converted to sRGB through its profile")
            return out
    warnings.append("CMYK without a usable profile is converted to RGB by the plain formula: colours may be off")
    return image.convert("RGB")


def _bytes(info: dict[str | tuple[int, int], Any], key: str) -> bytes | None:
    value = info.get(key)
    return value or None if isinstance(value, bytes) else None


def _exif(block: bytes | None, warnings: list[str]) -> bytes | None:
    try:
        return clean_exif(block) if block else None
    except ValueError:
        warnings.append("the EXIF block is damaged and left out")
        return None


def _dpi(image: ImageFile) -> tuple[float, float] | None:
    dpi = image.info.get("dpi")
    return sane_dpi(float(dpi[0]), float(dpi[1])) if dpi else None


def write_with_pillow(file: IO[bytes], image: StillImage, format: str, quality: int) -> None:
    """Write JPEG, WebP or BMP: 8-bit planes that the format can hold. Raises OSError, ValueError."""
    planes = [plane[0] for plane in image.batch.planes]
    picture = Image.fromarray(planes[0] if len(planes) == 1 else np.stack(planes, axis=2))
    exif = EXIF_MARK + image.exif if image.exif else b""
    options: dict[str, Any] = {"icc_profile": image.icc, "exif": exif, "xmp": image.xmp or b""}
    if image.dpi:
        options["dpi"] = image.dpi
    if format == "JPEG":
        options |= {"quality": quality, "subsampling": 0, "comment": image.comment or b""}
    if format == "WEBP" and image.lossless:
        options |= {"lossless": True, "exact": True, "method": 2, "quality": 20}  # 3840x2160 photo: 1.2 s, 9.8 MB
    elif format == "WEBP":
        options |= {"quality": quality, "method": 4}
    packed = _packed(picture, format, options)
    # Pillow gives libjpeg a byte a pixel to optimise in, and a noisy picture that needs more fails: so see first what it needs.
    if format == "JPEG" and len(packed) < max(1 << 16, picture.width * picture.height) - (1 << 12):
        packed = _packed(picture, format, options | {"optimize": True})
    file.write(packed)


def _packed(picture: Image.Image, format: str, options: dict[str, Any]) -> memoryview:
    """The file in memory, so that no error of the disk is taken for one of the encoder."""
    packed = io.BytesIO()
    picture.save(packed, format, **options)
    return packed.getbuffer()
