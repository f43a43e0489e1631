"""Colour conversion against ITU-T H.273 written out pixel by pixel in float64, and against numbers printed in standards."""

from __future__ import annotations

from math import floor

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vsr.color import alpha_to_float, float_to_plane, planes_to_rgb, rgb_to_planes
from vsr.frames import ColorSpec, FrameFormat, Kind, PixelLayout, Siting

SITINGS: tuple[Siting, ...] = ("left", "center", "topleft", "top", "bottomleft", "bottom")
KINDS: tuple[Kind, ...] = ("yuv", "yuv", "yuv", "rgb", "gray")
LUMA = {1: (0.2126, 0.0722), 4: (0.3, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
SUBSAMPLING = [(0, 0), (1, 1), (1, 0), (0, 1), (2, 0), (2, 2)]  # 4:4:4, 4:2:0, 4:2:2, 4:4:0, 4:1:1, 4:1:0


def matrix_of(code: int) -> npt.NDArray[np.float64]:
    """Y, U, V from R, G, B by the formulas of H.273: U and V are (B - Y) and (R - Y), scaled to -1/2..1/2."""
    if code == 8:
        return np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0, -0.5]])
    kr, kb = LUMA.get(code, LUMA[9])
    y = np.array([kr, 1 - kr - kb, kb])
    return np.stack([y, (np.array([0, 0, 1]) - y) / (2 - 2 * kb), (np.array([1, 0, 0]) - y) / (2 - 2 * kr)])


def code_ranges(f: FrameFormat) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(offset, span) in codes of the three channels."""
    bits = f.layout.bits
    if f.color.full_range:
        span, offset = np.full(3, 2.0**bits - 1), np.zeros(3)
    else:
        span, offset = np.full(3, 219.0) * 2 ** (bits - 8), np.full(3, 16.0) * 2 ** (bits - 8)
    if f.layout.kind == "yuv":
        offset[1:] = 2 ** (bits - 1)
        if not f.color.full_range and f.color.matrix != 8:
            span[1:] = 224.0 * 2 ** (bits - 8)
    return offset, span


def chroma_grid(f: FrameFormat) -> tuple[tuple[int, float], tuple[int, float]]:
    """(factor, position of the first chroma sample in luma samples) of rows and columns."""
    rows, columns = 2**f.layout.log2_chroma_h, 2**f.layout.log2_chroma_w
    row = {"t": 0.0, "b": rows - 1.0}.get(f.color.siting[0], (rows - 1) / 2)
    return (rows, row), (columns, 0.0 if "left" in f.color.siting else (columns - 1) / 2)


def at(plane: npt.NDArray[np.float64], row: float, column: float) -> float:
    """The plane's value between its samples: bilinear, edges repeated."""
    value = 0.0
    for r in (floor(row), floor(row) + 1):
        for c in (floor(column), floor(column) + 1):
            inside = plane[min(max(r, 0), plane.shape[0] - 1), min(max(c, 0), plane.shape[1] - 1)]
            value += inside * (1 - abs(row - r)) * (1 - abs(column - c))
    return value


