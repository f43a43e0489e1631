"""Small EDVRs that do something: fresh ones shift nothing, and are hardly more than a bilinear enlargement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vsr.models import stored
from vsr.models.edvr import EDVR

if TYPE_CHECKING:
    from vsr.models.spec import Option

SMALL: dict[str, Option] = {"num_feat": 16, "deformable_groups": 2, "num_extract_block": 1, "num_reconstruct_block": 1}


def small_edvr(options: Mapping[str, Option] | None = None, *, seed: int = 0, shift_px: float = 1.0) -> EDVR:
    """A narrow network whose deformable convolutions shift by about `shift_px`, and whose frames all matter."""
    torch.manual_seed(seed)
    net = EDVR(**{**SMALL, **(options or {})}).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if ".conv_offset." in name:
                parameter.normal_(0, 0.05)
                if name.endswith("bias"):  # two thirds are shifts, the rest weights
                    parameter[: parameter.numel() * 2 // 3].normal_(0, shift_px)
            elif parameter.ndim == 4:
                torch.nn.init.kaiming_normal_(parameter, a=0.1)
                parameter.mul_(0.3 if "conv2" in name else 0.7)  # residual branches stay small
        net.conv_last.weight.mul_(0.3)
    return net


def write_edvr(path: Path, options: Mapping[str, Option] | None = None, *, seed: int = 0, shift_px: float = 1.0) -> stored.Stored:
    """A small EDVR as a checkpoint of ours, to be named with --model."""
    net = small_edvr(options, seed=seed, shift_px=shift_px)
    return stored.write(path, net.state_dict(), stored.Origin("EDVR", {**SMALL, **(options or {})}, net.spec.scale))
