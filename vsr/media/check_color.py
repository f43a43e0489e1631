"""Are the colours the source's? Not how far they are off, but in which direction.

A limit on the error alone tells nothing: an honest network is off by up to 4.0 levels of luma and 1.8 of chroma (means over
64-pixel thumbnails), a film with little colour that went through the wrong matrix by only 0.7 and 0.3. So the error is projected
on the change that each known mistake would have made: 0 = nothing of it, 1 = the mistake itself. Measured on 60 honest pairs
(5 clips; bicubic at crf 4 to 45, three networks): at most 0.51 wherever the film can tell; a mistake adds 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vsr.frames import ColorSpec, PixelLayout
from vsr.media.check import Check
from vsr.media.thumbnail import MATRICES, Thumbnail, from_rgb

SHARE_LIMIT = 0.6
# Levels (root mean square) that a mistake would have changed: below that the film holds too little colour to tell
_TELLING_MATRIX, _TELLING_OTHERS = 0.6, 1.5
# Worse than any honest pair (8.7 and 3.1 at crf 45): other pictures, not other detail
_LUMA_LIMIT, _CHROMA_LIMIT = 16.0, 8.0

Array = npt.NDArray[np.float64]
# name, 3x3 map, offset, least change that tells, whether gain and offset are free
Mistake = tuple[str, Array, Array, float, bool]


class ColorMoments:
    """Sums over all frames from which every question about a linear change of colour can be answered; 7 x 7 numbers.

    In levels: Y, Cb, Cr of the source, 1, Y, Cb, Cr of the output.
    """

    def __init__(self) -> None:
        self._sums: Array = np.zeros((7, 7))
        self._errors: Array = np.zeros(3)
        self.frames = 0

    def add(self, own: Thumbnail, picture: Thumbnail) -> None:
        """Takes in a frame and the output's picture of it."""
        rows = np.concatenate([own.reshape(3, -1), np.ones((1, own[0].size)), picture.reshape(3, -1)]).astype(np.float64)
        self._sums += rows @ rows.T
        self._errors += np.abs(picture - own).mean(axis=(1, 2))
        self.frames += 1

    @property
    def mean_error(self) -> tuple[float, float]:
        """Mean absolute difference in 8-bit levels: luma, chroma."""
        luma, *chroma = self._errors / max(1, self.frames)
        return float(luma), float(np.mean(chroma))

    def share(self, mistake: Mistake) -> float | None:
        """How much of a mistake is in the output: 0 = nothing, 1 = all of it; None = it would not have shown."""
        _, matrix, offset, telling, free = mistake
        found = would = 0.0
        for plane in range(3):
            change, error = np.zeros(7), np.zeros(7)
            change[:3], change[3] = matrix[plane], offset[plane]
            change[plane] -= 1
            error[4 + plane], error[plane] = 1, -1
            if free:  # brightness and contrast of the plane are the network's affair
                change, error = self._without_gain(change, plane), self._without_gain(error, plane)
            found += float(error @ self._sums @ change)
            would += float(change @ self._sums @ change)
        shown = (would / 3 / max(1.0, float(self._sums[3, 3]))) ** 0.5
        return found / would if shown >= telling else None

    def _without_gain(self, vector: Array, plane: int) -> Array:
        basis = np.zeros((2, 7))
        basis[0, 3] = basis[1, plane] = 1
        gram = basis @ self._sums @ basis.T + np.eye(2) * 1e-6
        rest: Array = vector - basis.T @ np.linalg.solve(gram, basis @ self._sums @ vector)
        return rest


def _mistakes(color: ColorSpec, layout: PixelLayout) -> Iterator[Mistake]:
    """What may have gone wrong in a file that is tagged `color`."""
    none, same = np.zeros(3), np.eye(3)
    if color.full_range:
        limited = np.diag([219 / 255, 224 / 255, 224 / 255])
        yield "limited range is tagged full", limited, np.array([16.0, 0, 0]), _TELLING_OTHERS, False
    else:
        full = np.diag([255 / 219, 255 / 224, 255 / 224])
        yield "full range is tagged limited", full, np.array([-16 * 255 / 219, 0, 0]), _TELLING_OTHERS, False
    yield "the colour is gone", np.diag([1.0, 0, 0]), none, _TELLING_OTHERS, False
    if layout.kind != "yuv":
        return
    yield "Cb and Cr are swapped", same[[0, 2, 1]], none, _TELLING_OTHERS, False
    if color.matrix not in MATRICES:
        return
    tagged, home = from_rgb(color.matrix), from_rgb(1)
    for written in (1, 6, 9):
        if MATRICES[written] != MATRICES[color.matrix]:
            change = home @ np.linalg.inv(tagged) @ from_rgb(written) @ np.linalg.inv(home)
            yield f"matrix {written} is tagged {color.matrix}", change, none, _TELLING_MATRIX, True


def check_colors(moments: ColorMoments, color: ColorSpec, layout: PixelLayout, *, deinterlaced: bool = False) -> Check:
    """The output's colours are the source's; `color` and `layout` are those of the output.

    A frame of two fields shows two moments: a `deinterlaced` one, which shows one of them, may differ by as much as things move.
    """
    luma, chroma = moments.mean_error
    shares = {mistake[0]: moments.share(mistake) for mistake in _mistakes(color, layout)}
    told = f"mean error {luma:.2f} levels of luma, {chroma:.2f} of chroma"
    made = {name: share for name, share in shares.items() if share is not None and share > SHARE_LIMIT}
    if made:
        name = min(made, key=lambda name: abs(1 - made[name]))
        return Check("colours", False, f"{name} (share {made[name]:.2f}); {told}")
    if not deinterlaced and (luma > _LUMA_LIMIT or chroma > _CHROMA_LIMIT):
        return Check("colours", False, f"{told} (limits {_LUMA_LIMIT:g}, {_CHROMA_LIMIT:g})")
    unknown = all(s is None for name, s in shares.items() if name.startswith("matrix"))
    return Check("colours", True, f"{told}{'; too little colour to tell the matrix' if unknown else ''}")
