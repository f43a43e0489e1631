"""Interlaced and telecined films: whole frames come out, each at its time, wherever the film is cut."""

from __future__ import annotations

import gc
import itertools
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.errors import ConfigError
from vsr.fields import Deinterlace
from vsr.media.check import Check
from vsr.media.decode import Reader
from vsr.media.deinterlace import Filters
from vsr.media.probe import probe
from vsr.media.verify import verify_files

Picture = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 96, 64
PAL, NTSC = Fraction(25), Fraction(30000, 1001)
LOSSLESS = EncodeConfig(codec="ffv1")


def moments(count: int) -> list[Picture]:
    """A texture that moves by 4 pixels and 1 line from one moment to the next."""
    texture = np.random.default_rng(3).normal(size=(HEIGHT + 2 * count, WIDTH + 5 * count))
    for axis in (0, 1):
        for _ in range(8):
            texture = (np.roll(texture, 1, axis) + 2 * texture + np.roll(texture, -1, axis)) / 4
    levels = (texture / texture.std() * 40 + 128).clip(20, 230).astype(np.uint8)
    return [levels[n : n + HEIGHT, 4 * n : 4 * n + WIDTH] for n in range(count)]


def woven(pictures: list[Picture], top_first: bool = True) -> list[Picture]:
    """Two moments in each frame, one in the even lines and one in the odd."""
    frames = []
    for first, second in zip(pictures[::2], pictures[1::2], strict=True):
        frame = first.copy()
        frame[1 if top_first else 0 :: 2] = second[1 if top_first else 0 :: 2]
        frames.append(frame)
    return frames


def pulled_down(pictures: list[Picture]) -> list[Picture]:
    """3:2: of four frames ten fields."""
    fields = [n for n in range(len(pictures)) for _ in range(2 + n % 2)]
    frames = []
    for top, bottom in zip(fields[::2], fields[1::2], strict=False):
        frame = pictures[top].copy()
        frame[1::2] = pictures[bottom][1::2]
        frames.append(frame)
    return frames


