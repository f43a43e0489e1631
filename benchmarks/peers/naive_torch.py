"""What most scripts do:  python naive_torch.py IN OUT THREADS

Eager float32 NCHW, frame by frame, RGB through libswscale, x264 medium crf 18. Sound is left out, which costs it nothing.
"""

import sys

import av
import torch

from vsr.models.weights import load  # the same network with the same weights


def main() -> None:
    source, target, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    network = load("animevideo", 4)
    with av.open(source) as film, av.open(target, "w") as out, torch.no_grad():
        video = film.streams.video[0]
        made = out.add_stream("libx264", rate=video.guessed_rate, options={"crf": "18", "preset": "medium"})
        made.width, made.height, made.pix_fmt = 4 * video.width, 4 * video.height, "yuv420p"
        for frame in film.decode(video):
            rgb = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1).float().div(255)[None]
            large = network.reconstruct(network.features(rgb)[:, None])
            levels = large[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
            out.mux(made.encode(av.VideoFrame.from_ndarray(levels, "rgb24")))
        out.mux(made.encode(None))


main()