def reference_rgb(planes: list[npt.NDArray[np.float64]], f: FrameFormat) -> npt.NDArray[np.float64]:
    offset, span = code_ranges(f)
    (rows, first_row), (columns, first_column) = chroma_grid(f)
    rgb = np.empty((3, f.height, f.width))
    for y, x in np.ndindex(f.height, f.width):
        if f.layout.kind != "yuv":
            rgb[:, y, x] = [(p[y, x] - offset[0]) / span[0] for p in planes * (3 // len(planes))]
            continue
        chroma = [at(p, (y - first_row) / rows, (x - first_column) / columns) for p in planes[1:]]
        yuv = (np.array([planes[0][y, x], *chroma]) - offset) / span
        rgb[:, y, x] = np.linalg.inv(matrix_of(f.color.matrix)) @ yuv
    return rgb


def reference_planes(rgb: npt.NDArray[np.float64], f: FrameFormat) -> list[npt.NDArray[np.float64]]:
    """Codes before rounding and clamping."""
    offset, span = code_ranges(f)
    if f.layout.kind == "rgb":
        return [rgb[c] * span[0] + offset[0] for c in range(3)]
    default = 1 if f.layout.kind == "gray" and f.color.matrix not in (*LUMA, 8, 10) else f.color.matrix
    yuv = np.einsum("ij,jyx->iyx", matrix_of(default), rgb)
    if f.layout.kind == "gray":
        return [yuv[0] * span[0] + offset[0]]

    def taps(index: int, factor: int, first: float) -> list[tuple[int, float]]:
        if first != int(first):
            return [(factor * index + k, 1 / factor) for k in range(factor)]
        reach = range(1 - factor, factor)
        return [(int(factor * index + first) + k, (factor - abs(k)) / factor**2) for k in reach]

    rows, columns = chroma_grid(f)
    out = [yuv[0] * span[0] + offset[0]]
    for plane in (1, 2):
        codes = np.zeros(f.plane_shapes[plane])
        for y, x in np.ndindex(*codes.shape):
            for r, weight_r in taps(y, *rows):
                for c, weight_c in taps(x, *columns):
                    inside = yuv[plane, min(max(r, 0), f.height - 1), min(max(c, 0), f.width - 1)]
                    codes[y, x] += inside * weight_r * weight_c
        out.append(codes * span[plane] + offset[plane])
    return out


@st.composite
def formats(draw: st.DrawFn) -> FrameFormat:
    kind = draw(st.sampled_from(KINDS))
    log2_w, log2_h = draw(st.sampled_from(SUBSAMPLING)) if kind == "yuv" else (0, 0)
    layout = PixelLayout(kind, draw(st.integers(8, 16)), log2_w, log2_h)
    matrix = draw(st.sampled_from([1, 4, 5, 6, 7, 8, 9, 10, 14] if kind == "yuv" else [0, 1, 2, 6]))
    color = ColorSpec(matrix, draw(st.booleans()), siting=draw(st.sampled_from(SITINGS)))
    return FrameFormat(draw(st.integers(1, 9)), draw(st.integers(1, 9)), layout, color)


def random_planes(f: FrameFormat, frames: int = 1, seed: int = 0) -> tuple[Tensor, ...]:
    generator = np.random.default_rng(seed)
    planes = (generator.integers(0, 2**f.layout.bits, (frames, *shape)) for shape in f.plane_shapes)
    return tuple(torch.from_numpy(plane.astype(f.layout.dtype)) for plane in planes)


def constant_planes(f: FrameFormat, codes: tuple[int, ...]) -> tuple[Tensor, ...]:
    arrays = (np.full((1, *shape), code, f.layout.dtype) for shape, code in zip(f.plane_shapes, codes, strict=True))
    return tuple(torch.from_numpy(array) for array in arrays)


def yuv(bits: int = 8, log2_w: int = 0, log2_h: int = 0, size: tuple[int, int] = (16, 12), **color: object) -> FrameFormat:
    return FrameFormat(*size, PixelLayout("yuv", bits, log2_w, log2_h), ColorSpec(**color))  # type: ignore[arg-type]


def equal(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return len(a) == len(b) and all(x.dtype == y.dtype and bool((x.int() == y.int()).all()) for x, y in zip(a, b, strict=True))


@settings(deadline=None, max_examples=80)
@given(formats(), st.integers(0, 99))
def test_to_rgb_agrees_with_the_definition(f: FrameFormat, seed: int) -> None:
    planes = random_planes(f, seed=seed)
    rgb = planes_to_rgb(planes, f)
    assert rgb.dtype == torch.float32 and rgb.is_contiguous()
    expected = reference_rgb([p[0].numpy().astype(np.float64) for p in planes], f)
    np.testing.assert_allclose(rgb[0].numpy(), expected, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=80)
@given(formats(), st.integers(0, 99))
def test_to_planes_agrees_with_the_definition(f: FrameFormat, seed: int) -> None:
    rgb = np.random.default_rng(seed).uniform(-0.1, 1.1, (3, f.height, f.width)).astype(np.float32)
    planes = rgb_to_planes(torch.from_numpy(rgb)[None], f)
    top = 2**f.layout.bits - 1
    for plane, exact in zip(planes, reference_planes(rgb.astype(np.float64), f), strict=True):
        assert plane.numpy().dtype == f.layout.dtype and plane.is_contiguous()
        # Half a code is the rounding; the rest is float32, 0.03 codes at 16 bits.
        np.testing.assert_allclose(plane[0].numpy(), exact.clip(0, top), rtol=0, atol=0.5 + 5e-7 * top)


@pytest.mark.parametrize("bits", range(8, 17))
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 7, 8, 9, 10, 14])
def test_every_444_code_comes_back(bits: int, full_range: bool, matrix: int) -> None:
    """Also those that no RGB in 0..1 has, and those below black and above white: nothing is clamped on the way."""
    f = yuv(bits, size=(64, 32), matrix=matrix, full_range=full_range)
    planes = random_planes(f, frames=2, seed=bits)
    assert equal(rgb_to_planes(planes_to_rgb(planes, f), f), planes)


@pytest.mark.parametrize("kind", ["rgb", "gray"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_every_rgb_and_gray_code_comes_back(kind: str, full_range: bool, bits: int) -> None:
    f = FrameFormat(256, 256, PixelLayout(kind, bits), ColorSpec(0, full_range))  # type: ignore[arg-type]
    every = (np.arange(65536) >> (16 - bits)).reshape(1, 256, 256).astype(f.layout.dtype)
    planes = tuple(torch.from_numpy(every) for _ in range(f.layout.color_planes))
    rgb = planes_to_rgb(planes, f)
    assert equal(rgb_to_planes(rgb, f), planes)
    assert torch.equal(rgb[:, 0], rgb[:, 2])


@settings(deadline=None, max_examples=80)
@given(formats(), st.tuples(*[st.integers(0, 65535)] * 3))
def test_a_constant_picture_comes_back(f: FrameFormat, codes: tuple[int, int, int]) -> None:
    """Any subsampling, siting and odd size: every filter's weights sum up to one, edges included."""
    shifted = tuple(code >> (16 - f.layout.bits) for code in codes)[: f.layout.color_planes]
    planes = constant_planes(f, shifted)
    assert equal(rgb_to_planes(planes_to_rgb(planes, f), f), planes)


# 75 % colour bars as the standards print them: white, yellow, cyan, green, magenta, red, blue, and black.
BARS = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)]
CODES = {
    (6, 8): "180 128 128, 162 44 142, 131 156 44, 112 72 58, 84 184 198, 65 100 212, 35 212 114, 16 128 128",
    (1, 8): "180 128 128, 168 44 136, 145 147 44, 133 63 52, 63 193 204, 51 109 212, 28 212 120, 16 128 128",
    (1, 10): "721 512 512, 674 176 543, 581 589 176, 534 253 207, 251 771 817, 204 435 848, 111 848 481, 64 512 512",
}


@pytest.mark.parametrize(("matrix", "bits"), list(CODES))
def test_colour_bars_of_the_standards(matrix: int, bits: int) -> None:
    f = yuv(bits, size=(8, 1), matrix=matrix)
    codes = np.array([bar.split() for bar in CODES[matrix, bits].split(",")], f.layout.dtype)
    rgb = torch.tensor(BARS, dtype=torch.float32).T.reshape(1, 3, 1, 8) * 0.75
    planes = rgb_to_planes(rgb, f)
    assert np.array_equal(np.stack([p.numpy().ravel() for p in planes], -1), codes)
    torch.testing.assert_close(planes_to_rgb(planes, f), rgb, rtol=0, atol=1.2 / 2**bits)


@pytest.mark.parametrize(("bits", "black", "white", "mid"), [(8, 16, 235, 128), (10, 64, 940, 512), (12, 256, 3760, 2048)])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_black_and_white_of_limited_range(bits: int, black: int, white: int, mid: int, matrix: int) -> None:
    f = yuv(bits, 1, 1, matrix=matrix)
    for luma, value in ((black, 0.0), (white, 1.0)):
        rgb = planes_to_rgb(constant_planes(f, (luma, mid, mid)), f)
        torch.testing.assert_close(rgb, torch.full_like(rgb, value), rtol=0, atol=1.2e-7)
        assert torch.equal(rgb[:, 0], rgb[:, 1]) and torch.equal(rgb[:, 0], rgb[:, 2]), "gray is not gray"


def test_red_of_bt2020_in_10_bits() -> None:
    """BT.2020-2 table 4, from its formulas: Y = 0.2627, Cb = -0.2627 / 1.8814, Cr = 1/2; 876 and 896 codes of span."""
    planes = rgb_to_planes(torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1), yuv(10, size=(1, 1), matrix=9))
    assert [int(p) for p in planes] == [round(64 + 876 * 0.2627), round(512 - 896 * 0.2627 / 1.8814), 960]


