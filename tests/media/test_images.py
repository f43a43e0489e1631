"""Still images: exact samples, metadata that survives, hostile files, atomic writing."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from vsr.errors import DecodeError, EncodeError
from vsr.frames import ColorSpec, FrameBatch, FrameFormat, PixelLayout
from vsr.media.imagemeta import batch_of, clean_exif, exif_with_size
from vsr.media.images import StillImage, is_image, read_image, write_image
from vsr.media.png import chunk

Array = npt.NDArray[Any]
RGB_ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY_ICC = RGB_ICC[:16] + b"GRAY" + RGB_ICC[20:]
XMP = b'<x:meta><r exif:PixelXDimension="20" tiff:ImageLength="10"/><exif:PixelYDimension>10</exif:PixelYDimension></x:meta>'


def noise(*shape: int, bits: int = 8, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 1 << bits, shape, dtype=np.uint8 if bits == 8 else np.uint16)


def photo(height: int, width: int, channels: int) -> Array:
    """Smooth pixels, which lossy formats keep well."""
    y, x, c = np.mgrid[:height, :width, :channels]
    return np.asarray(128 + 100 * np.sin(x / 17 + c) * np.cos(y / 13), np.uint8)


def samples(image: StillImage) -> Array:
    return np.stack([plane[0] for plane in image.batch.planes], axis=2)


def still(pixels: Array, **metadata: Any) -> StillImage:
    return StillImage(batch_of(pixels, alpha=pixels.shape[2] in (2, 4)), "PNG", **metadata)


def png(pixels: Array, color_type: int, depth: int, *before: tuple[bytes, bytes], rows: bytes | None = None) -> bytes:
    """A PNG made of nothing but zlib: `rows` overrides the packed rows (without filter bytes) of `pixels`."""
    height, width = pixels.shape[:2]
    raw = rows if rows is not None else pixels.astype(f">u{2 if depth == 16 else 1}").tobytes()
    size = len(raw) // height
    lines = b"".join(b"\0" + raw[i * size : (i + 1) * size] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    body = [(b"IHDR", header), *before, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, payload) for kind, payload in body)


def exif_block(order: str = "<", orientation: int = 6, width: int = 20, height: int = 10) -> bytes:
    """Orientation, Make, ExifIFD with pixel sizes and a maker note, then a thumbnail at the end, as a camera writes them."""
    make, note, thumbnail = b"Camera\0\0", b"maker note!!", b"\xff\xd8thumbnail\xff\xd9"
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    main = 8 + 2 + 3 * 12 + 4
    detail = main + len(make)
    small = detail + 2 + 3 * 12 + 4 + len(note)
    picture = small + 2 + 2 * 12 + 4
    return b"".join([
        head,
        struct.pack(order + "H", 3),
        struct.pack(order + "HHII", 271, 2, 7, main),
        struct.pack(order + "HHIHH", 274, 3, 1, orientation, 0),
        struct.pack(order + "HHII", 34665, 4, 1, detail),
        struct.pack(order + "I", small), make,
        struct.pack(order + "H", 3),
        struct.pack(order + "HHII", 37500, 7, len(note), detail + 2 + 3 * 12 + 4),
        struct.pack(order + "HHIHH", 40962, 3, 1, width, 0),
        struct.pack(order + "HHII", 40963, 4, 1, height),
        struct.pack(order + "I", 0), note,
        struct.pack(order + "H", 2),
        struct.pack(order + "HHII", 513, 4, 1, picture),
        struct.pack(order + "HHII", 514, 4, 1, len(thumbnail)),
        struct.pack(order + "I", 0), thumbnail,
    ])  # fmt: skip


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], StillImage]:
    def from_bytes(data: bytes) -> StillImage:
        path = tmp_path / "picture"
        path.write_bytes(data)
        return read_image(path)

    return from_bytes


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (13, 7), (90, 1300)])
def test_png_and_tiff_keep_every_sample(tmp_path: Path, suffix: str, bits: int, channels: int, size: tuple[int, int]) -> None:
    pixels = noise(*size, channels, bits=bits)
    path = tmp_path / f"a{suffix}"
    assert write_image(path, still(pixels)) == ()
    back = read_image(path)
    assert np.array_equal(samples(back), pixels)
    assert back.warnings == ()
    expected = PixelLayout("gray" if channels < 3 else "rgb", bits=bits, alpha=channels in (2, 4))
    assert back.batch.format == FrameFormat(size[1], size[0], expected, ColorSpec(0, True, 1, 13))
    assert all(plane.flags.c_contiguous and plane.dtype.isnative for plane in back.batch.planes)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 3, 4]), st.sampled_from([8, 16]), st.data())
def test_smooth_and_flat_pictures_survive_the_png_filters(
    tmp_path: Path, height: int, width: int, channels: int, bits: int, data: st.DataObject
) -> None:
    step = data.draw(st.sampled_from([0, 1, 300, 40000]))
    steps = noise(height, width, channels, bits=bits).astype(int) % (step + 1)
    pixels = np.cumsum(steps, axis=data.draw(st.sampled_from([0, 1])))
    pixels = pixels.astype(np.uint8 if bits == 8 else np.uint16)
    write_image(tmp_path / "a.png", still(pixels))
    assert np.array_equal(samples(read_image(tmp_path / "a.png")), pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("channels", "name"), [(1, "gray16"), (2, "ya16"), (3, "rgb48"), (4, "rgba64")])
def test_ffmpeg_reads_the_same_16_bits(tmp_path: Path, suffix: str, channels: int, name: str) -> None:
    pixels = noise(37, 53, channels, bits=16)
    path = tmp_path / f"a{suffix}"
    write_image(path, still(pixels))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert frame.format.name.startswith(name)
    rows = np.frombuffer(memoryview(frame.planes[0]), f"{'>' if frame.format.name.endswith('be') else '<'}u2")
    assert np.array_equal(rows.reshape(37, -1)[:, : 53 * channels].reshape(pixels.shape), pixels)


@pytest.mark.parametrize(("name", "codec", "order"), [("a.png", "png", "be"), ("a.tif", "tiff", "le")])
@pytest.mark.parametrize(("channels", "kind"), [(1, "gray16"), (3, "rgb48"), (4, "rgba64")])
def test_16_bits_written_by_ffmpeg_are_read_exactly(
    tmp_path: Path, name: str, codec: str, order: str, channels: int, kind: str
) -> None:
    pixels = noise(19, 32, channels, bits=16)
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt, context.time_base = 32, 19, kind + order, Fraction(1)
    frame = av.VideoFrame(32, 19, kind + order)
    padded = np.zeros((19, frame.planes[0].line_size // 2), ">u2" if order == "be" else "<u2")
    padded[:, : 32 * channels] = pixels.reshape(19, -1)
    frame.planes[0].update(padded.tobytes())
    frame.pts = 0
    (tmp_path / name).write_bytes(b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)]))
    assert np.array_equal(samples(read_image(tmp_path / name)), pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pillow_reads_the_same_8_bits(tmp_path: Path, suffix: str, mode: str) -> None:
    pixels = noise(20, 31, len(mode) if mode != "L" else 1)
    path = tmp_path / f"a{suffix}"
    warnings = write_image(path, still(pixels))
    with Image.open(path) as image:
        if suffix == ".bmp" and mode == "RGBA":
            assert warnings == ("BMP holds no transparency: the picture is laid over white",)
        else:
            assert np.array_equal(np.asarray(image.convert(mode)), pixels.squeeze())
    assert bool(warnings) == ((suffix, mode) in [(".bmp", "RGBA"), (".webp", "L")])


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [60, 95, 100])
def test_jpeg_is_close_and_not_subsampled(tmp_path: Path, mode: str, quality: int) -> None:
    pixels = photo(64, 80, len(mode))
    assert write_image(tmp_path / "a.jpg", still(pixels), quality=quality) == ()
    back = read_image(tmp_path / "a.jpg")
    assert back.batch.format.layout == PixelLayout("gray" if mode == "L" else "rgb")
    assert np.abs(samples(back).astype(int) - pixels).mean() < 3
    with Image.open(tmp_path / "a.jpg") as image:
        assert all(layer[1:3] == (1, 1) for layer in image.layer)  # type: ignore[attr-defined]


def test_pure_noise_fits_into_a_jpeg_of_any_quality(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Pillow's buffer for optimised tables has been too small for such pictures."""
    for quality in (1, 90, 95, 100):
        write_image(tmp_path / "a.jpg", still(noise(400, 500, 3)), quality=quality)
        assert samples(read_image(tmp_path / "a.jpg")).shape == (400, 500, 3)
    assert capfd.readouterr().err == ""


