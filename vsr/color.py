"""Integer planes <-> float RGB: range, matrix, chroma siting and bit depth, as pure tensor functions on any device.

Everything is elementwise arithmetic with Python floats as constants. That is as fast as a 1x1 convolution or a matrix
product here (0.22 ms for the luma of 640x360 on one core, all three), it can be captured in a CUDA graph because no constant
is ever uploaded, and it stays exact float32 where TF32 or bf16 matrix units would round colours to 10 bits.

Chroma is interpolated linearly, and filtered on the way back by the same siting:

    axis        up                          down
    centred     linear (1 3)/4 (3 1)/4      mean of the samples it covers
    co-sited    linear 1 and (1 1)/2        triangle (1 2 1)/4; for a factor of 4 (1 2 3 4 3 2 1)/16

Both keep a ramp where it is; beyond the edge the last sample is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vsr.frames import FrameFormat, Siting

Row = tuple[float, float, float]

_YCGCO = 8
_BT709 = 1
_BT2020 = 9
# H.273 table 4: the weights (Kr, Kb) of R and B in luma.
_LUMA_WEIGHTS = {
    _BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.470 BG
    6: (0.299, 0.114),  # BT.601
    7: (0.212, 0.087),  # SMPTE 240M
    _BT2020: (0.2627, 0.0593),
    # BT.2020 constant luminance is defined on linear light. Its transfer function is left out both ways: an unchanged pixel
    # still comes back unchanged, and the network sees the hues that every non-CL player shows.
    10: (0.2627, 0.0593),
}


def planes_to_rgb(planes: Sequence[Tensor], format: FrameFormat) -> Tensor:
    """Convert decoded planes to RGB.

    planes  (N, rows, columns) uint8 or uint16 as `format.layout` says; an alpha plane at the end is ignored
    returns (N, 3, height, width) float32, gamma-coded, contiguous; 0 is black and 1 is white, and values outside 0..1
            (super-white of limited range, out-of-gamut chroma) are kept

    Raises ValueError when a plane has not the shape that `format` says. Follows ITU-T H.273, 8.3 (matrix coefficients).
    """
    layout = format.layout
    color_planes = list(planes[: layout.color_planes])
    _check_planes(color_planes, format)
    offset, span, mid, chroma_span = _code_ranges(format)
    if layout.kind != "yuv":
        rgb = color_planes[0].new_empty((len(planes[0]), 3, format.height, format.width), dtype=torch.float32)
        for channel, plane in enumerate(color_planes * (3 // len(color_planes))):
            rgb[:, channel].copy_(plane)
        return rgb.sub_(offset).div_(span)
    # Subtracting the integer offsets first is exact in float32: neutral chroma gives three equal channels to the last bit.
    luma, u, v = (plane.to(torch.float32).sub_(zero) for plane, zero in zip(color_planes, (offset, mid, mid), strict=True))
    # Interpolation and matrix commute, and the matrix is cheaper before: what chroma adds to R, G and B, at chroma's own size.
    tint = u.new_empty((u.shape[0], 3, *u.shape[1:]))
    for channel, (from_u, from_v) in enumerate(_rgb_from_chroma(format.color.matrix)):
        torch.mul(u, from_u / chroma_span, out=tint[:, channel]).add_(v, alpha=from_v / chroma_span)
    row, column = _chroma_position(format)
    tint = _upsample(tint, -2, 1 << layout.log2_chroma_h, row, format.height)
    tint = _upsample(tint, -1, 1 << layout.log2_chroma_w, column, format.width)
    return tint.add_(luma.unsqueeze(1), alpha=1 / span)


def rgb_to_planes(rgb: Tensor, format: FrameFormat) -> tuple[Tensor, ...]:
    """Convert RGB to the colour planes that an encoder wants: the inverse of `planes_to_rgb`.

    rgb     (N, 3, height, width) float, gamma-coded, finite; nothing is clamped before the integer range of the planes, so
            super-white survives
    returns 3 planes, or 1 for gray: (N, rows, columns) uint8 (8 bits) or uint16, rounded once, half up; no alpha plane

    Raises ValueError when `rgb` has not the size that `format` says. Follows ITU-T H.273, 8.3 (matrix coefficients).
    """
    if rgb.shape[1:] != (3, format.height, format.width):
        raise ValueError(f"rgb is {tuple(rgb.shape)}, expected (N, 3, {format.height}, {format.width})")
    rgb = rgb.to(torch.float32)
    layout = format.layout
    offset, span, mid, chroma_span = _code_ranges(format)
    if layout.kind == "rgb":
        return tuple(_quantise(rgb[:, channel] * span, offset, layout.bits) for channel in range(3))
    weights, *chroma_rows = _yuv_from_rgb(format.color.matrix, unknown=_BT709 if layout.kind == "gray" else _BT2020)
    luma = _quantise(_mix(rgb, weights, span), offset, layout.bits)
    if layout.kind == "gray":
        return (luma,)
    # Rows first (contiguous, all three channels), then the matrix (three planes become two), then columns.
    row, column = _chroma_position(format)
    rgb = _downsample(rgb, -2, 1 << layout.log2_chroma_h, row)
    mixed = (_mix(rgb, weights, chroma_span) for weights in chroma_rows)
    u, v = (_downsample(plane, -1, 1 << layout.log2_chroma_w, column) for plane in mixed)
    return luma, _quantise(u, mid, layout.bits), _quantise(v, mid, layout.bits)


def alpha_to_float(plane: Tensor, bits: int) -> Tensor:
    """Convert an alpha plane (N, H, W), always full range, to (N, 1, H, W) float32 in 0..1."""
    return plane.to(torch.float32).div_((1 << bits) - 1).unsqueeze(1)


def float_to_plane(x: Tensor, bits: int) -> Tensor:
    """Convert (N, 1, H, W) float alpha to a plane (N, H, W), uint8 or uint16, rounded half up and clamped."""
    return _quantise(x.squeeze(1).to(torch.float32) * ((1 << bits) - 1), 0, bits)


def _check_planes(planes: Sequence[Tensor], format: FrameFormat) -> None:
    shapes = format.plane_shapes[: format.layout.color_planes]
    if len(planes) != len(shapes) or any(tuple(p.shape[1:]) != s for p, s in zip(planes, shapes, strict=True)):
        raise ValueError(f"planes are {[tuple(p.shape) for p in planes]}, expected N frames of {list(shapes)}")


def _code_ranges(format: FrameFormat) -> tuple[int, int, int, int]:
    """Integer codes: where luma (and R, G, B) is 0, codes from 0 to 1, neutral chroma, codes of chroma from -1/2 to 1/2."""
    extra = format.layout.bits - 8
    mid = 128 << extra
    if format.color.full_range:
        top = (256 << extra) - 1
        return 0, top, mid, top
    # H.273 defines YCgCo on the quantised R, G and B: its chroma has the span of luma.
    return 16 << extra, 219 << extra, mid, (219 if format.color.matrix == _YCGCO else 224) << extra


def _luma_weights(matrix: int, unknown: int) -> Row:
    kr, kb = _LUMA_WEIGHTS.get(matrix, _LUMA_WEIGHTS[unknown])
    return kr, 1 - kr - kb, kb


def _yuv_from_rgb(matrix: int, unknown: int) -> tuple[Row, Row, Row]:
    """Weights of R, G and B in Y (0..1), U and V (-1/2..1/2)."""
    if matrix == _YCGCO:
        return (0.25, 0.5, 0.25), (-0.25, 0.5, -0.25), (0.5, 0.0, -0.5)
    kr, kg, kb = _luma_weights(matrix, unknown)
    blue, red = 2 * (1 - kb), 2 * (1 - kr)
    return (kr, kg, kb), (-kr / blue, -kg / blue, 0.5), (0.5, -kg / red, -kb / red)


def _rgb_from_chroma(matrix: int) -> tuple[tuple[float, float], ...]:
    """Weights of U and V in R, G and B; the weight of Y is 1 in every matrix of H.273.

    ICtCp and codes to come are treated as BT.2020, the same both ways: the hues that the network sees are a little off, the
    colours that come out are not.
    """
    if matrix == _YCGCO:
        return (-1.0, 1.0), (1.0, 0.0), (-1.0, -1.0)
    kr, kg, kb = _luma_weights(matrix, unknown=_BT2020)
    blue, red = 2 * (1 - kb), 2 * (1 - kr)
    return (0.0, red), (-kb * blue / kg, -kr * red / kg), (blue, 0.0)


def _chroma_position(format: FrameFormat) -> tuple[float, float]:
    """Row and column of the first chroma sample, in luma samples (H.273, Chroma420SampleLocType)."""
    siting: Siting = format.color.siting
    last_row, last_column = (1 << format.layout.log2_chroma_h) - 1, (1 << format.layout.log2_chroma_w) - 1
    row = 0.0 if siting.startswith("top") else last_row if siting.startswith("bottom") else last_row / 2
    return row, 0.0 if siting.endswith("left") else last_column / 2


def _upsample(chroma: Tensor, axis: int, factor: int, position: float, size: int) -> Tensor:
    """Interpolate linearly along `axis` to `size` samples; chroma sample i sits at luma sample factor * i + position.

    One lerp per phase into a strided slice: 6 times as fast as F.interpolate on one core (0.4 against 2.4 ms at 640x360).
    """
    if factor == 1:
        return chroma
    padded = _repeat_edges(chroma, axis, 1, 1)
    shape = list(chroma.shape)
    shape[axis] = size
    out = chroma.new_empty(shape)
    for phase in range(factor):
        target = _every(out, axis, phase, factor)
        count = target.shape[axis]
        first, weight = divmod((phase - position) / factor, 1)
        nearer = padded.narrow(axis, 1 + int(first), count)
        if weight:
            torch.lerp(nearer, padded.narrow(axis, 2 + int(first), count), weight, out=target)
        else:
            target.copy_(nearer)
    return out


def _downsample(x: Tensor, axis: int, factor: int, position: float) -> Tensor:
    """Filter and keep one sample in `factor` along `axis`: a mean where chroma is centred, a triangle where it is co-sited."""
    if factor == 1:
        return x
    if position == int(position):
        reach = range(int(position) - factor + 1, int(position) + factor)
        taps = [(at, (factor - abs(at - position)) / factor**2) for at in reach]
    else:
        taps = [(at, 1 / factor) for at in range(factor)]
    size = x.shape[axis]
    count = -(-size // factor)
    before = -taps[0][0]
    padded = _repeat_edges(x, axis, before, max(0, (count - 1) * factor + taps[-1][0] + 1 - size))
    (_, weight), *others = taps
    out = _every(padded, axis, 0, factor).narrow(axis, 0, count) * weight
    for at, weight in others:
        out.add_(_every(padded, axis, at + before, factor).narrow(axis, 0, count), alpha=weight)
    return out


def _repeat_edges(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    if before == after == 0:
        return x
    edges = [x.narrow(axis, at, 1) for at in (0, x.shape[axis] - 1)]
    return torch.cat((*[edges[0]] * before, x, *[edges[1]] * after), axis)


def _every(x: Tensor, axis: int, start: int, step: int) -> Tensor:
    """The samples start, start + step, ... along one of the last two axes, as a view."""
    return x[..., start::step] if axis == -1 else x[..., start::step, :]


def _mix(rgb: Tensor, weights: Row, scale: float) -> Tensor:
    """Sum up the channels of (N, 3, H, W) by `weights * scale`, giving (N, H, W)."""
    red, green, blue = (weight * scale for weight in weights)
    return (rgb[:, 0] * red).add_(rgb[:, 1], alpha=green).add_(rgb[:, 2], alpha=blue)


def _quantise(x: Tensor, offset: int, bits: int) -> Tensor:
    """Round x + offset half up to an integer plane; overwrites x. Truncation is floor here: the clamp leaves no negatives."""
    return x.add_(offset + 0.5).clamp_(0, (1 << bits) - 1).to(torch.uint8 if bits == 8 else torch.uint16)
