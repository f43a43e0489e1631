"""Decoding on hardware: what a device hands over, the gate before it is trusted, and software that takes over where it stops.

No machine has every card: a device stands here for them that decodes for real, hands its frames over as NVDEC does (chroma in
pairs, samples at the high end of their words), and can be told to lie or to stop. Everything around it is the product's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pytest
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from tests.films import Film, make, opened, vfr
from tests.media.contract_edits import damaged
from vsr.config import EncodeConfig, UpscaleConfig
from vsr.errors import ConfigError, UsageError
from vsr.frames import FrameFormat, VideoInfo
from vsr.journal import Journal
from vsr.media.codecs import CODECS
from vsr.media.decode import Reader
from vsr.media.encoders import choose_codec, choose_encoding, try_encoder
from vsr.media.hardware import (
    JUDGED_FRAMES,
    Device,
    DeviceDecoder,
    FrameDecoder,
    HardwareLost,
    choose_hardware,
    difference,
    planar,
)
from vsr.media.pixels import make_frame, pix_fmt_of, planar_layout, read_planes
from vsr.media.probe import probe
from vsr.media.source import Pipe, open_input
from vsr.pipeline import Run
from vsr.plain import from_plain, to_plain
from vsr.plan import Plan
from vsr.planning import Job, draft_job, make_plan

PAIRED = {"yuv420p": "nv12", "yuvj420p": "nv12", "yuv420p10le": "p010le", "yuv420p12le": "p012le"}
B_FRAMES = {"preset": "veryfast", "crf": "8", "bf": "3", "g": "12"}
MILLISECOND = Fraction(1, 1000)


def film(name: str = "film", frames: int = 100, **facts: Any) -> Film:
    return Film(name, ".mkv", **{"time_base": MILLISECOND, "pts": vfr(frames, [40, 33]), "options": B_FRAMES, **facts})


def as_a_device_gives_it(frame: av.VideoFrame) -> av.VideoFrame:
    """The same samples as they lie in a card's memory, packed here by hand."""
    name = frame.format.name
    format = PAIRED.get(name)
    if format is None:  # what no device can show otherwise
        return frame
    y, u, v = read_planes(frame)
    shift = 0 if format == "nv12" else 16 - int(format[2:4])
    given = frame.reformat(format=format, threads=1)  # for everything but its samples
    pairs: Any = np.stack((u, v), axis=-1).reshape(u.shape[0], -1)
    parts: tuple[Any, Any] = (y, pairs)
    for plane, samples in zip(given.planes, parts, strict=True):
        stored: Any = np.frombuffer(memoryview(plane), samples.dtype)
        stored.reshape(plane.height, -1)[: samples.shape[0], : samples.shape[1]] = samples << shift
    return given


@dataclass
class Lie:
    """What a device does wrong from the `after`-th millisecond on."""

    kind: str = ""
    after: int = 0

    def told(self, frame: av.VideoFrame) -> list[av.VideoFrame]:
        if not self.kind or frame.pts is None or frame.pts < self.after:
            return [frame]
        if self.kind == "drop":
            return []
        if self.kind == "late":
            frame.pts += 1
        if self.kind == "sample":
            memoryview(frame.planes[1])[0] ^= 64  # no codec that is right differs by that much, or at all
        if self.kind == "shift":
            memoryview(frame.planes[0])[1] ^= 64
        if self.kind == "software":
            return [frame.reformat(format="yuv420p")]
        if self.kind == "stop":
            raise av.error.ExternalError(0x5458, "the device was reset")
        return [frame]


class StandIn:
    """A device made of software: decodes, and hands over as a card does."""

    def __init__(self, kind: str = "", after: int = 0) -> None:
        self.lie = Lie(kind, after)

    def open(self, source: str | Pipe) -> AbstractContextManager[InputContainer]:
        return open_input(source)

    def decoder(self, video: VideoStream, info: VideoInfo) -> FrameDecoder:
        return StandInDecoder(video, info, self.lie)


class StandInDecoder(DeviceDecoder):
    def __init__(self, video: VideoStream, info: VideoInfo, lie: Lie) -> None:
        super().__init__(video, info)
        self._lie = lie

    def _downloaded(self, packet: Packet[VideoStream]) -> list[av.VideoFrame]:
        frames = self._context.decode(packet if packet.size else None)
        return [told for frame in frames for told in self._lie.told(as_a_device_gives_it(frame))]


