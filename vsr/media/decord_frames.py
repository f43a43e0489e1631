"""decord as a reader of films for training, where it tells the truth about them.

decord 0.6 counts and finds frames by what the container says. In edited MP4s, AVI with B-frames and transport streams that is
wrong: 12 to 16 of 25 random frames were others than asked for. So nothing of it is used before its length, every frame's time
and a few frames' pixels have been held against the index and PyAV. Its own conversion to RGB rounds and interpolates chroma
more coarsely than `vsr.color`: 38 to 44 dB apart on real clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from vsr.errors import DecodeError
from vsr.frames import FrameFormat, PixelLayout
from vsr.media.film import Film
from vsr.media.framecache import Decoded
from vsr.media.imagemeta import SRGB
from vsr.media.rgb import rgb_of

_TRIED = 4  # frames whose pixels are compared, spread over the film
_ALIKE_DB = 30.0  # another matrix (25 dB and less), another size or another frame is below this


def by_decord(film: Film) -> DecordFrames | None:
    """decord's reader of this film; None where there is no decord, or where it has other frames than the index."""
    try:
        import decord  # noqa: F401
    except (ImportError, OSError):  # no wheel for this machine, or one whose libraries do not load
        return None
    frames = DecordFrames(film)
    try:
        agrees = _agrees(frames, film)
    except DecodeError:
        agrees = False
    if not agrees:
        frames.close()
    return frames if agrees else None


class DecordFrames:
    """Frames through decord, as RGB."""

    shareable = False

    def __init__(self, film: Film) -> None:
        self.path, self.count, self.width, self.height = film.path, film.count, film.width, film.height
        self._format = FrameFormat(film.width, film.height, PixelLayout("rgb"), SRGB)
        self._reader: Any = None

    def entry(self, number: int) -> int:
        """decord seeks by itself."""
        return number

    def read(self, first: int, last: int) -> Iterator[tuple[int, Decoded]]:
        """Frames with their numbers. Raises DecodeError."""
        import decord

        try:
            reader = self.opened()
            pixels = reader.get_batch(list(range(first, last + 1))).asnumpy()
            reader.seek(0)  # or it decodes ahead without end: 550 MB after three idle seconds (decord issues 157, 208)
        except (decord.DECORDError, IndexError, RuntimeError) as exc:
            raise DecodeError(f"{self.path}: decord cannot read frames {first} to {last}; use the reader av") from exc
        if pixels.shape[1:] != (self.height, self.width, 3):
            raise DecodeError(f"{self.path}: decord gives pictures of {pixels.shape[2]}x{pixels.shape[1]}; use the reader av")
        for number, picture in enumerate(pixels, first):
            yield number, Decoded(tuple(np.ascontiguousarray(picture[..., c]) for c in range(3)), self._format)

    def opened(self) -> Any:
        """decord's own reader, opened when it is first needed."""
        if self._reader is None:
            import decord

            self._reader = decord.VideoReader(self.path, num_threads=1)
        return self._reader

    def close(self) -> None:
        """Gives decord's buffers back."""
        self._reader = None


def _agrees(frames: DecordFrames, film: Film) -> bool:
    """Length and times of all frames, pixels of some. Length first: a frame beyond the real ones can hang decord for ever."""
    import decord

    try:
        reader = frames.opened()
        if len(reader) != film.count:
            return False
        times = np.asarray(reader.get_frame_timestamp(list(range(film.count))))[:, 0]
    except (decord.DECORDError, IndexError, RuntimeError):
        return False
    exact = np.array([float((pts - film.index.pts[0]) * film.info.time_base) for pts in film.index.pts])
    half_a_frame = float(film.info.step * film.info.time_base) / 2
    if np.abs(times - times[0] - exact).max() >= half_a_frame:
        return False
    return all(_same_picture(frames, film, number) for number in np.linspace(0, film.count - 1, _TRIED).astype(int).tolist())


def _same_picture(frames: DecordFrames, film: Film, number: int) -> bool:
    """Of the frames around `number`, decord's is nearest to this one, and near enough."""
    around = range(max(0, number - 1), min(film.count, number + 2))
    truth = {n: _levels(frame) for n, frame in film.read(around[0], around[-1]) if n in around}
    [(_, frame)] = frames.read(number, number)
    errors = {n: float(np.square(_levels(frame) - picture).mean()) for n, picture in truth.items()}
    return errors[number] <= min(errors.values()) and errors[number] * 10 ** (_ALIKE_DB / 10) < 255**2


def _levels(frame: Decoded) -> Any:
    return rgb_of(frame.planes, frame.format).numpy().astype(np.float32)
