"""Each generator can learn one picture by heart; a broken gradient or a wrong order of pixels would stand between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vsr.recipe import Recipe, load_recipe
from vsr.resample import imresize
from vsr.train.data import Batch
from vsr.train.trainer import Trainer

# Tiny networks, the steps of Adam that they get, and the learning rate: a crop of 24x24 LR pixels.
TINY: dict[str, tuple[dict[str, Any], int, float]] = {
    "srresnet_x4_small": ({"num_block": 2, "num_feat": 32}, 800, 3e-3),
    "edsr_baseline_x2_small": ({"num_block": 2, "num_feat": 32}, 400, 3e-3),
    "edsr_baseline_x3_small": ({"num_block": 2, "num_feat": 32}, 400, 3e-3),
    "mdsr_small": ({"num_block": 1, "num_feat": 32}, 400, 3e-3),
    "esrgan_psnr_x4_small": ({"num_block": 1, "num_feat": 32, "num_grow": 16}, 800, 3e-3),
    "compact_x4_small": ({"num_conv": 4, "num_feat": 48}, 800, 2e-3),
    "edvr_m_x4_small": ({"num_feat": 16, "deformable_groups": 2, "num_extract_block": 1, "num_reconstruct_block": 1}, 150, 2e-3),
}


def one(recipe: Recipe) -> Batch:
    """One crop: an edge, a curve and a gradient in colour."""
    scale = max(recipe.network.scales)
    y, x = np.mgrid[0 : 24 * scale, 0 : 24 * scale] / (24 * scale)
    disc = 1 / (1 + np.exp(20 * scale * (np.hypot(x - 0.5, y - 0.4) - 0.3)))  # an edge of one or two LR pixels
    picture = np.stack([0.2 + 0.6 * x, 0.5 + 0.3 * np.sin(9 * y), 0.3 + 0.4 * disc])
    hr = torch.from_numpy(picture).float()[None]
    lr = imresize(hr, 1, scale)
    if recipe.data.frames > 1:
        lr = torch.stack([lr.roll(at - recipe.data.frames // 2, -1) for at in range(recipe.data.frames)], 1)
    return Batch(lr, hr, ("one",), scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_one_crop_is_learnt_by_heart(name: str, tmp_path: Path) -> None:
    options, steps, rate = TINY[name]
    given = [f"network.options.{key}={value}" for key, value in options.items()]
    wishes = [
        f"train.steps={steps}",
        f"train.rate={rate}",
        'train.init=""',
        'train.schedule="cosine"',
        f"train.periods=[{steps}]",
    ]
    wishes += [
        "train.milestones=[]",
        "train.average=0",
        "loss.pixel=l1",
        "train.fusion_first=0",
        "train.floor=0.01",
        "train.clip=1",
    ]
    recipe = load_recipe(name, given + wishes)
    trainer, batch = Trainer(recipe, torch.device("cpu")), one(recipe)
    for step in range(steps):
        trainer.step(step, batch)
    with torch.no_grad():
        made = trainer.generator(batch.lr)
    assert -10 * float((made - batch.hr).square().mean().log10()) > 40
