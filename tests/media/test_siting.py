"""Chroma stays in its place: the siting is read from headers, kept where the output can say it, and true of the samples."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.films import Film, make
from vsr import EncodeConfig, UpscaleConfig, probe, upscale
from vsr.frames import PixelLayout, Siting
from vsr.media.encoders import choose_encoding, raw_encoding
from vsr.media.siting import kept_siting, siting_of_y4m, tagged_siting
from vsr.media.verify import verify_files

SITINGS: tuple[Siting, ...] = get_args(Siting)
LOCATIONS: dict[str, int] = {"left": 1, "center": 2, "topleft": 3, "top": 4, "bottomleft": 5, "bottom": 6}  # AVChromaLocation
FAST = {"preset": "ultrafast", "crf": "1"}
OPTIONS: dict[str, dict[str, str]] = {
    "libx264": FAST,
    "libx265": {**FAST, "x265-params": "log-level=none:bframes=0"},  # which gives films of two frames wild decode times else
    "libsvtav1": {"preset": "12", "crf": "1"},
    "mjpeg": {"qmin": "1", "qmax": "1"},
    "rawvideo": {},
}
SIZE = (128, 96)
Array = npt.NDArray[np.float64]


def offsets(siting: str) -> tuple[float, float]:
    """(x, y) of the first 4:2:0 chroma sample in luma samples, by H.273."""
    return 0.0 if "left" in siting else 0.5, {"t": 0.0, "b": 1.0}.get(siting[0], 0.5)


def edge(count: int, step: float, first: float, middle: float) -> Array:
    """Samples, `step` apart from `first` on, of a soft edge at `middle`."""
    return 128 + 70 * np.tanh((np.arange(count) * step + first - middle) / 4)


def edges_film(folder: Path, siting: Siting, codec: str = "libx264", suffix: str = ".mp4", *, tagged: bool = True) -> Path:
    """Two frames: an upright edge, a level edge; luma's and chroma's at one place. Chroma is sampled where `siting` says."""
    path, (width, height) = folder / f"{siting}{suffix}", SIZE
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        location = {"chroma_sample_location": siting} if tagged else {}
        stream.codec_context.options = OPTIONS[codec] | location
        dx, dy = offsets(siting)
        for number in range(2):
            frame = av.VideoFrame(width, height, pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            for i, plane in enumerate(frame.planes):
                step, x, y = (1, 0.0, 0.0) if i == 0 else (2, dx, dy)
                rows, columns = height // step, width // step
                across, down = edge(columns, step, x, 61.0)[None, :], edge(rows, step, y, 45.0)[:, None]
                samples = np.broadcast_to(down if number else across, (rows, columns))
                padded = np.zeros((rows, plane.line_size), np.uint8)
                padded[:, :columns] = np.round(samples)
                plane.update(padded.tobytes())
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def middle(profile: Array, step: float, first: float) -> float:
    """Where a soft edge is, in luma samples: the centroid of its slope."""
    slope = np.diff(profile)
    return float((slope * ((np.arange(len(slope)) + 0.5) * step + first)).sum() / slope.sum())


def shifts(path: Path, siting: str) -> tuple[float, float]:
    """By how many luma samples chroma's edge is off luma's, across and down, when chroma lies where `siting` says."""
    found = []
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    for frame, axis, first in zip(frames, (0, 1), offsets(siting), strict=True):
        planes: list[Any] = [
            np.frombuffer(memoryview(p), np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in frame.planes
        ]
        luma, *chroma = [p[8:-8, 8:-8].astype(np.float64).mean(axis=axis) for p in planes]
        where = middle(luma, 1, 8.0)
        found.append(max((middle(c, 2, 16.0 + first) - where for c in chroma), key=abs))
    return found[0], found[1]


def witness(path: Path) -> int | None:
    """AVChromaLocation of the first frame as FFmpeg tells it; None where PyAV does not pass it on."""
    with av.open(str(path)) as container:
        location: int | None = getattr(next(container.decode(video=0)), "chroma_location", None)
    return location


def run(source: Path, output: Path, codec: str = "h264") -> Siting:
    preset = {"av1": "12"}.get(codec, "ultrafast")
    upscale(UpscaleConfig(str(source), str(output), scale=2, model="bicubic", encode=EncodeConfig(codec, crf=1, preset=preset)))
    return probe(str(output)).format.color.siting


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
@pytest.mark.parametrize("siting", SITINGS)
def test_the_tag_is_read(codec: str, suffix: str, siting: Siting, tmp_path: Path) -> None:
    path = edges_film(tmp_path, siting, codec, suffix)
    assert probe(str(path)).format.color.siting == siting
    assert witness(path) in (None, LOCATIONS[siting])


@pytest.mark.parametrize(("siting", "found"), [("left", "left"), ("topleft", "topleft"), ("center", "left")])
def test_the_tag_of_av1_is_read(siting: Siting, found: Siting, tmp_path: Path) -> None:
    """AV1 has a code for two of them; the encoder writes "unknown" for the others."""
    assert probe(str(edges_film(tmp_path, siting, "libsvtav1", ".mkv"))).format.color.siting == found


def test_headers_that_only_stand_in_the_stream_are_read(tmp_path: Path) -> None:
    """A raw elementary stream has no other place for them."""
    for codec, suffix in (("libx264", ".h264"), ("libx265", ".hevc")):
        assert probe(str(edges_film(tmp_path, "topleft", codec, suffix))).format.color.siting == "topleft"


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_container_without_headers_leaves_the_key_frame(codec: str, tmp_path: Path) -> None:
    with av.open(str(edges_film(tmp_path, "topleft", codec, ".ts"))) as container:
        video = container.streams.video[0]
        packet = next(p for p in container.demux(video) if p.is_keyframe)
        whole = bytes(packet)
        video.codec_context.extradata = None
        assert tagged_siting(video, packet) == "topleft" and bytes(packet) == whole
        assert tagged_siting(video, None) is None


def test_untagged_is_left_but_for_jpeg(tmp_path: Path) -> None:
    assert probe(str(edges_film(tmp_path, "topleft", tagged=False))).format.color.siting == "left"
    assert probe(str(edges_film(tmp_path, "center", "mjpeg", ".avi", tagged=False))).format.color.siting == "center"


def test_damaged_headers_are_untagged(tmp_path: Path) -> None:
    """Every byte of the parameter sets is spoilt once: whatever can be opened can be probed, without a word on stderr."""
    path = edges_film(tmp_path, "topleft")
    whole = path.read_bytes()
    box = whole.index(b"avcC")
    for at in range(box + 4, box + 44):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        try:
            assert probe(str(path)).format.color.siting in SITINGS
        except Exception as exc:
            assert type(exc).__name__ == "DecodeError", exc


PLACES: list[tuple[Siting, str, str]] = [(siting, "h264", ".mp4") for siting in SITINGS]
PLACES += [("topleft", codec, ".mkv") for codec in ("hevc", "av1", "vp9", "ffv1")] + [
    ("bottom", "hevc", ".mp4"),
    ("top", "av1", ".mp4"),
]


@pytest.mark.parametrize(("siting", "codec", "suffix"), PLACES)
def test_chroma_stays_in_its_place(siting: Siting, codec: str, suffix: str, tmp_path: Path) -> None:
    """Less than a tenth of a luma sample off, by the tag that the output has."""
    source, output = edges_film(tmp_path, siting), tmp_path / f"out{suffix}"
    assert max(map(abs, shifts(source, siting))) < 0.02, "the film is what it says"
    found = run(source, output, codec)
    able = {"h264": SITINGS, "hevc": SITINGS, "av1": ("topleft",)}.get(codec, ())
    assert found == (siting if siting in able and siting != "center" else "left")
    if codec != "ffv1":  # whose frames PyAV gives without the container's tag in some versions
        assert witness(output) in (None, 0 if codec == "vp9" else 1, LOCATIONS[found])
    assert max(map(abs, shifts(output, found))) < 0.1


def test_a_wrong_siting_would_show(tmp_path: Path) -> None:
    """The measurement itself: chroma of a topleft film that is taken for left is half a sample of the source off, downwards."""
    source = edges_film(tmp_path, "topleft")
    across, down = shifts(source, "left")
    assert abs(across) < 0.02 and abs(down - 0.5) < 0.02


def test_jpeg_becomes_left(tmp_path: Path) -> None:
    source, output = edges_film(tmp_path, "center", "mjpeg", ".avi", tagged=False), tmp_path / "out.mp4"
    assert run(source, output) == "left"
    assert max(map(abs, shifts(output, "left"))) < 0.1


def test_verify_knows_the_siting(tmp_path: Path) -> None:
    """Topleft may stay or become left; a left film must not be tagged centre, nor topleft samples bottom."""
    films = {siting: edges_film(tmp_path, siting) for siting in SITINGS}

    def tags(source: Siting, output: Siting) -> bool:
        checks = verify_files(str(films[source]), str(films[output]), pixels=False)
        return next(c.ok for c in checks if c.name == "colour tags")

    assert tags("topleft", "topleft") and tags("topleft", "left") and tags("center", "left") and tags("left", "left")
    assert not tags("left", "center") and not tags("left", "topleft") and not tags("topleft", "bottom")


def test_a_tag_that_does_not_fit_the_samples_breaks_the_promise(tmp_path: Path) -> None:
    """The user overrides the tag behind the plan's back: the frames were made for another siting."""
    source = edges_film(tmp_path, "left")
    options = {"chroma_sample_location": "bottom"}
    with pytest.raises(Exception, match="chroma siting left is tagged bottom, not left"):
        upscale(
            UpscaleConfig(
                str(source), str(tmp_path / "out.mp4"), scale=2, model="bicubic", encode=EncodeConfig("h264", options=options)
            )
        )


