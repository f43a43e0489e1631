"""`vsr verify` on honest pairs, and on outputs that are broken on purpose: each fault is named, and nothing else is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.films import Film, Sound, Words, make, opened, vfr
from tests.media.forgery import Forgery, Frames, copied, forge, repainted, timed
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.cli.main import main
from vsr.errors import DecodeError
from vsr.media.check import Check
from vsr.media.payload import unwrapper, without_adts
from vsr.media.source import OPEN_OPTIONS
from vsr.media.verify import verify_files

Pair = tuple[Path, Path]
B_FRAMES = {"preset": "veryfast", "crf": "1", "bf": "3", "g": "6"}
RICH = Film(
    "rich", ".mkv", time_base=Fraction(1, 1000), pts=vfr(16, [33, 34, 100, 17]), options=B_FRAMES,
    sounds=(Sound(title="main"), Sound("ac3", "fra", "commentary", default=False)),
    words=(Words("srt"), Words("ass", "fra", forced=True)),
    chapters=((0, 0.2, "eins"), (0.2, 0.6, "zwei")), tags={"title": "Ein Film", "artist": "A B"}, fonts=("one.ttf",),
)  # fmt: skip
PLAIN = Film("plain", pts=vfr(14, [512, 1024, 300, 700]), options=B_FRAMES, sounds=(Sound(),))
FILMS = [
    PLAIN,
    Film("one frame", pts=(0,)),
    Film("ntsc", time_base=Fraction(1, 30000), pts=vfr(12, [1001])),
    Film("late start", pts=vfr(10, [512], start=12801), sounds=(Sound(delay=1.0),)),
    Film("ts", ".ts", options=B_FRAMES, sounds=(Sound(),), time_base=Fraction(1, 90000), pts=vfr(12, [3600])),
    Film("avi", ".avi", "mpeg4", options={"b": "2M"}, color=None, time_base=Fraction(1, 25), pts=vfr(12, [1])),
    Film("mov", ".mov", sounds=(Sound("pcm_s16le"),)),
    Film("mov_text", words=(Words("mov_text", "spa"),)),
    Film("full range", pix_fmt="yuvj420p", color=(2, 1, 1, 1)),
    Film("bt2020 10 bit", codec="libx265", pix_fmt="yuv420p10le", color=(1, 9, 14, 9),
         options={"preset": "ultrafast", "x265-params": "log-level=none"}),
    Film("rgb", ".mkv", "ffv1", options={}, pix_fmt="bgr0", color=None, time_base=Fraction(1, 1000), pts=vfr(6, [40])),
    Film("gray odd", ".mkv", "ffv1", options={}, pix_fmt="gray", size=(61, 47), time_base=Fraction(1, 1000), pts=vfr(6, [40])),
    Film("anamorphic", sar=Fraction(32, 27)),
    Film("mirrored", rotation=0, flip=True),
    Film("webm", ".webm", "libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime", "crf": "10", "b": "0"},
         sounds=(Sound("libopus"),), time_base=Fraction(1, 1000), pts=vfr(12, [40])),
]  # fmt: skip


def upscaled(source: Path, target: Path) -> Pair:
    encode = EncodeConfig(crf=2, preset="ultrafast")
    upscale(UpscaleConfig(str(source), str(target), scale=2, model="bicubic", encode=encode, verify=False))
    return source, target


def broken(source: Path, output: Path, *, pixels: bool = True) -> dict[str, str]:
    """Name and detail of each broken promise."""
    return {check.name: check.detail for check in verify_files(str(source), str(output), pixels=pixels) if not check.ok}


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A film with everything that Matroska holds."""
    folder = tmp_path_factory.mktemp("rich")
    source, output = upscaled(make(RICH, folder), folder / "bare.mkv")
    return with_cover(source, folder / "film.mkv"), with_cover(output, folder / "good.mkv")


