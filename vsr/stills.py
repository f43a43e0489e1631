"""Still images: one file, a folder of independent ones of any size, a numbered sequence. RGB and gray stay what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import monotonic

from vsr.choose_engine import choose_engine
from vsr.config import EngineSettings, UpscaleConfig
from vsr.engine.upscaler import Upscaler, engine_notes
from vsr.errors import ConfigError, ModelError, UsageError, VsrError
from vsr.frames import FrameFormat
from vsr.media.imagemeta import StillImage
from vsr.media.images import IMAGE_SUFFIXES, is_image, read_image, write_image
from vsr.media.sequences import is_pattern, list_images, list_sequence, sequence_path
from vsr.models import zoo
from vsr.models.spec import Generator
from vsr.models.weights import load
from vsr.models.zoo import cheaper_ways
from vsr.names import default_output, model_label, require_free, size_label, target_size
from vsr.report import ImageResult, OnProgress, Progress, Report

MUCH_MORE = 4  # times as many pixels: asked again about ten times at most, and at most for a third more in all


def is_still(config: UpscaleConfig) -> bool:
    """Is the job one of images only? (A sequence that becomes a video, or whose frames are looked at together, is a film.)"""
    if is_pattern(config.source) and is_image(config.source) and not Path(config.source).exists():
        return (config.output is None or is_image(config.output)) and not _looks_around(config.model)
    return Path(config.source).is_dir() or is_image(config.source)


def _looks_around(model: str) -> bool:
    """Does it see a frame's neighbours?"""
    spec = zoo.ZOO[model].networks[0].spec if model in zoo.ZOO else load(model, 1.0).spec
    return spec.context > 0


def upscale_stills(config: UpscaleConfig, on_progress: OnProgress | None = None) -> Report:
    """Upscales an image, every image of a folder, or every image of a sequence.

    One image raises VsrError when it fails; of many, those that fail are named in `Report.images` and the others go on.
    """
    output, targets, notes = plan_stills(config)
    if Path(config.source).is_dir():
        _make_folder(Path(output))
    batch = _Batch(config, output, targets, notes, on_progress)
    report = batch.run()
    if batch.error is not None and len(targets) == 1:
        raise batch.error
    return report


def plan_stills(config: UpscaleConfig) -> tuple[str, dict[Path, Path], list[str]]:
    """The output's name, what becomes what, and what was left out. Nothing is written."""
    if Path(config.source).is_dir():
        return _folder_targets(config)
    if is_pattern(config.source) and not Path(config.source).exists():
        return _sequence_targets(config)
    return _image_target(config)


