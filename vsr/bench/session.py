"""One rater's way through a study: what is shown next, by names that tell nothing, and what is kept of the answers."""

from __future__ import annotations

import math
import secrets
from http import HTTPStatus
from pathlib import Path
from typing import Any

from vsr.bench.opinions import SCORES, Rating, append_lines, calibrated_line, locked, now, plan_trials, rating_line, read_log
from vsr.bench.study import Study, opaque_id, whole_picture, worst_picture


class Refused(Exception):
    """A request that gets an error, and nothing else."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Session:
    """One rater's way through a study: what comes next, and the log of what was said."""

    def __init__(self, study: Study, log: Path, rater: str, seed: int) -> None:
        self.study, self.log, self.rater, self.seed = study, log, rater, seed
        self.trials = plan_trials(study.pictures, seed, rater)
        secret = secrets.token_hex(16)
        self._ids = [opaque_id(secret, "trial", str(number)) for number in range(len(self.trials))]
        self._examples = {
            opaque_id(secret, "example", image, str(score)): (image, score) for image in study.calibration for score in (1, 5)
        }
        with locked(log):
            self._read()

    def _read(self) -> None:
        """What is in the log counts: another process may have added to it. Use inside `locked`."""
        log = read_log(self.log)
        said = {rating.key for rating in log.ratings}
        digests = self.study.digests
        keys = [(self.rater, self.seed, trial, digests[trial.image, trial.method]) for trial in self.trials]
        self._done = [key in said for key in keys]
        self.calibrated = (self.rater, self.seed) in log.calibrated

    @property
    def done(self) -> int:
        return sum(self._done)

    @property
    def finished(self) -> bool:
        return all(self._done)

    def state(self) -> dict[str, Any]:
        """What the page has to know; nothing in it tells a method."""
        waiting = [self._ids[number] for number, done in enumerate(self._done) if not done][:2]
        addresses = [f"picture/{name}.png" for name in waiting]
        return {
            "rater": self.rater,
            "total": len(self.trials),
            "done": self.done,
            "calibrated": self.calibrated,
            "calibration": [{"src": f"picture/{name}.png", "score": score} for name, (_, score) in self._examples.items()],
            "trial": {"id": waiting[0], "src": addresses[0]} if waiting else None,
            "after": addresses[1] if len(waiting) > 1 else None,
        }

    def picture(self, name: str) -> bytes:
        """A picture by its opaque name, as PNG. Raises Refused for any other name, VsrError where it cannot be read."""
        if name in self._examples:
            image, score = self._examples[name]
            return worst_picture(self.study, image) if score == 1 else whole_picture(self.study, image, self.study.original)
        if name not in self._ids:
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such picture.")
        trial = self.trials[self._ids.index(name)]
        return whole_picture(self.study, trial.image, trial.method)

    def calibrate(self) -> None:
        with locked(self.log):
            if not self.calibrated:
                append_lines(self.log, [calibrated_line(self.rater, self.seed)])
                self.calibrated = True

    def rate(self, name: object, score: object, seconds: object) -> None:
        """Keeps a rating; it is on the disk when this returns. Raises Refused for anything but the picture that is due."""
        if name not in self._ids:
            raise Refused(HTTPStatus.BAD_REQUEST, "There is no such picture.")
        if isinstance(score, bool) or not isinstance(score, int) or score not in SCORES:
            raise Refused(HTTPStatus.BAD_REQUEST, "A score is a whole number from 1 to 5.")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
            raise Refused(HTTPStatus.BAD_REQUEST, "Seconds are a number.")
        number = self._ids.index(str(name))
        trial = self.trials[number]
        digest = self.study.digests[trial.image, trial.method]
        with locked(self.log):
            self._read()
            if self._done[number]:  # a second key, or a second window: what was said first counts
                return
            if not all(self._done[:number]):
                raise Refused(HTTPStatus.CONFLICT, "Another picture is due; reload the page.")
            rating = Rating(
                self.rater, self.seed, trial.image, trial.method, trial.repeat, score, digest, number, float(seconds), now()
            )
            append_lines(self.log, [rating_line(rating)])
            self._done[number] = True
