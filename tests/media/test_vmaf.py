"""VMAF by a program that has it; and what is said where none is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.films import picture
from vsr.errors import ConfigError
from vsr.frames import FrameBatch, FrameFormat, PixelLayout
from vsr.media.vmaf import Vmaf, find_ffmpeg

FORMAT = FrameFormat(128, 96, PixelLayout("yuv"))


def frame(number: int, less: int = 0) -> FrameBatch:
    """A frame; with `less`, its levels in steps of that width."""
    planes = [plane // (less or 1) * (less or 1) for plane in picture(number, FORMAT)]
    return FrameBatch(FORMAT, tuple(plane[None] for plane in planes), (number,))


def test_a_program_without_the_filter_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ffmpeg")
    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("imageio-ffmpeg is installed, and has the filter")
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho ' .. psnr  VV->V  Calculate the PSNR'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=None)
    assert find_ffmpeg() is None
    with pytest.raises(ConfigError, match=r"vsr\[metrics\]"):
        Vmaf()


@pytest.mark.skipif(find_ffmpeg() is None, reason="no ffmpeg with libvmaf is here")
def test_equal_frames_score_high_and_coarse_ones_less() -> None:
    figures = []
    for less in (0, 8, 32):
        with Vmaf() as judge:
            for number in range(5):
                judge.add(frame(number, less), frame(number))
            figures.append(judge.scores())
    assert [len(scores) for scores in figures] == [5, 5, 5]
    means = [sum(scores) / 5 for scores in figures]
    assert means[0] > 95
    assert means[0] > means[1] > means[2]
