"""What training says of itself: a line of JSON for each report, in a file that only grows, and the same as CSV at the end."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.errors import ConfigError, WeightsError
from vsr.journal import write_whole

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NAME = "log.jsonl"


class Log:
    """`log.jsonl` in a folder. A resumed run forgets what was written after the step that it goes on from."""

    def __init__(self, folder: Path, step: int, *, tensorboard: bool = False) -> None:
        self._path = folder / NAME
        self._board = _board(folder, step) if tensorboard else None
        kept = [line for line in read_log(folder) if int(line["step"]) <= step]
        write_whole(self._path, "".join(f"{json.dumps(line)}\n" for line in kept).encode())

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one line: "loss", "validation". Raises WeightsError for a full disk."""
        line = {"kind": kind, "step": step, **{key: _finite(value) for key, value in values.items()}}
        with _told(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")
        if self._board is not None:
            for key, value in values.items():
                if not isinstance(value, str):
                    self._board.add_scalar(f"{kind}/{key}", value, step)
            self._board.flush()

    def tabulate(self) -> None:
        """The losses as `log.csv`. Raises WeightsError for a full disk."""
        lines = [line for line in read_log(self._path.parent) if line["kind"] == "loss"]
        if not lines:
            return
        path = self._path.with_suffix(".csv")
        with _told(path), path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, [key for key in lines[0] if key != "kind"], extrasaction="ignore")
            table.writeheader()
            table.writerows(lines)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise WeightsError(f"{path}: cannot be written ({exc.strerror}); make room, then --resume") from exc


def _board(folder: Path, step: int) -> SummaryWriter:
    """TensorBoard's files, from this step on. Raises ConfigError where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as exc:
        raise ConfigError("train.tensorboard: TensorBoard is not installed; run: pip install 'vsr[tensorboard]'") from exc
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of a folder's log; a line that a crash cut off is left out."""
    return list(_lines(folder / NAME))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and "step" in found and "kind" in found:
            yield found


def best(folder: Path, metric: str, on: str) -> Mapping[str, Any] | None:
    """The validation on one test set with the highest value of a metric; None without one."""
    lines = [line for line in read_log(folder) if line["kind"] == "validation" and line.get("on") == on]
    found = [line for line in lines if line.get(metric) is not None]
    return max(found, key=lambda line: float(line[metric]), default=None)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