def with_cover(bare: Path, target: Path) -> Path:
    return forge(bare, target, Forgery(new_cover=True))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("plain")
    return upscaled(make(PLAIN, folder), folder / "good.mp4")


@pytest.mark.parametrize("film", FILMS, ids=str)
def test_an_honest_output_breaks_nothing(film: Film, tmp_path: Path) -> None:
    suffix = film.suffix if film.suffix != ".avi" else ".mkv"
    source, output = upscaled(make(film, tmp_path), tmp_path / f"good{suffix}")
    checks = verify_files(str(source), str(output))
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    assert broken(source, output, pixels=False) == {}


def test_a_rich_output_breaks_nothing(rich: Pair) -> None:
    checks = {check.name: check for check in verify_files(*map(str, rich))}
    assert all(check.ok and not check.stated for check in checks.values()), checks
    assert checks["chapters"].detail == "2"
    assert checks["attachments"].detail == checks["cover art"].detail == "1, same bytes"
    assert checks["tags"].detail == "2 kept"
    assert checks["languages"].detail == "eng, fra, ger, fra"
    assert {"audio stream 1", "audio stream 2", "subtitle stream 3", "subtitle stream 4"} <= set(checks)


def test_cover_art_costs_no_sound(rich: Pair, tmp_path: Path) -> None:
    assert broken(*upscaled(rich[0], tmp_path / "good.mkv"), pixels=False) == {}


def test_an_untouched_copy_of_an_output_is_as_good(rich: Pair, plain: Pair, tmp_path: Path) -> None:
    for source, good in (rich, plain):
        assert broken(source, forge(good, tmp_path / f"copy{good.suffix}", Forgery())) == {}
        again = forge(good, tmp_path / f"again{good.suffix}", Forgery(frames=list))
        assert broken(source, again) == {}, "the forger's own encoder must not be what is found"


def dropped(frames: Frames) -> Frames:
    return frames[:5] + frames[6:]


def doubled(frames: Frames) -> Frames:
    return [*frames[:6], copied(frames[5], frames[5].pts + 3), *frames[6:]]


def repeated(frames: Frames) -> Frames:
    return [*frames[:6], copied(frames[5], frames[6].pts), *frames[7:]]


def swapped(frames: Frames) -> Frames:
    return [*frames[:5], copied(frames[6], frames[5].pts), copied(frames[5], frames[6].pts), *frames[7:]]


def late_by_one(frames: Frames) -> Frames:
    """Each shows the next; the last is shown once more."""
    times = [frame.pts for frame in frames]
    return [copied(frame, pts) for frame, pts in zip([*frames[1:], frames[-1]], times, strict=True)]


def blackened(frames: Frames) -> Frames:
    return [*frames[:7], repainted(frames[7], lambda x: x * 0 + np.array([16, 128, 128.0])[:, None, None]), *frames[8:]]


def constant_rate(frames: Frames) -> Frames:
    step = (frames[-1].pts - frames[0].pts) // (len(frames) - 1)
    return [timed(frame, frames[0].pts + n * step, frame) for n, frame in enumerate(frames)]


def one_tick(frames: Frames) -> Frames:
    return [timed(frame, frame.pts + (n == 4), frame) for n, frame in enumerate(frames)]


FRAME_FAULTS: list[tuple[str, Callable[[Frames], Frames], dict[str, str]]] = [
    ("dropped", dropped, {"frames": "missing: frame 5 ("}),
    ("doubled", doubled, {"frames": "not in the source: frame 6 ("}),
    ("repeated", repeated, {"pixels": "frame 6 ("}),
    ("swapped", swapped, {"pixels": "shows the source's frame 6, not 5"}),
    ("late by one", late_by_one, {"pixels": "frame 0 (0.000 s) shows the source's frame 1, not 0"}),
    ("black", blackened, {"pixels": "frame 7 ("}),
    ("constant rate", constant_rate, {"timestamps": "frames are off, first frame 1 ("}),
    ("one tick", one_tick, {"timestamps": "1 of 14 frames are off, first frame 4 ("}),
]  # fmt: skip


