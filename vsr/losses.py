"""What a job cannot keep, said before it begins."""

from __future__ import annotations

from collections.abc import Iterator

from vsr.frames import FrameFormat, VideoInfo
from vsr.media.encode import Y4M
from vsr.media.framefiles import IMAGES
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


def container_warnings(info: VideoInfo, container: str) -> Iterator[str]:
    """What the container itself cannot say about the film."""
    if container in (IMAGES, Y4M):
        if info.display_matrix is not None:
            yield f"{'images' if container == IMAGES else 'y4m'} hold no rotation: turn the result by {info.rotation} degrees"
        return
    if container == "mpegts" and info.display_matrix is not None:
        yield f".ts holds no rotation (.mp4, .mov and .mkv do): the film will stand turned by {info.rotation} degrees"
    if container == "mp4":
        lost = sorted(key for key, _ in info.metadata if key.lower().split("-")[0] not in MP4_TAGS)
        if lost:
            yield f".mp4 holds no tags of the names {', '.join(lost[:6])} (.mov and .mkv do)"
