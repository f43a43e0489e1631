"""Frames through a codec and back: all of them, in order, and worse for a higher crf."""

from __future__ import annotations

import numpy as np
import pytest

from tests.films import picture
from vsr.errors import EncodeError
from vsr.frames import ColorSpec, FrameBatch, FrameFormat, PixelLayout
from vsr.media.recompress import recompress

FORMAT = FrameFormat(64, 48, PixelLayout("yuv", 8, 1, 1), ColorSpec())


def frames(count: int, format: FrameFormat = FORMAT) -> list[FrameBatch]:
    return [FrameBatch(format, tuple(p[None] for p in picture(n, format)), (10 * n + 3,), index=n) for n in range(count)]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_every_frame_comes_back_in_its_place(codec: str) -> None:
    before = frames(9)
    after = list(recompress(before, codec, 20))
    assert [batch.pts for batch in after] == [batch.pts for batch in before]
    for number, batch in enumerate(after):
        apart = [float(np.abs(batch.planes[0].astype(int) - other.planes[0]).mean()) for other in before]
        assert int(np.argmin(apart)) == number
    assert all(batch.format == FORMAT for batch in after)


def test_a_higher_crf_does_more_harm() -> None:
    before = frames(4)

    def harm(crf: int) -> float:
        return float(
            np.mean(
                [
                    np.abs(a.planes[0].astype(int) - b.planes[0]).mean()
                    for a, b in zip(before, recompress(before, "h264", crf), strict=True)
                ]
            )
        )

    assert harm(10) < harm(30) < harm(45)


def test_nothing_in_nothing_out() -> None:
    assert list(recompress([], "h264", 20)) == []


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(EncodeError, match="h264"):
        list(recompress(frames(1, FrameFormat(63, 47, FORMAT.layout)), "h264", 20))