def film(path: Path, frames: list[Picture], rate: Fraction, flags: str = "tff", pts: list[int] | None = None) -> Path:
    """H.264 that says of its frames what `flags` tell: tff, bff, or nothing."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=rate)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.time_base = 1 / rate
        told = f":{flags}=1" if flags else ""
        video.options = {"preset": "veryfast", "crf": "2", "x264-params": f"keyint=10:bframes=2{told}"}
        for number, frame in enumerate(flagged(frames, flags)):
            frame.pts, frame.time_base, frame.pict_type = (pts[number] if pts else number), 1 / rate, 0
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def flagged(pictures: list[Picture], flags: str) -> list[av.VideoFrame]:
    """Frames that say of themselves which field comes first: the encoder listens to them alone."""
    frames = []
    for picture in pictures:
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for plane, content in zip(frame.planes, (picture, None, None), strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
            rows[:] = 128
            if content is not None:
                rows[:, :WIDTH] = content
        frames.append(frame)
    if not flags:
        return frames
    filters = Filters(frames[0], ("setfield", f"mode={flags}"))
    return [made for frame in frames for made in filters.push(frame)] + filters.end()


def run(source: Path, mode: Deinterlace, segment: float = 0.0, **wishes: Any) -> Any:
    target = source.with_name(f"{source.stem}.{mode}.{segment}.mkv")
    return upscale(
        UpscaleConfig(
            str(source), str(target), scale=2, model="bicubic", encode=LOSSLESS, deinterlace=mode, segment=segment, **wishes
        )
    )


def shown(path: str, pictures: list[Picture]) -> list[int]:
    """Which of the moments each frame of a twice as large film resembles most."""
    found = []
    with av.open(path) as container:
        for frame in container.decode(video=0):
            assert not frame.interlaced_frame
            luma = frame.to_ndarray()[: 2 * HEIGHT].astype(float).reshape(HEIGHT, 2, WIDTH, 2).mean(axis=(1, 3))
            inner = slice(4, -4)  # the last lines of a field have no neighbour below
            errors = [np.abs(luma[inner] - picture[inner].astype(float)).mean() for picture in pictures]
            assert min(errors) < 7
            found.append(int(np.argmin(errors)))
    return found


def content(path: str) -> list[tuple[int, bytes]]:
    with av.open(path) as container:
        return [(frame.pts or 0, frame.to_ndarray().tobytes()) for frame in container.decode(video=0)]


def verdicts(source: Path, output: str) -> dict[str, Check]:
    return {check.name: check for check in verify_files(str(source), output)}


@pytest.mark.parametrize("flags", ["tff", "bff"])
@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_one_frame_for_each_field(flags: str, suffix: str, tmp_path: Path) -> None:
    pictures = moments(48)
    source = film(tmp_path / f"film{suffix}", woven(pictures, flags == "tff"), PAL, flags)
    report = run(source, "field")
    assert report.frames_out == 48
    assert report.read.deinterlaced_frames == 48
    assert all(check.ok for check in report.checks), report.checks
    assert shown(report.output, pictures) == list(range(48)), "each field at its own moment, in order"
    times = [pts for pts, _ in content(report.output)]
    assert [b - a for a, b in itertools.pairwise(times)] == [20] * 47
    judged = verdicts(source, report.output)
    assert all(check.ok for check in judged.values()), [check for check in judged.values() if not check.ok]
    assert judged["frames"].stated
    assert "field" in judged["frames"].detail


@pytest.mark.parametrize("mode", ["auto", "frame"])
def test_one_frame_for_each_frame(mode: Deinterlace, tmp_path: Path) -> None:
    pictures = moments(40)
    source = film(tmp_path / "film.mkv", woven(pictures), PAL)
    report = run(source, mode)
    assert shown(report.output, pictures) == list(range(0, 40, 2)), "the first field's moment"
    judged = verdicts(source, report.output)
    assert all(check.ok for check in judged.values()), [check for check in judged.values() if not check.ok]
    assert "progressive output" in judged["interlacing"].detail
    assert any("interlaced" in warning for warning in report.warnings) == (mode == "auto")


def test_off_leaves_the_fields_and_says_so(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", woven(moments(16)), PAL)
    report = run(source, "off")
    assert report.read.deinterlaced_frames == 0
    assert any("combing" in warning for warning in report.warnings)


def test_auto_leaves_a_progressive_film_alone(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", moments(12), PAL, flags="")
    assert content(run(source, "auto").output) == content(run(source, "off").output)


def test_auto_finds_what_begins_in_the_middle(tmp_path: Path) -> None:
    """Progressive frames come out as they are, the others whole; the same wherever the film is cut."""
    pictures = moments(40)
    parts = [film(tmp_path / "one.h264", pictures[:20], PAL, ""), film(tmp_path / "two.h264", woven(pictures[20:]), PAL)]
    source = tmp_path / "both.h264"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    whole = run(source, "auto")
    assert whole.read.deinterlaced_frames == 10
    assert shown(whole.output, pictures) == [*range(20), *range(20, 40, 2)]
    assert content(run(source, "auto", segment=0.3).output) == content(whole.output)
    assert content(whole.output)[:19] == content(run(source, "off").output)[:19]


@pytest.mark.parametrize("mode", ["auto", "frame", "field", "ivtc"])
@pytest.mark.parametrize("flags", ["tff", ""])
def test_the_same_frames_wherever_the_film_is_cut(mode: Deinterlace, flags: str, tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", pulled_down(moments(36)), NTSC, flags)
    whole = run(source, mode)
    assert len(whole.plan.segments) == 1
    cut = run(source, mode, segment=0.3)
    assert len(cut.plan.segments) > 3
    assert content(cut.output) == content(whole.output)
    assert sum(segment.frames for segment in cut.plan.segments) == whole.frames_out == cut.frames_out


@pytest.mark.parametrize("phase", range(5))
def test_a_pulldown_is_undone(phase: int, tmp_path: Path) -> None:
    pictures = moments(44)
    frames = pulled_down(pictures)[phase:]
    source = film(tmp_path / "film.mkv", frames, NTSC)
    report = run(source, "ivtc")
    found = shown(report.output, pictures)
    assert len(found) == len(frames) // 5 * 4 + len(frames) % 5
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert all(step == 1 for step in steps[4:-5]), f"every frame of the film once: {found}"
    judged = verdicts(source, report.output)
    assert all(check.ok for check in judged.values()), [check for check in judged.values() if not check.ok]
    assert "pulldown" in judged["frames"].detail


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p10le"])
def test_a_pulldown_of_more_bits(pix_fmt: str, tmp_path: Path) -> None:
    """The fields are matched on 8 bits and taken as they are."""
    pictures = moments(24)
    source = tmp_path / "film.mkv"
    with av.open(str(source), "w") as out:
        video = out.add_stream("ffv1", rate=NTSC)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, pix_fmt
        for number, frame in enumerate(flagged(pulled_down(pictures), "")):
            deep = frame.reformat(format=pix_fmt)
            deep.pts, deep.time_base = number, 1 / NTSC
            out.mux(video.encode(deep))
        out.mux(video.encode(None))
    report = run(source, "ivtc")
    assert all(check.ok for check in report.checks), report.checks
    assert any("none of the first frames is flagged" in warning for warning in report.warnings)
    with av.open(report.output) as film:
        assert film.streams.video[0].codec_context.pix_fmt == pix_fmt
        frames = [frame.reformat(format="gray") for frame in film.decode(video=0)]
    found = []
    for frame in frames:
        luma = frame.to_ndarray().astype(float).reshape(HEIGHT, 2, WIDTH, 2).mean(axis=(1, 3))
        spread = [np.corrcoef(luma.ravel(), picture.ravel())[0, 1] for picture in pictures]
        found.append(int(np.argmax(spread)))
    assert found == list(range(24))
    assert content(run(source, "ivtc", segment=0.3).output) == content(report.output)


@pytest.mark.parametrize("mode", ["auto", "frame", "field"])
def test_a_hard_telecined_film_shows_its_own_frames(mode: Deinterlace, tmp_path: Path) -> None:
    """Of a frame of two films' fields the first is the frame before: that is not a frame in the wrong place."""
    source = film(tmp_path / "film.mkv", pulled_down(moments(36)), NTSC)
    judged = verdicts(source, run(source, mode).output)
    assert all(check.ok for check in judged.values()), [check for check in judged.values() if not check.ok]


