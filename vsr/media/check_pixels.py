"""Does each output frame show its own input frame? Both films are decoded side by side; memory holds a few thumbnails."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import av
import av.error
import numpy as np
from av.stream import Discard
from av.video.stream import VideoStream

from vsr.fields import Deinterlace
from vsr.frames import VideoInfo
from vsr.media.check import Check, verdict
from vsr.media.check_beside import Beside, Found, compared
from vsr.media.check_color import ColorMoments
from vsr.media.check_time import Alignment, at_time
from vsr.media.clock import Clock
from vsr.media.decoder import Decoder, salvaged_packets
from vsr.media.deinterlace import Timed, deinterlaced
from vsr.media.picture_data import picture_data_of
from vsr.media.pixels import color_of, planar_equivalent, planar_layout, read_planes
from vsr.media.source import open_input
from vsr.media.survey import Survey
from vsr.media.thumbnail import Thumbnail, thumbnail, thumbnail_size

# One frame differs from its neighbour when showing the wrong one of the two would cost this much PSNR ...
_TELLING = 10 ** (1 / 10) - 1  # 1 dB
# ... and the two differ by more than what codecs drop from quiet scenes (mean square, 8-bit levels)
_VISIBLE = 0.25
_CLEARLY = 0.75
_BRIGHTER = 20.0  # a step of 8 levels of luma, for pictures that differ in nothing else
_STRANGE_DB = 18.0  # worse than this, a picture does not resemble its frame at all
_NAMED = 3


@dataclass(frozen=True)
class Stranger:
    """A frame of the output that shows another frame than its own, or none (None) that is near it."""

    number: int
    own: int
    shows: int | None
    decibel: float


@dataclass
class Shown:
    """What the pictures of a film showed, counted on the way."""

    frames: int = 0
    alike: int = 0
    strangers: list[Stranger] = field(default_factory=list)
    colors: ColorMoments = field(default_factory=ColorMoments)
    odd_colors: ColorMoments = field(default_factory=ColorMoments)  # of frames that resemble none
    lost: frozenset[int] = frozenset()  # frames of the source that do not decode
    spoilt: frozenset[int] = frozenset()  # and of the output
    beside: dict[str, Found] = field(default_factory=dict)


class _Film:
    """The decoded frames of a file, one after the other, as (number, thumbnail); `number` is found by pts in the film's index.

    Of an interlaced film its frames as they should come out, by `mode`. `partners`: the source's frames that they belong to.
    """

    def __init__(
        self, path: str, survey: Survey, size: tuple[int, int], mode: Deinterlace = "off", partners: Sequence[int] = ()
    ) -> None:
        self._path, self._survey, self._size, self._mode = path, survey, size, mode
        self._partners = partners or range(len(survey.film.times))
        self.missing = set(range(len(survey.film.times)))
        self.beside = Beside()

    def __iter__(self) -> Iterator[tuple[int, Thumbnail]]:
        info, times = self._survey.info, self._survey.film.times
        clock, last = Clock(info), -1
        with open_input(self._path) as container:
            stream = container.streams[info.index]
            assert isinstance(stream, VideoStream)
            for other in container.streams:
                if other.index != info.index:
                    other.discard = Discard.all
            order = int(stream.codec_context.field_order)
            for timed in deinterlaced(self._mode, _timed(container, stream, clock, info), info, order):
                at = bisect_left(times, timed.pts)
                last = max(last + 1, at if at < len(times) else last + 1)
                self.missing.discard(last)
                self.beside.add(timed.data, self._partners[last] if last < len(self._partners) else -1)
                yield last, self._reduced(timed.frame)

    def _reduced(self, frame: av.VideoFrame) -> Thumbnail:
        layout = planar_layout(planar_equivalent(frame.format.name))
        assert layout is not None
        known = self._survey.info.format.color
        color = known if layout == self._survey.info.format.layout else color_of(frame, layout, self._survey.info.codec)
        return thumbnail(read_planes(frame), layout, color, self._size)


def _timed(container: Any, stream: VideoStream, clock: Clock, info: VideoInfo) -> Iterator[Timed]:
    for frame in _decoded(container, stream):
        pts = clock.tick(frame.pts, frame.dts)
        yield Timed(pts, int(frame.duration or 0), frame, picture_data_of(frame, info.rate))


def _decoded(container: Any, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Every frame that decodes, by the same salvage as the Reader's; what it refuses costs its own frames only."""
    decoder = Decoder(stream)
    for packet in salvaged_packets(container.demux(stream), stream):
        with suppress(av.error.FFmpegError):
            yield from decoder.decode(packet)


