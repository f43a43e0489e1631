"""What EDVR tells about itself: its cost by formula, its reach by following which pixels each layer reads."""

from __future__ import annotations

from dataclasses import dataclass

from vsr.models.spec import ModelSpec

Interval = tuple[int, int]  # first and last row that is read


@dataclass(frozen=True)
class Shape:
    """What the cost and the reach of an EDVR follow from, as its constructor names it."""

    num_feat: int
    num_frame: int
    deformable_groups: int
    num_extract_block: int
    num_reconstruct_block: int
    hr_in: bool
    with_predeblur: bool
    with_tsa: bool


# The receptive field is too large to tile with, and has no bound where the deformable convolutions shift far. Largest (mean)
# difference from the untiled picture in 8-bit levels: EDVR-M with random weights, the network adding 0.1 (of 1) on average to the
# bilinear picture, tiles of 32 in a frame of 160x88, shifts of every pyramid level drawn with the given deviation:
#   halo            8            16           24           32           48
#   1 px        29 (1.4)     4.1 (0.16)   0.96 (0.02)  0.17 (0.002) 0.001 (0)
#   4 px        43 (4.3)     22 (2.3)     12 (1.3)     6.7 (0.62)   1.5 (0.065)
HALO = 48
HALO_LEVELS = 2
# Peak growth of the process per input pixel, as for RRDBNet: the tail at 4x is nearly all of it, however wide the network is and
# however many its frames. The window that is given comes on top. Measured with it: 16.6 kB (M), 17.4 (7 frames), 19.4 (128
# features, 4 blocks); hr_in 1.7.
TAIL_BYTES = 15_500
TAIL_BYTES_HR = 1_500


