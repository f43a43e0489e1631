"""Does the output keep what was promised? Both files are read again, and nothing is taken from what wrote them.

    survey          everything in a file but its pixels, in one pass
    check_time      frames, timestamps, last frame, sync
    check_streams   packets, attachments, cover art
    check_labels    languages, titles, dispositions, chapters, tags
    check_picture   rotation, aspect, colour tags, depth, alpha, HDR
    check_beside    captions, active format, timecode, interlacing
    check_pixels    each output frame shows its own input frame
    check_color     mean error, and whether it looks like a known mistake (wrong matrix, wrong range)

Two doors: `verify` for a job that has just been done, `verify_files` for any two files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vsr.fields import Deinterlace, output_times, rate_factor, ticks
from vsr.frames import Siting
from vsr.media.check import Check, summary
from vsr.media.check_beside import at_a_glance, check_beside, check_interlacing
from vsr.media.check_color import check_colors
from vsr.media.check_labels import check_chapters, check_labels, check_tags
from vsr.media.check_picture import (
    check_alpha,
    check_aspect,
    check_color_tags,
    check_depth,
    check_hdr,
    check_rotation,
)
from vsr.media.check_pixels import Shown, check_pixels, look_at_pixels
from vsr.media.check_streams import check_attachments, check_covers, check_tracks, pair_tracks
from vsr.media.check_time import Alignment, align, check_frames, check_last_frame, check_sync, check_timestamps
from vsr.media.codecs import MUXERS, codec_made
from vsr.media.encoders import deepest
from vsr.media.framefiles import IMAGES
from vsr.media.index import build_index
from vsr.media.join import SegmentFile
from vsr.media.probe import probe
from vsr.media.source import Pipe, open_input
from vsr.media.streams import plan_streams
from vsr.media.survey import Survey, survey, with_times, without_container
from vsr.plan import Plan, StreamPlan

__all__ = ["Check", "summary", "verify", "verify_files"]


def verify(
    plan: Plan, source: str | Pipe, segments: Sequence[SegmentFile], output: Path, spool: Path | None = None
) -> tuple[Check, ...]:
    """The cheap part, after every job: the joined file against the source, each read once, no pixels.

    What the plan could not keep, and warned of, is stated. Raises DecodeError where a file cannot be read.
    """
    times = [pts for segment in segments for pts in segment.pts]
    after = survey(str(output), probe(str(output)))
    if plan.info.container == IMAGES:
        found = without_container(plan.info)
    else:
        found = survey(source.head() if isinstance(source, Pipe) else source, plan.info, spool)
    before = with_times(found, _expected(plan, found, times), plan.time_base, segments[-1].last_duration)
    part = plan.start is not None or plan.stop is not None
    fates = {p.index: p for p in plan.streams}
    fit = replace(align(before, after), mode=plan.deinterlace)
    loose = part or plan.deinterlace == "ivtc" or found.packets != round(len(times) / rate_factor(plan.deinterlace))
    judged = _judge(
        before, after, fit, fates, plan.container, part=part, asked=_given_up(plan), siting=plan.target.color.siting, loose=loose
    )
    return tuple(judged)


def _expected(plan: Plan, found: Survey, times: list[int]) -> list[int]:
    """When the frames should come. Those made of fields are counted anew from the packets, where each of these is a frame."""
    if plan.deinterlace not in ("field", "ivtc") or plan.start is not None or plan.info.clock != "pts":
        return times
    step = plan.info.step
    counted = output_times(plan.deinterlace, found.film.times, step)
    return counted if len(counted) == len(times) else times


def _given_up(plan: Plan) -> frozenset[str]:
    """Promises that the plan's encoder cannot keep: it warned, or the user asked for that."""
    source, target, codec = plan.info.format.layout, plan.target.layout, plan.encoding.codec
    lost = {
        "bit depth": target.bits < source.bits,
        "alpha": not target.alpha,
        "HDR": codec not in ("hevc", "av1"),
    }
    return frozenset(name for name, is_lost in lost.items() if is_lost)


