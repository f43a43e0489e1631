"""Choosing the encoder, the sample layout it is fed, and its options; trying it once before it is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.codeccontext import VideoCodecContext

from vsr.config import EncodeConfig
from vsr.errors import ConfigError, EncodeError, UsageError
from vsr.frames import ColorSpec, FrameFormat, PixelLayout, VideoInfo
from vsr.media import nvenc
from vsr.media.codecs import CODECS, X264_PRESETS, CodecFacts, suffix_of, suffixes_for
from vsr.media.encode import configure
from vsr.media.hdr import encoder_params
from vsr.media.pixels import make_frame, pix_fmt_of, planar_equivalent, planar_layout
from vsr.media.siting import kept_siting
from vsr.media.source import reason
from vsr.plan import Encoding

SMALLEST_HEVC = 64  # libx265 corrupts its memory below about that (36x36 and 48x24 did, 70x36 did not)
# listed by the encoder, refused when it is opened
_REFUSED = {
    "libvpx-vp9": {"yuva422p", "yuva444p"},
    **dict.fromkeys(("h264_nvenc", "hevc_nvenc", "av1_nvenc"), nvenc.TRUNCATED),
}
Choice = tuple[Encoding, FrameFormat, tuple[str, ...]]  # the encoder, the format of its frames, what it cannot keep


def codec_of(encoder: str) -> str:
    """The codec that an encoder makes, by our name. Raises ConfigError for an encoder that makes none of ours."""
    try:
        name = av.Codec(encoder, "w").canonical_name
    except (av.error.FFmpegError, ValueError) as exc:
        raise ConfigError(f"--encoder {encoder}: FFmpeg has no such encoder here; leave it out for the usual one") from exc
    if name not in CODECS:
        raise ConfigError(f"--encoder {encoder}: makes {name}; vsr writes {', '.join(CODECS)}")
    return name


def choose_codec(config: EncodeConfig, info: VideoInfo, muxer: str, width: int, height: int) -> str:
    """`--codec auto`: what the source needs and the container can hold. Raises ConfigError where a wish cannot be met."""
    if config.encoder is not None:
        made = codec_of(config.encoder)
        if config.codec not in ("auto", made):
            raise ConfigError(f"--encoder {config.encoder}: makes {made}, not {config.codec}; leave one of the two out")
        config = replace(config, codec=made)
    if config.codec != "auto":
        if muxer not in CODECS[config.codec].containers:
            raise ConfigError(
                f"{suffix_of(muxer)} cannot hold {config.codec}: use {suffixes_for(config.codec)}, or another --codec"
            )
        return config.codec
    if muxer == "webm":
        return "vp9"
    if info.format.layout.alpha and muxer in ("mov", "matroska"):
        return "prores" if muxer == "mov" else "ffv1"
    small = min(width, height) < SMALLEST_HEVC
    return "hevc" if (wanted_bits(config, info) > 8 or info.hdr or width > 4096) and not small else "h264"


def wanted_bits(config: EncodeConfig, info: VideoInfo) -> int:
    """Bits a sample that the output should have: the source's, as far as codecs have such depths."""
    return config.bit_depth or {8: 8, 9: 10, 10: 10}.get(info.format.layout.bits, 12)


def choose_encoding(config: EncodeConfig, codec: str, info: VideoInfo, width: int, height: int, threads: int) -> Choice:
    """The encoder with its options for frames of this size. Raises ConfigError for options that it cannot have."""
    facts = CODECS[codec]
    encoder = config.encoder or facts.encoder
    if encoder == "libx265" and min(width, height) < SMALLEST_HEVC:
        raise ConfigError(
            f"{width}x{height} is too small for {encoder}, which needs {SMALLEST_HEVC} pixels: take another --codec"
        )
    have = dict(_layouts(encoder))
    warnings: list[str] = []
    layout = _fit_layout(info.format.layout, wanted_bits(config, info), facts, frozenset(have))
    warnings += _losses(info.format.layout, layout, wanted_bits(config, info), config)
    width, height = fit_size(width, height, layout)
    color = _fit_color(info.format.color, info.format.layout, layout, encoder)
    static = encoder_params(encoder, info.mastering, info.light)
    if (info.mastering or info.light) and not static:
        warnings.append(f"mastering display and light level are lost: {encoder} writes none (hevc, av1 and h264 do)")
    options = _options(config, codec, encoder, layout, static, warnings)
    return Encoding(codec, encoder, have[layout], options, threads), FrameFormat(width, height, layout, color), tuple(warnings)


