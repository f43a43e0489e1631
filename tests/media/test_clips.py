"""Frames by number: always those that reading from the beginning gives, whatever the file, the reader and the memory."""

from __future__ import annotations

import sys
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.films import Film, make, vfr
from vsr.errors import DecodeError
from vsr.frames import FrameFormat, Plane
from vsr.media.clips import Clip, open_clip
from vsr.media.decode import Reader
from vsr.media.film import Film as FilmFrames
from vsr.media.framecache import FrameCache
from vsr.media.imagemeta import StillImage, batch_of
from vsr.media.images import write_image
from vsr.media.index import build_index
from vsr.media.probe import probe
from vsr.media.rgb import Box, rgb_of

LONG = tuple(range(0, 60 * 512, 512))
X264 = {"preset": "ultrafast", "crf": "10", "g": "8", "bf": "2"}
FILMS = [
    Film("b frames", pts=LONG, options=X264 | {"preset": "veryfast"}),
    Film("open groups", pts=LONG, options={"preset": "veryfast", "x264-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3"}),
    Film("intra refresh", ".ts", pts=LONG, options={"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=10:bframes=0"}),
    Film("variable rate", ".mkv", pts=vfr(60, (40, 20, 100)), time_base=Fraction(1, 1000), options=X264),
    Film("transport", ".ts", pts=tuple(p + 90000 for p in LONG), options=X264),
    Film("no display times", ".avi", "mpeg4", pts=tuple(range(30)), time_base=Fraction(1, 25), options={"bf": "2", "g": "6"}),
    Film("ten bits", ".mkv", pix_fmt="yuv422p10le", pts=LONG[:20], options=X264),
    Film("rotated", pts=LONG[:20], options=X264, rotation=90),
    Film("one group", pts=LONG[:20], options=X264 | {"g": "250"}),
]


def all_frames(path: Path) -> Tensor:
    """Every frame as RGB, read once from the beginning."""
    info = probe(str(path))
    with Reader(str(path), info) as reader:
        return torch.stack([rgb_of([plane[0] for plane in batch.planes], batch.format) for batch in reader])


@pytest.mark.parametrize("film", FILMS, ids=str)
def test_frames_are_those_of_the_reader(film: Film, tmp_path: Path) -> None:
    path = make(film, tmp_path)
    truth = all_frames(path)
    order = np.random.default_rng(1).permutation(len(truth))
    for limit in (1 << 30, 3 * 64 * 48, 0):  # everything stays, two frames do, none does
        clip = open_clip(path, cache=FrameCache(limit))
        assert len(clip) == len(truth)
        for first in order[:12].tolist():
            wanted = [first, max(0, first - 3), min(len(truth) - 1, first + 25), first]
            assert torch.equal(clip.frames(wanted), truth[wanted]), f"{film}: {wanted}"


def test_a_part_of_a_group_is_enough(tmp_path: Path) -> None:
    """Entered at the key frame before; a seek in between where the way is longer than a group."""
    film = Film("regular", pts=LONG, options={"preset": "ultrafast", "x264-params": "keyint=8:scenecut=0"})
    source = FilmFrames(str(make(film, tmp_path)))
    assert [source.entry(n) for n in (0, 1, 8, 9, 16, 17, 59)] == [0, 0, 0, 9, 9, 17, 57]
    assert [n for n, _ in source.read(19, 20)] == [17, 18, 19, 20]


def test_what_was_decoded_on_the_way_is_not_decoded_again(tmp_path: Path) -> None:
    path = make(FILMS[-1], tmp_path)
    clip = open_clip(path)
    before = clip.frames([19])
    path.unlink()
    assert torch.equal(clip.frames([19]), before)
    clip.frames(range(20))
    with pytest.raises(DecodeError):
        open_clip(path)


@pytest.mark.parametrize("pix_fmt", ["yuvj420p", "yuv420p", "yuv422p", "yuv411p", "yuv444p", "yuv420p10le", "gray", "gbrp10le"])
def test_a_box_has_the_pixels_of_the_whole(pix_fmt: str, tmp_path: Path) -> None:
    codec = "mjpeg" if pix_fmt.startswith("yuvj") else "ffv1"  # its chroma lies in the middle, the others' on the left
    film = Film(pix_fmt, ".mkv", codec, pix_fmt, size=(35, 27), pts=LONG[:2], options={}, color=None)
    clip = open_clip(make(film, tmp_path))
    whole = clip.frames([1])
    for top, left, height, width in product((0, 1, 5, 20), (0, 3, 4, 28), (1, 7), (1, 6, 7)):
        part = clip.frames([1], Box(top, left, height, width))
        assert torch.equal(part, whole[..., top : top + height, left : left + width])


def test_numbers_that_are_not_there(tmp_path: Path) -> None:
    clip = open_clip(make(FILMS[-1], tmp_path))
    for number in (-1, 20):
        with pytest.raises(IndexError, match=r"one_group.mp4: frame -?\d+ of 20"):
            clip.frames([number])


@pytest.mark.parametrize("film", [FILMS[0], FILMS[3], FILMS[8]], ids=str)
def test_decord_is_taken_where_it_agrees(film: Film, tmp_path: Path) -> None:
    pytest.importorskip("decord")
    path = make(film, tmp_path)
    clip, truth = open_clip(path, reader="decord", cache=FrameCache(0)), all_frames(path)
    assert type(clip.source).__name__ == "DecordFrames"
    for first in np.random.default_rng(2).integers(0, len(truth) - 5, 8).tolist():
        apart = [(clip.frames([first]).float() - other).abs().mean().item() for other in truth[max(0, first - 2) : first + 3]]
        assert int(np.argmin(apart)) == min(2, first)
    clip.close()
    assert clip.frames([0]).shape == (1, 3, 48, 64)


