"""What befalls a training: damaged checkpoints, numbers that are none, signals, no memory; and what it says of itself then."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from tests.train.pictures import moving, write, write_folder
from vsr.cli.main import cli
from vsr.errors import ConfigError, DeviceError, Interrupted, JobError
from vsr.models import stored
from vsr.models.weights import available, load
from vsr.recipe import load_recipe
from vsr.train.checkpoint import checkpoints
from vsr.train.degrade import parse_degradation
from vsr.train.footage import find_items
from vsr.train.health import SURE_REPORTS, Health
from vsr.train.log import read_log
from vsr.train.loop import _stepped, claimed
from vsr.train.networks import build_generator
from vsr.train.setup import crops_of, items_of
from vsr.train.trainer import Trainer
from vsr.train.validate import Judged, pixels_of, validate
from vsr.train.verdict import _frame, held_judges

RECIPE = "edsr_baseline_x2_small"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("photos"), 3)


def options(photos: Path, out: Path, *more: str) -> list[str]:
    """A command line of a training that takes milliseconds a step."""
    tiny = ("network.options.num_block=1", "network.options.num_feat=8", "data.batch=2", "data.crop=16")
    chosen = (*tiny, f"data.train={photos}", f"train.out={out}", "train.log_every=1", *more)
    return ["train", RECIPE, "--progress", "none", *(word for value in chosen for word in ("--set", value))]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_validated_before_the_first_report(photos: Path, tmp_path: Path) -> None:
    more = ("train.steps=4", "train.validate_every=2", "train.log_every=3", f"data.validate={photos}")
    result = run(*options(photos, tmp_path / "out", *more))
    assert result.exit_code == 0, result.exception
    assert [(line["kind"], line["step"]) for line in read_log(tmp_path / "out")] == [
        ("validation", 2), ("loss", 3), ("loss", 4), ("validation", 4),
    ]  # fmt: skip


def test_a_damaged_checkpoint_is_passed_over_and_named(photos: Path, tmp_path: Path) -> None:
    more = ("train.save_minutes=0", "train.keep=2")
    assert run(*options(photos, tmp_path, "train.steps=6", *more)).exit_code == 0
    _, last = checkpoints(tmp_path)
    before = stored.read(tmp_path / f"{RECIPE}.safetensors")
    last.write_bytes(last.read_bytes()[:1000])
    result = run(*options(photos, tmp_path, "train.steps=6", *more), "--resume")
    assert result.exit_code == 0, result.exception
    assert "gone on from the checkpoint before" in result.output and last.name in result.output
    after = stored.read(tmp_path / f"{RECIPE}.safetensors")
    assert before is not None and after is not None and before.sha256 == after.sha256

    for path in checkpoints(tmp_path):
        path.write_bytes(b"no")
    assert run(*options(photos, tmp_path, "train.steps=6", *more), "--resume").exit_code == 1


def test_what_is_saved_after_a_damaged_one_is_kept(photos: Path, tmp_path: Path) -> None:
    more = ("train.save_minutes=0", "train.keep=1")
    assert run(*options(photos, tmp_path, "train.steps=3", *more)).exit_code == 0
    (tmp_path / "step-00000009.pt").write_bytes(b"no")  # what a disk made of a later one
    assert run(*options(photos, tmp_path, "train.steps=5", *more), "--resume").exit_code == 0
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000005.pt"]


def test_what_diverged_between_reports_is_not_saved(photos: Path, tmp_path: Path) -> None:
    more = ("train.steps=200", "train.rate=1e20", "train.log_every=0", "train.save_minutes=0", "train.keep=200")
    result = run(*options(photos, tmp_path, *more))
    assert isinstance(result.exception, JobError) and "diverged" in str(result.exception)
    for path in checkpoints(tmp_path):
        network = torch.load(path, weights_only=True)["parts"]["generator"]
        assert all(bool(tensor.isfinite().all()) for tensor in network.values())


def test_a_critic_that_is_never_wrong_stops_training(tmp_path: Path) -> None:
    health = Health(tmp_path)
    for step in range(SURE_REPORTS - 1):
        health.require_losses({"critic": 1e-5}, step)
    health.require_losses({"critic": 0.3}, 50)  # it was wrong once: counted anew
    for step in range(SURE_REPORTS - 1):
        health.require_losses({"critic": 1e-5}, step)
    with pytest.raises(JobError, match=r"critic has not been wrong.*no checkpoint yet.*critic_rate"):
        health.require_losses({"critic": 1e-5}, 100)
    with pytest.raises(JobError, match="the pixel loss is no number"):
        Health(tmp_path).require_losses({"pixel": math.nan, "critic": 1.0}, 1)
    broken = nn.Linear(2, 2)
    with torch.no_grad():
        broken.weight[0, 0] = math.inf
    with pytest.raises(JobError, match="weights of the critic"):
        Health(tmp_path).require_weights({"generator": nn.Linear(2, 2), "critic": broken}, 1)


def test_an_interrupt_at_once_names_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="holds no checkpoint yet"), claimed(tmp_path):
        raise KeyboardInterrupt
    (tmp_path / "step-00000007.pt").write_bytes(b"")
    with pytest.raises(Interrupted, match=r"goes on from .*step-00000007\.pt"), claimed(tmp_path):
        raise KeyboardInterrupt
    with pytest.raises(Interrupted, match="as it was"), claimed(tmp_path):
        raise Interrupted("as it was")


def test_out_of_memory_says_what_makes_it_smaller(photos: Path) -> None:
    sets = ["data.crop=16", "data.batch=2", f"data.train={photos}", "network.options.num_block=1"]
    recipe = load_recipe(RECIPE, sets)
    batch = crops_of(recipe, items_of(recipe)[0]).batch(0, 0)
    huge = type(batch)(batch.lr[:1].expand(1 << 40, -1, -1, -1), batch.hr, batch.names, batch.scale)  # a view: the step copies it
    with pytest.raises(DeviceError, match=r"2 pairs of 32x32; lower data\.batch"):
        _stepped(Trainer(recipe, torch.device("cpu")), 0, huge)


def test_what_it_begins_from_is_said_before_the_first_step(photos: Path, tmp_path: Path) -> None:
    assert run(*options(photos, tmp_path / "a", "train.steps=1")).exit_code == 0
    weights = tmp_path / "a" / f"{RECIPE}.safetensors"
    more = ("train.steps=1", f"data.validate={photos}")
    result = run(*options(photos, tmp_path / 'b "c"', *more), "--init", str(weights), "--json", str(tmp_path / "told.json"))
    assert result.exit_code == 0, result.exception
    assert result.output.index("begun from") < result.output.index("step 1:")
    assert "begun from" in json.loads((tmp_path / "told.json").read_text())["warnings"][0]


@pytest.mark.skipif(not available("srresnet"), reason="vsr models pull srresnet")
def test_an_option_that_the_recipe_leaves_open_is_that_of_the_weights() -> None:
    """SRGAN begins from `srresnet`, which has a tanh, biases and slopes that the paper's network has not: the same function."""
    recipe = load_recipe("srgan_mse_x4")
    begun = build_generator(recipe.network, 0, recipe.train.init).network.eval()
    known = load(recipe.train.init, 4.0)
    picture = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(begun(picture), known.reconstruct(picture[:, None]))


