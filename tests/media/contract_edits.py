"""What happens to films after they were made: cut, joined, damaged, given a cover. Each takes a file and returns another."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
from av.stream import Disposition
from PIL import Image

from tests.films import opened

MILLISECOND = Fraction(1, 1000)


def with_edit(path: Path, seconds: Fraction, timescales: Sequence[int]) -> Path:
    """The mp4 with its tracks' edit lists set to begin `seconds` into the media."""
    data, at = bytearray(path.read_bytes()), 0
    for timescale in timescales:
        at = data.index(b"elst", at) + 4
        duration, begin = (int.from_bytes(data[at + k : at + k + 4], "big") for k in (8, 12))
        data[at + 8 : at + 12] = (duration - round(seconds * 1000)).to_bytes(4, "big")
        data[at + 12 : at + 16] = (begin + round(seconds * timescale)).to_bytes(4, "big")
    cut = path.with_name(f"cut_{path.name}")
    cut.write_bytes(data)
    return cut


def damaged(path: Path, from_end: int, skip: int = 0) -> Path:
    """The film with every byte of one video packet inverted, after the first `skip`."""
    with opened(path) as container:
        packets = [bytes(p) for p in container.demux(container.streams.video[0]) if p.size]
    data, packet = bytearray(path.read_bytes()), packets[-from_end]
    assert data.count(packet) == 1
    at = data.index(packet)
    data[at + skip : at + len(packet)] = bytes(255 - byte for byte in packet[skip:])
    broken = path.with_name(f"broken_{path.name}")
    broken.write_bytes(data)
    return broken


def cut_short(path: Path, kept: int) -> Path:
    """The file up to the end of its video packet number `kept`, as a download leaves it that broke off."""
    with opened(path) as container:
        packets = [bytes(p) for p in container.demux(container.streams.video[0]) if p.size]
    data = path.read_bytes()
    assert data.count(packets[kept - 1]) == 1
    broken = path.with_name(f"short_{path.name}")
    broken.write_bytes(data[: data.index(packets[kept - 1]) + len(packets[kept - 1])])
    return broken


def joined(*paths: Path) -> Path:
    """Files one after the other, as `cat` joins them."""
    path = paths[0].with_name(f"joined_{paths[0].name}")
    path.write_bytes(b"".join(part.read_bytes() for part in paths))
    return path


def cover_picture(kind: str = "JPEG") -> bytes:
    """A red picture."""
    file = BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(file, kind)
    return file.getvalue()


def with_cover(path: Path, suffix: str, kind: str = "JPEG") -> Path:
    """The film with a red picture as cover art."""
    data, source = cover_picture(kind), path.with_name(f"covered{suffix}")
    with opened(path) as film, av.open(str(source), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in film.streams}
        if suffix == ".mkv":
            out.add_attachment(f"cover.{'jpg' if kind == 'JPEG' else 'png'}", f"image/{kind.lower()}", data)
        else:
            cover = out.add_stream("mjpeg" if kind == "JPEG" else "png")
            assert isinstance(cover, av.VideoStream)
            cover.codec_context.width = cover.codec_context.height = 32
            cover.codec_context.pix_fmt = "yuvj420p" if kind == "JPEG" else "rgb24"
            cover.disposition = Disposition.attached_pic
        for packet in film.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
        if suffix != ".mkv":
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.time_base, packet.is_keyframe = cover, 0, 0, MILLISECOND, True
            out.mux(packet)
    return source


def twice(path: Path, suffix: str) -> Path:
    """The film two times beside each other in one file."""
    source = path.with_name(f"two{suffix}")
    with opened(path) as first, opened(path) as second, av.open(str(source), "w") as out:
        pairs = [(c, out.add_stream_from_template(c.streams.video[0])) for c in (first, second)]
        for packets in zip(*(c.demux(video=0) for c, _ in pairs), strict=True):
            for packet, (_, stream) in zip(packets, pairs, strict=True):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    return source
