"""Files that real people have: joined, damaged, cut, with times that lie. Each case was once wrong, or nearly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.films import Film, Sound, Words, look, make, opened, vfr
from tests.media.contract_edits import damaged, joined, twice, with_cover, with_edit
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.errors import ConfigError
from vsr.media.decoder import Decoder
from vsr.media.joiner import Routed, in_order
from vsr.report import Report

B_FRAMES = {"preset": "veryfast", "crf": "1", "bf": "3", "g": "12"}
PYRAMID = {"preset": "medium", "crf": "1", "bf": "3", "g": "24", "x264-params": "b-adapt=0:scenecut=0:b-pyramid=normal"}
MILLISECOND = Fraction(1, 1000)
PICTURE = 0.006  # mean luma that the encoder may change


def run(source: Path, output: Path, scale: float = 2, encode: EncodeConfig | None = None, **facts: Any) -> Report:
    encode = encode or EncodeConfig(crf=4, preset="ultrafast")
    return upscale(UpscaleConfig(str(source), str(output), scale=scale, model="bicubic", threads=1, encode=encode, **facts))


def mkv(name: str, frames: int = 12, **facts: Any) -> Film:
    return Film(name, ".mkv", **{"time_base": MILLISECOND, "pts": vfr(frames, [40]), **facts})


def ts(name: str, frames: int = 12, **facts: Any) -> Film:
    return Film(name, ".ts", **{"time_base": Fraction(1, 90000), "pts": vfr(frames, [3600]), "options": B_FRAMES, **facts})


def same_pictures(before: Sequence[float], after: Sequence[float]) -> None:
    assert len(after) == len(before)
    worst = max(abs(a - b) for a, b in zip(before, after, strict=True))
    assert worst < PICTURE, f"other pictures: {before} became {after}"


def stream_packets(path: Path, index: int) -> list[tuple[Fraction, bytes]]:
    """(pts in seconds, payload) of one stream, in file order."""
    with opened(path) as container:
        packets = container.demux(container.streams[index])
        return [(p.pts * p.time_base, bytes(p)) for p in packets if p.size and p.pts is not None]


def heard(path: Path) -> tuple[float, float]:
    """Seconds that the first audio track plays, and its loudness (RMS, full scale 1)."""
    with opened(path) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48000)
        frames = [f for raw in container.decode(audio=0) for f in resampler.resample(raw)]
        frames += resampler.resample(None)
    wave = np.concatenate([frame.to_ndarray().ravel() for frame in frames])
    return len(wave) / 48000, float(np.sqrt((wave**2).mean()))


# --- parts ------------------------------------------------------------------------------------------------------------

PARTED = [
    ts("ts", 30, sounds=(Sound("mp2"),)),
    Film("ps", ".mpg", "mpeg2video", options={"bf": "2", "b": "2M"}, time_base=Fraction(1, 25), pts=vfr(30, [1])),
    Film("avi", ".avi", "mpeg4", options={"bf": "2", "b": "2M"}, time_base=Fraction(1, 25), pts=vfr(30, [1]), color=None),
    Film("avi h264", ".avi", options=B_FRAMES, time_base=Fraction(1, 25), pts=vfr(30, [1])),
    Film("raw", ".h264", muxer="h264", options=B_FRAMES, time_base=Fraction(1, 25), pts=vfr(30, [1])),
]


@pytest.mark.parametrize("film", PARTED, ids=str)
@pytest.mark.parametrize(("start", "duration"), [(0.4, None), (0.4, 0.4), (1.0, 0.04), (None, 0.2)])
def test_a_part_is_exactly_the_frames_asked_for(film: Film, start: float | None, duration: float | None, tmp_path: Path) -> None:
    source, output = make(film, tmp_path), tmp_path / "out.mkv"
    run(source, output, start=start, duration=duration, verify=not film.sounds)  # one steady tone repeats its packets
    first = round((start or 0) * 25)
    last = 30 if duration is None else first + round(duration * 25)
    # a raw stream has no times to look at: its twin has
    before, after = look(make(replace(film, name="twin", suffix=".mkv", muxer=None), tmp_path)), look(output)
    assert len(before.times) == 30
    same_pictures(before.lumas[first:last], after.lumas)
    for number, time in enumerate(after.times):
        assert abs(time - after.times[0] - Fraction(number, 25)) <= MILLISECOND


def test_a_part_beyond_the_end_is_one_clear_error(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    source = make(Film("film"), tmp_path)
    for output in (str(tmp_path / "out.mp4"), "-"):
        with pytest.raises(ConfigError, match=r"film\.mp4: no frame lies in the part that was asked for"):
            run(source, Path(output), start=100)
    assert capfdbinary.readouterr().out == b""
    assert [p.name for p in tmp_path.iterdir()] == [source.name]


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_joined_recordings_go_on_where_the_clock_is_set_back(tmp_path: Path) -> None:
    once = make(ts("once", 40, sounds=(Sound("mp2"),)), tmp_path)
    source = joined(once, once)
    report = run(source, tmp_path / "out.mkv")
    before, after = look(once), look(tmp_path / "out.mkv")
    same_pictures(before.lumas * 2, after.lumas)
    steps = [b - a for a, b in pairwise(after.times)]
    assert all(Fraction(39, 1000) <= step <= Fraction(41, 1000) for step in steps), "times go on, nothing is collapsed"
    sound, again = before.packets["audio 1"], after.packets["audio 1"]
    assert [data for _, data in again] == [data for _, data in sound] * 2
    offsets = [again[i][0] - after.times[n] for i, n in ((0, 0), (len(sound), len(before.times)))]
    assert abs(offsets[1] - offsets[0]) <= Fraction(1, 10), f"sound and picture drift apart: {offsets}"
    assert any("set back" in warning for warning in report.warnings), report.warnings


@pytest.mark.parametrize("denominator", [1_000_000, 10_000_000, 1_000_000_000])
def test_fine_clocks_and_a_gap(denominator: int, tmp_path: Path) -> None:
    step = denominator // 25
    suffix = ".mp4" if denominator < 10**9 else ".nut"  # which holds what mp4 cannot
    film = Film("fine", suffix, time_base=Fraction(1, denominator), pts=vfr(8, [step, step, 3 * denominator, step]))
    source = make(film, tmp_path)
    run(source, tmp_path / "out.mp4")
    before, after = look(source), look(tmp_path / "out.mp4")
    assert before.times == [pts * film.time_base for pts in film.pts]
    same_pictures(before.lumas, after.lumas)
    tick = Fraction(1, min(denominator, 1_000_000))
    assert all(abs(a - b) < tick for a, b in zip(before.times, after.times, strict=True))


@pytest.mark.parametrize(
    ("film", "suffix"),
    [
        (mkv("hour", pts=(0, 40, 3_600_040, 3_600_080)), ".mkv"),
        (mkv("hour", pts=(0, 40, 3_600_040, 3_600_080)), ".mp4"),
        (Film("hour mp4", pts=(0, 512, 512 * 90_001, 512 * 90_002)), ".mp4"),
        (Film("hour fine", ".nut", time_base=Fraction(1, 1_000_000), pts=(0, 40_000, 3_600_040_000, 3_600_080_000)), ".mp4"),
        (Film("hour nut", ".nut", "ffv1", options={}, time_base=Fraction(1, 10**9), pts=(0, 4 * 10**7, 36 * 10**11)), ".mp4"),
    ],
    ids=["mkv", "mkv to mp4", "mp4", "nut 1 us to mp4", "nut 1 ns to mp4"],
)
def test_an_hour_without_a_frame(film: Film, suffix: str, tmp_path: Path) -> None:
    source, output = make(film, tmp_path), tmp_path / f"out{suffix}"
    run(source, output, encode=EncodeConfig(codec="h264", crf=4, preset="ultrafast"))
    before, after = look(source), look(output)
    assert before.times == [pts * film.time_base for pts in film.pts]
    same_pictures(before.lumas, after.lumas)
    assert all(abs(b - a) <= MILLISECOND for a, b in zip(before.times, after.times, strict=True))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts"])
def test_what_an_edit_list_cuts_stays_unheard(suffix: str, tmp_path: Path) -> None:
    whole = make(Film("whole", pts=vfr(40, [512]), options=B_FRAMES, sounds=(Sound(),)), tmp_path)
    source, output = with_edit(whole, Fraction(1, 2), (12800, 48000)), tmp_path / f"out{suffix}"
    run(source, output)
    before, after = look(source), look(output)
    assert 26 <= len(before.times) <= 29
    same_pictures(before.lumas, after.lumas)
    assert before.times[0] - after.times[0] == before.times[-1] - after.times[-1]
    assert abs(heard(output)[0] - heard(source)[0]) <= 0.11, "no more than what the codec needs to begin"


def test_chapters_move_with_the_film(tmp_path: Path) -> None:
    source = make(Film("chapters", sounds=(Sound(),), chapters=((0, 0.2, "one"), (0.2, 0.48, "two"))), tmp_path)
    run(source, tmp_path / "out.mkv")
    before, after = look(source), look(tmp_path / "out.mkv")
    moved = after.times[0] - before.times[0]
    assert all(abs(b - a - moved) <= MILLISECOND for a, b in zip(before.times, after.times, strict=True))
    (_, cut, _), old = after.chapters[0], before.chapters[0]
    assert [c[2] for c in after.chapters] == ["one", "two"]
    assert abs(cut - old[1] - moved) <= MILLISECOND, "the second chapter begins at the same picture"
    sound, again = before.packets["audio 1"], after.packets["audio 1"]
    assert all(abs(b[0] - a[0] - moved) <= MILLISECOND for a, b in zip(sound, again, strict=True))


# --- damage -----------------------------------------------------------------------------------------------------------

INTRA = {"preset": "ultrafast", "crf": "1", "g": "1"}
HEVC_INTRA = {"preset": "ultrafast", "x265-params": "log-level=none:keyint=1"}
CRC = {"level": "3", "slicecrc": "1", "g": "1"}


@pytest.mark.parametrize("from_end", [1, 3])
@pytest.mark.parametrize(
    "film",
    [
        mkv("ffv1", 20, codec="ffv1", options=CRC),
        Film("h264", pts=vfr(20, [512]), options=INTRA),
        mkv("h264", 20, options=INTRA),
        mkv("hevc", 20, codec="libx265", options=HEVC_INTRA, size=(80, 64)),
    ],
    ids=["ffv1 mkv", "h264 mp4", "h264 mkv", "hevc mkv"],
)
def test_damage_near_the_end_costs_one_frame(film: Film, from_end: int, tmp_path: Path) -> None:
    whole = make(film, tmp_path)
    source, output = damaged(whole, from_end), tmp_path / "out.mkv"
    report = run(source, output)
    before, after = look(whole), look(output)
    del before.lumas[-from_end], before.times[-from_end]
    assert report.frames_out == 19, report.warnings
    same_pictures(before.lumas, after.lumas)
    assert report.read.corrupt_packets == 1
    assert any(w.startswith("1 packets of the film are damaged") for w in report.warnings), report.warnings


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("from_end", [1, 3, 9])
@pytest.mark.parametrize("options", [INTRA, B_FRAMES], ids=["intra", "b-frames"])
def test_frame_threads_lose_nothing_else(options: dict[str, str], from_end: int, threads: int, tmp_path: Path) -> None:
    """FFmpeg's frame threads drop what they have finished when an error meets the end of the file: with 8, several frames."""
    with opened(damaged(make(mkv("film", 40, options=options), tmp_path), from_end)) as container:
        video = container.streams.video[0]
        decoder = Decoder(video)
        video.codec_context.thread_count = threads
        times = [frame.pts or 0 for packet in container.demux(video) for frame in decoder.decode(packet)]
    assert len(times) == 39
    assert times == sorted(times)
    assert decoder.corrupt_packets == 1


