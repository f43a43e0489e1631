"""EDVR checkpoints of other programs: their parameter names in BasicSR's words, and the options that follow from the shapes.

The original repository (https://github.com/xinntao/EDVR), renamed as BasicSR's conversion script does it, and mmediting/mmagic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from vsr.models.spec import Option

# Pattern -> name, first match wins; the rest of the name (.weight, .conv1.bias) stays.
_ORIGINAL = (
    (r"pre_deblur\.conv_first(?:_1)?\b", "predeblur.conv_first"),
    (r"pre_deblur\.conv_first_([23])", lambda m: f"predeblur.stride_conv_hr{int(m[1]) - 1}"),
    (r"pre_deblur\.deblur_L(\d)_conv", r"predeblur.stride_conv_l\1"),
    (r"pre_deblur\.RB_L1_(\d)", lambda m: f"predeblur.resblock_l1.{int(m[1]) - 1}"),
    (r"pre_deblur\.RB_L2_(\d)", r"predeblur.resblock_l2_\1"),
    (r"pre_deblur\.RB_L3_1", "predeblur.resblock_l3"),
    (r"fea_L(\d)_conv(\d)", r"conv_l\1_\2"),
    (r"pcd_align\.L(\d)_dcnpack\.conv_offset_mask", r"pcd_align.dcn_pack.l\1.conv_offset"),
    (r"pcd_align\.L(\d)_dcnpack", r"pcd_align.dcn_pack.l\1"),
    (r"pcd_align\.L(\d)_offset_conv(\d)", r"pcd_align.offset_conv\2.l\1"),
    (r"pcd_align\.L(\d)_fea_conv", r"pcd_align.feat_conv.l\1"),
    (r"pcd_align\.cas_dcnpack\.conv_offset_mask", "pcd_align.cas_dcnpack.conv_offset"),
    (r"(?:tsa_)?fusion\.tAtt_([12])", lambda m: f"fusion.temporal_attn{3 - int(m[1])}"),  # they are numbered the other way round
    (r"(?:tsa_)?fusion\.fea_fusion", "fusion.feat_fusion"),
    (r"(?:tsa_)?fusion\.sAtt_add_(\d)", r"fusion.spatial_attn_add\1"),
    (r"(?:tsa_)?fusion\.sAtt_L(\d)", r"fusion.spatial_attn_l\1"),
    (r"(?:tsa_)?fusion\.sAtt_(\d)", r"fusion.spatial_attn\1"),
    (r"tsa_fusion\b", "fusion"),
    (r"recon_trunk\b", "reconstruction"),
    (r"HRconv\b", "conv_hr"),
)  # fmt: skip
_MMAGIC = (
    (r"feat_l(\d)_conv(\d)\.conv\b", r"conv_l\1_\2"),
    (r"pcd_alignment\.(.*)\.conv\.(weight|bias)$", r"pcd_align.\1.\2"),
    (r"pcd_alignment\b", "pcd_align"),
    (r"fusion\.(.*)\.conv\.(weight|bias)$", r"fusion.\1.\2"),
    (r"upsample([12])\.upsample_conv\b", r"upconv\1"),
)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under BasicSR's names; those that have them already stay as they are.

    mmediting saves the generator beside counters and normalisation constants, which are left out.
    """
    if any(name.startswith("generator.") for name in state):
        state = {name.removeprefix("generator."): value for name, value in state.items() if name.startswith("generator.")}
    return {_renamed(name): value for name, value in state.items()}


def options_from(state: Mapping[str, Tensor]) -> dict[str, Option] | None:
    """What `EDVR` is built with for weights under BasicSR's names; None when they are not an EDVR's."""
    offset = state.get("pcd_align.cas_dcnpack.conv_offset.weight")
    fusion = state.get("fusion.feat_fusion.weight", state.get("fusion.weight"))
    if offset is None or fusion is None or fusion.ndim != 4 or offset.ndim != 4:
        return None
    num_feat = fusion.shape[0]
    return {
        "num_feat": num_feat,
        "num_frame": fusion.shape[1] // num_feat,
        "deformable_groups": offset.shape[0] // 27,
        "num_extract_block": _blocks(state, "feature_extraction"),
        "num_reconstruct_block": _blocks(state, "reconstruction"),
        "hr_in": "predeblur.stride_conv_hr1.weight" in state,
        "with_predeblur": "predeblur.conv_first.weight" in state,
        "with_tsa": "fusion.feat_fusion.weight" in state,
    }


def _renamed(name: str) -> str:
    for pattern, new in (*_ORIGINAL, *_MMAGIC):
        changed, count = re.subn(rf"^{pattern}", new, name)
        if count:
            return changed
    return name


def _blocks(state: Mapping[str, Tensor], trunk: str) -> int:
    return len({name.split(".")[1] for name in state if name.startswith(f"{trunk}.")})
