"""What of a packet can be heard or read: looked at by decoding it, for streams that `verify` finds converted."""

from __future__ import annotations

from fractions import Fraction

import av.error
from av.audio.codeccontext import AudioCodecContext
from av.packet import Packet
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext

from vsr.media.source import exact
from vsr.media.streams import TEXT_CODECS

_FIELDS = 9  # of an ASS event in a packet, which FFmpeg makes of all text subtitles: the last is the text


def begins(stream: Stream, packet: Packet[Stream]) -> Fraction | None:
    """When the first sound that decodes of this packet is heard, or its line is shown, in seconds; None = nothing of it is.

    Pictures of subtitles are not looked into.
    """
    context = stream.codec_context
    if isinstance(context, SubtitleCodecContext):
        shown = context.name not in TEXT_CODECS or _has_words(context, packet)
        return packet.pts * exact(packet.time_base) if shown and packet.pts is not None else None
    if not isinstance(context, AudioCodecContext):
        return None
    try:
        frames = context.decode(packet)
    except (av.error.FFmpegError, EOFError, ValueError):
        return None
    return next((f.pts * exact(f.time_base) for f in frames if f.pts is not None and f.time_base), None)


def _has_words(context: SubtitleCodecContext, packet: Packet[Stream]) -> bool:
    try:
        subtitle = context.decode2(packet)
    except (av.error.FFmpegError, ValueError):
        return False
    lines = (bytes(getattr(rect, "ass", None) or b"") for rect in subtitle or ())
    return any(len(fields := line.split(b",", _FIELDS - 1)) == _FIELDS and fields[-1].strip() for line in lines)
