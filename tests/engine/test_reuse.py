"""Repeats are computed once, and come out where they belong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.films import Film, make, vfr
from vsr import EncodeConfig, UpscaleConfig, upscale
from vsr.engine.reuse import EXACT, MOST, Reuse, parse_reuse, singles
from vsr.errors import UsageError
from vsr.frames import FrameBatch, FrameFormat, PixelLayout

GRAY = FrameFormat(4, 3, PixelLayout("gray"))


def film(levels: list[int], sizes: list[int], borders: set[int]) -> Iterator[FrameBatch]:
    """Frames of one level each, in batches of these sizes; a batch never spans a segment."""
    at = segment = 0
    turns = iter(sizes * (len(levels) + 1))
    while at < len(levels):
        segment += at in borders
        room = next((b - at for b in sorted(borders) if b > at), len(levels) - at)
        count = min(next(turns), room, len(levels) - at)
        planes = np.stack([np.full((3, 4), level, np.uint8) for level in levels[at : at + count]])
        yield FrameBatch(GRAY, (planes,), tuple(range(at, at + count)), index=at, segment=segment)
        at += count


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.sets(st.integers(1, 59)),
    st.integers(1, 4),
)
def test_it_equals_computing_every_frame(levels: list[int], sizes: list[int], borders: set[int], batch: int) -> None:
    computed: list[int] = []

    def network(batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
        ahead: list[FrameBatch] = []  # as the lanes do: some batches are in flight
        for one in batches:
            assert len(one) <= batch
            computed.extend(one.pts)
            ahead.append(one)
            if len(ahead) == 3:
                first = ahead.pop(0)
                yield replace(first, planes=(255 - first.planes[0],))
        yield from (replace(one, planes=(255 - one.planes[0],)) for one in ahead)

    reuse = Reuse(EXACT, batch)
    found = [*reuse.through(film(levels, sizes, borders), network)]
    plain = [one for large in film(levels, sizes, borders) for one in singles(large)]
    assert [one.pts for one in found] == [one.pts for one in plain]
    assert [one.segment for one in found] == [one.segment for one in plain]
    assert [int(one.planes[0][0, 0, 0]) for one in found] == [255 - level for level in levels]
    assert reuse.frames == len(levels) - len(computed)
    new = [n for n, one in enumerate(plain) if n == 0 or levels[n] != levels[n - 1] or one.segment != plain[n - 1].segment]
    assert computed == new


def test_a_film_that_stands_still_is_computed_now_and_then() -> None:
    reuse = Reuse(EXACT, 1)
    assert len([*reuse.through(film([7] * 600, [1], set()), iter)]) == 600
    assert reuse.frames == 600 - 600 // MOST - 1


def test_near_frames_count_as_the_same_only_when_asked_for() -> None:
    levels = [100, 101, 102, 110]
    near = Reuse(45.0, 1)
    found = [int(one.planes[0][0, 0, 0]) for one in near.through(film(levels, [1], set()), iter)]
    assert found == [100, 100, 102, 110], "always against the frame that was computed: differences do not add up"
    assert near.frames == 1


@pytest.mark.parametrize("wish", ["", "yes", "near", "near:", "near:abc", "near:5", "near:nan", "exact:3"])
def test_other_wishes_are_refused(wish: str) -> None:
    with pytest.raises(UsageError, match="--reuse"):
        parse_reuse(wish)


def test_a_film_with_repeats_is_the_same_film(tmp_path: Path) -> None:
    source = make(Film("twos", ".mkv", "ffv1", options={}, time_base=Fraction(1, 1000), pts=vfr(8, [40])), tmp_path)
    outputs = []
    for reuse in ("exact", "off"):
        config = UpscaleConfig(
            str(source), str(tmp_path / f"{reuse}.mkv"), scale=2, model="bicubic", reuse=reuse, encode=EncodeConfig(codec="ffv1")
        )
        outputs.append(upscale(config))
    assert [report.frames_out for report in outputs] == [8, 8]
    assert outputs[1].frames_reused == 0
