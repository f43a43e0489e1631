"""`vsr train`: recipes, and networks out of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsr.cli.console import Console, progress_shown, reported, write_json
from vsr.cli.process import asked_to_stop
from vsr.errors import ConfigError, UsageError
from vsr.names import STDIO

if TYPE_CHECKING:
    from vsr.recipe import Recipe
    from vsr.train.loop import Progress

RUNS = Path("runs")


@click.command(short_help="Train a network by a recipe, or fine-tune one on your own pictures.")
@click.argument("recipe", required=False, metavar="NAME|RECIPE.toml")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As train.steps=1000 or data.train=DIR.")
@click.option("--init", metavar="MODEL|PATH", help="Begin from these weights, as far as they fit (train.init).")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the folder.")
@click.option("--force", is_flag=True, help="Export a fine-tuned network that is no better on the scenes held back, too.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N; torchrun gives each process its own.")
@click.option("--threads", type=click.IntRange(1), help="Threads that make pairs.  [default: 1 on a CPU, else 4]")
@click.option("--preview", type=click.IntRange(1, 64), metavar="N", help="Write a sheet of N pairs as they will be trained on.")
@click.option("--list", "listed", is_flag=True, help="Name the recipes.")
@click.option("--json", "json_file", metavar="FILE", help="Write the result as JSON; - is standard output.")
@click.option("--progress", type=click.Choice(["auto", "bar", "json", "none"]), default="auto", show_default=True)
def train(**options: Any) -> None:
    """Train by a recipe that vsr brings (--list) or by your own; everything that comes of it is in one folder (train.out).

    \b
    Examples:
      vsr train edsr_baseline_x2_small --set data.train=photos --set data.validate=Set5 --set train.out=runs/edsr
      vsr train finetune_video_x4 --init animevideo --set data.train=clips/
      torchrun --nproc-per-node 8 -m vsr train esrgan_x4 --set data.train=DF2K
    """
    if options["listed"]:
        list_recipes(options["json_file"])
        return
    if options["recipe"] is None:
        raise UsageError("name a recipe; vsr train --list has them")
    with reported(options["json_file"], "train"):
        run_train(options)


def list_recipes(target: str | None) -> None:
    """Names and titles."""
    from vsr.recipe import load_recipe, recipe_names

    recipes = {name: load_recipe(name) for name in recipe_names()}
    if target != STDIO:
        for name, recipe in recipes.items():
            click.echo(f"{name:<28}{recipe.title}")
    write_json(target, "train", "ok", [], recipes={name: recipe.title for name, recipe in recipes.items()})


def run_train(options: dict[str, Any]) -> None:
    """Reads the recipe, finds the data, trains, says what came of it."""
    from vsr.recipe import load_recipe

    settings = [*options["settings"], *([f"train.init={json.dumps(options['init'])}"] if options["init"] else [])]
    recipe = load_recipe(options["recipe"], settings)
    if not recipe.data.train:
        raise UsageError("there is nothing to train on: give --set data.train=DIR")
    if options["preview"]:
        preview(recipe, options["preview"], options)
        return
    from vsr.train import ranks
    from vsr.train.loop import Task, train
    from vsr.train.setup import crops_of, device_for, held_of, items_of

    with asked_to_stop() as stop:
        device = device_for(options["device"])
        with ranks.joined(device.type) as rank:
            items, held = items_of(recipe)
            crops = crops_of(recipe, items, rank.world)
            judges = None
            if recipe.data.validate:
                from vsr.bench.judges import judges_of

                judges = judges_of(recipe.data.validate, recipe.data.frames // 2)
                for scale in recipe.network.scales:
                    next(iter(judges(scale)))  # whether they are there is known before any hour is spent
            threads = options["threads"] or (1 if device.type == "cpu" else 4)
            own = device_for(options["device"], rank.local)
            task = Task(
                recipe, crops, folder_of(recipe), own, judges, held_of(recipe, held), force=options["force"],
                resume=options["resume"], threads=threads, stop=stop,
            )  # fmt: skip
            lead = rank.rank == 0
            console = Console(quiet=not lead, to_stderr=options["json_file"] == STDIO)
            notes: list[str] = []
            with steps_shown(options["progress"] if lead else "none", console, notes) as draw:
                result = train(task, rank, draw)
    if not lead:
        return
    for note in (f"left out: {why}" for why in crops.skipped.values()):
        console.say(note)
    figures = ", ".join(f"{key} {value:.2f}" if "psnr" in key else f"{key} {value:.4f}" for key, value in result.best.items())
    console.say(
        f"{result.steps} steps, {result.seconds:.0f} s{f'; best at step {result.best_step}: {figures}' if figures else ''}"
    )
    if result.verdict is not None:
        console.say(str(result.verdict))
    console.say(f"{result.weights}: use it as --model {result.weights}")
    best = {"step": result.best_step, "metrics": dict(result.best)}
    write_json(
        options["json_file"], "train", "ok", notes, steps=result.steps, seconds=result.seconds, best=best,
        weights=str(result.weights), recipe=recipe.name, verdict=result.verdict,
    )  # fmt: skip


def folder_of(recipe: Recipe) -> Path:
    """Where all that comes of a recipe goes."""
    return Path(recipe.train.out) if recipe.train.out else RUNS / recipe.name


def preview(recipe: Recipe, count: int, options: dict[str, Any]) -> None:
    """A contact sheet of pairs, before any hour is spent."""
    from vsr.bench.contact import write_contact_sheet
    from vsr.train.data import sheet_rows
    from vsr.train.setup import crops_of, items_of

    wish = replace(recipe, data=replace(recipe.data, batch=count))
    rows = sheet_rows(crops_of(wish, items_of(wish)[0]).batch(recipe.train.seed, 0))
    folder = folder_of(recipe)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"{folder}: cannot be made: {exc.strerror}; choose another with --set train.out=DIR") from exc
    path = folder / "preview.png"
    write_contact_sheet(path, rows, title=f"{recipe.name}: {recipe.data.degrade}", width=256)
    Console(quiet=options["json_file"] == STDIO).say(f"{path}: {len(rows)} pairs, as step 0 would see them")
    write_json(options["json_file"], "train", "planned", [], preview=str(path), pairs=len(rows))


@contextmanager
def steps_shown(how: str, console: Console, notes: list[str]) -> Iterator[Callable[[Progress], None]]:
    """Draws progress, with losses; without a bar a line for each validation. Notes are said at once, and kept."""
    from vsr.report import Progress as Shown

    with progress_shown(how, console, unit="step") as draw:

        def tell(progress: Progress) -> None:
            for note in progress.notes:
                notes.append(note)
                console.say(note)
            if progress.figures is not None:
                figures = progress.figures
                console.say(f"step {progress.step}: {figures.psnr_y:.2f} dB, SSIM {figures.ssim_y:.4f}")
            if draw is not None:
                losses = " ".join(f"{name} {value:.4g}" for name, value in progress.losses.items())
                draw(Shown(losses or "train", progress.step, progress.steps, progress.seconds))

        yield tell
