"""Workers for clusters as tests make them: found on every node by their names. NODE says on which node they are."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from vsr.jobs.actor import Doer, worker_on
from vsr.jobs.tasks import RenderTask
from vsr.jobs.worker import Worker


class Mortal(Worker):
    """Dies, once, in the second part of a film."""

    def _render(self, task: RenderTask, emit: Any) -> Any:
        marker = Path(task.config.output or "").parent / "killed"
        if 3 in task.segments and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._render(task, emit)


class Poisoned(Worker):
    """Dies whenever it is given a certain segment."""

    def _render(self, task: RenderTask, emit: Any) -> Any:
        if 1 in task.segments and "long" in task.config.source:
            os.abort()
        return super()._render(task, emit)


class Waiting(Worker):
    """Goes on when the others have been sent away."""

    def _render(self, task: RenderTask, emit: Any) -> Any:
        until = time.monotonic() + 60
        while not Path(os.environ["VSR_TEST_GO"]).exists() and time.monotonic() < until:
            time.sleep(0.1)
        return super()._render(task, emit)


def _signed(worker: Doer) -> Doer:
    (Path(os.environ["VSR_TEST_PIDS"]) / str(os.getpid())).touch()
    return worker


def plain(device: str, share: int) -> Doer:
    return _signed(worker_on(device, share))


def mortal(device: str, share: int) -> Doer:
    return _signed(Mortal(device, share))


def poisoned(device: str, share: int) -> Doer:
    if os.environ.get("NODE") == "dead":
        os._exit(7)
    return _signed(Poisoned(device, share))


def waiting(device: str, share: int) -> Doer:
    return _signed(Waiting(device, share))


def on_a_cpu(device: str, share: int) -> Doer:
    """For nodes that only say that they have GPUs."""
    assert device == "cuda:0"
    return _signed(Worker("cpu", share))
