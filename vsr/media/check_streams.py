"""Everything beside the film: the packets of each stream, attachments, cover art."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vsr.media.check import Check, verdict
from vsr.media.check_labels import language
from vsr.media.check_time import CONVERTED_SLACK, find_run
from vsr.media.codecs import suffix_of
from vsr.media.survey import Survey, Track
from vsr.plan import StreamPlan


def pair_tracks(source: Survey, output: Survey) -> dict[int, Track]:
    """The output's track for each of the source's, by its index: by bytes, else by codec and language, else in order."""
    alike: tuple[Callable[[Track, Track], bool], ...] = (
        lambda a, b: bool(a.hashes) and a.hashes == b.hashes,
        lambda a, b: (a.info.codec, language(a)) == (b.info.codec, language(b)),
        lambda a, b: language(a) == language(b),
        lambda a, b: True,
    )
    free, pairs = [*output.tracks], dict[int, Track]()
    for matches in alike:
        for track in source.tracks:
            if track.info.index in pairs:
                continue
            kind = (track.info.type, track.info.cover)
            found = next((t for t in free if (t.info.type, t.info.cover) == kind and matches(track, t)), None)
            if found is not None:
                pairs[track.info.index] = found
                free.remove(found)
    return pairs


def check_tracks(
    source: Survey, pairs: Mapping[int, Track], fates: Mapping[int, StreamPlan], *, part: bool = False
) -> list[Check]:
    """One check for each stream of the source: bit-identical, or converted, or left out, as the output's container demands."""
    return [
        _check_track(track, pairs.get(track.info.index), fates.get(track.info.index), part)
        for track in source.tracks
        if not track.info.cover
    ]


def _check_track(track: Track, found: Track | None, fate: StreamPlan | None, part: bool) -> Check:
    action = fate.action if fate is not None else "copy"
    words = f"{track.info.codec or 'unknown'}{f', {track.info.language}' if language(track) else ''}"
    if found is None:
        if fate is not None and action == "drop":
            return Check(track.name, True, f"({words}) is left out: {fate.reason or 'not needed there'}", stated=True)
        if not track.hashes:
            return Check(track.name, True, f"({words}) is empty in the source, and not in the output", stated=True)
        return Check(track.name, False, f"({words}) is missing")
    count = len(found.hashes)
    cut = part and (count > 0 or track.info.type != "audio")  # lines may be far apart
    if track.hashes == found.hashes or (cut and find_run(track, found) is not None):
        return Check(track.name, True, f"({words}) {count} packets, same bytes")
    if track.size == found.size and track.digest == found.digest:
        return Check(track.name, True, f"({words}) same bytes in other packets")
    if track.info.type == "subtitle" and sorted(track.hashes) == sorted(found.hashes):
        return Check(track.name, True, f"({words}) {count} packets, same bytes, now in the order of their times", stated=True)
    if (hidden := find_run(track, found)) is not None and hidden <= track.cut_off and hidden + count == len(track.hashes):
        return Check(
            track.name, True, f"({words}) {count} packets, same bytes; {hidden} that an edit list hid are left out", stated=True
        )
    if fate is not None and action == "convert":
        return _check_converted(track, found, fate, words, part)
    return Check(track.name, False, f"({words}) {_difference(track, found)}")


def _check_converted(track: Track, found: Track, fate: StreamPlan, words: str, part: bool) -> Check:
    told = f"({words}) is converted to {found.info.codec}{f': {fate.reason}' if fate.reason else ''}"
    shorter = track.seconds - found.seconds
    if track.info.type == "audio" and not part and abs(shorter) > CONVERTED_SLACK:
        return Check(track.name, False, f"{told}, and {float(abs(shorter)):.3f} s {'shorter' if shorter > 0 else 'longer'}")
    missing = len(track.hashes) - len(found.hashes)
    if track.info.type == "subtitle" and not part and missing > 0:
        if missing > track.unread:
            return Check(track.name, False, f"{told}, and only {len(found.hashes)} of {len(track.hashes)} lines are there")
        told += f"; {missing} damaged {'lines' if missing > 1 else 'line'} of the source cannot be read"
    return Check(track.name, True, told, stated=True)


def _difference(track: Track, found: Track) -> str:
    """How the packets differ: another codec, cut short, or other bytes from some packet on."""
    wanted, count = len(track.hashes), len(found.hashes)
    if track.info.codec != found.info.codec:
        return f"is {found.info.codec} now: re-encoded, though the container holds {track.info.codec}"
    same = next((n for n, (a, b) in enumerate(zip(track.hashes, found.hashes, strict=False)) if a != b), min(wanted, count))
    if same == count < wanted:
        lost = (max(track.times) - track.times[count]) * track.tick + track.last_duration * track.tick
        return f"is cut short: the last {wanted - count} of {wanted} packets are missing ({float(lost):.3f} s)"
    run = find_run(track, found)
    if run is not None:
        return f"begins late: the first {run} of {wanted} packets are missing"
    if same == wanted < count:
        return f"has {count - wanted} packets more than the source"
    kept = len(set(track.hashes) & set(found.hashes))
    what = "re-encoded" if kept < wanted / 2 else f"{kept} the same"
    return f"other bytes from packet {same} on: {count} packets of {wanted}, {what}"


def check_attachments(source: Survey, output: Survey, muxer: str) -> Check:
    """Every font with its name and its bytes; only Matroska holds them."""
    before, after = source.attachments, output.attachments
    lost = [name for name in before if name not in after]
    changed = [name for name in before if name in after and before[name] != after[name]]
    faults = [f"{name} has other bytes" for name in changed]
    if muxer != "matroska":
        notes = [f"{suffix_of(muxer)} holds no attachments: {', '.join(lost)} left out"] if lost else []
        return verdict("attachments", faults, "none" if not before else "", notes)
    faults += [f"{name} is missing" for name in lost]
    return verdict("attachments", faults, f"{len(before)}, same bytes" if before else "none")


def check_covers(source: Survey, output: Survey, fates: Mapping[int, StreamPlan]) -> Check:
    """Cover art: the same bytes, as a stream or as an attachment."""
    before = [t for t in source.tracks if t.info.cover]
    there = {t.hashes[0] for t in output.tracks if t.info.cover and t.hashes}
    faults, notes = [], []
    for track in before:
        if track.hashes and track.hashes[0] in there:
            continue
        fate = fates.get(track.info.index)
        told = f"{track.name} ({track.info.codec}) is {'changed' if there else 'missing'}"
        if fate is not None and fate.action == "drop":
            notes.append(f"{told}: {fate.reason}")
        else:
            faults.append(told)
    return verdict("cover art", faults, f"{len(before)}, same bytes" if before and not notes else "" if notes else "none", notes)