def test_webp_is_lossless_only_for_a_lossless_source(tmp_path: Path) -> None:
    pixels = noise(30, 40, 4)
    pixels[:5, :, 3] = 0  # colours under full transparency count too
    write_image(tmp_path / "a.webp", still(pixels))
    back = read_image(tmp_path / "a.webp")
    assert back.lossless
    assert np.array_equal(samples(back), pixels)
    write_image(tmp_path / "b.webp", still(photo(30, 40, 3), lossless=False))
    assert not read_image(tmp_path / "b.webp").lossless


# --- what is lost is said ---------------------------------------------------------------------------------------------


def test_16_bits_are_rounded_into_jpeg_and_webp(tmp_path: Path) -> None:
    pixels = np.array([0, 128, 129, 385, 386, 65406, 65407, 65535], np.uint16).reshape(1, 8, 1).repeat(3, axis=2)
    assert write_image(tmp_path / "a.webp", still(pixels)) == ("WebP holds 8 bits: 16-bit samples are rounded",)
    assert samples(read_image(tmp_path / "a.webp"))[0, :, 0].tolist() == [0, 0, 1, 1, 2, 254, 255, 255]


def test_alpha_is_laid_over_white_and_an_opaque_one_dropped_in_silence(tmp_path: Path) -> None:
    pixels = np.full((16, 16, 4), 60, np.uint8)
    pixels[..., 3] = 255
    assert write_image(tmp_path / "a.jpg", still(pixels)) == ()
    assert abs(int(samples(read_image(tmp_path / "a.jpg"))[8, 8, 0]) - 60) <= 1
    pixels[..., 3] = 51  # a fifth
    warnings = write_image(tmp_path / "a.jpg", still(pixels))
    assert warnings == ("JPEG holds no transparency: the picture is laid over white",)
    assert abs(int(samples(read_image(tmp_path / "a.jpg"))[8, 8, 0]) - (60 + 4 * 255) / 5) <= 1