def spec(shape: Shape, center: int, parameters: int) -> ModelSpec:
    """The facts of the network of this shape, without a name of its own."""
    area = 16 if shape.hr_in else 1  # input pixels for each pixel of the features
    context = max(center, shape.num_frame - 1 - center)
    radius = reach(shape)
    c = shape.num_feat
    packed = c + c // 4 + c // 16 + 3 * area
    feature_bytes = -(-4 * packed // area)
    return ModelSpec(
        name="EDVR",
        architecture="EDVR",
        scale=1 if shape.hr_in else 4,
        context=context,
        multiple_of=16 if shape.hr_in else 4,
        min_size=16 if shape.hr_in else 4,
        radius_px=radius,
        halo_px=radius if radius <= 40 else HALO * (4 if shape.hr_in else 1),
        halo_levels=0 if radius <= 40 else HALO_LEVELS,
        # With the weights above, and the deformable convolutions in fp32: bf16 57 dB, fp16 75 dB to fp32.
        precisions=frozenset({"fp32", "bf16", "fp16"}),
        bytes_per_pixel=(TAIL_BYTES_HR if shape.hr_in else TAIL_BYTES) + (2 * context + 1) * feature_bytes,
        feature_bytes=feature_bytes,
        mflop_per_pixel=2e-6 * (_features(shape) + _window(shape)) / area,
        parameters=parameters,
    )


def _features(shape: Shape) -> float:
    """Multiply-adds of one frame's features, for each of their pixels."""
    c = shape.num_feat
    total = 9 * c * c * (2 * shape.num_extract_block + 2 / 4 + 2 / 16)
    if not shape.with_predeblur:
        return total + 27 * c
    total += 27 * c * (16 if shape.hr_in else 1) + 9 * c * c * (4 + 1 if shape.hr_in else 0)
    return total + 9 * c * c * (1 / 4 + 1 / 16 + 2 / 16 + 4 / 4 + 10) + c * c


def _window(shape: Shape) -> float:
    """Multiply-adds of one window, for each pixel of its features."""
    c, t = shape.num_feat, shape.num_frame
    # A deformable convolution counts as one of its size, and the one that guides it.
    deformable = 9 * c * c + 9 * c * 27 * shape.deformable_groups
    level = 9 * c * c * 7 + deformable
    align = (27 * c * c + deformable) / 16 + level * (1 / 4 + 1) + 27 * c * c + deformable
    fusion = float(t * c * c)
    if shape.with_tsa:
        fusion = c * c * (9 + 9 * t + 2 * t + 13 / 4 + 27 / 16 + 9 + 2)
    tail = 36 * c * c + 4 * 9 * c * 256 + 16 * 9 * 64 * (64 + 3)
    return t * align + fusion + 18 * c * c * shape.num_reconstruct_block + tail


def reach(shape: Shape) -> int:
    """Exact receptive-field radius in input pixels, of all layers, deformable convolutions as if they shifted nothing."""
    # Rows read by an output row differ with its place in a cell of the coarsest level; twice that, away from 0.
    cell, scale = (64, 1) if shape.hr_in else (16, 4)
    rows = range(cell * scale, 2 * cell * scale)
    return max(max(row // scale - first, last - row // scale) for row in rows for first, last in [_read(shape, row)])


def _read(shape: Shape, row: int) -> Interval:
    """The input rows that one output row depends on: through the layers from last to first."""
    rows = _wider((row, row), 2)  # conv_last and conv_hr, at four times the features' size whatever the input's
    rows = _wider(_shuffled(rows), 1)
    rows = _wider(_shuffled(rows), 1)
    rows = _wider(rows, 2 * shape.num_reconstruct_block)
    if shape.with_tsa:
        rows = _wider(_fusion(rows), 1)
    rows = _wider(_pyramid(rows), 2 * shape.num_extract_block)
    if not shape.with_predeblur:
        return _wider(rows, 1)
    rows = _predeblur(rows)
    return _wider(_strided(_strided(rows)) if shape.hr_in else rows, 1)


def _fusion(rows: Interval) -> Interval:
    half = _bilinear(_wider(rows, 1))
    quarter = _wider(_bilinear(half), 2)
    return _hull(rows, _strided(_hull(_wider(half, 1), _strided(quarter))))


def _pyramid(rows: Interval) -> Interval:
    """Alignment and the levels it reads, down to the features of full size."""
    feat1 = _wider(rows, 3)  # the guide of the last step; its taps reach less far
    out1 = _wider(feat1, 1)
    guide2, feat2 = _bilinear(_wider(out1, 3)), _bilinear(out1)
    out2 = _wider(feat2, 1)
    guide2 = _hull(guide2, _wider(out2, 1))
    guide3, feat3 = _bilinear(_wider(guide2, 2)), _bilinear(out2)
    l3 = _wider(_hull(guide3, _wider(feat3, 1)), 2)
    l2 = _hull(_wider(guide2, 3), _strided(_wider(l3, 1)))
    return _hull(_wider(out1, 4), _strided(_wider(l2, 1)))


def _predeblur(rows: Interval) -> Interval:
    l1 = _wider(rows, 6)
    l2 = _wider(_bilinear(l1), 2)
    l3 = _wider(_bilinear(l2), 2)
    l2 = _hull(_wider(l2, 2), _strided(l3))
    return _hull(_wider(l1, 4), _strided(l2))


def _wider(rows: Interval, by: int) -> Interval:
    return rows[0] - by, rows[1] + by


def _shuffled(rows: Interval) -> Interval:
    """Doubling by pixel-shuffle."""
    return rows[0] // 2, rows[1] // 2


def _strided(rows: Interval) -> Interval:
    """A 3x3 layer that halves: row n reads 2n - 1 to 2n + 1."""
    return 2 * rows[0] - 1, 2 * rows[1] + 1


def _bilinear(rows: Interval) -> Interval:
    """Doubling with align_corners=False: row 2n reads n - 1 and n, row 2n + 1 reads n and n + 1."""
    return (rows[0] - 1) // 2, (rows[1] + 1) // 2


def _hull(*parts: Interval) -> Interval:
    return min(first for first, _ in parts), max(last for _, last in parts)
