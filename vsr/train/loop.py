"""Training, from top to bottom: pairs in, one step after the other, weights out.

Everything that is drawn follows from the recipe's seed and the step's number, so a checkpoint holds networks, their average and
the optimisers, and nothing else; a run that was killed goes on as if it had not been, bit for bit on a CPU.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import cast

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from vsr import toml
from vsr.engine.memory import is_out_of_memory
from vsr.errors import ConfigError, DeviceError, Interrupted, JobError
from vsr.lpips import find_weights, load_lpips
from vsr.models import checkpoints
from vsr.models.community import CommunityNetwork
from vsr.recipe import Recipe
from vsr.train import checkpoint, ranks
from vsr.train.data import Batch, Crops, loaded
from vsr.train.health import Health
from vsr.train.log import NAME, Log, best, read_log
from vsr.train.networks import build_generator
from vsr.train.samples import write_samples
from vsr.train.trainer import Trainer, rate_factor
from vsr.train.validate import Figures, Judges, validate
from vsr.train.verdict import Verdict, verdict

LOCK = ".lock"
FREE = frozenset(  # of a recipe: what may be another when training goes on
    f"train.{key}" for key in ("steps", "validate_every", "log_every", "save_minutes", "keep", "out", "tensorboard")
) | {"data.validate", "title", "paper", "name"}  # fmt: skip
BEST = "best.safetensors"
SHOWN = 4  # sample pictures of each validation


@dataclass(frozen=True)
class Task:
    """What to train, on what, and where. `crops` draw for all ranks; `judges` give the pictures to validate on (None: none)."""

    recipe: Recipe
    crops: Crops
    folder: Path
    device: torch.device
    judges: Judges | None = None
    held: Judges | None = None  # of scenes that were held back: the result is judged by them, and must be better
    force: bool = False  # export it in any case
    resume: bool = False
    threads: int = 1  # that make pairs
    stop: Callable[[], bool] = lambda: False  # asked after each step: save, and leave


@dataclass(frozen=True)
class Progress:
    """Where training stands, and the last reported means of the losses."""

    step: int
    steps: int
    seconds: float
    losses: Mapping[str, float] = field(default_factory=dict)
    figures: Figures | None = None
    notes: tuple[str, ...] = ()  # of the first one: what it begins from


@dataclass(frozen=True)
class Trained:
    """What came of it: steps in all, seconds of this run, the weights to use, the best validation's step and figures."""

    steps: int
    seconds: float
    weights: Path
    best_step: int | None
    best: Mapping[str, float]
    verdict: Verdict | None = None


OnProgress = Callable[[Progress], None]


def train(task: Task, rank: ranks.Rank, on_progress: OnProgress | None = None) -> Trained:
    """Train until the recipe's last step, saving, validating and reporting on the way; then export.

    Every process of `rank` calls it. Raises JobError when the folder belongs to another recipe or process, and when training
    has gone wrong, with the last checkpoint from before; Interrupted when `task.stop` says so; and what reading the data raises.
    """
    recipe, folder = task.recipe, task.folder
    lead = rank.rank == 0
    with ExitStack() as stack:
        if lead:
            stack.enter_context(claimed(folder))
        trainer = Trainer(recipe, task.device)
        text = toml.dump(recipe)
        step, notes = _resumed(task, trainer, text)
        notes = (*trainer.begun.notes, *notes)
        log = Log(folder, step, tensorboard=recipe.train.tensorboard) if lead else None
        began = saved = monotonic()
        sums: dict[str, Tensor] = {}
        means: dict[str, float] = {}
        reported, health = step, Health(folder)
        if on_progress:
            on_progress(Progress(step, recipe.train.steps, 0.0, notes=notes))
        pairs = stack.enter_context(
            loaded(task.crops, recipe.train.seed, rank=rank.rank, start=step, stop=recipe.train.steps, threads=task.threads)
        )
        for batch in pairs:
            losses = _stepped(trainer, step, batch)
            step += 1
            for name, value in losses.items():
                sums[name] = sums[name] + value if name in sums else value
            last, stopped = step == recipe.train.steps, ranks.any_of(task.stop())
            figures = None
            if last or _due(step, recipe.train.log_every):
                means = ranks.averaged({name: value / (step - reported) for name, value in sums.items()})
                sums, reported = {}, step
                health.require_losses(means, step)
                if log is not None:
                    rate = recipe.train.rate * rate_factor(recipe.train, step - 1)
                    log.write("loss", step, **means, rate=rate, seconds=round(monotonic() - began, 3))
            judging = log is not None and task.judges is not None and (last or _due(step, recipe.train.validate_every))
            saving = log is not None and (last or stopped or monotonic() - saved > 60 * recipe.train.save_minutes)
            if judging or saving:
                health.require_weights(trainer.parts, step)
            if judging and log is not None:
                figures = _validated(task, trainer, step, log)
            if saving:
                checkpoint.save(folder, step, text, trainer.parts, recipe.train.keep)
                saved = monotonic()
            if stopped and not last:
                raise Interrupted(f"{step} of {recipe.train.steps} steps are in {folder}; --resume goes on from there")
            if on_progress and (reported == step or figures):
                spent = monotonic() - began
                on_progress(Progress(step, recipe.train.steps, spent, means, figures))
        if log is None:
            return Trained(step, monotonic() - began, folder, None, {})
        log.tabulate()
        return _finished(task, trainer, step, monotonic() - began)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """The folder, made where it is not there, closed to other trainings. Raises JobError, and ConfigError where it cannot be."""
    there = folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise JobError(f"{folder}: another training is at work there; choose another folder with --set train.out=DIR") from exc
    except OSError as exc:
        raise ConfigError(f"{folder}: cannot be written: {exc.strerror}; choose another with --set train.out=DIR") from exc
    try:
        yield
    except KeyboardInterrupt as exc:
        if isinstance(exc, Interrupted):
            raise
        found = checkpoint.checkpoints(folder)  # at once: what was done since the last one is lost
        raise Interrupted(f"--resume goes on from {found[-1]}" if found else f"{folder} holds no checkpoint yet") from exc
    finally:
        if not there and {path.name for path in folder.iterdir()} <= {LOCK, NAME} and not read_log(folder):  # nothing came of it
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _resumed(task: Task, trainer: Trainer, text: str) -> tuple[int, tuple[str, ...]]:
    """The step to go on from, and what to tell. Raises JobError where there is work that nobody asked to go on with, or none."""
    if task.resume:
        return checkpoint.restore_last(task.folder, text, trainer.parts, FREE)
    if checkpoint.checkpoints(task.folder):
        raise JobError(f"{task.folder}: holds a training already; go on with --resume, or choose another --set train.out=DIR")
    return 0, ()