def test_a_gray_profile_does_not_go_with_rgb_pixels(tmp_path: Path) -> None:
    warnings = write_image(tmp_path / "a.webp", still(noise(4, 4, 1), icc=GRAY_ICC))
    assert warnings == ("WebP holds no gray: it is stored as RGB", "the ICC profile is not one for rgb pixels and left out")
    assert read_image(tmp_path / "a.webp").icc is None
    assert write_image(tmp_path / "a.png", still(noise(4, 4, 1), icc=GRAY_ICC)) == ()
    assert read_image(tmp_path / "a.png").icc == GRAY_ICC


def test_what_bmp_and_jpeg_cannot_hold_is_named(tmp_path: Path) -> None:
    image = still(noise(4, 4, 3), icc=RGB_ICC, exif=exif_block(), xmp=b"x" * 70000, dpi=(300, 300), comment=b"hello")
    assert write_image(tmp_path / "a.bmp", image) == ("BMP cannot hold this picture's ICC profile, EXIF, XMP, comment: left out",)
    assert write_image(tmp_path / "a.jpg", image) == ("JPEG cannot hold this picture's XMP: left out",)
    assert write_image(tmp_path / "a.webp", image) == ("WebP cannot hold this picture's comment, resolution: left out",)


def test_png_text_and_colour_are_kept_or_named(tmp_path: Path, read: Callable[[bytes], StillImage]) -> None:
    text = ((b"tEXt", b"Title\0x"), (b"iTXt", b"Author\0\0\0de\0Autor\0\xc3\xa4"))
    image = read(png(noise(3, 3, 3), 2, 8, (b"gAMA", struct.pack(">I", 100000)), *text))
    write_image(tmp_path / "b.png", image)
    assert read_image(tmp_path / "b.png").chunks == image.chunks == ((b"gAMA", struct.pack(">I", 100000)), *text)
    with Image.open(tmp_path / "b.png") as other:
        assert (other.info["gamma"], other.info["Title"], other.info["Author"]) == (1.0, "x", "ä")
    assert write_image(tmp_path / "b.tif", image) == (
        "the PNG's text (Title, Author) is left out: TIFF has no place for it",
        "the PNG's colour description (gAMA) is left out: colours may look different",
    )
    plain = read(png(noise(3, 3, 3), 2, 8, (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455))))
    assert write_image(tmp_path / "b.jpg", plain) == ()


