"""Decoding on hardware, only where its frames equal software's sample by sample; software goes on wherever it fails.

Standards leave a decoder no freedom, but drivers, croppings and concealments have theirs: so the film itself is the judge. A
device serves it when the first frames, and those after a seek to its middle, come out the same both ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise, zip_longest
from typing import Any, Protocol

import av
import av.error
import numpy as np
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from vsr.errors import ConfigError, DecodeError
from vsr.frames import VideoInfo
from vsr.media.decoder import Decoder, salvaged_packets
from vsr.media.picture_data import picture_data_of
from vsr.media.pixels import pix_fmt_of, read_planes
from vsr.media.source import Pipe, open_input, reason

JUDGED_FRAMES = 32  # at the beginning, and as many in the middle
# What devices hand over -> the planar layout with the same samples: chroma in two planes instead of pairs, and samples at the
# low end of their words instead of the high one. libswscale moves them without a change, odd sizes included.
_LOSSLESS = {"nv12": "yuv420p", "p010le": "yuv420p10le", "p012le": "yuv420p12le"}
# Devices are opened with a decoder that knows their kind; one of these does.
_COMMON = ("h264", "hevc", "vp9", "mpeg2video", "av1", "mjpeg")


class HardwareLost(Exception):
    """The device has no more frames to give, or none that the gate has judged: software decodes on. Never leaves the Reader."""


class FrameDecoder(Protocol):
    """What the Reader decodes with: `vsr.media.decoder.Decoder`, or a device's, which may raise HardwareLost at any packet."""

    corrupt_packets: int

    def decode(self, packet: Packet[VideoStream]) -> Iterator[av.VideoFrame]:
        """Frames that are complete with this packet; an empty packet ends the stream."""
        ...


class Hardware(Protocol):
    """Another way to decode a film than software."""

    def open(self, source: str | Pipe) -> AbstractContextManager[InputContainer]:
        """The film, prepared for `decoder`. Raises DecodeError where the device, or the film, cannot be opened."""
        ...

    def decoder(self, video: VideoStream, info: VideoInfo) -> FrameDecoder:
        """A decoder of one of its streams, whose frames are in memory and have the layout of `info`."""
        ...


@dataclass(frozen=True)
class Device:
    """A device by FFmpeg's name of its kind (cuda, vaapi, ...) and, where there are several, its number or path."""

    kind: str
    which: str | None = None

    @classmethod
    def named(cls, name: str) -> Device:
        """The inverse of `str`: "cuda", "cuda:1"."""
        kind, _, which = name.partition(":")
        return cls(kind, which or None)

    def __str__(self) -> str:
        return f"{self.kind}:{self.which}" if self.which else self.kind

    def open(self, source: str | Pipe) -> AbstractContextManager[InputContainer]:
        if self.kind not in hwdevices_available():  # PyAV would take any other kind for it
            raise DecodeError(f"{self}: FFmpeg is built without it here")
        return open_input(source, self._access())

    def decoder(self, video: VideoStream, info: VideoInfo) -> FrameDecoder:
        return DeviceDecoder(video, info)

    def refusal(self) -> str:
        """Why it cannot be used at all on this machine, for people; "" where it can."""
        if self.kind not in hwdevices_available():
            return "FFmpeg is built without it here"
        for name in _COMMON:
            if self._is_known_to(av.Codec(name, "r")):
                try:
                    CodecContext.create(name, "r", self._access())
                except (av.error.FFmpegError, OSError) as exc:
                    return f"it cannot be opened ({reason(exc)}): no such device, or no driver for it"
                return ""
        return "no decoder of FFmpeg's takes it here"

    def _is_known_to(self, codec: av.Codec) -> bool:
        return any(config.is_supported and config.device_type.name == self.kind for config in codec.hardware_configs or ())

    def _access(self) -> HWAccel:
        # Frames come down to memory at once: 1.5 bytes a pixel are nothing beside the network's work, everything behind the
        # Reader (fields, repeats, retries) stays as it is, and the device's few surfaces are free again. With a CUDA context of
        # its own: FFmpeg refuses the one that torch has opened, whose flags are others.
        return HWAccel(self.kind, self.which, allow_software_fallback=True, is_hw_owned=False)


class DeviceDecoder:
    """Decodes one stream on the device that its container was opened with; whatever is not as it was judged is HardwareLost."""

    def __init__(self, video: VideoStream, info: VideoInfo) -> None:
        self.corrupt_packets = 0  # software judges damage: a device hides it
        self._context, self._info = video.codec_context, info
        if not self._context.is_open:
            self._context.thread_count = 1  # more would only wait for each other, and keep frames back

    def decode(self, packet: Packet[VideoStream]) -> Iterator[av.VideoFrame]:
        if packet.is_corrupt:
            raise HardwareLost("a packet is damaged")
        try:
            frames = self._downloaded(packet)
        except EOFError:
            return
        except (av.error.FFmpegError, OSError) as exc:
            raise HardwareLost(reason(exc)) from exc
        yield from (planar(frame, self._info) for frame in frames)

    def _downloaded(self, packet: Packet[VideoStream]) -> list[av.VideoFrame]:
        if not self._context.is_hwaccel:
            raise HardwareLost(f"the decoder {self._context.name} knows no such device")
        return self._context.decode(packet if packet.size else None)


