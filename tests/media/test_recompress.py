"""Frames through a codec and back: all of them, in order, and worse for a higher crf."""

from __future__ import annotations

import numpy as np
import pytest

from tests.films import picture
from vsr.errors import EncodeError
from vsr.frames import ColorSpec, FrameBatch, FrameFormat, PixelLayout
from vsr.media.recompress import CODECS, recompress

FORMAT = FrameFormat(64, 48, PixelLayout("yuv", 8, 1, 1), ColorSpec())


def frames(count: int, format: FrameFormat = FORMAT) -> list[FrameBatch]:
    return [FrameBatch(format, tuple(p[None] for p in picture(n, format)), (10 * n + 3,), index=n) for n in range(count)]


@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_comes_back_in_its_place(codec: str) -> None:
    before = frames(9)
    after = list(recompress(before, codec, 4 if codec.startswith("mpeg") else 20))
    assert [batch.pts for batch in after] == [batch.pts for batch in before]
    for number, batch in enumerate(after):
        apart = [float(np.abs(batch.planes[0].astype(int) - other.planes[0]).mean()) for other in before]
        assert int(np.argmin(apart)) == number
    assert all(batch.format == FORMAT for batch in after)


@pytest.mark.parametrize(
    ("codec", "qualities"),
    [("mpeg2", (1, 10, 31)), ("mpeg4", (1, 10, 31)), ("h264", (10, 30, 45)), ("hevc", (10, 30, 45)), ("vp9", (5, 40, 63))],
)
@pytest.mark.parametrize("preset", ["", "veryfast"])
def test_a_higher_number_does_more_harm(codec: str, qualities: tuple[int, int, int], preset: str) -> None:
    before = frames(4)

    def harm(quality: int) -> float:
        return float(
            np.mean(
                [
                    np.abs(a.planes[0].astype(int) - b.planes[0]).mean()
                    for a, b in zip(before, recompress(before, codec, quality, preset), strict=True)
                ]
            )
        )

    low, middle, high = (harm(quality) for quality in qualities)
    assert low < middle < high


@pytest.mark.parametrize(("codec", "quality"), [("mpeg2", 0), ("mpeg4", 32), ("h264", 52), ("vp9", -1)])
def test_qualities_that_a_codec_does_not_have(codec: str, quality: int) -> None:
    with pytest.raises(EncodeError, match=rf"{codec}: quality {quality}; it takes \d+ \(best\) to \d+ \(worst\)"):
        list(recompress(frames(1), codec, quality))


@pytest.mark.parametrize("size", [(48, 96), (64, 14)])
def test_frames_too_small_for_x265_are_refused_before_it_writes_beyond_its_memory(size: tuple[int, int]) -> None:
    with pytest.raises(EncodeError, match=f"hevc: frames of {size[0]}x{size[1]}, and it takes 64x16 or more"):
        list(recompress(frames(1, FrameFormat(*size, FORMAT.layout)), "hevc", 20))


def test_a_codec_that_is_none() -> None:
    with pytest.raises(EncodeError, match="vc1: frames go through mpeg2, mpeg4, h264, hevc, vp9 only"):
        list(recompress(frames(1), "vc1", 20))


def test_nothing_in_nothing_out() -> None:
    assert list(recompress([], "h264", 20)) == []


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(EncodeError, match="h264"):
        list(recompress(frames(1, FrameFormat(63, 47, FORMAT.layout)), "h264", 20))