def content(reader: Reader) -> tuple[list[int], list[int], list[list[bytes]]]:
    """Times, durations and samples of all that a Reader gives."""
    pts: list[int] = []
    durations: list[int] = []
    samples: list[list[bytes]] = []
    with reader:
        for batch in reader:
            pts += batch.pts
            durations += batch.duration
            samples += [[plane[i].tobytes() for plane in batch.planes] for i in range(len(batch))]
    return pts, durations, samples


# ---- what a device hands over ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 48), (33, 17), (130, 62)], ids=str)
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv420p12le"])
def test_every_sample_comes_back(pix_fmt: str, full: bool, size: tuple[int, int]) -> None:
    layout = planar_layout(pix_fmt)
    assert layout is not None
    format = FrameFormat(*size, layout)
    format = replace(format, color=replace(format.color, full_range=full))
    noise = np.random.default_rng(0)
    planes: list[Any] = [noise.integers(0, 1 << layout.bits, shape).astype(layout.dtype) for shape in format.plane_shapes]
    frame = make_frame(format, planes)
    frame.pts = 7
    given = as_a_device_gives_it(frame)
    assert given.format.name == PAIRED[pix_fmt]
    found = planar(given, describing(format))
    assert (found.format.name, found.pts, found.color_range, found.colorspace) == (
        pix_fmt,
        7,
        frame.color_range,
        frame.colorspace,
    )
    for before, after in zip(planes, read_planes(found), strict=True):
        np.testing.assert_array_equal(after, before)


def describing(format: FrameFormat) -> VideoInfo:
    """A film of this format."""
    return VideoInfo(
        "film", "matroska", 0, "h264", pix_fmt_of(format.layout), format, MILLISECOND, 0, Fraction(25), 4.0, 100, Fraction(1)
    )


@pytest.mark.parametrize(
    ("pix_fmt", "size"),
    [("yuv420p", (64, 48)), ("p010le", (64, 48)), ("nv16", (64, 48)), ("nv24", (64, 48)), ("nv12", (64, 50))],
    ids=["software's", "ten bits", "4:2:2", "4:4:4", "another size"],
)
def test_a_frame_that_is_not_the_film_s_is_refused(pix_fmt: str, size: tuple[int, int]) -> None:
    layout = planar_layout("yuv420p")
    assert layout is not None
    with pytest.raises(HardwareLost):
        planar(av.VideoFrame(*size, pix_fmt), describing(FrameFormat(64, 48, layout)))


# ---- the gate --------------------------------------------------------------------------------------------------------


FILMS = [
    film("b-frames"),
    film("short", 5),
    film("one", 1),
    film("ten bits", 40, pix_fmt="yuv420p10le"),
    film("hevc", 40, codec="libx265", pix_fmt="yuv420p10le", options={"preset": "ultrafast", "x265-params": "log-level=none"}),
    film("vp9", 40, codec="libvpx-vp9", options={"cpu-used": "8", "b": "0", "crf": "30"}),
    film("full range", 40, color=(2, 1, 1, 1)),
    film("odd", 40, size=(65, 47), codec="libvpx-vp9", options={"cpu-used": "8", "b": "0", "crf": "30"}),
    Film("mp4", pts=tuple(range(0, 70 * 512, 512)), options=B_FRAMES),
    Film("ts", ".ts", time_base=Fraction(1, 90000), pts=vfr(70, [3600]), options=B_FRAMES),
    Film("mpeg2", ".ts", codec="mpeg2video", time_base=Fraction(1, 25), pts=tuple(range(70)), options={"bf": "2", "g": "12"}),
]


@pytest.mark.parametrize("what", FILMS, ids=str)
def test_a_device_that_does_the_same_passes(what: Film, tmp_path: Path) -> None:
    source = str(make(what, tmp_path))
    assert difference(source, probe(source), StandIn()) == ""


@pytest.mark.parametrize("after", [0, 400, 2000], ids=["at once", "soon", "in the middle"])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("drop", "fewer frames|another time"),
        ("late", "another time"),
        ("sample", "other samples"),
        ("shift", "other samples"),
        ("software", "gives yuv420p"),
        ("stop", "the device was reset"),
    ],
)
def test_a_device_that_does_not_is_found_out(kind: str, words: str, after: int, tmp_path: Path) -> None:
    source = str(make(film(), tmp_path))
    info = probe(source)
    assert info.duration and info.duration > 2 * JUDGED_FRAMES * 0.04, "the middle is another place than the beginning"
    found = difference(source, info, StandIn(kind, after))
    assert any(word in found for word in words.split("|")), found