def test_super_white_survives_and_codes_are_clamped_only_at_the_end() -> None:
    f = yuv(8, 1, 1)
    planes = constant_planes(f, (254, 128, 128))
    rgb = planes_to_rgb(planes, f)
    assert float(rgb.min()) > 1.08
    assert equal(rgb_to_planes(rgb, f), planes)
    luma = rgb_to_planes(torch.tensor([-9.0, 9.0]).expand(1, 3, 12, 2).repeat(1, 1, 1, 8), f)[0]
    assert set(luma.flatten().tolist()) == {0, 255}


def test_rounding_is_half_up() -> None:
    f = FrameFormat(4, 1, PixelLayout("rgb"), ColorSpec(0, full_range=True))
    rgb = torch.tensor([0.5, 1.5, 2.5, 2.49]).div(255).expand(1, 3, 1, 4)
    assert rgb_to_planes(rgb, f)[0].flatten().tolist() == [1, 2, 3, 2]


def test_full_range_to_limited_range() -> None:
    full, limited = yuv(8, matrix=6, full_range=True), yuv(8, matrix=1, full_range=False)
    out = rgb_to_planes(planes_to_rgb(constant_planes(full, (255, 128, 128)), full), limited)
    assert [set(p.flatten().tolist()) for p in out] == [{235}, {128}, {128}]
    back = rgb_to_planes(planes_to_rgb(constant_planes(limited, (16, 128, 128)), limited), full)
    assert [set(p.flatten().tolist()) for p in back] == [{0}, {128}, {128}]


