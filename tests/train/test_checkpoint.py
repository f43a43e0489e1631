"""Checkpoints: exact, whole or absent, of one recipe; and weights that every command takes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vsr.errors import JobError, WeightsError
from vsr.models import blend, stored, weights
from vsr.models.discriminators import SRGANDiscriminator
from vsr.models.srresnet import SRResNet
from vsr.train.adversarial import Adversary, discriminator_loss, generator_loss
from vsr.train.checkpoint import Stateful, checkpoints, export, restore, save
from vsr.train.ema import MovingAverage
from vsr.train.losses import mse
from vsr.train.schedule import multi_step, warm_up

RECIPE = '[train]\nsteps = 40\nadversary = "standard"\n\n[data]\ntrain = ["photos"]\n'


class Toy:
    """SRGAN in small: two networks, their average, two optimisers; its data follow from (seed, step)."""

    def __init__(self, adversary: Adversary = "standard", seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.adversary: Adversary = adversary
        self.generator = SRResNet(1, num_feat=8, scale=2)
        self.critic = SRGANDiscriminator(16, num_feat=2)
        self.average = MovingAverage(self.generator, 0.9)
        self.optimisers = [torch.optim.Adam(net.parameters(), 1e-3) for net in (self.generator, self.critic)]
        self.step = 0

    @property
    def parts(self) -> dict[str, Stateful]:
        names = ("generator", "discriminator", "ema", "generator_optimiser", "discriminator_optimiser")
        return dict(zip(names, (self.generator, self.critic, self.average, *self.optimisers), strict=True))

    def train(self, steps: int) -> None:
        for _ in range(steps):
            hr = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1000 + self.step))
            factor = multi_step(self.step, (10, 20, 30)) * warm_up(self.step, 4)
            for optimiser in self.optimisers:
                optimiser.param_groups[0]["lr"] = 1e-3 * factor
            self.critic.requires_grad_(False)
            made = self.generator(nn.functional.avg_pool2d(hr, 2))
            loss = mse(made, hr) + 1e-3 * generator_loss(self.adversary, self.critic(made), self.critic(hr))
            self.optimisers[0].zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimisers[0].step()
            self.critic.requires_grad_(True)
            told = discriminator_loss(self.adversary, self.critic(hr), self.critic(made.detach()))
            self.optimisers[1].zero_grad()
            told.backward()  # type: ignore[no-untyped-call]
            self.optimisers[1].step()
            self.average.update(self.generator)
            self.step += 1

    def tensors(self) -> dict[str, Tensor]:
        """Everything that it has learned, momenta too."""
        found = {
            f"{name}.{key}": t
            for name in ("generator", "discriminator", "ema")
            for key, t in self.parts[name].state_dict().items()
        }
        for number, optimiser in enumerate(self.optimisers):
            for index, kept in optimiser.state_dict()["state"].items():
                found |= {f"optimiser{number}.{index}.{key}": torch.as_tensor(value) for key, value in kept.items()}
        return {name: tensor.clone() for name, tensor in found.items()}


@pytest.mark.parametrize("adversary", ["standard", "relativistic"])
def test_stopped_and_resumed_equals_undisturbed(tmp_path: Path, adversary: Adversary) -> None:
    straight = Toy(adversary)
    straight.train(40)
    first = Toy(adversary)
    first.train(15)
    path = save(tmp_path, first.step, RECIPE, first.parts)
    second = Toy(adversary, seed=99)  # other numbers everywhere: whatever is not restored, is seen
    second.step = restore(path, RECIPE, second.parts)
    assert second.step == 15
    second.train(25)
    expected, got = straight.tensors(), second.tensors()
    assert expected.keys() == got.keys()
    assert len(expected) > 150
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor), name
    assert not torch.equal(first.tensors()["generator.conv_block3.weight"], expected["generator.conv_block3.weight"])


def parts(size: int = 10) -> dict[str, Stateful]:
    net = nn.Linear(size, size)
    return {"generator": net, "optimiser": torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)}


def test_the_last_few_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 100, 1000):
        save(tmp_path / "new", step, RECIPE, parts(), keep=2)
    assert [path.name for path in checkpoints(tmp_path / "new")] == ["step-00000100.pt", "step-00001000.pt"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["step-00000100.pt", "step-00001000.pt"]
    assert checkpoints(tmp_path / "none") == []


def test_another_recipe_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = save(tmp_path, 5, RECIPE, parts())
    ours = parts()
    before = [p.clone() for p in ours["generator"].state_dict().values()]
    other = RECIPE.replace("40", "80").replace("photos", "clips") + 'scale = 2\n[loss]\npixel = "l1"\n'
    with pytest.raises(
        JobError, match=r"data\.scale was not there and is 2; .*\['photos'\] and is \['clips'\]; loss.* and 1 more"
    ):
        restore(path, other, ours)
    assert all(torch.equal(a, b) for a, b in zip(before, ours["generator"].state_dict().values(), strict=True))
    with pytest.raises(JobError, match=r"train\.steps was 40 and is 80"):
        restore(path, RECIPE.replace("40", "80"), ours)
    assert restore(path, RECIPE.replace("40", "80"), ours, frozenset({"train.steps"})) == 5
    assert restore(path, "# a comment\n" + RECIPE.replace("steps = 40", "steps    =    40"), ours) == 5


def test_other_parts_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 5, RECIPE, parts())
    with pytest.raises(JobError, match="holds generator, optimiser, and generator, optimiser, scaler are"):
        restore(path, RECIPE, {**parts(), "scaler": MovingAverage(nn.Linear(1, 1))})
    with pytest.raises(JobError, match=r"its generator does not fit \(.*size mismatch"):
        restore(path, RECIPE, parts(11))


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    path = save(tmp_path, 5, RECIPE, parts())
    data = path.read_bytes()
    for bad in (data[: len(data) // 2], b"", b"not one at all"):
        path.write_bytes(bad)
        with pytest.raises(WeightsError, match="step-00000005"):
            restore(path, RECIPE, parts())
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(WeightsError, match="no checkpoint of a training"):
        restore(path, RECIPE, parts())
    with pytest.raises(WeightsError, match="no such checkpoint"):
        restore(tmp_path / "step-00000009.pt", RECIPE, parts())


def test_a_checkpoint_can_run_nothing(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.pt"
    torch.save({"format": "vsr-training-1", "parts": {"generator": nn.Linear(2, 2)}}, path)  # a pickled module is code
    with pytest.raises(WeightsError, match="refused, it asks to run"):
        restore(path, RECIPE, parts())


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on a file's size")
def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    """A limit on a file's size stops the writing as a full disk does: an OSError in the middle of it."""
    import resource

    first = save(tmp_path, 5, RECIPE, parts(300))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(WeightsError, match=f"step-00000010.*{os.strerror(errno.EFBIG)}.*make room"):
            save(tmp_path, 10, RECIPE, parts(300), keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [first]
    assert restore(first, RECIPE, parts(300)) == 5


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(WeightsError, match="cannot be written"):
        save(tmp_path / "out", 1, RECIPE, parts())


SAVING = """
import sys
from pathlib import Path
from torch import nn
from vsr.train.checkpoint import save

for step in range(1, 10_000):
    save(Path(sys.argv[1]), step, sys.argv[2], {"generator": nn.Linear(1500, 1500)}, keep=2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_killed_while_saving_the_earlier_ones_stay(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SAVING, str(tmp_path), RECIPE], cwd=Path(__file__).parents[2]) as process:
        deadline = time.monotonic() + 120
        while not (len(checkpoints(tmp_path)) >= 2 and list(tmp_path.glob("*.part"))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert list(tmp_path.glob("*.part"))  # it was in the middle of one
    whole = checkpoints(tmp_path)
    for path in whole:
        assert restore(path, RECIPE, {"generator": nn.Linear(1500, 1500)}) == int(path.stem.removeprefix("step-"))
    save(tmp_path, 10_000, RECIPE, parts(), keep=2)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_what_is_exported_loads_by_its_path(tmp_path: Path) -> None:
    toy = Toy()
    toy.train(2)
    options = {"num_block": 1, "num_feat": 8, "scale": 2}
    notes = {"recipe": "srgan_toy", "data": "noise", "steps": "2", "metrics": '{"psnr_y": 20.5}'}
    net = toy.average.network
    first = export(tmp_path / "first.safetensors", toy.generator.spec, options, net.state_dict(), notes=notes)
    loaded = weights.load(str(tmp_path / "first.safetensors"), 2)
    image = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        assert torch.equal(loaded.reconstruct(image[:, None]), net(image))
    assert (loaded.spec.scale, loaded.spec.architecture, loaded.spec.weights_sha256) == (2, "SRResNet", first.sha256)
    read = stored.read(tmp_path / "first.safetensors")
    assert read is not None
    assert read.origin.notes == notes
    toy.train(2)
    family = (first.sha256, *first.origin.parents)
    second = export(tmp_path / "second.safetensors", toy.generator.spec, options, net.state_dict(), notes=notes, parents=family)
    assert second.origin.parents == (first.sha256,)
    assert blend.stranger_warning(first, second) is None
    mixed = blend.blend(first, second, 0.5)
    assert mixed.origin.notes == {}  # neither training made it


def test_what_diverged_is_not_exported(tmp_path: Path) -> None:
    net = SRResNet(1, num_feat=8, scale=2)
    state = {**net.state_dict(), "conv_block3.bias": torch.tensor([0.0, torch.inf, 0.0])}
    with pytest.raises(WeightsError, match=r"conv_block3\.bias holds NaN or infinity"):
        export(tmp_path / "w.safetensors", net.spec, {}, state, notes={})
    assert not (tmp_path / "w.safetensors").exists()