def test_a_fault_between_the_places_is_not_seen(tmp_path: Path) -> None:
    """What the gate does not promise: it looks at two places. (So the test above would fail if it did not look at the second.)"""
    source = str(make(film("long", 150), tmp_path))
    assert difference(source, probe(source), StandIn("sample", 5000)) == ""


@pytest.mark.parametrize(
    "what",
    [
        film("alpha", 4, codec="ffv1", pix_fmt="yuva420p", options={}),
        film("rgb", 4, codec="ffv1", pix_fmt="gbrp10le", options={}, color=None),
        film("gray", 4, codec="ffv1", pix_fmt="gray", options={}),
        film("422", 4, pix_fmt="yuv422p"),
        film("444", 4, pix_fmt="yuv444p10le"),
        film("fields", 8, options={**B_FRAMES, "x264-params": "tff=1"}),
    ],
    ids=str,
)
def test_some_films_are_software_s_without_a_trial(what: Film, tmp_path: Path) -> None:
    source = str(make(what, tmp_path))
    assert difference(source, probe(source), StandIn()) in (
        "the film is interlaced",
        f"devices do not hand over {what.pix_fmt} unchanged",
    )


def test_a_film_without_times_is_software_s(tmp_path: Path) -> None:
    source = str(make(Film("raw", ".h264", muxer="h264"), tmp_path))
    assert "times" in difference(source, probe(source), StandIn())


# ---- which device ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> str:
    return str(make(film("small", 4), tmp_path))


@pytest.mark.parametrize(("wish", "engine"), [("off", "cuda"), ("off", "cpu"), ("auto", "cpu"), ("auto", "mps")])
def test_software_where_nothing_else_is_wanted(wish: str, engine: str, small: str) -> None:
    assert choose_hardware(wish, engine, small, probe(small)) == ("", ())


def test_auto_says_nothing(small: str) -> None:
    """With a card or without: the film decodes either way."""
    chosen, told = choose_hardware("auto", "cuda", small, probe(small))
    assert (chosen, told) == ("" if Device("cuda").refusal() else chosen, ())