@pytest.mark.parametrize("siting", SITINGS)
@pytest.mark.parametrize(("log2_w", "log2_h"), SUBSAMPLING[1:])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_chroma_ramp_keeps_its_place(siting: Siting, log2_w: int, log2_h: int, axis: int) -> None:
    """R - Y, sampled on the chroma grid, must lie on the ramp at luma's positions: half a pixel off would be 0.0025."""
    f = yuv(16, log2_w, log2_h, size=(40, 40), siting=siting, full_range=True)
    factor, first = chroma_grid(f)[axis]
    count = f.plane_shapes[2][axis]
    slope = 0.01
    ramp = ((np.arange(count) * factor + first) * slope / 2 - 0.1) * 65535 + 32768
    shape = (1, count, 1) if axis == 0 else (1, 1, count)
    v = np.broadcast_to(ramp.round().reshape(shape), (1, *f.plane_shapes[2])).astype(np.uint16)
    planes = (*constant_planes(f, (30000, 32768, 0))[:2], torch.from_numpy(v.copy()))

    rgb = planes_to_rgb(planes, f)
    red = rgb[0, 0] - 30000 / 65535
    line = (red[:, 20] if axis == 0 else red[20]) / (2 * (1 - 0.2126))
    inside = slice(2 * factor, -2 * factor)
    torch.testing.assert_close(line[inside], (torch.arange(40) * slope / 2 - 0.1)[inside], rtol=0, atol=3e-5)

    again = rgb_to_planes(rgb, f)[2].numpy().astype(int)
    inner = (slice(None), slice(2, -2), slice(2, -2))
    assert int(np.abs(again - v)[inner].max()) <= 1


@pytest.mark.parametrize("siting", SITINGS)
def test_a_chroma_impulse_keeps_its_centre(siting: Siting) -> None:
    f = yuv(8, 1, 1, size=(24, 24), siting=siting)
    planes = constant_planes(f, (128, 128, 128))
    planes[2][0, 5, 6] = 228
    red = planes_to_rgb(planes, f)[0, 0].double() - 112 / 219
    grid = torch.arange(24, dtype=torch.float64)
    centre = ((red.sum(1) * grid).sum() / red.sum(), (red.sum(0) * grid).sum() / red.sum())
    (_, row), (_, column) = chroma_grid(f)
    assert centre == pytest.approx((10 + row, 12 + column), abs=1e-4)
    u, v = rgb_to_planes(planes_to_rgb(planes, f), f)[1:]
    assert int(v.int().argmax()) == 5 * 12 + 6 and int(u.int().sub(128).abs().max()) == 0


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 7), (5, 1), (161, 91), (7, 6), (6, 7)])
@pytest.mark.parametrize(("log2_w", "log2_h"), SUBSAMPLING)
@pytest.mark.parametrize("siting", ["left", "bottom"])
def test_odd_sizes(width: int, height: int, log2_w: int, log2_h: int, siting: Siting) -> None:
    f = yuv(10, log2_w, log2_h, size=(width, height), siting=siting)
    rgb = planes_to_rgb(random_planes(f, frames=2), f)
    assert rgb.shape == (2, 3, height, width)
    assert tuple(tuple(p.shape[1:]) for p in rgb_to_planes(rgb, f)) == f.plane_shapes


