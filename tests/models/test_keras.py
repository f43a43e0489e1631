"""The reader of Keras weights, on files made here with h5py, and TensorFlow's depth_to_space against torch's pixel shuffle."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

from vsr.errors import WeightsError
from vsr.models import keras, stored, weights
from vsr.models.sources import KerasWeights, Network
from vsr.models.srresnet import SRResNet

h5py = pytest.importorskip("h5py")
OPTIONS: dict[str, int | float | bool] = {
    "num_block": 1, "num_feat": 8, "tanh": True, "conv_bias": True, "channel_slopes": True, "bn_eps": 1e-3
}  # fmt: skip
Floats = npt.NDArray[np.float32]


def unshuffled(array: Floats) -> Floats:
    """Output channels (channel, row, column) -> (row, column, channel), as TensorFlow has them."""
    return array.reshape(-1, 4, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def save(path: Path, layers: dict[str, dict[str, Floats]]) -> None:
    """As `Model.save_weights` does: a group for each layer, inside it the arrays under <layer>/<weight>:0."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{kind}:0".encode() for kind in arrays]
            for kind, array in arrays.items():
                group[f"{name}/{kind}:0"] = array


def as_keras(net: SRResNet) -> dict[str, dict[str, Floats]]:
    """The network's weights as Keras would hold them, in the order of execution; layers without weights between them."""
    layers: dict[str, dict[str, Floats]] = {"input_1": {}}
    for name, module in net.named_modules():
        state = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
        layer = name.replace(".", "_")
        if isinstance(module, torch.nn.Conv2d):
            state = {k: unshuffled(v) for k, v in state.items()} if "upsample" in name else state
            layers[layer] = {"kernel": state["weight"].transpose(2, 3, 1, 0), "bias": state["bias"]}
        elif isinstance(module, torch.nn.BatchNorm2d):
            keys = ("weight", "bias", "running_mean", "running_var")
            layers[layer] = dict(zip(keras.NORM, (state[key] for key in keys), strict=True))
        elif isinstance(module, torch.nn.PReLU):
            layers[layer] = {"alpha": state["weight"][None, None]}
        elif isinstance(module, torch.nn.PixelShuffle):
            layers[layer] = {}
    return layers


SHUFFLED = ("upsampling_0_upsample_block_0", "upsampling_1_upsample_block_0")


def small() -> SRResNet:
    torch.manual_seed(0)
    net = SRResNet(1, num_feat=8, tanh=True, conv_bias=True, channel_slopes=True, bn_eps=1e-3).eval()
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor))
    return net


def test_a_file_of_keras_gives_the_network_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the data package on: found, checked, converted, cached, loaded strictly."""
    net = small()
    path = tmp_path / "some_package" / "weights" / "net.h5"
    path.parent.mkdir(parents=True)
    save(path, as_keras(net))
    monkeypatch.syspath_prepend(tmp_path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    source = KerasWeights("some-package", "some_package", "weights/net.h5", sha256, shuffled=SHUFFLED)
    network = Network(net.spec, OPTIONS, source)
    assert weights.is_here(network)
    loaded = weights.load_network(network)
    assert isinstance(loaded, SRResNet)
    assert stored.digest(loaded.state_dict()) == stored.digest(net.state_dict()) == loaded.spec.weights_sha256
    path.unlink()
    assert weights.load_network(network).spec == loaded.spec  # from the cache


def test_order_of_channels_is_that_of_depth_to_space(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kernel, bias = rng.random((1, 1, 3, 8), np.float32), rng.random(8, np.float32)
    save(tmp_path / "w.h5", {"conv": {"kernel": kernel, "bias": bias}})
    (_, weight), (_, offset) = keras.read(tmp_path / "w.h5", ("conv",))
    image = rng.random((4, 5, 3), np.float32)
    # TensorFlow: channels (row, column, channel) of a pixel spread over a block of 2 x 2.
    made = image @ kernel[0, 0] + bias
    expected = made.reshape(4, 5, 2, 2, 2).transpose(0, 2, 1, 3, 4).reshape(8, 10, 2)
    ours = F.conv2d(torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(weight), torch.from_numpy(offset))
    np.testing.assert_allclose(F.pixel_shuffle(ours, 2)[0].permute(1, 2, 0).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("layers", "shuffled", "message"),
    [
        ({"dense": {"kernel": np.zeros((3, 4), np.float32)}}, (), r"layer dense \(kernel \(3, 4\)\) cannot be read"),
        ({"lstm": {"recurrent": np.zeros((3, 4), np.float32)}}, (), "layer lstm"),
        ({"p": {"alpha": np.zeros((4, 4, 2), np.float32)}}, (), "layer p"),
        ({"conv": {"kernel": np.zeros((1, 1, 1, 4), np.float32)}}, ("other",), "holds no layer other"),
    ],
)
def test_other_layers_are_refused(
    tmp_path: Path, layers: dict[str, dict[str, Floats]], shuffled: tuple[str, ...], message: str
) -> None:
    save(tmp_path / "w.h5", layers)
    with pytest.raises(WeightsError, match=message):
        keras.read(tmp_path / "w.h5", shuffled)


@pytest.mark.parametrize("data", [b"", b"\x89HDF\r\n\x1a\n and no more", b"something else"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "w.h5").write_bytes(data)
    with pytest.raises(WeightsError, match="not whole Keras weights") as caught:
        keras.read(tmp_path / "w.h5")
    assert "\n" not in str(caught.value)


def test_hdf5_of_another_kind_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["numbers"] = np.arange(3)
    with pytest.raises(WeightsError, match="not whole Keras weights"):
        keras.read(tmp_path / "w.h5")


@pytest.mark.parametrize(("count", "message"), [(1, "1 weight tensors, the network has 2"), (2, "conv/bias is")])
def test_another_networks_file_is_refused(tmp_path: Path, count: int, message: str) -> None:
    arrays = {"kernel": np.zeros((1, 1, 1, 4), np.float32), "bias": np.zeros(4, np.float32)}
    save(tmp_path / "w.h5", {"conv": dict([*arrays.items()][:count])})
    with pytest.raises(WeightsError, match=message):
        keras.match(keras.read(tmp_path / "w.h5"), {"a": (4, 1, 1, 1), "b": (5,)}, tmp_path / "w.h5")
