"""A model on a test set, run as `vsr upscale` runs it: 8-bit planes in, 8-bit planes out, through the same Upscaler."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import torch

from vsr import __version__
from vsr.bench.films import as_rgb
from vsr.bench.pairs import Group, Pair, picture_format
from vsr.choose_engine import choose_engine, resolve_engine
from vsr.config import UpscaleConfig
from vsr.engine.ncnn_vulkan import is_vulkan
from vsr.engine.reuse import singles
from vsr.engine.upscaler import Upscaler, engine_notes
from vsr.engine.window import Windows
from vsr.frames import FrameBatch, FrameFormat
from vsr.models import zoo
from vsr.models.weights import load


class Enlarger:
    """One model for one scale. `config` says how it runs; `notes` collects what a reader should know.

    Raises ModelError, WeightsError and ConfigError as `upscale` does.
    """

    def __init__(self, config: UpscaleConfig, scale: int) -> None:
        self.generator = load(config.model, scale, config.blend)
        self.scale, self.run_on = scale, ""
        self._config = config
        self._upscaler: Upscaler | None = None
        self.notes: list[str] = [f"{config.model}: {text}" for text in (*self.generator.spec.warnings, *self._oddities())]

    def _oddities(self) -> Iterator[str]:
        spec, name = self.generator.spec, self._config.model
        if spec.scale not in (None, self.scale):
            yield f"is a network for x{spec.scale}, resized to x{self.scale}: not what papers measure at x{self.scale}"
        if name in zoo.ZOO and zoo.ZOO[name].adversarial and self._config.blend != 0:
            yield "was trained against a discriminator: PSNR and SSIM do not rank it; LPIPS (--metrics lpips) or people do"

    def settings(self, pair: Pair) -> str:
        """All that its pixels depend on beside the pictures, as text: what may be remembered is found by this."""
        spec = self.generator.spec
        vulkan = is_vulkan(self._config.device)  # torch does not know it: what it is called has to do
        wish = replace(self._config, device="cpu", precision="fp32") if vulkan else self._config
        engine = resolve_engine(wish, spec, pair.lr.format, self._target(pair.lr))
        device = torch.cuda.get_device_name(engine.device) if engine.device.startswith("cuda") else engine.device
        if vulkan:
            device = self._config.device
        facts = (
            __version__, torch.__version__, spec.architecture, spec.scale, spec.weights_sha256, self.scale, device,
            engine.precision, self._config.precision, self._config.backend, engine.tile, engine.halo,
        )  # fmt: skip
        return repr(facts)

    def pictures(self, group: Group) -> Iterator[tuple[Pair, FrameBatch]]:
        """Every pair of a clip with what the model makes of it; frames see their neighbours where the model looks at them."""
        kept: deque[Pair] = deque()
        context = self.generator.spec.context

        def lows() -> Iterator[FrameBatch]:
            for pair in group.pairs():
                kept.append(pair)
                yield pair.lr

        first = next(group.pairs()).lr
        upscaler = self._upscaler_for(first, group.count)
        frames = Windows(context, upscaler.settings.batch).through(lows()) if context else lows()
        for batch in upscaler.stream(frames):
            for made in singles(batch):
                yield kept.popleft(), made
        self._note(upscaler, group.name)

    def picture(self, pair: Pair, count: int) -> FrameBatch:
        """What the model makes of one picture of `count`; where it looks at neighbours the picture is its own."""
        upscaler = self._upscaler_for(pair.lr, count)
        made = upscaler.up(pair.lr)
        self._note(upscaler, pair.name)
        if self.generator.spec.context:
            self._say("looks at neighbours and these pictures have none: each is its own")
        return made

    def _target(self, lr: FrameBatch) -> FrameFormat:
        """8-bit RGB or gray, as a PNG file would be written."""
        channels = 1 if lr.format.layout.kind == "gray" else 3
        return picture_format(self.scale * lr.format.width, self.scale * lr.format.height, channels)

    def _upscaler_for(self, lr: FrameBatch, count: int) -> Upscaler:
        if self._upscaler is None or self._upscaler.source != lr.format:
            engine, notes = choose_engine(self._config, self.generator, lr.format, self._target(lr), lr, count)
            for note in notes:
                self._say(note)
            self._upscaler = Upscaler(self.generator, lr.format, self._target(lr), replace(engine, workers=1))
            self._noted = self._upscaler.report
            self.run_on = f"{engine.device}, {engine.backend}, {engine.precision}"
        return self._upscaler

    def _note(self, upscaler: Upscaler, name: str) -> None:
        for note in engine_notes(upscaler.report.since(self._noted)):
            self._say(f"{name}: {note}")
        self._noted = upscaler.report

    def _say(self, text: str) -> None:
        line = f"{self._config.model}: {text}"
        if line not in self.notes:
            self.notes.append(line)


def source_picture(pair: Pair) -> FrameBatch:
    """What went into a model, as RGB or gray."""
    return pair.lr if pair.lr.format.layout.kind != "yuv" else as_rgb(pair.lr)
