"""Two processes with half a batch each train the network that one with the whole batch trains."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vsr.train.adversarial import discriminator_loss, generator_loss
from vsr.train.ranks import Rank, joined, mean_over_ranks

BATCH, WORLD = 3, 2
Outcome = dict[str, Tensor]


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(5)
    generator = nn.Conv2d(3, 3, 3, padding=1)
    critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(4 * 36, 1))
    return generator.double(), critic.double()


def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(6)
    small, real = torch.rand((2, WORLD * BATCH, 3, 8, 8), generator=generator, dtype=torch.float64)
    return small * 3 - 1, real  # far enough apart that the means of halves differ from the mean of all


def step(lr: Tensor, hr: Tensor, *, alone: bool, local_means: bool = False) -> Outcome:
    """One relativistic step of both networks, as the loop makes it, and what came of it."""
    mean = Tensor.mean if local_means else mean_over_ranks
    generator, critic = networks()
    run_g = generator if alone else DistributedDataParallel(generator)
    run_d = critic if alone else DistributedDataParallel(critic)
    critic.requires_grad_(False)
    made = run_g(lr)
    loss_g = generator_loss("relativistic", critic(made), critic(hr), mean)
    loss_g.backward()  # type: ignore[no-untyped-call]
    critic.requires_grad_(True)
    real, fake = run_d(torch.cat([hr, made.detach()])).chunk(2)
    loss_d = discriminator_loss("relativistic", real, fake, mean)
    loss_d.backward()  # type: ignore[no-untyped-call]
    grads = {f"{kind}.{name}": p.grad for kind, net in (("g", generator), ("d", critic)) for name, p in net.named_parameters()}
    return {"loss_g": loss_g.detach(), "loss_d": loss_d.detach(), **{name: g for name, g in grads.items() if g is not None}}


def work(rank: int, folder: str) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(WORLD))
    torch.set_num_threads(1)
    with joined("cpu", f"file://{folder}/meeting") as who:
        assert who == Rank(rank, WORLD, rank)
        lr, hr = (batch[rank * BATCH : (rank + 1) * BATCH] for batch in pictures())
        outcome = {name: step(lr, hr, alone=False, local_means=name == "local") for name in ("all", "local")}
        torch.save(outcome, Path(folder) / f"{rank}.pt")


@pytest.mark.slow
def test_two_times_b_is_one_times_2b(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, str(tmp_path))) for rank in range(WORLD)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]
    whole = step(*pictures(), alone=True)
    assert {name.partition(".")[0] for name in whole} == {"loss_g", "loss_d", "g", "d"}
    for name, expected in whole.items():
        both = [rank["all"][name] for rank in ranks]
        got = sum(both) / WORLD if name.startswith("loss") else both[0]
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
        assert name.startswith("loss") or torch.equal(*both)  # DistributedDataParallel gave both the same
    # With means of their own, it is another training: the test would see it.
    assert any((ranks[0]["local"][name] - expected).abs().max() > 1e-4 for name, expected in whole.items() if name[1] == ".")


def test_alone_it_is_the_plain_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    values = torch.tensor([1.0, 4.0], requires_grad=True)
    with joined("cpu") as who:
        assert who == Rank(0, 1, 0)
        mean_over_ranks(values).backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [0.5, 0.5]
