"""How LR is made of HR: each degradation is a pure function of pixels and a generator.

    text                       what it does
    bicubic                    MATLAB's imresize, the papers' protocol
    second-order               Real-ESRGAN's blur, resize, noise and JPEG, twice (`vsr.train.second_order`)
    mpeg2 mpeg4 h264 hevc vp9  the codec at a random quality; several by "|", codecs = any of them: one for each clip
    graph:FILTERS              FFmpeg's filters, by an ffmpeg program; {seed} in it is a number that is drawn

Joined by "+" they follow each other: "second-order+codecs". What does not begin with bicubic, second-order or a graph begins
with bicubic; a graph comes last and may shrink: "graph:scale=iw/4:ih/4:flags=area,noise=alls=9:all_seed={seed}".

Pairs a second of one thread, HR crops of 192 px at x4, everything included (docs/lab.md): bicubic 920, second-order 78, one frame
through a codec 65, seven 39.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.errors import ConfigError
from vsr.media.graph import find_program, through_graph
from vsr.media.recompress import CODECS, least_size, recompress
from vsr.media.rgb import rgb_frames, yuv_frames
from vsr.resample import imresize
from vsr.train.second_order import SecondOrder

# From what looks as before to what nobody would put up with; DVDs use 2 to 8, the web a CRF of 23 to 32 (VP9: 30 to 40).
QUALITIES = {"mpeg2": (2, 16), "mpeg4": (2, 16), "h264": (18, 38), "hevc": (20, 40), "vp9": (28, 58)}
_SEEDS = 1 << 31


class Degradation(Protocol):
    """Makes LR of HR. The same pixels and the same state of the generator give the same bytes, whatever was made before.

    margin  LR pixels of surroundings on each side that it wants to see, so that a crop is as if the whole picture had been shrunk
    lead    frames before the first that it wants to see, where there are some: codecs make the first frame of a clip another
            way than those that follow
    """

    @property
    def margin(self) -> int: ...

    @property
    def lead(self) -> int: ...

    def __call__(self, hr: Tensor, scale: int, rng: np.random.Generator, /) -> Tensor:
        """HR (T, 3, scale * h, scale * w) uint8 -> LR (T, 3, h, w) uint8."""


@dataclass(frozen=True)
class Bicubic:
    """MATLAB's imresize(x, 1/scale) of uint8, to the last bit: a crop's LR is the whole picture's."""

    margin = 4  # the kernel reaches two LR pixels
    lead = 0

    def __call__(self, hr: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
        if scale == 1:
            return hr
        return imresize(hr.to(torch.float32), 1, scale, rounded=True).to(torch.uint8)


@dataclass(frozen=True)
class Recompressed:
    """A codec of `codecs` at a quality of its range (`QUALITIES`), both drawn once for a clip; 8-bit 4:2:0 in BT.709."""

    codecs: tuple[str, ...] = CODECS

    margin = 8  # a block of a loop filter
    lead = 4

    def __call__(self, frames: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
        codec = self.codecs[rng.integers(len(self.codecs))]
        least, most = QUALITIES[codec]
        quality = int(rng.integers(least, most + 1))
        height, width = frames.shape[-2:]
        right, below = (max(size % 2, least - size) for size, least in zip((width, height), least_size(codec), strict=True))
        even = F.pad(frames.to(torch.float32), (0, right, 0, below), mode="replicate").to(torch.uint8)
        # medium takes three times as long in x265, for artefacts that differ less than those of two qualities
        made = recompress(yuv_frames(even), codec, quality, preset="veryfast")
        return torch.cat([rgb_frames(batch) for batch in made])[..., :height, :width]


@dataclass(frozen=True)
class Graph:
    """The user's own filters, from HR (as the only degradation) or after another; what comes out must have LR's size."""

    filters: str
    shrinks: bool

    margin = 8
    lead = 0

    def __call__(self, frames: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
        height, width = (size // scale if self.shrinks else size for size in frames.shape[-2:])
        filters = self.filters.replace("{seed}", str(rng.integers(_SEEDS)))
        return through_graph(frames, filters, width, height)


@dataclass(frozen=True)
class Chain:
    """Degradations one after the other: the first shrinks, the others take LR."""

    stages: tuple[Degradation, ...]

    @property
    def margin(self) -> int:
        return max(stage.margin for stage in self.stages)

    @property
    def lead(self) -> int:
        return max(stage.lead for stage in self.stages)

    def __call__(self, hr: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
        x = hr
        for stage in self.stages:
            x = stage(x, scale, rng)
        return x


def parse_degradation(text: str) -> Degradation:
    """The degradation that a recipe names (see the module). Raises ConfigError, for a graph without a program too."""
    before, graphed, filters = text.partition("graph:")
    names = [name.strip() for name in before.split("+") if name.strip()]
    stages: list[Degradation] = [_stage(name, text) for name in names]
    if graphed:
        if not filters.strip():
            raise ConfigError(f"degrade = {text!r}: there is no filter after graph:")
        if find_program() is None:
            raise ConfigError(
                f"degrade = {text!r}: a graph needs the ffmpeg program, and none is here; run: pip install 'vsr[metrics]', or "
                "put one in PATH. The codecs need none: h264, hevc, vp9, mpeg2, mpeg4"
            )
        stages.append(Graph(filters.strip(), shrinks=not stages))
    if not stages:
        raise ConfigError(f"degrade = {text!r}: {_KNOWN}")
    if not _shrinks(stages[0]):
        stages.insert(0, Bicubic())
    if any(isinstance(stage, Bicubic | SecondOrder) for stage in stages[1:]):
        raise ConfigError(f"degrade = {text!r}: bicubic and second-order come first, and one of them only")
    return stages[0] if len(stages) == 1 else Chain(tuple(stages))


_KNOWN = f"give bicubic, second-order, codecs, {', '.join(CODECS)} or graph:FILTERS; joined by + they follow each other"


def _stage(name: str, text: str) -> Degradation:
    if name == "bicubic":
        return Bicubic()
    if name == "second-order":
        return SecondOrder()
    codecs: Sequence[str] = CODECS if name == "codecs" else [part.strip() for part in name.split("|")]
    if not set(codecs) <= set(CODECS):
        raise ConfigError(f"degrade = {text!r}: {name!r} is none that is known; {_KNOWN}")
    return Recompressed(tuple(codecs))


def _shrinks(stage: Degradation) -> bool:
    return isinstance(stage, Bicubic | SecondOrder) or (isinstance(stage, Graph) and stage.shrinks)
