"""Output codecs and containers as literal tables: encoders, quality scales, presets, what each may hold."""

from __future__ import annotations

from dataclasses import dataclass, field

X264_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
MUXERS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm",
    ".ts": "mpegts", ".m2ts": "mpegts", ".mts": "mpegts",
}  # fmt: skip
ISO_MUXERS = frozenset({"mp4", "mov"})


@dataclass(frozen=True)
class CodecFacts:
    """One output codec.

    encoder     FFmpeg's software encoder
    containers  muxers that may hold it
    crf         (default, lowest, highest) quality; None where the codec has no such scale
    presets     x264's names -> the encoder's own options; empty where it has none
    numbered    its own presets are numbers
    fixed       options that are always set
    alpha, rgb  whether players know it with an alpha channel, with RGB planes
    tag         four-character code that players of mp4 and mov want
    """

    encoder: str
    containers: frozenset[str]
    crf: tuple[int, int, int] | None = None
    presets: dict[str, dict[str, str]] = field(default_factory=dict)
    numbered: bool = False
    fixed: dict[str, str] = field(default_factory=dict)
    alpha: bool = False
    rgb: bool = False
    tag: str = ""


def _presets(option: str, values: tuple[object, ...]) -> dict[str, dict[str, str]]:
    return {name: {option: str(value)} for name, value in zip(X264_PRESETS, values, strict=True)}


CODECS: dict[str, CodecFacts] = {
    "h264": CodecFacts(
        "libx264", ISO_MUXERS | {"matroska", "mpegts", "nut"}, crf=(18, 0, 51), presets=_presets("preset", X264_PRESETS)
    ),
    "hevc": CodecFacts(
        "libx265", ISO_MUXERS | {"matroska", "mpegts", "nut"}, crf=(20, 0, 51), presets=_presets("preset", X264_PRESETS),
        tag="hvc1",
    ),
    # SVT-AV1's 8 costs about what x264's medium does
    "av1": CodecFacts(
        "libsvtav1", frozenset({"mp4", "matroska", "webm", "nut"}), crf=(28, 0, 63),
        presets=_presets("preset", (12, 11, 10, 9, 9, 8, 6, 4, 2, 1)), numbered=True,
    ),
    "vp9": CodecFacts(
        "libvpx-vp9", frozenset({"mp4", "matroska", "webm", "nut"}), crf=(24, 0, 63),
        presets=_presets("cpu-used", (8, 7, 6, 5, 4, 3, 2, 1, 0, 0)), numbered=True, fixed={"row-mt": "1", "b": "0"}, alpha=True,
    ),
    "prores": CodecFacts("prores_ks", frozenset({"mov", "matroska"}), fixed={"vendor": "apl0"}, alpha=True),
    "ffv1": CodecFacts(
        "ffv1", frozenset({"matroska", "nut"}), fixed={"level": "3", "slicecrc": "1", "g": "1"}, alpha=True, rgb=True
    ),
}  # fmt: skip


def suffix_of(muxer: str) -> str:
    """The file extension that people know a muxer by."""
    return next((suffix for suffix, name in MUXERS.items() if name == muxer), f".{muxer}")


def suffixes_for(codec: str) -> str:
    """The extensions of containers that hold a codec, for messages."""
    return ", ".join(suffix for suffix, muxer in MUXERS.items() if muxer in CODECS[codec].containers)


def codec_made(decoder: str) -> str:
    """Our name of the codec that one of FFmpeg's decoders reads."""
    return {"libdav1d": "av1", "libvpx-vp9": "vp9"}.get(decoder, decoder)
