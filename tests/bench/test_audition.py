"""`vsr audition`: where a film is looked at, what a piece of it costs, and the page that comes of it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.bench.test_compare import page_data, pixels_of
from tests.films import Film as Made
from tests.films import Sound, look, make
from vsr.bench.audition import Wish, audition, clock
from vsr.bench.forecast import Estimate, Rendered, pieces_of, render_pieces
from vsr.bench.scenery import Detail, grown
from vsr.bench.scout import PLACES, Film, _evenly, _here_and_there, scout
from vsr.bench.sources import rgb_of
from vsr.cli.main import cli
from vsr.config import EncodeConfig, UpscaleConfig
from vsr.errors import ConfigError, DecodeError, ModelError
from vsr.frames import FrameFormat
from vsr.measure import sample_frame
from vsr.media import decoder
from vsr.media.decode import Reader
from vsr.media.index import build_index
from vsr.media.probe import probe
from vsr.media.weigh import packet_bytes, stream_rate
from vsr.pipeline import upscale
from vsr.planning import Job, draft_job, make_plan

SCENES = ("fine", "fast", "dark", "plain")
SHOT = 15  # frames


def scenes(number: int, format: FrameFormat) -> list[np.ndarray[Any, Any]]:
    """Four shots: fine texture that stands still, a pattern that moves, a dark one, a plain one."""
    planes = [np.full(shape, 128, format.layout.dtype) for shape in format.plane_shapes]
    rows, columns = format.plane_shapes[0]
    y, x = np.mgrid[0:rows, 0:columns]
    scene = SCENES[number // SHOT % len(SCENES)]
    if scene == "fine":
        planes[0][:] = np.random.default_rng(1).integers(60, 200, (rows, columns))
    elif scene == "fast":
        planes[0][:] = 128 + 50 * np.sin((x + 2 * number) / 9) * np.cos(y / 9)
    elif scene == "dark":
        planes[0][:] = 30 + 14 * np.sin(x / 11) * np.sin(y / 7)
    else:
        planes[0][:] = 120 + 60 * (x > columns // 2)
    return planes


FOUR = Made(
    "four scenes", size=(96, 64), pts=tuple(range(0, 60 * 512, 512)), draw=scenes, sounds=(Sound(bit_rate=96_000),),
    options={"preset": "ultrafast", "crf": "1", "g": "15"},
)  # fmt: skip


def opened(path: Path, folder: Path, **wishes: Any) -> tuple[Film, Job]:
    draft = draft_job(UpscaleConfig(str(path), str(folder / "out.mkv"), scale=2.0, model="bicubic", **wishes))
    plan = make_plan(draft)
    return Film(str(path), plan, build_index(str(path), draft.info)), Job(plan, str(path), draft.generator)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(FOUR, tmp_path_factory.mktemp("film"))


def test_a_short_film_is_looked_through(four: Path, tmp_path: Path) -> None:
    film, _ = opened(four, tmp_path)
    looks = scout(film, 60)
    assert [it.pts for it in looks] == list(film.pts[1::5])
    assert [it.shot for it in looks] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert max(looks, key=lambda it: it.motion).shot == 1
    assert max(looks, key=lambda it: it.texture).shot == 0
    assert min(looks, key=lambda it: it.light).shot == 2


@pytest.mark.parametrize("mode", ["off", "field"])
def test_here_and_there_are_frames_of_the_film(four: Path, tmp_path: Path, mode: str) -> None:
    film, _ = opened(four, tmp_path, deinterlace=mode)
    looks = _here_and_there(film, 60, lambda seen, places: None)
    assert {it.pts for it in looks} <= set(film.pts)
    assert len({it.pts for it in looks}) > 40
    assert len(_here_and_there(film, 0, lambda seen, places: None)) == 1


def test_places_are_even_wherever_the_time_ends() -> None:
    order = _evenly(PLACES)
    assert sorted(order) == list(range(PLACES))
    for count in (8, 20, 64):
        gaps = np.diff(sorted(order[:count]))
        assert gaps.max() <= 4 * PLACES / count


@pytest.mark.parametrize("at", [0, 1, 7, 29, 58, 59])
@pytest.mark.parametrize("context", [0, 2])
def test_a_frame_comes_with_its_neighbours(four: Path, tmp_path: Path, at: int, context: int) -> None:
    film, _ = opened(four, tmp_path)
    with Reader(str(four), film.plan.info) as reader:
        whole = list(reader)
    near = film.with_neighbours(film.pts[at], context)
    wanted = range(max(0, at - context), min(60, at + context + 1))
    assert [frame.pts[0] for frame in near] == [film.pts[i] for i in wanted]
    assert [frame.shown for frame in near] == [i == at for i in wanted]
    for frame, i in zip(near, wanted, strict=True):
        np.testing.assert_array_equal(frame.planes[0], whole[i].planes[0])


def test_a_frame_that_is_not_there(four: Path, tmp_path: Path) -> None:
    film, _ = opened(four, tmp_path)
    with pytest.raises(DecodeError, match="cannot be read"):
        film.with_neighbours(film.pts[-1] + 1, 0)


def test_a_sample_is_reached_without_decoding_all_before_it(four: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe(str(four))
    index = build_index(str(four), info)
    decoded = 0
    real = decoder.Decoder.decode

    def counted(self: decoder.Decoder, packet: Any) -> Any:
        nonlocal decoded
        for frame in real(self, packet):
            decoded += 1
            yield frame

    monkeypatch.setattr(decoder.Decoder, "decode", counted)
    for entry in index.keys[1:]:
        decoded = 0
        sample = sample_frame(str(four), info, entry)
        assert sample is not None
        assert sample.pts == (entry,)
        assert decoded <= 3


@pytest.mark.parametrize(("count", "frames"), [(1, 10), (3, 8), (4, 14), (6, 10), (2, 29)])
def test_pieces_are_apart_and_within(four: Path, tmp_path: Path, count: int, frames: int) -> None:
    film, _ = opened(four, tmp_path)
    pieces = pieces_of(film, count, frames, 0)
    if count * frames >= 60:
        assert [(piece.start, piece.stop, piece.frames) for piece in pieces] == [(film.pts[0], None, 60)]
        return
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    places = [
        (film.pts.index(p.start), film.pts.index(p.stop) if p.stop in film.pts else 60) for p in pieces if p.start is not None
    ]
    assert all(8 <= last - first <= frames for first, last in places)
    assert all(last <= first for (_, last), (first, _) in pairwise(places))
    assert len(pieces) >= count - 1


def test_rendered_pieces_are_the_frames_of_the_film(four: Path, tmp_path: Path) -> None:
    film, job = opened(four, tmp_path)
    done = render_pieces(job, pieces_of(film, 3, 10, 0), tmp_path)
    assert done.frames == 30
    assert done.rate > 0
    assert [len(sizes) for sizes in done.packets] == [10, 10, 10]
    assert all(sum(sizes) > 0 for sizes in done.packets)


def test_the_size_of_a_film_by_its_pieces() -> None:
    done = Rendered(10.0, ((1000, 100, 200), (3000, 300)))
    assert done.film_bytes(102, 2) == 2 * 2000 + 100 * 200
    assert done.film_bytes(1000, 1) == 4 * 2000 + 996 * 200  # encoders begin anew after 250 frames at the latest
    assert Rendered(1.0, ((500,), (700,))).film_bytes(10, 1) == 6000


def test_bytes_of_sound(four: Path) -> None:
    (packets,) = look(four).packets.values()
    sound = next(stream for stream in probe(str(four)).streams if stream.type == "audio")
    rate = stream_rate(str(four), [sound.index], [0.0, 0.4])
    assert rate == pytest.approx(sum(len(data) for _, data in packets) / 2.4, rel=0.2)
    assert stream_rate(str(four), [], [0.0]) == 0
    assert sum(packet_bytes(four)) < four.stat().st_size


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli, ["audition", *map(str, arguments)], catch_exceptions=True)


def test_a_page_of_the_job_s_own_pictures(four: Path, tmp_path: Path) -> None:
    page, told = tmp_path / "page.html", tmp_path / "told.json"
    result = run(
        four, "--model", "animevideo", "--scale", 2, "-o", page, "--json", told, "--moments", 4, "--precision", "fp32",
        "--threads", 1, "--backend", "torch", "--codec", "ffv1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    facts = json.loads(told.read_text())
    assert {kind for kind, _ in facts["moments"]} == {"texture", "motion", "dark", "typical"}
    assert set(facts["estimates"]) == {"bicubic", "animevideo"}
    assert facts["estimates"]["animevideo"]["measured"] == 60
    data = page_data(page)
    assert [item["label"] for item in data["items"]] == ["bicubic", "animevideo"]
    assert all({"Whole film", "File", "Speed"} <= set(item["facts"]) for item in data["items"])

    made = upscale(
        UpscaleConfig(
            str(four), str(tmp_path / "whole.mkv"), scale=2.0, model="animevideo", precision="fp32", threads=1, backend="torch",
            encode=EncodeConfig(codec="ffv1"),
        )
    )  # fmt: skip
    info = probe(made.output)
    with Reader(made.output, info) as reader:
        frames = [rgb_of(batch)[0].permute(1, 2, 0).numpy() for batch in reader]
    for place, frame in enumerate(data["frames"]):
        np.testing.assert_array_equal(pixels_of(data, 1, place), frames[frame["number"]])
    written = facts["estimates"]["animevideo"]["file_bytes"]
    assert written == pytest.approx(Path(made.output).stat().st_size, rel=0.2)


def test_who_is_too_slow_is_named(four: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    wish = Wish(UpscaleConfig(str(four), scale=4.0), page, ("animevideo",), moments=2, budget=1e-3)
    result = audition(wish, "vsr audition")
    assert result.left_out == ["animevideo"]
    assert result.estimates["animevideo"].measured == 0
    assert result.estimates["animevideo"].seconds > 0
    assert any(note.startswith("animevideo is not shown") for note in result.notes)
    assert [item["label"] for item in page_data(page)["items"]] == ["bicubic"]


def test_a_detail_of_large_pictures(tmp_path: Path) -> None:
    film = make(replace(FOUR, size=(640, 480), pts=FOUR.pts[:20], sounds=()), tmp_path)
    result = audition(Wish(UpscaleConfig(str(film), scale=4.0), tmp_path / "page.html", ("animevideo",), moments=1, budget=8), "")
    width, height = result.detail
    assert 16 * width * height <= 1920 * 1080
    picture = page_data(tmp_path / "page.html")["items"][0]["pictures"][0]
    assert (picture["width"], picture["height"]) == (4 * width, 4 * height)
    assert any("busiest" in note for note in result.notes)


def test_a_detail_of_subsampled_planes(four: Path, tmp_path: Path) -> None:
    film, job = opened(four, tmp_path)
    frame = film.with_neighbours(film.pts[3], 0)[0]
    part = Detail(16, 8, 40, 24).of(frame)
    np.testing.assert_array_equal(part.planes[0][0], frame.planes[0][0, 8:32, 16:56])
    np.testing.assert_array_equal(part.planes[2][0], frame.planes[2][0, 4:16, 8:28])
    target = grown(job.plan.target, frame.format, Detail(16, 8, 40, 24))
    assert (target.width, target.height) == (80, 48)


def test_what_is_not_shown_as_a_player_would_is_said(tmp_path: Path) -> None:
    film = make(replace(FOUR, pts=FOUR.pts[:4], sounds=(), sar=Fraction(16, 11), rotation=90), tmp_path)
    notes = audition(Wish(UpscaleConfig(str(film), scale=1.0), tmp_path / "page.html", ("animevideo",), moments=1), "").notes
    assert any("rotation" in note for note in notes)
    assert any("16/11" in note for note in notes)


def test_what_is_refused(four: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = run(four, "--model", "nonsense", "-o", page)
    assert isinstance(result.exception, ModelError)
    assert not page.exists()
    page.write_text("mine")
    result = run(four, "-o", page)
    assert isinstance(result.exception, ConfigError) and "--overwrite" in str(result.exception)
    assert page.read_text() == "mine"
    assert run(four, "--scale", 2, "--height", 99, "-o", tmp_path / "b.html").exit_code == 2
    for budget in ("nan", "inf", "4"):
        assert run(four, "--budget", budget, "-o", tmp_path / "b.html").exit_code == 2
    assert isinstance(run(tmp_path / "none.mkv", "-o", tmp_path / "b.html").exception, DecodeError)
    assert isinstance(run(four, "-o", tmp_path / "no" / "b.html").exception, ConfigError)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(four: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match="no permission"):
        audition(Wish(UpscaleConfig(str(four)), tmp_path / "closed/page.html", ("nonsense",)), "")


def test_an_image_is_no_film(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="vsr compare"):
        audition(Wish(UpscaleConfig(str(tmp_path / "a.png")), tmp_path / "page.html"), "")


def test_times_for_people() -> None:
    assert clock(3725.9) == "1:02:05"
    assert clock(0) == "0:00:00"


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 kB"), (65_035, "65 kB"), (1.5e6, "1.5 MB"), (512e6, "512 MB"), (999.6e6, "1.0 GB"), (38e9, "38.0 GB")],
)
def test_sizes_for_people(size: float, said: str) -> None:
    assert Estimate(1.0, 1.0, size, 0).size == said


@pytest.mark.parametrize(("fps", "said"), [(0.0312, "0.0312"), (24.5, "24.5"), (999.6, "1,000"), (2876.0, "2,876")])
def test_speeds_for_people(fps: float, said: str) -> None:
    assert Estimate(fps, 1.0, 1.0, 0).speed == said
