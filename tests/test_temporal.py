"""EDVR on films with cuts, flashes, fades and shots of one frame: the frames that a plain loop over the windows gives, whatever
is cached, however the film is cut into segments, and wherever the job was killed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.films import Film, Sound, make
from tests.models.edvrs import small_edvr, write_edvr
from tests.test_resume import Stop, kill_and_resume, pictures, same
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.engine.crew import Crew
from vsr.engine.upscaler import Upscaler
from vsr.engine.window import Windows
from vsr.errors import Interrupted, JobError
from vsr.fields import Deinterlace
from vsr.frames import FrameBatch, FrameFormat
from vsr.journal import Journal
from vsr.media.decode import Reader
from vsr.media.probe import probe
from vsr.models.weights import load
from vsr.pipeline import Run
from vsr.planning import Job, draft_job, make_plan

FFV1 = EncodeConfig(codec="ffv1")
Luma = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Shot:
    """So many frames of scene number `scene`: it moves, and may `flash` at a frame or `fade` to black."""

    scene: int
    frames: int
    flash: int = -1
    fade: bool = False


SHOTS = (Shot(1, 7), Shot(2, 1), Shot(3, 9, flash=4), Shot(4, 12, fade=True), Shot(5, 2), Shot(6, 9))
FLASH_AT = 7 + 1 + 4
CUTS = [7, 8, FLASH_AT, FLASH_AT + 1, 17, 29, 31]  # the end of the fade is black, and so is no cut but to the next scene
FRAMES = sum(shot.frames for shot in SHOTS)


def scene(number: int, shift: int, rows: int, columns: int) -> Luma:
    """Squares of its own, moved to the side."""
    coarse = np.random.default_rng(number).uniform(0.15, 0.8, (6, 16))
    grown = np.kron(coarse, np.ones((-(-rows // 6), -(-columns // 8))))
    y, x = np.mgrid[0:rows, 0:columns]
    moved: Luma = grown[:rows, shift : shift + columns] + 0.05 * np.sin(x * 1.1 + shift) * np.cos(y * 0.9)
    return moved


def draw(number: int, format: FrameFormat) -> list[np.ndarray[Any, Any]]:
    at = number % FRAMES
    for shot in SHOTS:
        if at < shot.frames:
            break
        at -= shot.frames
    luma = scene(shot.scene, at, *format.plane_shapes[0])
    if at == shot.flash:
        luma = 0.3 * luma + 0.65
    if shot.fade:
        luma *= max(0.0, 1 - at / (shot.frames - 3))
    top = 1 << format.layout.bits
    planes = [np.clip(luma * top, 0, top - 1)]
    planes += [np.full(shape, (0.45 + 0.01 * shot.scene) * top) for shape in format.plane_shapes[1:]]
    return [plane.astype(format.layout.dtype) for plane in planes]


def film(folder: Path, **more: object) -> Path:
    known = Film(
        "shots", ".mkv", size=(32, 24), pts=tuple(range(0, FRAMES * 40, 40)), time_base=Fraction(1, 1000), sounds=(Sound(),),
        options={"preset": "veryfast", "bf": "2", "g": "9", "crf": "4"}, draw=draw,
    )  # fmt: skip
    return make(replace(known, **more), folder)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    write_edvr(path)
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def expected(source: Path, model: Path) -> list[FrameBatch]:
    return by_hand(source, model)


def config(source: Path, output: Path, model: Path, **more: object) -> UpscaleConfig:
    # in float32: whether bf16 is faster is a matter of the moment, and two jobs may decide differently
    base = UpscaleConfig(str(source), str(output), model=str(model), precision="fp32", segment=0.3, encode=FFV1, threads=2)
    return replace(base, **more)  # type: ignore[arg-type]


def by_hand(source: Path, model: Path) -> list[FrameBatch]:
    """The whole film read at once, every window on its own through the slow twin."""
    draft = draft_job(config(source, source.with_name("never.mkv"), model, threads=1))
    plan = make_plan(draft)
    windows = Windows(draft.generator.spec.context)
    slow = Upscaler(draft.generator, plan.info.format, plan.target, replace(plan.engine, workers=1))
    with Reader(str(source), probe(str(source))) as reader:
        return [slow.up(batch) for batch in windows.through(reader)]


def read(path: Path) -> list[FrameBatch]:
    with Reader(str(path), probe(str(path))) as reader:
        return [*reader]


@pytest.mark.parametrize("segment", [0.0, 0.1, 0.3])
def test_the_film_is_what_a_plain_loop_gives(
    segment: float, source: Path, model: Path, expected: list[FrameBatch], tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    report = upscale(config(source, output, model, segment=segment))
    assert report.plan is not None
    assert len(report.plan.segments) == {0.0: 1, 0.1: 15, 0.3: 5}[segment]
    assert report.cuts == CUTS
    assert (report.frames_in, report.frames_out) == (FRAMES, FRAMES)
    found = read(output)
    for made, one in zip(found, expected, strict=True):
        assert made.pts[0] - found[0].pts[0] == one.pts[0]
        assert all(np.array_equal(a, b) for a, b in zip(made.planes, one.planes, strict=True))


def test_cached_equals_uncached(source: Path, model: Path, tmp_path: Path) -> None:
    looked: list[int] = []
    for keep in (True, False):
        draft = draft_job(config(source, tmp_path / f"{keep}.mkv", model, threads=1))
        plan = make_plan(draft)
        (tmp_path / f"work {keep}").mkdir()
        job = Job(replace(plan, engine=replace(plan.engine, keep=keep)), draft.source, draft.generator)
        run = Run(job, Journal(tmp_path / f"work {keep}"))
        run.finish(run.render())
        looked.append(run.upscaler.features.made)
    same(tmp_path / "True.mkv", tmp_path / "False.mkv")
    borders = len(plan.segments) - 1
    assert looked[1] == 0
    assert FRAMES < looked[0] <= FRAMES + 4 * borders, "two frames on each side of a border may be looked at twice"


@pytest.mark.parametrize("frames", [1, 29])
def test_an_interrupted_film_goes_on_where_it_was(frames: int, source: Path, model: Path, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole.mkv", tmp_path / "resumed.mkv"
    undisturbed = upscale(config(source, whole, model))
    with pytest.raises(Interrupted):
        upscale(config(source, resumed, model), Stop(frames))
    report = upscale(config(source, resumed, model))
    assert (report.frames_kept > 0) == (frames > 1)
    assert report.cuts == undisturbed.cuts == CUTS
    same(whole, resumed)


def test_other_weights_are_refused(source: Path, model: Path, tmp_path: Path) -> None:
    output, other = tmp_path / "out.mkv", tmp_path / "tiny.safetensors"
    with pytest.raises(Interrupted):
        upscale(config(source, output, model), Stop(20))
    write_edvr(other, seed=1)
    with pytest.raises(JobError, match=r"weights was|option model"):
        upscale(config(source, output, other))


@pytest.mark.slow
def test_kill_minus_nine_at_random_moments(source: Path, model: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.mkv", tmp_path / "killed.mkv"
    command = [sys.executable, "-m", "vsr", "upscale", str(source), "--model", str(model), "--segment", "0.2", "--codec", "ffv1"]
    command += ["--precision", "fp32"]  # as in `config`
    kill_and_resume(command, whole, killed, random.Random(3))
    same(whole, killed)


@pytest.mark.parametrize("deinterlace", [pytest.param("field", marks=pytest.mark.slow), "ivtc"])
def test_fields_have_neighbours_too(deinterlace: Deinterlace, source: Path, model: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / "one.mkv", tmp_path / "many.mkv"]
    for output, segment in zip(outputs, (0.0, 0.4), strict=True):
        report = upscale(config(source, output, model, segment=segment, deinterlace=deinterlace))
        assert report.plan is not None
        assert (len(report.plan.segments) > 2) == (segment > 0)
        assert report.frames_in == FRAMES
    same(*outputs)


def test_a_part_is_the_same_part_of_the_whole(source: Path, model: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.mkv", tmp_path / "part.mkv"
    upscale(config(source, whole, model))
    report = upscale(config(source, part, model, start=0.6, duration=0.5))
    assert report.frames_out == 13 or report.frames_out == 12
    first = 15
    assert pictures(part) == pictures(whole)[first : first + report.frames_out]
    assert report.cuts == [cut - first for cut in CUTS if first <= cut < first + report.frames_out]


@pytest.mark.parametrize("images", [False, True])
def test_a_part_that_becomes_images_is_the_same_part(images: bool, source: Path, model: Path, tmp_path: Path) -> None:
    given = source
    if images:
        given = tmp_path / "in_%02d.png"
        upscale(UpscaleConfig(str(source), str(given), model="bicubic", scale=1))
    base = config(given, tmp_path / "whole_%02d.png", model, segment=None, encode=EncodeConfig(), threads=1, overwrite=True)
    whole = upscale(base)
    first, count = 20, 5  # both ends within a shot
    part = upscale(replace(base, output=str(tmp_path / "part_%02d.png"), start=0.8, duration=0.2))
    assert (part.frames_in, part.frames_out, part.cuts) == (count, count, [])
    assert whole.cuts[:2] == CUTS[:2]
    for at in range(1, count + 1):
        ours, theirs = (Image.open(tmp_path / f"{name}.png") for name in (f"part_{at:02d}", f"whole_{first + at:02d}"))
        assert np.array_equal(np.asarray(ours), np.asarray(theirs)), at


def test_a_part_may_begin_with_a_second_field(source: Path, model: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.mkv", tmp_path / "part.mkv"
    upscale(config(source, whole, model, segment=0.0, deinterlace="field", threads=1))
    upscale(config(source, part, model, segment=0.0, deinterlace="field", threads=1, start=1.45))
    found = pictures(part)
    assert found == pictures(whole)[-len(found) :]


def test_workers_share_what_they_know(source: Path, model: Path, expected: list[FrameBatch], tmp_path: Path) -> None:
    net = load(str(model), 4)
    draft = draft_job(config(source, tmp_path / "out.mkv", model))
    plan = make_plan(draft)
    assert plan.engine.workers == 2
    crew = Crew(net, plan.info.format, plan.target, plan.engine)
    with Reader(str(source), plan.info) as reader:
        made = [*crew.stream(Windows(2).through(reader))]
    for a, b in zip(made, expected, strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(a.planes, b.planes, strict=True))


def test_numbered_images_are_a_film_for_it(model: Path, tmp_path: Path) -> None:
    source = film(tmp_path, pix_fmt="yuv444p")
    format = FrameFormat(48, 32, probe(str(source)).format.layout)
    for number in range(6):
        rgb = np.stack(draw(number + 4, format), axis=-1)
        Image.fromarray(rgb.astype(np.uint8)).save(tmp_path / f"in_{number + 3:02d}.png")
    base = config(tmp_path / "in_%02d.png", tmp_path / "out_%02d.png", model, segment=None, encode=EncodeConfig())
    report = upscale(base)
    assert sorted(path.name for path in tmp_path.glob("out_*.png")) == [f"out_{number:02d}.png" for number in range(3, 9)]
    assert report.cuts == [3, 4]
    alone = upscale(replace(base, source=str(tmp_path / "in_06.png"), output=str(tmp_path / "alone.png")))
    assert alone.frames_out == 1
    # frame 6 is a shot of its own: its window shows nothing else
    assert np.array_equal(np.asarray(Image.open(tmp_path / "alone.png")), np.asarray(Image.open(tmp_path / "out_06.png")))
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "in_04.png")), np.asarray(Image.open(tmp_path / "in_05.png")))


def test_the_report_lists_the_cuts(source: Path, model: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "vsr",
        "upscale",
        str(source),
        "--model",
        str(model),
        "-o",
        str(tmp_path / "o.mkv"),
        "--json",
    ]
    done = subprocess.run([*command, "-"], check=True, capture_output=True)
    assert json.loads(done.stdout)["cuts"] == CUTS


def test_cuts_are_numbered_as_frames_come_out(tmp_path: Path, model: Path) -> None:
    path = film(
        tmp_path, codec="mjpeg", pix_fmt="yuvj420p", options={}, size=(24, 16), sounds=(), pts=tuple(range(0, 240 * 40, 40))
    )
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    for packet in packets[210:212]:  # the index looks at the first 200 only
        at = data.index(bytes(packet), packet.pos)
        data[at : at + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    found = []
    for segment in (0.0, 1.0):
        report = upscale(config(path, tmp_path / f"{segment}.mkv", model, segment=segment, start=8.0))
        assert report.frames_out == 38
        found.append(report.cuts)
    assert found[0] == found[1]
    assert any(cut > 12 for cut in found[0]), "behind what is lost"


def test_a_model_that_restores_keeps_the_size(tmp_path: Path) -> None:
    source, path = film(tmp_path, size=(48, 32)), tmp_path / "deblur.safetensors"
    write_edvr(path, {"hr_in": True, "with_predeblur": True})
    report = upscale(config(source, tmp_path / "out.mkv", path, scale=1))
    assert report.plan is not None
    assert (report.plan.target.width, report.plan.target.height) == (48, 32)
    assert small_edvr({"hr_in": True, "with_predeblur": True}).spec.scale == 1
