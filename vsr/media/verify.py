"""Does the output keep what was promised? The cheap part: counts, timestamps, packets; no pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av.error
from av.packet import Packet
from av.stream import Stream

from vsr.media.convert import is_gap
from vsr.media.join import SegmentFile
from vsr.media.probe import main_video
from vsr.media.source import Pipe, open_input
from vsr.media.spool import read_spool
from vsr.plan import Plan


@dataclass(frozen=True)
class Check:
    """One promise: kept or not, and what was seen."""

    name: str
    ok: bool
    detail: str


def verify(
    plan: Plan, source: str | Pipe, segments: Sequence[SegmentFile], output: Path, spool: Path | None = None
) -> tuple[Check, ...]:
    """Re-reads the joined file and compares it with the plan and the source."""
    want = [pts * plan.info.time_base for segment in segments for pts in segment.pts]
    with open_input(str(output)) as container:
        film = main_video(container, str(output))
        tick = film.time_base or Fraction(1, 1000)
        outputs = [s.index for s in container.streams]
        packets: dict[int, _Tally] = {}
        times: list[Fraction] = []
        for packet in _packets(container.demux()):
            if packet.stream.index == film.index:
                if packet.pts is not None and not packet.is_discard:
                    times.append(packet.pts * packet.time_base)
            else:
                packets.setdefault(packet.stream.index, _Tally()).add(packet)
        film_index = film.index
    times.sort()
    checks = [_count(want, times), _times(want, times, tick, plan)]
    kept = [p.index for p in plan.streams if p.action == "copy"]
    if kept and plan.start is None and plan.stop is None:
        sources = _source_tallies(source, set(kept), spool)
        carried = [p for p in sorted(plan.streams, key=lambda p: p.index) if p.action in ("copy", "convert")]
        places = [i for i in outputs if i != film_index]
        for stream, place in zip(carried, places, strict=False):
            if stream.action == "copy":
                checks.append(_same_packets(stream.index, sources.get(stream.index, _Tally()), packets.get(place, _Tally())))
    return tuple(checks)


@dataclass
class _Tally:
    """Packets of one stream: how many, their payloads' digest, the first timestamp in seconds."""

    count: int = 0
    size: int = 0
    first: Fraction | None = None

    def __post_init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, packet: Packet[Stream]) -> None:
        self.count += 1
        self.size += packet.size
        self._digest.update(bytes(packet))
        if self.first is None and packet.pts is not None:
            self.first = packet.pts * packet.time_base

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


def _packets(packets: Iterator[Packet[Stream]]) -> Iterator[Packet[Stream]]:
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        if packet.size and not is_gap(packet, packet.stream):
            yield packet


def _source_tallies(source: str | Pipe, wanted: set[int], spool: Path | None) -> dict[int, _Tally]:
    tallies: dict[int, _Tally] = {}
    if spool is not None:
        for item in read_spool(spool):
            if item is not None and item[0] in wanted:
                tallies.setdefault(item[0], _Tally()).add(item[1])
        return tallies
    assert isinstance(source, str)
    with open_input(source) as container:
        for packet in _packets(container.demux([container.streams[i] for i in wanted])):
            tallies.setdefault(packet.stream.index, _Tally()).add(packet)
    return tallies


def _count(want: Sequence[Fraction], got: Sequence[Fraction]) -> Check:
    return Check("frames", len(want) == len(got), f"{len(got)} of {len(want)}")


def _times(want: Sequence[Fraction], got: Sequence[Fraction], tick: Fraction, plan: Plan) -> Check:
    """Equal to the tick where the container's clock holds the source's, else within half a tick, but for one constant offset."""
    if len(want) != len(got) or not want:
        return Check("timestamps", False, "not comparable: the number of frames differs")
    exact = (plan.info.time_base / tick).denominator == 1
    offset = got[0] - want[0]
    if any(b <= a for a, b in pairwise(got)):
        return Check("timestamps", False, "two frames have one time: the container's clock is too coarse, or the rate is wrong")
    worst = max(abs(g - w - offset) for g, w in zip(got, want, strict=True))
    allowed = Fraction(0) if exact else tick  # the first frame's own rounding is in the offset: half a tick and half a tick
    text = "equal to the tick" if worst == 0 else f"within {float(worst) * 1e3:.3f} ms"
    return Check("timestamps", worst <= allowed, f"{text}{f', all moved by {float(offset):+.6f} s' if offset else ''}")


def _same_packets(index: int, source: _Tally, output: _Tally) -> Check:
    same = (source.count, source.digest) == (output.count, output.digest)
    detail = (
        f"{output.count} packets, same bytes"
        if same
        else f"{output.count} packets of {source.size and source.count}, bytes differ"
    )
    return Check(f"stream {index}", same, detail)


def summary(checks: Iterable[Check]) -> str:
    """One line for people."""
    return "; ".join(f"{c.name} {c.detail}" for c in checks)
