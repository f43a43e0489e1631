"""How the small pictures of a test set came to be, found out from the pictures: it decides what figures mean."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vsr.bench.pairs import Dataset, Pair, tensor_of
from vsr.metrics import Protocol, psnr, shrunk
from vsr.resample import imresize
from vsr.temporal import moved

_WORTH_SAYING = 0.25  # dB that a shift gains


def origin_of(dataset: Dataset) -> tuple[str, list[str]]:
    """One line on how LR came to be, and what follows for the figures.

    Stored LR is compared with MATLAB's bicubic of HR; of a clip, its first frame.
    """
    if not dataset.stored:
        return dataset.origin, []
    differing = values = 0
    notes, colourless = [], []
    for pair in _telling(dataset):
        lr, hr = tensor_of(pair.lr), tensor_of(pair.hr)
        other = int((shrunk(hr, dataset.scale) != lr).sum())
        if other and not differing and (shift := _shift(hr, lr, dataset.scale)):
            notes.append(f"{pair.name}: {shift}")
        differing += other
        values += lr.numel()
        if hr.shape[1] == 3 and bool((hr == hr[:, :1]).all()):
            colourless.append(pair.name)
    if colourless:
        told = ", ".join(colourless[:5])
        notes.append(
            f"{told}: gray, stored as RGB, and counted so: its luma has 219 levels, which gain 1.3 dB against stored gray"
        )
    if not differing:
        return f"{dataset.origin}: equal to MATLAB's bicubic of HR in all {values:,} values", notes
    share = math.ceil(1000 * differing / values) / 10
    notes.append(
        f"LR is not HR shrunk by bicubic ({share} % of its values differ): networks trained for bicubic are not at their best"
    )
    return f"{dataset.origin}: {share} % of its values differ from MATLAB's bicubic of HR", notes


def _telling(dataset: Dataset) -> Iterator[Pair]:
    for group in dataset.groups:
        for pair in group.pairs():
            yield pair
            if group.clip:
                break


def _shift(hr: Tensor, lr: Tensor, scale: int) -> str:
    """What there is to say where LR holds the upper left of each block, not its middle; "" where it does not."""
    whole, half = Protocol("y", 2 * scale), (scale - 1) / 2
    if min(hr.shape[-2:]) <= 4 * scale:
        return ""
    grown = imresize(lr.double(), scale, 1, rounded=True)
    flow = torch.full((1, 2, *hr.shape[-2:]), half, dtype=torch.float64)
    here, there = float(psnr(grown, hr, whole)), float(psnr(moved(grown, flow), hr, whole))
    if there < here + _WORTH_SAYING:
        return ""
    return (
        f"LR was sampled at the upper left of each block of {scale}x{scale}, {half:g} pixels from where models put it: bicubic "
        f"has {here:.2f} dB as it is and {there:.2f} dB moved back. Every model loses by this, the sharpest most"
    )
