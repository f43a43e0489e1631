"""MSE averages equally likely textures, a critic has one of them picked (SRGAN, Ledig et al. 2017, figure 3):

python benchmarks/claims/two_modes.py [--picture PNG]

A toy in gray: stripes of either of two opposite phases are equally likely on the large picture, and shrink to nothing, so the
small one does not tell which. A tiny network learns it by MSE; from there, against a tiny critic, by each of vsr's adversarial
losses. Distances are in units of the stripes' amplitude: the mean of both textures, which is no texture, is 1 from either.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from evidence import Row, arguments, report, save
from torch import Tensor, nn

from vsr.media.encoded import Rgb
from vsr.media.sheet import Cell, draw_sheet
from vsr.train.adversarial import Adversary, discriminator_loss, generator_loss
from vsr.train.losses import mse
from vsr.train.networks import seeded

SIDE, SCALE = 16, 4  # of the large pictures
AMPLITUDE, RELIEF = 0.2, 0.6  # of the stripes; of what the small picture shows
BATCH, WIDTH = 32, 32
RATE, BETAS = 1e-3, (0.5, 0.99)
GANS: tuple[tuple[str, Adversary, float], ...] = (  # name, adversarial loss, weight of MSE beside it
    ("standard", "standard", 0.0),
    ("relativistic", "relativistic", 0.0),
    ("hinge", "hinge", 0.0),
    ("standard + MSE", "standard", 1.0),
)


def stripes() -> Tensor:
    """(1, SIDE, SIDE): +AMPLITUDE two pixels, -AMPLITUDE two pixels; every SCALE x SCALE block has mean 0."""
    return (torch.tensor((1.0, 1.0, -1.0, -1.0)).repeat(SIDE // SCALE) * AMPLITUDE).expand(1, SIDE, SIDE)


def pairs(count: int, drawn: torch.Generator) -> tuple[Tensor, Tensor]:
    """Small pictures (N, 1, SIDE/4, SIDE/4), and large ones (N, 1, SIDE, SIDE) that have either texture on them."""
    small = 0.5 + RELIEF * (torch.rand((count, 1, SIDE // SCALE, SIDE // SCALE), generator=drawn) - 0.5)
    sign = torch.randint(2, (count, 1, 1, 1), generator=drawn) * 2.0 - 1
    return small, enlarged(small) + sign * stripes()


def enlarged(small: Tensor) -> Tensor:
    """Every pixel as SCALE x SCALE of its kind."""
    return small.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3)


def maker() -> nn.Sequential:
    """(N, 1, H, W) -> (N, 1, H*SCALE, W*SCALE)."""
    return nn.Sequential(
        nn.Conv2d(1, WIDTH, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(WIDTH, WIDTH, 3, 1, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, WIDTH, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(WIDTH, SCALE**2, 3, 1, 1), nn.PixelShuffle(SCALE),
    )  # fmt: skip


def critic() -> nn.Sequential:
    """(N, 1, SIDE, SIDE) -> (N, 1) logits."""
    return nn.Sequential(
        nn.Conv2d(1, WIDTH, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(WIDTH, 2 * WIDTH, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(2 * WIDTH * (SIDE // 4) ** 2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1),
    )  # fmt: skip


def train_by_mse(network: nn.Module, steps: int, seed: int) -> None:
    """The rate falls to nothing, as below: at a fixed one, the result would be that of the last few batches."""
    drawn = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), 2 * RATE)
    for step in range(steps):
        small, large = pairs(BATCH, drawn)
        optimiser.param_groups[0]["lr"] = 2 * RATE * (1 - step / steps)
        optimiser.zero_grad()
        mse(network(small), large).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def train_by_critic(network: nn.Module, kind: Adversary, weight: float, steps: int, seed: int) -> None:
    """Against a critic that begins anew, with `weight` times the MSE beside it."""
    with seeded(seed + 1):
        judge = critic()
    drawn = torch.Generator().manual_seed(seed + 1)
    makes, judges = (torch.optim.Adam(each.parameters(), RATE, BETAS) for each in (network, judge))
    for step in range(steps):
        small, large = pairs(BATCH, drawn)
        made = network(small)
        for optimiser in (makes, judges):
            optimiser.param_groups[0]["lr"] = RATE * (1 - step / steps)
        judges.zero_grad()
        discriminator_loss(kind, judge(large), judge(made.detach())).backward()  # type: ignore[no-untyped-call]
        judges.step()
        makes.zero_grad()
        (generator_loss(kind, judge(made), judge(large)) + weight * mse(made, large)).backward()  # type: ignore[no-untyped-call]
        makes.step()


@torch.inference_mode()
def distances(network: nn.Module) -> dict[str, float]:
    """Of what it adds to 256 small pictures: RMS to the mean of both textures, to the nearer one, percent nearer to the first."""
    small, _ = pairs(256, torch.Generator().manual_seed(99))
    texture = network(small) - enlarged(small)
    mean, first, second = (
        (texture - wanted).square().mean((1, 2, 3)).sqrt() / AMPLITUDE for wanted in (0 * stripes(), stripes(), -stripes())
    )
    nearer = torch.minimum(first, second)
    return {"to the mean": _mean(mean), "to the nearest": _mean(nearer), "% first": 100 * _mean(first < second)}


def _mean(values: Tensor) -> float:
    return float(values.float().mean())


def judged(seed: int, steps: int) -> tuple[list[Row], list[Cell]]:
    """All trainings of one seed: rows of the table, and what each makes of one small picture."""
    small, _ = pairs(1, torch.Generator().manual_seed(seed))
    plain = enlarged(small)
    cells = [Cell("first texture", _rgb(plain + stripes())), Cell("second, as likely", _rgb(plain - stripes()))]
    rows: list[Row] = []
    with seeded(seed):
        network = maker()
    train_by_mse(network, steps, seed)
    begun = copy.deepcopy(network.state_dict())
    for name, kind, weight in (("MSE", None, 1.0), *GANS):
        network.load_state_dict(begun)
        if kind is not None:
            train_by_critic(network, kind, weight, steps, seed)
        rows.append({"seed": seed, "trained for": name, **distances(network)})
        with torch.inference_mode():
            cells.append(Cell(name, _rgb(network(small))))
    return rows, cells


def _rgb(picture: Tensor) -> Rgb:
    gray = (picture[0].clamp(0, 1) * 255).round().byte()
    return np.asarray(gray.expand(3, -1, -1).permute(1, 2, 0).contiguous())


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=1500, help="of each training")
    parser.add_argument("--seeds", type=int, default=2, help="how many, from --seed on")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="a row for each seed")
    asked = parser.parse_args()
    rows: list[Row] = []
    sheet = []
    for seed in range(asked.seed, asked.seed + asked.seeds):
        found, cells = judged(seed, asked.steps)
        rows += found
        sheet.append(cells)
    report(rows, asked)
    if asked.picture:
        save(asked.picture, draw_sheet(sheet, width=128))


if __name__ == "__main__":
    main()
