"""Workers for clusters as tests make them: found on every node by their names. NODE says on which node they are.

Torch is loaded when a worker is made, not before: that takes seconds, and some are never made.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from vsr.jobs.actor import Doer
from vsr.jobs.tasks import RenderTask, Task


def mortal(device: str, share: int) -> Doer:
    """Dies, once, in the second part of a film."""
    from vsr.jobs.worker import Worker

    class Mortal(Worker):
        def _render(self, task: RenderTask, emit: Any) -> Any:
            marker = Path(task.config.output or "").parent / "killed"
            if 3 in task.segments and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._render(task, emit)

    return _signed(Mortal(device, share))


class _Still:
    def do(self, task: Task, emit: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


def still(device: str, share: int) -> Doer:
    """Stands still when it is given something to do."""
    return _signed(_Still())


def poisoned(device: str, share: int) -> Doer:
    """Dies whenever it is given a certain segment; never begins on one of the nodes, which only say that they have GPUs."""
    assert device == "cuda:0"
    if os.environ["NODE"] == "dead":
        os._exit(7)
    from vsr.jobs.worker import Worker

    class Poisoned(Worker):
        def _render(self, task: RenderTask, emit: Any) -> Any:
            if 1 in task.segments and "long" in task.config.source:
                os.abort()
            return super()._render(task, emit)

    return _signed(Poisoned("cpu", share))


def waiting(device: str, share: int) -> Doer:
    """On the good node, goes on when the others have been sent away."""
    from vsr.jobs.worker import Worker

    class Waiting(Worker):
        def _render(self, task: RenderTask, emit: Any) -> Any:
            until = time.monotonic() + 100
            while os.environ["NODE"] == "good" and not Path(os.environ["VSR_TEST_GO"]).exists():
                assert time.monotonic() < until
                time.sleep(0.1)
            return super()._render(task, emit)

    return _signed(Waiting(device, share))


def _signed(worker: Doer) -> Doer:
    """Writes down that it lives, and in which process."""
    (Path(os.environ["VSR_TEST_PIDS"]) / str(os.getpid())).touch()
    return worker