def _stepped(trainer: Trainer, step: int, batch: Batch) -> dict[str, Tensor]:
    """One step. Raises DeviceError, with what makes it smaller, where memory runs out."""
    try:
        return trainer.step(step, batch)
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        raise DeviceError(
            f"step {step}: out of memory with {len(batch.hr)} pairs of {batch.hr.shape[-1]}x{batch.hr.shape[-2]}; lower "
            "data.batch or data.crop, take more devices (torchrun), or a smaller network"
        ) from exc


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _validated(task: Task, trainer: Trainer, step: int, log: Log) -> Figures:
    """Judge the network, keep the best weights so far, and some pictures."""
    assert task.judges is not None
    on = task.recipe.data.validate  # figures of another test set say nothing beside these
    before = best(task.folder, "psnr_y", on)
    found = [validate(trainer.shipped, scale, task.judges, task.device, SHOWN) for scale in sorted(task.recipe.network.scales)]
    figures, samples = found[-1]
    mean, ssim = (sum(getattr(each, key) for each, _ in found) / len(found) for key in ("psnr_y", "ssim_y"))
    log.write("validation", step, on=on, psnr_y=mean, ssim_y=ssim)
    write_samples(task.folder / "samples" / f"step-{step:08d}.png", samples, task.recipe.name, step)
    if before is None or mean > before["psnr_y"]:
        _export(task, trainer, BEST, step, {"psnr_y": mean})
    return replace(figures, psnr_y=mean, ssim_y=ssim)


def _finished(task: Task, trainer: Trainer, step: int, seconds: float) -> Trained:
    """The last weights under the recipe's name; those to use are the best ones, where there are figures that mean that.

    Raises JobError where they are no better than what they began from, on scenes that were held back.
    """
    judged = _judged(task, trainer) if task.held is not None else None
    if judged is not None and not judged.better and not task.force:
        raise JobError(
            f"no better than what it began from: {judged}. Nothing is exported; train longer (more train.steps, and "
            "train.periods with them, into another folder), on more clips, or take it all the same: --resume --force"
        )
    last = _export(task, trainer, f"{task.recipe.name}{checkpoints.SUFFIX}", step, {})
    line = best(task.folder, "psnr_y", task.recipe.data.validate)
    # PSNR does not rank what a critic has trained; and what was judged on held-back scenes are the last weights
    by_psnr = line is not None and judged is None and task.recipe.loss.adversarial == "none"
    figures = {} if line is None else {key: line[key] for key in ("psnr_y", "ssim_y")}
    weights = task.folder / BEST if by_psnr else last
    return Trained(step, seconds, weights, None if line is None else line["step"], figures, judged)


def _judged(task: Task, trainer: Trainer) -> Verdict:
    """The network against the one that it began from."""
    assert task.held is not None
    train, scale = task.recipe.train, max(task.recipe.network.scales)
    first = build_generator(task.recipe.network, train.seed, train.init).network
    lpips = load_lpips() if find_weights("alex") is not None else None
    before, after = (
        validate(network, scale, task.held, task.device, lpips=lpips)[0] for network in (first.to(task.device), trainer.shipped)
    )
    return verdict(before, after, train.seed, by_eye=task.recipe.loss.adversarial != "none")


def _export(task: Task, trainer: Trainer, name: str, step: int, figures: Mapping[str, float]) -> Path:
    recipe = task.recipe
    notes = {
        "recipe": recipe.name, "title": recipe.title, "steps": str(step), "seed": str(recipe.train.seed),
        "data": f"{len({item.path for item in task.crops.items})} files, {'pairs' if recipe.data.lr else recipe.data.degrade}",
        **{key: f"{value:.4f}" for key, value in figures.items()},
    }  # fmt: skip
    path = task.folder / name
    begun, shipped = trainer.begun, trainer.shipped
    if begun.options is None:  # not ours: the tensors alone, under the names by which it is recognised
        checkpoint.export_plain(path, cast(CommunityNetwork, shipped).network.state_dict())
    else:
        checkpoint.export(path, begun.network.spec, begun.options, shipped.state_dict(), notes=notes, parents=begun.parents)
    return path