class _Batch:
    """Images one after the other through networks that stay loaded."""

    def __init__(
        self, config: UpscaleConfig, output: str, targets: dict[Path, Path], notes: list[str], on_progress: OnProgress | None
    ) -> None:
        sources = {source.resolve() for source in targets}
        if mine := [t for t in targets.values() if t.resolve() in sources]:
            raise ConfigError(f"{mine[0]}: the output is an input itself; choose another place with -o")
        existing = [t for t in targets.values() if t.exists()]
        if existing and not config.overwrite:
            raise ConfigError(f"{existing[0]}: exists already; add --overwrite to replace it, or choose another place with -o")
        self.config, self.targets, self.on_progress = config, targets, on_progress
        self.report = Report(output, warnings=notes)
        self.tried, self.tried_pixels = config, 0
        self.generators: dict[float, Generator] = {}
        self.upscaler: Upscaler | None = None  # of the last image, for the next of the same size
        self.error: VsrError | None = None

    def run(self) -> Report:
        began = monotonic()
        for source, target in self.targets.items():
            self.report.frames_in += 1
            self.report.images.append(self._try(source, target))
            self.report.frames_out += not self.report.images[-1].error
            self.report.seconds = monotonic() - began
            if self.on_progress:
                self.on_progress(Progress("upscale", len(self.report.images), len(self.targets), self.report.seconds))
        return self.report

    def _try(self, source: Path, target: Path) -> ImageResult:
        try:
            format = self._convert(source, target)
        except ModelError:
            raise  # the next image would meet it too
        except VsrError as exc:
            self.error = exc
            return ImageResult(str(source), str(target), error=str(exc))
        return ImageResult(str(source), str(target), format.width, format.height)

    def _convert(self, source: Path, target: Path) -> FrameFormat:
        image = read_image(source)
        format = image.batch.format
        width, height = target_size(self.config, format.width, format.height)
        grown = replace(format, width=width, height=height)
        generator = self._generator(max(width / format.width, height / format.height))
        if self.upscaler is None or (self.upscaler.source, self.upscaler.target) != (format, grown):
            engine, tried = self._engine(generator, image, grown)
            self.report.warnings += tried
            self.upscaler = Upscaler(generator, format, grown, engine)
        before = self.upscaler.report
        made: StillImage = image.with_batch(self.upscaler.up(image.batch))
        notes = [*image.warnings, *engine_notes(self.upscaler.report.since(before)), *write_image(target, made)]
        self.report.warnings += [f"{target.name}: {text}" for text in notes]
        return grown

    def _engine(self, generator: Generator, image: StillImage, grown: FrameFormat) -> tuple[EngineSettings, tuple[str, ...]]:
        """The engine for this image. What is found by trying holds for all, until an image shows much more than those before:
        one of a few pixels says nothing about speed or rounding.
        """
        format = image.batch.format
        pixels = format.width * format.height
        if pixels >= MUCH_MORE * self.tried_pixels:
            self.tried, self.tried_pixels = self.config, pixels
        engine, notes = choose_engine(self.tried, generator, format, grown, image.batch, len(self.targets))
        self.tried = replace(self.tried, precision=engine.precision, backend=engine.backend)
        return engine, notes

    def _generator(self, scale: float) -> Generator:
        if scale not in self.generators:
            self.generators[scale] = load(self.config.model, scale, self.config.blend)
            spec = self.generators[scale].spec
            self.report.warnings += [*spec.warnings, *cheaper_ways(spec, scale)]
        return self.generators[scale]


def _image_target(config: UpscaleConfig) -> tuple[str, dict[Path, Path], list[str]]:
    source = Path(config.source)
    if config.output is None:
        format = read_image(source).batch.format
        label = size_label(config, *target_size(config, format.width, format.height))
        output = Path(default_output(config.source, source.suffix, config.model, label))
    else:
        output = Path(config.output)
    if not is_image(str(output)):
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UsageError(f"{output}: unknown image extension {output.suffix or '(none)'!r}; use one of {known}")
    require_free(output, config.source, config.overwrite)
    return str(output), {source: output}, []


def _folder_targets(config: UpscaleConfig) -> tuple[str, dict[Path, Path], list[str]]:
    folder = Path(config.source)
    name = folder.resolve()
    output = Path(config.output or name.with_name(f"{name.name}.{model_label(config.model)}-{_folder_label(config)}"))
    paths, skipped = list_images(folder)
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output}: exists and is no folder; choose another name with -o")
    if output.exists() and output.samefile(folder):
        raise ConfigError(f"{output}: the output is the input folder itself; choose another name with -o")
    notes = [f"{folder}: {len(skipped)} files are no images and are left out: {', '.join(skipped[:5])}"] if skipped else []
    return str(output), {path: output / path.name for path in paths}, notes


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be created: {exc.strerror}") from exc


def _sequence_targets(config: UpscaleConfig) -> tuple[str, dict[Path, Path], list[str]]:
    suffix = Path(config.source).suffix
    output = config.output or default_output(config.source, suffix, config.model, _folder_label(config))
    if not is_pattern(output) or not is_image(output):
        raise UsageError(f"{output}: a sequence of images becomes another pattern of images, as out_%05d.png, or a video")
    return output, {path: sequence_path(output, number) for number, path in list_sequence(config.source).items()}, []


def _folder_label(config: UpscaleConfig) -> str:
    """Images of several sizes have one scale, one size or one height in common."""
    return f"{config.height}p" if config.height is not None else size_label(config, *(config.size or (0, 0)))