def test_weights_of_another_scale_are_refused(photos: Path, tmp_path: Path) -> None:
    assert run(*options(photos, tmp_path / "a", "train.steps=1")).exit_code == 0
    weights = str(tmp_path / "a" / f"{RECIPE}.safetensors")
    recipe = load_recipe("finetune_video_x4_small")
    with pytest.raises(ConfigError, match=r"network of x2, not x4; give --set network\.scales=\[2\]"):
        build_generator(recipe.network, 0, weights)


def test_mdsr_is_validated_at_each_scale_by_its_own_branch() -> None:
    recipe = load_recipe("mdsr_small", ["network.options.num_block=1", "network.options.num_feat=8"])
    network = build_generator(recipe.network, 0).network
    truth = {scale: torch.full((3, 12 * scale, 12 * scale), 90, dtype=torch.uint8) for scale in (2, 3, 4)}
    low = _frame(torch.full((3, 12, 12), 90, dtype=torch.uint8), 0)

    def figure(scale: int) -> float:
        return validate(network, scale, lambda _: iter([Judged("x", low, _frame(truth[scale], 0))]), torch.device("cpu"))[
            0
        ].psnr_y

    before = [figure(scale) for scale in (2, 3, 4)]
    assert isinstance(network.upsample, nn.ModuleList)
    with torch.no_grad():
        for parameter in network.upsample[0].parameters():
            parameter.zero_()
    after = [figure(scale) for scale in (2, 3, 4)]
    assert after[0] != before[0] and after[1:] == before[1:]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no gloo that torchrun starts")