@pytest.mark.parametrize("y4m", [True, False])
@pytest.mark.parametrize("siting", SITINGS)
def test_pipes_say_it_or_have_left(siting: Siting, y4m: bool, tmp_path: Path) -> None:
    info = probe(str(edges_film(tmp_path, siting)))
    _, format, _ = raw_encoding(info, 256, 192, y4m=y4m)
    assert format.color.siting == (siting if y4m and siting in ("left", "center", "topleft") else "left")


def test_other_samplings_have_none(tmp_path: Path) -> None:
    """4:2:0 that becomes 4:2:2 (ProRes) is left in both; y4m has no words for more than 8 bits."""
    info = probe(str(edges_film(tmp_path, "topleft")))
    assert choose_encoding(EncodeConfig("prores"), "prores", info, 256, 192, 1)[1].color.siting == "left"
    for layout in (PixelLayout("yuv", 10, 1, 1), PixelLayout("yuv", 8, 1, 0), PixelLayout("gray"), PixelLayout("rgb")):
        assert kept_siting("topleft", "y4m", layout) == "left"


@pytest.mark.parametrize(
    ("parameter", "siting"),
    [
        ("420jpeg", "center"),
        ("420", "center"),
        ("420mpeg2", "left"),
        ("420paldv", "topleft"),
        ("420p10", None),
        ("444", None),
        ("", None),
    ],
)
def test_the_first_line_of_y4m(parameter: str, siting: Siting | None, tmp_path: Path) -> None:
    head = b"YUV4MPEG2 W16 H16 F25:1 Ip A1:1" + (f" C{parameter}".encode() if parameter else b"") + b" XC=420jpeg\n"
    assert siting_of_y4m(head) == siting
    path = tmp_path / "film.y4m"
    path.write_bytes(head + b"FRAME\n" + bytes(16 * 16 * 3))
    assert probe(str(path)).format.color.siting == (siting or "left")
    if (location := witness(path)) is not None:
        assert location == LOCATIONS.get(siting or "", 0), "as FFmpeg's demuxer takes it"


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_first_line_is_too_odd(data: bytes) -> None:
    for head in (data, b"YUV4MPEG2 " + data):
        assert siting_of_y4m(head) in (None, *SITINGS)


