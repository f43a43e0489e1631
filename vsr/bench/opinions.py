"""Opinion scores as data: which pictures a rater sees in which order, and the log of what was answered.

The log is JSON lines, written only at its end and one line a rating, on the disk before the next picture is shown: a crash costs
the rating that was being made. A line that was cut short is passed over when the log is read.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from vsr.errors import ConfigError, EncodeError

FORMAT = 1  # of the lines below
SCORES = range(1, 6)
WORDS = ("bad", "poor", "fair", "good", "excellent")  # ITU-R BT.500's words for 1 to 5
REPEATED = 0.1  # of the pictures, shown a second time: how steady a rater is
NAME_CHARACTERS = 60


@dataclass(frozen=True)
class Trial:
    """One picture to rate: an image as a method made it; `repeat` is 1 where it is shown for the second time."""

    image: str
    method: str
    repeat: int = 0


@dataclass(frozen=True)
class Rating:
    """What a rater said of a picture.

    score    1 to 5
    digest   of the picture's file: a picture that was made anew is another one
    place    in the rater's order, from 0
    seconds  from the picture's appearance to the answer
    time     when, UTC, ISO 8601
    """

    rater: str
    seed: int
    image: str
    method: str
    repeat: int
    score: int
    digest: str
    place: int
    seconds: float
    time: str

    @property
    def trial(self) -> Trial:
        return Trial(self.image, self.method, self.repeat)

    @property
    def key(self) -> tuple[str, int, Trial, str]:
        """There is one rating for each."""
        return self.rater, self.seed, self.trial, self.digest


@dataclass
class Log:
    """What a log holds: ratings, who has been through the calibration (rater, seed), and how many lines could not be read."""

    ratings: list[Rating] = field(default_factory=list)
    calibrated: set[tuple[str, int]] = field(default_factory=set)
    unreadable: int = 0


def plan_trials(pictures: Iterable[tuple[str, str]], seed: int, rater: str) -> tuple[Trial, ...]:
    """The order in which a rater sees all (image, method) `pictures`, a tenth of them twice.

    The same for the same seed and rater, on any machine: sorted by a hash, not by a generator that may change. No image comes
    twice in a row where that can be had, and a second showing comes in the second half, for a picture of the first.
    """

    def chance(trial: Trial, purpose: str) -> bytes:
        text = json.dumps([purpose, seed, rater, trial.image, trial.method])
        return hashlib.sha256(text.encode()).digest()

    trials = sorted((Trial(image, method) for image, method in pictures), key=lambda trial: chance(trial, "order"))
    trials = _apart(trials)
    half, count = len(trials) // 2, math.ceil(REPEATED * len(trials))
    waiting = sorted(trials[:half], key=lambda trial: chance(trial, "again"))
    for number in range(min(count, half)):
        begin = half + 1 + number * (len(trials) - half) // min(count, half)
        places = [*range(begin, len(trials) + 1), *range(half + 1, begin)]
        # the next whose image does not stand on both sides of every place
        free = (
            (trial, at) for trial in waiting for at in places if trial.image not in {n.image for n in trials[at - 1 : at + 1]}
        )
        trial, at = next(free, (waiting[0], len(trials)))
        waiting.remove(trial)
        trials.insert(at, Trial(trial.image, trial.method, 1))
    return tuple(trials)


def _apart(trials: Sequence[Trial]) -> list[Trial]:
    """The same order, but for pictures that would follow another of their image: the next of another image goes before."""
    waiting, ordered = list(trials), list[Trial]()
    left: dict[str, int] = {}
    for trial in trials:
        left[trial.image] = left.get(trial.image, 0) + 1
    while waiting:
        before = ordered[-1].image if ordered else None
        # an image with more than half of what is left must come now, or it would end up beside itself
        urgent = next((image for image, count in left.items() if 2 * count > len(waiting) and image != before), None)
        fitting = (trial for trial in waiting if trial.image != before and urgent in (None, trial.image))
        chosen = next(fitting, waiting[0])
        waiting.remove(chosen)
        left[chosen.image] -= 1
        ordered.append(chosen)
    return ordered


def checked_name(name: str) -> str:
    """A rater's name without blanks around it. Raises ConfigError for one that is empty, long, or cannot be printed."""
    name = name.strip()
    if not name or len(name) > NAME_CHARACTERS or not name.isprintable():
        raise ConfigError(f"rater {name[:80]!r}: a name has 1 to {NAME_CHARACTERS} printable characters; choose another")
    return name


def rating_from(content: Mapping[str, Any]) -> Rating:
    """A rating from JSON. Raises ValueError for anything that is not one."""
    kinds: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float)}
    values: dict[str, Any] = {}
    for item in fields(Rating):
        value = content.get(item.name)
        if isinstance(value, bool) or not isinstance(value, kinds[str(item.type)]):
            raise ValueError(f"{item.name} is {value!r}")
        if isinstance(value, str):
            value.encode()  # raises for half of a surrogate pair, which JSON may hold and the log may not
        values[item.name] = value
    rating = Rating(**values)
    if rating.score not in SCORES or rating.repeat not in (0, 1) or rating.place < 0 or not 0 <= rating.seconds < math.inf:
        raise ValueError(f"score {rating.score}, repeat {rating.repeat}, place {rating.place}, {rating.seconds} seconds")
    return rating


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def rating_line(rating: Rating) -> dict[str, Any]:
    return {"kind": "rating", **asdict(rating)}


def calibrated_line(rater: str, seed: int) -> dict[str, Any]:
    return {"kind": "calibrated", "rater": rater, "seed": seed, "time": now()}


def read_log(path: Path) -> Log:
    """What was said so far; of two ratings of one trial the first counts. An absent file is an empty log. Raises ConfigError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Log()
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror}); check its permissions") from exc
    log, seen = Log(), set()
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            if content.get("format") != FORMAT:
                raise ValueError(f"format {content.get('format')}")
            if content["kind"] == "calibrated":
                log.calibrated.add((str(content["rater"]), int(content["seed"])))
                continue
            rating = rating_from(content)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            log.unreadable += 1
            continue
        if rating.key not in seen:
            seen.add(rating.key)
            log.ratings.append(rating)
    return log


def append_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Adds lines to the log, on the disk when this returns. Use inside `locked`. Raises EncodeError."""
    text = "".join(json.dumps({"format": FORMAT, **line}, ensure_ascii=False) + "\n" for line in lines)
    try:
        with path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size:  # what a crash cut short must not swallow the next line
                file.seek(size - 1)
                text = text if file.read(1) == b"\n" else f"\n{text}"
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        raise EncodeError(f"{path}: cannot be written ({exc.strerror}); check the folder and its free space") from exc


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The log for this thread of this process alone, while it is read or written. Raises EncodeError."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(poll_interval=0.005)
    except OSError as exc:
        raise EncodeError(f"{path.parent}: ratings cannot be kept there ({exc.strerror}); check its permissions") from exc
    try:
        yield
    finally:
        lock.release()