def test_processes_stop_at_one_step_and_notice_each_other_s_end(photos: Path, tmp_path: Path) -> None:
    """Signals come to each at a time of its own."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(30500 + os.getpid() % 1000), "OMP_NUM_THREADS": "1"}

    def begun(out: Path) -> list[subprocess.Popen[str]]:
        words = [sys.executable, "-m", "vsr", *options(photos, out, "train.steps=1000000"), "--device", "cpu"]
        each = [
            subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env={**os.environ, **address, "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(2)
        ]  # fmt: skip
        until = monotonic() + 120
        while len(read_log(out)) < 3:
            assert all(process.poll() is None for process in each) and monotonic() < until
            sleep(0.02)
        return each

    both = begun(tmp_path / "asked")
    both[1].send_signal(signal.SIGTERM)  # the other one alone: it must tell the first, which saves
    told = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [130, 130]
    assert all("--resume goes on from there" in each and len(each.splitlines()) == 1 for each in told)
    assert len(checkpoints(tmp_path / "asked")) == 1

    both = begun(tmp_path / "killed")
    both[1].kill()
    _, first = both[0].communicate(timeout=60)
    both[1].communicate()
    assert both[0].returncode == 1
    assert "another process of this training has ended" in first and "internal error" not in first


def test_the_best_is_of_one_test_set(photos: Path, tmp_path: Path) -> None:
    """Going on with another set to validate on: the first one's figures are no measure for it."""
    other = write_folder(tmp_path / "other", 1, 40, 40)
    first = run(*options(photos, tmp_path / "out", "train.steps=2", f"data.validate={photos}"))
    assert first.exit_code == 0, first.exception
    lines = (tmp_path / "out" / "log.jsonl").read_text().replace('"psnr_y": ', '"psnr_y": 9')  # as if it had been an easy one
    (tmp_path / "out" / "log.jsonl").write_text(lines)
    told = tmp_path / "told.json"
    again = run(*options(photos, tmp_path / "out", "train.steps=4", f"data.validate={other}"), "--resume", "--json", str(told))
    assert again.exit_code == 0, again.exception
    assert json.loads(told.read_text())["best"]["step"] == 4
    kept = stored.read(tmp_path / "out" / "best.safetensors")
    assert kept is not None and kept.origin.notes["steps"] == "4"


@pytest.mark.parametrize(
    ("recipe", "setting", "told"),
    [
        ("edvr_m_x4_small", "train.steps=9000", "the rate is 0 after the periods' 4000"),
        ("edvr_m_x4_small", "train.fusion_first=5", "goes with init"),
    ],
)
def test_steps_that_would_teach_nothing_are_refused(recipe: str, setting: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_recipe(recipe, [setting])


def test_a_fusion_that_is_not_there_cannot_come_first(photos: Path, tmp_path: Path) -> None:
    assert run(*options(photos, tmp_path / "a", "train.steps=1")).exit_code == 0
    weights = str(tmp_path / "a" / f"{RECIPE}.safetensors")
    result = run(*options(photos, tmp_path / "b", "train.fusion_first=1"), "--init", weights)
    assert isinstance(result.exception, ConfigError) and "EDSR has no fusion" in str(result.exception)


def test_recipes_begin_from_what_can_be_had() -> None:
    """EDVR-M begins from nothing: then its fusion alone has nothing to learn from."""
    assert load_recipe("edvr_m_x4").train.fusion_first == 0
    with pytest.raises(ConfigError, match=r"Train it first and give"):
        build_generator(load_recipe("edsr_x4", ["network.options.num_block=1"]).network, 0, "edsr_x2.safetensors")


def test_pairs_of_one_s_own_are_judged_by_their_own_lr(tmp_path: Path) -> None:
    high, low = moving(4, 32, 48), moving(4, 16, 24, seed=5)
    for number in range(4):
        write(tmp_path / "hr" / f"{number}.png", high[number])
        write(tmp_path / "lr" / f"{number}.png", low[number])
    items = find_items([tmp_path / "hr"], 1, tmp_path / "lr")
    judged = list(held_judges(items, parse_degradation("bicubic"), 0, 0)(2))
    assert len(judged) == 4
    for each, lr, hr in zip(judged, low, high, strict=True):
        assert torch.equal(pixels_of(each.lr)[0], lr) and torch.equal(pixels_of(each.hr)[0], hr)