def verify_files(
    source: str, output: str, *, pixels: bool = True, on_frame: Callable[[int, int], None] | None = None
) -> tuple[Check, ...]:
    """Any two files: every promise proved or refuted. With `pixels` both films are decoded side by side.

    `on_frame` hears how many frames of how many are compared. Raises DecodeError where a file cannot be read.
    """
    before, after = _surveyed(source), _surveyed(output)
    muxer = _muxer_of(output, after.info.container)
    with open_input(source) as container:
        # what the container could hold is asked of its muxer; a container that vsr does not write is given no excuses
        fates = {p.index: p for p in plan_streams(container, before.info.index, muxer)} if muxer in MUXERS.values() else {}
    loose = before.packets != len(before.film.times)
    before, fit = _fit(before, after)
    shown = look_at_pixels((source, before), (output, after), fit, on_frame) if pixels else None
    at_its_limit = after.info.format.layout.bits == deepest(codec_made(after.info.codec))
    asked = {"bit depth"} if at_its_limit else ()
    loose = loose or fit.mode == "ivtc"
    return tuple(_judge(before, after, fit, fates, muxer, shown=shown, asked=asked, loose=loose))


def _fit(before: Survey, after: Survey) -> tuple[Survey, Alignment]:
    """Which frames belong together, and what was done with fields: the source's survey with the times that should come of that.

    Twice as many frames are made of fields, four of five are left of a pulldown; as many, of an interlaced film that is no longer
    interlaced, were deinterlaced. A few frames more or less do not hide which it was.
    """
    film, found = before.film, len(after.film.times)
    step = film.times[1] - film.times[0] if len(film.times) > 1 else max(1, film.last_duration)
    fit = align(before, after)
    modes: tuple[Deinterlace, ...] = ("field", "ivtc")
    for mode in modes:
        times = output_times(mode, film.times, step)
        if abs(len(times) - found) > max(2, len(times) // 50) or abs(len(film.times) - found) <= abs(len(times) - found):
            continue
        timed = with_times(before, times, film.tick / ticks(mode), 0)
        other = align(timed, after)
        if len(other.missing) + len(other.extra) < len(fit.missing) + len(fit.extra):
            return timed, replace(other, mode=mode)
    deinterlaced = before.info.interlaced and not after.info.interlaced
    return before, replace(fit, mode="auto" if deinterlaced else "off")


def _surveyed(path: str) -> Survey:
    info = probe(path)
    found = survey(path, info)
    return with_times(found, list(build_index(path, info).pts), info.time_base, found.film.last_duration)


def _muxer_of(path: str, demuxer: str) -> str:
    """The muxer that wrote a file, by its name where the demuxer agrees."""
    names = demuxer.split(",")
    muxer = MUXERS.get(Path(path).suffix.lower(), "")
    if muxer in names:
        return muxer
    return next((name for name in ("mp4", "matroska", "mpegts") if name in names), names[0])


def _judge(
    before: Survey,
    after: Survey,
    fit: Alignment,
    fates: Mapping[int, StreamPlan],
    muxer: str,
    *,
    shown: Shown | None = None,
    part: bool = False,
    asked: Collection[str] = (),
    siting: Siting | None = None,
    loose: bool = False,
) -> list[Check]:
    pairs = pair_tracks(before, after)
    timed = [(t, pairs[t.info.index]) for t in before.tracks if t.info.index in pairs and not t.info.cover]
    checks = [
        check_frames(before, after, fit, *((shown.lost, shown.spoilt) if shown else ())),
        check_timestamps(before, after, fit),
        check_last_frame(before, after, fit),
        *check_tracks(before, pairs, fates, part=part),
        check_sync(timed, fit, muxer, part=part),
        *check_labels(before, after, pairs, muxer),
        check_chapters(before, after, fit.offset, muxer, part=part),
        check_attachments(before, after, muxer),
        check_covers(before, after, fates),
        check_tags(before, after, muxer),
        check_rotation(before, after, muxer),
        check_aspect(before, after),
        check_color_tags(before, after, siting=siting),
        check_depth(before, after, asked="bit depth" in asked),
        check_alpha(before, after, muxer, asked="alpha" in asked),
        check_hdr(before, after, asked="HDR" in asked),
        *check_beside(shown.beside if shown else at_a_glance(before, after), before, after, loose=loose and shown is None),
        check_interlacing(before, after),
    ]
    if shown is not None:
        # single frames that show something else must not colour the rest; when most of them do, they are the film
        colors = max(shown.colors, shown.odd_colors, key=lambda moments: moments.frames)
        deinterlaced = before.info.interlaced and not after.info.interlaced
        checks += [
            check_pixels(shown, after),
            check_colors(colors, after.info.format.color, after.info.format.layout, deinterlaced=deinterlaced),
        ]
    return checks
