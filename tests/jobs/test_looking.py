"""Films are looked at apart: what is wrong with one, however bad, is told of it alone."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.films import Film, make
from vsr.errors import DecodeError, JobError
from vsr.jobs import looking
from vsr.jobs.local import Slot
from vsr.jobs.looking import Seen, look_at, looks, probe_apart
from vsr.media.probe import probe


def _fragile(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    """Looks as `looks` does; one film makes it crash, another makes it stand still."""
    see = looking.seen_of

    def seen(film: Path) -> Seen:
        if "crash" in film.name:
            os.write(2, b"decoder: out of its mind\n")
            os.abort()
        if "still" in film.name:
            os.kill(os.getpid(), signal.SIGSTOP)
        return see(film)

    looking.seen_of = seen
    looks(slot, connection, log, parent)


def _stillborn(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    raise SystemExit(7)


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    good = make(Film("good", pts=tuple(range(0, 4 * 512, 512))), tmp_path)
    (tmp_path / "broken.mp4").write_bytes(b"no film" * 100)
    for name in ("crash.mp4", "still.mp4"):
        (tmp_path / name).symlink_to(good)
    return [good, *(tmp_path / name for name in ("broken.mp4", "crash.mp4", "missing.mp4", "still.mp4")), good]


def test_each_is_what_probe_tells_of_it(films: list[Path]) -> None:
    good, broken, _, missing, _, again = look_at([*films[:4], films[0], films[-1]])
    assert good.info == again.info == probe(str(films[0])) and not good.fault
    for seen, path in ((broken, films[1]), (missing, films[3])):
        assert seen.info is None
        with pytest.raises(DecodeError) as caught:
            probe(str(path))
        assert seen.fault == str(caught.value)
        with pytest.raises(DecodeError, match="broken" if path == films[1] else "missing"):
            probe_apart(path)


@pytest.mark.parametrize("each", [1, 16])
def test_a_crash_and_a_silence_cost_themselves(films: list[Path], each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "looks", _fragile)
    monkeypatch.setattr(looking, "FILMS_EACH", each)
    seen = look_at(films, patience=5)
    assert [bool(one.info) for one in seen] == [True, False, False, False, False, True]
    assert "crash.mp4: cannot be read: its process was killed by signal 6 (SIGABRT)" in seen[2].fault
    assert "out of its mind" in seen[2].fault
    assert "still.mp4: cannot be read: no answer comes" in seen[4].fault


def test_nobody_can_begin(films: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "looks", _stillborn)
    with pytest.raises(JobError, match="films cannot be looked at: its process ended with code 7"):
        look_at(films)
    assert look_at([]) == []
