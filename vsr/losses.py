"""What a job cannot keep, said before it begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vsr.config import UpscaleConfig
from vsr.fields import Deinterlace
from vsr.frames import FrameFormat, VideoInfo
from vsr.media.encode import Y4M
from vsr.media.framefiles import IMAGES
from vsr.media.languages import holds_language
from vsr.media.picture_data import NAMES
from vsr.media.sei import CARRIED
from vsr.names import STDIO
from vsr.plan import StreamPlan

# What the mp4 muxer writes; mov and the others keep any tag.
MP4_TAGS = frozenset(
    {
        "title", "artist", "album_artist", "composer", "album", "date", "year", "comment", "genre", "copyright", "grouping",
        "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "track", "disc", "media_type",
        "hd_video", "gapless_playback", "compilation", "creation_time", "location", "encoder", "major_brand", "minor_version",
        "compatible_brands", "timecode", "season_number", "episode_sort", "sort_name", "sort_artist", "sort_album",
        "sort_album_artist", "sort_composer", "sort_show", "rating", "author", "performer",
    }
)  # fmt: skip


def ignored_options(config: UpscaleConfig, container: str) -> Iterator[str]:
    """Options that have no meaning for what is written, by name."""
    wish = config.encode
    encoder = {"--encoder": wish.encoder, "--crf": wish.crf, "--preset": wish.preset, "--encoder-option": wish.options or None}
    if container == IMAGES:
        options, what = {"--codec": None if wish.codec == "auto" else wish.codec, **encoder}, "images are written"
    elif config.output == STDIO and wish.codec == "auto":
        options, what = {**encoder, "--bit-depth": wish.bit_depth}, "raw frames are written to the pipe (--codec encodes them)"
    else:
        options, what = {}, ""
    if given := [name for name, value in options.items() if value is not None]:
        yield f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} ignored: {what}"
    if config.pipe_format != "auto" and config.output != STDIO:
        yield "--pipe-format is ignored: the output is no pipe"


def size_warnings(width: int, height: int, target: FrameFormat) -> Iterator[str]:
    """A size that had to grow."""
    if (width, height) != (target.width, target.height):
        yield f"{width}x{height} becomes {target.width}x{target.height}: chroma planes need whole samples"


def stream_warnings(info: VideoInfo, streams: tuple[StreamPlan, ...]) -> Iterator[str]:
    """Streams that are converted or left out, by name."""
    named = {s.index: s for s in info.streams}
    for plan in streams:
        if plan.action in ("convert", "drop") and plan.reason:
            verb = f"is converted to {plan.codec}" if plan.action == "convert" else "is left out"
            yield f"{named[plan.index]} {verb}: {plan.reason}"


def picture_warnings(info: VideoInfo, codec: str, mode: Deinterlace, wish: Deinterlace) -> Iterator[str]:
    """What becomes of fields, and of what lies beside the pictures."""
    if info.interlaced and mode == "off" and wish == "auto":
        yield "the film is interlaced and is upscaled as it is: the filters take no frames of its size and layout"
    elif info.interlaced and mode == "off":
        yield "the film is interlaced and is upscaled as it is: combing is enlarged (--deinterlace auto mends that)"
    elif info.interlaced and mode == "auto":
        yield "the film is interlaced: frames of two fields are deinterlaced; --deinterlace field keeps the motion of both"
    elif not info.interlaced and mode in ("frame", "field"):
        yield "none of the first frames is flagged as interlaced; all are deinterlaced, as asked"
    elif not info.interlaced and mode == "ivtc":
        yield "none of the first frames is flagged as interlaced: of every five frames one is left out all the same, as asked"
    yield from beside_warnings(info.picture_data, codec)


def beside_warnings(kinds: Iterable[str], codec: str) -> Iterator[str]:
    """What lies beside the pictures and has no place in the codec."""
    for kind in kinds:
        if kind not in CARRIED.get(codec, frozenset()):
            able = ", ".join(name for name, held in CARRIED.items() if kind in held)
            yield f"{NAMES[kind]} is left out: {codec} in this program carries none ({able} can)"


def container_warnings(info: VideoInfo, container: str) -> Iterator[str]:
    """What the container itself cannot say about the film."""
    if container in (IMAGES, Y4M):
        if info.display_matrix is not None:
            yield f"{'images' if container == IMAGES else 'y4m'} hold no rotation: turn the result by {info.rotation} degrees"
        return
    if container == "mpegts" and info.display_matrix is not None:
        yield f".ts holds no rotation (.mp4, .mov and .mkv do): the film will stand turned by {info.rotation} degrees"
    for stream in info.streams:
        if stream.type in ("video", "audio", "subtitle") and not holds_language(stream.language, container):
            yield f".mov holds no language {stream.language!r} (.mp4 and .mkv do): {stream.type} stream {stream.index} loses it"
    if container == "mp4":
        lost = sorted(key for key, _ in info.metadata if key.lower().split("-")[0] not in MP4_TAGS)
        if lost:
            yield f".mp4 holds no tags of the names {', '.join(lost[:6])} (.mov and .mkv do)"
