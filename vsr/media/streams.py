"""Everything in the file that is not the film: what the container can hold, what must be converted, what is lost by name."""

from __future__ import annotations

import io

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Stream

from vsr.media.codecs import suffix_of
from vsr.media.languages import language_for
from vsr.media.probe import ATTACHED_PICTURE, stream_info
from vsr.media.source import OPEN_OPTIONS
from vsr.plan import StreamPlan

# The MPEG-TS muxer labels what it does not know as private data, which nobody can play: this is what it knows.
_TS_CODECS = {
    "mp1", "mp2", "mp3", "mp1float", "mp2float", "mp3float", "aac", "aac_latm", "ac3", "eac3", "dca", "dts", "truehd", "opus",
    "libopus", "dvbsub", "dvb_subtitle", "dvb_teletext", "libzvbi_teletextdec", "klv", "timed_id3", "scte_35", "smpte_2038",
    "h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4",
}  # fmt: skip
TEXT_CODECS = {
    "ass", "ssa", "subrip", "srt", "webvtt", "mov_text", "text", "microdvd", "subviewer", "sami", "realtext", "stl", "jacosub",
    "mpl2", "pjs", "vplayer",
}  # fmt: skip
_AUDIO_FALLBACK = {"mp4": "aac", "mov": "aac", "webm": "libopus", "mpegts": "aac", "matroska": "flac", "nut": "flac"}
_TEXT_FALLBACK = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "ass"}
# Tags that the source's muxer wrote about a file that no longer exists.
_STALE_TAGS = ("encoder", "handler_name", "vendor_id", "rotate", "bps", "duration", "number_of_", "_statistics")
_STALE_GLOBAL = {"major_brand", "minor_version", "compatible_brands", "encoder"}


def plan_streams(container: InputContainer, film: int, muxer: str) -> tuple[StreamPlan, ...]:
    """What becomes of each stream besides the film, decided by asking the muxer itself. Nothing is dropped without a reason."""
    return tuple(_plan_stream(stream, muxer, container) for stream in container.streams if stream.index != film)


def _plan_stream(stream: Stream, muxer: str, container: InputContainer) -> StreamPlan:
    info = stream_info(stream)
    if (stream.type == "attachment" or info.cover) and muxer == "matroska" and _attachable(stream):
        return StreamPlan(info.index, "attach")
    if stream.type == "data" and ((info.codec == "bin_data" and container.chapters()) or "timecode" in stream.metadata):
        # QuickTime's chapter and timecode tracks: the muxer makes its own from the chapters and from the film's tag
        return StreamPlan(info.index, "drop")
    if stream.type != "attachment" and _carries(muxer, stream):
        return StreamPlan(info.index, "copy")
    missing = _missing(muxer, stream)
    if info.detail.startswith("0 Hz"):
        return StreamPlan(info.index, "drop", reason=f"not one packet of its {info.codec or 'unknown'} sound tells what it is")
    if stream.type == "audio" and stream.codec_context is not None:
        return StreamPlan(info.index, "convert", _AUDIO_FALLBACK[muxer], missing)
    if stream.type == "subtitle" and info.codec in TEXT_CODECS and muxer in _TEXT_FALLBACK:
        return StreamPlan(info.index, "convert", _TEXT_FALLBACK[muxer], f"{missing}; fine styling is lost")
    return StreamPlan(info.index, "drop", reason=missing)


def _missing(muxer: str, stream: Stream) -> str:
    """Why a container cannot take a stream as it is, and which one could."""
    info = stream_info(stream)
    what = (
        "cover art of this kind"
        if info.cover
        else "attachments"
        if info.type == "attachment"
        else f"{info.codec or 'unknown'} {info.type}"
    )
    better = (
        name for name in ("matroska", "mov", "mpegts") if name != muxer and (info.type == "attachment" or _carries(name, stream))
    )
    found = next(better, None)
    return f"{suffix_of(muxer)} holds no {what}{f' ({suffix_of(found)} does)' if found else ''}"


def _attachable(stream: Stream) -> bool:
    return stream.type == "attachment" or (stream.codec_context is not None and stream.codec_context.name in _COVER_TYPES)


_COVER_TYPES = {
    "mjpeg": ("cover.jpg", "image/jpeg"),
    "png": ("cover.png", "image/png"),
    "webp": ("cover.webp", "image/webp"),
    "bmp": ("cover.bmp", "image/bmp"),
}


def _carries(muxer: str, stream: Stream) -> bool:
    """Does the muxer write a header with this stream in it?"""
    info = stream_info(stream)
    if muxer == "mpegts" and info.codec not in _TS_CODECS:
        return False
    if muxer == "mp4" and info.codec.startswith("pcm_") and "channels" in info.detail:
        return False  # its channels have no names, and the muxer finds that out when it writes the index, at the very end
    try:
        with av.open(io.BytesIO(), "w", format=muxer, **OPEN_OPTIONS) as scratch:
            add_copy(scratch, stream)
            scratch.start_encoding()
    except (av.error.FFmpegError, ValueError, OSError, AttributeError):
        return False
    return True


def add_copy(out: OutputContainer, stream: Stream) -> Stream:
    """A stream of `out` for bit-identical packets of `stream`, with its language, title and disposition."""
    copy = out.add_stream_from_template(stream, opaque=True)
    label(copy, stream)
    return copy


def label(target: Stream, stream: Stream) -> None:
    tags = kept_tags(stream.metadata)
    if "language" in tags:
        tags["language"] = language_for(tags["language"], target.container.format.name)
    target.metadata.update(tags)
    target.disposition = stream.disposition


def kept_tags(metadata: dict[str, str]) -> dict[str, str]:
    """A stream's tags that still hold in another file."""
    kept = {k: v for k, v in metadata.items() if not k.lower().startswith(_STALE_TAGS)}
    if "name" in kept:  # mp4 and mov give a track's title under this name, and take it under the other
        kept.setdefault("title", kept.pop("name"))
    return kept


def kept_global_tags(metadata: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in metadata.items() if k.lower() not in _STALE_GLOBAL}


def is_picture(stream: Stream) -> bool:
    """Cover art."""
    return bool(stream.disposition & ATTACHED_PICTURE)


def attach(out: OutputContainer, stream: Stream, picture: bytes | None) -> None:
    """A font or a cover picture as a Matroska attachment."""
    if isinstance(stream, AttachmentStream):
        name, mime, data = stream.name or f"attachment{stream.index}", stream.mimetype or "application/octet-stream", stream.data
    else:
        name, mime = _COVER_TYPES[stream.codec_context.name]
        data = picture or b""
    added = out.add_attachment(name, mime, data)
    added.metadata.update(
        {"filename": name, "mimetype": mime}
        | {k: v for k, v in kept_tags(stream.metadata).items() if k not in ("filename", "mimetype")}
    )
