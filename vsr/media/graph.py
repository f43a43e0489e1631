"""Frames through a filter graph of the user's, by an ffmpeg program: for what has to be said in FFmpeg's own words."""

from __future__ import annotations

import shutil

import ffmpeg
import numpy as np
import torch
from torch import Tensor

from vsr.errors import ConfigError


def find_program() -> str | None:
    """The ffmpeg program of `imageio-ffmpeg`, or the one in PATH; None where there is neither."""
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError, OSError):
        return shutil.which("ffmpeg")


def through_graph(rgb: Tensor, graph: str, width: int, height: int) -> Tensor:
    """RGB (T, 3, H, W) uint8 as 25 frames a second through `graph` (-vf); returns (T, 3, height, width) uint8.

    Raises ConfigError where there is no program, where it refuses the graph, and where something else comes out than as many
    frames of the size that is wanted.
    """
    program = find_program()
    if program is None:
        raise ConfigError(
            f"graph:{graph}: this needs the ffmpeg program, and none is here; run: pip install 'vsr[metrics]', or put one in PATH"
        )
    frames = rgb.permute(0, 2, 3, 1).contiguous().numpy()
    raw = {"format": "rawvideo", "pix_fmt": "rgb24"}
    taken = ffmpeg.input("pipe:", s=f"{rgb.shape[-1]}x{rgb.shape[-2]}", r=25, **raw)
    made = taken.output("pipe:", vf=graph, fps_mode="passthrough", threads=1, **raw).global_args(
        "-bitexact", "-nostdin", "-loglevel", "error"
    )
    try:
        out, _ = ffmpeg.run(made, cmd=program, input=frames.tobytes(), capture_stdout=True, capture_stderr=True)
    except ffmpeg.Error as exc:
        lines = (exc.stderr or b"").decode(errors="replace").strip().splitlines()
        raise ConfigError(f"graph:{graph}: ffmpeg refuses it: {' / '.join(lines[:2])[:300]}") from exc
    except OSError as exc:
        raise ConfigError(f"graph:{graph}: {program} cannot be run ({exc.strerror}); install another ffmpeg") from exc
    wanted = (len(rgb), height, width, 3)
    if len(out) != np.prod(wanted):
        raise ConfigError(
            f"graph:{graph}: makes {len(out)} bytes of {len(rgb)} frames of {rgb.shape[-1]}x{rgb.shape[-2]}, where "
            f"{np.prod(wanted)} were wanted: as many frames of {width}x{height}"
        )
    return torch.from_numpy(np.frombuffer(out, np.uint8).reshape(wanted).copy()).permute(0, 3, 1, 2)
