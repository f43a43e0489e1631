"""Cuts the bundled clip from Big Buck Bunny:  python examples/make_clip.py BIG_BUCK_BUNNY_720P.mp4 examples/bunny_160x90.mp4

26 frames from frame 30 on, the 640x360 window at (120, 60) reduced by 4 with area averaging, the sound beside them.
"""

import sys
from fractions import Fraction

import av

FIRST, FRAMES, X, Y, WIDTH, HEIGHT = 30, 26, 120, 60, 640, 360


def main(source: str, target: str) -> None:
    with av.open(source) as film, av.open(target, "w", container_options={"movflags": "+faststart"}) as clip:
        video, sound = film.streams.video[0], film.streams.audio[0]
        out = clip.add_stream("libx264", rate=25, options={"crf": "8", "preset": "veryslow"})
        out.width, out.height, out.pix_fmt = 160, 90, "yuv420p"
        assert video.time_base is not None
        out.codec_context.time_base = video.time_base
        out.codec_context.colorspace, out.codec_context.color_primaries, out.codec_context.color_trc = 1, 1, 1
        voice = clip.add_stream("aac", rate=48000, options={"b": "96k"})
        voice.codec_context.layout = "stereo"
        voice.metadata["language"] = "eng"
        clip.metadata.update(
            {
                "title": "Big Buck Bunny (excerpt)",
                "artist": "Blender Foundation",
                "copyright": "(c) 2008 Blender Foundation, CC BY 3.0, www.bigbuckbunny.org",
            }
        )
        begin = Fraction(FIRST, 25)
        end = begin + Fraction(FRAMES, 25)
        graph = reducing_graph(video)
        for packet in film.demux(video, sound):
            for frame in packet.decode():
                assert isinstance(frame, (av.VideoFrame, av.AudioFrame)) and frame.pts is not None and frame.time_base
                at = frame.pts * frame.time_base
                if not begin <= at < end:
                    continue
                shift = int(begin / frame.time_base)
                if isinstance(frame, av.AudioFrame):
                    frame.pts -= shift
                    clip.mux(voice.encode(frame))
                    continue
                graph.push(frame)
                small = graph.pull()
                assert isinstance(small, av.VideoFrame) and small.pts is not None
                small.pict_type = 0  # or the encoder repeats the source's choice of frame types
                small.colorspace, small.color_primaries, small.color_trc = 1, 1, 1
                small.pts -= shift
                clip.mux(out.encode(small))
        clip.mux(out.encode(None))
        clip.mux(voice.encode(None))


def reducing_graph(video: av.VideoStream) -> av.filter.Graph:
    graph = av.filter.Graph()
    crop = graph.add("crop", f"{WIDTH}:{HEIGHT}:{X}:{Y}")
    graph.link_nodes(graph.add_buffer(template=video), crop, graph.add("scale", "160:90:flags=area"), graph.add("buffersink"))
    graph.configure()
    return graph


if __name__ == "__main__":
    main(*sys.argv[1:])
