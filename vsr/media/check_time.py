"""Time: one offset for the whole file, then every frame at its time, and every other stream with it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import lcm

from vsr.fields import Deinterlace
from vsr.media.check import Check, milliseconds, verdict
from vsr.media.codecs import ISO_MUXERS
from vsr.media.survey import Survey, Track

_BECAME = {
    "field": "each field of the source became a frame",
    "ivtc": "of every five frames of the source four remain: its 3:2 pulldown is undone",
}
_NAMED = 3  # faults of one kind that are named; the rest is counted
CONVERTED_SLACK = Fraction(60, 1000)  # an encoder's priming and padding: what ears do not miss at a track's end


@dataclass(frozen=True)
class Alignment:
    """Which frame of the source each frame of the output should show, and the seconds by which the output's clock is ahead.

    `partners[i]` is the number of the source's frame for frame i of the output, by time where the two have their times in common,
    else by rank. `missing` frames of the source and `extra` ones of the output have no partner at their time. `slack` is how well
    `offset` is known, in seconds. `mode` says what became of the source's fields: times and frames compared are then those that
    should come of them.
    """

    offset: Fraction
    slack: Fraction
    partners: tuple[int, ...]
    missing: tuple[int, ...]
    extra: tuple[int, ...]
    mode: Deinterlace = "off"


def align(source: Survey, output: Survey) -> Alignment:
    """Finds the one constant offset under which most frames have the same time."""
    coarse = max(source.film.tick, output.film.tick)
    scale = 2 * lcm(*(t.denominator for t in (source.film.tick, output.film.tick, source.info.zero, coarse)))
    before = _scaled(source.film, scale)
    after = _scaled(output.film, scale)
    half = round(coarse * scale) // 2
    # a file's own zero is exact; an offset that is measured on a rounded timestamp may be half a tick off itself
    known = {0: half, -round(source.info.zero * scale): half}
    measured = {after[at] - before[at]: 2 * half for at in (0, -1)} if before and after else {}
    candidates = {**measured, **known}
    order = [*known, *measured]
    best = max(order, key=lambda c: len(_near(before, after, c, candidates[c])))
    matched = _near(before, after, best, candidates[best])
    offset = Fraction(best)
    if best not in known and matched:
        gaps = [after[i] - before[j] for i, j in matched]
        offset = Fraction(min(gaps) + max(gaps), 2)
    by_rank = len(before) == len(after)
    partners = tuple(range(len(after))) if by_rank else _nearest(before, after, round(offset))
    hit = {j for _, j in matched}
    timed = {i for i, _ in matched}
    return Alignment(
        offset / scale,
        Fraction(0) if best in known else coarse / 2,
        partners,
        () if by_rank else tuple(j for j in range(len(before)) if j not in hit),
        () if by_rank else tuple(i for i in range(len(after)) if i not in timed),
    )


def _scaled(film: Track, scale: int) -> list[int]:
    unit = film.tick * scale
    assert unit.denominator == 1
    return [pts * unit.numerator for pts in film.times]


def _near(before: Sequence[int], after: Sequence[int], offset: int, reach: int) -> list[tuple[int, int]]:
    """(output frame, source frame) with the same time but for the offset, each frame once."""
    found, j = [], 0
    for i, time in enumerate(after):
        wanted = time - offset
        while j < len(before) and before[j] < wanted - reach:
            j += 1
        if j < len(before) and before[j] <= wanted + reach:
            found.append((i, j))
            j += 1
    return found


def _nearest(before: Sequence[int], after: Sequence[int], offset: int) -> tuple[int, ...]:
    partners = []
    for time in after:
        at = bisect_left(before, time - offset)
        close = [n for n in (at - 1, at) if 0 <= n < len(before)]
        partners.append(min(close, key=lambda n: abs(before[n] - time + offset), default=-1))
    return tuple(partners)


def check_frames(
    source: Survey, output: Survey, fit: Alignment, lost: frozenset[int] = frozenset(), spoilt: frozenset[int] = frozenset()
) -> Check:
    """As many frames as the source has. Fields that became frames of their own are stated.

    `lost` are frames of the source that do not decode: stated, if the output does without them; `spoilt` those of the output.
    """
    before, after = source.film, output.film
    wanted, found = len(before.times), len(after.times) - len(spoilt)
    broken = _told("do not decode", [at_time(after, n) for n in sorted(spoilt)])
    notes = [f"{len(lost)} frames of the damaged source do not decode"] if lost else []
    notes += [_BECAME[fit.mode]] if fit.mode in _BECAME else []
    missing = [n for n in fit.missing if n not in lost]
    if wanted == len(after.times) or (lost and not missing and not fit.extra):
        return verdict("frames", broken if wanted else ["none"], f"{found} of {wanted}", notes)
    faults = [f"{found} of {wanted}"]
    faults += _told("missing", [at_time(before, n) for n in missing])
    faults += _told("not in the source", [at_time(after, n) for n in fit.extra])
    return verdict("frames", [*faults, *broken], "")


def _told(what: str, frames: Sequence[str]) -> list[str]:
    if not frames:
        return []
    more = f" and {len(frames) - _NAMED} more" if len(frames) > _NAMED else ""
    return [f"{what}: {', '.join(frames[:_NAMED])}{more}"]


def at_time(film: Track, number: int) -> str:
    """frame 17 (0.680 s)"""
    return f"frame {number} ({float((film.times[number] - film.times[0]) * film.tick):.3f} s)"


def check_timestamps(source: Survey, output: Survey, fit: Alignment) -> Check:
    """Equal to the tick where the output's clock can hold the time, else within half a tick of the coarser clock."""
    before, after = source.film, output.film
    off = [*_strays(before, after, fit)]
    moved = f", all moved by {float(fit.offset):+.6f} s" if fit.offset else ""
    if not off:
        rounded = Fraction(before.tick, after.tick).denominator != 1
        text = "within half a tick" if rounded else "equal to the tick"
        return Check("timestamps", True, f"{text}{moved}")
    number, error = off[0]
    worst = max(off, key=lambda item: abs(item[1]))
    text = f"{len(off)} of {len(after.times)} frames are off, first {at_time(after, number)} by {milliseconds(error)}"
    if len(off) > 1:
        text += f", worst {at_time(after, worst[0])} by {milliseconds(worst[1])}"
    return Check("timestamps", False, f"{text}{moved}")