@pytest.mark.parametrize("name", ["nonsense", "CUDA", "drm", "amf", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_in_one_line(name: str, small: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=rf"^--hwaccel {name}: .*(works|leave the option out)$") as caught:
        choose_hardware(name, "cpu", small, probe(small))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", ""), "libraries keep quiet about it"


def test_names_come_back() -> None:
    for name in ("cuda", "cuda:1", "vaapi:/dev/dri/renderD129"):
        assert str(Device.named(name)) == name


# ---- software takes over ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("after", [0, 40, 500, 1111, 10_000])
@pytest.mark.parametrize("what", [FILMS[0], FILMS[3], FILMS[9]], ids=str)
def test_no_frame_is_lost_or_doubled_when_a_device_stops(what: Film, after: int, batch: int, tmp_path: Path) -> None:
    source = str(make(what, tmp_path))
    info = probe(source)
    ticks = info.start_pts + round(after / 1000 / info.time_base)
    reader = Reader(source, info, batch=batch, hardware=StandIn("stop", ticks))
    assert content(reader) == content(Reader(source, info))
    assert reader.report.frames == len(what.pts)
    assert reader.report.hardware_lost == (after < 10_000)
    assert any("hardware" in note for note in reader.report.notes()) == (after < 10_000)


@pytest.mark.parametrize("enter", [960, 0, 3000, None], ids=["a group early", "the beginning", "too late", "without a seek"])
def test_a_segment_is_the_same_as_well(enter: int | None, tmp_path: Path) -> None:
    source = str(make(film(pts=vfr(100, [40])), tmp_path))
    info = probe(source)
    bounds: dict[str, Any] = {"start": 1600, "stop": 2800, "enter": enter}
    expected = content(Reader(source, info, **bounds))
    assert expected[0] == list(range(1600, 2800, 40))
    for after in (0, 1200, 1600, 2000, 2760):
        reader = Reader(source, info, hardware=StandIn("stop", after), **bounds)
        assert content(reader) == expected
        assert (reader.report.frames, reader.report.hardware_lost) == (30, 1)


@pytest.mark.parametrize("from_end", [3, 20])
def test_damage_is_software_s_to_judge(from_end: int, tmp_path: Path) -> None:
    source = str(damaged(make(film(), tmp_path), from_end))
    info = probe(source)
    plain, device = Reader(source, info), Reader(source, info, hardware=StandIn())
    assert content(device) == content(plain)
    assert device.report.corrupt_packets == plain.report.corrupt_packets == 1
    assert device.report.hardware_lost == 1


def test_a_packet_that_is_flagged_as_damaged_is_not_shown_to_a_device(tmp_path: Path) -> None:
    """A receiver that lost some bits says so in the transport stream (ISO 13818-1: transport_error_indicator)."""
    source = make(FILMS[9], tmp_path)
    data = bytearray(source.read_bytes())
    pids = [int.from_bytes(data[at + 1 : at + 3]) & 0x1FFF for at in range(0, len(data), 188)]
    video = [188 * number for number, pid in enumerate(pids) if pid == 0x100]
    data[video[len(video) // 2] + 1] |= 0x80
    source.write_bytes(data)
    info = probe(str(source))
    plain, device = Reader(str(source), info), Reader(str(source), info, hardware=StandIn())
    assert content(device) == content(plain)
    assert device.report.hardware_lost == 1


def test_frames_that_nobody_judged_are_software_s(tmp_path: Path) -> None:
    """A film that becomes another one in the middle: of another size, and interlaced."""
    parts = [
        make(Film("one", ".h264", muxer="h264"), tmp_path),
        make(Film("two", ".h264", muxer="h264", size=(80, 64)), tmp_path),
        make(Film("three", ".h264", muxer="h264", options={"preset": "ultrafast", "x264-params": "tff=1"}), tmp_path),
    ]
    for second in parts[1:]:
        source = tmp_path / f"both_{second.name}"
        source.write_bytes(parts[0].read_bytes() + second.read_bytes())
        again = tmp_path / f"{second.stem}.mkv"
        remuxed(source, again)
        info = probe(str(again))
        plain, device = Reader(str(again), info), Reader(str(again), info, hardware=StandIn())
        assert content(device) == content(plain)
        assert device.report.hardware_lost == 1
        assert device.report.resized_frames == plain.report.resized_frames


def remuxed(source: Path, target: Path) -> None:
    """The same packets in order, one every 40 ms (there are no B-frames)."""
    with opened(source) as given, av.open(f"file:{target}", "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0], opaque=True)
        for number, packet in enumerate(p for p in given.demux(given.streams.video[0]) if p.size):
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, MILLISECOND, number * 40, number * 40
            out.mux(packet)


def test_a_plan_whose_device_is_gone_is_carried_out_in_software(tmp_path: Path) -> None:
    source = str(make(film("film", 20), tmp_path))
    info = probe(source)
    reader = Reader(source, info, hardware=Device.named("nonsense:3"))
    assert content(reader) == content(Reader(source, info))
    assert reader.report.hardware_lost == 1


def test_a_resumed_job_goes_on_without_its_device(small: str, tmp_path: Path) -> None:
    """The plan comes from the journal; the card was taken out since."""
    draft = draft_job(UpscaleConfig(small, str(tmp_path / "out.mkv"), scale=2, model="bicubic", threads=1, hwaccel="off"))
    plan = make_plan(draft)
    assert plan.hwaccel == ""
    plan = from_plain(Plan, to_plain(replace(plan, hwaccel="nonsense:3")))
    run = Run(Job(plan, draft.source, draft.generator), Journal(tmp_path))
    assert [len(record.pts) for record in run.render()] == [4]
    assert any("software decoded on" in text for text in run.report.warnings), run.report.warnings


def test_a_stream_that_the_device_does_not_know(small: str) -> None:
    """PyAV opens such a stream in software and says nothing."""
    info = probe(small)
    with open_input(small) as container:
        video = container.streams.video[0]
        decoder = Device("cuda").decoder(video, info)
        with pytest.raises(HardwareLost, match="knows no such device"):
            list(decoded(decoder, container, video))


def decoded(decoder: FrameDecoder, container: InputContainer, video: VideoStream) -> Iterator[av.VideoFrame]:
    return (frame for packet in container.demux(video) for frame in decoder.decode(packet))


@pytest.mark.parametrize("what", FILMS, ids=str)
def test_a_real_card(what: Film, tmp_path: Path) -> None:
    """Where there is one: what it passes for, it does, segment by segment."""
    if missing := Device("cuda").refusal():
        pytest.skip(f"cuda: {missing}")
    source = str(make(what, tmp_path))
    info = probe(source)
    if other := difference(source, info, Device("cuda")):
        pytest.skip(f"software decodes this one: {other}")
    reader = Reader(source, info, hardware=Device("cuda"))
    assert content(reader) == content(Reader(source, info))
    assert reader.report.hardware_lost == 0


# ---- NVENC -----------------------------------------------------------------------------------------------------------


ENCODERS = ["h264_nvenc", "hevc_nvenc", "av1_nvenc"]


def chosen(encoder: str, pix_fmt: str = "yuv420p", **wishes: Any) -> tuple[Any, FrameFormat, tuple[str, ...]]:
    layout = planar_layout(pix_fmt)
    assert layout is not None
    info, config = describing(FrameFormat(64, 48, layout)), EncodeConfig(encoder=encoder, **wishes)
    codec = choose_codec(config, info, "matroska", 256, 192)
    return choose_encoding(config, codec, info, 256, 192, 2)


def test_it_is_never_chosen_unasked() -> None:
    assert not any("nvenc" in facts.encoder for facts in CODECS.values())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_quality_and_presets_in_its_own_words(encoder: str) -> None:
    usual = {"h264_nvenc": "18", "hevc_nvenc": "20", "av1_nvenc": "28"}[encoder]
    assert chosen(encoder)[0].options == {"rc": "vbr", "cq": usual, "preset": "p4"}
    assert chosen(encoder, crf=23, preset="veryfast")[0].options == {"rc": "vbr", "cq": "23", "preset": "p2"}
    assert chosen(encoder, crf=0, preset="p7")[0].options == {"rc": "constqp", "qp": "0", "preset": "p7"}
    assert chosen(encoder, options={"cq": "30", "tune": "hq"})[0].options["cq"] == "30"
    with pytest.raises(UsageError, match="p1 to p7"):
        chosen(encoder, preset="p8")


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    ("source", "fed", "layout"),
    [
        ("yuv420p", "yuv420p", "yuv420p"),
        ("yuv420p10le", "p010le", "yuv420p10le"),
        ("yuv420p12le", "p010le", "yuv420p10le"),
        ("yuv444p10le", "yuv444p10msble", "yuv444p10le"),
        ("gray", "yuv420p", "yuv420p"),
        ("gbrp16le", "p010le", "yuv420p10le"),
    ],
)
def test_it_is_fed_what_it_codes(source: str, fed: str, layout: str, encoder: str) -> None:
    encoding, format, warnings = chosen(encoder, source)
    assert (encoding.pix_fmt, pix_fmt_of(format.layout)) == (fed, layout)
    bits = int("".join(filter(str.isdigit, source[6:])) or 8) if source.startswith("yuv") else 8
    assert any("stored with 10 bits" in text for text in warnings) == (bits > 10 or source == "gbrp16le")


@pytest.mark.parametrize(("layout", "fed"), [("yuv420p10le", "p010le"), ("yuv444p10le", "yuv444p10msble")])
def test_ten_bits_reach_it_whole(layout: str, fed: str) -> None:
    known = planar_layout(layout)
    assert known is not None
    format, noise = FrameFormat(64, 48, known), np.random.default_rng(0)
    planes: list[Any] = [noise.integers(0, 1024, shape).astype(np.uint16) for shape in format.plane_shapes]
    fed_frame = make_frame(format, planes).reformat(format=fed)
    luma: Any = np.frombuffer(memoryview(fed_frame.planes[0]), np.uint16)
    np.testing.assert_array_equal(luma.reshape(48, -1)[:, :64], planes[0] << 6)
    for before, after in zip(planes, read_planes(fed_frame), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("wishes", [{}, {"crf": 0}, {"preset": "placebo"}, {"bit_depth": 10}], ids=str)
def test_ffmpeg_knows_every_option_that_it_gets(encoder: str, wishes: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """Options are read before the driver is looked for. Without a card the rest is one line."""
    encoding, format, _ = chosen(encoder, **wishes)
    try:
        try_encoder(encoding, format)
    except ConfigError as exc:
        assert f"encoder {encoder} does not work here" in str(exc)
        assert "NVIDIA" in str(exc)
        assert "\n" not in str(exc)
        assert not any(words in str(exc) for words in ("Invalid argument", "Option not found")), exc
    wrong = replace(encoding, options={**encoding.options, "preset": "p9"})
    with pytest.raises(ConfigError, match=r"Invalid argument|Option not found|Undefined|Error"):
        try_encoder(wrong, format)
    assert capfd.readouterr() == ("", "")