@given(
    st.lists(st.sampled_from(["W2", "H2", "F25:1", "Ip", "A1:1", "XYSCSS=420JPEG", "XCOLORRANGE=FULL"]), max_size=8), st.data()
)
@settings(max_examples=100, deadline=None)
def test_the_chroma_parameter_may_stand_anywhere(others: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(others)))
    line = " ".join(["YUV4MPEG2", *others[:at], "C420paldv", *others[at:]])
    assert siting_of_y4m(line.encode() + b"\nFRAME\n") == "topleft"


def test_a_pipe_is_not_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header of y4m is in what probing has read; the film that follows is whole."""
    path, output = edges_film(tmp_path, "topleft", "rawvideo", ".y4m"), tmp_path / "out.mp4"
    assert b"C420paldv" in path.read_bytes()[:100]
    with path.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", file)
        report = upscale(UpscaleConfig("-", str(output), scale=2, model="bicubic", encode=EncodeConfig("h264", crf=1)))
    assert report.frames_out == 2
    assert probe(str(output)).format.color.siting == "topleft"
    assert max(map(abs, shifts(output, "topleft"))) < 0.1


def test_hdr10_keeps_topleft(tmp_path: Path) -> None:
    """UHD discs and most HDR10 streams have topleft chroma, and say so."""
    film = Film(
        "uhd", ".mkv", "libx265", "yuv420p10le", SIZE, color=(1, 9, 16, 9),
        options={"preset": "ultrafast", "x265-params": "log-level=none:hdr10=1:repeat-headers=1:max-cll=1000,400:chromaloc=2"},
    )  # fmt: skip
    source, output = make(film, tmp_path), tmp_path / "out.mkv"
    assert probe(str(source)).format.color.siting == "topleft"
    assert run(source, output, "auto") == "topleft"
    assert probe(str(output)).light == probe(str(source)).light is not None