def edited(path: str, order: list[int]) -> str:
    """The film with other pictures at its times."""
    target = path.replace(".mkv", ".edited.mkv")
    with av.open(path) as film, av.open(target, "w") as out:
        frames = list(film.decode(video=0))
        video = out.add_stream("ffv1", rate=film.streams.video[0].guessed_rate)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        for at, picture in enumerate(order):
            frame = av.VideoFrame.from_ndarray(frames[picture].to_ndarray(), frames[picture].format.name)
            frame.pts, frame.time_base = frames[at].pts, frames[at].time_base
            frame.color_range = 1
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return target


@pytest.mark.parametrize("mode", ["field", "ivtc"])
@pytest.mark.parametrize("sabotage", ["swapped", "repeated", "late"])
def test_pictures_in_the_wrong_place_are_named(mode: Deinterlace, sabotage: str, tmp_path: Path) -> None:
    pictures = moments(48)
    frames = woven(pictures) if mode == "field" else pulled_down(pictures)
    source = film(tmp_path / "film.mkv", frames, PAL if mode == "field" else NTSC)
    output = run(source, mode).output
    count = len(content(output))
    order = list(range(count))
    if sabotage == "swapped":
        order[10], order[11] = order[11], order[10]
    elif sabotage == "repeated":
        order[20] = order[19]
    else:
        order = [0, *order[:-1]]
    judged = verdicts(source, edited(output, order))
    assert not judged["pixels"].ok, judged["pixels"]
    honest = verdicts(source, edited(output, list(range(count))))
    assert honest["pixels"].ok, honest["pixels"]


