"""The models of an audition, each ready to work on the same film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic

from vsr.bench.scout import Film
from vsr.choose_engine import choose_engine
from vsr.config import UpscaleConfig
from vsr.errors import ModelError
from vsr.frames import FrameBatch
from vsr.measure import model_fps
from vsr.models import zoo
from vsr.models.spec import Generator
from vsr.models.weights import available, load
from vsr.planning import FRAMES_EACH, Job

BASELINE = "bicubic"
RACING = 0.02  # of the time: for finding the fastest way to run one model


@dataclass(frozen=True)
class Role:
    """A model with the plan of its job.

    network_fps   a first idea of its speed, from a small crop        setup   seconds before a job's first frame
    """

    model: str
    job: Job
    network_fps: float
    setup: float
    notes: tuple[str, ...] = ()

    @property
    def generator(self) -> Generator:
        return self.job.generator


def cast(
    config: UpscaleConfig, models: Sequence[str], film: Film, bare: Job, sample: FrameBatch, setup: float, budget: float
) -> list[Role]:
    """The baseline (`bare` is its job, planned in `setup` seconds), then the models, the fastest first.

    `models` empty: all whose weights are here. `sample` is a frame of the film, to try engines on. Raises ModelError and
    WeightsError for a model that cannot be had, ConfigError for a wish that cannot be.
    """
    target, source = bare.plan.target, film.plan.info.format
    factor = max(target.width / source.width, target.height / source.height)
    roles = [Role(BASELINE, bare, model_fps(sample, bare.plan, bare.generator), setup)]
    for model in dict.fromkeys(models or at_hand()):
        if model == BASELINE:
            continue
        began = monotonic()
        generator = load(model, factor)
        count = film.plan.expected_frames
        engine, notes = choose_engine(
            replace(config, model=model), generator, source, target, sample, count, count // FRAMES_EACH, RACING * budget
        )
        plan = replace(
            bare.plan, model=model, model_scale=generator.spec.scale, weights_sha256=generator.spec.weights_sha256, engine=engine
        )
        spent = setup + monotonic() - began
        told = (*generator.spec.warnings, *notes)
        roles.append(Role(model, replace(bare, plan=plan, generator=generator), model_fps(sample, plan, generator), spent, told))
    return [roles[0], *sorted(roles[1:], key=lambda role: -role.network_fps)]


def at_hand() -> list[str]:
    """Models whose weights are here. Raises ModelError where there are none."""
    found = [name for name in zoo.names() if name != BASELINE and available(name)]
    if not found:
        raise ModelError("no model's weights are here: run vsr models pull NAME, or give --model PATH")
    return found
