"""Clips made by code for the scripts beside this one, and what an independent reader (PyAV alone) finds in a file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

HDR10 = (
    "log-level=none:keyint=24:bframes=3:open-gop=1:hdr10=1:repeat-headers=1:max-cll=1000,400:"
    "master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,1)"
)


@dataclass(frozen=True)
class Clip:
    """What to make. `steps`: the frames' durations in ticks of `base`, repeated; `tags`: range, primaries, transfer, matrix."""

    name: str
    suffix: str
    codec: str
    pix_fmt: str
    base: Fraction
    steps: tuple[int, ...]
    options: dict[str, str]
    tags: tuple[int, int, int, int] = (1, 1, 1, 1)


CLIPS = (
    Clip(
        "open-gop", ".mp4", "libx264", "yuv420p", Fraction(1, 12800), (512,),
        {"preset": "veryfast", "x264-params": "open-gop=1:keyint=24:bframes=3:b-pyramid=normal"},
    ),
    Clip(
        "vfr", ".mkv", "libx264", "yuv420p", Fraction(1, 1000), (17, 33, 100, 7, 42, 41),
        {"preset": "veryfast", "g": "30", "bf": "2"},
    ),
    Clip(
        "hdr10", ".mkv", "libx265", "yuv420p10le", Fraction(1, 1000), (41, 42, 42),
        {"preset": "ultrafast", "x265-params": HDR10}, (1, 9, 16, 9),
    ),
)  # fmt: skip
LONG = Clip(
    "long", ".mp4", "libx264", "yuv420p", Fraction(1, 12800), (512,),
    {"preset": "ultrafast", "g": "50", "bf": "2", "threads": "1"},
)  # fmt: skip


def make(clip: Clip, folder: Path, frames: int, size: tuple[int, int] = (160, 90), rate: int = 48000) -> Path:
    """Writes a clip with a stereo tone in AAC beside it, and returns its path. The picture moves, with noise in it."""
    path = folder / f"{clip.name}{clip.suffix}"
    with av.open(str(path), "w") as out:
        video = out.add_stream(clip.codec, rate=25, options=dict(clip.options))
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = *size, clip.pix_fmt
        context = video.codec_context
        context.time_base = video.time_base = clip.base
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = clip.tags
        sound = out.add_stream("aac", rate=rate, options={"aac_coder": "fast"})  # the usual one takes 3 ms a packet
        assert isinstance(sound, av.AudioStream)
        sound.codec_context.layout = "stereo"
        tone, pts = _tone(sound, rate), 0
        heard = Fraction(0)
        for number, frame in enumerate(_pictures(clip, size, frames)):
            frame.pts, frame.time_base = pts, clip.base
            pts += clip.steps[number % len(clip.steps)]
            out.mux(video.encode(frame))
            while heard < pts * clip.base:  # beside the film, or the muxer would have to hold it all
                out.mux(sound.encode(next(tone)))
                heard += Fraction(1024, rate)
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    return path


def _pictures(clip: Clip, size: tuple[int, int], frames: int) -> Iterator[av.VideoFrame]:
    """Frames cut from one large picture along a path that comes back after 997 frames; the brightness tells them apart."""
    width, height = size
    ten = clip.pix_fmt.endswith("10le")
    chance = np.random.default_rng(1)
    y, x = np.mgrid[0 : height + 40, 0 : width + 40]
    texture = 110 + 60 * np.sin(x / 7) * np.cos(y / 9) + chance.normal(0, 4, x.shape)
    for number in range(frames):
        at = number % 997
        top, left = round(20 + 20 * math.sin(at / 13)), round(20 + 20 * math.cos(at / 17))
        luma = texture[top : top + height, left : left + width] + (number * 7) % 23
        chroma = np.full((2 * ((height + 1) // 2), (width + 1) // 2), 100 + number % 50)
        frame = av.VideoFrame(width, height, clip.pix_fmt)
        planes = (luma, chroma[: (height + 1) // 2], chroma[(height + 1) // 2 :])
        for plane, samples in zip(frame.planes, planes, strict=True):
            kind = "<u2" if ten else "u1"
            rows = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)
            rows[:, : plane.width] = np.clip(samples * (4 if ten else 1), 0, 1023 if ten else 255).astype(kind)
        frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace = clip.tags
        yield frame


def _tone(sound: av.AudioStream, rate: int) -> Iterator[av.AudioFrame]:
    number = 0
    while True:
        t = np.arange(number, number + 1024) / rate
        wave = (np.sin(t * 2 * np.pi * (220 + t)) * 8000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(wave[:, None], 2, 1).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), number
        number += 1024
        yield frame


@dataclass(frozen=True)
class Facts:
    """What is in a file: each frame's time and digest, each audio packet's; digests of the coded film and of all bytes."""

    times: tuple[Fraction, ...]
    pictures: tuple[bytes, ...]
    sound: tuple[tuple[Fraction, bytes], ...]
    coded: bytes
    whole: bytes

    def differs(self, other: Facts) -> list[str]:
        """The names of what is not the same."""
        pairs: dict[str, Callable[[Facts], object]] = {
            "frames": lambda f: len(f.times),
            "times": lambda f: f.times,
            "audio": lambda f: f.sound,
            "pixels": lambda f: f.pictures,
        }
        return [name for name, fact in pairs.items() if fact(self) != fact(other)]


def look(path: Path) -> Facts:
    """Reads a film from end to end. Raises av.error.FFmpegError where it is not whole."""
    times, pictures = [], []
    for frame in frames_of(path):
        times.append(_time(frame.pts, frame.time_base))
        planes = b"".join(samples.tobytes() for samples in planes_of(frame))
        pictures.append(hashlib.blake2b(planes, digest_size=12).digest())
    sound, coded = [], hashlib.blake2b(digest_size=12)
    with av.open(str(path)) as film:
        for packet in film.demux():
            if packet.stream.type == "video":
                coded.update(bytes(packet))
            elif packet.size:
                digest = hashlib.blake2b(bytes(packet), digest_size=12).digest()
                sound.append((_time(packet.pts, packet.time_base), digest))
    whole = hashlib.blake2b(path.read_bytes(), digest_size=12).digest()
    return Facts(tuple(times), tuple(pictures), tuple(sound), coded.digest(), whole)


def _time(ticks: int | None, base: Fraction | None) -> Fraction:
    assert ticks is not None and base is not None
    return Fraction(ticks * base.numerator, base.denominator)


def frames_of(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as film:
        film.streams.video[0].thread_type = "AUTO"
        yield from film.decode(film.streams.video[0])


def planes_of(frame: av.VideoFrame) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint16 | np.uint8]]]:
    """The samples of each plane, without the padding of its rows."""
    kind, wide = ("<u2", 2) if frame.format.components[0].bits > 8 else ("u1", 1)
    for plane in frame.planes:
        yield np.frombuffer(memoryview(plane), kind).reshape(plane.height, plane.line_size // wide)[:, : plane.width]


def least_psnr(left: Path, right: Path) -> float:
    """PSNR of luma in dB of the two films' frames that are farthest apart; infinite where all are equal."""
    worst = 0.0
    for a, b in zip(frames_of(left), frames_of(right), strict=True):
        ours, theirs = next(planes_of(a)).astype(float), next(planes_of(b)).astype(float)
        peak = (1 << a.format.components[0].bits) - 1
        worst = max(worst, float(np.mean((ours - theirs) ** 2)) / peak**2)
    return math.inf if worst == 0 else -10 * math.log10(worst)