# --- metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_metadata_is_read_back_by_pillow(tmp_path: Path, suffix: str, bits: int, order: str) -> None:
    exif = clean_exif(b"Exif\0\0" + exif_block(order))
    image = still(noise(10, 20, 3, bits=bits), icc=RGB_ICC, exif=exif, xmp=XMP, dpi=(300, 150))
    path = tmp_path / f"a{suffix}"
    write_image(path, image.with_batch(batch_of(noise(40, 80, 3, bits=bits), alpha=False)))
    with Image.open(path) as other:
        tags = other.getexif()
        detail = tags.get_ifd(34665)
        assert (tags[274], tags[271], detail[40962], detail[40963]) == (6, "Camera", 80, 40)
        assert detail[37500] == b"maker note!!"
        assert other.info["icc_profile"] == RGB_ICC
        assert (other.info["xmp"] if "xmp" in other.info else other.info["XML:com.adobe.xmp"].encode()) == (
            XMP.replace(b'"20"', b'"80"').replace(b'"10"', b'"40"').replace(b">10<", b">40<")
        )
        if suffix != ".webp":
            assert other.info["dpi"] == pytest.approx((300, 150), rel=1e-3)
    back = read_image(path)
    assert back.icc == RGB_ICC
    assert back.exif is not None
    assert b"thumbnail" not in back.exif
    assert (back.batch.format.width, back.batch.format.height) == (80, 40)  # not turned


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_metadata_written_by_pillow_is_read(read: Callable[[bytes], StillImage], format: str) -> None:
    tags = Image.Exif()
    tags[274], tags[271], tags[305] = 8, "Maker", "Tool"
    options: dict[str, Any] = {"icc_profile": RGB_ICC, "exif": tags, "dpi": (200, 200)}
    image = read(saved(Image.fromarray(noise(10, 20, 3)), format, **options))
    assert image.source_format == format
    assert image.icc == RGB_ICC
    assert (image.batch.format.width, image.batch.format.height) == (20, 10)  # orientation 8 would turn it
    back = Image.Exif()
    back.load(image.exif or b"")
    assert (back[274], back[271].rstrip("\0"), back[305].rstrip("\0")) == (8, "Maker", "Tool")
    assert image.dpi == (None if format == "WEBP" else pytest.approx((200, 200), rel=1e-3))
    assert image.lossless == (format in ("PNG", "TIFF"))


def test_orientation_of_a_tiff_that_pillow_decodes_is_not_applied(read: Callable[[bytes], StillImage]) -> None:
    tags = Image.Exif()
    tags[274] = 6
    palette = Image.fromarray(photo(10, 20, 1)[..., 0]).convert("P")
    image = read(saved(palette, "TIFF", exif=tags))
    assert np.array_equal(samples(image), np.asarray(palette.convert("RGB")))
    back = Image.Exif()
    back.load(image.exif or b"")
    assert back[274] == 6


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_loses_its_thumbnail_and_takes_new_sizes(order: str) -> None:
    block = clean_exif(exif_block(order))
    assert block is not None
    assert b"thumbnail" not in block
    big = Image.Exif()
    big.load(exif_with_size(block, 70000, 50000))  # more than the SHORT that was there holds
    assert (big.get_ifd(34665)[40962], big.get_ifd(34665)[40963]) == (70000, 50000)
    assert not big.get_ifd(1)  # IFD1


@settings(deadline=None)
@given(st.data())
def test_damaged_exif_is_refused_by_value_error_alone(data: st.DataObject) -> None:
    block = bytearray(exif_block(data.draw(st.sampled_from("<>"))))
    for at in data.draw(st.lists(st.integers(0, len(block) - 1), max_size=8)):
        block[at] = data.draw(st.integers(0, 255))
    del block[data.draw(st.integers(0, len(block))) :]
    try:
        cleaned = clean_exif(bytes(block))
        if cleaned:
            exif_with_size(cleaned, 5, 5)
    except ValueError:
        pass


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_costs_a_warning_and_not_the_picture(read: Callable[[bytes], StillImage], format: str) -> None:
    pixels = photo(8, 8, 3)
    data = saved(Image.fromarray(pixels), format, exif=b"Exif\0\0" + exif_block()[:30])
    image = read(data)
    assert image.exif is None
    assert image.warnings == ("the EXIF block is damaged and left out",)
    assert samples(image).shape == pixels.shape


def test_jpeg_comment_survives_a_detour_through_png(tmp_path: Path, read: Callable[[bytes], StillImage]) -> None:
    image = read(saved(Image.fromarray(photo(8, 8, 3)), "JPEG", comment=b"by me"))
    assert image.comment == b"by me"
    write_image(tmp_path / "a.jpg", image)
    assert read_image(tmp_path / "a.jpg").comment == b"by me"
    write_image(tmp_path / "a.png", image)
    with Image.open(tmp_path / "a.png") as other:
        assert other.info["Comment"] == "by me"


