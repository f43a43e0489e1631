"""A batch is a pure function of seed, step and rank; LR and HR belong together; nothing spans a cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.films import Film, make
from tests.train.pictures import moving, texture, write, write_folder
from vsr.errors import ConfigError, DecodeError
from vsr.frames import FrameFormat
from vsr.media.clips import open_clip
from vsr.media.framecache import FrameCache
from vsr.media.sheet import draw_sheet
from vsr.resample import imresize
from vsr.train.data import Batch, Crops, loaded, sheet_rows, turned
from vsr.train.degrade import Bicubic, parse_degradation
from vsr.train.footage import Footage, Item, check_pairs, find_items


def crops(*roots: Path, frames: int = 1, lr: Path | None = None, text: str = "bicubic", **more: Any) -> Crops:
    settings: dict[str, Any] = {"patch": 8, "batch_size": 4, "scales": (2,), "footage": Footage()}
    degrade = None if lr else parse_degradation(text)
    return Crops(find_items(roots, frames, lr), degrade=degrade, frames=frames, **(settings | more))


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.lr, b.lr) and torch.equal(a.hr, b.hr) and (a.names, a.scale) == (b.names, b.scale)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"), 5)


def scenes(number: int, format: FrameFormat) -> list[np.ndarray[Any, Any]]:
    """Shots of 4, 6, 2 and 12 frames, each of a texture that pans and grows brighter."""
    shot = next(i for i, end in enumerate((4, 10, 12, 24)) if number < end)
    picture = texture(50 + shot, format.height, format.width + 30)[0, :, number : number + format.width].numpy()
    return [(0.7 * picture + 2 * number).astype(np.uint8)] + [np.full(shape, 128, np.uint8) for shape in format.plane_shapes[1:]]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"preset": "ultrafast", "crf": "8", "g": "8"}
    pts = tuple(range(0, 24 * 512, 512))
    return make(Film("scenes", size=(96, 80), pts=pts, options=options, draw=scenes), tmp_path_factory.mktemp("film"))


@settings(max_examples=10)
@given(seed=st.integers(0, 2**60), step=st.integers(0, 10**9), order=st.permutations(range(3)))
@pytest.mark.parametrize("text", ["bicubic", "second-order", "codecs"])
def test_batches_do_not_depend_on_what_was_made_before(folder: Path, text: str, seed: int, step: int, order: list[int]) -> None:
    data = crops(folder, text=text, batch_size=2)
    known = {n: data.batch(seed, step + n) for n in order}
    other = crops(folder, text=text, batch_size=2, footage=Footage(stills=FrameCache(0, evict=False)))
    assert all(same(known[n], other.batch(seed, step + n)) for n in range(3))
    assert same(known[0], data.fork().batch(seed, step))


@settings(max_examples=10)
@given(seed=st.integers(0, 2**60), step=st.integers(0, 10**6), ranks=st.sampled_from([2, 3, 4]))
def test_ranks_share_the_batch_of_one(folder: Path, film: Path, seed: int, step: int, ranks: int) -> None:
    for frames, root in ((1, folder), (3, film)):
        one = crops(root, frames=frames, batch_size=2 * ranks).batch(seed, step)
        several = crops(root, frames=frames, batch_size=2, ranks=ranks)
        parts = [several.batch(seed, step, rank) for rank in range(ranks)]
        assert torch.equal(torch.cat([part.lr for part in parts]), one.lr)
        assert torch.equal(torch.cat([part.hr for part in parts]), one.hr)
        assert sum((part.names for part in parts), ()) == one.names


def test_seeds_steps_and_samples_differ(folder: Path) -> None:
    data = crops(folder)
    pictures = [data.batch(seed, step).hr for seed in range(3) for step in range(3)]
    assert len({p.numpy().tobytes() for batch in pictures for p in batch}) == 9 * 4


def test_an_epoch_has_each_file_once_in_an_order_of_its_own(folder: Path) -> None:
    data = crops(folder, batch_size=5)
    epochs = [data.batch(1, step).names for step in range(6)]
    assert all(sorted(names) == sorted(str(p) for p in folder.iterdir()) for names in epochs)
    assert len(set(epochs)) > 1


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_lr_is_the_crop_of_the_whole_pictures_lr(folder: Path, scale: int) -> None:
    """MATLAB's imresize of the whole picture, cut to a multiple of the scale, to the last bit, edges included."""
    data = crops(folder, scales=(scale,), flips=False, batch_size=40)
    batch = data.batch(3, 0)
    for lr, hr, name in zip(batch.lr, batch.hr, batch.names, strict=True):
        whole = open_clip(name).frames([0]).float()
        height, width = (size // scale * scale for size in whole.shape[-2:])
        small = whole if scale == 1 else imresize(whole[..., :height, :width], 1, scale, rounded=True)
        [(top, left)] = places(whole[0] / 255, hr)
        assert (top % scale, left % scale) == (0, 0)
        assert torch.equal(small[0, :, top // scale :, left // scale :][:, :8, :8] / 255, lr)


def places(whole: Tensor, part: Tensor) -> list[tuple[int, int]]:
    """Where `part` lies in `whole`."""
    height, width = part.shape[-2:]
    corners = (whole[:, : whole.shape[-2] - height + 1, : whole.shape[-1] - width + 1] == part[:, :1, :1]).all(0).nonzero()
    return [(y, x) for y, x in corners.tolist() if torch.equal(whole[:, y : y + height, x : x + width], part)]


def test_crops_reach_every_corner(folder: Path) -> None:
    data = crops(folder / "0.png", scales=(2,), patch=28, flips=False, batch_size=64)  # 60x75: rows 0 to 2, columns 0 to 9
    whole = open_clip(folder / "0.png").frames([0])[0] / 255
    found = {places(whole, hr)[0] for hr in data.batch(0, 0).hr}
    assert {y for y, _ in found} == {0, 2, 4}
    assert {x for _, x in found} == set(range(0, 20, 2))


def test_flips_are_the_eight_of_a_square_and_lr_turns_along(folder: Path) -> None:
    plain, flipped = (crops(folder, flips=flips, batch_size=64).batch(5, 0) for flips in (False, True))
    turns = set()
    for a, b, low, turned_low in zip(plain.hr, flipped.hr, plain.lr, flipped.lr, strict=True):
        [turn] = [turn for turn in range(8) if torch.equal(turned(a, turn), b)]
        assert torch.equal(turned(low, turn), turned_low)
        turns.add(turn)
    assert turns == set(range(8))
    square = torch.arange(9).view(3, 3)
    assert len({turned(square, turn).numpy().tobytes() for turn in range(8)}) == 8


def test_clips_lie_within_a_shot(film: Path) -> None:
    """lr is the clip, hr its middle frame; the film's 24 frames have three cuts."""
    whole = open_clip(film).frames(range(24)).float() / 255
    data = crops(film, frames=5, batch_size=30, flips=False, patch=20)
    batch = data.batch(2, 0)
    assert batch.lr.shape == (30, 5, 3, 20, 20)
    assert batch.hr.shape == (30, 3, 40, 40)
    middles = set()
    for lr, hr in zip(batch.lr, batch.hr, strict=True):
        [(number, (top, left))] = [(n, place) for n in range(24) for place in places(whole[n], hr)]
        middles.add(number)
        small = imresize(whole[number - 2 : number + 3] * 255, 1, 2, rounded=True) / 255
        assert torch.equal(lr, small[:, :, top // 2 : top // 2 + 20, left // 2 : left // 2 + 20])
    assert middles == {6, 7, *range(14, 22)}, "shots of 4 and 2 frames hold no clip of 5"


def test_clips_also_run_backwards(tmp_path: Path) -> None:
    for number, frame in enumerate(moving(9, 40, 40)):
        write(tmp_path / "clip" / f"{number}.png", frame)
    forward, either = (crops(tmp_path, frames=3, flips=flips, batch_size=32).batch(1, 0) for flips in (False, True))
    backwards = []
    for a, b in zip(forward.lr, either.lr, strict=True):
        [(_, reverse)] = [(t, r) for t in range(8) for r in (0, 1) if torch.equal(turned(a.flip(0) if r else a, t), b)]
        backwards.append(reverse)
    assert 5 < sum(backwards) < 27


def test_codecs_see_frames_before(film: Path) -> None:
    """One frame of a film comes out of the middle of a coded clip; the same frame as a picture is a key frame."""
    seen: list[int] = []

    class Spy:
        margin, lead = 0, 4

        def __call__(self, hr: Tensor, scale: int, rng: np.random.Generator, /) -> Tensor:
            seen.append(len(hr))
            return Bicubic()(hr, scale, rng)

    data = replace(crops(film, batch_size=12, flips=False), degrade=Spy())
    batch = data.batch(0, 0)
    assert batch.lr.shape == (12, 3, 8, 8)
    assert seen == [5] * 12
    again = imresize(batch.hr * 255, 1, 2, rounded=True) / 255
    assert (again - batch.lr)[..., 2:-2, 2:-2].abs().max() < 1e-6, "the frame that is asked for, not one before"


def test_one_scale_for_a_step_on_all_ranks(folder: Path) -> None:
    data = crops(folder, scales=(2, 3, 4), ranks=2, batch_size=1)
    drawn = [[data.batch(0, step, rank) for rank in (0, 1)] for step in range(12)]
    assert all(a.scale == b.scale for a, b in drawn)
    assert {a.scale for a, _ in drawn} == {2, 3, 4}
    assert all(a.lr.shape == (1, 3, 8, 8) and a.hr.shape == (1, 3, 8 * a.scale, 8 * a.scale) for a, _ in drawn)


def test_the_thread_gives_what_the_loop_gives(folder: Path, film: Path) -> None:
    data = crops(folder, film)
    plain = list(data.stream(4, start=3, stop=10))
    for threads in (1, 2, 3):
        with loaded(data, 4, start=3, stop=10, threads=threads) as batches:
            ahead = list(batches)
        assert len(ahead) == 7
        assert all(map(same, plain, ahead))
    with loaded(data, 4, start=3, threads=2) as endless:
        assert same(next(endless), plain[0])


def test_threads_share_the_index_of_a_film_and_the_memory_of_pictures(folder: Path, film: Path) -> None:
    data = crops(folder, film, batch_size=6)
    data.batch(0, 0)
    fork = data.fork()
    for item in data.items:
        here, there = (each.footage.pair(item, 2, 16, 1) for each in (data, fork))
        assert here and there and here[0].source is there[0].source and here[0] is not there[0]
    assert fork.footage.stills is data.footage.stills


def test_errors_of_the_thread_arrive(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DecodeError, match="none of 1 files can be used"), loaded(crops(tmp_path), 0) as batches:
        next(batches)


def test_pairs_of_ones_own(tmp_path: Path) -> None:
    for number in range(3):
        hr = texture(number, 40, 44)
        write(tmp_path / "hr" / f"{number}.png", hr)
        write(tmp_path / "lr" / f"{number}{'x2' if number else ''}.png", 255 - hr[:, ::2, ::2])
    data = crops(tmp_path / "hr", lr=tmp_path / "lr", batch_size=12)
    check_pairs(data.items, 2)
    batch = data.batch(0, 0)
    plain = replace(data, flips=False).batch(0, 0)
    assert torch.allclose(plain.lr, 1 - plain.hr[..., ::2, ::2])
    assert batch.names == plain.names and not torch.equal(batch.lr, plain.lr)


def test_clips_of_pairs(tmp_path: Path) -> None:
    for number, frame in enumerate(moving(6, 40, 40)):
        write(tmp_path / "hr" / "one" / f"{number}.png", frame)
        write(tmp_path / "lr" / "one" / f"{number}.png", 255 - frame)
    data = crops(tmp_path / "hr", lr=tmp_path / "lr", frames=3, scales=(1,), flips=False)
    batch = data.batch(0, 0)
    assert torch.allclose(batch.lr[:, 1], 1 - batch.hr)


def test_pairs_that_are_none(tmp_path: Path) -> None:
    write(tmp_path / "hr" / "a.png", texture(0, 40, 40))
    write(tmp_path / "lr" / "a.png", texture(0, 10, 10))
    data = crops(tmp_path / "hr", lr=tmp_path / "lr")
    message = r"lr/a.png: is 10x10, and its HR .*hr/a.png 40x40: that is not x2"
    with pytest.raises(ConfigError, match=message):
        data.batch(0, 0)
    with pytest.raises(ConfigError, match=message):
        check_pairs(data.items, 2)
    check_pairs(data.items, 4)
    write(tmp_path / "hr" / "b.png", texture(0, 40, 40))
    with pytest.raises(ConfigError, match=r"b.png: there is no LR for it; .*lr/b.png was looked for"):
        find_items([tmp_path / "hr"], lr=tmp_path / "lr")


def test_what_cannot_be_used_is_passed_over_and_named(tmp_path: Path) -> None:
    good = write_folder(tmp_path / "good", 3)
    write(good / "tiny.png", texture(0, 10, 40))
    (good / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (good / "film.mp4").write_bytes(b"no film")
    (good / "notes.txt").write_text("neither")
    data = crops(good, batch_size=6)
    batch = data.batch(0, 0)
    assert {Path(name).name for name in batch.names} == {"0.png", "1.png", "2.png"}
    told = {Path(item.path).name: why for item, why in data.skipped.items()}
    assert set(told) == {"tiny.png", "broken.jpg", "film.mp4"}
    assert told["tiny.png"].endswith("tiny.png: 40x10 is smaller than the crop of 16x16")
    late = crops(good, batch_size=6)
    late.batch(0, 7)
    assert same(late.batch(0, 0), batch), "what is known to be bad does not change what is drawn"


def test_a_damaged_place_in_a_film_costs_that_place_only(tmp_path: Path) -> None:
    """A film that is shorter than its index says: its end cannot be read, its beginning can, in any order."""
    pts = tuple(range(0, 24 * 512, 512))
    options = {"preset": "ultrafast", "crf": "8", "g": "4"}
    path = make(Film("cut", size=(96, 80), pts=pts, options=options), tmp_path)
    write_folder(tmp_path, 1)
    data, other = (crops(tmp_path, batch_size=2, footage=Footage(films_bytes=0)) for _ in range(2))
    for each in (data, other):
        each.footage.pair(Item(str(path)), 2, 16, 1)
    make(Film("cut", size=(96, 80), pts=pts[:12], options=options), tmp_path)
    names = [data.batch(0, step).names for step in range(12)]
    assert names[::-1] == [other.batch(0, step).names for step in reversed(range(12))]
    assert any(pair.count(str(tmp_path / "0.png")) == 2 for pair in names), "another file stands in"
    assert any(str(path) in pair for pair in names)
    assert any("is not where the index has it" in why for why in data.skipped.values())


def test_nothing_that_can_be_used(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.png", texture(0, 10, 10))
    with pytest.raises(
        DecodeError, match=r"none of 5 files can be used to train on: .*10x10 is smaller than the crop of 16x16.*; \.\.\."
    ):
        crops(tmp_path).batch(0, 0)


def test_films_with_nothing_but_cuts(tmp_path: Path) -> None:
    for number in range(8):
        write(tmp_path / "clip" / f"{number}.png", texture(number, 40, 40))
    with pytest.raises(DecodeError, match="no 3 frames without a cut in 20 places"):
        crops(tmp_path, frames=3).batch(0, 0)


def test_parts_of_a_film(film: Path) -> None:
    """Items may be some frames of a film: scenes that are held back, or those that are not."""
    parts = (Item(str(film), 4, 10), Item(str(film), 22, 24))
    data = replace(crops(film, frames=3, batch_size=20, flips=False, patch=20), items=parts)
    whole = open_clip(film).frames(range(24)).float() / 255
    middles = {n for hr in data.batch(0, 0).hr for n in range(24) if places(whole[n], hr)}
    assert middles == {5, 6, 7, 8}
    assert [str(item) for item in data.skipped] == [f"{film} [22:24]"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"items": ()}, "nothing to train on"),
        ({"frames": 4}, "clips of 4 frames have no middle one"),
        ({"patch": 0}, "crop 0, batch 4"),
        ({"degrade": None}, "say how it is made, as degrade = 'bicubic'"),
    ],
)
def test_settings_that_cannot_be(folder: Path, change: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        replace(crops(folder), **change)


def test_finding(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.jpg", "a.png", ".hidden/x.png", ".x.png", "b/c/film.MKV", "b/words.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def names(frames: int) -> list[str]:
        return [Path(item.path).relative_to(tmp_path).as_posix() for item in find_items([tmp_path], frames)]

    assert names(1) == ["a.png", "b/10.jpg", "b/2.png", "b/c/film.MKV"]
    assert names(3) == [".", "b", "b/c/film.MKV"], "folders of frames"
    assert find_items([tmp_path / "a.png"]) == (Item(str(tmp_path / "a.png")),)
    (tmp_path / "empty").mkdir()
    for root, why in (("empty", "holds no image and no film"), ("nowhere", "there is no such file or folder")):
        with pytest.raises(ConfigError, match=f"{root}: {why}"):
            find_items([tmp_path / root])


def test_a_contact_sheet_of_pairs(folder: Path, film: Path) -> None:
    for frames, root in ((1, folder), (3, film)):
        batch = crops(root, frames=frames, batch_size=3).batch(0, 0)
        rows = sheet_rows(batch)
        assert [[cell.rgb.shape for cell in row] for row in rows] == [[(8, 8, 3), (16, 16, 3)]] * 3
        assert (rows[1][1].rgb == (batch.hr[1] * 255).round().permute(1, 2, 0).numpy()).all()
        assert rows[0][0].label == f"LR {batch.names[0]}"
        assert draw_sheet(rows, title="pairs").ndim == 3
