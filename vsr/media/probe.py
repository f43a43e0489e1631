"""What the tool sees in a file: streams, size, time, colour. Reads the header and the first frame, never the whole film."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import av
import av.error
from av.audio.codeccontext import AudioCodecContext
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vsr.errors import DecodeError
from vsr.frames import FrameFormat, Siting, StreamInfo, VideoInfo
from vsr.media.decoder import Decoder, salvaged_packets
from vsr.media.gif import is_opaque_gif
from vsr.media.hdr import read_light, read_mastering
from vsr.media.picture_data import group_timecode, read_picture_data, side_data
from vsr.media.pixels import color_of, planar_equivalent, planar_layout
from vsr.media.siting import tagged_siting, y4m_siting
from vsr.media.source import Pipe, exact, exact_or, open_input, reason, source_name

ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC
_FIRST_FRAME_PACKETS = 2000  # a stream whose first 2,000 packets hold no picture is not worth waiting for
# Containers whose clock starts anywhere: time zero is their first timestamp, as for every player.
_FLOATING_START = {"mpegts", "mpeg", "mpegtsraw"}


def probe(source: str | Pipe) -> VideoInfo:
    """Describes the main video stream of a file and everything that travels with it.

    A pipe is read from its start and left to be rewound. Raises DecodeError for whatever cannot be read or has no video.
    """
    with open_input(source) as container:
        video = main_video(container, source_name(source))
        frame, packet = _first_frame(container, video, source_name(source))
        siting = y4m_siting(source) if container.format.name == "yuv4mpegpipe" else tagged_siting(video, packet)
        info = _describe(container, video, frame, source_name(source), siting)
        layout = info.format.layout
        if container.format.name == "gif" and layout.alpha and isinstance(source, str) and is_opaque_gif(source):
            return replace(info, format=replace(info.format, layout=replace(layout, alpha=False)))
        return info


def main_video(container: InputContainer, name: str) -> VideoStream:
    """The film: the default video stream, or the largest; never cover art. Raises DecodeError where there is none."""
    films = [s for s in container.streams.video if not s.disposition & ATTACHED_PICTURE and s.codec_context is not None]
    if not films:
        what = "only cover art" if container.streams.video else "no video stream"
        others = ", ".join(sorted({s.type for s in container.streams if s.type != "video"}))
        raise DecodeError(f"{name}: there is {what} in it{f', only {others}' if others else ''}: nothing to upscale")
    return max(films, key=lambda s: (bool(s.disposition & 1), s.codec_context.width * s.codec_context.height, -s.index))


def _first_frame(container: InputContainer, video: VideoStream, name: str) -> tuple[av.VideoFrame, Packet[VideoStream] | None]:
    """The first frame that decodes, and the first key frame's packet before it."""
    decoder, key = Decoder(video), None
    try:
        for packet in islice(salvaged_packets(container.demux(video), video), _FIRST_FRAME_PACKETS):
            if key is None and packet.is_keyframe:
                key = packet
            for frame in decoder.decode(packet):
                return frame, key
    except av.error.FFmpegError as exc:
        raise DecodeError(f"{name}: its {video.codec_context.name} video cannot be decoded: {reason(exc)}") from exc
    raise DecodeError(f"{name}: not one frame of its {video.codec_context.name} video can be decoded: it is damaged or cut short")


