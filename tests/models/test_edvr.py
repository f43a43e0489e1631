"""EDVR against a naive loop and the reference's names, and the facts it states about itself."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.models.edvrs import SMALL, small_edvr, write_edvr
from vsr.errors import ModelError
from vsr.models import weights
from vsr.models.deform import DeformableConv, by_sampling, by_torchvision
from vsr.models.edvr import EDVR
from vsr.models.edvr_names import options_from, renamed
from vsr.models.probe import count_mflop
from vsr.models.spec import Generator, Option

HR: dict[str, Option] = {"hr_in": True, "with_predeblur": True}
KINDS: list[dict[str, Option]] = [{}, {"with_tsa": False}, {"with_predeblur": True}, HR, {"num_frame": 7}]


def built(**options: Option) -> EDVR:
    return EDVR(**{**SMALL, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "parameters", "mflop", "radius"),
    [
        ({}, 3_300_131, 13.756, 85),
        ({"num_feat": 128, "num_reconstruct_block": 40}, 20_633_827, 60.893, 145),
    ],
)
def test_published_sizes(options: dict[str, Option], parameters: int, mflop: float, radius: int) -> None:
    with torch.device("meta"):
        spec = EDVR(**options).spec  # type: ignore[arg-type]
    assert (spec.parameters, round(spec.mflop_per_pixel, 3), spec.radius_px) == (parameters, mflop, radius)
    assert (spec.scale, spec.context, spec.multiple_of) == (4, 2, 4)


def sampled(plane: Tensor, y: float, x: float) -> float:
    """Bilinear, zero outside."""
    total = 0.0
    for row, column in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
        if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
            total += float(plane[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


@pytest.mark.parametrize(("groups", "channels", "height", "width"), [(1, 4, 1, 1), (2, 8, 5, 4), (8, 16, 33, 70)])
def test_both_ways_of_the_deformable_convolution_agree(groups: int, channels: int, height: int, width: int) -> None:
    """On a CPU it is computed by sampling; elsewhere by torchvision, which is also what it is trained by there."""
    torch.manual_seed(4)
    x, mask = torch.randn(3, channels, height, width), torch.rand(3, groups * 9, height, width)
    offset = 4 * torch.randn(3, groups * 18, height, width)  # many a tap looks beyond the edge
    weight, bias = torch.randn(6, channels, 3, 3) / 9, torch.randn(6)
    for dtype, near in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        given = [t.to(dtype).requires_grad_() for t in (x, offset, mask, weight, bias)]
        ours, theirs = by_sampling(*given), by_torchvision(*given)
        assert torch.allclose(ours, theirs, atol=near, rtol=0)
    # in float32 a shift may round to the other side of a pixel's centre, where its slope jumps
    for one, other in zip(*(torch.autograd.grad(out.square().sum(), given) for out in (ours, theirs)), strict=True):
        assert torch.allclose(one, other, atol=1e-7, rtol=1e-7)


def test_deformable_convolution_is_the_naive_loop() -> None:
    torch.manual_seed(0)
    groups, height, width = 2, 5, 4
    layer = DeformableConv(4, groups).double()
    with torch.no_grad():
        layer.conv_offset.weight.normal_(0, 0.2)
        torch.nn.init.normal_(layer.conv_offset.state_dict()["bias"], 0, 2)
        layer.bias.normal_()
    x, guide = torch.randn(1, 4, height, width).double(), torch.randn(1, 4, height, width).double()
    raw = layer.conv_offset(guide)[0].detach()
    # Of each group's 9 taps: dy, dx alternating in the first two thirds, the weights in the last.
    offset, mask = raw[:36].reshape(groups, 9, 2, height, width), raw[36:].sigmoid().reshape(groups, 9, height, width)
    expected = layer.bias.detach()[:, None, None].repeat(1, height, width)
    outside = 0
    for row, column, channel, tap in itertools.product(range(height), range(width), range(4), range(9)):
        group = channel // 2
        y = row + tap // 3 - 1 + float(offset[group, tap, 0, row, column])
        x_at = column + tap % 3 - 1 + float(offset[group, tap, 1, row, column])
        outside += not (0 <= y <= height - 1 and 0 <= x_at <= width - 1)
        value = sampled(x[0, channel], y, x_at) * mask[group, tap, row, column]
        expected[:, row, column] += layer.weight.detach()[:, channel, tap // 3, tap % 3] * value
    assert outside > 50
    torch.testing.assert_close(layer(x, guide)[0], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_protocol_and_training_see_the_same(options: dict[str, Option]) -> None:
    net = small_edvr(options)
    t, scale = net.num_frame, net.spec.scale or 0
    frames = torch.rand(2, t, 3, 32, 48)
    with torch.inference_mode():
        features = net.features(frames.flatten(0, 1))
        out = net.reconstruct(features.view(2, t, *features.shape[1:]))
        assert torch.equal(out, net(frames))
        alone = net.reconstruct(torch.stack([net.features(frame[None])[0] for frame in frames[1]])[None])
    torch.testing.assert_close(alone[0], out[1], rtol=0, atol=1e-5)
    assert isinstance(net, Generator)
    assert out.shape == (2, 3, 32 * scale, 48 * scale)
    assert (net.spec.context, features.shape[1]) == (t // 2, 16 + 4 + 1 + (48 if net.hr_in else 3))
    assert net.spec.feature_bytes == math.ceil(features[0].numel() * 4 / (32 * 48))


@pytest.mark.parametrize("options", [{}, HR], ids=str)
def test_packing_loses_nothing(options: dict[str, Option]) -> None:
    net = small_edvr(options)
    frames = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        l1, l2, l3, frame = net.unpacked(net.features(frames))
        lrelu = torch.nn.functional.leaky_relu
        second = lrelu(net.conv_l2_2(lrelu(net.conv_l2_1(l1), 0.1)), 0.1)
        third = lrelu(net.conv_l3_2(lrelu(net.conv_l3_1(second), 0.1)), 0.1)
    assert torch.equal(frame, frames)
    assert torch.equal(l2, second)
    assert torch.equal(l3, third)


def test_every_frame_matters_and_the_input_stays() -> None:
    net, frames = small_edvr(), torch.rand(1, 5, 3, 16, 16)
    before = frames.clone()
    with torch.inference_mode():
        out = net(frames)
        assert torch.equal(net(frames), out)
        for i in range(5):
            other = frames.clone()
            other[:, i] = 1 - other[:, i]
            assert (net(other) - out).abs().max() > 1e-4
    assert torch.equal(frames, before)


def test_an_off_centre_network_looks_at_its_own_frames() -> None:
    net = small_edvr({"center_frame_idx": 1})
    assert net.spec.context == 3
    window = torch.rand(1, 7, 3, 16, 16)
    with torch.inference_mode():
        features = net.features(window[0])[None]
        assert torch.equal(net.reconstruct(features), net(window[:, 2:7]))


@pytest.mark.parametrize("options", KINDS[:4], ids=str)
def test_every_weight_learns(options: dict[str, Option]) -> None:
    net = small_edvr(options).train()
    net(torch.rand(1, 5, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_inplace_steps_leave_gradients_right() -> None:
    net = small_edvr({"num_frame": 3}).double()
    frames = torch.rand(1, 3, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (frames,), atol=1e-6, fast_mode=True)


def test_fresh_network_shifts_nothing() -> None:
    net = built()
    offsets = [p for name, p in net.named_parameters() if "conv_offset" in name]
    assert len(offsets) == 8
    assert all(not p.any() for p in offsets)
    assert net.state_dict()["reconstruction.0.conv1.weight"].std().item() == pytest.approx(0.1 * (2 / (16 * 9)) ** 0.5, rel=0.1)


def reach_of_the_gradient(net: EDVR, side: int) -> int:
    """In input rows, over the places in a cell of the coarsest level; the picture's border out of sight."""
    scale = net.spec.scale or 1
    cell = 16 if net.hr_in else 4
    middle = side // 2 // cell * cell
    reach = 0
    for row in range(middle * scale, (middle + cell) * scale):
        frames = torch.rand(1, 1, 3, side, cell, requires_grad=True)
        net(frames)[..., row, :].sum().backward()
        assert frames.grad is not None
        rows = frames.grad.abs().sum(dim=(0, 1, 2, 4)).nonzero().flatten()
        reach = max(reach, row // scale - int(rows.min()), int(rows.max()) - row // scale)
    return reach


@pytest.mark.parametrize(
    "options",
    [{}, {"with_tsa": False}, {"with_tsa": False, "with_predeblur": True}, HR],
    ids=str,
)
def test_radius_is_the_reach_of_the_gradient_without_shifts(options: dict[str, Option]) -> None:
    net = small_edvr({"num_frame": 1, "num_extract_block": 0, **options})
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if ".conv_offset." in name:
                parameter[: len(parameter) * 2 // 3].zero_()  # the taps' weights alone follow the guide
    assert reach_of_the_gradient(net, 2 * (net.spec.radius_px // 16 + 3) * 16) == net.spec.radius_px


@pytest.mark.parametrize("options", [*KINDS, {"center_frame_idx": 0}], ids=str)
def test_counted_cost_is_the_stated_one(options: dict[str, Option]) -> None:
    net = built(**options)
    assert count_mflop(net) == pytest.approx(net.spec.mflop_per_pixel, rel=1e-9)


def conv(name: str) -> list[str]:
    return [f"{name}.weight", f"{name}.bias"]


def reference_names() -> list[str]:
    """EDVR-M's in BasicSR (basicsr/archs/edvr_arch.py)."""
    names = conv("conv_first")
    for trunk, blocks in (("feature_extraction", 5), ("reconstruction", 10)):
        names += [n for i in range(blocks) for k in (1, 2) for n in conv(f"{trunk}.{i}.conv{k}")]
    for layer in ("conv_l2_1", "conv_l2_2", "conv_l3_1", "conv_l3_2", "upconv1", "upconv2", "conv_hr", "conv_last"):
        names += conv(layer)
    for layer in (
        "offset_conv1.l3", "offset_conv1.l2", "offset_conv1.l1", "offset_conv2.l3", "offset_conv2.l2", "offset_conv2.l1",
        "offset_conv3.l2", "offset_conv3.l1", "feat_conv.l2", "feat_conv.l1", "cas_offset_conv1", "cas_offset_conv2",
        "dcn_pack.l3", "dcn_pack.l2", "dcn_pack.l1", "cas_dcnpack",
        "dcn_pack.l3.conv_offset", "dcn_pack.l2.conv_offset", "dcn_pack.l1.conv_offset", "cas_dcnpack.conv_offset",
    ):  # fmt: skip
        names += conv(f"pcd_align.{layer}")
    for layer in (
        "temporal_attn1", "temporal_attn2", "feat_fusion", "spatial_attn1", "spatial_attn2", "spatial_attn3", "spatial_attn4",
        "spatial_attn5", "spatial_attn_l1", "spatial_attn_l2", "spatial_attn_l3", "spatial_attn_add1", "spatial_attn_add2",
    ):  # fmt: skip
        names += conv(f"fusion.{layer}")
    return names


def test_names_are_the_references() -> None:
    with torch.device("meta"):
        assert sorted(EDVR().state_dict()) == sorted(reference_names())
        deblur = EDVR(hr_in=True, with_predeblur=True, with_tsa=False).state_dict()
    layers = {name.removesuffix(".weight") for name in deblur if name.startswith(("predeblur", "conv_1x1", "fusion"))}
    blocks = ("resblock_l3", "resblock_l2_1", "resblock_l2_2", *(f"resblock_l1.{i}" for i in range(5)))
    convs = ("conv_first", "stride_conv_hr1", "stride_conv_hr2", "stride_conv_l2", "stride_conv_l3")
    expected = {f"predeblur.{n}" for n in convs} | {f"predeblur.{n}.conv{k}" for n in blocks for k in (1, 2)}
    assert {name for name in layers if not name.endswith(".bias")} == expected | {"conv_1x1", "fusion"}


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_options_follow_from_the_weights(options: dict[str, Option]) -> None:
    net = built(**options)
    found = options_from(net.state_dict())
    assert found == {
        "num_frame": 5,
        "hr_in": False,
        "with_predeblur": False,
        "with_tsa": True,
        **SMALL,
        **options,
    }
    assert renamed(net.state_dict()).keys() == net.state_dict().keys()
    assert options_from({"conv_first.weight": torch.zeros(1)}) is None


def original_name(name: str) -> str:
    """A name of ours in the original repository, layer by layer."""
    parts = name.split(".")
    tail = parts[-1]
    if parts[0] == "pcd_align":
        kind = parts[1]
        if kind == "dcn_pack":
            inner = "conv_offset_mask." if parts[3] == "conv_offset" else ""
            return f"pcd_align.{parts[2].upper()}_dcnpack.{inner}{tail}"
        if kind == "cas_dcnpack":
            return name.replace("conv_offset", "conv_offset_mask")
        if kind.startswith("offset_conv"):
            return f"pcd_align.{parts[2].upper()}_{kind}.{tail}"
        return f"pcd_align.{parts[2].upper()}_fea_conv.{tail}" if kind == "feat_conv" else name
    if parts[0] == "predeblur":
        first = {"conv_first": "conv_first_1", "stride_conv_hr1": "conv_first_2", "stride_conv_hr2": "conv_first_3"}
        first |= {"stride_conv_l2": "deblur_L2_conv", "stride_conv_l3": "deblur_L3_conv", "resblock_l3": "RB_L3_1"}
        first |= {"resblock_l2_1": "RB_L2_1", "resblock_l2_2": "RB_L2_2"}
        if parts[1] == "resblock_l1":
            return f"pre_deblur.RB_L1_{int(parts[2]) + 1}.{parts[3]}.{tail}"
        return ".".join(["pre_deblur", first[parts[1]], *parts[2:]])
    table = {"temporal_attn1": "tAtt_2", "temporal_attn2": "tAtt_1", "feat_fusion": "fea_fusion"}
    if parts[0] == "fusion" and len(parts) == 3:
        layer = parts[1]
        new = table.get(layer) or layer.replace("spatial_attn_add", "sAtt_add_").replace("spatial_attn_l", "sAtt_L")
        return f"tsa_fusion.{new.replace('spatial_attn', 'sAtt_')}.{tail}"
    top = {"conv_l2_1": "fea_L2_conv1", "conv_l2_2": "fea_L2_conv2", "conv_l3_1": "fea_L3_conv1", "conv_l3_2": "fea_L3_conv2"}
    top |= {"fusion": "tsa_fusion", "reconstruction": "recon_trunk", "conv_hr": "HRconv"}
    return ".".join([top.get(parts[0], parts[0]), *parts[1:]])


@pytest.mark.parametrize("options", [{}, {"with_tsa": False}, HR], ids=str)
def test_the_original_repositorys_names(options: dict[str, Option]) -> None:
    state = built(**options).state_dict()
    original = {original_name(name): value for name, value in state.items()}
    assert len(original) == len(state)
    assert sum(name in state for name in original) < len(state) / 2
    back = renamed(original)
    assert back.keys() == state.keys()
    assert all(back[name] is state[name] for name in state)


def test_mmagics_names() -> None:
    state = built().state_dict()
    wrapped = ("conv_l2", "conv_l3", "pcd_align.offset_conv", "pcd_align.feat_conv", "pcd_align.cas_offset")
    plain = ("fusion.temporal", "fusion.spatial_attn5", "fusion.spatial_attn_add2")
    other = {"step_counter": torch.zeros(1), "data_preprocessor.mean": torch.zeros(3)}
    for name, value in state.items():
        layer, _, tail = name.rpartition(".")
        if name.startswith(wrapped) or (name.startswith("fusion.") and not name.startswith(plain)):
            layer += ".conv"
        for old, new in (("conv_l2_", "feat_l2_conv"), ("conv_l3_", "feat_l3_conv"), ("pcd_align", "pcd_alignment")):
            layer = layer.replace(old, new)
        layer = {"upconv1": "upsample1.upsample_conv", "upconv2": "upsample2.upsample_conv"}.get(layer, layer)
        other[f"generator.{layer}.{tail}"] = value
    back = renamed(other)
    assert back.keys() == state.keys()
    assert all(back[name] is state[name] for name in state)


def test_a_file_of_ours_loads_by_path(tmp_path: Path) -> None:
    written = write_edvr(tmp_path / "tiny.safetensors", shift_px=2)
    net = weights.load(str(tmp_path / "tiny.safetensors"), 4)
    assert (net.spec.name, net.spec.architecture, net.spec.weights_sha256) == ("tiny", "EDVR", written.sha256)
    assert (net.spec.context, net.spec.scale) == (2, 4)


def test_a_file_of_the_reference_loads_by_path(tmp_path: Path) -> None:
    net = small_edvr()
    original = {original_name(name): value for name, value in net.state_dict().items()}
    for name, content in (("basicsr.pth", {"params": net.state_dict()}), ("original.pth", original)):
        torch.save(content, tmp_path / name)
        loaded = weights.load(str(tmp_path / name), 4)
        assert isinstance(loaded, EDVR)
        assert all(torch.equal(value, net.state_dict()[key]) for key, value in loaded.state_dict().items())


def test_half_types_shift_in_float32() -> None:
    torch.manual_seed(0)
    layer = DeformableConv(16, 2)
    with torch.no_grad():
        torch.nn.init.normal_(layer.conv_offset.state_dict()["bias"], 0, 3)
    x = torch.rand(1, 16, 8, 8)
    with torch.inference_mode():
        exact = layer(x, x)
        half = layer.bfloat16()(x.bfloat16(), x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - exact).abs().max() < 0.03


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"num_feat": 24}, "multiple of 16"),
        ({"deformable_groups": 3}, "in 3 groups"),
        ({"center_frame_idx": 5}, "frame 5"),
        ({"hr_in": True}, "without with_predeblur"),
    ],
)
def test_impossible_networks_are_refused(options: dict[str, Option], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        built(**options)


def test_building_one_loads_no_torchvision() -> None:
    code = (
        "import sys, torch\nfrom vsr.models.edvr import EDVR\n"
        "with torch.device('meta'): EDVR()\n"
        "sys.exit(any(m in sys.modules for m in ('torchvision', 'torch._inductor', 'sympy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
