"""Containers, sample layouts and sizes beside the usual: what comes out means what went in."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.films import Film, Sound, look, make, opened, vfr
from tests.media.contract_edits import joined
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.errors import ConfigError
from vsr.report import Report

MILLISECOND = Fraction(1, 1000)
FRAMES_25: dict[str, Any] = {"time_base": Fraction(1, 25), "pts": vfr(12, [1])}
FRAMES_MS: dict[str, Any] = {"time_base": MILLISECOND, "pts": vfr(12, [40])}
LOSSLESS: dict[str, Any] = {"codec": "ffv1", "options": {}}
VP9 = {"cpu-used": "8", "deadline": "realtime", "crf": "10", "b": "4M", "auto-alt-ref": "0"}
Pixels = npt.NDArray[np.float64]


def run(source: Path, output: Path, scale: float = 2, codec: str = "auto", **facts: Any) -> Report:
    encode = facts.pop("encode", EncodeConfig(codec=codec, crf=4, preset="ultrafast"))
    return upscale(UpscaleConfig(str(source), str(output), scale=scale, model="bicubic", threads=1, encode=encode, **facts))


def shown(path: Path, pix_fmt: str, decoder: str | None = None) -> list[Pixels]:
    """Every frame as FFmpeg's own converter shows it."""
    with opened(path) as container:
        video = container.streams.video[0]
        context: Any = video.codec_context if decoder is None else av.CodecContext.create(decoder, "r")
        frames = [f for packet in container.demux(video) for f in context.decode(packet if packet.size else None)]
        return [frame.to_ndarray(format=pix_fmt).astype(float) for frame in frames]


def heard(path: Path) -> list[float]:
    """When each tenth part of the sound begins and how loud it is, by seconds from the first picture."""
    with opened(path) as container:
        frames = list(container.decode(audio=0))
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48000)
        wave = np.concatenate([f.to_ndarray().ravel() for frame in [*frames, None] for f in resampler.resample(frame)])
        begins = frames[0].time
    assert begins is not None
    return [begins - float(look(path).times[0]), *(float(np.abs(part).mean()) for part in np.array_split(wave, 10))]


def first_frame(path: Path) -> av.VideoFrame:
    with opened(path) as container:
        return next(iter(container.decode(video=0)))


# --- containers -------------------------------------------------------------------------------------------------------


def test_sound_whose_decoder_begins_late(tmp_path: Path) -> None:
    """WMA's decoder gives nothing for the first two packets, and the right times for what follows."""
    sound = Sound("wmav2", bit_rate=128_000)
    source = make(Film("wmv", ".wmv", "wmv2", options={"b": "3M"}, color=None, sounds=(sound,), **FRAMES_MS), tmp_path)
    report = run(source, tmp_path / "out.mkv", verify=False)  # which compares packets
    assert any("wmav2, eng) is converted to flac" in w for w in report.warnings)  # Matroska takes no WMA here
    assert heard(tmp_path / "out.mkv") == pytest.approx(heard(source), abs=0.001)