def _describe(container: InputContainer, video: VideoStream, frame: av.VideoFrame, name: str, siting: Siting | None) -> VideoInfo:
    context = video.codec_context
    pix_fmt = planar_equivalent(frame.format.name)
    layout = planar_layout(pix_fmt)
    assert layout is not None and video.time_base is not None
    rate = video.guessed_rate or video.average_rate
    facts = side_data(frame)
    beside = read_picture_data(facts, exact(rate) if rate else None)
    first_code = beside.timecode[0] if beside and beside.timecode else group_timecode(facts)
    duration = _duration(container, video)
    frames = video.frames or (round(duration * float(exact(rate))) if duration and rate else 0)
    return VideoInfo(
        source=name,
        container=container.format.name,
        index=video.index,
        codec=context.name,
        pix_fmt=frame.format.name,
        format=FrameFormat(frame.width, frame.height, layout, color_of(frame, layout, context.name, siting)),
        time_base=exact(video.time_base),
        start_pts=frame.pts if frame.pts is not None else 0,
        rate=exact(rate) if rate else None,
        duration=duration,
        frames=frames,
        sar=exact_or(video.sample_aspect_ratio, Fraction(1)),
        rotation=frame.rotation,
        display_matrix=display_matrix(frame),
        interlaced=frame.interlaced_frame,
        picture_data=beside.kinds if beside else (),
        timecode=str(first_code) if first_code else "",
        hdr=hdr_facts(frame),
        mastering=read_mastering(facts.get("MASTERING_DISPLAY_METADATA")),
        light=read_light(facts.get("CONTENT_LIGHT_LEVEL")),
        zero=_zero(container),
        streams=tuple(stream_info(s) for s in container.streams),
        chapters=len(container.chapters()),
        metadata=tuple(container.metadata.items()),
        warnings=tuple(_losses(facts)),
    )


def _zero(container: InputContainer) -> Fraction:
    """The file's time zero in seconds, exact (the container's own start_time is rounded to microseconds)."""
    if not _FLOATING_START & set(container.format.name.split(",")):
        return Fraction(0)
    starts = [
        s.start_time * exact(s.time_base)
        for s in container.streams
        if s.type in ("video", "audio") and s.start_time is not None and s.time_base
    ]
    return min(starts, default=Fraction(0))


def _duration(container: InputContainer, video: VideoStream) -> float | None:
    if video.duration is not None and video.time_base is not None:
        return float(video.duration * exact(video.time_base))
    return container.duration / av.time_base if container.duration else None


def _losses(facts: dict[str, bytes]) -> Iterator[str]:
    """What the first frame carries that this version does not carry on: said, never silent."""
    names = {
        "DYNAMIC_HDR_PLUS": "HDR10+",
        "DOVI_METADATA": "Dolby Vision",
        "DOVI_RPU_BUFFER": "Dolby Vision",
    }
    lost = dict.fromkeys(text for key, text in names.items() if key in facts)
    if lost:
        yield f"the film's {', '.join(lost)} metadata is not carried over yet; colour tags are"


def stream_info(stream: Stream) -> StreamInfo:
    """A container's stream as plain data."""
    context = stream.codec_context
    detail = ""
    if isinstance(context, AudioCodecContext):
        detail = f"{context.sample_rate} Hz {context.layout.name}"
    elif isinstance(context, VideoCodecContext):
        detail = f"{context.width}x{context.height} {context.pix_fmt}"
    elif stream.type == "attachment":
        detail = f"{stream.metadata.get('filename', '')} {stream.metadata.get('mimetype', '')}".strip()
    return StreamInfo(
        index=stream.index,
        type=stream.type,
        codec=(context.name if context is not None else getattr(stream, "name", None)) or "",
        language=stream.metadata.get("language", ""),
        title=stream.metadata.get("title", ""),
        default=bool(stream.disposition & 1),
        forced=bool(stream.disposition & 0x40),
        cover=bool(stream.disposition & ATTACHED_PICTURE),
        detail=detail,
    )


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The container's rotation or flip as nine 16.16 fixed-point integers; None where the film stands upright."""
    data = side_data(frame).get("DISPLAYMATRIX")
    if data is None or len(data) < 36:
        return None
    matrix = struct.unpack("=9i", data[:36])
    upright = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    return None if matrix == upright else matrix


def hdr_facts(frame: av.VideoFrame) -> tuple[str, ...]:
    """Names of the HDR metadata that the first frame carries, for people and for choosing a codec."""
    present = side_data(frame)
    names = {
        "MASTERING_DISPLAY_METADATA": "mastering display",
        "CONTENT_LIGHT_LEVEL": "content light level",
        "DYNAMIC_HDR_PLUS": "HDR10+",
        "DOVI_METADATA": "Dolby Vision",
        "DOVI_RPU_BUFFER": "Dolby Vision",
    }
    transfer = {16: "PQ", 18: "HLG"}.get(int(frame.color_trc))
    return tuple(dict.fromkeys(([transfer] if transfer else []) + [text for key, text in names.items() if key in present]))
