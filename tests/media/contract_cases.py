"""The films of the fidelity contract, as a literal table: what is in each, and what of it the output's format cannot hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

from av.stream import Disposition

from tests.films import Film, Sound, Words, make, vfr
from tests.media.contract_edits import cut_short, damaged, joined, twice, with_cover, with_edit

Edit = Callable[[Path], Path]


@dataclass(frozen=True, eq=False)
class Case:
    """One film and what is expected of it.

    odd      what is unusual about it, for people
    edit     what happens to the file after it was made
    shown    numbers of the made film's frames that the edited file shows; None = all of them
    times    their times in seconds, where they are not those that the film was made with
    clock    whose times are right: the "film"'s as it was made; the "file"'s, where the muxer moves frames; "none" in the file
    stated   promises that the output's format cannot keep whole, which has to be said
    output   its file extension; "" = the tool's choice
    wrong    what the product does wrong here; "" = nothing
    refuted  why `vsr verify` wrongly calls a promise broken that the job keeps or states; "" = it does not
    """

    film: Film
    odd: str = ""
    edit: Edit | None = None
    shown: tuple[int, ...] | None = None
    times: tuple[Fraction, ...] | None = None
    clock: Literal["film", "file", "none"] = "film"
    stated: frozenset[str] = frozenset()
    output: str = ""
    wrong: str = ""
    refuted: str = ""

    @property
    def name(self) -> str:
        return self.film.name

    def __str__(self) -> str:
        return self.name

    def make(self, folder: Path) -> tuple[Path, Path]:
        """The film as it was made, and the file that is upscaled, each in `folder`."""
        whole = make(self.film, folder)
        return whole, self.edit(whole) if self.edit else whole

    def truth(self) -> tuple[tuple[int, ...], tuple[Fraction, ...]]:
        """Numbers of the frames that are to be shown, and when, in seconds."""
        shown = tuple(range(len(self.film.pts))) if self.shown is None else self.shown
        return shown, self.times or tuple(self.film.pts[n] * self.film.time_base for n in shown)


MS, TS = Fraction(1, 1000), Fraction(1, 90000)
B_FRAMES = {"preset": "veryfast", "crf": "1", "bf": "3", "g": "6"}
INTRA = {"preset": "ultrafast", "crf": "1", "g": "1"}
CFR: dict[str, Any] = {"time_base": Fraction(1, 25), "pts": vfr(12, [1])}
MILLI: dict[str, Any] = {"time_base": MS, "pts": vfr(12, [40])}
TICKS: dict[str, Any] = {"time_base": TS, "pts": vfr(12, [3600])}
FFV1: dict[str, Any] = {"codec": "ffv1", "options": {}}
MPEG = {"b": "3M", "bf": "2"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none"}
VPX = {"cpu-used": "8", "deadline": "realtime", "crf": "10", "b": "4M"}
HDR10 = {
    "preset": "ultrafast",
    "x265-params": "log-level=none:hdr10=1:repeat-headers=1:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)",
}
HD = (96, 96)  # libx265 wants 64 pixels a side


def case(name: str, suffix: str = ".mp4", codec: str = "libx264", *, odd: str = "", stated: str = "", **facts: Any) -> Case:
    """A case in one line; `stated` as names between commas."""
    ours = {key: facts.pop(key) for key in ("edit", "shown", "times", "clock", "output", "wrong", "refuted") if key in facts}
    usual = MILLI if suffix in (".mkv", ".webm") else TICKS if suffix in (".ts", ".m2ts") else {}
    named = frozenset(filter(None, stated.split(", ")))
    return Case(Film(name, suffix, codec, **{**usual, **facts}), odd, stated=named, **ours)


def _two_sizes(path: Path) -> Path:
    """A second recording behind the film, larger, which begins where it ends."""
    film = Film("larger", path.suffix, size=(96, 64), muxer="h264" if path.suffix == ".h264" else None)
    later = CFR if path.suffix == ".h264" else {**TICKS, "pts": vfr(12, [3600], start=12 * 3600)}
    return joined(path, make(replace(film, **later), path.parent))


CLOCKS = [
    case("cfr"),
    case("cfr b-frames aac", options=B_FRAMES, sounds=(Sound(),), odd="sound begins before zero (AAC's priming)"),
    case("ntsc clock", time_base=Fraction(1, 30000), pts=vfr(12, [1001]), odd="1001/30000 s a frame"),
    case("film clock", ".mkv", rate=Fraction(24000, 1001), pts=vfr(12, [42, 41, 42]), odd="1001/24000 s, rounded to 1 ms"),
    case("vfr mp4", pts=vfr(14, [512, 1024, 300, 7]), options=B_FRAMES, sounds=(Sound(),), odd="variable frame rate"),
    case("vfr mkv", ".mkv", pts=vfr(14, [33, 34, 100, 17]), options=B_FRAMES, odd="variable frame rate"),
    case("vfr ts", ".ts", pts=vfr(14, [3003, 3753, 9000, 1500]), options=B_FRAMES, odd="variable frame rate"),
    case("late start", pts=vfr(10, [512], start=12800), sounds=(Sound(delay=1.0),), odd="begins at 1 s"),
    case("late picture", pts=vfr(10, [512], start=6400), sounds=(Sound(),), odd="the film begins 0.5 s after its sound"),
    case("late sound", ".mkv", sounds=(Sound(delay=0.35),), odd="sound begins 0.35 s after the film"),
    case("early sound ts", ".ts", pts=vfr(12, [3600], start=45000), sounds=(Sound("mp2"),), odd="sound begins 0.5 s early"),
    case("one frame", pts=(0,), odd="one frame"),
    case("one frame mkv", ".mkv", pts=(0,), odd="one frame"),
    case("one frame ts", ".ts", pts=(0,), odd="one frame"),
    case("two frames", ".mkv", pts=(0, 40), odd="two frames"),
    case("two frames far apart", pts=(0, 12800 * 3), odd="two frames, 3 s apart"),
    case("hour without a frame", ".mkv", pts=(0, 40, 3_600_040, 3_600_080), odd="a gap of an hour"),
    case("hour without a frame mp4", pts=(0, 512, 512 * 90_001, 512 * 90_002), odd="a gap of an hour"),
    case("coarse clock", ".nut", **FFV1, time_base=Fraction(1, 2), pts=(0, 1, 2, 5, 6), rate=Fraction(2), odd="ticks of 0.5 s"),
    case("clock of 1 us", time_base=Fraction(1, 10**6), pts=vfr(8, [40_000, 40_001, 999]), odd="ticks of 1 us"),
    case("clock of 1 ns", ".nut", **FFV1, time_base=Fraction(1, 10**9), pts=vfr(8, [40_000_000, 33_366_667]),
         odd="ticks of 1 ns"),
    case("ts at five hours", ".ts", pts=vfr(12, [3600], start=5 * 3600 * 90000), sounds=(Sound("mp2", delay=5 * 3600 + 0.4),),
         options=B_FRAMES, odd="clock starts at 5 h, sound 0.4 s later"),
    case("ts wraps", ".ts", pts=vfr(12, [3600], start=2**33 - 5 * 3600 - 126_000),
         odd="its 33-bit clock overflows in the middle"),
    case("120 fps", rate=Fraction(120), time_base=Fraction(1, 15360), pts=vfr(24, [128]), options=B_FRAMES,
         odd="120 frames a second"),
    case("edit list", pts=vfr(24, [512]), options=B_FRAMES, sounds=(Sound(),), shown=tuple(range(12, 24)),
         edit=partial(with_edit, seconds=Fraction(12, 25), timescales=(12800, 48000)), odd="an edit list cuts its first 0.48 s"),
    case("edit list mov", ".mov", pts=vfr(24, [512]), options=INTRA, shown=tuple(range(6, 24)),
         edit=partial(with_edit, seconds=Fraction(6, 25), timescales=(12800,)), odd="an edit list cuts its first 6 frames"),
    case("joined ts", ".ts", pts=vfr(30, [3600]), options=INTRA, edit=lambda path: joined(path, path),
         shown=(*range(30), *range(30)), times=tuple(Fraction(n, 25) for n in range(60)),
         odd="two recordings; its clock is set back"),
]  # fmt: skip

CONTAINERS = [
    case("transport stream", ".ts", options=B_FRAMES, sounds=(Sound(codec="mp2"),)),
    case("transport stream aac", ".ts", sounds=(Sound(),), odd="AAC with ADTS headers"),
    case("transport stream hevc", ".ts", "libx265", options=X265, size=HD, sounds=(Sound("ac3"),)),
    case("blu-ray stream", ".m2ts", options=B_FRAMES, sounds=(Sound("ac3"),), muxer="mpegts",
         muxer_options={"mpegts_m2ts_mode": "1"}, odd="192-byte packets"),
    case("mpeg2 ts", ".ts", "mpeg2video", options=MPEG, sounds=(Sound("mp2"),), **CFR),
    case("mpeg ps", ".mpg", "mpeg2video", options=MPEG, sounds=(Sound("mp2"),), **CFR),
    case("mpeg1 ps", ".mpg", "mpeg1video", options=MPEG, color=None, sounds=(Sound("mp2"),), **CFR,
         odd="chroma sited in the centre"),
    case("dvd vob", ".vob", "mpeg2video", options=MPEG, sounds=(Sound("ac3"),), sar=Fraction(16, 15), color=(1, 5, 6, 5), **CFR),
    case("raw h264", ".h264", muxer="h264", options=B_FRAMES, **CFR, odd="no container, no clock", clock="none"),
    case("raw hevc", ".hevc", "libx265", muxer="hevc", options=X265, size=HD, **CFR, odd="no container, no clock", clock="none"),
    case("raw mpeg2", ".m2v", "mpeg2video", muxer="mpeg2video", options=MPEG, **CFR, odd="no container, no clock", clock="none"),
    case("raw mpeg1", ".m1v", "mpeg1video", muxer="mpeg1video", options=MPEG, color=None, **CFR, odd="no container, no clock",
         clock="none"),
    case("raw mpeg4", ".m4e", "mpeg4", muxer="m4v", options=MPEG, color=None, **CFR, odd="no container, no clock", clock="none"),
    case("raw mjpeg", ".mjpeg", "mjpeg", muxer="mjpeg", options={"q": "2"}, pix_fmt="yuvj420p", color=None, **CFR,
         odd="no container"),
    case("raw av1", ".obu", "libsvtav1", muxer="obu", options={"preset": "12", "crf": "10"}, **CFR, odd="no container"),
    case("ivf", ".ivf", "libvpx-vp9", options=VPX, **CFR),
    case("flv", ".flv", sounds=(Sound(),), **MILLI),
    case("flv late", ".flv", sounds=(Sound(delay=5.0),), time_base=MS, pts=vfr(12, [40], start=5000), odd="begins at 5 s"),
    case("flv sorenson", ".flv", "flv1", options={"b": "3M"}, color=None, sounds=(Sound("libmp3lame", rate=44100),), **MILLI),
    case("ogv vp8", ".ogv", "libvpx", options={"b": "2M"}, color=None, sounds=(Sound("libopus"),), **CFR),
    case("avi", ".avi", "mpeg4", options={"b": "2M"}, color=None, sounds=(Sound("libmp3lame"),), **CFR, clock="file"),
    case("avi b-frames", ".avi", "mpeg4", options=MPEG, color=None, **CFR, odd="only decode times, out of order", clock="none"),
    case("avi h264", ".avi", options=B_FRAMES, sounds=(Sound("ac3"),), **CFR, odd="only decode times, out of order",
         clock="none"),
    case("avi msmpeg4", ".avi", "msmpeg4", options={"b": "3M"}, color=None, **CFR),
    case("avi huffyuv", ".avi", "huffyuv", options={}, pix_fmt="yuv422p", color=None, sounds=(Sound("pcm_s16le"),), **CFR),
    case("avi ffvhuff", ".avi", "ffvhuff", options={}, color=None, **CFR),
    case("avi utvideo", ".avi", "utvideo", options={}, pix_fmt="yuv444p", **CFR),
    case("avi mjpeg", ".avi", "mjpeg", options={"q": "2"}, pix_fmt="yuvj422p", color=None, sounds=(Sound("pcm_s16le"),), **CFR),
    case("avi raw", ".avi", "rawvideo", options={}, color=None, **CFR),
    case("avi magicyuv", ".avi", "magicyuv", options={}, pix_fmt="yuv422p", color=None, **CFR),
    case("avi zlib", ".avi", "zlib", options={}, pix_fmt="bgr24", color=None, **CFR),
    case("avi screen", ".avi", "zmbv", options={}, pix_fmt="bgr0", color=None, **CFR),
    case("avi cinepak", ".avi", "cinepak", options={}, pix_fmt="rgb24", color=None, **{**CFR, "pts": (0, 1, 2)}),
    case("avi asus", ".avi", "asv2", options={"b": "8M"}, color=None, **CFR),
    case("avi snow", ".avi", "snow", options={"b": "8M", "strict": "experimental"}, pix_fmt="yuv420p", color=None, **CFR),
    case("avi msmpeg4v2", ".avi", "msmpeg4v2", options={"b": "3M"}, color=None, sounds=(Sound("adpcm_ms"),), **CFR,
         stated="audio stream 1"),
    case("avi y41p", ".avi", "y41p", options={}, pix_fmt="yuv411p", color=None, **CFR),
    case("avi jpeg2000", ".avi", "jpeg2000", options={"pred": "1"}, color=None, **CFR),
    case("mkv snow", ".mkv", "snow", options={"b": "8M"}, pix_fmt="yuv444p", color=None),
    case("mkv vp8", ".mkv", "libvpx", options=VPX, color=None),
    case("mov svq1", ".mov", "svq1", options={"b": "5M"}, pix_fmt="yuv410p", color=None, size=(96, 64), **CFR),
    case("mov jpeg2000", ".mov", "jpeg2000", options={"pred": "1"}, pix_fmt="yuv422p10le", **CFR),
    case("raw h261", ".h261", "h261", muxer="h261", options={"b": "5M"}, size=(176, 144), color=None, **CFR, clock="file"),
    case("raw h263", ".h263", "h263", muxer="h263", options={"b": "5M"}, size=(176, 144), color=None, **CFR, clock="file"),
    case("realvideo", ".rm", "rv20", options={"b": "3M"}, size=(128, 96), color=None, **CFR),
    case("flash screen", ".flv", "flashsv", options={}, pix_fmt="bgr24", color=None, **MILLI),
    case("f4v", ".f4v", options=B_FRAMES, sounds=(Sound(),), muxer="f4v"),
    case("3g2", ".3g2", "mpeg4", options={"b": "3M"}, color=None, muxer="3g2", **CFR),
    case("ismv", ".ismv", muxer="ismv", sounds=(Sound(),), clock="file"),
    case("game", ".roq", "roqvideo", options={}, pix_fmt="yuvj444p", color=None, size=(64, 64), time_base=Fraction(1, 30),
         rate=Fraction(30), pts=vfr(6, [1])),
    case("video cd", ".mpg", "mpeg1video", muxer="vcd", options={"b": "1150k"}, color=None, size=(352, 288),
         sounds=(Sound("mp2"),),
         **{**CFR, "pts": vfr(6, [1])}),
    case("wmv", ".wmv", "wmv2", options={"b": "3M"}, color=None, sounds=(Sound("wmav2", bit_rate=128_000),), **MILLI,
         stated="audio stream 1"),
    case("asf wmv1", ".asf", "wmv1", options={"b": "3M"}, color=None, **MILLI),
    case("3gp", ".3gp", "mpeg4", options={"b": "3M"}, color=None, sounds=(Sound(),), **CFR),
    case("3gp h263", ".3gp", "h263", options={"b": "3M"}, color=None, size=(128, 96), **CFR),
    case("mxf", ".mxf", "mpeg2video", options={"b": "5M"}, sounds=(Sound("pcm_s16le"),), **CFR),
    case("mxf h264", ".mxf", options=INTRA, pix_fmt="yuv422p10le", size=HD, **CFR),
    case("mxf dnxhr", ".mxf", "dnxhd", options={"profile": "dnxhr_sq"}, pix_fmt="yuv422p", size=(256, 120), **CFR),
    case("gxf", ".gxf", "mpeg2video", options=MPEG, size=(720, 512), color=None, **{**CFR, "pts": (0, 1, 2, 3)}, clock="file",
         stated="data stream 1"),
    case("nut", ".nut", **FFV1, sounds=(Sound("flac"),), **CFR),
    case("y4m", ".y4m", "wrapped_avframe", options={}, color=None, time_base=Fraction(1001, 30000), pts=vfr(12, [1])),
    case("wtv", ".wtv", "mpeg2video", options=MPEG, sounds=(Sound("mp2"),), **CFR),
    case("dv", ".dv", "dvvideo", options={}, pix_fmt="yuv420p", size=(720, 576), color=None, time_base=Fraction(1, 25), pts=(0,
         1, 2),
         stated="interlacing"),
    case("swf", ".swf", "flv1", options={"b": "3M"}, color=None, **CFR),
    case("webm vp9", ".webm", "libvpx-vp9", options={**VPX, "b": "0"}, sounds=(Sound("libopus"),)),
    case("webm vp8", ".webm", "libvpx", options=VPX, sounds=(Sound("vorbis"),), color=None),
    case("webm av1", ".webm", "libsvtav1", options={"preset": "12", "crf": "10"}, sounds=(Sound("libopus"),)),
    case("mp4 av1", codec="libsvtav1", options={"preset": "12", "crf": "10"}, sounds=(Sound(),)),
    case("mp4 hevc", codec="libx265", options=X265, size=HD, sounds=(Sound("ac3"),)),
    case("mp4 mpeg4", codec="mpeg4", options=MPEG, color=None, sounds=(Sound("libmp3lame"),)),
    case("mov", ".mov", sounds=(Sound("pcm_s16le"),)),
    case("m4v", ".m4v", sounds=(Sound(title="main"),)),
    case("fragmented", muxer_options={"movflags": "frag_keyframe+empty_moov"}, sounds=(Sound(),), odd="fragments", clock="file"),
    case("mjpeg 444", ".mov", "mjpeg", options={"q": "2"}, pix_fmt="yuvj444p", color=(2, 1, 1, 6)),
    case("mjpeg", ".mov", "mjpeg", options={"q": "2"}, pix_fmt="yuvj420p", color=(2, 1, 1, 6)),
    case("gif", ".gif", "gif", options={}, pix_fmt="rgb8", color=None, time_base=Fraction(1, 100), pts=vfr(12, [4]),
         odd="dithered"),
    case("apng", ".apng", "apng", options={}, pix_fmt="rgb24", color=None, **CFR),
]  # fmt: skip

MP2, FRENCH = Sound("mp2"), Sound("ac3", "fra", default=False)
COMMENT = Sound("ac3", "eng", "Kommentar: Größe", default=False, flags=int(Disposition.comment))
DEAF = Words("srt", "eng", title="SDH", flags=int(Disposition.hearing_impaired))
CHAPTERS = ((0, 0.2, "eins"), (0.2, 0.48, "zwei"))

COMPANY = [
    case("two sounds", ".mkv", sounds=(Sound(title="main"), Sound("ac3", "fra", "commentary", default=False))),
    case("five sounds", ".mkv", sounds=(Sound(), FRENCH, COMMENT, Sound("libopus", "jpn", default=False), Sound("flac", "deu",
         default=False))),
    case("two sounds mp4", sounds=(Sound(), Sound("ac3", "fra", default=False))),
    case("two sounds ts", ".ts", sounds=(MP2, Sound("ac3", "fra"))),
    case("commentary", ".mkv", sounds=(Sound(), COMMENT), odd="flag and title of a commentary"),
    case("surround", ".mkv", sounds=(Sound("ac3", layout="5.1(side)"), Sound("flac", layout="7.1", default=False))),
    case("flac and opus", ".mkv", sounds=(Sound("flac"), Sound("libopus", "jpn"))),
    case("pcm and alac", ".mov", sounds=(Sound("pcm_s24le"), Sound("alac", "fra", default=False))),
    case("mov to mp4 pcm", ".mov", sounds=(Sound("pcm_s16le"),), output=".mp4", odd="PCM that goes into mp4"),
    case("telephone sound", ".mov", sounds=(Sound("pcm_mulaw", rate=8000, layout="mono"),)),
    case("float sound", ".mov", sounds=(Sound("pcm_f32le"), Sound("pcm_alaw", rate=8000, layout="mono", default=False))),
    case("adpcm", ".avi", "mpeg4", options={"b": "3M"}, color=None, sounds=(Sound("adpcm_ima_wav", rate=44100),), **CFR,
         clock="file", stated="audio stream 1"),
    case("phone sound", ".3gp", sounds=(Sound("aac", rate=22050, layout="mono"),)),
    case("vorbis", ".webm", "libvpx-vp9", options=VPX, sounds=(Sound("vorbis"),)),
    case("eac3 in ts", ".ts", sounds=(Sound("eac3"),)),
    case("wavpack", ".mkv", sounds=(Sound("wavpack"), Sound("tta", default=False))),
    case("subtitles", ".mkv", words=(Words("srt"), Words("ass", "fra", forced=True))),
    case("hearing impaired", ".mkv", words=(DEAF, Words("srt", "fra")), odd="flag of subtitles for the deaf"),
    case("pictures as subtitles", ".mkv", words=(Words("dvbsub"), Words("dvdsub", "fra"))),
    case("dvb subtitles", ".ts", pts=vfr(12, [3600], start=90000), words=(Words("dvbsub", delay=1.0),)),
    case("webvtt mkv", ".mkv", words=(Words("webvtt", "fra"),)),
    case("ssa and plain text", ".mkv", words=(Words("ass"), Words("text", "fra"))),
    case("mov_text", words=(Words("mov_text", "spa"),)),
    case("webvtt", ".webm", "libvpx-vp9", options=VPX, words=(Words("webvtt"),)),
    case("ass to mp4", ".mkv", words=(Words("ass"),), output=".mp4", stated="subtitle stream 1"),
    case("subtitles of a mov", ".mov", words=(Words("mov_text", "fra"), Words("mov_text", "eng"))),
    case("chapters mkv", ".mkv", chapters=CHAPTERS, tags={"title": "Ein Film"}),
    case("chapters mp4", chapters=((0, 0.2, "one"), (0.2, 0.48, "two")), tags={"title": "A Film", "artist": "A B"}),
    case("chapters mov", ".mov", chapters=CHAPTERS, sounds=(Sound(),)),
    case("chapters to ts", chapters=CHAPTERS, options=B_FRAMES, output=".ts", stated="chapters, data stream 1, dispositions"),
    case("unicode", ".mkv", tags={"title": "映画 Ünïcode 🎞", "comment": "zwei\nZeilen"}, chapters=((0, 0.48, "Глава №1"),),
         labels={"title": "ταινία"}),
    case("unicode mp4", tags={"title": "映画 🎞", "comment": "Ü"}, chapters=((0, 0.48, "Глава №1"),)),
    case("own tags", ".mkv", tags={"SERIES": "42", "x-own": "kept"}, labels={"language": "jpn"},
         odd="tags and a language of its own"),
    case("fonts", ".mkv", fonts=("one.ttf", "two.ttf"), words=(Words("ass"),)),
    case("fonts to mp4", ".mkv", fonts=("one.ttf",), output=".mp4", stated="attachments"),
    case("cover mp4", sounds=(Sound(),), edit=partial(with_cover, suffix=".mp4"), odd="cover art"),
    case("cover png mp4", edit=partial(with_cover, suffix=".mp4", kind="PNG"), odd="cover art, PNG"),
    case("cover mkv", ".mkv", sounds=(Sound("flac"),), edit=partial(with_cover, suffix=".mkv"), odd="cover art"),
    case("cover png mkv", ".mkv", edit=partial(with_cover, suffix=".mkv", kind="PNG"), odd="cover art, PNG"),
    case("timecode mov", ".mov", labels={"timecode": "01:02:03:04"}, **CFR, odd="a timecode track"),
    case("timecode mp4", labels={"timecode": "10:00:00:00"}, **CFR, odd="a timecode track"),
    case("second film mkv", ".mkv", options=B_FRAMES, edit=partial(twice, suffix=".mkv"), odd="two films beside each other"),
    case("second film mp4", options=B_FRAMES, edit=partial(twice, suffix=".mp4"), odd="two films beside each other"),
]  # fmt: skip


def stored(name: str, pix_fmt: str, **facts: Any) -> Case:
    """FFV1 in Matroska, upscaled into FFV1's nearest lossy friend: what sample layouts become."""
    return case(name, ".mkv", pix_fmt=pix_fmt, **{**FFV1, "size": HD, **facts})