def test_a_damaged_reference_costs_no_frame_of_another_group(tmp_path: Path) -> None:
    whole = make(mkv("group", 36, options=B_FRAMES), tmp_path)
    source, output = damaged(whole, 10), tmp_path / "out.mkv"
    report = run(source, output)
    before, after = look(whole), look(output)
    assert 24 <= len(after.times) <= 35
    same_pictures(before.lumas[:24], after.lumas[:24])
    assert report.read.corrupt_packets >= 1
    assert any("damaged" in w for w in report.warnings)


def spoilt(path: Path, payload: bytes, other: bytes) -> Path:
    """The file with one payload replaced by another of the same length."""
    assert len(payload) == len(other)
    data = path.read_bytes()
    assert data.count(payload) == 1
    broken = path.with_name(f"spoilt_{path.name}")
    broken.write_bytes(data.replace(payload, other))
    return broken


def test_a_bad_event_costs_only_itself(tmp_path: Path) -> None:
    whole = make(mkv("words", 25, words=(Words("ass"),)), tmp_path)
    source = spoilt(whole, b"0,0,Default,,0,0,0,,first line", b"no event of any kind at all...")
    report = run(source, tmp_path / "out.mp4", verify=False)  # it misses the bad event
    kept = [data for _, data in look(tmp_path / "out.mp4").packets["subtitle 1"] if len(data) > 2]
    assert [data[2:13] for data in kept] == [b"second line"]
    assert any("stream 1: 1 packets could not be converted" in w for w in report.warnings), report.warnings


