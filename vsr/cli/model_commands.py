"""What each `vsr models` command calls, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vsr.cli.console import reported, show_rows, write_json
from vsr.names import STDIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vsr.models.checkpoints import Checkpoint
    from vsr.models.layers import Item
    from vsr.models.sources import ZooEntry
    from vsr.models.spec import Generator, ModelSpec


def run_models_list(target: str | None) -> None:
    """`vsr models list`."""
    from vsr.models.zoo import ZOO

    rows: list[dict[str, object]] = []
    if target != STDIO:
        click.echo(f"{'name':<14}{'scales':<8}{'parameters':>12}  {'MFLOP/px':>9}  {'licence':<14}{'weights':<9}what it is for")
    for name, entry in ZOO.items():
        spec = entry.networks[0].spec
        state = weights_state(entry)
        scales = ",".join(f"x{scale}" for scale in sorted(entry.scales)) or "any"
        licence = entry.licence.partition(" (")[0]
        if target != STDIO:
            numbers = f"{spec.parameters:>12,}  {spec.mflop_per_pixel:>9.3f}"
            click.echo(f"{name:<14}{scales:<8}{numbers}  {licence:<14}{state.partition(':')[0]:<9}{entry.title}")
        rows.append(
            {
                "name": name,
                "scales": list(entry.scales) or "any",
                "parameters": spec.parameters,
                "mflop_per_pixel": spec.mflop_per_pixel,
                "licence": entry.licence,
                "weights": state,
                "title": entry.title,
            }
        )
    write_json(target, "models list", "ok", [], models=rows)


def run_models_info(model: str, target: str | None, *, layers: bool = False) -> None:
    """`vsr models info`."""
    from vsr.models.weights import is_path
    from vsr.models.zoo import ZOO

    items: tuple[Item, ...] | None = None
    with reported(target, "models info"):
        rows, spec, networks = _of_file(model) if model not in ZOO and is_path(model) else _of_entry(model)
        if layers:
            from vsr.models.layers import layers_of

            items = layers_of(networks())
    if target != STDIO:
        show_rows(rows, 16)
        if items is not None:
            _show_layers(items)
    for text in spec.warnings:
        click.echo(f"warning: {text}", err=True)
    found = {} if items is None else {"layers": items}
    write_json(target, "models info", "ok", list(spec.warnings), model=rows, spec=spec, **found)


def _of_file(path: str) -> tuple[dict[str, object], ModelSpec, Callable[[], Generator]]:
    from vsr.models.recognise import scales_of
    from vsr.models.weights import load

    network = load(path, 1.0)
    spec = network.spec
    rows = {"file": path, **spec_rows(spec)}
    if scales := scales_of(spec.architecture):
        rows["scales"] = ", ".join(f"x{scale}" for scale in scales) + f" in one file; the figures are those of x{spec.scale}"
    rows["channels"] = "RGB in, RGB out"  # any other network was refused
    return rows, spec, lambda: network


def _of_entry(name: str) -> tuple[dict[str, object], ModelSpec, Callable[[], Generator]]:
    from vsr.models.weights import without_weights
    from vsr.models.zoo import entry

    found = entry(name)
    spec = found.networks[0].spec
    rows = {
        "name": name,
        "for": found.title,
        **spec_rows(spec),
        "scales": ", ".join(f"x{s}" for s in found.scales) or "any",
        "licence": found.licence,
        "source": found.source,
        "trained on": found.training,
        "figures": found.figures,
        "sha256": found.sha256,
        "weights": weights_state(found),
    }
    return rows, spec, lambda: without_weights(found.networks[0])


def _show_layers(items: tuple[Item, ...]) -> None:
    from vsr.models.layers import lines

    click.echo("layers")
    for line in lines(items, "  ") if items else ("  none: the engine's own resize does all the work",):
        click.echo(line)


def run_models_pull(name: str, target: str | None) -> None:
    """`vsr models pull`."""
    from vsr.models.pull import pull
    from vsr.models.weights import is_path
    from vsr.models.zoo import ZOO, entry

    done: list[str] = []
    if name not in ZOO and is_path(name):
        done.append(f"{name}: is a file, and is used as it is: --model {name}")
        if target != STDIO:
            click.echo(done[0])
    else:
        with reported(target, "models pull"):
            for line in _pulled_vgg19() if name == "vgg19" else pull(entry(name)):
                done.append(line)
                if target != STDIO:
                    click.echo(line)
    write_json(target, "models pull", "ok", [], done=done)


def _pulled_vgg19() -> Iterator[str]:
    """No model, but what perceptual losses of training look through."""
    from vsr.train.vgg import fetch_weights

    path = fetch_weights()
    yield f"vgg19: {path.stat().st_size / 1e6:.1f} MB in {path}"


def run_models_convert(source: str, output: Path, scale: int, target: str | None, *, half: bool, overwrite: bool) -> None:
    """`vsr models convert`."""
    from vsr.models.checkpoints import SUFFIX, halved, read, require_free, write

    with reported(target, "models convert"):
        require_free(output, SUFFIX, overwrite=overwrite)  # before the work
        checkpoint = halved(read(source, scale)) if half else read(source, scale)
        write(output, checkpoint, overwrite=overwrite)
    say_written(output, checkpoint, "models convert", target)


def run_models_blend(
    first: str, second: str, alpha: float, output: Path, scale: int, target: str | None, *, overwrite: bool
) -> None:
    """`vsr models blend`."""
    from vsr.models.checkpoints import SUFFIX, blended, require_free, write

    with reported(target, "models blend"):
        require_free(output, SUFFIX, overwrite=overwrite)  # before the work
        checkpoint = blended(first, second, alpha, scale)
        write(output, checkpoint, overwrite=overwrite)
    say_written(output, checkpoint, "models blend", target)


def say_written(output: Path, checkpoint: Checkpoint, command: str, target: str | None) -> None:
    """What a file of weights holds; its digest is what a job's journal calls the weights by."""
    origin, sha256 = checkpoint.weights.origin, checkpoint.weights.sha256
    scale = f"x{origin.scale}" if origin.scale else "any scale"
    if target != STDIO:
        plain = "" if checkpoint.ours else " (the weights alone: its network is not one of vsr's own)"
        click.echo(f"{output}: {origin.architecture}, {scale}, weights {sha256[:12]}{plain}")
    for text in checkpoint.warnings:
        click.echo(f"warning: {text}", err=True)
    facts: dict[str, object] = {"output": str(output), "sha256": sha256, "ours": checkpoint.ours}
    write_json(target, command, "ok", list(checkpoint.warnings), **facts, architecture=origin.architecture, scale=origin.scale)