def raw_encoding(info: VideoInfo, width: int, height: int, *, y4m: bool) -> Choice:
    """Uncompressed frames for a pipe, in the source's own layout; y4m knows only YUV and gray, without alpha."""
    layout, color = info.format.layout, info.format.color
    warnings: tuple[str, ...] = ()
    if y4m and (layout.kind == "rgb" or layout.alpha):
        sampling = (0, 0) if layout.kind == "rgb" else (layout.log2_chroma_w, layout.log2_chroma_h)
        layout = PixelLayout("yuv", layout.bits if layout.bits in (8, 9, 10, 12, 14, 16) else 16, *sampling)
        lost = "alpha" if info.format.layout.alpha else "RGB"
        warnings = (f"y4m holds no {lost}: frames become {pix_fmt_of(layout)} (--pipe-format nut keeps it)",)
    if not y4m and not color.matrix_guessed and layout.kind == "yuv":
        warnings = (
            f"raw video in NUT carries no colour tags: matrix {color.matrix}, {'full' if color.full_range else 'limited'} range, "
            f"primaries {color.primaries}, transfer {color.transfer}; whoever reads it must be told",
        )
    if not y4m and info.sar != 1:
        warnings += (f"raw video in NUT carries no pixel aspect: {info.sar}; whoever reads it must be told (y4m carries it)",)
    color = _fit_color(color, info.format.layout, layout, "y4m" if y4m else "rawvideo")
    width, height = fit_size(width, height, layout)
    return Encoding("rawvideo", "rawvideo", pix_fmt_of(layout)), FrameFormat(width, height, layout, color), warnings


def deepest(codec: str) -> int:
    """The most bits a sample that our encoder of a codec takes; 0 for a codec that we do not write."""
    facts = CODECS.get(codec)
    return max(layout.bits for layout, _ in _layouts(facts.encoder)) if facts else 0