def test_a_bad_audio_packet_costs_only_itself(tmp_path: Path) -> None:
    whole = make(mkv("sound", 50, sounds=(Sound("flac"),)), tmp_path)
    payload = stream_packets(whole, 1)[3][1]
    source = spoilt(whole, payload, bytes(255 - byte for byte in payload))
    report = run(source, tmp_path / "out.webm", encode=EncodeConfig(codec="vp9", preset="ultrafast"))
    sound = look(tmp_path / "out.webm").packets["audio 1"]
    assert abs(float(sound[-1][0]) - 2.03) < 0.06, "what follows the damage stays at its time"
    assert any("stream 1: 1 packets could not be converted" in w for w in report.warnings), report.warnings


# --- other streams ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sound", "suffix", "codec"),
    [
        (Sound("pcm_s16le"), ".ts", "aac"),
        (Sound("pcm_s16le"), ".webm", "libopus"),
        (Sound("pcm_s16le", layout="5.1"), ".webm", "libopus"),
        (Sound("pcm_s16le", layout="5.1"), ".ts", "aac"),
        (Sound("pcm_s16le", layout="mono", rate=22050), ".webm", "libopus"),
        (Sound("pcm_s16le", rate=192000), ".ts", "aac"),
        (Sound("ac3", layout="5.1(side)"), ".webm", "libopus"),
        (Sound("flac", rate=96000), ".webm", "libopus"),
        (Sound("flac", rate=192000), ".webm", "libopus"),
        (Sound("flac", rate=96000), ".ts", "aac"),
    ],
    ids=lambda value: f"{value.codec} {value.rate} {value.layout}" if isinstance(value, Sound) else value,
)
def test_sound_that_must_be_converted(sound: Sound, suffix: str, codec: str, tmp_path: Path) -> None:
    source, output = make(mkv("film", 50, sounds=(sound,)), tmp_path), tmp_path / f"out{suffix}"
    report = run(source, output, encode=EncodeConfig(preset="ultrafast"))
    assert any(f"is converted to {codec}" in w for w in report.warnings), report.warnings
    (length, loudness), (new_length, new_loudness) = heard(source), heard(output)
    assert abs(new_length - length) <= 0.06
    assert new_loudness == pytest.approx(loudness, rel=0.15)
    before, after = look(source), look(output)
    offset = after.times[0] - before.times[0]
    assert abs(after.packets["audio 1"][0][0] - before.packets["audio 1"][0][0] - offset) <= Fraction(6, 100)
    with opened(output) as container:
        assert container.streams.audio[0].channels == {"mono": 1, "stereo": 2}.get(sound.layout, 6)