@pytest.mark.parametrize(("frames", "wanted"), [f[1:] for f in FRAME_FAULTS], ids=[f[0] for f in FRAME_FAULTS])
def test_a_wrong_frame_is_named(frames: Callable[[Frames], Frames], wanted: dict[str, str], plain: Pair, tmp_path: Path) -> None:
    found = broken(plain[0], forge(plain[1], tmp_path / "bad.mp4", Forgery(frames=frames)))
    assert found.keys() == wanted.keys(), found
    for name, words in wanted.items():
        assert words in found[name]


def delayed(kind: str, number: int, packet: Any) -> Any:
    if kind == "audio":
        packet.pts, packet.dts = (round(t + Fraction(50, 1000) / packet.time_base) for t in (packet.pts, packet.dts))
    return packet


def shortened(kind: str, number: int, packet: Any) -> Any:
    return None if kind == "audio" and packet.stream.index == 1 and number > 14 else packet


def damaged(kind: str, number: int, packet: Any) -> Any:
    if kind != "audio" or packet.stream.index != 1 or number != 9:
        return packet
    made = av.Packet(bytes(packet)[:-1] + bytes([bytes(packet)[-1] ^ 0xFF]))
    made.pts, made.dts, made.time_base, made.duration = packet.pts, packet.dts, packet.time_base, packet.duration
    return made


def without_line(kind: str, number: int, packet: Any) -> Any:
    return None if kind == "subtitle" and packet.stream.index == 4 and number == 1 else packet


STREAM_FAULTS: list[tuple[str, Forgery, dict[str, str]]] = [
    ("shifted sound", Forgery(packet=delayed), {"sync": "audio stream 1 has moved by +50.000 ms"}),
    ("short sound", Forgery(packet=shortened), {"audio stream 1": "is cut short: the last"}),
    ("damaged sound", Forgery(packet=damaged), {"audio stream 1": "other bytes from packet 9"}),
    ("lost line", Forgery(packet=without_line), {"subtitle stream 4": "the last 1 of 2 packets"}),
    ("lost subtitles", Forgery(drop=("subtitle",)), {"subtitle stream 3": "is missing", "subtitle stream 4": "is missing"}),
    ("lost languages", Forgery(untagged=("language",)), {"languages": "audio stream 1: eng became none"}),
    ("lost titles", Forgery(untagged=("title",)), {"titles": "audio stream 1: 'main' became ''"}),
    ("lost dispositions", Forgery(untagged=("disposition",)), {"dispositions": "subtitle stream 4: forced lost"}),
    ("lost chapters", Forgery(chapters=False), {"chapters": "0 of 2"}),
    ("lost font", Forgery(attachments=False), {"attachments": "one.ttf is missing"}),
    ("lost cover", Forgery(covers=False), {"cover art": "is missing"}),
    ("lost tags", Forgery(tags=False), {"tags": "title: 'Ein Film' is missing"}),
]  # fmt: skip


@pytest.mark.parametrize(("how", "wanted"), [f[1:] for f in STREAM_FAULTS], ids=[f[0] for f in STREAM_FAULTS])
def test_a_wrong_stream_is_named(how: Forgery, wanted: dict[str, str], rich: Pair, tmp_path: Path) -> None:
    found = broken(rich[0], forge(rich[1], tmp_path / "bad.mkv", how), pixels=False)
    assert found.keys() == wanted.keys(), found
    for name, words in wanted.items():
        assert words in found[name]


