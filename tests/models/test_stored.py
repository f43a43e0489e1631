"""vsr's own weight files: whole or absent, and never believed without their checksum."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vsr.errors import WeightsError
from vsr.models import stored

ORIGIN = stored.Origin("RRDBNet", {"num_block": 2}, 4, "a package: a.bin", "ab12")
STATE = {"b.weight": torch.arange(24.0).reshape(2, 3, 4).transpose(0, 1), "a.bias": torch.tensor(1.5), "empty": torch.zeros(0)}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "w.safetensors"
    written = stored.write(path, STATE, ORIGIN)
    read = stored.read(path)
    assert read is not None
    assert read.origin == ORIGIN
    assert read.sha256 == written.sha256 == stored.digest(STATE)
    assert all(torch.equal(read.state[name], tensor) for name, tensor in STATE.items())
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize(
    "other",
    [
        {**STATE, "a.bias": torch.tensor(1.25)},
        {**STATE, "a.bias": torch.tensor([1.5])},
        {**STATE, "a.bias": torch.tensor(1.5, dtype=torch.float64)},
        {"b.weight": STATE["b.weight"], "a.other": STATE["a.bias"], "empty": STATE["empty"]},
    ],
)
def test_digest_sees_values_shapes_types_and_names(other: dict[str, torch.Tensor]) -> None:
    assert stored.digest(other) != stored.digest(STATE)
    assert stored.digest(dict(reversed(STATE.items()))) == stored.digest(STATE)


def test_another_programs_file_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"x": torch.ones(2)}, path, {"format": "pt"})
    assert stored.read(path) is None
    save_file({"x": torch.ones(2)}, path)
    assert stored.read(path) is None


def test_every_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    stored.write(path, STATE, ORIGIN)
    good = path.read_bytes()
    flipped = good[:-40] + bytes([good[-40] ^ 1]) + good[-39:]
    for bad in (flipped, good[:-1], good[: len(good) // 2], good[:4], b"", b"not safetensors at all", good + b"more"):
        path.write_bytes(bad)
        with pytest.raises(WeightsError, match=r"w\.safetensors: ") as caught:
            stored.read(path)
        assert "\n" not in str(caught.value)


def test_metadata_that_lack_a_key(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"x": torch.ones(2)}, path, {"format": stored.FORMAT})
    with pytest.raises(WeightsError, match="not a whole"):
        stored.read(path)


def test_writers_at_once_leave_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    states = [{"x": torch.full((20_000,), float(i))} for i in range(6)]
    stored.write(path, states[0], ORIGIN)
    writers = [threading.Thread(target=lambda s=s: [stored.write(path, s, ORIGIN) for _ in range(5)]) for s in states]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert stored.read(path) is not None  # raises when it meets half a file
    assert [p.name for p in tmp_path.glob("**/*safetensors*")] == ["w.safetensors"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "w.safetensors"
    target.mkdir()
    with pytest.raises(OSError, match=r"w\.safetensors"):
        stored.write(target, STATE, ORIGIN)
    assert list(tmp_path.rglob("*safetensors*")) == [target]