def test_decord_is_not_taken_where_it_does_not(tmp_path: Path) -> None:
    """Turned by itself; and frames that an edit list hides, of which it has all."""
    pytest.importorskip("decord")
    turned = make(FILMS[7], tmp_path)
    hidden = make(Film("edited", pts=tuple(p - 10 * 512 for p in LONG), options=X264), tmp_path)
    for path in (turned, hidden):
        clip = open_clip(path, reader="decord")
        assert isinstance(clip.source, FilmFrames)
        truth = all_frames(path)
        assert torch.equal(clip.frames(range(len(truth))), truth)


def test_without_decord_pyav_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    assert isinstance(open_clip(make(FILMS[-1], tmp_path), reader="decord").source, FilmFrames)


def scenes(number: int, format: FrameFormat) -> list[Plane]:
    """Three shots, of 6, 1 and 8 frames: stripes of their own that move."""
    shot = 0 if number < 6 else 1 if number < 7 else 2
    planes = []
    for rows, columns in format.plane_shapes:
        y, x = np.mgrid[0:rows, 0:columns] * (64 / columns)
        wave = (np.sin((x + number) / 5), np.sin(y / 4), np.sin((x + y) / 9) * np.cos(y / 3))[shot]
        planes.append((128 + 90 * wave).astype(np.uint8))
    return planes


@pytest.fixture
def cutting(tmp_path: Path) -> Clip:
    return open_clip(make(Film("cutting", pts=LONG[:15], options=X264, draw=scenes), tmp_path))


def test_shots(cutting: Clip) -> None:
    assert cutting.shots() == (range(6), range(6, 7), range(7, 15))


def test_cuts_in_a_window(cutting: Clip) -> None:
    for first in range(13):
        window = range(first, first + 3)
        assert cutting.cut_within(window) == bool({6, 7} & set(window[1:])), window
    assert not cutting.cut_within(range(6, 7)), "one frame has no cut in it"


def picture(value: int, width: int = 12) -> StillImage:
    pixels = np.arange(8 * width * 3, dtype=np.uint8).reshape(8, width, 3) // 2 + value
    return StillImage(batch_of(pixels.astype(np.uint8), alpha=False), "PNG")


def test_folders_patterns_and_single_pictures_are_clips(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        write_image(tmp_path / f"f{number}.png", picture(number))
    folder, one = open_clip(tmp_path), open_clip(tmp_path / "f2.png")
    pattern = open_clip(str(tmp_path / "f1%d.png"))
    assert [len(folder), len(pattern), len(one)] == [3, 1, 1]
    assert torch.equal(pattern.frames([0]), folder.frames([2]))
    assert folder.frames([0, 1, 2])[:, 0, 0, 0].tolist() == [1, 2, 10]
    assert torch.equal(folder.frames([1]), one.frames([0]))
    assert (one.height, one.width) == (8, 12)


def test_gray_sixteen_bits_and_alpha_become_rgb(tmp_path: Path) -> None:
    gray = np.full((8, 8, 1), 0x8055, np.uint16)
    clear = np.dstack([np.full((8, 8, 3), 77, np.uint8), np.zeros((8, 8, 1), np.uint8)])
    for name, samples, alpha, level in (("gray", gray, False, 128), ("clear", clear, True, 77)):
        write_image(tmp_path / f"{name}.png", StillImage(batch_of(samples, alpha), "PNG"))
        assert (open_clip(tmp_path / f"{name}.png").frames([0]) == level).all()


def test_pictures_of_two_sizes_are_no_clip(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture(0))
    write_image(tmp_path / "b.png", picture(0, 16))
    with pytest.raises(DecodeError, match=r"b.png: is 16x8 where the clip began with 12x8"):
        open_clip(tmp_path).frames([0, 1])


@pytest.mark.parametrize(
    ("film", "why"),
    [
        (Film("hdr", ".mkv", pix_fmt="yuv420p10le", pts=LONG[:3], color=(1, 9, 16, 9)), "is HDR"),
        (Film("fields", pts=LONG[:3], options=X264 | {"x264-params": "tff=1"}), "interlaced"),
    ],
    ids=str,
)
def test_what_training_does_not_take(film: Film, why: str, tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=why):
        open_clip(make(film, tmp_path))


def test_memory_is_bounded() -> None:
    from vsr.frames import PixelLayout
    from vsr.media.framecache import Decoded

    format = FrameFormat(10, 10, PixelLayout("gray"))
    frame = Decoded((np.zeros((10, 10), np.uint8),), format)
    films, stills = FrameCache(300), FrameCache(300, evict=False)
    for cache in (films, stills):
        for number in range(3):
            cache.put("a", number, frame)
        cache.get("a", 0)
        cache.put("a", 3, frame)
        cache.put("big", 0, Decoded((np.zeros((20, 20), np.uint8),), format))
    assert [films.get("a", n) is not None for n in range(4)] == [True, False, True, True], "the longest unused makes room"
    assert [stills.get("a", n) is not None for n in range(4)] == [True, True, True, False], "what came first stays"
    assert films.get("big", 0) is stills.get("big", 0) is None


def test_the_index_is_the_judge(tmp_path: Path) -> None:
    """A film that is shorter than when it was indexed is refused, not silently read at other places."""
    path = make(FILMS[0], tmp_path)
    clip = open_clip(path)
    assert len(clip) == len(build_index(str(path), probe(str(path))))
    make(Film(FILMS[0].name, pts=LONG[:30], options=X264), tmp_path)
    with pytest.raises(DecodeError, match=r"frame \d+ of 60 is not where the index has it"):
        clip.frames([50])