def test_a_frame_that_is_missing_of_many_fields_is_named(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", woven(moments(48)), PAL)
    output = run(source, "field").output
    shorter = output.replace(".mkv", ".shorter.mkv")
    with av.open(output) as whole, av.open(shorter, "w") as out:
        stream = out.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(p for p in whole.demux(video=0) if p.size):
            if number != 30:
                packet.stream = stream
                out.mux(packet)
    frames = verdicts(source, shorter)["frames"]
    assert not frames.ok
    assert "47 of 48" in frames.detail
    assert "missing: frame 30" in frames.detail


def test_a_part_of_a_pulldown(tmp_path: Path) -> None:
    """Cycles begin with the part; what lies before it still helps."""
    pictures = moments(44)
    source = film(tmp_path / "film.mkv", pulled_down(pictures), NTSC)
    report = run(source, "ivtc", start=0.4, duration=0.7)
    assert all(check.ok for check in report.checks), report.checks
    found = shown(report.output, pictures)
    assert found == list(range(found[0], found[0] + len(found)))
    assert abs(len(found) - 0.7 * 24000 / 1001) <= 1


@pytest.mark.parametrize("mode", ["auto", "field", "ivtc"])
@pytest.mark.parametrize("frames", [1, 2, 4, 5, 6])
def test_very_short_films(mode: Deinterlace, frames: int, tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", woven(moments(2 * frames)), PAL)
    report = run(source, mode)
    expected = {"auto": frames, "field": 2 * frames, "ivtc": frames - frames // 5}[mode]
    assert report.frames_out == expected
    assert all(check.ok for check in report.checks), report.checks


def test_uneven_times(tmp_path: Path) -> None:
    pts = [0, 1, 2, 5, 6, 10, 11, 12, 20, 21, 22, 23]
    source = film(tmp_path / "film.mkv", woven(moments(24)), PAL, pts=pts)
    times = [time for time, _ in content(run(source, "field").output)]
    assert times[::2] == [40 * n for n in pts]
    assert times[1:-1:2] == [20 * (a + b) for a, b in itertools.pairwise(pts)]


def test_a_pipe_is_deinterlaced_as_well(tmp_path: Path) -> None:
    source = film(tmp_path / "film.ts", woven(moments(24)), PAL)
    info = probe(str(source))
    with Reader(str(source), info, deinterlace="field") as reader:
        times = [pts for batch in reader for pts in batch.pts]
    assert len(times) == 24
    assert BytesIO(source.read_bytes()).read(1) == b"G"


def test_frames_that_say_nothing_do_not_decide_for_the_others(tmp_path: Path) -> None:
    """The film begins progressive; its fields, bottom first, come later."""
    pictures = moments(44)
    parts = [
        film(tmp_path / "one.h264", pictures[:4], PAL, ""),
        film(tmp_path / "two.h264", woven(pictures[4:], top_first=False), PAL, "bff"),
    ]
    source = tmp_path / "both.h264"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    info = probe(str(source))
    assert not info.interlaced
    found = []
    with Reader(str(source), info, deinterlace="field") as reader:
        for batch in reader:
            luma = batch.planes[0][0].astype(float)
            found.append(int(np.argmin([np.abs(luma - picture).mean() for picture in pictures])))
    assert found[8:] == list(range(4, 44)), "each field at its own moment, in order"


def test_frames_do_not_outlive_their_turn(tmp_path: Path) -> None:
    """Looking at a frame's side data made a circle that kept its picture until the garbage collector came (PyAV 18)."""
    source = film(tmp_path / "film.mkv", moments(60), PAL, "")
    gc.collect()
    gc.disable()
    try:
        with Reader(str(source), probe(str(source))) as reader:
            assert sum(len(batch) for batch in reader) == 60
        alive = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    assert alive < 10


def test_filters_give_back_as_many_frames_as_they_get() -> None:
    frames = [av.VideoFrame(32, 32, "yuv420p") for _ in range(7)]
    for frame in frames:
        for plane in frame.planes:
            np.frombuffer(memoryview(plane), np.uint8)[:] = 60
    filters = Filters(frames[0], ("bwdif", "mode=send_frame:deint=all"))
    assert sum(len(filters.push(frame)) for frame in frames) + len(filters.end()) == 7


@pytest.mark.parametrize("mode", ["field", "ivtc"])
def test_pictures_too_small_for_fields_are_refused(mode: Deinterlace, tmp_path: Path) -> None:
    path = tmp_path / "tiny.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 2, 2, "yuv420p"
        for n in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((3, 2), 90, np.uint8), "yuv420p")
            frame.pts = n
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    with pytest.raises(ConfigError, match="deinterlace"):
        run(path, mode)
