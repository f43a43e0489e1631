"""NVIDIA's encoders in the words of ours: quality, presets, layouts.

They are taken only when they are named (`--encoder hevc_nvenc`): at the same size their pictures are worse than those of the CPU
encoders, and a film must not depend on which card the machine has.
"""

from __future__ import annotations

from vsr.errors import UsageError
from vsr.media.codecs import X264_PRESETS

# p4 is NVENC's own middle; above it an x264 user expects slowness, so every step of quality up to p7 has a name
_PRESETS = dict(zip(X264_PRESETS, ("p1", "p1", "p2", "p3", "p3", "p4", "p5", "p6", "p7", "p7"), strict=True))
# It takes words of 12 and 16 bits, and codes the upper 10: that would be a loss that nobody is told of
TRUNCATED = frozenset(
    {"p012le", "p016le", "p212le", "p216le", "yuv444p12msble", "yuv444p16le", "gbrp12msble", "gbrp16le"},
)


def is_nvenc(encoder: str) -> bool:
    """h264_nvenc, hevc_nvenc, av1_nvenc."""
    return encoder.endswith("_nvenc")


def quality(crf: int) -> dict[str, str]:
    """Constant quality on a scale like x264's, without a bit rate to aim at. Its 0 is "automatic": ours is the least step."""
    return {"rc": "vbr", "cq": str(crf)} if crf else {"rc": "constqp", "qp": "0"}


def preset(wish: str | None) -> dict[str, str]:
    """Its seven presets, by x264's names or its own. Raises UsageError for any other."""
    name = _PRESETS.get(wish or "medium", wish or "")
    if name not in _PRESETS.values():
        raise UsageError(f"--preset {wish}: NVENC takes {', '.join(X264_PRESETS)} or its own p1 to p7")
    return {"preset": name}
