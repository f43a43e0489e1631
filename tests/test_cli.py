"""The command line as users meet it: exit codes, one clear line, nothing left behind, JSON, pipes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.films import Film, Sound, look, make, vfr
from vsr.cli.main import main


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.strip().splitlines()


Run = Callable[..., Result]


@pytest.fixture
def vsr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, through the real entry point."""

    def run(*args: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["vsr", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Result(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(Film("clip", sounds=(Sound(),)), tmp_path_factory.mktemp("clip"))


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_help_needs_neither_torch_nor_av() -> None:
    code = (
        "import sys, vsr, vsr.cli.main as m\n"
        "sys.argv = ['vsr', 'upscale', '--help']\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'av', 'numpy', 'PIL'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--scale" in done.stdout


def test_upscale_says_what_it_made(vsr: Run, clip: Path, tmp_path: Path) -> None:
    target, report = tmp_path / "big.mp4", tmp_path / "report.json"
    done = vsr("upscale", clip, "--model", "bicubic", "--scale", "1.5", "-o", target, "--json", report, "--preset", "ultrafast")
    assert (done.code, done.err) == (0, "")
    assert f"{target}: 12 frames" in done.out
    assert "timestamps equal to the tick" in done.out
    facts = json.loads(report.read_text())
    assert facts["version"] and facts["command"] == "upscale" and facts["status"] == "ok" and facts["warnings"] == []
    assert (facts["frames_in"], facts["frames_out"], facts["output"]) == (12, 12, str(target))
    assert facts["plan"]["target"]["width"] == 96
    assert all(check["ok"] for check in facts["verify"])
    assert look(target).size == (96, 72)


def test_default_name_is_beside_the_input(vsr: Run, tmp_path: Path) -> None:
    source = make(Film("holiday", pts=(0, 512)), tmp_path)
    assert vsr("upscale", source, "--model", "bicubic", "--size", "128x96", "-q").code == 0
    assert files(tmp_path) == ["holiday.bicubic-128x96.mp4", "holiday.mp4"]


def test_dry_run_writes_nothing(vsr: Run, clip: Path, tmp_path: Path) -> None:
    done = vsr("upscale", clip, "--model", "bicubic", "--scale", "2", "-o", tmp_path / "x.mkv", "--dry-run", "--json", "-")
    assert done.code == 0
    facts = json.loads(done.out)
    assert facts["status"] == "planned"
    assert facts["estimate"]["frames"] == 12
    assert files(tmp_path) == []


BAD_USAGE = [
    ("--scale", "0.5"), ("--scale", "17"), ("--scale", "nan"), ("--scale", "x"), ("--codec", "divx"), ("--precision", "fp8"),
    ("--no-such-option",), ("--scale", "2", "--height", "100"), ("--size", "100"), ("--crf", "99"), ("--tile", "-5"),
    ("--preset", "warp"), ("--size", "100000x100000"), ("--crf", "52"), ("--tile", "\u00b2"), ("--start", "1:-30"),
    ("-o", "x.xyz"), ("-o", "noextension"), ("--encoder-option", "novalue"), ("--start", "yesterday"), ("--batch", "0"),
]  # fmt: skip


@pytest.mark.parametrize("options", BAD_USAGE, ids=" ".join)
def test_bad_usage_is_exit_code_2(
    vsr: Run, clip: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = vsr("upscale", clip, "--model", "bicubic", *options)
    assert done.code == 2, done
    assert "Traceback" not in done.err
    assert files(tmp_path) == []


def hostile_files(folder: Path, clip: Path) -> dict[str, Path]:
    """Inputs that cannot be upscaled, by what is wrong with them."""
    whole = clip.read_bytes()
    made = {
        "empty.mp4": b"",
        "text.mp4": b"this is no film\n" * 50,
        "noise.mkv": np.random.default_rng(1).bytes(20_000),
        "header.mp4": whole[:40],
        "tail.mp4": whole[len(whole) // 2 :],
        "picture.png": b"\x89PNG\r\n\x1a\n broken",
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    (folder / "folder.mp4").mkdir()
    audio = folder / "audio.m4a"
    with av.open(str(audio), "w", format="mp4") as out:
        track = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 48000, 0
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    return {p.name: p for p in folder.iterdir()} | {"missing.mp4": folder / "missing.mp4"}


def test_bad_inputs_get_one_clear_line(vsr: Run, clip: Path, tmp_path: Path) -> None:
    for name, path in hostile_files(tmp_path, clip).items():
        before = files(tmp_path)
        output = tmp_path / ("out.png" if name.endswith("png") else "out.mp4")
        done = vsr("upscale", path, "--model", "bicubic", "--scale", "2", "-o", output)
        assert done.code == 1, (name, done)
        assert len(done.lines) == 1 and done.lines[0].startswith("vsr: "), (name, done.err)
        assert name in done.lines[0], (name, done.err)
        assert files(tmp_path) == before, name


def test_outputs_are_never_overwritten_unasked(vsr: Run, clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    done = vsr("upscale", clip, "--model", "bicubic", "--scale", "2", "-o", target)
    assert done.code == 1 and "--overwrite" in done.err
    assert target.read_bytes() == b"precious"
    assert vsr("upscale", clip, "--model", "bicubic", "--scale", "2", "-o", target, "--overwrite").code == 0
    assert look(target).size == (128, 96)


def test_output_must_not_be_the_input(vsr: Run, tmp_path: Path) -> None:
    source = make(Film("same", pts=(0, 512)), tmp_path)
    before = source.read_bytes()
    done = vsr("upscale", source, "--model", "bicubic", "-o", source, "--overwrite")
    assert done.code == 1 and "input itself" in done.err
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "esrgann"), "did you mean esrgan"),
        (("--model", "nosuch.pth"), "nosuch.pth"),
        (("--model", "bicubic", "-o", "no/such/folder/x.mp4"), "no folder"),
        (("--model", "bicubic", "--device", "cuda:7"), "cuda:7"),
        (("--model", "bicubic", "--encoder", "libnosuch"), "libnosuch"),
        (("--model", "bicubic", "--encoder-option", "nosuch=1"), "nosuch"),
        (("--model", "bicubic", "-o", "x.webm", "--codec", "h264"), ".webm cannot hold h264"),
        (("--model", "bicubic", "--precision", "fp16", "--device", "cpu"), "fp16"),
        (("--model", "bicubic", "--start", "1:00:00", "-o", "x.mp4"), "no frame lies"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_stated_errors_name_the_cause(
    vsr: Run, clip: Path, options: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = vsr("upscale", clip, *options)
    assert done.code == 1, done
    assert len(done.lines) == 1 and said in done.lines[0], done.err
    assert files(tmp_path) == []


def test_json_report_of_an_error(vsr: Run, tmp_path: Path) -> None:
    done = vsr("upscale", tmp_path / "gone.mp4", "--json", "-")
    facts = json.loads(done.out)
    assert done.code == 1 and facts["status"] == "error" and "gone.mp4" in facts["error"]


def test_probe_sees_the_film(vsr: Run, clip: Path) -> None:
    done = vsr("probe", clip)
    assert done.code == 0 and "64x48" in done.out and "aac" in done.out
    facts = json.loads(vsr("probe", clip, "--json", "-").out)
    assert facts["info"]["time_base"] == "1/12800" and facts["info"]["format"]["width"] == 64


def test_models_info_tells_the_layers(vsr: Run) -> None:
    assert "  17 x: k3n64s1, PReLU\n  k3n48s1\n  PixelShuffle x4\n" in vsr("models", "info", "animevideo", "--layers").out
    told = json.loads(vsr("models", "info", "animevideo", "--layers", "--json", "-").out)["layers"]
    assert told[:2] == [{"name": "", "times": 17, "layers": ["k3n64s1", "PReLU"]}, "k3n48s1"]
    assert "layers" not in json.loads(vsr("models", "info", "animevideo", "--json", "-").out)
    assert "none: the engine" in vsr("models", "info", "bicubic", "--layers").out


def test_models_info_tells_what_is_in_a_checkpoint(vsr: Run, tmp_path: Path) -> None:
    import torch

    from vsr.models.mdsr import MDSR

    path = tmp_path / "three.pth"
    torch.save({"params": MDSR(1, num_feat=8).state_dict()}, path)
    found = json.loads(vsr("models", "info", path, "--json", "-").out)["model"]
    assert (found["architecture"], found["channels"]) == ("MDSR", "RGB in, RGB out")
    assert found["scales"] == "x2, x3, x4 in one file; the figures are those of x2"
    torch.save({"position": torch.ones(2)}, path)
    refused = vsr("models", "info", path)
    assert (refused.code, len(refused.lines)) == (1, 1)
    assert "no architecture" in refused.err


def test_a_file_does_not_hide_a_name(vsr: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bicubic").touch()
    assert "No network" in vsr("models", "info", "bicubic").out


def test_models_commands_know_their_report_before_the_work(vsr: Run, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    for command in (("convert", "animevideo", out), ("blend", "animevideo", "animevideo", "--alpha", "0", "-o", out)):
        done = vsr("models", *command, "--json", tmp_path / "no" / "folder")
        assert (done.code, len(done.lines)) == (1, 1) and "--json" in done.err, done
        assert not out.exists()
    for name, *more in (("info",), ("pull",), ("convert", out), ("export", "--onnx", tmp_path / "x.onnx")):
        done = vsr("models", name, "nope", *more, "--json", "-")
        facts = json.loads(done.out)
        assert (done.code, facts["status"], facts["command"]) == (1, "error", f"models {name}")
        assert "'nope'" in facts["error"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("convert", "animevideo", "x.pth"), 2),
        (("blend", "animevideo", "animevideo", "--alpha", "0", "-o", "x.pth"), 2),
        (("export", "animevideo", "--onnx", "x.pth"), 2),
        (("blend", "animevideo", "animevideo", "--alpha", "nan", "-o", "x.safetensors"), 2),
        (("convert", "animevideo", "x" * 300 + ".safetensors"), 1),
        (("info", "x" * 5000), 1),
        (("pull", "x" * 300), 1),
    ],
)
def test_models_commands_refuse_what_cannot_be(
    vsr: Run, arguments: tuple[str, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = vsr("models", *arguments)
    assert done.code == code and "internal error" not in done.err, done
    assert list(tmp_path.iterdir()) == []


def test_blend_is_a_number(vsr: Run, clip: Path) -> None:
    assert vsr("upscale", clip, "--model", "srgan", "--blend", "nan").code == 2


def test_models_list_and_info(vsr: Run) -> None:
    listed = vsr("models", "list").out
    assert all(name in listed for name in ("esrgan", "esrgan-anime", "animevideo", "bicubic"))
    assert "16,697,987" in vsr("models", "info", "esrgan").out
    assert vsr("models", "info", "animevidoe").code == 1
    assert {m["name"] for m in json.loads(vsr("models", "list", "--json", "-").out)["models"]} >= {"esrgan", "bicubic"}


def test_models_pull(vsr: Run) -> None:
    assert "has no weights, and needs none" in vsr("models", "pull", "bicubic").out
    assert json.loads(vsr("models", "pull", "bicubic", "--json", "-").out)["done"] == [
        "bicubic any scale: has no weights, and needs none"
    ]
    assert "is used as it is: --model net.pth" in vsr("models", "pull", "net.pth").out
    assert vsr("models", "pull", "spam").code == 1


def test_progress_as_json_lines(vsr: Run, clip: Path, tmp_path: Path) -> None:
    done = vsr("upscale", clip, "--model", "bicubic", "--scale", "2", "-o", tmp_path / "x.mp4", "--progress", "json")
    said = [json.loads(line) for line in done.lines]
    assert [p["frames"] for p in said if p["stage"] == "upscale"] == list(range(1, 13))
    assert said[-1]["stage"] == "finish" and said[0]["total"] == 12


def test_a_part_of_the_film(vsr: Run, clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "part.mp4"
    assert (
        vsr("upscale", clip, "--model", "bicubic", "--scale", "2", "-o", target, "--start", "0.16", "--duration", "0.2").code == 0
    )
    whole, part = look(clip), look(target)
    assert part.times == [t - whole.times[4] for t in whole.times[4:9]]
    assert [round(v, 2) for v in part.lumas] == [round(v, 2) for v in whole.lumas[4:9]]
    sound = part.packets["audio 1"]
    kept = {payload for _, payload in sound}
    assert 8 <= len(sound) <= 11 and kept <= {payload for _, payload in whole.packets["audio 1"]}


# --- pipes ----------------------------------------------------------------------------------------------------------------


def piped(source: bytes, *args: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "vsr", *map(str, args)], input=source, capture_output=True, check=False)


@pytest.mark.slow
def test_from_pipe_to_pipe_keeps_streams(tmp_path: Path) -> None:
    source = make(Film("piped", ".mkv", sounds=(Sound(),), time_base=Fraction(1, 1000), pts=vfr(30, [33, 50])), tmp_path)
    done = piped(source.read_bytes(), "upscale", "-", "-o", "-", "--model", "bicubic", "--scale", "2")
    assert done.returncode == 0, done.stderr
    made = tmp_path / "out.nut"
    made.write_bytes(done.stdout)
    before, after = look(source), look(made)
    moved = after.times[0] - before.times[0]  # NUT knows no negative time, and AAC begins before zero: all streams move alike
    assert [t - moved for t in after.times] == before.times and after.size == (128, 96)
    assert [p for _, p in after.packets["audio 1"]] == [p for _, p in before.packets["audio 1"]]
    assert b"30 frames" in done.stderr


@pytest.mark.slow
def test_y4m_in_gives_y4m_out() -> None:
    frames = b"".join(b"FRAME\n" + bytes([16 + 10 * n]) * 16 * 16 + b"\x80" * 128 for n in range(6))
    done = piped(
        b"YUV4MPEG2 W16 H16 F24:1 Ip A1:1 C420\n" + frames, "upscale", "-", "-o", "-", "--model", "bicubic", "--scale", "2"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"YUV4MPEG2 W32 H32 F24:1")
    with av.open(io.BytesIO(done.stdout), "r") as film:
        assert [f.to_ndarray()[0, 0] for f in film.decode(video=0)] == [16 + 10 * n for n in range(6)]


@pytest.mark.slow
def test_pipe_to_file_and_its_refusals(tmp_path: Path) -> None:
    source = make(Film("piped", ".mkv", sounds=(Sound(),), time_base=Fraction(1, 1000), pts=vfr(12, [40])), tmp_path)
    target = tmp_path / "out.mp4"
    done = piped(source.read_bytes(), "upscale", "-", "-o", target, "--model", "bicubic", "--scale", "2")
    assert done.returncode == 0, done.stderr
    assert [p for _, p in look(target).packets["audio 1"]] == [p for _, p in look(source).packets["audio 1"]]
    assert piped(b"", "upscale", "-", "-o", tmp_path / "x.mp4", "--model", "bicubic").returncode == 1
    assert piped(source.read_bytes(), "upscale", "-", "--model", "bicubic").returncode == 2
    assert files(tmp_path) == ["out.mp4", "piped.mkv"]


# --- images ---------------------------------------------------------------------------------------------------------------


def paint(path: Path, width: int = 20, height: int = 12, mode: str = "RGB") -> Path:
    rng = np.random.default_rng(len(path.name))
    size = (height, width) if mode == "L" else (height, width, len(mode))
    Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(path)
    return path


def test_one_image(vsr: Run, tmp_path: Path) -> None:
    source = paint(tmp_path / "photo.png")
    done = vsr("upscale", source, "--model", "bicubic", "--scale", "3")
    assert done.code == 0, done.err
    with Image.open(tmp_path / "photo.bicubic-x3.png") as image:
        assert (image.size, image.mode) == ((60, 36), "RGB")


def test_folder_of_images_of_any_kind(vsr: Run, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    paint(folder / "a.png", 20, 12)
    paint(folder / "b.png", 9, 31, "L")
    paint(folder / "c.jpg", 16, 16)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "notes.txt").write_text("not an image")
    done = vsr("upscale", folder, "--model", "bicubic", "--scale", "2", "--json", tmp_path / "r.json")
    made = tmp_path / "pictures.bicubic-x2"
    assert done.code == 1, "one of them failed"
    assert "broken.png" in done.err and "notes.txt" in done.err and "1 of 4" in done.lines[-1]
    assert files(made) == ["a.png", "b.png", "c.jpg"]
    with Image.open(made / "b.png") as image:
        assert (image.size, image.mode) == ((18, 62), "L")
    facts = json.loads((tmp_path / "r.json").read_text())
    assert facts["status"] == "failed" and sum(bool(i["error"]) for i in facts["images"]) == 1


def test_sequence_to_sequence_and_to_film(vsr: Run, tmp_path: Path) -> None:
    for number in range(7, 12):
        paint(tmp_path / f"f_{number:03d}.png", 16, 16)
    assert vsr("upscale", tmp_path / "f_%03d.png", "--model", "bicubic", "--scale", "2", "-o", tmp_path / "g_%03d.png").code == 0
    assert [n for n in files(tmp_path) if n.startswith("g")] == [f"g_{n:03d}.png" for n in range(7, 12)]
    film = tmp_path / "film.mkv"
    done = vsr("upscale", tmp_path / "f_%03d.png", "--model", "bicubic", "--scale", "2", "-o", film, "--fps", "24000/1001")
    assert done.code == 0, done.err
    assert len(look(film).times) == 5


def test_film_to_pattern_with_its_times(vsr: Run, tmp_path: Path) -> None:
    source = make(Film("vfr", pts=vfr(6, [512, 1024])), tmp_path)
    frames = tmp_path / "frames"
    frames.mkdir()
    done = vsr("upscale", source, "--model", "bicubic", "--scale", "2", "-o", frames / "x_%02d.png")
    assert done.code == 0, done.err
    assert files(frames) == ["timestamps.json", *(f"x_{n:02d}.png" for n in range(1, 7))]
    times = json.loads((frames / "timestamps.json").read_text())
    assert [f["pts"] for f in times["frames"]] == list(vfr(6, [512, 1024]))
