"""HDR10's static metadata goes through every encoder that can write it, to the last digit that the bitstream has."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.films import Film, make
from vsr import EncodeConfig, UpscaleConfig, probe, upscale
from vsr.frames import LightLevel

DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
HDR10 = Film(
    "hdr10", codec="libx265", pix_fmt="yuv420p10le", color=(1, 9, 16, 9), size=(96, 96), pts=tuple(range(0, 4 * 512, 512)),
    options={
        "preset": "ultrafast",
        "x265-params": f"log-level=none:hdr10=1:repeat-headers=1:master-display={DISPLAY}:max-cll=1000,400",
    },
)  # fmt: skip


@pytest.mark.parametrize(("codec", "suffix"), [("auto", ".mp4"), ("hevc", ".mkv"), ("av1", ".mkv"), ("h264", ".mp4")])
def test_mastering_display_and_light_level_are_kept(codec: str, suffix: str, tmp_path: Path) -> None:
    source, output = make(HDR10, tmp_path), tmp_path / f"out{suffix}"
    before = probe(str(source))
    assert before.mastering is not None and before.light == LightLevel(1000, 400)
    assert before.mastering.most == 1000 and before.mastering.chromaticity[0] == Fraction(34000, 50000)
    report = upscale(
        UpscaleConfig(str(source), str(output), scale=1.5, model="bicubic", encode=EncodeConfig(codec, preset="ultrafast"))
    )
    after = probe(str(output))
    assert after.light == before.light
    assert after.mastering is not None
    pairs = zip(after.mastering.chromaticity, before.mastering.chromaticity, strict=True)
    assert max(abs(a - b) for a, b in pairs) < Fraction(1, 40_000), "AV1 stores 16 fractional bits"
    assert after.mastering.most == before.mastering.most
    assert abs(after.mastering.least - before.mastering.least) < Fraction(1, 10_000)
    assert (after.format.color.transfer, after.format.color.primaries, after.format.color.matrix) == (16, 9, 9)
    assert not [w for w in report.warnings if "light" in w]


def test_what_cannot_hold_it_is_named(tmp_path: Path) -> None:
    source = make(HDR10, tmp_path)
    report = upscale(UpscaleConfig(str(source), str(tmp_path / "out.mkv"), scale=1, model="bicubic", encode=EncodeConfig("ffv1")))
    assert any("mastering display and light level are lost" in w for w in report.warnings)
