"""VMAF (Netflix, model v0.6.1) of a clip, by an ffmpeg program that has libvmaf: the one of `imageio-ffmpeg`, or one in PATH."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import ffmpeg

from vsr.errors import ConfigError, MediaError
from vsr.frames import FrameBatch

_PATIENCE = 30  # seconds for a program to list its filters


def find_ffmpeg() -> str | None:
    """A program with the filter libvmaf; None where there is none."""
    candidates = []
    try:
        import imageio_ffmpeg

        candidates.append(str(imageio_ffmpeg.get_ffmpeg_exe()))
    except (ImportError, RuntimeError, OSError):
        pass
    candidates.append(shutil.which("ffmpeg") or "")
    return next((program for program in candidates if program and _has_vmaf(program)), None)


def _has_vmaf(program: str) -> bool:
    try:
        listed = subprocess.run([program, "-hide_banner", "-filters"], capture_output=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b" libvmaf " in listed.stdout


class Vmaf:
    """Takes frames, made and true, one after the other (8-bit 4:4:4 YUV of one size), and scores them all at the end.

    Raises ConfigError where no program has libvmaf, MediaError where it fails.
    """

    def __init__(self) -> None:
        program = find_ffmpeg()
        if program is None:
            raise ConfigError("VMAF: no ffmpeg with libvmaf is here; run: pip install 'vsr[metrics]', or put one in PATH")
        self._program = program

    def __enter__(self) -> Vmaf:
        self._folder = tempfile.TemporaryDirectory(prefix="vsr-vmaf-")
        home = Path(self._folder.name)
        self._paths = (home / "made.y4m", home / "true.y4m")
        self._files = [path.open("wb") for path in self._paths]
        self._count = 0
        return self

    def add(self, made: FrameBatch, true: FrameBatch) -> None:
        """One frame of each."""
        for file, frame in zip(self._files, (made, true), strict=True):
            if not self._count:
                file.write(f"YUV4MPEG2 W{frame.format.width} H{frame.format.height} F25:1 Ip A1:1 C444\n".encode())
            file.write(b"FRAME\n" + b"".join(plane[0].tobytes() for plane in frame.planes))
        self._count += 1

    def scores(self) -> list[float]:
        """0 to 100 for each frame, in order."""
        for file in self._files:
            file.flush()
        log = self._paths[0].with_name("vmaf.json")
        made, true = (ffmpeg.input(str(path)) for path in self._paths)
        graph = ffmpeg.filter([made, true], "libvmaf", log_path=str(log), log_fmt="json").output("-", format="null")
        try:
            ffmpeg.run(graph, cmd=self._program, capture_stdout=True, capture_stderr=True)
            found = [float(frame["metrics"]["vmaf"]) for frame in json.loads(log.read_text(encoding="utf-8"))["frames"]]
        except (ffmpeg.Error, OSError, ValueError, KeyError) as exc:
            told = getattr(exc, "stderr", b"") or str(exc).encode()
            raise MediaError(f"VMAF: {self._program} failed: {told.decode(errors='replace').strip()[-200:]}") from exc
        if len(found) != self._count:
            raise MediaError(f"VMAF: {self._program} scored {len(found)} of {self._count} frames; try another ffmpeg")
        return found

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._files:
            file.close()
        self._folder.cleanup()
