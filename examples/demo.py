"""make demo: upscales the bundled clip by 4 with ESRGAN and puts a before/after picture beside the result."""

import os
from pathlib import Path
from time import monotonic

import av
from PIL import Image

from vsr import Progress, UpscaleConfig, upscale
from vsr.media.verify import summary

CLIP = Path(__file__).parent / "bunny_160x90.mp4"
OUT = Path("out")


def main() -> None:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does: torch beside an encoder must not spin
    OUT.mkdir(exist_ok=True)
    began = monotonic()

    def show(progress: Progress) -> None:
        left = (progress.total - progress.frames) / progress.fps if progress.fps else 0
        print(
            f"\r{progress.stage}: {progress.frames} of {progress.total} frames, {progress.fps:.2f} fps, {left:.0f} s left ",
            end="",
            flush=True,
        )

    report = upscale(UpscaleConfig(str(CLIP), output=str(OUT / "demo.mp4"), scale=4, model="esrgan", overwrite=True), show)
    print()
    for warning in report.warnings:
        print(f"warning: {warning}")
    picture = before_after(CLIP, Path(report.output), OUT / "before_after.png")
    print(f"{report.output}: {report.frames_out} frames, {report.fps:.2f} fps, {monotonic() - began:.0f} s in all")
    print(f"kept: {summary(report.checks)}")
    print(f"before and after, side by side: {picture}")


def before_after(before: Path, after: Path, target: Path, frame: int = 12) -> Path:
    """One frame of both films: left enlarged by bicubic interpolation, right as upscaled."""
    right = frame_of(after, frame)
    left = frame_of(before, frame).resize(right.size, Image.Resampling.BICUBIC)
    sheet = Image.new("RGB", (right.width * 2 + 8, right.height), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (right.width + 8, 0))
    sheet.save(target)
    return target


def frame_of(film: Path, number: int) -> Image.Image:
    with av.open(str(film)) as container:
        frames = list(container.decode(video=0))
    image: Image.Image = frames[min(number, len(frames) - 1)].to_image()  # type: ignore[no-untyped-call]
    return image


if __name__ == "__main__":
    main()