@pytest.mark.parametrize("rate", [96000, 192000])
def test_sound_of_high_rates_that_mp4_holds(rate: int, tmp_path: Path) -> None:
    source = make(mkv("film", sounds=(Sound("flac", rate=rate),)), tmp_path)
    run(source, tmp_path / "out.mp4")
    before, after = look(source), look(tmp_path / "out.mp4")
    assert [d for _, d in after.packets["audio 1"]] == [d for _, d in before.packets["audio 1"]]
    assert abs(heard(tmp_path / "out.mp4")[0] - heard(source)[0]) <= 0.06


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
def test_a_timecode_track(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / "tc.mov"
    with av.open(str(source), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.metadata["timecode"] = "01:02:03:04"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((72, 64), 40 + 20 * number, np.uint8), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    with opened(source) as container:
        assert [s.type for s in container.streams] == ["video", "data"], "there is a track to trip over"
    output = tmp_path / f"out{suffix}"
    run(source, output)
    same_pictures(look(source).lumas, look(output).lumas)
    with opened(output) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:02:03:04"


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_events_out_of_order(suffix: str, tmp_path: Path) -> None:
    film = mkv("words", 50, words=(Words("ass"),), muxer_options={"cluster_time_limit": "5000"})
    data = bytearray(make(film, tmp_path).read_bytes())
    at = data.index(b"0,0,Default,,0,0,0,,first line") - 3  # the block's time within its cluster
    data[at : at + 2] = (1500).to_bytes(2, "big")
    source = tmp_path / "order.mkv"
    source.write_bytes(data)
    assert [float(time) for time, _ in stream_packets(source, 1)] == [1.5, pytest.approx(1.0, abs=0.02)]
    run(source, tmp_path / f"out{suffix}")
    events = [(time, data) for time, data in stream_packets(tmp_path / f"out{suffix}", 1) if len(data) > 2]
    assert [b"first line" in data for _, data in events] == [False, True]
    assert [float(time) for time, _ in events] == pytest.approx([1.0, 1.5], abs=0.02)


def test_only_events_are_put_in_order() -> None:
    def at(when: float, event: bool) -> Routed:
        return Routed(Fraction(when), lambda: (), event)

    sound = [at(t, False) for t in (0, 2, 1, 4, 9, 0, 1)]  # decode order, then a clock that is set back
    late, early, last = at(3, True), at(1, True), at(8, True)
    file = [sound[0], late, early, *sound[1:4], None, last, *sound[4:]]
    ordered = list(in_order(iter(file)))
    assert [item for item in ordered if item in sound] == sound
    assert [item for item in ordered if item in (late, early, last)] == [early, late, last]
    assert ordered.index(last) < ordered.index(sound[5]), "what waits belongs to the part before"
    assert ordered.count(None) == 1


@pytest.mark.parametrize(("before", "after"), [("ts", ".mp4"), ("ts", ".mkv"), ("mp4", ".ts")])
def test_sound_and_film_that_containers_frame_differently(before: str, after: str, tmp_path: Path) -> None:
    """AAC carries a header on each packet in transport streams, and none elsewhere: the same sound, other bytes."""
    film = ts("film", 25, sounds=(Sound(),)) if before == "ts" else Film("film", options=B_FRAMES, sounds=(Sound(),))
    source, output = make(film, tmp_path), tmp_path / f"out{after}"
    run(source, output)
    old, new = look(source), look(output)
    same_pictures(old.lumas, new.lumas)
    headers = 7 if before == "ts" else -7
    assert [len(d) for _, d in new.packets["audio 1"]] == [len(d) - headers for _, d in old.packets["audio 1"]]
    offset = new.times[0] - old.times[0]
    pairs = zip(old.packets["audio 1"], new.packets["audio 1"], strict=True)
    assert all(abs(b[0] - a[0] - offset) <= MILLISECOND for a, b in pairs), "sound moved against the film"
    assert heard(output) == pytest.approx(heard(source), abs=0.05)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_the_times_of_a_second_film_are_untouched(suffix: str, tmp_path: Path) -> None:
    source, output = twice(make(mkv("one", 30, options=PYRAMID), tmp_path), ".mkv"), tmp_path / f"out{suffix}"
    report = run(source, output)
    before, after = stream_packets(source, 1), stream_packets(output, 1)
    assert [d for _, d in after] == [d for _, d in before]
    offset = look(output).times[0] - look(source).times[0]
    assert all(b[0] - a[0] == offset for a, b in zip(before, after, strict=True))
    assert not any("mended" in w for w in report.warnings)


@pytest.mark.parametrize("start", [None, 0.2])
@pytest.mark.parametrize(("before", "after"), [(".mp4", ".mp4"), (".mp4", ".mkv"), (".mkv", ".mkv"), (".mkv", ".mp4")])
def test_cover_art(before: str, after: str, start: float | None, tmp_path: Path) -> None:
    film = make(Film("film", sounds=(Sound(),), options={**B_FRAMES, "g": "6"}), tmp_path)
    source, output = with_cover(film, before), tmp_path / f"out{after}"
    run(source, output, start=start)
    assert len(look(output).times) == (12 if start is None else 7)
    pictures = []
    for path in (source, output):
        with opened(path) as container:
            cover = next(s for s in container.streams.video if s.disposition & 0x400)
            pictures.append(next(bytes(p) for p in container.demux(cover) if p.size))
    assert pictures[0] == pictures[1]


def crc32_mpeg(data: bytes) -> bytes:
    """CRC-32/MPEG-2 of a section (ISO 13818-1, annex A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc.to_bytes(4, "big")


def two_programs(folder: Path) -> Path:
    """A transport stream of two programmes: the second smaller, with another clock."""
    small = {"mpegts_service_id": "2", "mpegts_pmt_start_pid": "4352", "mpegts_start_pid": "512"}
    late = Sound("mp2", "fra", delay=30.0)
    parts = [
        make(ts("big", 20, sounds=(Sound("mp2"),), size=(96, 64)), folder),
        make(ts("small", sounds=(late,), muxer_options=small, pts=vfr(20, [3600], 30 * 90000)), folder),
    ]
    section = bytes.fromhex("00b011 0001 c10000 0001f000 0002f100")
    section += crc32_mpeg(section)
    pat = bytes.fromhex("47400010 00") + section + b"\xff" * (188 - 5 - len(section))
    packets = [[data[i : i + 188] for i in range(0, len(data), 188)] for data in (part.read_bytes() for part in parts)]
    mixed = [p for pair in zip(*packets, strict=False) for p in pair] + packets[0][len(packets[1]) :]
    path = folder / "two.ts"
    path.write_bytes(pat + b"".join(p for p in mixed if (p[1] & 31, p[2]) != (0, 0)))
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
def test_two_programmes(suffix: str, tmp_path: Path) -> None:
    source, output = two_programs(tmp_path), tmp_path / f"out{suffix}"
    run(source, output)
    before, after = look(source), look(output)
    assert after.size == (192, 128), "the larger one is the film"
    same_pictures(look(tmp_path / "big.ts").lumas, after.lumas)
    offset = after.times[0] - before.times[0]
    tick = {".mkv": MILLISECOND, ".ts": Fraction(1, 90000), ".mp4": Fraction(1, 44100)}[suffix]
    assert all(abs(b - a - offset) <= tick for a, b in zip(before.times, after.times, strict=True))
    assert [s[0] for s in after.streams] == ["video", "audio", "video", "audio"]
    for key, old in before.packets.items():
        new = after.packets[key]
        assert [d for _, d in new] == [d for _, d in old]
        assert abs(new[0][0] - old[0][0] - offset) <= MILLISECOND, f"{key} moved against the film"
