"""The connection to a Ray cluster, and what Ray's errors mean."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from vsr.errors import ConfigError, JobError

NODE_GONE = "its node is gone"
PATIENCE = 5.0  # seconds for a connection
STORE_BYTES = 80 << 20  # of a cluster of our own, the least that Ray takes: no frame is ever put there


def connect() -> tuple[Any, bool]:
    """The module `ray`, connected to the cluster of RAY_ADDRESS, else to one that runs here, else to a new one on this machine
    alone; and whether the connection is ours to close.

    Raises ConfigError where Ray is not installed or the address is none of a cluster, JobError where it cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # both are read when it is imported
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")  # of 40 s each, and it means to try 20 times
    try:
        import ray
    except ImportError as exc:
        raise ConfigError(f"--engine ray needs Ray ({exc}): pip install 'vsr[ray]'") from exc
    if ray.is_initialized():
        return ray, False
    address = os.environ.get("RAY_ADDRESS", "")
    if "://" in address:
        raise ConfigError(f"RAY_ADDRESS={address}: must be HOST:PORT of a cluster that this machine is a node of")
    try:
        _apart(_connect, ray, address)
    except KeyboardInterrupt:  # a cluster that is half begun would crash us, and stay
        disconnect(ray)
        raise
    return ray, True


def disconnect(ray: Any) -> None:
    """Ends what `connect` has begun."""
    _apart(ray.shutdown)


def _apart(work: Callable[..., None], *words: Any) -> None:
    """Waits for work on a thread of its own: in the main one Ray takes SIGTERM for itself, and hears Ctrl-C late. What it takes
    beneath Python is taken back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with ThreadPoolExecutor(1) as threads:  # which is waited for in any case
            threads.submit(work, *words).result()
    finally:
        with suppress(ValueError):  # not the main thread, which signals come to
            signal.signal(signal.SIGTERM, before)


def _connect(ray: Any, address: str) -> None:
    quiet = {"log_to_driver": False, "logging_level": "error"}
    alone = {"address": "local", "include_dashboard": False, "object_store_memory": STORE_BYTES}
    if address == "local":
        ray.init(**alone, **quiet)
        return
    if address and address != "auto":
        try:
            reach(address, PATIENCE)
        except (OSError, ValueError) as exc:
            raise JobError(f"RAY_ADDRESS={address}: nobody answers there ({exc}); is the head of the cluster running?") from exc
    try:
        ray.init(address=address or "auto", **quiet)
    except ConnectionError as exc:
        if address or _answers(str(exc)):  # one that does not take us must not become one of this machine alone
            raise JobError(
                f"{first_line(exc)}; is it running, and is the token of RAY_AUTH_TOKEN_PATH the same here and there?"
            ) from exc
        ray.init(**alone, **quiet)
    except (ray.exceptions.RayError, RuntimeError, ValueError) as exc:
        raise JobError(f"the Ray cluster{f' of {address}' if address else ''} does not take us: {first_line(exc)}") from exc


def _answers(text: str) -> bool:
    """Is anybody there, where Ray could not connect to? It goes on looking for a cluster of this machine that is long gone."""
    place = re.search(r" at (\S+):(\d+)", text)
    if place is None:
        return False
    try:
        reach(f"{place[1]}:{place[2]}", PATIENCE)
    except (OSError, ValueError):
        return False
    return True


def reach(address: str, seconds: float) -> None:
    """Opens a connection to HOST:PORT, and closes it. Raises OSError, ValueError."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=seconds).close()


def death_of(error: Exception) -> str:
    """Why an actor is gone, in a line."""
    text = str(error)
    if getattr(error, "actor_init_failed", False) or "error raised in its creation task" in text:
        return f"it could not begin: {text.strip().splitlines()[-1]}"
    detail = text.partition("Worker exit detail: ")[2].partition("Some common causes")[0].partition("\n")[0].strip()
    if detail:
        return f"its process is gone ({detail.rstrip('.')})"
    if "node" in text and ("died" in text or "dead" in text):
        return NODE_GONE
    return f"it cannot be reached ({first_line(error)})"


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
