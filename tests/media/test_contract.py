"""The fidelity contract over films made by code: one frame out for each frame in, at its time, everything else beside it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.films import Film, Seen, Sound, Words, look, make, vfr
from vsr import EncodeConfig, UpscaleConfig, upscale

B_FRAMES = {"preset": "veryfast", "crf": "1", "bf": "3", "g": "6"}


def mkv(name: str, **facts: Any) -> Film:
    return Film(name, ".mkv", **{"time_base": Fraction(1, 1000), "pts": vfr(12, [40]), **facts})


def ts(name: str, **facts: Any) -> Film:
    return Film(name, ".ts", **{"time_base": Fraction(1, 90000), "pts": vfr(12, [3600]), **facts})


FILMS = [
    Film("cfr"),
    Film("cfr b-frames aac", options=B_FRAMES, sounds=(Sound(),)),
    Film("ntsc clock", time_base=Fraction(1, 30000), pts=vfr(12, [1001])),
    Film("vfr mp4", pts=vfr(14, [512, 1024, 300, 7]), options=B_FRAMES, sounds=(Sound(),)),
    mkv("vfr mkv", pts=vfr(14, [33, 34, 100, 17]), options=B_FRAMES),
    Film("late start", pts=vfr(10, [512], start=12800), sounds=(Sound(delay=1.0),)),
    Film("late picture", pts=vfr(10, [512], start=6400), sounds=(Sound(),)),
    Film("one frame", pts=(0,)),
    Film("two frames far apart", pts=(0, 12800 * 3)),
    ts("transport stream", options=B_FRAMES, sounds=(Sound(codec="mp2"),)),
    ts("transport stream aac", sounds=(Sound(),)),
    ts(
        "mpeg2 ts", codec="mpeg2video", options={"b": "3M", "bf": "2"},
        sounds=(Sound("mp2"),), time_base=Fraction(1, 25), pts=vfr(12, [1]),
    ),
    mkv("two sounds", sounds=(Sound(title="main"), Sound("ac3", "fra", "commentary", default=False))),
    mkv("flac and opus", sounds=(Sound("flac"), Sound("libopus", "jpn"))),
    mkv("subtitles", words=(Words("srt"), Words("ass", "fra", forced=True))),
    mkv("chapters mkv", chapters=((0, 0.2, "eins"), (0.2, 0.48, "zwei")), tags={"title": "Ein Film"}),
    mkv("fonts", fonts=("one.ttf", "two.ttf"), words=(Words("ass"),)),
    Film("mov_text", words=(Words("mov_text", "spa"),)),
    Film("chapters mp4", chapters=((0, 0.2, "one"), (0.2, 0.48, "two")), tags={"title": "A Film", "artist": "A B"}),
    Film(
        "webm vp9", ".webm", "libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime", "crf": "10", "b": "0"},
        sounds=(Sound("libopus"),), time_base=Fraction(1, 1000), pts=vfr(12, [40]),
    ),
    Film("mov", ".mov", sounds=(Sound("pcm_s16le"),)),
    Film("m4v", ".m4v", sounds=(Sound(title="main"),)),
    Film("bt601", color=(1, 6, 6, 6)),
    Film("full range", pix_fmt="yuvj420p", color=(2, 1, 1, 1)),
    Film(
        "bt2020 10 bit", codec="libx265", pix_fmt="yuv420p10le", color=(1, 9, 14, 9),
        options={"preset": "ultrafast", "x265-params": "log-level=none"},
    ),
    Film("untagged", color=None),
    Film("anamorphic", sar=Fraction(32, 27)),
    Film("rotated", rotation=90),
    Film("upside down", rotation=180),
    Film("mirrored", rotation=0, flip=True),
    Film("444", pix_fmt="yuv444p"),
    mkv("422 10 bit", pix_fmt="yuv422p10le"),
    mkv("odd size", codec="ffv1", options={}, size=(61, 47)),
    mkv("gray", codec="ffv1", options={}, pix_fmt="gray"),
    Film(
        "avi", ".avi", "mpeg4", options={"b": "2M"}, color=None,
        sounds=(Sound("libmp3lame"),), time_base=Fraction(1, 25), pts=vfr(12, [1]),
    ),
    Film("fragmented", muxer_options={"movflags": "frag_keyframe+empty_moov"}, sounds=(Sound(),)),
    Film("mjpeg", ".mov", "mjpeg", options={"q": "2"}, pix_fmt="yuvj420p", color=(2, 1, 1, 6)),
]  # fmt: skip


@pytest.mark.parametrize("film", FILMS, ids=str)
def test_everything_is_kept(film: Film, tmp_path: Path) -> None:
    source = make(film, tmp_path)
    report = upscale(UpscaleConfig(str(source), scale=2, model="bicubic", encode=EncodeConfig(crf=4, preset="ultrafast")))
    output = Path(report.output)
    assert output.name == f"{source.stem}.bicubic-x2{source.suffix if source.suffix != '.avi' else '.mkv'}"
    assert all(check.ok for check in report.checks), report.checks
    before, after = look(source), look(output)
    assert report.frames_out == len(before.times) == len(after.times)
    check_times(before, after, film)
    check_pictures(before, after, film)
    check_company(before, after, film)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([source.name, output.name]), "nothing else is left behind"


def check_times(before: Seen, after: Seen, film: Film) -> None:
    ticks = {".mkv": Fraction(1, 1000), ".webm": Fraction(1, 1000), ".avi": Fraction(1, 1000), ".ts": Fraction(1, 90000)}
    tick = ticks.get(film.suffix, film.time_base)
    offset = after.times[0] - before.times[0]
    worst = max(abs(b - a - offset) for a, b in zip(before.times, after.times, strict=True))
    assert worst <= (0 if film.suffix != ".avi" else tick)
    for (name, old), new in zip(before.packets.items(), after.packets.values(), strict=True):
        assert len(old) == len(new), name
        drift = max(abs((b[0] - a[0]) - offset) for a, b in zip(old, new, strict=True))
        assert drift <= max(tick, Fraction(1, 1000)), f"{name} moved against the film by {float(drift)} s"


def check_pictures(before: Seen, after: Seen, film: Film) -> None:
    width, height = before.size
    grow = 1 if film.pix_fmt in ("yuv444p",) else 2
    assert after.size == (-(-width * 2 // grow) * grow, -(-height * 2 // grow) * grow)
    for number, (a, b) in enumerate(zip(before.lumas, after.lumas, strict=True)):
        assert abs(a - b) < 0.006, f"frame {number} shows another picture: {a} became {b}"
    assert after.sar == before.sar
    assert after.matrix == before.matrix
    expected = list(before.color)
    if before.color[3] == 2:  # untagged: tagged with the matrix that was used
        expected[3] = 6
    expected[0] = expected[0] or 1
    if film.suffix != ".webm" and film.name != "mjpeg":
        assert list(after.color) == expected


def check_company(before: Seen, after: Seen, film: Film) -> None:
    if film.suffix != ".ts":
        assert [s[0] for s in after.streams] == [s[0] for s in before.streams]
        assert [s[2:] for s in after.streams if s[0] != "video"] == [s[2:] for s in before.streams if s[0] != "video"]
    for (name, old), new in zip(before.packets.items(), after.packets.values(), strict=True):
        assert [p for _, p in old] == [p for _, p in new], f"{name} is not bit-identical"
    assert after.chapters == before.chapters
    for key, value in film.tags.items():
        assert after.tags.get(key) == value
