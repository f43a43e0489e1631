"""Checkpoints: all that training needs to go on as if it had never stopped, in one file that is there whole or not at all.

A folder holds `step-NNNNNNNN.pt`, the last few of them. What is saved names itself: networks, averages, optimisers, a GradScaler,
anything with `state_dict` and `load_state_dict`. There is no random state and no place in the data: both follow from the step.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vsr.errors import JobError, WeightsError
from vsr.journal import fsync
from vsr.models import community, files, stored
from vsr.models.spec import ModelSpec, Option
from vsr.models.stored import Origin, Stored

FORMAT = "vsr-training-1"
KEPT = 3
SHOWN = 3  # differences in one message


class Stateful(Protocol):
    """Networks, optimisers, scalers and `MovingAverage`."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


def save(folder: Path, step: int, recipe: str, parts: Mapping[str, Stateful], keep: int = KEPT) -> Path:
    """Write what `step` steps of a recipe (its text, TOML) have made, then forget all but the last `keep` files.

    Networks come out of their DistributedDataParallel shells; one process saves. Killed at any moment, what was there stays.
    Raises WeightsError when the disk is full or the folder cannot be written; the earlier files stay then, too.
    """
    path = folder / f"step-{step:08d}.pt"
    content = {"format": FORMAT, "step": step, "recipe": recipe, "parts": {name: p.state_dict() for name, p in parts.items()}}
    part = path.with_name(f"{path.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("step-*.pt.part"):  # of a run that was killed
            left.unlink()
        _write(part, content)
        part.replace(path)
        fsync(folder)
    except OSError as exc:
        with suppress(OSError):
            part.unlink()
        raise WeightsError(
            f"{path}: cannot be written ({exc.strerror}); make room, or choose another folder. Earlier checkpoints are kept"
        ) from exc
    there = checkpoints(folder)
    kept = [each for each in there if each <= path][-keep:]  # later ones are damaged, or training would have gone on from them
    for old in there:
        if old not in kept:
            old.unlink(missing_ok=True)
    return path


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as exc:  # torch's zip writer hides the disk's own error behind one of its own
            if isinstance(exc.__context__, OSError):
                raise exc.__context__ from exc
            raise
        file.flush()
        os.fsync(file.fileno())


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints in a folder, the oldest first; [] where there are none."""
    return sorted(path for path in folder.glob("step-*.pt") if path.stem.removeprefix("step-").isdigit())


def restore_last(
    folder: Path, recipe: str, parts: Mapping[str, Stateful], free: frozenset[str] = frozenset()
) -> tuple[int, tuple[str, ...]]:
    """`restore` from a folder's last checkpoint, or the last before it that no disk has damaged: steps, and what was wrong.

    Raises JobError where there is none, and what `restore` raises.
    """
    found = checkpoints(folder)
    if not found:
        raise JobError(f"{folder}: holds no checkpoint to go on from; leave --resume out")
    passed: list[str] = []
    for path in reversed(found[1:]):
        try:
            return restore(path, recipe, parts, free), tuple(passed)
        except WeightsError as exc:
            passed.append(f"gone on from the checkpoint before: {exc}")
    return restore(found[0], recipe, parts, free), tuple(passed)


def restore(path: Path, recipe: str, parts: Mapping[str, Stateful], free: frozenset[str] = frozenset()) -> int:
    """Load a checkpoint into `parts`, and give the number of steps that were made.

    `free`: dotted keys of the recipe that may have changed since, such as "train.steps". Raises JobError, with what differs, for
    another recipe's checkpoint and for other parts, before anything is loaded; WeightsError for a file that cannot be read.
    """
    files.check_file(path)
    content = community.read(path)
    if content.get("format") != FORMAT:
        raise WeightsError(f"{path}: is no checkpoint of a training of this version of vsr; to begin from weights, use --init")
    differing = list(_differences(content["recipe"], recipe, free))
    if differing:
        more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise JobError(
            f"{path}: is of another recipe ({'; '.join(differing[:SHOWN])}{more}); train into another folder, or put that back"
        )
    saved: Mapping[str, dict[str, Any]] = content["parts"]
    if saved.keys() != parts.keys():
        raise JobError(f"{path}: holds {', '.join(saved)}, and {', '.join(parts)} are trained here; train into another folder")
    for name, state in saved.items():
        try:
            parts[name].load_state_dict(state)
        except (RuntimeError, ValueError, KeyError) as exc:
            raise JobError(
                f"{path}: its {name} does not fit ({' '.join(str(exc).split())[:200]}); train into another folder"
            ) from exc
    return int(content["step"])


def _differences(began: str, now: str, free: frozenset[str]) -> Iterator[str]:
    """What differs between two recipes, key by key: comments and order count for nothing."""
    before, after = (dict(_flat(tomllib.loads(text), "")) for text in (began, now))
    for key in sorted((before.keys() | after.keys()) - free):
        if before.get(key) != after.get(key):
            yield f"{key} was {_short(before.get(key))} and is {_short(after.get(key))}"


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(value: object) -> str:
    text = "not there" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def export(
    path: Path,
    spec: ModelSpec,
    options: Mapping[str, Option],
    state: Mapping[str, Tensor],
    *,
    notes: Mapping[str, str],
    parents: tuple[str, ...] = (),
) -> Stored:
    """Write weights as `--model PATH` takes them: safetensors that say how to build their network, whole or not at all.

    `options`: what the network is built with; `notes`: what is told of the training (recipe, data, steps, metrics); `parents`:
    digests of the weights that it began from, and of theirs (`Stored.sha256`, `Origin.parents`), for `vsr models blend`.
    Raises WeightsError for NaN or infinity, and when the file cannot be written.
    """
    ready = _sound(path, state)
    origin = Origin(spec.architecture, options, spec.scale, "trained by vsr", parents=parents, notes=notes)
    with _told(path):
        return stored.write(path, ready, origin)


def export_plain(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write tensors alone, for a network that is recognised by their names. Raises WeightsError as `export` does."""
    with _told(path):
        stored.write_plain(path, _sound(path, state))


def _sound(path: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU. Raises WeightsError where one holds what is no number."""
    ready = {name: tensor.detach().cpu() for name, tensor in state.items()}
    for name, tensor in ready.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise WeightsError(
                f"{path}: {name} holds NaN or infinity; the training has diverged, go back to an earlier checkpoint"
            )
    return ready


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise WeightsError(f"{path}: cannot be written ({exc.strerror}); make room, or choose another place") from exc
