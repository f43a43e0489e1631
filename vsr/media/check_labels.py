"""What the streams and the file are called: languages, titles, dispositions, chapters, tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from io import BytesIO

import av
import av.error

from vsr.media.check import Check, verdict
from vsr.media.codecs import ISO_MUXERS, suffix_of
from vsr.media.languages import holds_language, one_language
from vsr.media.source import OPEN_OPTIONS
from vsr.media.streams import kept_global_tags
from vsr.media.survey import Survey, Track

_MATROSKA = frozenset({"matroska", "webm"})
_CHAPTERED = ISO_MUXERS | _MATROSKA
_DEFAULT, _FORCED = 0x1, 0x40
# Dispositions that a muxer writes and its demuxer reads back (bits of AV_DISPOSITION_*)
_MATROSKA_FLAGS = _DEFAULT | 0x4 | 0x8 | _FORCED | 0x80 | 0x100
_FLAGS = {"mp4": _DEFAULT, "mov": _DEFAULT, "matroska": _MATROSKA_FLAGS, "webm": _MATROSKA_FLAGS}
_FLAG_NAMES = {
    0x1: "default", 0x4: "original", 0x8: "commentary", 0x40: "forced", 0x80: "hearing impaired", 0x100: "visual impaired",
}  # fmt: skip


def check_labels(source: Survey, output: Survey, pairs: Mapping[int, Track], muxer: str) -> list[Check]:
    """Languages, titles and dispositions of every stream that is there, as far as the container holds them."""
    both = [(source.film, output.film), *((t, pairs[t.info.index]) for t in source.tracks if t.info.index in pairs)]
    both = [(a, b) for a, b in both if a.info.type in ("video", "audio", "subtitle") and not a.info.cover]
    return [_check_languages(both, muxer), _check_titles(both, muxer), _check_dispositions(both, muxer)]


def _check_languages(both: Sequence[tuple[Track, Track]], muxer: str) -> Check:
    faults: list[str] = []
    notes: list[str] = []
    for before, after in both:
        old, new = language(before), language(after)
        if old == new or (after.info.type == "video" and muxer == "mpegts"):
            continue
        told = f"{before.name}: {before.info.language or 'none'} became {after.info.language or 'none'}"
        held = holds_language(before.info.language, muxer) and (len(old) == 3 or muxer in _MATROSKA)
        (faults if held else notes).append(told)
    return verdict("languages", faults, _said(a.info.language if language(a) else "" for a, _ in both), notes)


def _check_titles(both: Sequence[tuple[Track, Track]], muxer: str) -> Check:
    changed = [(a, b) for a, b in both if a.title and a.title != b.title]
    lost = [f"{a.name}: {a.title!r} became {b.title!r}" for a, b in changed]
    held = muxer != "mpegts"
    return verdict("titles", lost if held else (), _said(a.title for a, _ in both), () if held else lost)


def _check_dispositions(both: Sequence[tuple[Track, Track]], muxer: str) -> Check:
    faults: list[str] = []
    notes: list[str] = []
    held = _FLAGS.get(muxer, 0)
    for before, after in both:
        asked = held
        if not any(a.disposition & _DEFAULT for a, _ in both if a.info.type == before.info.type):
            asked &= ~_DEFAULT  # a type without a default gets one from some muxers, and from every player
        changed = (before.disposition ^ after.disposition) & asked
        lost = before.disposition & ~after.disposition & ~held
        names = ", ".join(name for bit, name in _FLAG_NAMES.items() if (changed or lost) & bit)
        if changed:
            faults.append(f"{before.name}: {names} {'lost' if before.disposition & changed else 'added'}")
        elif names:
            notes.append(f"{before.name}: {suffix_of(muxer)} does not hold {names}")
    flags = (name for a, _ in both for bit, name in _FLAG_NAMES.items() if a.disposition & bit)
    return verdict("dispositions", faults, _said(flags), notes)


def language(track: Track) -> str:
    """A track's language, by the same code where it has two (deu, ger); "und" is none."""
    return one_language(track.info.language)


def _said(values: Iterable[str]) -> str:
    return ", ".join(filter(None, values)) or "none"


def check_chapters(source: Survey, output: Survey, offset: Fraction, muxer: str, *, part: bool = False) -> Check:
    """As many, with the same titles, beginning at the same time to 1 ms or a tick of the output's clock."""
    before, after = source.chapters, output.chapters
    if part:
        return Check("chapters", True, f"{len(after)} in this part of the film", stated=bool(before))
    if not after and before and muxer not in _CHAPTERED:
        return Check("chapters", True, f"{suffix_of(muxer)} holds no chapters: {len(before)} are left out", stated=True)
    if len(before) != len(after):
        return Check("chapters", False, f"{len(after)} of {len(before)}")
    allowed = max(Fraction(1, 1000), output.film.tick)
    faults = []
    for number, (old, new) in enumerate(zip(before, after, strict=True), 1):
        if abs(new.start - max(Fraction(0), old.start + offset)) > allowed:
            faults.append(f"chapter {number} begins at {float(new.start):.3f} s, not {float(old.start + offset):.3f} s")
        if old.title != new.title:
            faults.append(f"chapter {number} is called {new.title!r}, not {old.title!r}")
    return verdict("chapters", faults[:3], f"{len(after)}" if before else "none")


def check_tags(source: Survey, output: Survey, muxer: str) -> Check:
    """The container's tags (title, artist, ...) but those that muxers write about themselves."""
    wanted = {k: v for k, v in kept_global_tags(source.tags).items() if k not in ("software", "duration")}
    held = held_tags(muxer, wanted) if wanted else {}
    there = output.tags
    faults = [
        f"{key}: {value!r} is {'missing' if key not in there else f'{there[key]!r} now'}"
        for key, value in wanted.items()
        if key in held and there.get(key) not in (value, held[key])
    ]
    notes = [f"{suffix_of(muxer)} holds no tag {key!r}" for key in wanted if key not in held and key not in there]
    return verdict("tags", faults[:3], f"{len(wanted) - len(notes)} kept" if wanted else "none", notes)


def held_tags(muxer: str, tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that a muxer writes, as its demuxer reads them back: found out by writing a film of one frame."""
    scratch = BytesIO()
    try:
        with av.open(scratch, "w", format=muxer, **OPEN_OPTIONS) as out:
            out.metadata.update(tags)
            stream = out.add_stream("libvpx" if muxer == "webm" else "mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
            for frame in (av.VideoFrame(16, 16, "yuv420p"), None):
                out.mux(stream.encode(frame))
        scratch.seek(0)
        with av.open(scratch, **OPEN_OPTIONS) as back:
            return {key.lower(): value for key, value in back.metadata.items() if key.lower() in tags}
    except (av.error.FFmpegError, ValueError):
        return dict(tags)
