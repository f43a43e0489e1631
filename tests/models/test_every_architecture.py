"""Every architecture that spandrel knows: what becomes of its checkpoints. docs/models.md has the same table."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models import weights as weights_of

spandrel = pytest.importorskip("spandrel")
VERSION = "0.4.2"


@dataclass(frozen=True)
class Case:
    """A class of `spandrel.architectures.<id>` with small options, and what loading its weights gives.

    outcome  "x4" (it runs, at that scale), or the words of the refusal
    name     of the class, where it is not the architecture's
    large    no small one exists: a file with shapes alone, since its weights are never used
    """

    id: str
    outcome: str
    options: Mapping[str, object] = field(default_factory=dict)
    name: str = ""
    large: bool = False


TRUNK = {"embed_dim": 12, "num_heads": [2], "mlp_ratio": 2.0}
CASES = (
    Case(
        "ATD",
        "x2",
        {
            **TRUNK,
            "depths": [2],
            "window_size": 4,
            "category_size": 16,
            "num_tokens": 8,
            "upscale": 2,
            "upsampler": "pixelshuffle",
        },
    ),
    Case(
        "AuraSR",
        "x4",
        {"dim": 8, "image_size": None, "input_image_size": None, "style_network": {"dim_in": 8, "dim_out": 32, "depth": 1}},
    ),
    Case("CRAFT", "x2", {"embed_dim": 12, "depths": [1], "num_heads": [2], "upscale": 2}),
    Case("Compact", "x2", {"num_feat": 8, "num_conv": 1, "upscale": 2}),
    Case(
        "DAT",
        "x2",
        {"embed_dim": 32, "split_size": [2, 4], "depth": [2], "num_heads": [2], "expansion_factor": 2.0, "upscale": 2},
    ),
    Case("DCTLSA", "x2", {"nf": 20, "num_modules": 6, "upscale": 2}),
    Case("DITN", "x2", {"dim": 12, "ITL_blocks": 1, "SAL_blocks": 1, "UFONE_blocks": 1, "upscale": 2}),
    Case(
        "DRCT",
        "x2",
        {"embed_dim": 12, "depths": [1], "num_heads": [2], "window_size": 4, "gc": 8, "upscale": 2, "upsampler": "pixelshuffle"},
    ),
    Case("DRUNet", "x1", {"in_nc": 4, "out_nc": 3, "nc": [4, 8, 8, 8], "nb": 2}),
    Case("DnCNN", "x1", {"in_nc": 3, "out_nc": 3, "nc": 8, "nb": 4}),
    Case("ESRGAN", "x4", {"num_filters": 8, "num_blocks": 1}),
    Case("FBCNN", "x1", {"nc": [4, 8, 8, 512], "nb": 2}),
    Case("FDAT", "x2", {"scale": 2, "embed_dim": 16, "num_groups": 1, "depth_per_group": 1, "num_heads": 2, "mid_dim": 16}),
    Case("FFTformer", "x1", {"dim": 8, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1}),
    Case("GFPGAN", "is for FaceSR", large=True),
    Case(
        "GRL",
        "x2",
        {
            "embed_dim": 12,
            "depths": [1],
            "num_heads_window": [2],
            "num_heads_stripe": [2],
            "upscale": 2,
            "upsampler": "pixelshuffle",
        },
    ),
    Case("HAT", "x2", {"embed_dim": 12, "depths": (1,), "num_heads": (2,), "upscale": 2, "window_size": 4, "squeeze_factor": 4}),
    Case("HVICIDNet", "x1", {"channels": [4, 4, 8, 16]}),
    Case("IPT", "x2", {"n_feats": 8, "num_heads": 2, "num_layers": 1, "scale": [2], "patch_size": 12}),
    Case("KBNet", "x1", {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}, "KBNet_s"),
    Case("LaMa", "is for Inpainting", large=True),
    Case(
        "MMRealSR",
        "x4",
        {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 1, "num_feats": [8, 8, 8, 8], "num_blocks": [1, 1, 1, 1]},
    ),
    Case("MixDehazeNet", "x1", {"embed_dims": [8, 16, 32, 16, 8]}),
    Case("MoESR", "x2", {"scale": 2, "dim": 16, "n_blocks": 1, "n_block": 1}),
    Case("MoSR", "x2", {"upscale": 2, "n_block": 1, "dim": 16}),
    Case("NAFNet", "x1", {"width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1]}),
    Case("OmniSR", "x2", {"num_feat": 16, "up_scale": 2}),
    Case("PLKSR", "x2", {"dim": 16, "n_blocks": 1, "upscaling_factor": 2}, "PLKSR"),
    Case("PLKSR", "x2", {"dim": 16, "n_blocks": 1, "upscaling_factor": 2}, "RealPLKSR"),
    Case("RCAN", "x2", {"scale": 2, "n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}),
    Case("RGT", "x2", {"embed_dim": 12, "depth": [2], "num_heads": [2], "mlp_ratio": 2.0, "upscale": 2, "split_size": [4, 4]}),
    Case("RealCUGAN", "x2", {}, "UpCunet2x"),
    Case("RealCUGAN", "x3", {}, "UpCunet3x"),
    Case("RealCUGAN", "x4", {}, "UpCunet4x"),
    Case("RestoreFormer", "is for FaceSR", {"ch": 32, "num_res_blocks": 1, "n_embed": 16, "embed_dim": 16, "z_channels": 32}),
    Case("RetinexFormer", "x1", {"n_feat": 8, "stage": 1}),
    Case("SAFMN", "x2", {"dim": 8, "n_blocks": 1, "upscaling_factor": 2}),
    Case("SAFMNBCIE", "x1", {"dim": 8, "n_blocks": 1, "num_layers": 1, "upscaling_factor": 2}),
    Case("SCUNet", "x1", {"config": [1, 1, 1, 1, 1, 1, 1], "dim": 64}),
    Case("SPAN", "x2", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 2}),
    Case("SeemoRe", "x2", {"scale": 2, "num_layers": 1, "embedding_dim": 16, "num_experts": 3}),
    Case("SwiftSRGAN", "x2", {"num_channels": 8, "num_blocks": 1, "upscale_factor": 2}),
    Case("Swin2SR", "x2", {**TRUNK, "depths": [1], "window_size": 4, "upscale": 2, "upsampler": "pixelshuffle"}),
    Case("SwinIR", "x2", {**TRUNK, "depths": [1], "window_size": 4, "upscale": 2, "upsampler": "pixelshuffle"}),
    Case("Uformer", "takes only square pictures", {"embed_dim": 8, "depths": [1] * 9, "num_heads": [1] * 9}),
)


def label(case: Case) -> str:
    return f"{case.id} ({case.name})" if case.name not in ("", case.id) else case.id


def network(case: Case) -> nn.Module:
    torch.manual_seed(0)
    module = importlib.import_module(f"spandrel.architectures.{case.id}")
    with torch.device("meta" if case.large else "cpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the architectures' own: meshgrid without indexing, empty tensors
        net: nn.Module = getattr(module, case.name or case.id)(**case.options)
    return net.eval()


def outcome(path: Path) -> str:
    """Load and run it, or say why not."""
    try:
        loaded = weights_of.load(str(path), 2)
    except ModelError as exc:
        assert "\n" not in str(exc)
        return str(exc)
    scale, side = loaded.spec.scale, max(64, loaded.spec.min_size)
    assert scale is not None
    with torch.inference_mode():
        out = loaded.reconstruct(torch.rand(1, 1, 3, side, side))
    assert out.shape == (1, 3, side * scale, side * scale)
    assert out.isfinite().all()
    return f"x{scale}"


# The others take a minute.
QUICK = {"Compact", "ESRGAN", "SAFMN", "SwinIR", "LaMa", "Uformer"}


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=label(c), marks=[pytest.mark.slow] if c.id not in QUICK else []) for c in CASES]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_outcome(case: Case, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    state: dict[str, Tensor] = network(case).state_dict()
    if case.large:  # one number stands for each tensor; safetensors has no such form
        path = path.with_suffix(".pth")
        state = {name: torch.zeros(()).expand(tensor.shape) for name, tensor in state.items()}
    if path.suffix == ".safetensors":
        save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save({"params": state}, path)
    found = outcome(path)
    assert found == case.outcome if case.outcome.startswith("x") else case.outcome in found


def test_the_table_in_the_documentation_is_this_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    section = text.partition("## Any checkpoint")[2].partition("\n## ")[0]
    results = {label(c): f"runs, {c.outcome}" if c.outcome.startswith("x") else f"refused: {c.outcome}" for c in CASES}
    expected = [f"| {name} | {result} |" for name, result in sorted(results.items(), key=lambda item: item[0].lower())]
    assert [line for line in section.splitlines() if line.startswith("| ") and "architecture" not in line] == expected
    assert f"spandrel {VERSION}" in section


def test_no_architecture_is_left_out() -> None:
    assert {case.id for case in CASES} == {support.architecture.id for support in spandrel.MAIN_REGISTRY}