def test_sound_encoded_anew_is_named(plain: Pair, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    with opened(plain[1]) as source, av.open(str(bad), "w", container_options={"video_track_timescale": "12800"}) as out:
        film = out.add_stream_from_template(source.streams.video[0])
        sound: Any = out.add_stream("aac", rate=48000, layout="stereo")
        sound.metadata["language"] = "eng"
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = film
                out.mux(packet)
        source.seek(0)
        for frame in [*source.decode(audio=0), None]:
            out.mux(sound.encode(frame))
    found = broken(plain[0], bad)
    assert found.keys() == {"audio stream 1"}
    assert "re-encoded" in found["audio stream 1"]


def other_matrix(planes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """BT.709 to BT.601, limited range."""
    change = np.array([[1, 0.09916, 0.19180], [0, 0.98984, -0.11057], [0, -0.07239, 0.98339]])
    middle = np.array([16, 128, 128.0])[:, None, None]
    changed: np.ndarray[Any, Any] = np.tensordot(change, planes - middle, 1) + middle
    return changed


def other_range(planes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Limited to full."""
    return np.stack([(planes[0] - 16) * 255 / 219, *((p - 128) * 255 / 224 + 128 for p in planes[1:])])


def colourless(planes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.stack([planes[0], *np.full_like(planes[1:], 128)])


COLOR_FAULTS: list[tuple[str, Forgery, dict[str, str]]] = [
    ("wrong matrix", Forgery(lambda f: [repainted(x, other_matrix) for x in f]), {"colours": "matrix 6 is tagged 1"}),
    ("wrong range", Forgery(lambda f: [repainted(x, other_range) for x in f]), {"colours": "full range is tagged limited"}),
    ("swapped chroma", Forgery(lambda f: [repainted(x, lambda p: p[[0, 2, 1]]) for x in f]), {"colours": "Cb and Cr are"}),
    ("no colour", Forgery(lambda f: [repainted(x, colourless) for x in f]), {"colours": "the colour is gone"}),
    ("other transfer", Forgery(list, color=(1, 9, 14, 1)), {"colour tags": "primaries 1 became 9; transfer 1 became 14"}),
    ("other tag", Forgery(list, color=(1, 1, 1, 6)), {"colour tags": "matrix 1 became 6", "colours": "matrix 1 is tagged 6"}),
]  # fmt: skip


@pytest.mark.parametrize(("how", "wanted"), [f[1:] for f in COLOR_FAULTS], ids=[f[0] for f in COLOR_FAULTS])
def test_wrong_colours_are_named(how: Forgery, wanted: dict[str, str], plain: Pair, tmp_path: Path) -> None:
    found = broken(plain[0], forge(plain[1], tmp_path / "bad.mp4", how))
    assert found.keys() == wanted.keys(), found
    for name, words in wanted.items():
        assert words in found[name]


HDR = {"preset": "ultrafast", "x265-params": "log-level=none:hdr10=1:repeat-headers=1:max-cll=1000,400:master-display="
       "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"}  # fmt: skip
TEN_BIT = Film("ten bit", codec="libx265", pix_fmt="yuv420p10le", color=(1, 9, 16, 9), options=HDR)
PICTURE_FAULTS: list[tuple[str, Film, Forgery, dict[str, str]]] = [
    ("rotation", Film("rotated", rotation=90), Forgery(matrix=False, frames=list), {"rotation": "90 degrees became upright"}),
    ("aspect", Film("anamorphic", sar=Fraction(32, 27)), Forgery(sar=False, frames=list), {"aspect": "became 1.3333"}),
    ("depth", replace(TEN_BIT, options={"preset": "ultrafast", "x265-params": "log-level=none"}),
     Forgery(frames=list, pix_fmt="yuv420p"), {"bit depth": "10 bits became 8"}),
    ("HDR", TEN_BIT, Forgery(frames=list, pix_fmt="yuv420p10le"), {"HDR": "display is missing; content light level is missing"}),
    ("other HDR", TEN_BIT, Forgery(frames=list, codec="libx265", pix_fmt="yuv420p10le", options={
        **HDR, "x265-params": HDR["x265-params"].replace("max-cll=1000", "max-cll=900").replace("10000000", "9000000")}),
     {"HDR": "mastering display has other values; content light level has other values"}),
]  # fmt: skip


@pytest.mark.parametrize(("film", "how", "wanted"), [f[1:] for f in PICTURE_FAULTS], ids=[f[0] for f in PICTURE_FAULTS])
def test_a_changed_meaning_is_named(film: Film, how: Forgery, wanted: dict[str, str], tmp_path: Path) -> None:
    source = make(film, tmp_path)
    assert broken(source, source) == {}
    found = broken(source, forge(source, tmp_path / "bad.mp4", how))
    assert found.keys() == wanted.keys(), found
    for name, words in wanted.items():
        assert words in found[name]


def test_lost_captions_are_named(tmp_path: Path) -> None:
    plain, captioned, other = make(Film("plain", ".mkv"), tmp_path), tmp_path / "captioned.mkv", tmp_path / "other.mkv"
    add_captions(plain, captioned, b"\xfc\x94\x2c")
    add_captions(plain, other, b"\xfc\x94\x2d")
    assert broken(captioned, captioned) == {}
    assert broken(captioned, plain, pixels=False) == {"captions": "with 0 of 12 frames"}
    assert broken(captioned, plain) == {"captions": "with 0 of 12 frames"}
    assert broken(captioned, other) == {"captions": "with 12 of 12 frames, other ones, or with other frames"}
    assert broken(plain, captioned) == {}


def add_captions(source: Path, target: Path, triplet: bytes) -> None:
    """CEA-608 bytes in an SEI message (ATSC A/53 part 4, 6.2.3.1) before each picture."""
    content = b"\xb5\x00\x31GA94\x03" + bytes([0x41, 0xFF]) + triplet + b"\xff"
    unit = b"\x06\x04" + bytes([len(content)]) + content + b"\x80"
    with opened(source) as film, av.open(str(target), "w") as out:
        copy = out.add_stream_from_template(film.streams.video[0])
        for packet in film.demux():
            if packet.size:
                made = av.Packet(len(unit).to_bytes(4, "big") + unit + bytes(packet))
                made.pts, made.dts, made.time_base, made.is_keyframe = (
                    packet.pts,
                    packet.dts,
                    packet.time_base,
                    packet.is_keyframe,
                )
                made.duration = packet.duration
                made.stream = copy
                out.mux(made)


def test_a_file_that_is_cut_off_is_named(rich: Pair, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mkv"
    content = rich[1].read_bytes()
    bad.write_bytes(content[: len(content) * 7 // 10])
    found = broken(rich[0], bad)
    assert "frames" in found
    assert "missing: frame" in found["frames"]
    assert found.keys() <= {"frames", "audio stream 1", "audio stream 2", "subtitle stream 3", "subtitle stream 4", "pixels"}


def test_a_damaged_source_is_stated(tmp_path: Path) -> None:
    """Frames that nobody can decode are not asked of the output; their number is told."""
    whole = make(
        Film(
            "whole",
            ".mkv",
            codec="ffv1",
            options={"level": "3", "slicecrc": "1", "g": "1"},
            time_base=Fraction(1, 1000),
            pts=vfr(12, [40]),
        ),
        tmp_path,
    )
    damaged = tmp_path / "damaged.mkv"
    with opened(whole) as film, av.open(str(damaged), "w") as out:
        copy = out.add_stream_from_template(film.streams.video[0])
        for number, packet in enumerate(p for p in film.demux() if p.size):
            made = av.Packet(b"\0" * 8 if number == 5 else bytes(packet))
            made.pts, made.dts, made.time_base, made.is_keyframe = packet.pts, packet.dts, packet.time_base, packet.is_keyframe
            made.stream = copy
            out.mux(made)
    source, output = upscaled(damaged, tmp_path / "good.mkv")
    checks = {check.name: check for check in verify_files(str(source), str(output))}
    assert all(check.ok for check in checks.values()), checks
    assert "11 of" in checks["frames"].detail


def test_what_a_container_cannot_hold_is_stated(rich: Pair, tmp_path: Path) -> None:
    source, output = upscaled(rich[0], tmp_path / "good.mp4")
    checks = {check.name: check for check in verify_files(str(source), str(output))}
    assert all(check.ok for check in checks.values()), [c for c in checks.values() if not c.ok]
    assert checks["subtitle stream 3"].stated
    assert "is converted to mov_text" in checks["subtitle stream 3"].detail
    assert checks["attachments"].stated
    assert ".mp4 holds no attachments: one.ttf" in checks["attachments"].detail
    assert not checks["audio stream 1"].stated


def test_a_still_film_is_counted_not_judged(tmp_path: Path) -> None:
    moving = make(Film("moving"), tmp_path)
    still = forge(moving, tmp_path / "still.mp4", Forgery(frames=lambda f: [f[0], *(copied(f[0], x.pts) for x in f[1:])]))
    checks = {check.name: check for check in verify_files(str(still), str(upscaled(still, tmp_path / "good.mp4")[1]))}
    assert checks["pixels"] == Check("pixels", True, "0 frames show their own; 12 too like their neighbours to be told apart")


def test_the_command(
    rich: Pair, plain: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: object) -> int:
        monkeypatch.setattr(sys, "argv", ["vsr", "verify", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    report = tmp_path / "report.json"
    assert run(*rich, "--json", report) == 0
    said = capsys.readouterr()
    assert "BROKEN" not in said.out
    assert "timestamps      " in said.out
    assert said.err == ""
    facts = json.loads(report.read_text())
    assert (facts["command"], facts["status"], facts["warnings"]) == ("verify", "ok", [])
    assert {"name", "ok", "detail"} <= facts["checks"][0].keys()

    bad = forge(plain[1], tmp_path / "bad.mp4", Forgery(frames=swapped))
    assert run(plain[0], bad, "--no-pixels") == 0
    capsys.readouterr()
    assert run(plain[0], bad, "--json", "-") == 3
    said = capsys.readouterr()
    facts = json.loads(said.out)
    assert facts["status"] == "broken"
    assert [check["name"] for check in facts["checks"] if not check["ok"]] == ["pixels"]
    assert said.err.splitlines() == [f"vsr: {bad}: 1 of 22 promises are broken: pixels"]

    assert run(plain[0], tmp_path / "nothing.mp4") == 1
    assert capsys.readouterr().err.splitlines() == [f"vsr: {tmp_path / 'nothing.mp4'}: no such file"]


def test_a_file_that_cannot_be_read_is_an_error(plain: Pair, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    with pytest.raises(DecodeError, match=r"text\.mp4"):
        verify_files(str(plain[0]), str(text))


def test_payloads_are_the_same_in_every_container(tmp_path: Path) -> None:
    """MP4 to MPEG-TS: ADTS headers and start codes come, parameter sets move; the content stays."""
    source = make(replace(PLAIN, suffix=".mp4"), tmp_path)
    target = tmp_path / "copy.ts"
    with opened(source) as film, av.open(str(target), "w", **OPEN_OPTIONS) as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in film.streams}
        for packet in film.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)

    def contents(path: Path, unwrapped: bool) -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        with opened(path) as container:
            unwrap = {s.index: unwrapper(s) if unwrapped else bytes for s in container.streams}
            for packet in container.demux():
                if packet.size:
                    found.setdefault(packet.stream.type, []).append(unwrap[packet.stream.index](bytes(packet)))
        return found

    assert contents(source, False)["audio"] != contents(target, False)["audio"]
    assert contents(source, True) == contents(target, True)


def test_only_a_whole_adts_frame_loses_its_header() -> None:
    body = b"body"
    header = bytes([0xFF, 0xF1, 0x50, 0x80, (7 + len(body)) >> 3, ((7 + len(body)) & 7) << 5 | 0x1F, 0xFC])
    assert without_adts(header + body) == body
    assert without_adts(header + body + b"x") == header + body + b"x"
    assert without_adts(body) == body
