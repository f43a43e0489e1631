"""A study in one HTML file for raters elsewhere, and the ratings that come back from it.

The file holds pictures by names that tell nothing: hashes of the kit, the image, the method and the picture. Who has the folder
can make the same hashes, and so tell what was rated.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vsr.bench.opinions import Rating, append_lines, checked_name, locked, plan_trials, rating_from, rating_line, read_log
from vsr.bench.rate_page import rate_page
from vsr.bench.study import Study, opaque_id, whole_picture, worst_picture
from vsr.errors import ConfigError, EncodeError
from vsr.media.images import replaced

ORDERS = 12  # different ones in a kit: its raters must not all tire at the same pictures
MAX_FILE_BYTES = 64_000_000  # of ratings that come back: more is none of ours
KIND, FORMAT = "vsr ratings", 1


def kit_name(study: Study, seed: int) -> str:
    """The same for the same pictures and seed."""
    return opaque_id("kit", str(seed), *(part for key, digest in study.digests.items() for part in (*key, digest)))


def picture_key(study: Study, kit: str, image: str, method: str) -> str:
    return opaque_id(kit, image, method, study.digests[image, method])


def export_kit(study: Study, path: Path, seed: int, rater: str | None, max_bytes: int) -> int:
    """Writes the file, whole or not at all; without `rater` the page asks for a name. Returns its bytes.

    Raises ConfigError where it would be larger than `max_bytes`: pictures are never made smaller, since they are what is rated.
    """
    kit = kit_name(study, seed)
    keys = sorted((picture_key(study, kit, *key), key) for key in study.pictures)
    pictures, size = [], 0
    for data in _all_pictures(study, [key for _, key in keys]):
        pictures.append(f"data:image/png;base64,{base64.b64encode(data).decode()}")
        size += len(pictures[-1])
        if size > max_bytes:
            raise ConfigError(
                f"{path}: the pictures alone take more than {max_bytes / 1e6:.0f} MB (--max-mb); "
                "rate fewer images or parts of them, or allow more"
            )
    place = {key: number for number, (_, key) in enumerate(keys)}
    trials = [{"key": name, "repeat": repeat, "picture": place[key]} for repeat in (0, 1) for name, key in keys]
    best = [{"picture": place[image, study.original], "score": 5} for image in study.calibration]
    worst = [{"picture": len(keys) + number, "score": 1} for number in range(len(best))]
    content = {
        "kit": kit,
        "seed": seed,
        "rater": rater,
        "pictures": pictures,
        "trials": trials,
        "orders": [
            [place[t.image, t.method] + t.repeat * len(keys) for t in plan_trials(study.pictures, seed, f"{kit} {number}")]
            for number in range(ORDERS)
        ],
        "calibration": [example for pair in zip(worst, best, strict=True) for example in pair],
    }
    page = rate_page(content)[0].encode()
    try:
        with replaced(path) as file:
            file.write(page)
    except OSError as exc:
        raise EncodeError(f"{path}: cannot be written ({exc.strerror}); choose another place") from exc
    return len(page)


def _all_pictures(study: Study, keys: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    """All pictures as PNG, one after the other; the examples of score 1 last."""
    for key in keys:
        yield whole_picture(study, *key)
    for image in study.calibration:
        yield worst_picture(study, image)


def merge(study: Study, log: Path, returned: Sequence[Path]) -> tuple[int, int]:
    """Adds all ratings of the files that came back to the log; returns how many were new, and how many were there already.

    Nothing is added where any file is not right: raises ConfigError for what is no such file, is of other pictures, or says
    something else than what this rater is known to have said.
    """
    read = [(path, rating) for path in returned for rating in ratings_of(study, path)]
    with locked(log):
        known = {rating.key: rating.score for rating in read_log(log).ratings}
        new = []
        for path, rating in read:
            if rating.key not in known:
                known[rating.key] = rating.score
                new.append(rating_line(rating))
            elif known[rating.key] != rating.score:
                raise ConfigError(
                    f"{path}: {rating.rater} has already rated these pictures, and otherwise; if this is another person of "
                    'that name, change "rater" in the file'
                )
        append_lines(log, new)
    return len(new), len(read) - len(new)


def ratings_of(study: Study, path: Path) -> list[Rating]:
    """The ratings in a file that came back. Raises ConfigError, naming what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)  # whatever size it says to have
        if len(data) > MAX_FILE_BYTES:
            raise ValueError("it is too large")
        content = json.loads(data)
        if not isinstance(content, dict) or content.get("kind") != KIND or content.get("format") != FORMAT:
            raise ValueError("it is another kind of file")
        rater, seed, ratings = content.get("rater"), content.get("seed"), content.get("ratings")
        if not isinstance(rater, str) or not isinstance(seed, int) or isinstance(seed, bool) or not isinstance(ratings, list):
            raise ValueError("rater, seed or ratings is absent")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror}); check the name") from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path}: holds no ratings of a kit ({exc}); give the file that the page's download made") from exc
    if content.get("kit") != (kit := kit_name(study, seed)):
        raise ConfigError(
            f"{path}: was rated with other pictures than those in {study.folder} now; merge into the folder it is of"
        )
    try:
        rater = checked_name(rater)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    pictures = {picture_key(study, kit, *key): key for key in study.pictures}
    return [_rating(study, path, item, rater, seed, pictures) for item in ratings]


def _rating(study: Study, path: Path, item: Any, rater: str, seed: int, pictures: dict[str, tuple[str, str]]) -> Rating:
    try:
        image, method = pictures[item["key"]]
        known = {"rater": rater, "seed": seed, "image": image, "method": method, "digest": study.digests[image, method]}
        return rating_from({**item, **known})
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfigError(
            f"{path}: one of its ratings is not right ({' '.join(str(exc).split())[:80]}); get the file again"
        ) from exc
