"""What a promise is, once it has been looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One promise: kept or not, and what was seen.

    `stated`: kept as far as the output's format allows; `detail` names what it cannot hold.
    """

    name: str
    ok: bool
    detail: str
    stated: bool = False


def verdict(name: str, faults: Iterable[str], fine: str, notes: Iterable[str] = ()) -> Check:
    """Broken when there is a fault; else `fine`, with what has to be stated beside it."""
    broken, stated = [*faults], [*notes]
    if broken:
        return Check(name, False, "; ".join(broken))
    return Check(name, True, "; ".join(filter(None, (fine, *stated))), bool(stated))


def milliseconds(seconds: object) -> str:
    """A time difference for people: +50.0 ms."""
    return f"{float(seconds) * 1e3:+.3f} ms"  # type: ignore[arg-type]


def summary(checks: Iterable[Check]) -> str:
    """One line for people: frames, times and each stream in full; of the rest what is broken or stated, and how many are fine."""
    told, fine = [], 0
    for check in checks:
        if check.name in ("frames", "timestamps") or " stream " in check.name or check.stated or not check.ok:
            told.append(f"{check.name} {check.detail}")
        else:
            fine += 1
    return "; ".join([*told, *([f"{fine} more promises kept"] if fine else [])])
