"""Scenes that are held back are whole, drawn by the seed, and never trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.pictures import moving, write
from vsr.errors import ConfigError
from vsr.train.footage import Item
from vsr.train.holdout import hold_back


def clip(folder: Path, *shots: int) -> Item:
    """A folder of frames with shots of these lengths."""
    number = 0
    for seed, length in enumerate(shots):
        for frame in moving(length, 40, 40, seed=100 + seed):
            write(folder / f"{number:03}.png", frame)
            number += 1
    return Item(str(folder))


def frames_of(items: tuple[Item, ...]) -> set[tuple[str, int]]:
    return {(item.path, n) for item in items for n in range(item.first, item.stop or 0)}


def test_whole_shots_are_held_back(tmp_path: Path) -> None:
    items = [clip(tmp_path / "a", 6, 4, 5), clip(tmp_path / "b", 5)]
    picks = set()
    for seed in range(8):
        kept = hold_back(items, 0.3, seed)
        assert kept == hold_back(items, 0.3, seed)
        train, held = frames_of(kept.train), frames_of(kept.held)
        assert not train & held
        assert len(train | held) == 20
        assert 0 < len(held) <= 6
        assert {(i.first, i.stop) for i in (*kept.train, *kept.held)} == {(0, 6), (6, 10), (10, 15), (0, 5)}
        assert kept.whole_scenes
        picks.add(kept.held)
    assert len(picks) > 1, "the seed decides"


def test_shots_too_short_to_judge_by_are_trained_on(tmp_path: Path) -> None:
    kept = hold_back([clip(tmp_path, 3, 6, 2, 7)], 0.5, 0, least=5)
    assert all((item.stop or 0) - item.first >= 5 for item in kept.held)
    with pytest.raises(ConfigError, match="not one of 4 scenes has 9 frames"):
        hold_back([Item(str(tmp_path))], 0.5, 0, least=9)


def test_a_film_of_one_shot_gives_its_end(tmp_path: Path) -> None:
    kept = hold_back([clip(tmp_path, 10)], 0.2, 0)
    assert kept.train == (Item(str(tmp_path), 0, 8),)
    assert kept.held == (Item(str(tmp_path), 8, 10),)
    assert not kept.whole_scenes
    with pytest.raises(ConfigError, match="has one scene of 10 frames: too few to hold 12 of them back"):
        hold_back([Item(str(tmp_path))], 0.2, 0, least=12)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_shares_that_are_none(tmp_path: Path, share: float) -> None:
    with pytest.raises(ConfigError, match="cannot be held back"):
        hold_back([], share, 0)


def test_what_cannot_be_read_is_left_to_training(tmp_path: Path) -> None:
    good = clip(tmp_path / "good", 4, 4)
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    bad = Item(str(tmp_path / "bad.mp4"))
    kept = hold_back([bad, good], 0.5, 0)
    assert bad in kept.train and len(kept.held) == 1
