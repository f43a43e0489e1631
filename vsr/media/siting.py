"""Where chroma samples lie between luma samples: read from a film's headers, kept where an encoder can say it.

PyAV 18 does not tell a frame's chroma location. FFmpeg's `h264_metadata`, `hevc_metadata` and `av1_metadata` bitstream filters
can write one into headers; the one that changes nothing is the one that was there. (`trace_headers` tells it too, but only to
the log, whose level and callback belong to the whole process: probing in two threads would go wrong.) It costs 0.3 ms with
H.264 and AV1, and at most 10 ms with HEVC, whose filter rewrites the encoder's settings in the headers as well.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import av
import av.error
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.video.stream import VideoStream

from vsr.frames import PixelLayout, Siting
from vsr.media.source import OPEN_OPTIONS, Pipe

_H273: dict[int, Siting] = {0: "left", 1: "center", 2: "topleft", 3: "top", 4: "bottomleft", 5: "bottom"}
_AV1: dict[int, Siting] = {0: "left", 1: "left", 2: "topleft"}  # unknown, vertical, colocated (AV1, 6.4.2)
# codec -> filter, its option, the option's values
_FILTERS = {
    "h264": ("h264_metadata", "chroma_sample_loc_type", _H273),
    "hevc": ("hevc_metadata", "chroma_sample_loc_type", _H273),
    "av1": ("av1_metadata", "chroma_sample_position", _AV1),
}
# As FFmpeg's demuxer has it; plain "420" is JPEG's by yuv4mpeg(5)
_Y4M: dict[str, Siting] = {"420jpeg": "center", "420": "center", "420mpeg2": "left", "420paldv": "topleft"}
_Y4M_HEADER = 256  # bytes; the header is one line
_FOUR: frozenset[Siting] = frozenset({"topleft", "top", "bottomleft", "bottom"})
# What beside "left" is written so that it is read back. Nothing is known of other encoders, and formats without a tag mean left.
_WRITES: dict[str, frozenset[Siting]] = {
    "libx264": _FOUR,
    "libx265": _FOUR,
    "libsvtav1": frozenset({"topleft"}),
    "y4m": frozenset({"center", "topleft"}),
}


def is_sited(layout: PixelLayout) -> bool:
    """Only 4:2:0 has sitings to choose from (H.273, Chroma420SampleLocType)."""
    return layout.kind == "yuv" and (layout.log2_chroma_w, layout.log2_chroma_h) == (1, 1)


def kept_siting(siting: Siting, encoder: str, layout: PixelLayout) -> Siting:
    """The siting for an encoder's frames of `layout`; "y4m" stands for that pipe.

    The source's where the output can say so, else left, which every player takes untagged chroma for. Centred chroma of JPEG,
    MPEG-1 and tagged H.264 becomes left, since many players ignore the tag.
    """
    sited = is_sited(layout) and (encoder != "y4m" or layout.bits == 8)  # y4m names no siting for more bits
    return siting if sited and siting in _WRITES.get(encoder, ()) else "left"


def tagged_siting(video: VideoStream, packet: Packet[VideoStream] | None) -> Siting | None:
    """What the headers of an H.264, HEVC or AV1 film say; None where they say nothing, or cannot be read.

    `packet` is the first key frame's: looked at (and left as it is) where the container has no headers of its own.
    """
    codec = video.codec_context.codec.canonical_name
    if codec not in _FILTERS:
        return None
    found = None
    if video.codec_context.extradata:
        found = _unchanged_by(codec, lambda description: _filtered_headers(description, video))
    if found is None and packet is not None and packet.size:
        data = bytes(packet)
        found = _unchanged_by(codec, lambda description: _filtered_packet(description, video, data))
    return found


def _unchanged_by(codec: str, filtered: Callable[[str], bytes]) -> Siting | None:
    """The one siting that, written into headers, leaves them as they are. None of them: untagged; all: there are no headers."""
    name, option, values = _FILTERS[codec]
    try:
        plain = filtered(name)  # written anew, but unchanged: that alone may shift padding
        same = [value for value in values if filtered(f"{name}={option}={value}") == plain]
    except (av.error.FFmpegError, ValueError, OSError):
        return None
    return values[same[0]] if len(same) == 1 else None


def _filtered_headers(description: str, video: VideoStream) -> bytes:
    with av.open(io.BytesIO(), "w", format="matroska", **OPEN_OPTIONS) as scratch:
        stream = scratch.add_stream_from_template(video, opaque=True)
        BitStreamFilterContext(description, video, stream)
        return bytes(stream.codec_context.extradata or b"")


def _filtered_packet(description: str, video: VideoStream, data: bytes) -> bytes:
    return b"".join(bytes(packet) for packet in BitStreamFilterContext(description, video).filter(Packet(data)))


def y4m_siting(source: str | Pipe) -> Siting | None:
    """What a y4m file's or pipe's first line says; of a pipe it is in the part that probing has read already."""
    try:
        if isinstance(source, Pipe):
            head = source.head().read(_Y4M_HEADER)
        else:
            with Path(source).open("rb") as file:
                head = file.read(_Y4M_HEADER)
    except OSError:
        return None
    return siting_of_y4m(head)


def siting_of_y4m(head: bytes) -> Siting | None:
    """The siting by the first line of a y4m stream; None where its C parameter tells none, or there is no such line."""
    line = head.split(b"\n", 1)[0]
    if not line.startswith(b"YUV4MPEG2 "):
        return None
    tokens = line.decode("ascii", "replace").split(" ")[1:]
    return next((_Y4M.get(token[1:]) for token in tokens if token.startswith("C")), None)