PICTURES = [
    case("bt601", color=(1, 6, 6, 6)),
    case("pal", color=(1, 5, 6, 5)),
    case("full range", pix_fmt="yuvj420p", color=(2, 1, 1, 1)),
    case("bt2020 10 bit", codec="libx265", pix_fmt="yuv420p10le", color=(1, 9, 14, 9), options=X265),
    case("hdr10", codec="libx265", pix_fmt="yuv420p10le", color=(1, 9, 16, 9), size=HD, options=HDR10,
         odd="mastering display, light level"),
    case("hdr10 mkv", ".mkv", "libx265", pix_fmt="yuv420p10le", color=(1, 9, 16, 9), size=HD, options=HDR10,
         odd="mastering display, light level"),
    case("hdr10 ts", ".ts", "libx265", pix_fmt="yuv420p10le", color=(1, 9, 16, 9), size=HD, options=HDR10,
         odd="mastering display, light level"),
    case("hlg", codec="libx265", pix_fmt="yuv420p10le", color=(1, 9, 18, 9), size=HD, options=X265, odd="HLG"),
    case("hlg ts", ".ts", "libx265", pix_fmt="yuv420p10le", color=(1, 9, 18, 9), size=HD, options=X265, odd="HLG"),
    case("untagged", color=None),
    case("untagged mkv", ".mkv", color=None, options=B_FRAMES),
    case("smpte 240m", ".mkv", color=(1, 7, 7, 7), odd="an early HDTV matrix"),
    stored("ycgco", "yuv444p", color=(1, 1, 1, 8), odd="YCgCo"),
    case("anamorphic", sar=Fraction(32, 27)),
    case("anamorphic mkv", ".mkv", sar=Fraction(64, 45)),
    case("hdv", ".ts", "mpeg2video", options={"b": "8M", "bf": "2"}, size=(144, 108), sar=Fraction(4, 3), **CFR,
         odd="1440x1080 in small"),
    case("rotated", rotation=90),
    case("rotated back", rotation=-90, options=B_FRAMES),
    case("upside down", rotation=180),
    case("mirrored", rotation=0, flip=True),
    case("turned and mirrored", rotation=90, flip=True),
    case("turned back and mirrored", ".mov", rotation=-90, flip=True),
    case("askew", rotation=30, odd="turned by 30 degrees"),
    case("rotated mkv", ".mkv", rotation=90),
    case("rotated to ts", rotation=90, options=B_FRAMES, output=".ts", stated="rotation, dispositions"),
    case("444", pix_fmt="yuv444p"),
    case("422", pix_fmt="yuv422p"),
    case("422 10 bit", ".mkv", pix_fmt="yuv422p10le", size=HD),
    case("444 10 bit", pix_fmt="yuv444p10le", size=HD),
    case("420 12 bit", ".mkv", "libx265", pix_fmt="yuv420p12le", size=HD, options=X265),
    case("gray h264", pix_fmt="gray"),
    case("gray hevc 12 bit", ".mkv", "libx265", pix_fmt="gray12le", size=HD, options=X265),
    stored("gray", "gray", color=None),
    stored("gray 10 bit", "gray10le", color=None),
    stored("gray 12 bit", "gray12le", color=None),
    stored("gray limited range", "gray"),
    stored("gray full range", "gray", color=(2, 1, 1, 1)),
    stored("yuv410p", "yuv410p"),
    stored("yuv411p", "yuv411p"),
    stored("yuv440p", "yuv440p"),
    stored("odd size", "yuv420p", size=(61, 47)),
    stored("odd size 410", "yuv410p", size=(61, 47)),
    stored("odd size 444", "yuv444p", size=(61, 47)),
    case("odd size vp9", ".webm", "libvpx-vp9", options=VPX, size=(61, 47)),
    case("gbrp", ".avi", "utvideo", options={}, pix_fmt="gbrp", color=None, **CFR),
    stored("gbrp 10 bit", "gbrp10le", color=None),
    stored("gbrp 12 bit", "gbrp12le", color=None),
    stored("bgra", "bgra", color=None, odd="alpha"),
    stored("bgr0", "bgr0", color=None),
    stored("rgb 16 bit", "rgb48le", color=None, stated="bit depth"),
    stored("yuva420p", "yuva420p", odd="alpha"),
    stored("yuva444p 10 bit", "yuva444p10le", odd="alpha"),
    case("h264 rgb", ".mkv", "libx264rgb", pix_fmt="rgb24", color=(2, 1, 13, 0)),
    case("webm alpha", ".webm", "libvpx-vp9", pix_fmt="yuva420p", options={**VPX, "auto-alt-ref": "0"},
         odd="alpha beside the picture"),
    case("webm vp8 alpha", ".webm", "libvpx", pix_fmt="yuva420p", options={**VPX, "auto-alt-ref": "0"}, color=None,
         odd="alpha beside the picture"),
    case("prores", ".mov", "prores_ks", options={}, pix_fmt="yuv422p10le", sounds=(Sound("pcm_s24le"),)),
    case("prores to mkv", ".mov", "prores_ks", options={}, pix_fmt="yuv422p10le", sounds=(Sound("pcm_s24le"),), output=".mkv"),
    case("prores 4444", ".mov", "prores_ks", options={"profile": "4444"}, pix_fmt="yuva444p10le", odd="alpha",
         stated="bit depth"),
    case("png mov", ".mov", "png", options={}, pix_fmt="rgb24", color=None),
    case("png mov alpha", ".mov", "png", options={}, pix_fmt="rgba", color=None, odd="alpha"),
    case("png gray", ".mov", "png", options={}, pix_fmt="gray", color=None),
    case("qtrle", ".mov", "qtrle", options={}, pix_fmt="rgb24", color=None),
    case("qtrle alpha", ".mov", "qtrle", options={}, pix_fmt="argb", color=None, odd="alpha"),
    case("qtrle 16 bit", ".mov", "qtrle", options={}, pix_fmt="rgb555be", color=None, odd="5 bits a colour"),
    case("cineform", ".mov", "cfhd", options={}, pix_fmt="yuv422p10le", size=HD),
    case("dnxhr 444", ".mov", "dnxhd", options={"profile": "dnxhr_444"}, pix_fmt="yuv444p10le", size=(256, 120)),
    case("uncompressed mov", ".mov", "rawvideo", options={}, pix_fmt="uyvy422", **CFR),
    case("v210", ".mov", "v210", options={}, pix_fmt="yuv422p10le", size=HD, **CFR),
    case("interlaced mpeg2", ".ts", "mpeg2video", options={**MPEG, "flags": "+ildct+ilme"}, **CFR, odd="coded in fields",
         stated="interlacing"),
    case("size change ts", ".ts", options=INTRA, edit=_two_sizes, shown=(*range(12), *range(12)),
         times=tuple(Fraction(n, 25) for n in range(24)), odd="another size in the middle"),
    case("size change h264", ".h264", muxer="h264", options=INTRA, **CFR, edit=_two_sizes, shown=(*range(12), *range(12)),
         times=tuple(Fraction(n, 25) for n in range(24)), odd="another size in the middle"),
]  # fmt: skip