def look_at_pixels(
    source: tuple[str, Survey], output: tuple[str, Survey], fit: Alignment, on_frame: Callable[[int, int], None] | None = None
) -> Shown:
    """Decodes both films in step and compares each output frame with its own input frame and the two beside it."""
    sizes = [(s.info.format.width, s.info.format.height) for _, s in (source, output)]
    size = thumbnail_size(*sizes)
    before, after = _Film(*source, size, fit.mode), _Film(*output, size, partners=fit.partners)
    shown = Shown()
    window = _Window(iter(before))
    partners = fit.partners
    for number, picture in after:
        partner = partners[number] if number < len(partners) else -1
        around = window.around(partner)
        if 0 in around:
            _compare(shown, number, picture, around, partner)
        if on_frame is not None:
            on_frame(number + 1, len(partners))
    window.exhaust()
    shown.lost, shown.spoilt = frozenset(before.missing), frozenset(after.missing)
    shown.beside = compared(before.beside, after.beside)
    return shown


class _Window:
    """The source's frames around the one that is asked for; asked in increasing order."""

    def __init__(self, frames: Iterator[tuple[int, Thumbnail]]) -> None:
        self._frames = frames
        self._held: deque[tuple[int, Thumbnail]] = deque()

    def around(self, number: int) -> dict[int, Thumbnail]:
        """The frames at -1, 0 and +1 from `number`, as far as they are there."""
        while not self._held or self._held[-1][0] <= number:
            item = next(self._frames, None)
            if item is None:
                break
            self._held.append(item)
        while self._held and self._held[0][0] < number - 1:
            self._held.popleft()
        return {n - number: picture for n, picture in self._held if abs(n - number) <= 1}

    def exhaust(self) -> None:
        for _ in self._frames:
            pass


def _compare(shown: Shown, number: int, picture: Thumbnail, around: dict[int, Thumbnail], partner: int) -> None:
    shown.frames += 1
    winner, telling = _winner(picture, around)
    shown.alike += not telling
    quality = _decibel(_square(picture - around[winner]))
    strange = not winner and quality < _STRANGE_DB
    # colours are compared with the frame that is shown, be it the wrong one
    (shown.odd_colors if strange else shown.colors).add(around[winner], picture)
    if winner or strange:
        shown.strangers.append(Stranger(number, partner, None if strange else partner + winner, quality))


def _winner(picture: Thumbnail, around: dict[int, Thumbnail]) -> tuple[int, bool]:
    """(which of the frames -1, 0, +1 a picture shows, whether that can be told).

    A neighbour has to win as it stands and in structure (in brightness where structure tells nothing): networks miss the
    brightness of dark scenes by several levels, low bit rates lag in contrast, and in a fade either is as much as a frame.
    """
    whole, _ = _nearest(picture, around, _VISIBLE, lambda difference: difference)
    shape, telling = _nearest(picture, around, _VISIBLE, _structure)
    if not telling:
        shape, telling = _nearest(picture, around, _BRIGHTER, _brightness)
    return (shape if whole == shape else 0), telling


def _nearest(
    picture: Thumbnail, around: dict[int, Thumbnail], visible: float, read: Callable[[Thumbnail], Thumbnail]
) -> tuple[int, bool]:
    errors = {step: _square(read(picture - other)) for step, other in around.items()}
    best = min(errors, key=lambda step: errors[step])
    apart = {step: _square(read(around[0] - other)) for step, other in around.items() if step}
    telling = [step for step, gap in apart.items() if gap > max(visible, _TELLING * errors[best])]
    # of a picture that shows the other frame the errors are apart by the whole gap, of one's own by as much the other way
    clear = best in telling and errors[0] - errors[best] > _CLEARLY * apart[best]
    wins = clear and errors[best] * (1 + _TELLING) < errors[0]
    return (best if wins else 0), bool(telling)


def _structure(difference: Thumbnail) -> Thumbnail:
    rest: Thumbnail = difference - difference.mean(axis=(1, 2), keepdims=True)
    return rest


def _brightness(difference: Thumbnail) -> Thumbnail:
    means: Thumbnail = difference.mean(axis=(1, 2), keepdims=True)
    return means


def _square(difference: Thumbnail) -> float:
    return float(np.square(difference).mean())


def _decibel(square: float) -> float:
    return 10 * float(np.log10(255**2 / max(square, 1e-6)))


def check_pixels(shown: Shown, output: Survey) -> Check:
    """Each output frame shows its own input frame, wherever its neighbours can be told from it."""
    told = [_strange(stranger, output) for stranger in shown.strangers[:_NAMED]]
    more = [f"and {len(shown.strangers) - _NAMED} more"] if len(shown.strangers) > _NAMED else []
    fine = f"{shown.frames - shown.alike} frames show their own"
    alike = f"; {shown.alike} too like their neighbours to be told apart" if shown.alike else ""
    return verdict("pixels", [*told, *more], f"{fine}{alike}")


def _strange(stranger: Stranger, output: Survey) -> str:
    where = at_time(output.film, stranger.number)
    if stranger.shows is None:
        return f"{where} resembles no frame near it ({stranger.decibel:.1f} dB)"
    return f"{where} shows the source's frame {stranger.shows}, not {stranger.own}"
