"""Where the film goes: the output's name, its container, and what stands in the way."""

from __future__ import annotations

import os
import sys
from hashlib import blake2b
from pathlib import Path
from tempfile import gettempdir

from vsr.config import UpscaleConfig
from vsr.errors import ConfigError, UsageError
from vsr.frames import VideoInfo
from vsr.journal import Journal
from vsr.media.codecs import MUXERS
from vsr.media.encode import Y4M
from vsr.media.framefiles import IMAGES, timestamps_path
from vsr.media.images import is_image
from vsr.media.sequences import existing_numbers, is_pattern, sequence_path
from vsr.names import STDIO, default_output, default_suffix, require_free, size_label


def muxer_of(output: str) -> str:
    """FFmpeg's muxer for an output name. Raises UsageError for an unknown extension."""
    suffix = Path(output).suffix.lower()
    if suffix not in MUXERS:
        raise UsageError(f"{output}: unknown output extension {suffix or '(none)'!r}; use one of {', '.join(MUXERS)}")
    return MUXERS[suffix]


def work_dir(config: UpscaleConfig, output: str) -> Path:
    """The hidden folder for unfinished work: beside the output, in --work-dir, or a temporary place for a pipe's."""
    path = Path(output)
    name = path.name if len(os.fsencode(path.name)) <= 200 else blake2b(os.fsencode(path.name), digest_size=16).hexdigest()
    if output == STDIO:
        return (config.work_dir or Path(gettempdir())) / f".stdout-{os.getpid()}.vsr"
    if config.work_dir is None:
        return path.parent / f".{name}.vsr"
    # outputs of several folders may have one name
    return config.work_dir / f".{name}.{blake2b(str(path.resolve()).encode(), digest_size=4).hexdigest()}.vsr"


def part_of(output: Path, folder: Path) -> Path:
    """The file that is given the name `output` when it is whole; another one for each work folder, which locks it."""
    tag = "" if folder.parent == output.parent else f".{blake2b(os.fsencode(folder), digest_size=4).hexdigest()}"
    return output.with_name(f".{output.name}{tag}.part")


def choose_output(config: UpscaleConfig, info: VideoInfo, width: int, height: int) -> tuple[str, str]:
    """Where the film goes, and the container's name."""
    if config.output == STDIO:
        if sys.stdout is None:
            raise ConfigError("standard output is closed: name a file with -o")
        y4m = config.pipe_format == "y4m" or (
            config.pipe_format == "auto" and info.container in (IMAGES, Y4M) and config.encode.codec == "auto"
        )
        return STDIO, Y4M if y4m else "nut"
    if config.output is None:
        if config.source == STDIO:
            raise UsageError("standard input has no name to derive an output from: name one with -o")
        output = default_output(config.source, default_suffix(config.source), config.model, size_label(config, width, height))
    else:
        output = config.output
    if is_pattern(output) and is_image(output):
        taken = [*existing_numbers(output).values(), timestamps_path(output)]
        if (found := [path for path in taken if path.exists()]) and not config.overwrite:
            raise ConfigError(f"{found[0]}: exists already; add --overwrite to replace it, or choose another pattern with -o")
        container, path = IMAGES, sequence_path(output, 1)
    else:
        container, path = muxer_of(output), Path(output)
        if path.is_symlink():  # written through, as every program does
            path = path.resolve()
            output = str(path)
    journal = Journal(work_dir(config, output))
    finished = config.resume and journal.crowned(path)  # killed just before it could clean up
    if path.exists():
        journal.sweep()
    require_free(path, config.source, config.overwrite or container == IMAGES or finished)
    return output, container
