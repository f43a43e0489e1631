"""The frame on which the engine is tried is one that shows something."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from vsr.measure import sample_frame, telling_frame
from vsr.media.probe import probe


@pytest.fixture
def dark_in_the_middle(tmp_path: Path) -> str:
    """Three key frames, each a second from the next: a picture, black, a picture."""
    path = str(tmp_path / "film.mkv")
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    with av.open(path, "w") as out:
        video = out.add_stream("ffv1", rate=1)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for picture in (noise, noise * 0, noise):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode(None))
    return path


def test_a_black_frame_is_passed_over(dark_in_the_middle: str) -> None:
    info = probe(dark_in_the_middle)
    black = sample_frame(dark_in_the_middle, info, 1000)
    assert black is not None
    assert black.pts == (1000,)
    told = telling_frame(dark_in_the_middle, info, (1000, 2000))
    assert told is not None
    assert told.pts == (2000,)


def test_where_all_is_black_black_is_better_than_nothing(dark_in_the_middle: str) -> None:
    told = telling_frame(dark_in_the_middle, probe(dark_in_the_middle), (1000,))
    assert told is not None
    assert told.pts == (1000,)


def test_what_cannot_be_read_tells_nothing(dark_in_the_middle: str, tmp_path: Path) -> None:
    assert telling_frame(str(tmp_path / "none.mkv"), probe(dark_in_the_middle), (None,)) is None