# --- kinds of source --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("key", [None, 1])
def test_gray_png_of_few_bits(read: Callable[[bytes], StillImage], depth: int, key: int | None) -> None:
    values = (np.arange(16).reshape(2, 8) % (1 << depth)).astype(np.uint8)
    bits = "".join(f"{v:0{depth}b}" for v in values.ravel())
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    before = () if key is None else ((b"tRNS", struct.pack(">H", key)),)
    image = read(png(values, 0, depth, *before, rows=packed))
    assert np.array_equal(image.batch.planes[0][0], values * (255 // ((1 << depth) - 1)))
    assert image.batch.format.layout == PixelLayout("gray", alpha=key is not None)
    if key is not None:
        assert np.array_equal(image.batch.planes[1][0], np.where(values == key, 0, 255))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3)])
def test_transparent_colour_becomes_alpha(
    read: Callable[[bytes], StillImage], depth: int, color_type: int, channels: int
) -> None:
    pixels = noise(5, 6, channels, bits=depth)
    pixels[1, 2] = (7, 8, 9)[:channels]
    pixels[1, 3] = (7, 8, 9)[:channels] if channels == 1 else (7, 8, 10)
    if depth == 16:
        pixels[2, 2] = pixels[1, 2] + 256  # same low byte
    image = read(png(pixels, color_type, depth, (b"tRNS", struct.pack(f">{channels}H", *(7, 8, 9)[:channels]))))
    assert np.array_equal(samples(image)[..., :channels], pixels)
    key = np.array((7, 8, 9)[:channels])
    assert np.array_equal(image.batch.planes[-1][0], np.where((pixels == key).all(axis=2), 0, (1 << depth) - 1))


def test_palettes_become_rgb_with_their_alpha(read: Callable[[bytes], StillImage]) -> None:
    index = noise(6, 8, 1) % 4
    palette = noise(4, 3, seed=1)
    plain = read(png(index, 3, 8, (b"PLTE", palette.tobytes())))
    assert np.array_equal(samples(plain), palette[index[..., 0]])
    clear = read(png(index, 3, 8, (b"PLTE", palette.tobytes()), (b"tRNS", bytes([0, 100]))))
    assert np.array_equal(samples(clear)[..., 3], np.array([0, 100, 255, 255])[index[..., 0]])


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_bilevel_becomes_gray(read: Callable[[bytes], StillImage], format: str) -> None:
    pixels = noise(9, 11) > 127
    image = read(saved(Image.fromarray(pixels), format))
    assert image.batch.format.layout == PixelLayout("gray")
    assert np.array_equal(image.batch.planes[0][0], pixels * 255)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "lzma"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_tiff_compressions(read: Callable[[bytes], StillImage], compression: str, mode: str) -> None:
    pixels = noise(70, 33, bits=16) if mode == "I;16" else noise(70, 33, len(mode)).squeeze()
    image = read(saved(Image.fromarray(pixels), "TIFF", compression=compression, strip_size=2000))
    assert np.array_equal(samples(image).squeeze(), pixels)