@pytest.mark.parametrize("clear", [True, False], ids=["clear", "solid"])
@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_animations(suffix: str, clear: bool, tmp_path: Path) -> None:
    """A moving square on a clear or a solid ground; an animated PNG goes by the name of .apng."""
    output, frames = tmp_path / "out.mkv", []
    for number in range(6):
        frame = Image.new("RGBA", (32, 24), (0, 0, 0, 0) if clear else (30, 90, 160, 255))
        frame.paste((220, 40 * number, 60, 255), (4 + number, 4, 20 + number, 20))
        frames.append(frame if clear or suffix == ".png" else frame.convert("RGB"))
    first = tmp_path / f"moving{suffix}"
    frames[0].save(first, save_all=True, append_images=frames[1:], duration=100, loop=0, disposal=2 if suffix == ".gif" else 0)
    source = first.rename(first.with_suffix(".apng" if suffix == ".png" else suffix))
    run(source, output)
    before, after = shown(source, "rgba"), shown(output, "rgba")
    assert len(before) == len(after) == 6
    assert (before[0][0, 0, 3] == 0) == clear
    for old, new in zip(before, after, strict=True):
        assert np.abs(new.reshape(24, 2, 32, 2, 4).mean((1, 3)) - old).mean() < 3
    assert look(output).times == look(source).times


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx"])
def test_a_webm_with_alpha(codec: str, tmp_path: Path) -> None:
    film = Film("alpha", ".webm", codec, pix_fmt="yuva420p", options=VP9, **FRAMES_MS)
    source = make(film, tmp_path)
    before = [frame[..., 3] for frame in shown(source, "rgba", codec)]
    assert before[0].min() < 8
    assert before[0].max() > 247, "the source has alpha"
    run(source, tmp_path / "out.webm")
    run(source, tmp_path / "out.mkv")
    for name, decoder in (("out.webm", "libvpx-vp9"), ("out.mkv", None)):
        after = [frame[..., 3] for frame in shown(tmp_path / name, "rgba", decoder)]
        assert len(after) == 12
        for old, new in zip(before, after, strict=True):
            assert abs(new.mean() - old.mean()) < 3
            assert np.abs(new.reshape(48, 2, 64, 2).mean((1, 3)) - old).mean() < 3
    report = run(source, tmp_path / "out.mp4")
    assert any("transparency is lost" in w for w in report.warnings)


def test_alpha_that_comes_to_webm_from_elsewhere(tmp_path: Path) -> None:
    """VP9 keeps alpha beside the picture, and nobody looks for it there unless the track says so."""
    source = make(Film("alpha", ".mov", "prores_ks", pix_fmt="yuva444p10le", options={"profile": "4444"}), tmp_path)
    run(source, tmp_path / "out.webm")
    with opened(tmp_path / "out.webm") as container:
        tags = {key.lower(): value for key, value in container.streams.video[0].metadata.items()}
    assert tags["alpha_mode"] == "1"
    assert look(tmp_path / "out.webm").color == look(source).color == (1, 1, 1, 1)
    run(tmp_path / "out.webm", tmp_path / "again.mkv", scale=1)
    assert look(tmp_path / "again.mkv").color == (1, 1, 1, 1)
    old, new = (shown(path, "rgba")[0][..., 3] for path in (source, tmp_path / "again.mkv"))
    assert np.abs(new.reshape(48, 2, 64, 2).mean((1, 3)) - old).mean() < 3


def test_no_alpha_is_said_where_none_is_kept(tmp_path: Path) -> None:
    source = make(Film("alpha", ".webm", "libvpx-vp9", pix_fmt="yuva420p", options=VP9, **FRAMES_MS), tmp_path)
    run(source, tmp_path / "out.mkv", codec="h264")
    with opened(tmp_path / "out.mkv") as container:
        assert "alpha_mode" not in {key.lower() for key in container.streams.video[0].metadata}