def uncompressed(name: str, pix_fmt: str, **facts: Any) -> Case:
    """Raw samples in NUT, which takes every layout that FFmpeg has."""
    return case(name, ".nut", "rawvideo", pix_fmt=pix_fmt, **{"options": {}, "color": None, "size": HD, **CFR, **facts})


LAYOUTS = [
    uncompressed("nv12", "nv12"),
    uncompressed("nv21", "nv21"),
    uncompressed("yuyv422", "yuyv422"),
    uncompressed("uyvy422", "uyvy422", color=(1, 1, 1, 1)),
    uncompressed("yuv420p9", "yuv420p9le"),
    uncompressed("yuv420p10be", "yuv420p10be"),
    uncompressed("yuv422p12", "yuv422p12le"),
    uncompressed("yuv444p14", "yuv444p14le", stated="bit depth"),
    uncompressed("yuva422p10", "yuva422p10le", odd="alpha"),
    uncompressed("gray9", "gray9le"),
    uncompressed("gray16be", "gray16be", stated="bit depth"),
    uncompressed("gray with alpha", "ya8", odd="alpha"),
    uncompressed("black and white", "monow", odd="one bit a sample"),
    uncompressed("rgb565", "rgb565le", odd="5 and 6 bits a colour"),
    uncompressed("rgb444", "rgb444le", odd="4 bits a colour"),
    uncompressed("rgb332", "rgb8", odd="3, 3 and 2 bits"),
    uncompressed("bgr24", "bgr24"),
    uncompressed("abgr", "abgr", odd="alpha"),
    uncompressed("gbrp9", "gbrp9le"),
    uncompressed("gbrap12", "gbrap12le", odd="alpha"),
    uncompressed("gbrp float", "gbrpf32le", odd="floating point", stated="bit depth"),
    uncompressed("xyz12", "xyz12le", odd="digital cinema"),
]