def tiff(pixels: Array, order: Literal["<", ">"] = "<", **tags: int | tuple[int, ...]) -> bytes:
    """An uncompressed TIFF: strips of three rows of (H, W, channels), or of each channel in turn with `planar=2`."""
    numbers = {"photometric": 262, "extra": 338, "predictor": 317, "planar": 284, "format": 339, "bits": 258, "compression": 259}
    height, width, channels = pixels.shape
    stored = pixels.astype(pixels.dtype.newbyteorder(order))
    layers = [stored[..., c] for c in range(channels)] if tags.get("planar") == 2 else [stored]
    strips = [layer[y : y + 3].tobytes() for layer in layers for y in range(0, height, 3)]
    fields: dict[int, tuple[int, ...]] = {256: (width,), 257: (height,), 258: (8 * pixels.itemsize,) * channels, 259: (1,)}
    fields |= {262: (1 if channels < 3 else 2,), 277: (channels,), 278: (3,)}
    fields |= {numbers[name]: value if isinstance(value, tuple) else (value,) for name, value in tags.items()}
    fields |= {273: tuple(range(len(strips))), 279: tuple(map(len, strips))}
    start = 8 + 2 + 12 * len(fields) + 4
    pixels_at = start + sum(4 * len(v) for v in fields.values() if len(v) > 1)
    fields[273] = tuple(pixels_at + sum(map(len, strips[:i])) for i in range(len(strips)))
    table, outside = b"", b""
    for tag, value in sorted(fields.items()):
        packed = struct.pack(f"{order}{len(value)}I", *value)
        inline = packed if len(value) == 1 else struct.pack(order + "I", start + len(outside))
        table += struct.pack(order + "HHI", tag, 4, len(value)) + inline
        outside += packed if len(value) > 1 else b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(fields))
    return head + table + bytes(4) + outside + b"".join(strips)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_layouts(read: Callable[[bytes], StillImage], order: Literal["<", ">"], bits: int) -> None:
    top = (1 << bits) - 1
    gray, rgb, rgba = noise(10, 7, 1, bits=bits), noise(10, 7, 3, bits=bits), noise(10, 7, 4, bits=bits)
    assert np.array_equal(samples(read(tiff(rgb, order))), rgb)
    assert np.array_equal(samples(read(tiff(rgb, order, planar=2))), rgb)
    assert np.array_equal(samples(read(tiff(gray, order, photometric=0))), top - gray)
    assert np.array_equal(samples(read(tiff(rgba, order, extra=2))), rgba)
    assert np.array_equal(samples(read(tiff(rgba, order))), rgba)  # no ExtraSamples at all: the fourth is alpha
    spare = read(tiff(rgba, order, extra=0))
    assert np.array_equal(samples(spare), rgba[..., :3])
    assert spare.warnings == ("channels of the TIFF that are neither colour nor alpha (1) are left out",)
    summed = read(tiff(np.diff(rgb, axis=1, prepend=rgb[:, :1] * 0), order, predictor=2))
    assert np.array_equal(samples(summed), rgb)


