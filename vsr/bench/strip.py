"""The papers' comparison strip: one detail as the truth has it, as bicubic makes it, and as every model does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from vsr.bench.datasets import find_dataset
from vsr.bench.enlarge import Enlarger
from vsr.bench.pairs import Dataset, Group, Pair, tensor_of
from vsr.bench.quality import QualityConfig
from vsr.errors import ConfigError
from vsr.frames import FrameBatch
from vsr.media.imagemeta import StillImage
from vsr.media.images import IMAGE_SUFFIXES, is_image, write_image
from vsr.media.strip import Panel, comparison_strip
from vsr.metrics import psnr

BICUBIC = "bicubic"


@dataclass(frozen=True)
class Detail:
    """What to show: (x, y, width, height) in pixels of the truth, of the picture `image` (None: the first), and where."""

    crop: tuple[int, int, int, int]
    output: Path
    image: str | None = None


def check_detail(config: QualityConfig, detail: Detail) -> tuple[Group, int, Pair]:
    """The picture, and where in its group it is.

    Raises ConfigError for an output that is no image's name, and for a picture or a detail that is not there.
    """
    if not is_image(str(detail.output)):
        raise ConfigError(f"{detail.output}: is no image by its name; use one of {', '.join(sorted(IMAGE_SUFFIXES))}")
    dataset = find_dataset(config.dataset, config.scale, config.degrade, config.frames)
    group, number = _place(dataset, detail.image)
    pair = next(islice(group.pairs(), number, None))
    x, y, width, height = detail.crop
    size = (pair.hr.format.width, pair.hr.format.height)
    if width < 1 or height < 1 or x < 0 or y < 0 or x + width > size[0] or y + height > size[1]:
        raise ConfigError(f"--crop {x},{y},{width},{height}: lies outside {pair.name}, which has {size[0]}x{size[1]} pixels")
    return group, number, pair


def write_strip(config: QualityConfig, detail: Detail) -> tuple[str, ...]:
    """Writes it; returns what the format could not hold. Raises what `check_detail` raises."""
    group, number, pair = check_detail(config, detail)
    panels = [Panel(pair.hr, ("HR", pair.name))]
    for model in dict.fromkeys((BICUBIC, *config.models)):
        made = _made(Enlarger(replace(config.engine, model=model), config.scale), group, number, pair)
        figure = float(psnr(tensor_of(made), tensor_of(pair.hr), config.protocol))
        panels.append(Panel(made, (Path(model).stem if "/" in model else model, f"{figure:.2f} dB")))
    return write_image(detail.output, StillImage(comparison_strip(panels, detail.crop), "PNG"))


def _place(dataset: Dataset, image: str | None) -> tuple[Group, int]:
    """The group and the number of the picture in it."""
    if image is None:
        return dataset.groups[0], 0
    known = []
    for group in dataset.groups:
        for number, pair in enumerate(group.pairs()):
            names = {pair.name, f"{group.name}/{pair.name}"}
            if image in names or Path(image).stem in names:
                return group, number
            known.append(pair.name)
    raise ConfigError(f"--image {image}: {dataset.name} has none of that name; there are {', '.join(known[:8])}")


def _made(enlarger: Enlarger, group: Group, number: int, pair: Pair) -> FrameBatch:
    """The picture as a model makes it; with its neighbours where it looks at them."""
    if group.clip and enlarger.generator.spec.context:
        return next(islice(enlarger.pictures(group), number, None))[1]
    return enlarger.picture(pair, 1)
