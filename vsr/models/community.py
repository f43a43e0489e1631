"""Checkpoints from anywhere, of the some forty architectures that spandrel knows.

A checkpoint is a stranger's file: pickles are read by torch's restricted unpickler, which builds tensors and plain containers
and nothing else, and TorchScript archives, which are programs, are refused.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vsr.errors import ModelError, WeightsError
from vsr.models import files
from vsr.models.probe import count_mflop, peak_bytes
from vsr.models.single import SingleFrame
from vsr.models.spec import ModelSpec, Precision
from vsr.models.stored import digest

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

# The receptive field of an unknown network is unknown; 32 px hides the seams of convolutional ones to the eye.
HALO = 32
# What a process really grows by, against the live tensors that the probe counts: 0.95 to 1.5 times for SwinIR, HAT, DAT, SPAN and
# RRDBNet (fp32 on a CPU: the convolution library's own copies are not counted).
SCRATCH_FACTOR = 2
# Where the network cannot be run without data: twice the 40 kB of HAT, the hungriest that was measured.
UNKNOWN_BYTES_PER_PIXEL = 80_000

# Well known, and for other work; spandrel itself does not know them: what it is, what it is for, and a tensor that it alone has.
OTHER_WORK = (
    ("CodeFormer", "face restoration", "idx_pred_layer.1.weight"),
    ("MAT", "inpainting", "synthesis.first_stage.conv_first.conv.resample_filter"),
    ("MAT", "inpainting", "model.synthesis.first_stage.conv_first.conv.resample_filter"),
)


class CommunityNetwork(SingleFrame):
    """A network that spandrel built: (N, 3, H, W) RGB 0..1 -> (N, 3, H*scale, W*scale), clipped to 0..1."""

    def __init__(self, descriptor: ImageModelDescriptor[Any], spec: ModelSpec) -> None:
        super().__init__()
        self.network = descriptor.model  # registered, so that `to` moves it
        self._descriptor = descriptor
        self.spec = spec

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()  # some scale their input in place (RCAN, by 255)
        # The descriptor's own call forbids gradients, and clips: to train, what it calls is called.
        out: Tensor = self._descriptor._call_fn(self.network, x) if self.training else self._descriptor(x)
        return out


def build(path: Path, state: Mapping[str, Any]) -> CommunityNetwork:
    """The network of a checkpoint's content (`read`), in fp32 on the CPU, in evaluation mode.

    Raises WeightsError when the weights do not fit, ModelError when their network is not one that upscales RGB images.
    """
    descriptor = _describe(path, state)
    network = descriptor.model.float()
    return CommunityNetwork(descriptor, _spec(path, descriptor, digest(network.state_dict()))).eval()


def tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a checkpoint's content, as spandrel unwraps and names them."""
    state = _unwrapped(content)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _unwrapped(content: Mapping[Any, Any]) -> dict[str, Any]:
    from spandrel import canonicalize_state_dict

    state: dict[str, Any] = canonicalize_state_dict({name: value for name, value in content.items() if isinstance(name, str)})
    return state


def read(path: Path) -> Mapping[str, Any]:
    """The content of a .pth, .pt, .ckpt or .safetensors file: a mapping, still wrapped as its author saved it.

    Raises WeightsError when the file cannot be read or trusted.
    """
    content: object
    if path.suffix.lower() == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as exc:
            raise WeightsError(f"{path}: not a whole safetensors file ({exc}); get it again") from exc
    files.check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        raise WeightsError(f"{path}: {_refusal(path)}") from exc
    except Exception as exc:  # torch lets through whatever its pickle and zip readers raise on a damaged file
        raise WeightsError(f"{path}: not a whole checkpoint ({_first_line(exc)}); get it again") from exc
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not the weights of a network; give a state dict")
    return content


def _refusal(path: Path) -> str:
    """Why the restricted unpickler stopped, in one line."""
    try:
        unsafe = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # not a zip archive, or one that cannot be taken apart
        unsafe = []
    if unsafe:
        return f"refused, it asks to run {', '.join(unsafe[:3])}; save its state dict alone, or convert it to safetensors"
    return "not a checkpoint, or one that holds more than weights; give a state dict or a safetensors file"


def _describe(path: Path, state: Mapping[str, Any]) -> ImageModelDescriptor[Any]:
    # Late: importing spandrel takes seconds (forty architectures).
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    tensors = _unwrapped(state)
    for name, purpose, key in OTHER_WORK:
        if key in tensors:
            raise ModelError(f"{path}: {name} is for {purpose}, not for upscaling whole pictures; choose another checkpoint")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the architectures' own, for their authors: empty tensors, meshgrid without indexing
            descriptor = ModelLoader("cpu").load_from_state_dict(tensors)
    except UnsupportedModelError as exc:
        raise ModelError(f"{path}: the weights of no architecture that spandrel knows; choose another checkpoint") from exc
    except Exception as exc:  # a detector that was wrong fails in the architecture's own code, in any way
        raise WeightsError(f"{path}: the weights do not fit the architecture they look like ({_reason(exc)})") from exc
    kind, purpose = descriptor.architecture.name, descriptor.purpose
    channels = descriptor.input_channels, descriptor.output_channels
    if not isinstance(descriptor, ImageModelDescriptor) or purpose not in ("SR", "Restoration"):
        raise ModelError(f"{path}: {kind} is for {purpose}, not for upscaling whole pictures; choose another checkpoint")
    if channels != (3, 3):
        raise ModelError(f"{path}: takes {channels[0]} channels and gives {channels[1]}; only RGB networks (3 and 3) can be used")
    if descriptor.size_requirements.square:
        raise ModelError(f"{path}: {kind} takes only square pictures; choose another checkpoint")
    return descriptor


def _spec(path: Path, descriptor: ImageModelDescriptor[Any], sha256: str) -> ModelSpec:
    from spandrel import ModelTiling

    needs = descriptor.size_requirements
    told = [f"{path.name}: receptive field unknown, tiles overlap by {HALO} px; check for seams, or use --tile off"]
    if descriptor.tiling is not ModelTiling.SUPPORTED:
        told.append(f"{path.name}: {descriptor.architecture.name} looks at the whole picture; tiles may show, use --tile off")
    supported: dict[Precision, bool] = {"fp32": True, "fp16": descriptor.supports_half, "bf16": descriptor.supports_bfloat16}
    multiple = needs.multiple_of
    side = -(-max(64, needs.minimum) // multiple) * multiple
    bytes_per_pixel, mflop = _cost(descriptor.model, side)
    return ModelSpec(
        name=path.stem,
        architecture=descriptor.architecture.name,
        scale=descriptor.scale,
        multiple_of=multiple,
        min_size=max(1, needs.minimum),
        halo_px=-(-HALO // multiple) * multiple,
        precisions=frozenset(precision for precision, safe in supported.items() if safe),
        bytes_per_pixel=bytes_per_pixel,
        mflop_per_pixel=mflop,
        parameters=sum(p.numel() for p in descriptor.model.parameters()),
        weights_sha256=sha256,
        warnings=tuple(told),
    )


def _cost(network: torch.nn.Module, side: int) -> tuple[int, float]:
    """Bytes and MFLOP per input pixel; a high guess and 0 where the network cannot be run without data."""
    try:
        return SCRATCH_FACTOR * peak_bytes(network, side=side), count_mflop(network, side=side)
    except Exception:  # data-dependent control flow, or tensors outside the state dict: any error of the network's own code
        return UNKNOWN_BYTES_PER_PIXEL, 0.0


def _reason(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), "") or type(exc).__name__
