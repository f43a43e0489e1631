"""Networks as ONNX, for programs that have no torch; a file is kept only when onnxruntime computes the same with it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vsr.errors import ModelError, WeightsError
from vsr.models.checkpoints import require_free
from vsr.models.single import SingleFrame
from vsr.models.spec import Fusible
from vsr.models.weights import load

if TYPE_CHECKING:
    from vsr.models.spec import Generator, ModelSpec

SUFFIX = ".onnx"
TOLERANCE = 1e-3  # a quarter of an 8-bit level
NEEDED = ("onnx", "onnxscript", "onnxruntime")
SIDE = 64  # of the picture that is traced, or as near as the network allows


@dataclass(frozen=True)
class Exported:
    """What was written. `size`: the only (width, height) it takes; None = any. `difference`: the largest to torch, of 0..1."""

    architecture: str
    scale: int | None
    size: tuple[int, int] | None
    opset: int
    difference: float
    multiple_of: int
    weights_sha256: str
    warnings: tuple[str, ...] = ()


def export_onnx(
    model: str, output: Path, *, size: tuple[int, int] | None, opset: int, target_scale: float, overwrite: bool = False
) -> Exported:
    """Write a single-frame network as one file: "image" (1, 3, H, W) RGB 0..1, float32 -> "enlarged", as torch gives it.

    `size` (width, height) fixes H and W; else they stay open where the exporter can leave them open, which is stated.
    Raises ModelError for what cannot be exported or comes out differently, ConfigError for an output that cannot be written.
    """
    require_free(output, SUFFIX, overwrite=overwrite)
    generator = load(model, target_scale)
    spec = generator.spec
    network = _exportable(generator, model)
    width, height = _traced_size(spec, size, model)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"ONNX needs {', '.join(missing)}: run: pip install 'vsr[onnx]'")
    part = output.with_name(f".{output.stem}.{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}")
    try:
        step, elsewhere = spec.multiple_of, 0.0
        free = size is None and _write(network, part, (width, height), opset, free=step)
        if free:  # as the exporter says; some networks' graphs hold numbers of the traced picture all the same
            elsewhere = _difference(generator, part, (width + 2 * step, height + step))
            free = elsewhere <= TOLERANCE
        if not free:
            _write(network, part, (width, height), opset)
        difference = max(_difference(generator, part, (width, height)), elsewhere if free else 0.0)
        if difference > TOLERANCE:
            raise ModelError(
                f"{output}: not written, as onnxruntime differs from torch by {difference:.1e} (allowed {TOLERANCE})"
            )
        part.replace(output)
    except OSError as exc:
        raise WeightsError(f"{output}: cannot be written ({exc.strerror}); choose another place") from exc
    finally:
        with contextlib.suppress(OSError):  # a name that cannot be written cannot be removed either
            part.unlink(missing_ok=True)
    fixed = None if free else (width, height)
    told = (
        (f"{model}: the exporter cannot leave the size open; the file is for {width}x{height} alone",)
        if fixed and not size
        else ()
    )
    return Exported(
        spec.architecture, spec.scale, fixed, opset, difference, spec.multiple_of, spec.weights_sha256, (*spec.warnings, *told)
    )


def _exportable(generator: Generator, model: str) -> nn.Module:
    """The network in the cheapest form that gives the same picture. Raises ModelError for what is not one picture to one."""
    spec = generator.spec
    if spec.context:
        raise ModelError(
            f"{model}: {spec.architecture} aligns {2 * spec.context + 1} frames by deformable convolutions, which torch's "
            "exporter has no operator for; only networks of single frames can be exported"
        )
    if spec.scale is None:
        raise ModelError(f"{model}: is no network; there is nothing to export")
    network: object = generator.fused() if isinstance(generator, Fusible) else generator
    if not isinstance(network, SingleFrame):
        raise ModelError(f"{model}: {spec.architecture} cannot be exported")
    return network.eval()


def _traced_size(spec: ModelSpec, size: tuple[int, int] | None, model: str) -> tuple[int, int]:
    """The wished width and height, if the network can take them; else some that it can."""
    side = max(-(-SIDE // spec.multiple_of) * spec.multiple_of, spec.min_size)
    width, height = size or (side, side)
    if width % spec.multiple_of or height % spec.multiple_of or min(width, height) < spec.min_size:
        raise ModelError(f"--size {width}x{height}: {model} takes multiples of {spec.multiple_of}, from {spec.min_size} on")
    return width, height


def _write(network: nn.Module, path: Path, size: tuple[int, int], opset: int, *, free: int = 0) -> bool:
    """Export at `size`; `free`: with height and width open, in multiples of it. False when the exporter cannot leave them open.

    Raises ModelError when it cannot export the network at all.
    """
    image = torch.rand(1, 3, size[1], size[0], generator=torch.Generator().manual_seed(0))
    shapes: Any = ({2: _dimension("height", free), 3: _dimension("width", free)},) if free else None
    try:
        with torch.inference_mode(False), torch.no_grad(), _quiet():
            program = torch.onnx.export(
                network,
                (image,),
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=shapes,
                input_names=["image"],
                output_names=["enlarged"],
                verbose=False,
            )
            if program is None:
                raise ModelError("nothing came of it")
            program.save(path, external_data=False)
    except OSError:  # of the disk, which no other shape would change
        raise
    except Exception as exc:  # the exporter lets through whatever its passes raise
        if free:
            return False
        cause: BaseException = exc
        while cause.__cause__ is not None:  # the outermost is a page of advice
            cause = cause.__cause__
        line = next(iter(str(cause).splitlines()), "") or type(cause).__name__
        raise ModelError(f"{type(network).__name__} cannot be exported to ONNX ({line})") from exc
    return True


def _dimension(name: str, multiple: int) -> Any:
    return torch.export.Dim(name) if multiple == 1 else multiple * torch.export.Dim(name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own inner workings, and logs what the check that follows decides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def _difference(generator: Generator, path: Path, size: tuple[int, int]) -> float:
    """The largest difference between torch and onnxruntime, on a random picture; infinite where the file cannot be run."""
    import onnxruntime

    image = torch.rand(1, 3, size[1], size[0], generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected: Tensor = generator.reconstruct(generator.features(image)[:, None])
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # it prints what it raises
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"image": image.numpy()})
    except Exception:  # onnxruntime's errors have no common class of their own
        return float("inf")
    if tuple(found.shape) != tuple(expected.shape):
        return float("inf")
    return float((torch.from_numpy(found) - expected).abs().max())
