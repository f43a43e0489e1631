"""A training recipe: everything that decides which weights come out, as frozen dataclasses. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vsr import toml

FOLDER = "configs"

Pixel = Literal["l1", "mse", "charbonnier"]
Adversarial = Literal["none", "standard", "relativistic", "hinge"]
Option = int | float | str | bool


@dataclass(frozen=True)
class NetworkRecipe:
    """The generator: a name of `vsr.models.zoo.ARCHITECTURES`, what it is built with, and its scales (several for MDSR).

    "" = the network of `train.init`, whatever it is: also one that spandrel knows.
    """

    architecture: str = ""
    scales: tuple[int, ...] = (4,)
    options: dict[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.scales) > 1 and self.architecture != "MDSR":
            raise ValueError(f"scales: {self.architecture} has one scale; MDSR has several")
        if not self.scales or min(self.scales) < 1:
            raise ValueError("scales: at least one, of 1 or more")
        if not self.architecture and self.options:
            raise ValueError("options: go with an architecture")


@dataclass(frozen=True)
class DataRecipe:
    """What is trained on.

    train      folders of images, films, or folders of these
    lr         folder of the small pictures, where they are not made here
    reader     "av": films by PyAV, exactly; "decord" where its frames agree
    validate   a test set as `vsr bench quality --dataset` takes it; "" = none
    crop       side of the small crops in pixels; the large ones are `scale` times that
    batch      pairs in a step, over all processes
    frames     of a clip that the network looks at (1: images)
    degrade    how the small pictures are made, as `vsr.train.degrade` reads it: "bicubic", "second-order", "codecs", "h264", ...
    turns      mirrored and turned by quarters (and clips backwards), too
    hold_back  share of the films' scenes that is kept from training, to judge the result by
    """

    train: tuple[str, ...] = ()
    lr: str = ""
    reader: Literal["av", "decord"] = "av"
    validate: str = ""
    crop: int = 24
    batch: int = 16
    frames: int = 1
    degrade: str = "bicubic"
    turns: bool = True
    hold_back: float = 0.0

    def __post_init__(self) -> None:
        _positive(crop=self.crop, batch=self.batch, frames=self.frames)
        if self.frames % 2 == 0:
            raise ValueError("frames: must be odd: as many on each side of the middle one")
        if not 0 <= self.hold_back < 1:
            raise ValueError("hold_back: must be from 0 to less than 1")


@dataclass(frozen=True)
class LossRecipe:
    """What the generator is made to do: pixel_weight * pixel + perceptual_weight * perceptual + adversarial_weight * adversarial.

    pixel_weight        of a mean over pictures of 0..1
    perceptual          layers of VGG19 with their weights, before ReLU as conv5_4 = 1.0 (ESRGAN), after it as vgg54 = 1.0 (SRGAN)
    perceptual_pixel    the distance between features
    vgg                 file of VGG19's weights; "" = one that is here
    discriminator       a class of `vsr.models.discriminators`
    """

    pixel: Pixel = "l1"
    pixel_weight: float = 1.0
    perceptual: dict[str, float] = field(default_factory=dict)
    perceptual_weight: float = 1.0
    perceptual_pixel: Pixel = "l1"
    vgg: str = ""
    adversarial: Adversarial = "none"
    adversarial_weight: float = 0.0
    discriminator: str = ""
    discriminator_options: dict[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.adversarial == "none") != (self.discriminator == ""):
            raise ValueError("adversarial: goes with a discriminator, and without one is 'none'")


@dataclass(frozen=True)
class TrainRecipe:
    """How the steps are taken. Counts are of steps (one update of the generator each).

    rate, critic_rate   learning rates of Adam (critic_rate 0: as the generator's)
    schedule            "multistep": times `gamma` at each of `milestones`; "cosine": along half a cosine down to `floor` of the
                        rate, anew in each of `periods`
    rise                steps in which the rate grows from 0
    average             decay of the weights' moving average, which is what is validated and exported (0: none)
    clip                largest norm of the generator's gradient (0: any)
    fusion_first        steps in which EDVR's TSA fusion alone is trained, after beginning from a network without it
    precision           "auto": bf16 where the device is good at it, else fp32
    init                a model's name or a file whose weights are taken, as far as they fit
    validate_every, log_every   steps (0: only at the end)
    save_minutes        of work that a crash may cost
    keep                checkpoints that are kept
    out                 folder for all that comes of it; "" = runs/NAME
    tensorboard         the log for TensorBoard, too (extra `vsr[tensorboard]`)
    """

    steps: int = 1000
    seed: int = 0
    rate: float = 1e-4
    critic_rate: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["multistep", "cosine"] = "multistep"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.5
    periods: tuple[int, ...] = ()
    floor: float = 0.0
    rise: int = 0
    average: float = 0.0
    clip: float = 0.0
    fusion_first: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    init: str = ""
    validate_every: int = 5000
    log_every: int = 100
    save_minutes: float = 5.0
    keep: int = 3
    out: str = ""
    tensorboard: bool = False

    def __post_init__(self) -> None:
        _positive(steps=self.steps, keep=self.keep)
        if self.rate <= 0 or self.critic_rate < 0:
            raise ValueError("rate: must be above 0")
        if not all(0 <= beta < 1 for beta in self.betas) or not 0 <= self.average < 1:
            raise ValueError("betas, average: must be from 0 to less than 1")
        if min(self.rise, self.fusion_first, self.validate_every, self.log_every, self.clip, self.floor, self.save_minutes) < 0:
            raise ValueError("counts and limits cannot be negative")
        if (self.schedule == "cosine") != bool(self.periods):
            raise ValueError("periods: go with schedule = 'cosine'")
        if self.periods and not self.floor and self.steps > sum(self.periods):
            raise ValueError(
                f"steps: {self.steps}, but the rate is 0 after the periods' {sum(self.periods)}; lengthen periods, too"
            )
        if self.fusion_first and not self.init:
            raise ValueError("fusion_first: goes with init; all else would stay as random as it is")


@dataclass(frozen=True)
class Recipe:
    """One result: what a file of `configs/` says.

    title   one line for people: network, data, source
    paper   where its numbers come from
    name    of the weights' file; the recipe's file has it where it says none
    """

    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    title: str = ""
    paper: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if self.name and (Path(self.name).name != self.name or self.name == "best"):
            raise ValueError("name: becomes that of a file beside best.safetensors; give another")


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by its name or a .toml file, with KEY=VALUE settings. Raises ConfigError, naming file and key."""
    path = toml.find(name, FOLDER)
    table = toml.with_settings(toml.read(path, FOLDER), settings)
    return toml.build(Recipe, {"name": path.stem, **table}, path.name)


def recipe_names() -> list[str]:
    """Of those that vsr brings."""
    return sorted(path.stem for path in toml.shipped(FOLDER).glob("*.toml"))


def _positive(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}: must be 1 or more")
