"""`vsr bench` alone: speed, quality and a contact sheet of one model on the bundled clip, in about two minutes on two cores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from vsr.bench.album import pixels_of
from vsr.bench.clip import bundled_clip
from vsr.bench.contact import Cell, write_contact_sheet
from vsr.bench.datasets import find_dataset
from vsr.bench.enlarge import source_picture
from vsr.bench.gallery import made_by, pictures_of
from vsr.bench.pairs import tensor_of
from vsr.bench.quality import QualityConfig, QualityReport, bench_quality
from vsr.bench.speed import SpeedReport, bench_speed
from vsr.config import UpscaleConfig
from vsr.report import OnProgress

SCALE = 4
FRAMES = 8
ROWS = 3  # of the sheet
WIDTH = 320  # of its pictures: twice the truth, eight times the input
BASELINE = "bicubic"


@dataclass(frozen=True)
class Tour:
    """What was measured, and where the pictures are."""

    speed: SpeedReport
    asked: QualityConfig
    quality: QualityReport
    sheet: Path


def take_tour(config: UpscaleConfig, sheet: Path, on_progress: OnProgress | None = None) -> Tour:
    """Speed: the clip's frames enlarged by 4. Quality: its frames are the truth, MATLAB's bicubic shrinks them, and the model
    and plain bicubic enlarge them again; the sheet shows some of these. Raises what `upscale` raises.
    """
    clip = bundled_clip()
    speed = bench_speed(replace(config, source=clip, scale=SCALE), None, FRAMES)
    models = tuple(dict.fromkeys((BASELINE, config.model)))
    wish = QualityConfig(clip, models, SCALE, frames=FRAMES, engine=config)
    quality = bench_quality(wish, on_progress)
    dataset = find_dataset(clip, SCALE, wish.degrade, FRAMES)
    shown = list(islice(pictures_of(dataset), ROWS))
    made = {model: list(made_by(wish, model, shown)) for model in models}
    rows = []
    for at, one in enumerate(shown):
        figures = {model: quality.models[model].images[one.name]["psnr_y"] for model in models}
        cells = [Cell(f"input, frame {at}", pixels_of(tensor_of(source_picture(one.pair))))]
        cells += [Cell(f"{model}, {figures[model]:.2f} dB", pixels_of(tensor_of(made[model][at]))) for model in models]
        rows.append([*cells, Cell("truth", pixels_of(tensor_of(one.pair.hr)))])
    write_contact_sheet(sheet, rows, title=f"vsr bench: {config.model}, x{SCALE}", width=WIDTH)
    return Tour(speed, wish, quality, sheet)