def test_gray_is_luma() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    for matrix, expected in ((2, 0.2126), (0, 0.2126), (1, 0.2126), (6, 0.299), (9, 0.2627)):
        f = FrameFormat(1, 1, PixelLayout("gray", 16), ColorSpec(matrix, full_range=True))
        assert int(rgb_to_planes(red, f)[0]) == round(65535 * expected)


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_alpha_beside_the_colour(bits: int) -> None:
    f = FrameFormat(16, 16, PixelLayout("yuv", bits, 1, 1, alpha=True))
    *planes, alpha = random_planes(f, frames=2)
    assert torch.equal(planes_to_rgb([*planes, alpha], f), planes_to_rgb(planes, f))
    x = alpha_to_float(alpha, bits)
    assert x.shape == (2, 1, 16, 16) and float(x.min()) >= 0 and float(x.max()) <= 1
    assert equal((float_to_plane(x, bits),), (alpha,))
    assert set(float_to_plane(torch.tensor([-1.0, 2.0]).reshape(1, 1, 1, 2), bits).int().flatten().tolist()) == {0, 2**bits - 1}


@pytest.mark.parametrize("siting", SITINGS)
def test_memory_format_and_batch_do_not_matter(siting: Siting) -> None:
    f = yuv(10, 1, 1, size=(19, 13), siting=siting)
    planes = random_planes(f, frames=3)
    rgb = planes_to_rgb(planes, f)
    assert torch.equal(rgb[1:2], planes_to_rgb([p[1:2] for p in planes], f))
    expected = rgb_to_planes(rgb, f)
    before = rgb.clone()
    assert equal(rgb_to_planes(rgb.contiguous(memory_format=torch.channels_last), f), expected)
    assert equal(tuple(p[1:2] for p in expected), rgb_to_planes(rgb[1:2], f))
    assert torch.equal(rgb, before), "the input was written to"
    assert [p.dtype for p in rgb_to_planes(rgb.half(), f)] == [p.dtype for p in expected]


@pytest.mark.parametrize("kind", ["yuv", "rgb", "gray"])
def test_no_value_is_looked_at(kind: str) -> None:
    """Meta tensors have no data: an .item() or a mask, which would break a CUDA graph, raises here."""
    layout = PixelLayout(kind, 10, *((1, 1) if kind == "yuv" else (0, 0)))  # type: ignore[arg-type]
    f = FrameFormat(17, 11, layout)
    planes = [torch.empty((2, *shape), dtype=torch.uint16, device="meta") for shape in f.plane_shapes]
    rgb = planes_to_rgb(planes, f)
    assert rgb.shape == (2, 3, 11, 17) and rgb.device.type == "meta"
    assert all(p.device.type == "meta" and p.dtype == torch.uint16 for p in rgb_to_planes(rgb, f))


def test_shapes_that_do_not_fit_are_refused() -> None:
    f = yuv(8, 1, 1)
    planes = random_planes(f)
    with pytest.raises(ValueError, match=r"\(12, 16\)"):
        planes_to_rgb([planes[0], planes[0], planes[2]], f)
    with pytest.raises(ValueError, match="planes are"):
        planes_to_rgb(planes[:2], f)
    with pytest.raises(ValueError, match=r"\(N, 3, 12, 16\)"):
        rgb_to_planes(torch.zeros(1, 3, 12, 15), f)


@pytest.mark.parametrize(("matrix", "name"), [(1, "ITU709"), (6, "ITU601"), (9, "BT2020")])
@pytest.mark.parametrize("full_range", [False, True])
def test_agrees_with_swscale_on_a_smooth_picture(matrix: int, name: str, full_range: bool) -> None:
    """FFmpeg's own converter, 4:4:4 to 8-bit RGB: it differs by its rounding, 0.51 of 255."""
    av = pytest.importorskip("av")
    f = yuv(8, size=(64, 48), matrix=matrix, full_range=full_range)
    y, x = np.mgrid[0:48, 0:64]
    arrays = [np.round(a).astype(np.uint8) for a in (60 + 2 * x, 100 + y, 150 - x / 2)]
    frame = av.VideoFrame.from_ndarray(np.stack(arrays), format="yuv444p")
    source = {"src_color_range": "JPEG" if full_range else "MPEG", "dst_color_range": "JPEG"}
    theirs = frame.reformat(format="gbrp", src_colorspace=name, **source).to_ndarray(format="gbrp")
    ours = planes_to_rgb([torch.from_numpy(a[None].copy()) for a in arrays], f)[0].permute(1, 2, 0).mul(255).clamp(0, 255)
    assert theirs.shape == (48, 64, 3)
    assert float(np.abs(ours.numpy() - theirs).max()) <= 0.6
