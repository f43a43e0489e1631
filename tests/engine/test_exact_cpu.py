"""What computes float32 on a CPU by other means, against torch: nearly the same numbers, behind the same protocol."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.engine.pictures import picture, psnr, run, small_rrdb
from vsr.config import Backend
from vsr.engine.exact_cpu import ExactCpuNetwork
from vsr.engine.runners import EXACT_CPU, exact, knows
from vsr.errors import ModelError
from vsr.models import weights
from vsr.models.bicubic import Bicubic
from vsr.models.compact import Activation, SRVGGNetCompact
from vsr.models.rrdb import RRDBNet
from vsr.models.spec import Generator


@pytest.fixture(params=EXACT_CPU)
def backend(request: pytest.FixtureRequest) -> Backend:
    name: Backend = request.param
    if not knows(name, small_rrdb()):
        pytest.skip(f"needs PyPI's {name}")
    return name


def built(network: Generator, backend: Backend, threads: int = 1) -> ExactCpuNetwork:
    twin = exact(network, backend, threads)
    assert twin is not None
    return twin


@pytest.mark.parametrize(("name", "size"), [("animevideo", (90, 160)), ("esrgan-anime", (48, 40)), ("esrgan", (32, 33))])
def test_at_least_100_db_to_torch_with_real_weights(backend: Backend, name: str, size: tuple[int, int]) -> None:
    network = weights.load(name, 4)
    twin = built(network, backend)
    for number in (3, 7):
        frames = picture(*size, number)
        assert psnr(run(network, frames), run(twin, frames)) >= 100


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 2), (13, 9), (21, 34)])
def test_every_scale_of_rrdb_on_odd_sizes(backend: Backend, scale: int, size: tuple[int, int]) -> None:
    """In units of what the engine pads to: 1x1 is the smallest picture that a network ever sees."""
    network = small_rrdb(scale)
    frames = picture(*(side * network.spec.multiple_of for side in size))
    ours = run(built(network, backend), frames)
    assert ours.shape == (1, 3, frames.shape[2] * scale, frames.shape[3] * scale)
    assert psnr(run(network, frames), ours) >= 100


@pytest.mark.parametrize("scale", [1, 2])
def test_six_wide_blocks_behind_pixel_unshuffle(backend: Backend, scale: int) -> None:
    torch.manual_seed(scale)
    network = RRDBNet(6, scale=scale).eval()
    frames = picture(64, 72)
    assert psnr(run(network, frames), run(built(network, backend), frames)) >= 100


@pytest.mark.parametrize("activation", ["prelu", "relu", "leakyrelu"])
@pytest.mark.parametrize("upscale", [1, 2, 3, 4])
def test_every_activation_and_scale_of_compact(backend: Backend, activation: Activation, upscale: int) -> None:
    torch.manual_seed(3)
    network = SRVGGNetCompact(3, num_feat=24, upscale=upscale, activation=activation).eval()
    for size in ((1, 1), (17, 23)):
        assert psnr(run(network, picture(*size)), run(built(network, backend), picture(*size))) >= 100


def test_a_batch_is_its_frames(backend: Backend) -> None:
    network = built(small_rrdb(), backend)
    frames = torch.cat([picture(12, 18, number) for number in range(3)])
    parts = [run(network, frame[None]) for frame in frames]
    assert torch.equal(run(network, frames), torch.cat(parts))
    assert torch.equal(run(network, frames.contiguous(memory_format=torch.channels_last)), torch.cat(parts))


def test_it_is_a_generator_that_stays_where_it_is(backend: Backend) -> None:
    twin = built(small_rrdb(), backend)
    assert isinstance(twin, Generator)
    assert twin.to("cpu", torch.float32, memory_format=torch.channels_last) is twin
    for device, dtype in (("cuda", torch.float32), ("cpu", torch.bfloat16)):
        with pytest.raises(ModelError, match="computes float32 on the CPU"):
            twin.to(device, dtype)
    with pytest.raises(ModelError, match="computes float32"):
        run(twin, picture(8, 8).bfloat16())


@pytest.mark.parametrize("threads", [1, 2])
def test_same_bytes_from_run_to_run(backend: Backend, threads: int) -> None:
    network, frames = weights.load("animevideo", 4), picture(45, 67)
    first = built(network, backend, threads)
    expected = run(first, frames)
    run(first, picture(20, 31))  # another size in between, so that scratch memory holds something else
    assert torch.equal(run(first, frames), expected)
    assert torch.equal(run(built(network, backend, threads), frames), expected)


class Negative(SRVGGNetCompact):
    """A network that only looks like one that is known."""

    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


def test_unknown_networks_are_not_taken(backend: Backend) -> None:
    for network in (Bicubic(), Negative(1)):
        assert not knows(backend, network)
        assert exact(network, backend, 1) is None


def test_the_network_and_the_input_stay_as_they_are(backend: Backend) -> None:
    network, frames = small_rrdb(), picture(18, 26)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    before = frames.clone()
    twin = built(network, backend)
    first = run(twin, frames)
    kept = first.clone()
    run(twin, 1 - frames)
    assert torch.equal(first, kept), "a result belongs to whoever got it"
    assert torch.equal(frames, before)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name])
