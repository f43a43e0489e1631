"""A shift by one pixel costs a per-pixel loss more than eyes, and a perceptual one less (Johnson et al. 2016, section 1; SRGAN):

python benchmarks/claims/shift.py [FOLDER] [--vgg FILE]

Each picture against itself: shifted by a pixel, and blurred or with noise so far that the MSE is that of the shift. A per-pixel
loss cannot tell these three; the others are given as multiples of what they say of the shift. "other picture": the same loss
between two different pictures, as a scale.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from evidence import Row, arguments, pictures, report
from torch import Tensor

from vsr.lpips import find_weights, load_lpips
from vsr.train.losses import l1, mse
from vsr.train.vgg import load_vgg19

TAPS = ("relu2_2", "relu5_4", "conv5_4")
Distance = Callable[[Tensor, Tensor], float]


def blurred(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian, of `sigma` pixels; borders reflected."""
    reach = max(1, round(4 * sigma))
    at = torch.arange(-reach, reach + 1, dtype=picture.dtype)
    kernel = torch.exp(-((at / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = F.pad(picture, (reach,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)


def equal_blur(picture: Tensor, wanted: float) -> Tensor:
    """The blur whose MSE is `wanted`; the strongest there is (12 pixels) where that is less."""
    low, high = 0.05, 12.0
    for _ in range(20):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if float(mse(blurred(picture, middle), picture)) < wanted else (low, middle)
    return blurred(picture, high)


def versions(large: Tensor, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """name -> (changed, truth), each (1, 3, H, W), of a picture that is a pixel larger; all with the MSE of the shift."""
    truth, moved = large[..., :-1, :-1], large[..., :-1, 1:]
    wanted = float(mse(moved, truth))
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed))
    return {
        "shifted by 1 px": (moved, truth),
        "blurred": (equal_blur(truth, wanted), truth),
        "noise": (truth + noise * wanted**0.5, truth),  # not clipped: that would change its MSE
    }


def distances(vgg: str) -> dict[str, Distance]:
    """Per-pixel losses, VGG19's at some layers, LPIPS where its weights are here."""
    network = load_vgg19(TAPS, vgg)
    found: dict[str, Distance] = {
        "MSE": lambda a, b: float(mse(a, b)),
        "L1": lambda a, b: float(l1(a, b)),
    }
    for tap in TAPS:
        criterion = l1 if tap.startswith("conv") else mse  # as ESRGAN and SRGAN do
        found[f"VGG19 {tap}"] = lambda a, b, tap=tap, of=criterion: float(of(network(a)[tap], network(b)[tap]))  # type: ignore[misc]
    for backbone in ("alex", "vgg"):
        if find_weights(backbone) is not None:
            lpips = load_lpips(backbone)
            found[f"LPIPS {backbone}"] = lambda a, b, lpips=lpips: float(lpips.distance(255 * a, 255 * b).mean())  # type: ignore[misc]
    return found


@torch.inference_mode()
def compared(photographs: Tensor, losses: dict[str, Distance], seed: int) -> list[Row]:
    """Means over the pictures, and in how many of them the blur costs at least a quarter more than the shift."""
    sums: dict[str, dict[str, list[float]]] = {name: {} for name in losses}
    for at in range(len(photographs)):
        made = versions(photographs[at : at + 1], seed + at)
        truth = made["blurred"][1]
        made["other picture"] = (photographs[at - 1 : at or None][..., :-1, :-1], truth)
        for name, distance in losses.items():
            for kind, pair in made.items():
                sums[name].setdefault(kind, []).append(distance(*pair))
    rows: list[Row] = []
    for name, kinds in sums.items():
        shift = kinds.pop("shifted by 1 px")
        ratios = {f"{kind} / shift": _mean(values) / _mean(shift) for kind, values in kinds.items()}
        dearer = sum(blur > 1.25 * moved for blur, moved in zip(kinds["blurred"], shift, strict=True))
        rows.append({"loss": name, "of the shift": _mean(shift), **ratios, "blur dearer in": f"{dearer} of {len(shift)}"})
    return rows


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="photographs; else pictures made by code")
    parser.add_argument("--vgg", default="", metavar="FILE", help="weights of VGG19 (else VSR_VGG19, or those that were pulled)")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--side", type=int, default=192)
    asked = parser.parse_args()
    photographs = pictures(asked.folder, asked.count, asked.side + 1, asked.seed)
    report(compared(photographs, distances(asked.vgg), asked.seed), asked, pictures=len(photographs))


if __name__ == "__main__":
    main()
