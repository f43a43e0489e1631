"""Small studies on the disk, and answers to them, for the tests of opinion scores."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np

from vsr.bench.opinions import Rating
from vsr.bench.rate import RatingServer
from vsr.bench.session import Session
from vsr.bench.study import open_study
from vsr.media.imagemeta import StillImage, batch_of
from vsr.media.images import write_image

METHODS = ("HR", "bicubic", "srgan")
IMAGES = ("baby", "bird", "comic", "woman")


def write_study(folder: Path, *, small: bool = True, size: tuple[int, int] = (24, 16)) -> Path:
    """Pictures of noise, each another; `size` is (width, height)."""
    random = np.random.default_rng(3)
    width, height = size
    for name in (*METHODS, *(["LR"] if small else [])):
        (folder / name).mkdir(parents=True)
        shape = (height // 4, width // 4, 3) if name == "LR" else (height, width, 3)
        for image in IMAGES:
            samples = random.integers(0, 256, shape).astype(np.uint8)
            write_image(folder / name / f"{image}.png", StillImage(batch_of(samples, alpha=False), "PNG"))
    return folder


def said(rater: str, image: str, method: str, score: int, *, repeat: int = 0, seed: int = 0) -> Rating:
    return Rating(rater, seed, image, method, repeat, score, "0" * 16, 0, 1.5, "2026-01-02T03:04:05+00:00")


class Client:
    """A rater without a browser; `url` ends with a slash."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opener = build_opener(ProxyHandler({}))

    def ask(self, path: str, content: Any = None, *, headers: dict[str, str] | None = None, url: str = "") -> tuple[int, bytes]:
        """Status and body; `content` is sent as JSON, bytes as they are."""
        body = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        request = Request((url or self.url) + path, body, {**kind, **(headers or {})})
        try:
            with self.opener.open(request, timeout=30) as answer:
                return answer.status, answer.read()
        except HTTPError as exc:
            with exc:
                return exc.code, exc.read()

    def state(self) -> dict[str, Any]:
        return self._whole(*self.ask("state"))

    def rate(self, score: int, state: dict[str, Any] | None = None) -> dict[str, Any]:
        """Rates what is due; what is due then."""
        due = (state or self.state())["trial"]
        return self._whole(*self.ask("rating", {"id": due["id"], "score": score, "seconds": 1.25}))

    def _whole(self, status: int, body: bytes) -> dict[str, Any]:
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found


@contextmanager
def serving(folder: Path) -> Iterator[RatingServer]:
    """The study in `folder`, served to anna on a thread."""
    with RatingServer(Session(open_study(folder), folder / "ratings.jsonl", "anna", 0), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