def _without(count: int, *lost: int) -> tuple[int, ...]:
    return tuple(n for n in range(count) if n not in lost)


DAMAGE = [
    case("damaged mp4", options=INTRA, edit=partial(damaged, from_end=3), shown=_without(12, 9), odd="one packet is noise"),
    case("damaged mkv", ".mkv", options=INTRA, edit=partial(damaged, from_end=1), shown=_without(12, 11),
         odd="the last packet is noise"),
    case("damaged ffv1", ".mkv", "ffv1", options={"level": "3", "slicecrc": "1", "g": "1"}, edit=partial(damaged, from_end=5),
         shown=_without(12, 7), odd="one packet is noise"),
    case("damaged hevc", ".mkv", "libx265", size=HD, options={"preset": "ultrafast", "x265-params": "log-level=none:keyint=1"},
         edit=partial(damaged, from_end=4), shown=_without(12, 8), odd="one packet is noise"),
    case("cut short mp4", options=INTRA, muxer_options={"movflags": "faststart"}, edit=partial(cut_short, kept=7),
         shown=tuple(range(7)), odd="broken off after 7 of 12 frames"),
    case("cut short mkv", ".mkv", options=INTRA, edit=partial(cut_short, kept=7), shown=tuple(range(7)),
         odd="broken off after 7 of 12 frames"),
    case("cut short flv", ".flv", options=INTRA, **MILLI, edit=partial(cut_short, kept=7), shown=tuple(range(7)),
         odd="broken off after 7 of 12 frames"),
]  # fmt: skip

GROUPS = {
    "clocks": CLOCKS, "containers": CONTAINERS, "company": COMPANY, "pictures": PICTURES, "layouts": LAYOUTS, "damage": DAMAGE,
}  # fmt: skip
CASES: tuple[Case, ...] = tuple(case for cases in GROUPS.values() for case in cases)


def described(case: Case) -> tuple[str, ...]:
    """Container, codec, sample layout of a case, and what is odd about it."""
    film = case.film
    return f"{film.suffix}{f' to {case.output}' if case.output else ''}", film.codec, film.pix_fmt, case.odd
