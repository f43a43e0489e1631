"""The fidelity contract over films made by code: one frame out for each frame in, at its time, everything else beside it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.films import Seen, layout_of, look
from tests.media.contract_cases import CASES, Case, described
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.media.payload import without_pes_data_header
from vsr.media.pixels import planar_layout
from vsr.report import Report

KEPT_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts")
MILLISECOND = Fraction(1, 1000)
CONVERTED = Fraction(1, 10)
LUMA = 0.012  # share of the full scale that the encoder may change a frame's mean
COLOR = 4.0  # levels of 255: FFmpeg's converter shows 10-bit YUV up to 3.5 darker; a wrong matrix or range is off by 8 and more


def params() -> list[object]:
    """Every case; one that is known to be wrong has to fail."""
    marks = {case: [pytest.mark.xfail(strict=True, reason=case.wrong)] if case.wrong else [] for case in CASES}
    return [pytest.param(case, id=case.name, marks=marks[case]) for case in CASES]


@pytest.mark.parametrize("case", params())
def test_everything_is_kept(case: Case, tmp_path: Path) -> None:
    made, source = case.make(tmp_path)
    there = {path.name for path in tmp_path.iterdir()}
    suffix = case.output or (source.suffix if source.suffix in KEPT_SUFFIXES else ".mkv")
    output = source.with_name(f"{source.stem}.bicubic-x2{suffix}")
    encode = EncodeConfig(crf=4, preset="ultrafast")
    report = upscale(UpscaleConfig(str(source), str(output) if case.output else None, scale=2, model="bicubic", encode=encode))
    assert Path(report.output) == output
    assert {path.name for path in tmp_path.iterdir()} == there | {output.name}, "nothing else is left behind"
    assert all(check.ok for check in report.checks), report.checks
    assert {check.name for check in report.checks if check.stated} == case.stated, "all that is not kept is stated, and no more"
    whole, before, after = look(made), look(source), look(output)
    check_pictures(case, whole, before, after, report)
    check_times(case, before, after)
    check_meaning(case, before, after)
    check_company(case, before, after)


def check_pictures(case: Case, whole: Seen, before: Seen, after: Seen, report: Report) -> None:
    shown, _ = case.truth()
    assert case.film.codec != "rawvideo" or before.pix_fmt == case.film.pix_fmt, "the film is not what it should be"
    assert report.frames_out == len(after.times) == len(shown), report.warnings
    layout = layout_of(after.pix_fmt)
    grow_w, grow_h = 1 << layout.log2_chroma_w, 1 << layout.log2_chroma_h
    width, height = before.size
    assert after.size == (-(-width * 2 // grow_w) * grow_w, -(-height * 2 // grow_h) * grow_h)
    old, color = layout_of(before.pix_fmt), before.color
    if is_planar(before.pix_fmt) and len(case.film.pts) > 1:
        assert abs(whole.lumas[0] - whole.lumas[1]) > 0.05, "the pictures can be told apart"
    same_luma = is_planar(before.pix_fmt) and "rgb" not in (old.kind, layout.kind) and color[0] in (0, after.color[0])
    # FFmpeg's converter takes all gray for full range, whatever the tag says
    same_shown = old.kind != "gray" or color[0] != 1
    for number, luma, mean in zip(shown, after.lumas, after.colors, strict=True):
        if same_luma:
            assert abs(luma - whole.lumas[number]) < LUMA, f"frame {number} shows another picture"
        if same_shown:
            worst = max((abs(a - b) for a, b in zip(whole.colors[number], mean, strict=True)), default=0)
            assert worst < COLOR + half_a_level(before.pix_fmt), (
                f"frame {number}: mean R, G, B, alpha {whole.colors[number]} became {mean}"
            )


def is_planar(pix_fmt: str) -> bool:
    return planar_layout(pix_fmt) is not None


def check_times(case: Case, before: Seen, after: Seen) -> None:
    _, times = case.truth()
    if case.clock == "file":
        times = tuple(before.times)
    elif case.times is None and case.clock == "film":
        assert all(abs(a - b - before.times[0] + times[0]) <= before.tick for a, b in zip(before.times, times, strict=True))
    exact = all((time / after.tick).denominator == 1 for time in before.times)
    worst = max(abs(b - a - after.times[0] + times[0]) for a, b in zip(times, after.times, strict=True))
    assert worst <= (0 if exact and case.clock != "none" else after.tick)
    offset = after.times[0] - before.times[0]
    for (name, old), new in zip(before.packets.items(), after.packets.values(), strict=False):
        drift = abs(new[0][0] - old[0][0] - offset)
        if len(old) == len(new):
            drift = max(abs(b[0] - a[0] - offset) for a, b in zip(old, new, strict=True))
        converted = name.replace(" ", " stream ") in case.stated  # by a codec whose decoder may begin a few packets late
        assert drift <= (CONVERTED if converted else max(after.tick, before.tick, MILLISECOND)), (
            f"{name} moved against the film by {float(drift)} s"
        )


def check_meaning(case: Case, before: Seen, after: Seen) -> None:
    """Shape, orientation, colour tags, depth, HDR."""
    assert after.sar == before.sar
    if "rotation" not in case.stated:
        assert after.matrix == before.matrix
    assert after.hdr == before.hdr
    old, new = layout_of(before.pix_fmt), layout_of(after.pix_fmt)
    opaque = all(color[3:] == (255,) for color in before.colors)  # a GIF without a transparent pixel
    assert new.alpha == old.alpha or "alpha" in case.stated or opaque
    assert new.bits >= old.bits or "bit depth" in case.stated
    if old.kind != "yuv":
        return
    wide = before.pix_fmt.startswith("yuvj") or before.color[0] == 2
    matrix = 6 if before.color[3] in (0, 2) else before.color[3]  # untagged: tagged with the matrix that was used
    assert after.color == (2 if wide else 1, before.color[1], before.color[2], matrix)


def check_company(case: Case, before: Seen, after: Seen) -> None:
    """Every other stream, and what the streams and the file are called."""
    for (name, old), new in zip(before.packets.items(), after.packets.values(), strict=False):
        if name.replace(" ", " stream ") not in case.stated:
            # of DVB subtitles FFmpeg gives the first packet with what its PES packet wraps around it
            bare = [[without_pes_data_header(data) for _, data in packets] for packets in (new, old)]
            assert bare[0] == bare[1], f"{name} is not bit-identical"
    assert len(after.packets) == len(before.packets)
    for (name, old), new in zip(before.others.items(), after.others.values(), strict=True):
        assert [data for _, data in new] == [data for _, data in old], f"{name} is not bit-identical"
    assert after.covers == before.covers
    if "attachments" not in case.stated:
        assert after.fonts == before.fonts
    if "chapters" not in case.stated:
        assert after.chapters == before.chapters
    if case.film.suffix in (".mkv", ".mp4", ".mov", ".webm", ".m4v") and not case.output:
        assert [s[0] for s in after.streams] == [s[0] for s in before.streams]
        assert [s[2:] for s in after.streams if s[0] != "video"] == [s[2:] for s in before.streams if s[0] != "video"]
    for key, value in case.film.tags.items():
        assert {k.lower(): v for k, v in after.tags.items()}.get(key.lower()) == value
    for key in ("title", "language", "timecode"):
        assert key not in case.film.labels or after.labels.get(key) == before.labels[key]


def half_a_level(pix_fmt: str) -> float:
    """Of 255: what rounding to the samples' own bits may do to a mean."""
    return 127 / (1 << min(8, *(component.bits for component in av.VideoFormat(pix_fmt, 16, 16).components), 8))


def test_the_published_table_is_of_these_films() -> None:
    """docs/fidelity.md is made by `make fidelity`; it has to be made again when a film is added or changed."""
    table = Path(__file__).parents[2] / "docs" / "fidelity.md"
    lines = [line for line in table.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    rows = {name: rest for name, *rest in cells if name not in ("film", "---")}
    assert list(rows) == [case.name for case in CASES]
    assert {name: tuple(rest[: len(described(CASES[0]))]) for name, rest in rows.items()} == {c.name: described(c) for c in CASES}
    broken = {name for name, rest in rows.items() if any("BROKEN" in cell for cell in rest)}
    refuted = {case.name for case in CASES if case.refuted}
    assert refuted <= broken <= refuted | {case.name for case in CASES if case.wrong}


def test_the_films_have_names_of_their_own() -> None:
    assert len(CASES) == len({case.name for case in CASES}) >= 66