def planar(frame: av.VideoFrame, info: VideoInfo) -> av.VideoFrame:
    """A frame that came down from a device as software would have given it. Raises HardwareLost where it may be another."""
    wanted = pix_fmt_of(info.format.layout)
    if _LOSSLESS.get(frame.format.name) != wanted:
        raise HardwareLost(f"it gives {frame.format.name}, and the film is {wanted}")
    if (frame.width, frame.height) != (info.format.width, info.format.height):
        raise HardwareLost(f"a frame of {frame.width}x{frame.height} in a film of {info.format.width}x{info.format.height}")
    if frame.interlaced_frame or frame.is_corrupt:
        raise HardwareLost("a frame is interlaced" if frame.interlaced_frame else "a frame is damaged")
    return frame.reformat(format=wanted, threads=1)


def planned(name: str) -> Hardware | None:
    """The hardware that `Plan.hwaccel` names; None for software."""
    return Device.named(name) if name else None


def choose_hardware(wish: str, engine: str, source: str | Pipe, info: VideoInfo) -> tuple[str, tuple[str, ...]]:
    """What decodes the film, as `Plan.hwaccel` has it ("" = software), and what is to be said of it.

    `wish` is "auto" (the card of the `engine`, where that is CUDA), "off", or FFmpeg's name of a device. Raises ConfigError for a
    device that is not there.
    """
    if wish == "off" or (wish == "auto" and not engine.startswith("cuda")):
        return "", ()
    device = Device.named(engine if wish == "auto" or (wish == "cuda" and engine.startswith("cuda")) else wish)
    missing = device.refusal()
    if missing and wish != "auto":
        there = ", ".join(kind for kind in hwdevices_available() if not Device(kind).refusal())
        raise ConfigError(f"--hwaccel {wish}: {missing}; {f'{there} works' if there else 'none works: leave the option out'}")
    other = missing or difference(source, info, device)
    if not other:
        return str(device), ()
    return "", () if wish == "auto" else (f"software decodes the film, not {device}: {other}",)


def difference(source: str | Pipe, info: VideoInfo, hardware: Hardware) -> str:
    """What keeps a device from decoding a film, for people; "" where it gives the same frames as software."""
    if unfit := _unfit(source, info):
        return unfit
    for seek in _places(source, info):
        try:
            with open_input(source) as soft, hardware.open(source) as hard:
                expected = _film_frames(soft, info, Decoder, seek)
                found = _film_frames(hard, info, partial(hardware.decoder, info=info), seek)
                other = _first_difference(expected, found, info)
        except HardwareLost as exc:
            return str(exc)
        except (av.error.FFmpegError, OSError, DecodeError) as exc:
            return reason(exc)
        if other:
            return other
    return ""


def _unfit(source: str | Pipe, info: VideoInfo) -> str:
    """What is software's without a trial."""
    layout = info.format.layout
    if isinstance(source, Pipe):
        return "a pipe can be read only once"
    if layout.alpha or layout.kind != "yuv" or pix_fmt_of(layout) not in _LOSSLESS.values():
        return f"devices do not hand over {info.pix_fmt} unchanged"
    return "the film is interlaced" if info.interlaced else ""


def _film_frames(container: InputContainer, info: VideoInfo, decoder: Any, seek: int | None) -> Iterator[av.VideoFrame]:
    """Up to JUDGED_FRAMES decoded frames of the film, from the beginning or after a seek to the pts `seek`."""
    video = container.streams[info.index]
    assert isinstance(video, VideoStream)
    if seek is not None:
        container.seek(seek, stream=video, backward=True)
    decode = decoder(video).decode
    frames = (frame for packet in salvaged_packets(container.demux(video), video) for frame in decode(packet))
    return islice(frames, JUDGED_FRAMES)


def _places(source: str | Pipe, info: VideoInfo) -> tuple[int | None, ...]:
    """Where frames are judged: at the beginning (None), and at the middle's pts where the file can be sought in."""
    if not info.duration:
        return (None,)
    middle = info.start_pts + int(info.duration / 2 / info.time_base)
    try:
        with open_input(source) as container:
            container.seek(middle, stream=container.streams[info.index], backward=True)
    except (av.error.FFmpegError, OSError):
        return (None,)  # every part of it is reached from the beginning
    return None, middle


def _first_difference(expected: Iterator[av.VideoFrame], found: Iterator[av.VideoFrame], info: VideoInfo) -> str:
    """How two decodings of the same packets differ; "" where their number, times, data and every sample agree."""
    times: list[int] = []
    for one, other in zip_longest(expected, found):
        if one is None or other is None:
            return f"it gives {'more' if one is None else 'fewer'} frames than software"
        if one.pts is None:
            return "the film's frames have no times of their own"
        times.append(one.pts)
        if _facts(one, info) != _facts(other, info):
            return f"the frame at {one.pts} has another time, or other data, than by software"
        pairs = zip(read_planes(one), read_planes(other), strict=True)
        if not all(np.array_equal(ours, theirs) for ours, theirs in pairs):
            return f"the frame at {one.pts} has other samples than by software"
    if any(b <= a for a, b in pairwise(times)):
        return "the film's times do not increase"
    return "" if times else "not one frame was decoded"


def _facts(frame: av.VideoFrame, info: VideoInfo) -> tuple[Any, ...]:
    size = (frame.width, frame.height, frame.format.name.replace("yuvj", "yuv"))
    return frame.pts, frame.duration, bool(frame.interlaced_frame), size, picture_data_of(frame, info.rate)
