"""`vsr train`, whole: steps that help, runs that go on exactly, weights that load, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torchvision.models.vgg import cfgs, make_layers

from tests.films import Film, make
from vsr.cli.main import cli
from vsr.errors import ConfigError, JobError, ModelError, UsageError, VsrError
from vsr.frames import FrameFormat
from vsr.models import stored
from vsr.models.srresnet import SRResNet
from vsr.models.weights import load
from vsr.recipe import load_recipe, recipe_names
from vsr.train.checkpoint import checkpoints
from vsr.train.log import read_log
from vsr.train.networks import build_generator
from vsr.train.setup import crops_of, items_of
from vsr.train.trainer import Trainer
from vsr.train.validate import Figures
from vsr.train.verdict import Change, verdict

SMALL = [name for name in recipe_names() if name.endswith("_small")]
TINY = {
    "SRResNet": {"num_block": 1, "num_feat": 8}, "EDSR": {"num_block": 1, "num_feat": 8}, "MDSR": {"num_block": 1, "num_feat": 8},
    "RRDBNet": {"num_block": 1, "num_feat": 8, "num_grow": 4}, "SRVGGNetCompact": {"num_conv": 2, "num_feat": 16},
    "EDVR": {"num_feat": 16, "deformable_groups": 2, "num_extract_block": 1, "num_reconstruct_block": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with edges and texture, and a clip that moves."""
    folder = tmp_path_factory.mktemp("photos")
    y, x = np.mgrid[0:160, 0:200]
    for number in range(3):
        picture = 120 + 60 * np.sin(x / (5 + number) + y / 9) + 50 * ((x // 17 + y // (11 + number)) % 2)
        noise = np.random.default_rng(number).normal(0, 6, (160, 200, 3))
        Image.fromarray(np.clip(picture[..., None] + noise, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    y, x = np.mgrid[0:128, 0:160]
    for number in range(9):
        picture = (
            120 + 60 * np.sin((x + 2 * number) / 7) * np.cos((y + number) / 9) + 40 * (((x + 2 * number) // 16 + y // 16) % 2)
        )
        Image.fromarray(np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, 2)).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG19 with random weights: what is tested is the way of training, not the pictures."""
    layers = make_layers(cfgs["E"])
    for layer in layers:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, generator=torch.Generator().manual_seed(1))
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save({f"features.{key}": value for key, value in layers.state_dict().items()}, path)
    return path


def settings(name: str, data: Path, out: Path, vgg: object = "", **more: object) -> list[str]:
    """A shipped recipe made small enough for a test."""
    recipe = load_recipe(name)
    tiny = (
        {}
        if not recipe.network.architecture
        else {f"network.options.{key}": value for key, value in TINY[recipe.network.architecture].items()}
    )
    chosen: dict[str, object] = {
        **tiny, "data.train": data, "data.batch": 2, "data.crop": 16, "train.out": out,
        "train.log_every": 1, "train.validate_every": 0, **more,
    }  # fmt: skip
    if tiny:
        chosen["train.init"] = '""'
    if recipe.loss.perceptual:
        chosen |= {"loss.vgg": vgg, "loss.pixel_weight": 1.0}
    if recipe.loss.adversarial != "none":
        side = 32 if recipe.loss.discriminator == "SRGANDiscriminator" else 128
        chosen["data.crop"] = side // max(recipe.network.scales)
        chosen["loss.discriminator_options.num_feat"] = 4
    return [f"{key}={value}" for key, value in chosen.items()]


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli, ["train", *map(str, arguments), "--progress", "none"], catch_exceptions=True)


def sets(values: list[str]) -> list[str]:
    return [word for value in values for word in ("--set", value)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name.startswith("esrgan_x") else name for name in SMALL]
)
def test_twenty_steps_of_every_recipe_help(name: str, photos: Path, clip: Path, vgg: Path, tmp_path: Path) -> None:
    frames = load_recipe(name).data.frames
    data = clip if frames > 1 else photos
    rate = 1e-4 if name.startswith("finetune") else 2e-3
    recipe = load_recipe(name, [*settings(name, data, tmp_path, vgg), "data.degrade=bicubic", f"train.rate={rate}"])
    crops = crops_of(recipe, items_of(recipe)[0])
    trainer = Trainer(recipe, torch.device("cpu"))
    held = crops.batch(1, 0)
    pixel = []
    for step in range(21):
        losses = trainer.step(step, held)
        pixel.append(float(losses["pixel"]))
        assert all(np.isfinite(float(value)) for value in losses.values())
    assert pixel[-1] < pixel[0]


def parts_of(folder: Path) -> dict[str, Any]:
    """Digests of every tensor in the last checkpoint."""
    content = torch.load(checkpoints(folder)[-1], weights_only=True)
    found: dict[str, Any] = {}

    def walk(at: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{at}.{key}", inner)
        elif isinstance(value, list | tuple):
            for number, inner in enumerate(value):
                walk(f"{at}.{number}", inner)
        else:
            found[at] = (
                value.tobytes() if isinstance(value, np.ndarray) else value.numpy().tobytes() if torch.is_tensor(value) else value
            )

    walk("", content["parts"])
    return found


def apart(one: Path, other: Path) -> list[str]:
    """What differs between two folders' last checkpoints, by name."""
    first, second = parts_of(one), parts_of(other)
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


GAN = ("srgan_mse_x4_small", "train.average=0.9", "loss.adversarial=relativistic", "train.steps=40")


def command(name: str, options: list[str], *more: str) -> list[str]:
    return [sys.executable, "-m", "vsr", "train", name, *sets(options), "--progress", "none", *more]


def test_killed_and_resumed_equals_undisturbed(photos: Path, tmp_path: Path) -> None:
    name, *more = GAN
    options = {
        where: [*settings(name, photos, tmp_path / where), *more, "train.save_minutes=0"] for where in ("straight", "killed")
    }
    # both by processes of their own: how many threads this one has, tests before have decided, and sums depend on it
    ended([subprocess.Popen(command(name, options["straight"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)])
    process = subprocess.Popen(command(name, options["killed"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = monotonic() + 120
    while not (tmp_path / "killed" / "step-00000015.pt").is_file():
        assert process.poll() is None, process.communicate()
        assert monotonic() < until
        sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert checkpoints(tmp_path / "killed")[-1].stem < "step-00000040", "it was over before it could be killed"
    refused = run(name, *sets(options["killed"]))
    assert isinstance(refused.exception, JobError) and "--resume" in str(refused.exception)
    more = ["--resume"]
    ended([subprocess.Popen(command(name, options["killed"], *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)])
    assert apart(tmp_path / "killed", tmp_path / "straight") == []
    losses = [[{**line, "seconds": 0} for line in read_log(tmp_path / where)] for where in ("straight", "killed")]
    assert losses[0] == losses[1]
    weights = [stored.read(tmp_path / where / f"{name}.safetensors") for where in ("straight", "killed")]
    assert weights[0] is not None and weights[1] is not None and weights[0].sha256 == weights[1].sha256


def test_an_interrupt_saves_and_says_how_to_go_on(photos: Path, tmp_path: Path) -> None:
    name, *more = GAN
    options = [*settings(name, photos, tmp_path / "out"), *more, "train.steps=100000"]
    process = subprocess.Popen(
        command(name, options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    until = monotonic() + 120
    while len(read_log(tmp_path / "out")) < 3:
        assert process.poll() is None and monotonic() < until
        sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume goes on from there" in told
    assert len(told.splitlines()) == 1
    (saved,) = checkpoints(tmp_path / "out")
    assert int(saved.stem.removeprefix("step-")) == read_log(tmp_path / "out")[-1]["step"]


def started(name: str, options: list[str], world: int, *more: str) -> list[subprocess.Popen[str]]:
    """The processes that torchrun would start."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29500 + os.getpid() % 1000), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            command(name, options, "--device", "cpu", *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **address, "WORLD_SIZE": str(world), "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(world)
    ]  # fmt: skip


def ended(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told


@pytest.mark.slow
def test_two_processes_that_are_killed_go_on_exactly(photos: Path, tmp_path: Path) -> None:
    name, *more = GAN
    options = {
        where: [*settings(name, photos, tmp_path / where), *more, "data.batch=4", "train.save_minutes=0"]
        for where in ("straight", "killed")
    }
    ended(started(name, options["straight"], 2))
    processes = started(name, options["killed"], 2)
    until = monotonic() + 200
    while not (tmp_path / "killed" / "step-00000015.pt").is_file():
        assert all(process.poll() is None for process in processes) and monotonic() < until
        sleep(0.005)
    for process in processes:
        process.send_signal(signal.SIGKILL)
    for process in processes:
        process.communicate()
    assert checkpoints(tmp_path / "killed")[-1].stem < "step-00000040", "it was over before it could be killed"
    ended(started(name, options["killed"], 2, "--resume"))
    assert apart(tmp_path / "killed", tmp_path / "straight") == []


@pytest.mark.slow
def test_two_processes_train_what_one_would(photos: Path, tmp_path: Path) -> None:
    name = "edsr_baseline_x2_small"
    for where, world in (("two", 2), ("one", 1)):
        options = [*settings(name, photos, tmp_path / where), "data.batch=4", "train.steps=20", "train.save_minutes=0"]
        ended(started(name, options, world))
    one, two = (stored.read(tmp_path / where / f"{name}.safetensors") for where in ("one", "two"))
    assert one is not None and two is not None
    apart = max(float((one.state[key] - two.state[key]).abs().max()) for key in one.state)
    assert apart < 1e-4  # sums in another order, twenty steps of Adam


def test_what_is_trained_is_measured_and_loads(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = tmp_path / "told.json"
    options = settings(
        "edsr_baseline_x2_small", photos, out, **{"data.validate": photos, "train.steps": 6, "train.validate_every": 3}
    )
    result = run("edsr_baseline_x2_small", *sets(options), "--json", told)
    assert result.exit_code == 0, result.exception
    facts = json.loads(told.read_text())
    assert facts["status"] == "ok" and facts["steps"] == 6
    assert facts["best"]["step"] in (3, 6) and facts["best"]["metrics"]["psnr_y"] > 5
    network = load(facts["weights"], 2.0)
    assert (network.spec.architecture, network.spec.scale) == ("EDSR", 2)
    kept = stored.read(Path(facts["weights"]))
    assert kept is not None and kept.origin.notes["recipe"] == "edsr_baseline_x2_small"
    assert [line["step"] for line in read_log(out) if line["kind"] == "validation"] == [3, 6]
    assert len(list((out / "samples").glob("*.png"))) == 2
    bench = CliRunner().invoke(
        cli,
        [
            "bench",
            "quality",
            "--dataset",
            str(photos),
            "--scale",
            "2",
            "--model",
            facts["weights"],
            "--no-cache",
            "--json",
            str(told),
        ],
    )
    assert bench.exit_code == 0, bench.exception
    measured = json.loads(told.read_text())["models"]
    (figures,) = measured.values()
    assert figures["mean"]["psnr_y"] == pytest.approx(facts["best"]["metrics"]["psnr_y"], abs=0.05)


def test_weights_go_from_one_scale_to_another(photos: Path, tmp_path: Path) -> None:
    first = settings("edsr_baseline_x2_small", photos, tmp_path / "x2", **{"train.steps": 2})
    assert run("edsr_baseline_x2_small", *sets(first)).exit_code == 0
    weights = tmp_path / "x2" / "edsr_baseline_x2_small.safetensors"
    second = [it for it in settings("edsr_baseline_x4_small", photos, tmp_path / "x4", **{"train.steps": 1}) if "init" not in it]
    result = run("edsr_baseline_x4_small", *sets(second), "--init", weights)
    assert result.exit_code == 0, result.exception
    assert "new, since it has none that fit: " in result.output
    before, after = stored.read(weights), stored.read(tmp_path / "x4" / "edsr_baseline_x4_small.safetensors")
    assert before is not None and after is not None
    assert after.origin.parents[0] == before.sha256
    with pytest.raises(ModelError, match="none of its weights fits"):
        Trainer(load_recipe("srresnet_x4_small", [f"train.init={weights}"]), torch.device("cpu"))


def test_divergence_stops_with_advice(photos: Path, tmp_path: Path) -> None:
    options = settings("edsr_baseline_x2_small", photos, tmp_path / "out", **{"train.steps": 200, "train.rate": 1e9})
    result = run("edsr_baseline_x2_small", *sets(options))
    assert isinstance(result.exception, JobError)
    assert "diverged" in str(result.exception) and "train.rate" in str(result.exception)


def test_a_sheet_of_pairs_before_any_hour_is_spent(photos: Path, tmp_path: Path) -> None:
    options = settings("compact_x4_small", photos, tmp_path / "out")
    result = run("compact_x4_small", *sets(options), "--preview", 3)
    assert result.exit_code == 0, result.exception
    with Image.open(tmp_path / "out" / "preview.png") as sheet:
        assert sheet.width > 256
    assert not checkpoints(tmp_path / "out")


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (["data.train=/none"], "no such file or folder"), (["data.degrade=blur"], "blur"),
        (["network.architecture=EDSRR"], "EDSRR"),
        (["network.options.blocks=3"], "blocks"), (["train.stepz=3"], "did you mean steps"), (["train.steps=0"], "steps"),
        (["network.scales=[7]"], "scale 7"), (["data.crop=4000"], "smaller than the crop"), (["train.init=nonsense"], "nonsense"),
        (["train.init=edsr_baseline_x2.safetensors"], "vsr train edsr_baseline_x2)"),
        (["data.validate=/none"], "/none"),
    ],
)  # fmt: skip
def test_what_is_refused(photos: Path, tmp_path: Path, extra: list[str], told: str) -> None:
    result = run("edsr_baseline_x2_small", *sets([*settings("edsr_baseline_x2_small", photos, tmp_path / "out"), *extra]))
    assert isinstance(result.exception, VsrError), result.exception
    assert told in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_recipes_are_listed() -> None:
    result = run("--list")
    assert result.exit_code == 0
    assert all(name in result.output for name in recipe_names())
    assert isinstance(run().exception, UsageError)
    assert isinstance(run("edsr_baseline_x2").exception, UsageError)  # no data


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes of ten frames."""
    y, x = np.mgrid[0:96, 0:128]

    def draw(number: int, format: FrameFormat) -> list[np.ndarray[Any, Any]]:
        scene = number // 10
        picture = 120 + 50 * np.sin((x + number) / (4 + scene)) + 50 * (((x + 9 * scene) // 13 + y // (7 + 3 * scene)) % 2)
        chroma = [np.full(shape, 128, np.uint8) for shape in format.plane_shapes[1:]]
        return [np.clip(picture - 25 * scene, 0, 255).astype(np.uint8), *chroma]

    pts = tuple(range(0, 40 * 512, 512))
    return make(Film("four scenes", size=(128, 96), pts=pts, draw=draw), tmp_path_factory.mktemp("film"))


def test_a_fine_tuned_network_must_be_better_where_it_was_not_trained(film: Path, tmp_path: Path) -> None:
    first = settings("compact_x2_small", film, tmp_path / "first", **{"train.steps": 3, "data.degrade": "bicubic"})
    assert run("compact_x2_small", *sets(first)).exit_code == 0
    weights = tmp_path / "first" / "compact_x2_small.safetensors"
    options = [
        *settings("finetune_video_x4_small", film, tmp_path / "tuned"), "network.scales=[2]", "train.steps=40", "train.average=0",
        f"train.init={weights}", "data.degrade=bicubic", "train.rate=3e-3", "data.hold_back=0.5",
    ]  # fmt: skip
    told = tmp_path / "told.json"
    result = run("finetune_video_x4_small", *sets(options), "--json", told)
    assert result.exit_code == 0, result.exception
    verdict = json.loads(told.read_text())["verdict"]
    assert verdict["scenes"] == 2 and verdict["psnr"]["mean"] > 0.1 and verdict["psnr"]["low"] > 0
    assert "held back" in result.output

    worse = [it if not it.startswith(("train.out", "train.steps")) else f"train.out={tmp_path / 'worse'}" for it in options]
    worse = [it for it in worse if not it.startswith("train.rate")] + ["train.rate=1e-12", "train.steps=1"]
    result = run("finetune_video_x4_small", *sets(worse))
    assert isinstance(result.exception, JobError) and "no better" in str(result.exception)
    assert not list((tmp_path / "worse").glob("*.safetensors"))
    assert run("finetune_video_x4_small", *sets(worse), "--resume", "--force").exit_code == 0
    assert list((tmp_path / "worse").glob("*.safetensors"))


def judged(psnr: dict[str, float], lpips: dict[str, float] | None = None) -> Figures:
    return Figures(0.0, 0.0, psnr, lpips or {})


def test_a_verdict_draws_scenes_not_frames() -> None:
    before = {f"{scene}/{at}": 30.0 for scene in range(4) for at in range(5)}
    sure = verdict(judged(before), judged({name: value + 1 for name, value in before.items()}), 0)
    assert (sure.psnr, sure.pictures, sure.scenes, sure.better) == (Change(1, 1, 1), 20, 4, True)
    mixed = {name: value + (3 if name.startswith("0") else -0.5) for name, value in before.items()}
    unsure = verdict(judged(before), judged(mixed), 0)
    assert unsure.psnr.mean == pytest.approx(0.375) and unsure.psnr.low == -0.5 and not unsure.better
    lone = verdict(judged({"0/0": 1.0}), judged({"0/0": 2.0}), 0)
    assert lone.better and "one scene" in str(lone) and "1 scene that was" in str(lone)


def test_a_network_trained_against_a_critic_is_judged_by_eye() -> None:
    before = judged({"0/0": 30.0, "1/0": 30.0}, {"0/0": 0.3, "1/0": 0.4})
    after = judged({"0/0": 28.0, "1/0": 28.5}, {"0/0": 0.2, "1/0": 0.35})
    assert verdict(before, after, 0, by_eye=True).better
    assert not verdict(before, after, 0).better
    assert not verdict(after, before, 0, by_eye=True).better
    assert "LPIPS" in str(verdict(before, after, 0))
    assert not verdict(judged(before.pictures), judged(after.pictures), 0, by_eye=True).better  # no LPIPS: PSNR has to do


def test_any_network_that_loads_can_be_fine_tuned(photos: Path, tmp_path: Path) -> None:
    from spandrel.architectures.RCAN import RCAN

    torch.manual_seed(0)
    net = RCAN(scale=2, n_resgroups=1, n_resblocks=2, n_feats=8, reduction=4)
    torch.save({"params": net.state_dict()}, tmp_path / "own.pth")
    options = [
        f"data.train={photos}", "data.hold_back=0", "data.crop=16", "data.batch=1", "data.degrade=bicubic", "network.scales=[2]",
        "train.steps=4", f"train.out={tmp_path / 'out'}", "train.periods=[4]",
    ]  # fmt: skip
    result = run("finetune_video_x4_small", *sets(options), "--init", tmp_path / "own.pth")
    assert result.exit_code == 0, result.exception
    tuned = load(str(tmp_path / "out" / "finetune_video_x4_small.safetensors"), 2.0)
    assert (
        tuned.spec.architecture == "RCAN"
        and tuned.spec.weights_sha256 != load(str(tmp_path / "own.pth"), 2.0).spec.weights_sha256
    )
    result = run("finetune_video_x4_small", *sets([*options, 'train.init=""', f"train.out={tmp_path / 'b'}"]))
    assert isinstance(result.exception, ConfigError) and "--init" in str(result.exception)


def test_tensorboard_is_an_extra(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as where it is not installed
    options = settings("edsr_baseline_x2_small", photos, tmp_path / "out", **{"train.steps": 1, "train.tensorboard": "true"})
    result = run("edsr_baseline_x2_small", *sets(options))
    assert isinstance(result.exception, ConfigError) and "vsr[tensorboard]" in str(result.exception)


def test_tensorboard_gets_the_log(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    options = settings("edsr_baseline_x2_small", photos, tmp_path / "out", **{"train.steps": 2, "train.tensorboard": "true"})
    assert run("edsr_baseline_x2_small", *sets(options)).exit_code == 0
    assert list((tmp_path / "out" / "tensorboard").glob("events*"))


def test_a_gan_begins_with_the_very_network_that_it_is_given(tmp_path: Path) -> None:
    """Published SRResNets differ in biases, slopes and their last layer: weights that fit by chance would be another function."""
    first = SRResNet(1, num_feat=8, tanh=True, conv_bias=True, channel_slopes=True, bn_eps=1e-3)
    options: dict[str, Any] = {
        "num_block": 1,
        "num_feat": 8,
        "tanh": True,
        "conv_bias": True,
        "channel_slopes": True,
        "bn_eps": 1e-3,
    }
    stored.write(tmp_path / "psnr.safetensors", first.state_dict(), stored.Origin("SRResNet", options, 4, "made by a test"))
    recipe = load_recipe("srgan_mse_x4", [f"train.init={tmp_path / 'psnr.safetensors'}"])
    begun = build_generator(recipe.network, 0, recipe.train.init)
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(begun.network.eval()(picture), first.eval()(picture), rtol=0, atol=0)
    assert not any("left behind" in note or "new" in note for note in begun.notes)
