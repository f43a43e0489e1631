"""How good models are on a test set, by a protocol that is stated: a table as in the papers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from math import isinf
from pathlib import Path
from statistics import fmean
from time import monotonic

from vsr.bench import cache
from vsr.bench.datasets import find_dataset
from vsr.bench.enlarge import Enlarger, source_picture
from vsr.bench.films import as_yuv
from vsr.bench.origin import origin_of
from vsr.bench.pairs import Dataset, Group, Pair, batch_of, tensor_of
from vsr.bench.scores import DEFAULT, METRICS, VMAF, Scorer, key_of
from vsr.config import UpscaleConfig
from vsr.errors import ConfigError, EncodeError
from vsr.frames import FrameBatch, PixelLayout
from vsr.media.imagemeta import StillImage
from vsr.media.images import write_image
from vsr.media.vmaf import Vmaf
from vsr.metrics import Channel, Protocol, consistency_map, heat
from vsr.names import model_label
from vsr.report import OnProgress, Progress

_YUV444 = PixelLayout("yuv")


@dataclass(frozen=True)
class QualityConfig:
    """`vsr bench quality` as data.

    engine   how every model runs (device, precision, ...); its model and sizes are not looked at
    border   pixels left out on each side; None: as many as the scale
    degrade, frames    of films: how LR is made, and how many frames
    keep     a folder for what the models make: MODEL/PICTURE.png, and with "consistency" its map, MODEL.consistency/PICTURE.png
    cache    whether figures that were measured before, on equal pictures with equal weights, are taken
    """

    dataset: str
    models: tuple[str, ...]
    scale: int = 4
    channel: Channel = "y"
    border: int | None = None
    rounded: bool = False
    metrics: tuple[str, ...] = DEFAULT
    degrade: str = "bicubic"
    frames: int | None = None
    engine: UpscaleConfig = field(default_factory=lambda: UpscaleConfig(""))
    keep: Path | None = None
    cache: bool = True

    @property
    def protocol(self) -> Protocol:
        return Protocol(self.channel, self.scale if self.border is None else self.border, self.rounded)


@dataclass
class ModelFigures:
    """Of one model: the mean of the set, that of each group, and each picture; `cached` pictures were not computed anew."""

    mean: dict[str, float] = field(default_factory=dict)
    groups: dict[str, dict[str, float]] = field(default_factory=dict)
    images: dict[str, dict[str, float]] = field(default_factory=dict)
    run_on: str = ""
    cached: int = 0


@dataclass
class QualityReport:
    """`protocol` is what stands above every table; `warnings` are what makes a comparison mean less than it seems."""

    dataset: str
    scale: int
    pictures: int
    protocol: str
    told: list[str]
    models: dict[str, ModelFigures] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0


def bench_quality(config: QualityConfig, on_progress: OnProgress | None = None) -> QualityReport:
    """Runs every model over the set and compares.

    Raises ConfigError for a set that is not there or a figure without meaning for it, DecodeError for pictures that are no pairs,
    and what `upscale` raises.
    """
    _check(config)
    dataset = find_dataset(config.dataset, config.scale, config.degrade, config.frames)
    _check_motion(config, dataset)
    scorer = Scorer(config.metrics, config.protocol, config.scale)
    origin, notes = origin_of(dataset)
    count = sum(group.count for group in dataset.groups)
    told = [origin, *(METRICS[name].told for name in config.metrics)]
    report = QualityReport(dataset.name, config.scale, count, str(config.protocol), told, warnings=[*dataset.notes, *notes])
    began = monotonic()
    for number, model in enumerate(config.models):
        run = _Run(config, replace(config.engine, model=model), scorer, several=len(dataset.groups) > 1)
        for group in dataset.groups:
            for done in run.measured(group):
                report.seconds = monotonic() - began
                if on_progress:
                    on_progress(Progress(model, number * count + done, len(config.models) * count, report.seconds))
        report.models[model] = run.figures
        report.warnings += [*run.enlarger.notes, *run.infinite(model)]
    return report


class _Run:
    """One model over the groups of a set."""

    def __init__(self, config: QualityConfig, engine: UpscaleConfig, scorer: Scorer, *, several: bool) -> None:
        self.enlarger = Enlarger(engine, config.scale)
        self.figures = ModelFigures()
        self._config, self._scorer = config, scorer
        self._wanted = [key_of(name, config.protocol) for name in config.metrics]
        self._several, self._done = several, 0

    def measured(self, group: Group) -> Iterator[int]:
        """Measures a group; how many pictures are done in all, after each."""
        found: cache.Figures = {}
        units: Iterator[cache.Figures] = self._clip(group) if group.clip else self._images(group)
        for figures in units:
            found |= figures
            self._done += len(figures)
            yield self._done
        self._enter(group, found)

    def _images(self, group: Group) -> Iterator[cache.Figures]:
        for pair in group.pairs():
            key = self._key([pair])
            known = self._known(key, [pair.name])
            if known is None:
                self._scorer.begin()
                known = {pair.name: self._scored(group, pair, self.enlarger.picture(pair, group.count))}
                cache.remember(key, known)
            yield known

    def _clip(self, group: Group) -> Iterator[cache.Figures]:
        pairs = list(group.pairs())
        key = self._key(pairs)
        known = self._known(key, [pair.name for pair in pairs])
        del pairs
        if known is not None:
            yield known
            return
        self._scorer.begin()
        found: cache.Figures = {}
        with Vmaf() if VMAF in self._config.metrics else nullcontext() as judge:
            for pair, made in self.enlarger.pictures(group):
                found[pair.name] = self._scored(group, pair, made)
                if judge is not None:
                    judge.add(as_yuv(made, _YUV444), as_yuv(pair.hr, _YUV444))
                yield {pair.name: found[pair.name]}
            for name, value in zip(found, judge.scores() if judge is not None else (), strict=False):
                found[name][VMAF] = value  # into what was given already: one clip is entered as a whole
        cache.remember(key, found)

    def _key(self, pairs: list[Pair]) -> str:
        return cache.key_of(f"{self.enlarger.settings(pairs[0])} {self._config.protocol}", pairs)

    def _known(self, key: str, names: list[str]) -> cache.Figures | None:
        """Every wanted figure of every picture, where all are remembered. Motion has none for the first frame."""
        if not self._config.cache or self._config.keep is not None:
            return None
        known = cache.remembered(key)
        names_of_change = [name for name in self._config.metrics if METRICS[name].clip and name != VMAF]
        moving = {key_of(name, self._config.protocol) for name in names_of_change}
        for at, name in enumerate(names):
            if not all(want in known.get(name, {}) for want in self._wanted if at or want not in moving):
                return None
        self.figures.cached += len(names)
        return {name: {want: known[name][want] for want in self._wanted if want in known[name]} for name in names}

    def _scored(self, group: Group, pair: Pair, made: FrameBatch) -> dict[str, float]:
        made_levels, source = tensor_of(made), tensor_of(source_picture(pair))
        if self._config.keep is not None:
            name = f"{self._prefix(group)}{pair.name}"
            label = model_label(self.enlarger.generator.spec.name)
            keep_picture(self._config.keep / label / f"{name}.png", made)
            if "consistency" in self._config.metrics:
                shown = heat(consistency_map(made_levels, source, self._config.scale))
                keep_picture(self._config.keep / f"{label}.consistency" / f"{name}.png", batch_of(shown))
        return self._scorer.score(pair.name, made_levels, tensor_of(pair.hr), source)

    def _prefix(self, group: Group) -> str:
        """Before the names of pictures, which repeat from clip to clip."""
        return f"{group.name}/" if self._several else ""

    def _enter(self, group: Group, found: cache.Figures) -> None:
        figures = self.figures
        figures.run_on = self.enlarger.run_on
        figures.groups[group.name] = mean_of(found, self._wanted)
        figures.images |= {f"{self._prefix(group)}{name}": values for name, values in found.items()}
        figures.mean = mean_of(figures.groups, self._wanted)

    def infinite(self, model: str) -> Iterator[str]:
        """What to say of figures that the means leave out."""
        for name in self._config.metrics:
            key = key_of(name, self._config.protocol)
            values = [each[key] for each in self.figures.images.values() if key in each]
            if count := sum(map(isinf, values)):
                yield f"{model}: {METRICS[name].title} of {count} in {len(values)} is infinite (nothing differs): not in the mean"


def mean_of(figures: cache.Figures, keys: list[str]) -> dict[str, float]:
    """The mean of each figure over those that have it; one black frame, whose PSNR is infinite, must not hide all others."""
    columns = {key: [values[key] for values in figures.values() if key in values] for key in keys}
    return {key: fmean([value for value in values if not isinf(value)] or values) for key, values in columns.items() if values}


def keep_picture(path: Path, made: FrameBatch) -> None:
    """Writes what a model made, and the folders above it. Raises EncodeError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise EncodeError(f"{path.parent}: cannot be created ({exc.strerror}); choose another folder") from exc
    write_image(path, StillImage(made, "PNG"))


def _check(config: QualityConfig) -> None:
    if not config.models:
        raise ConfigError("--model: name at least one")
    if len(set(config.models)) < len(config.models):
        raise ConfigError(f"--model: one is named twice: {', '.join(config.models)}")
    if config.scale < 2:
        raise ConfigError(f"--scale {config.scale}: there is nothing to enlarge; give 2 or more")


def _check_motion(config: QualityConfig, dataset: Dataset) -> None:
    moving = [name for name in config.metrics if METRICS[name].clip]
    still = [group.name for group in dataset.groups if not group.clip]
    if moving and still:
        raise ConfigError(
            f"--metrics {','.join(moving)}: is for frames that follow each other; {still[0]} holds single pictures "
            "(a clip's files are numbered without a gap, and of one size)"
        )