@pytest.mark.parametrize("bits", [8, 16])
def test_premultiplied_alpha_is_divided_out(read: Callable[[bytes], StillImage], bits: int) -> None:
    top = (1 << bits) - 1
    straight, alpha = noise(30, 30, 3, bits=bits).astype(np.int64), noise(30, 30, 1, bits=bits, seed=1).astype(np.int64)
    alpha = np.maximum(alpha, top // 2)
    stored = np.concatenate([(straight * alpha + top // 2) // top, alpha], axis=2).astype(np.uint8 if bits == 8 else np.uint16)
    back = samples(read(tiff(stored, extra=1))).astype(np.int64)
    assert np.abs(back[..., :3] - straight).max() <= 1
    assert np.array_equal(back[..., 3:], alpha)


@pytest.mark.parametrize("profile", [None, b"\0" * 200])
@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb_with_a_warning(read: Callable[[bytes], StillImage], format: str, profile: bytes | None) -> None:
    pixels = np.full((16, 16, 4), (0, 255, 255, 0), np.uint8)  # red
    image = read(saved(Image.fromarray(pixels, "CMYK"), format, icc_profile=profile))
    assert np.abs(samples(image)[8, 8].astype(int) - (255, 0, 0)).max() < 4
    assert "CMYK" in image.warnings[0]
    assert image.icc is None


def test_progressive_and_subsampled_jpeg(read: Callable[[bytes], StillImage]) -> None:
    pixels = photo(50, 70, 3)
    for options in ({"progressive": True}, {"subsampling": 2}, {"keep_rgb": True}):
        image = read(saved(Image.fromarray(pixels), "JPEG", quality=95, **options))
        assert np.abs(samples(image).astype(int) - pixels).mean() < 3


def test_further_pictures_in_a_jpeg_are_named(read: Callable[[bytes], StillImage]) -> None:
    first, second = photo(16, 24, 3), photo(8, 12, 3)
    image = read(saved(Image.fromarray(first), "MPO", save_all=True, append_images=[Image.fromarray(second)]))
    assert samples(image).shape == first.shape
    assert image.warnings == ("the further pictures in this JPEG (preview, depth or gain map) are left out",)


def test_interlaced_16_bit_png(read: Callable[[bytes], StillImage]) -> None:
    pixels = noise(11, 13, 3, bits=16)
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for x, y, dx, dy in passes for row in pixels[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", 13, 11, 16, 2, 0, 0, 1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    assert np.array_equal(samples(read(b"\x89PNG\r\n\x1a\n" + body)), pixels)


# --- refused ----------------------------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(DecodeError) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_and_pages_are_refused_with_advice(tmp_path: Path, format: str) -> None:
    frames = [Image.fromarray(noise(8, 8, 3, seed=seed)) for seed in (0, 1)]
    path = tmp_path / "a.x"
    path.write_bytes(saved(frames[0], format, save_all=True, append_images=frames[1:]))
    word = {"GIF": "a GIF", "PNG": "animated PNG", "WEBP": "animated WebP", "TIFF": "several pages"}[format]
    assert word in refused(path)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"just some text\n", "not an image"),
        (tiff(noise(5, 5, 3, bits=16), format=(3, 3, 3)), "float"),
        (tiff(noise(5, 5, 1, bits=16), format=2), "signed"),
        (tiff(noise(5, 5, 1, bits=16), bits=12), "12 bits"),
        (tiff(noise(5, 5, 4, bits=16), photometric=5), "CMYK"),
        (b"II+\0\x08\0\0\0" + bytes(40), "BigTIFF"),
        (saved(Image.new("F", (4, 4)), "TIFF"), "float"),
        (saved(Image.new("LAB", (4, 4)), "TIFF"), "LAB"),
    ],
)
def test_other_kinds_are_refused_by_name(tmp_path: Path, data: bytes, word: str) -> None:
    path = tmp_path / "a picture.png"
    path.write_bytes(data)
    assert word in refused(path)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    assert "folder" in refused(tmp_path)
    assert "no such file" in refused(tmp_path / "missing.png")
    assert "cannot be read" in refused(tmp_path / ("n" * 300 + ".png"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        assert "not a regular file" in refused(tmp_path / "pipe.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "permission" in refused(path).lower()


def test_sizes_that_cannot_be_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 20000, 10000, 8, 2, 0, 0, 0)  # legal, but there are no such pixels in the file
    absurd = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    for payload, word in ((header, "cut short"), (absurd, "2^31")):
        body = chunk(b"IHDR", payload) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
        tracemalloc.start()
        try:
            assert word in refused(tmp_path / "a.png")
            assert tracemalloc.get_traced_memory()[1] < 20 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_a_200_megapixel_picture_is_legal(tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((10000, 20000, 1), np.uint8)
    pixels[::100] = 200
    write_image(tmp_path / f"a{suffix}", still(pixels))
    assert np.array_equal(samples(read_image(tmp_path / f"a{suffix}"))[::1000, ::1000], pixels[::1000, ::1000])


# --- hostile files ----------------------------------------------------------------------------------------------------


def victims() -> dict[str, bytes]:
    """One file of each kind, small, with all its metadata."""
    rgb, deep = photo(40, 50, 3), noise(24, 30, 3, bits=16)
    options: dict[str, Any] = {"icc_profile": RGB_ICC, "exif": b"Exif\0\0" + exif_block()}
    image = Image.fromarray(rgb)
    return {
        "png8": saved(image, "PNG", **options),
        "png16": png(deep, 2, 16, (b"eXIf", exif_block())),
        "jpeg": saved(image, "JPEG", **options),
        "progressive": saved(image, "JPEG", progressive=True),
        "webp": saved(image, "WEBP", **options),
        "lossless webp": saved(image, "WEBP", lossless=True, **options),
        "tiff16": tiff(deep),
        "lzw": saved(image, "TIFF", compression="tiff_lzw"),
        "deflate": saved(image, "TIFF", compression="tiff_adobe_deflate"),
        "palette tiff": saved(image.convert("P"), "TIFF"),
        "jpeg in tiff": saved(image, "TIFF", compression="jpeg"),
        "bmp": saved(image, "BMP"),
    }


@pytest.mark.parametrize("name", sorted(victims()))
def test_a_cut_off_file_is_refused_or_whole(tmp_path: Path, name: str) -> None:
    data = victims()[name]
    path = tmp_path / "a"
    path.write_bytes(data)
    whole = samples(read_image(path))
    cuts = sorted({*range(64), *range(len(data) - 24, len(data)), *range(0, len(data), max(1, len(data) // 100))})
    survived = 0
    for cut in cuts:
        path.write_bytes(data[:cut])
        try:
            image = read_image(path)
        except DecodeError as exc:
            assert str(exc).startswith(str(path))
            assert "\n" not in str(exc)
        else:
            survived += 1
            assert np.array_equal(samples(image), whole), f"{cut} of {len(data)} bytes"
    assert survived < len(cuts) // 3


@pytest.mark.parametrize("name", sorted(victims()))
def test_flipped_bytes_raise_nothing_but_decode_error(tmp_path: Path, name: str) -> None:
    data = victims()[name]
    rng = np.random.default_rng(1)
    path = tmp_path / "a"
    for _ in range(150):
        hostile = bytearray(data)
        for at in rng.integers(0, min(len(data), 600) if rng.random() < 0.6 else len(data), rng.integers(1, 6)):
            hostile[at] = rng.integers(0, 256)
        path.write_bytes(hostile)
        try:
            image = read_image(path)
        except DecodeError as exc:
            assert "\n" not in str(exc)
        else:
            assert image.batch.format.width > 0


def test_pixels_that_stop_early_inside_a_sound_png_are_noticed(tmp_path: Path) -> None:
    """Every checksum fits; Pillow and FFmpeg return the missing rows as black."""
    for depth in (8, 16):
        pixels = noise(20, 10, 3, bits=depth)
        short = png(pixels, 2, depth, rows=pixels.astype(f">u{depth // 8}").tobytes())
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 21, depth, 2, 0, 0, 0))  # one row more
        (tmp_path / "a.png").write_bytes(short[:8] + header + short[8 + len(header) :])
        assert "cut short" in refused(tmp_path / "a.png")


# --- writing ----------------------------------------------------------------------------------------------------------


def test_unknown_suffix_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match=r"no image format is called '.xyz'"):
        write_image(tmp_path / "a.xyz", still(noise(2, 2, 3)))
    with pytest.raises(EncodeError, match="cannot be written") as caught:
        write_image(tmp_path / "none" / "a.png", still(noise(2, 2, 3)))
    assert str(caught.value).startswith(str(tmp_path / "none" / "a.png"))


@pytest.mark.parametrize(("suffix", "width"), [(".webp", 16384), (".jpg", 65501)])
def test_a_picture_larger_than_the_format_can_be(tmp_path: Path, suffix: str, width: int) -> None:
    with pytest.raises(EncodeError, match="larger than"):
        write_image(tmp_path / f"a{suffix}", still(np.zeros((1, width, 3), np.uint8)))
    assert list(tmp_path.iterdir()) == []


def test_video_frames_are_no_still_images(tmp_path: Path) -> None:
    layout = PixelLayout("yuv")
    planes = (np.zeros((1, 4, 4), np.uint8),) * 3
    image = replace(still(noise(4, 4, 3)), batch=FrameBatch(FrameFormat(4, 4, layout), planes, (0,)))
    with pytest.raises(ValueError, match="RGB or gray"):
        write_image(tmp_path / "a.png", image)


class _Interrupting(bytes):
    """Metadata whose use is interrupted, as Ctrl-C would in the middle of writing."""

    def __bool__(self) -> bool:
        raise KeyboardInterrupt


def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    format = FrameFormat(64, 64, PixelLayout("rgb"))
    planes = tuple(noise(1, 64, 64) for _ in range(3))
    image = StillImage(FrameBatch(format, planes, (0,)), "PNG", comment=_Interrupting(b"x"))
    with pytest.raises(KeyboardInterrupt):
        write_image(path, image)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from vsr.errors import EncodeError
from vsr.media.imagemeta import StillImage, batch_of
from vsr.media.images import write_image

image = StillImage(batch_of(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8), False), "PNG")
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # Python ignores SIGXFSZ: writing fails with EFBIG
for name in sys.argv[1:]:
    try:
        write_image(Path(name), image)
    except EncodeError as exc:
        print(exc)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    paths = [tmp_path / f"a{suffix}" for suffix in (".bmp", ".jpg", ".png", ".tif", ".webp")]
    for path in paths:
        path.write_bytes(b"old")
    run = subprocess.run([sys.executable, "-c", FULL_DISK, *map(str, paths)], capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    assert [line.partition(": cannot be written (")[0] for line in lines] == [str(path) for path in paths]
    assert all(path.read_bytes() == b"old" for path in paths)
    assert sorted(tmp_path.iterdir()) == paths


def test_odd_names(tmp_path: Path) -> None:
    for name in ("ä 100% #1.png", "-.png", "n" * 251 + ".png", "\N{SNOWMAN}" * 83 + ".png", "a\nb.png"):
        path = tmp_path / name
        write_image(path, still(noise(3, 3, 3)))
        assert samples(read_image(path)).shape == (3, 3, 3)
        path.unlink()
    assert list(tmp_path.iterdir()) == []


def test_is_image() -> None:
    assert all(is_image(name) for name in ("a.png", "b.JPG", "x/y.Tiff", "z.webp", "q.jpeg", "w.bmp"))
    assert not any(is_image(name) for name in ("a.mp4", "a.gif", "png", "-", "", "a.png/b"))


def test_importing_it_needs_no_torch() -> None:
    code = "import sys, vsr.media.images; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
