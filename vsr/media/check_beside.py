"""What broadcasters put beside the pictures, and fields: captions, active format, timecode, interlacing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vsr.frames import PictureData
from vsr.media.check import Check
from vsr.media.codecs import codec_made
from vsr.media.sei import CARRIED
from vsr.media.survey import Survey

_NAMES = {"captions": "captions", "afd": "active format", "timecode": "timecode"}


@dataclass
class Beside:
    """What is met on the way through a film: frames that have something beside them, and all of it hashed in display order."""

    frames: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_NAMES, 0))
    hashes: dict[str, hashlib.blake2b] = field(default_factory=lambda: {kind: hashlib.blake2b(digest_size=16) for kind in _NAMES})

    def add(self, data: PictureData | None, number: int) -> None:
        """Takes in what lies beside the frame that shows the source's frame `number`: all must stand with its own."""
        if data is None:
            return
        afd = b"" if data.afd is None else bytes([data.afd])
        found = {"captions": data.captions, "afd": afd, "timecode": " ".join(map(str, data.timecode)).encode()}
        for kind, content in found.items():
            if content:
                self.frames[kind] += 1
                self.hashes[kind].update(b"%d:" % number + content)


@dataclass(frozen=True)
class Found:
    """Frames with something beside them in source and output, and whether all of it is the same (None = not compared)."""

    before: int
    after: int
    same: bool | None = None


def compared(before: Beside, after: Beside) -> dict[str, Found]:
    """Two films that were decoded from end to end."""
    return {
        kind: Found(before.frames[kind], after.frames[kind], before.hashes[kind].digest() == after.hashes[kind].digest())
        for kind in _NAMES
    }


def at_a_glance(source: Survey, output: Survey) -> dict[str, Found]:
    """What packets and first frames tell without decoding the films; captions are left out where the source was a pipe."""
    found = {kind: Found(int(kind in source.info.picture_data), int(kind in output.info.picture_data)) for kind in _NAMES}
    if source.captions is None:
        del found["captions"]
    else:
        found["captions"] = Found(source.captions, output.captions or 0)
    return found


def check_beside(found: Mapping[str, Found], source: Survey, output: Survey, *, loose: bool = False) -> Iterator[Check]:
    """With as many frames as before, and the same. What the output's codec has no place for is stated.

    `loose`: only that they are there can be told (a part; fields in packets of their own; five frames that became four).
    """
    codec = codec_made(output.info.codec)
    for kind, name in _NAMES.items():
        this = found.get(kind)
        if this is None:
            yield Check(name, True, "not looked at: the source was a pipe", stated=True)
            continue
        if not this.before:
            if kind == "captions":
                yield Check(name, True, "none")
            continue
        counted = this.after == this.before or (loose and this.after > 0)
        told = f"with {this.after} of {this.before} frames"
        if counted and this.same is not False:
            yield Check(name, True, f"{told}{', all the same' if this.same else ''}", stated=loose)
            continue
        excused = kind not in CARRIED.get(codec, frozenset())
        other = ", other ones, or with other frames" if this.same is False and this.after else ""
        yield Check(name, excused, f"{told}{other}{f': {codec} has no place for it' if excused else ''}", stated=excused)


def check_interlacing(source: Survey, output: Survey) -> Check:
    """Only stated: an interlaced source may have been deinterlaced, a progressive one must stay so."""
    before, after = source.info.interlaced, output.info.interlaced
    if after and not before:
        return Check("interlacing", False, "a progressive source became interlaced")
    if before:
        return Check("interlacing", True, f"interlaced source, {'interlaced' if after else 'progressive'} output", stated=True)
    return Check("interlacing", True, "progressive")