def run_models_export(
    source: str, output: Path, size: tuple[int, int] | None, opset: int, scale: int, target: str | None, *, overwrite: bool
) -> None:
    """`vsr models export`."""
    from vsr.models.export import export_onnx

    with reported(target, "models export"):
        done = export_onnx(source, output, size=size, opset=opset, target_scale=scale, overwrite=overwrite)
    if target != STDIO:
        free = f"any size in multiples of {done.multiple_of}" if done.multiple_of > 1 else "any size"
        sizes = free if done.size is None else f"{done.size[0]}x{done.size[1]} alone"
        click.echo(f"{output}: {done.architecture}, x{done.scale or 1}, float32, opset {opset}, pictures of {sizes}")
        click.echo(f"checked with onnxruntime: at most {done.difference:.1e} from torch, where black to white is 1")
    for text in done.warnings:
        click.echo(f"warning: {text}", err=True)
    write_json(target, "models export", "ok", list(done.warnings), output=str(output), export=done)


def weights_state(entry: ZooEntry) -> str:
    """Whether a name's weights are here; if not, how to get them."""
    from vsr.models.sources import NoWeights
    from vsr.models.weights import available

    if available(entry.name):
        return "present"
    advice = next((network.weights.advice for network in entry.networks if isinstance(network.weights, NoWeights)), None)
    return f"none: {advice}" if advice else f"missing: vsr models pull {entry.name}"


def spec_rows(spec: ModelSpec) -> dict[str, object]:
    halo = f"{spec.halo_px} px (radius {spec.radius_px}; tiled differs from whole by at most {spec.halo_levels} of 255)"
    return {
        "architecture": spec.architecture,
        "scales": f"x{spec.scale}" if spec.scale else "any",
        "parameters": f"{spec.parameters:,}",
        "MFLOP/pixel": spec.mflop_per_pixel,
        "bytes/pixel": spec.bytes_per_pixel,
        "halo": halo,
        "context": f"{spec.context} frames on each side" if spec.context else "single frames",
        "precisions": ", ".join(sorted(spec.precisions)),
    }
