"""What batch norm costs in training, and how far a network is from itself in training (EDSR, section 3.1; ESRGAN, section 3.1):

python benchmarks/claims/batch_norm.py [FOLDER] [--models srresnet,srgan]

Memory: what autograd keeps of one step (each storage once; without weights), which is what grows with batch and crop. Gap: the
trained network's pictures with its batch's statistics (as it was trained) against those with its running ones (as it is used).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from evidence import Row, arguments, pictures, report
from torch import Tensor, nn

from vsr.models.edsr import EDSR
from vsr.models.single import SingleFrame
from vsr.models.srresnet import SRResNet
from vsr.models.weights import load
from vsr.resample import imresize
from vsr.train.losses import l1, mse


def without_norms(network: nn.Module) -> nn.Module:
    """A copy with the same convolutions and no batch norm."""
    bare = copy.deepcopy(network)
    for parent in list(bare.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
    return bare


def saved_bytes(network: nn.Module, x: Tensor) -> int:
    """What autograd keeps for the backward pass of an L1 step, at its peak: the forward pass's end. Weights are left out."""
    owned = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    network.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = l1(made := network(x), torch.zeros_like(made))
    loss.backward()  # type: ignore[no-untyped-call]
    return sum(kept.values())


def memory(crop: int, batch: int) -> list[Row]:
    """Of x4 networks of 16 blocks of 64 channels, and of their blocks alone, which upsampling does not thin out."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        resnet = SRResNet()
        networks: dict[str, nn.Module] = {
            "SRResNet x4": resnet, "SRResNet x4 without BN": without_norms(resnet), "EDSR baseline x4": EDSR(),
            "16 blocks of SRResNet": resnet.trunk, "the same without BN": without_norms(resnet.trunk),
            "16 blocks of EDSR": EDSR().body[:-1],
        }  # fmt: skip
    rows: list[Row] = []
    full = 0.0
    for name, network in networks.items():
        wide = 3 if name.endswith(("x4", "x4 without BN")) else 64
        x = torch.rand(batch, wide, crop, crop, requires_grad=wide == 64)  # blocks follow others, so their input is kept too
        kib = saved_bytes(network, x) / (batch * crop**2 * 1024)
        full = kib if "SRResNet" in name and "without" not in name else full
        numbers = sum(tensor.numel() for tensor in network.parameters())
        rows.append({"network": name, "KiB kept a small pixel": kib, "saved %": 100 * (1 - kib / full), "parameters": numbers})
    return rows


@torch.inference_mode()
def gap(network: nn.Module, batches: Sequence[Tensor]) -> dict[str, float]:
    """Means over batches of the PSNR to the truth, with running and with the batch's statistics, and between the two; RGB, dB."""
    used, trained = copy.deepcopy(network).eval(), copy.deepcopy(network).train()  # the latter changes the running statistics,
    for norm in trained.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None  # hence it gets none
    sums = dict.fromkeys(("bicubic", "running", "batch's", "between"), 0.0)
    for truth in batches:
        small = imresize(truth, 1, 4).clamp(0, 1)
        running, own, plain = (net(small).clamp(0, 1) for net in (used, trained, lambda x: imresize(x, 4, 1)))
        figures = (_psnr(plain, truth), _psnr(running, truth), _psnr(own, truth), _psnr(running, own))
        for name, figure in zip(sums, figures, strict=True):
            sums[name] += figure / len(batches)
    return sums


def singly(pictures: Tensor) -> list[Tensor]:
    """(N, C, H, W) as N batches of one."""
    return [pictures[at : at + 1] for at in range(len(pictures))]


def _psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10(mse(a, b).clamp_min(1e-12)))


def gaps(name: str, folder: Path | None, seed: int) -> list[Row]:
    """Of a model, for batches that are ever less like those of its training. Raises ValueError for one of several frames."""
    network = load(name, 4)
    if not isinstance(network, SingleFrame):
        raise ValueError(f"{name}: is no network for single pictures")
    crops, large = pictures(folder, 16, 96, seed), pictures(folder, 4, 256, seed)
    kinds = {
        "16 crops of 24x24, as trained": [crops],
        "each of these alone": singly(crops),
        "4 pictures of 64x64, each alone": singly(large),
        "the 16 crops at a tenth of their light": [crops / 10],
    }
    return [{"model": name, "input": kind, **gap(network, batches)} for kind, batches in kinds.items()]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="photographs; else pictures made by code")
    parser.add_argument(
        "--models",
        default="srresnet,srgan",
        help="x4 (`vsr models pull NAME`); those without batch norm show what is not its doing",
    )
    parser.add_argument("--crop", type=int, default=24, help="small pixels a side")
    parser.add_argument("--batch", type=int, default=2, help="what is kept grows with it, the shares do not")
    asked = parser.parse_args()
    report(kept := memory(asked.crop, asked.batch), asked)
    print()
    report([row for name in asked.models.split(",") for row in gaps(name, asked.folder, asked.seed)], asked, memory=kept)


if __name__ == "__main__":
    main()