def _strays(before: Track, after: Track, fit: Alignment) -> Iterator[tuple[int, Fraction]]:
    """Frames of the output that are not at their time, and by how many seconds; frames that are too many are not asked."""
    allowed = max(before.tick, after.tick) / 2
    extra = frozenset(fit.extra)
    for i, j in enumerate(fit.partners):
        if i in extra or j < 0:
            continue
        expected = before.times[j] * before.tick + fit.offset
        error = after.times[i] * after.tick - expected
        exact = not fit.slack and (expected / after.tick).denominator == 1
        if abs(error) > (0 if exact else allowed):
            yield i, error


def check_last_frame(source: Survey, output: Survey, fit: Alignment) -> Check:
    """The last frame is shown as long as before, where both files say how long that is."""
    before, after = source.film, output.film
    if not before.last_duration or not after.last_duration or not fit.partners or fit.partners[-1] != len(before.times) - 1:
        return Check("last frame", True, "how long it is shown is not stored in both files")
    error = after.last_duration * after.tick - before.last_duration * before.tick
    allowed = Fraction(0) if (before.tick / after.tick).denominator == 1 else max(before.tick, after.tick)
    fine = f"shown {float(before.last_duration * before.tick):.3f} s"
    return verdict("last frame", [f"shown {milliseconds(error)} longer than before"] if abs(error) > allowed else (), fine)


def check_sync(pairs: Sequence[tuple[Track, Track]], fit: Alignment, muxer: str, *, part: bool = False) -> Check:
    """Sound and subtitles have moved by the same offset as the film, to half a tick: the A/V offset is what it was.

    `part`: the output is a part of the source.

    MP4 and MOV delay a track by an edit list, which counts in the milliseconds of the movie header (ISO 14496-12, 8.6.6).
    """
    edits = Fraction(1, 1000) if muxer in ISO_MUXERS else Fraction(0)
    faults, notes, worst = [], [], Fraction(0)
    for before, after in pairs:
        if jumps := set_back(before):
            notes.append(f"{before.name}: its clock is set back {jumps} times in the source; the parts follow each other now")
            continue
        shifts = _shifts(before, after, fit.offset, part=part)
        if not shifts:
            continue
        allowed = fit.slack + edits + (before.tick + after.tick) / 2
        if len(shifts) == 1:  # re-encoded: an encoder begins on a border of its own frames
            allowed += frame_seconds(before, after)
        errors = sorted(shift - fit.offset for shift in shifts)
        middle = errors[len(errors) // 2]
        strays = sum(abs(error) > allowed for error in errors)
        worst = max(worst, abs(middle))
        if abs(middle) > allowed:
            faults.append(f"{before.name} has moved by {milliseconds(middle)} against the film")
        elif strays and before.disordered:
            notes.append(f"{before.name}: {strays} of {len(errors)} packets were mended in time (damaged in the source)")
        elif strays:
            far = max(errors, key=abs)
            faults.append(f"{before.name}: {strays} of {len(errors)} packets have moved, one by {milliseconds(far)}")
    fine = f"{len(pairs)} streams with the film, within {float(worst) * 1e3:.3f} ms" if pairs else "no other stream with times"
    return verdict("sync", faults, fine, notes)


def _shifts(before: Track, after: Track, near: Fraction, *, part: bool) -> list[Fraction]:
    """By how many seconds each packet has moved; of packets that are not the same ones, the first: in a part of a film against
    whichever of the source would then be nearest to its place."""
    if not before.times or not after.times:
        return []
    at = find_run(before, after, near)
    if at is None:
        assert before.first is not None and after.first is not None
        if part:
            wanted = after.first - near
            return [after.first - min((time * before.tick for time in before.times), key=lambda time: abs(time - wanted))]
        return [after.first - before.first]
    same = before.times[at : at + len(after.times)]
    return [new * after.tick - old * before.tick for old, new in zip(same, after.times, strict=True)]


def find_run(before: Track, after: Track, near: Fraction = Fraction(0)) -> int | None:
    """Where the output's packets stand in the source's, all of them in one piece; None = they do not.

    A steady tone or silence repeats its packets: then the place from which they have moved by about `near` seconds.
    """
    if not after.hashes:
        return 0
    count, first = len(after.hashes), after.hashes[0]
    starts = [n for n in range(len(before.hashes) - count + 1) if before.hashes[n] == first]
    starts.sort(key=lambda n: abs(after.times[0] * after.tick - before.times[n] * before.tick - near))
    return next((n for n in starts if before.hashes[n : n + count] == after.hashes), None)


def set_back(track: Track) -> int:
    """How often a stream's clock falls back by more than a second, as in joined recordings."""
    second = 1 / track.tick
    return sum(a - b > second for a, b in pairwise(track.times))


def frame_seconds(before: Track, after: Track) -> Fraction:
    """The longest packet of an audio codec that has to be allowed for; 2048 samples are AAC's with SBR."""
    rate = min(filter(None, (before.codec_rate, after.codec_rate)), default=0)
    return Fraction(2048, rate) if rate else Fraction(1, 1000)