def fit_size(width: int, height: int, layout: PixelLayout) -> tuple[int, int]:
    """Chroma planes of whole samples: a size that is not a multiple of the sampling grows to the next."""
    grow_w, grow_h = 1 << layout.log2_chroma_w, 1 << layout.log2_chroma_h
    return -(-width // grow_w) * grow_w, -(-height // grow_h) * grow_h


def _layouts(encoder: str) -> Iterator[tuple[PixelLayout, str]]:
    """The layouts that an encoder takes and the pixel format to name for each, the encoder's first choice last."""
    codec = av.Codec(encoder, "w")
    if codec.type != "video" or not codec.video_formats:
        raise ConfigError(f"--encoder {encoder}: is not a video encoder that takes frames from memory")
    for format in reversed(codec.video_formats):
        try:
            layout = planar_layout(planar_equivalent(format.name))
        except (EncodeError, KeyError, StopIteration, ValueError):  # surfaces on a device, floats, depths that we do not have
            continue
        if layout is not None and not format.name.startswith("yuvj") and format.name not in _REFUSED.get(encoder, ()):
            yield layout, format.name


def _fit_layout(source: PixelLayout, bits: int, facts: CodecFacts, have: frozenset[PixelLayout]) -> PixelLayout:
    """The layout nearest to the source's that the encoder takes."""
    kind, sampling = source.kind, (source.log2_chroma_w, source.log2_chroma_h)
    if kind != "yuv" and not facts.rgb:
        # players that know monochrome or RGB profiles are few; neutral chroma costs next to nothing
        kind, sampling = "yuv", (1, 1)
    alphas = (True, False) if source.alpha and facts.alpha else (False,)
    depths = sorted({layout.bits for layout in have}, key=lambda depth: (depth < bits, abs(depth - bits)))
    # the source's own sampling, then the coarsest that loses nothing, then 4:2:2, then 4:2:0
    finer = ((w, h) for w, h in ((1, 1), (1, 0), (0, 0)) if w <= sampling[0] and h <= sampling[1])
    samplings = (sampling, *finer, (1, 0), (1, 1)) if kind == "yuv" else ((0, 0),)
    for alpha, depth, sub in product(alphas, depths, samplings):
        candidate = PixelLayout(kind, depth, *sub, alpha=alpha)
        if candidate in have:
            return candidate
    raise ConfigError(f"the encoder takes no layout near the source's ({source}): choose another --codec")


def _losses(source: PixelLayout, chosen: PixelLayout, bits: int, config: EncodeConfig) -> Iterator[str]:
    """What the chosen layout cannot keep, for people."""
    if config.bit_depth and chosen.bits != config.bit_depth:
        nearest = f"the nearest that this encoder has is {chosen.bits}"
        raise ConfigError(f"--bit-depth {config.bit_depth}: {nearest}; choose that or another --codec")
    if source.alpha and not chosen.alpha:
        yield "transparency is lost: .mov with prores, .webm with vp9 and .mkv with ffv1 keep it"
    if chosen.bits < min(source.bits, bits) or (source.bits > chosen.bits and not config.bit_depth):
        yield f"{source.bits}-bit samples are stored with {chosen.bits} bits: the encoder has no more"
    if source.kind == "yuv" and (chosen.log2_chroma_w, chosen.log2_chroma_h) != (source.log2_chroma_w, source.log2_chroma_h):
        yield f"chroma sampling changes to {pix_fmt_of(chosen)}: the codec does not take the source's"
    if source.kind == "rgb" and chosen.kind == "yuv":
        yield f"RGB is stored as {pix_fmt_of(chosen)}, BT.709: this codec has no RGB that players know (ffv1 in .mkv has)"


def _fit_color(color: ColorSpec, source: PixelLayout, target: PixelLayout, encoder: str) -> ColorSpec:
    if source.kind == "rgb" and target.kind == "yuv":
        # sRGB shares BT.709's primaries, and players take YUV as limited range
        return replace(color, matrix=1, full_range=False, primaries=1 if color.primaries == 2 else color.primaries, siting="left")
    # the conversion back to planes moves chroma there
    return replace(color, siting=kept_siting(color.siting, encoder, target))


def _options(
    config: EncodeConfig, codec: str, encoder: str, layout: PixelLayout, static: dict[str, str], warnings: list[str]
) -> dict[str, str]:
    facts, ours = CODECS[codec], encoder == CODECS[codec].encoder
    options = dict(facts.fixed) if ours else {}
    if facts.crf is not None:
        default, low, high = facts.crf
        crf = default if config.crf is None else config.crf
        if not low <= crf <= high:
            raise UsageError(f"--crf {crf}: {codec} takes {low} to {high}")
        options |= {"crf": str(crf)} if ours else _foreign_quality(encoder, crf, warnings)
    elif config.crf is not None:
        warnings.append(f"--crf is ignored: {codec} has no such scale")
    options |= _preset(config.preset, codec, warnings) if ours else _foreign_preset(encoder, config.preset)
    options |= _special(codec, encoder, layout)
    for key, value in (*static.items(), *config.options.items()):
        # "x264-params" and the like are lists of their own: ours stay, the user's come last and win
        options[key] = f"{options[key]}:{value}" if key.endswith("-params") and key in options else value
    return options


def _foreign_quality(encoder: str, crf: int, warnings: list[str]) -> dict[str, str]:
    """The constant-quality option of an encoder that is not one of ours, as far as it has one that is known."""
    if nvenc.is_nvenc(encoder):
        return nvenc.quality(crf)
    context = av.CodecContext.create(encoder, "w")
    known = {option.name for option in (*context.supported_options.private, *context.supported_options.generic)}
    for option in ("crf", "cq", "global_quality"):
        if option in known:
            return {option: str(crf)}
    warnings.append(f"--crf is ignored: {encoder} has no such scale; set its own with --encoder-option")
    return {}


def _foreign_preset(encoder: str, wish: str | None) -> dict[str, str]:
    if nvenc.is_nvenc(encoder):
        return nvenc.preset(wish)
    return {"preset": wish} if wish else {}


def _special(codec: str, encoder: str, layout: PixelLayout) -> dict[str, str]:
    """What single encoders need to behave."""
    if codec == "vp9" and layout.alpha:
        return {"auto-alt-ref": "0"}  # libvpx codes no alpha beside invisible frames
    if encoder == "prores_ks":
        return {"profile": "4444" if layout.alpha or layout.log2_chroma_w == 0 else "hq"}
    if encoder == "libx264" and _has_avx512():
        # The AVX-512 paths of the libx264 in PyAV 18's wheel give other bits from run to run; a resumed film must not
        return {"x264-params": "asm=avx2"}
    return {"x265-params": "log-level=none"} if encoder == "libx265" else {}


def _preset(wish: str | None, codec: str, warnings: list[str]) -> dict[str, str]:
    facts = CODECS[codec]
    if not facts.presets:
        if wish:
            warnings.append(f"--preset is ignored: {codec} has none")
        return {}
    if wish is None or wish in facts.presets:
        return facts.presets[wish or "medium"]
    if facts.numbered and wish.lstrip("-").isdigit():
        return {next(iter(facts.presets["medium"])): wish}
    raise UsageError(f"--preset {wish}: {codec} takes {', '.join(X264_PRESETS)}{' or its own number' if facts.numbered else ''}")


def _has_avx512() -> bool:
    try:
        return "avx512f" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def try_encoder(encoding: Encoding, format: FrameFormat) -> None:
    """Opens the encoder for real and gives it one frame: a listed encoder may have no driver, and options may be wrong.

    Raises ConfigError that names the encoder and what it did not take.
    """
    try:
        context = av.CodecContext.create(encoding.encoder, "w")
        assert isinstance(context, VideoCodecContext)
        configure(context, encoding, format, Fraction(1, 25), Fraction(25), Fraction(1))
        context.open()
        unknown = sorted(context.options)  # what the encoder took is gone from the dictionary
        black = [np.zeros(shape, format.layout.dtype) for shape in format.plane_shapes]
        frame = make_frame(format, black)  # never fresh memory: samples beyond the bit depth make x264 abort the process
        frame.pts = 0
        context.encode(frame)
        context.encode(None)  # SVT-AV1 complains on stderr when it is closed before its end
    except (av.error.FFmpegError, ValueError, OSError) as exc:
        listed = ", ".join(f"{key}={value}" for key, value in encoding.options.items()) or "its defaults"
        size = f"{format.width}x{format.height} {encoding.pix_fmt}"
        needs = " (it needs an NVIDIA card that has it, and its driver)" if nvenc.is_nvenc(encoding.encoder) else ""
        raise ConfigError(
            f"encoder {encoding.encoder} does not work here for {size} with {listed}: {reason(exc)}{needs}"
        ) from exc
    if unknown:
        raise ConfigError(f"--encoder-option {unknown[0]}: {encoding.encoder} has no such option")
