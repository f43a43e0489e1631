"""Streams that must be converted: what can be heard and read stays where it was, and verify looks at that, not at packets."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.films import Film, Sound, Words, make
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.media.check import Check
from vsr.media.source import exact_or
from vsr.media.verify import verify_files

FRAMES_MS: dict[str, Any] = {"pts": tuple(range(0, 1500, 40)), "time_base": Fraction(1, 1000)}


def run(source: Path, output: Path) -> dict[str, Check]:
    report = upscale(UpscaleConfig(str(source), str(output), scale=1, model="bicubic", encode=EncodeConfig(preset="ultrafast")))
    return {check.name: check for check in report.checks}


def wave(path: Path) -> tuple[Fraction, Any]:
    """When the sound begins, and its first channel."""
    first, parts = None, []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            if first is None:
                assert frame.pts is not None
                first = frame.pts * exact_or(frame.time_base, Fraction(0))
            samples = frame.to_ndarray().astype(np.float64)
            channel = samples[0] if samples.shape[0] > 1 else samples[0][:: frame.layout.nb_channels]
            parts.append(channel / {"s16": 2**15, "s32": 2**31, "flt": 1}[frame.format.name.rstrip("p")])
    assert first is not None
    return first, np.concatenate(parts)


@pytest.mark.parametrize("codec", ["wmav1", "wmav2"])
@pytest.mark.parametrize("rate", [44100, 48000])
def test_wma_stays_in_time(rate: int, codec: str, tmp_path: Path) -> None:
    """Its decoder gives nothing for the first two packets, and the last frame without a time when it is flushed."""
    film = Film(
        "wma", ".wmv", "wmv2", options={"b": "3M"}, color=None, sounds=(Sound(codec, rate=rate, bit_rate=128_000),), **FRAMES_MS
    )
    source, output = make(film, tmp_path), tmp_path / "out.mkv"
    checks = run(source, output)
    assert "is converted to flac" in checks["audio stream 1"].detail
    (began, before), (begins, after) = wave(source), wave(output)
    assert begins == began and len(after) == len(before)
    assert np.abs(after - before).max() < 1e-4, "every sample at its place"
    assert next(c for c in verify_files(str(source), str(output), pixels=False) if c.name == "sync").ok


def spoilt(path: Path, part: bytes, other: bytes) -> Path:
    data = path.read_bytes()
    assert data.count(part) == 1 and len(part) == len(other)
    path.write_bytes(data.replace(part, other))
    return path


def test_a_damaged_line_is_stated(tmp_path: Path) -> None:
    """It costs itself: the promise about its stream says so, in the job and afterwards."""
    film = make(Film("words", ".mkv", words=(Words("ass"),), **FRAMES_MS), tmp_path)
    source = spoilt(film, b"0,0,Default,,0,0,0,,first line", b"no event of any kind at all...")
    output = tmp_path / "out.mp4"
    for check in (
        run(source, output)["subtitle stream 1"],
        next(c for c in verify_files(str(source), str(output), pixels=False) if c.name == "subtitle stream 1"),
    ):
        assert check.ok and check.stated
        assert "1 damaged line of the source cannot be read" in check.detail


def test_a_whole_line_that_is_missing_is_a_broken_promise(tmp_path: Path) -> None:
    whole = make(Film("whole", ".mkv", words=(Words("ass"),), **FRAMES_MS), tmp_path)
    damaged = spoilt(make(Film("damaged", ".mkv", words=(Words("ass"),), **FRAMES_MS), tmp_path),
                     b"0,0,Default,,0,0,0,,first line", b"no event of any kind at all...")  # fmt: skip
    output = tmp_path / "out.mp4"
    run(damaged, output)
    check = next(c for c in verify_files(str(whole), str(output), pixels=False) if c.name == "subtitle stream 1")
    assert not check.ok and "only" in check.detail