@pytest.mark.parametrize("film", [
    Film("gray", ".mkv", pix_fmt="gray", color=None, **LOSSLESS, **FRAMES_MS),
    Film("gray10", ".mkv", pix_fmt="gray10le", color=None, **LOSSLESS, **FRAMES_MS),
    Film("gray png", ".mov", "png", options={}, pix_fmt="gray", color=None),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_gray_keeps_its_meaning(film: Film, codec: str, tmp_path: Path) -> None:
    source, output = make(film, tmp_path), tmp_path / "out.mkv"
    run(source, output, codec=codec)
    for old, new in zip(shown(source, "rgb24"), shown(output, "rgb24"), strict=True):
        assert new.mean() == pytest.approx(old.mean(), abs=1.0)
        assert new.max() == pytest.approx(old.max(), abs=6)


LAYOUTS = [
    ("yuv440p", "h264", "yuv444p"),
    ("yuv440p", "ffv1", "yuv440p"),
    ("yuv411p", "h264", "yuv422p"),
    ("yuv410p", "h264", "yuv420p"),
    ("yuv422p", "hevc", "yuv422p"),
    ("yuv420p12le", "hevc", "yuv420p12le"),
    ("yuv420p12le", "h264", "yuv420p10le"),
    ("yuv422p14le", "ffv1", "yuv422p12le"),
    ("yuv444p16le", "ffv1", "yuv444p12le"),
    ("gbrp10le", "ffv1", "gbrp10le"),
    ("gbrap16le", "ffv1", "gbrap12le"),
    ("bgr0", "ffv1", "bgr0"),
    ("bgra", "ffv1", "bgra"),
    ("gbrp10le", "hevc", "yuv420p10le"),
    ("bgr0", "h264", "yuv420p"),
    ("yuva444p", "ffv1", "yuva444p"),
    ("yuva420p10le", "ffv1", "yuva420p10le"),
]


@pytest.mark.parametrize(("source_format", "codec", "expected"), LAYOUTS)
def test_the_nearest_layout_that_loses_nothing(source_format: str, codec: str, expected: str, tmp_path: Path) -> None:
    rgb = source_format[0] in "gb"
    film = Film("film", ".mkv", pix_fmt=source_format, color=None if rgb else (1, 1, 1, 1), **LOSSLESS, **FRAMES_MS)
    source, output = make(film, tmp_path), tmp_path / "out.mkv"
    report = run(source, output, codec=codec)
    assert first_frame(output).format.name == expected
    old, new = (frames[0].reshape(-1, 3).mean(0) for frames in (shown(source, "rgb24"), shown(output, "rgb24")))
    # FFmpeg's converter shows 10-bit YUV up to 3.5 darker than the matrix says; a wrong matrix or range is off by 8 and more
    assert new == pytest.approx(old, abs=4 if rgb else 2.5), "the mean colour as a player shows it"
    changed = any(word in w for w in report.warnings for word in ("chroma sampling", "samples are stored", "RGB is stored"))
    assert changed == (source_format != expected)


@pytest.mark.parametrize(("codec", "suffix", "pix_fmt"), [("mjpeg", ".mov", "yuvj420p"), ("mpeg1video", ".mpg", "yuv420p")])
def test_centred_chroma_is_not_shifted(codec: str, suffix: str, pix_fmt: str, tmp_path: Path) -> None:
    """MJPEG and MPEG-1 put chroma between the luma samples, MPEG-4 part 10 above the left one: half a pixel in the source."""
    source, output = tmp_path / f"edge{suffix}", tmp_path / "out.mkv"
    edge = 12  # in chroma samples
    with av.open(str(source), "w") as out:
        video = out.add_stream(codec, rate=25, options={"q": "1", "qmin": "1", "qmax": "1", "b": "8M", "g": "1"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, pix_fmt
        for number in range(4):
            planes = np.full((72, 64), 128, np.uint8)
            planes[48:60].reshape(24, 32)[:, :edge] = 90
            planes[60:72].reshape(24, 32)[:, :edge] = 180
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p").reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    run(source, output, encode=EncodeConfig(codec="ffv1"))
    before, after = (_chroma_edge(first_frame(path)) for path in (source, output))
    # a sample of centred chroma covers luma 2i to 2i + 2, a left one half a pixel less: positions in luma pixels
    assert 2 * after - 0.5 == pytest.approx(2 * (2 * before), abs=0.25)


def _chroma_edge(frame: av.VideoFrame) -> float:
    """Where V falls from its left to its right value, in chroma samples, counted by area."""
    plane = frame.planes[2]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width].astype(float)
    row = rows[rows.shape[0] // 4 : -rows.shape[0] // 4].mean(0)
    left, right = row[:4].mean(), row[-4:].mean()
    assert left > right + 20
    return float(((row - right) / (left - right)).sum())


# --- choices ----------------------------------------------------------------------------------------------------------


def test_an_encoder_names_its_codec(tmp_path: Path) -> None:
    source = make(Film("film"), tmp_path)
    run(source, tmp_path / "out.mp4", encode=EncodeConfig(encoder="libx265", preset="ultrafast"))
    with opened(tmp_path / "out.mp4") as container:
        assert container.streams.video[0].codec_context.name == "hevc"
    with pytest.raises(ConfigError, match="--encoder libx264: makes h264, not av1"):
        run(source, tmp_path / "other.mp4", encode=EncodeConfig(encoder="libx264", codec="av1"))


# --- sizes ------------------------------------------------------------------------------------------------------------


def _joined(suffix: str, folder: Path) -> Path:
    """Two recordings of different size in one file."""
    tick = {".ts": Fraction(1, 90000), ".h264": Fraction(1, 25)}[suffix]
    step, muxer = round(Fraction(1, 25) / tick), "h264" if suffix == ".h264" else None
    parts = [
        make(Film(name, suffix, size=size, time_base=tick, pts=vfr(10, [step], start), muxer=muxer), folder)
        for name, size, start in (("small", (64, 48), 0), ("large", (96, 64), 10 * step))
    ]  # fmt: skip
    return joined(*parts)


@pytest.mark.parametrize("suffix", [".ts", ".h264"])
def test_a_size_that_changes_in_the_middle(suffix: str, tmp_path: Path) -> None:
    source, output = _joined(suffix, tmp_path), tmp_path / "out.mkv"
    report = run(source, output)
    after = look(output)
    assert after.size == (128, 96)
    assert len(after.times) == 20
    assert after.lumas[10:] == pytest.approx(after.lumas[:10], abs=0.01), "both parts show the same pictures"
    assert all(Fraction(39, 1000) <= b - a <= Fraction(41, 1000) for a, b in pairwise(after.times))
    assert report.read.resized_frames == 10
    assert any("10 frames change size" in w for w in report.warnings)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (5, 3)])
@pytest.mark.parametrize(("scale", "codec"), [(1, "ffv1"), (1.5, "ffv1"), (2, "h264"), (16, "h264"), (16, "ffv1")])
def test_tiny_frames(size: tuple[int, int], scale: float, codec: str, tmp_path: Path) -> None:
    film = Film("tiny", ".mkv", size=size, pix_fmt="yuv444p", time_base=MILLISECOND, pts=(0, 40), **LOSSLESS)
    source, output = make(film, tmp_path), tmp_path / "out.mkv"
    run(source, output, scale=scale, codec=codec)
    before, after = look(source), look(output)
    assert after.size == tuple(int(side * scale + 0.5) for side in size)
    assert len(after.times) == 2
    assert after.lumas == pytest.approx(before.lumas, abs=0.03)


ODD: list[tuple[tuple[int, int], float, tuple[int, int]]] = [
    ((61, 47), 1, (62, 48)),
    ((61, 47), 1.5, (92, 72)),
    ((33, 31), 3, (100, 94)),
    ((64, 48), 1.5, (96, 72)),
]


@pytest.mark.parametrize(("size", "scale", "expected"), ODD)
def test_odd_sizes(size: tuple[int, int], scale: float, expected: tuple[int, int], tmp_path: Path) -> None:
    source = make(Film("odd", ".mkv", size=size, **LOSSLESS, **FRAMES_MS), tmp_path)
    report = run(source, tmp_path / "out.mp4", scale=scale)
    before, after = look(source), look(tmp_path / "out.mp4")
    assert after.size == expected
    assert after.lumas == pytest.approx(before.lumas, abs=0.006)
    grew = tuple(int(side * scale + 0.5) for side in size) != expected
    assert any("chroma planes need whole samples" in w for w in report.warnings) == grew
