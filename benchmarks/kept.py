"""What is kept, on real clips:  python benchmarks/kept.py --model bicubic --scale 2 CLIP ...

Upscales each clip and compares input and output with PyAV alone: frames, every timestamp, packets of sound, colour tags. It uses
none of the checks that vsr itself makes.
"""

import argparse
import hashlib
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vsr import UpscaleConfig, upscale


def look(path: Path, seconds: float | None) -> dict[str, Any]:
    """Frames' times from the first one on, colour tags of the first frame, digests of the other streams' packets."""
    with av.open(str(path)) as film:
        video = film.streams.video[0]
        times: list[Fraction] = []
        first: av.VideoFrame | None = None
        for frame in film.decode(video):
            first = first or frame
            assert frame.pts is not None and frame.time_base is not None
            time = Fraction(frame.pts * frame.time_base.numerator, frame.time_base.denominator)
            if seconds is not None and times and time - times[0] >= Fraction(seconds).limit_denominator(1000):
                break
            times.append(time)
        tick = video.time_base
    assert first is not None
    sounds: dict[int, Any] = {}
    with av.open(str(path)) as film:
        for packet in film.demux(*film.streams.audio):
            if packet.size:
                count, digest = sounds.setdefault(packet.stream.index, [0, hashlib.blake2b(digest_size=8)])
                digest.update(bytes(packet))
                sounds[packet.stream.index][0] = count + 1
    return {
        "frames": len(times),
        "times": [t - times[0] for t in times],
        "tick": f"{tick.numerator}/{tick.denominator}" if tick else None,
        "size": f"{first.width}x{first.height} {first.format.name}",
        "colour": tuple(int(v) for v in (first.color_range, first.color_primaries, first.color_trc, first.colorspace)),
        "sound": {index: (count, digest.hexdigest()) for index, (count, digest) in sounds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="bicubic")
    parser.add_argument("--scale", type=float, default=2)
    parser.add_argument("--seconds", type=float, help="only so much of each clip")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for clip in options.clips:
            suffix = clip.suffix if clip.suffix in (".mp4", ".mkv", ".webm", ".ts", ".mov") else ".mkv"
            config = UpscaleConfig(
                str(clip), f"{folder}/{clip.stem}{suffix}", scale=options.scale, model=options.model, duration=options.seconds
            )
            report = upscale(config)
            before, after = look(clip, options.seconds), look(Path(report.output), None)
            worst = max(abs(a - b) for a, b in zip(before["times"], after["times"], strict=True))
            equal = list(before["sound"].values()) == list(after["sound"].values())
            same = "(a part)" if options.seconds else "same bytes" if equal else "DIFFERENT BYTES"
            counts = [[n for n, _ in side["sound"].values()] for side in (before, after)]
            print(
                f"{clip.name}: {before['size']} -> {after['size']}; frames {before['frames']} -> {after['frames']}; "
                f"worst timestamp error {float(worst) * 1e6:.1f} us (ticks {before['tick']}, {after['tick']}); sound packets "
                f"{counts[0]} -> {counts[1]} {same}; colour tags (range, "
                f"primaries, transfer, matrix) {before['colour']} -> {after['colour']}; {report.fps:.2f} fps; {report.warnings}"
            )


if __name__ == "__main__":
    main()
