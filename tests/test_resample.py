"""Bicubic resampling against the definition of the kernel, written out in float64, and against MATLAB's own files."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vsr.resample import imresize, resize

DATA = Path(__file__).parents[2] / "shared" / "data"


def keys(distance: float) -> float:
    """Keys' cubic kernel with a = -1/2, from the paper."""
    d = abs(distance)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def weights(length: int, size: int, ratio: Fraction) -> npt.NDArray[np.float64]:
    """The (size, length) matrix that resizes one axis: repeated edges, kernel widened by 1 / ratio when shrinking."""
    matrix = np.zeros((size, length))
    stretch = max(1.0, float(1 / ratio))
    for row in range(size):
        center = float((row + Fraction(1, 2)) / ratio - Fraction(1, 2))
        taps = range(floor(center - 2 * stretch), ceil(center + 2 * stretch) + 1)
        values = [keys((tap - center) / stretch) for tap in taps]
        for tap, value in zip(taps, values, strict=True):
            matrix[row, min(max(tap, 0), length - 1)] += value / sum(values)
    return matrix


def reference(x: Tensor, height: int, width: int) -> Tensor:
    rows = torch.from_numpy(weights(x.shape[-2], height, Fraction(height, x.shape[-2])))
    columns = torch.from_numpy(weights(x.shape[-1], width, Fraction(width, x.shape[-1])))
    return rows @ x.double() @ columns.T


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


sides = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(sides, sides, sides, sides, st.integers(0, 99))
def test_resize_is_keys_kernel_with_repeated_edges(h: int, w: int, height: int, width: int, seed: int) -> None:
    assume(h <= 10 * height and w <= 10 * width)  # beyond that the kernel itself is wider than the padding may be
    x = noise(2, 3, h, w, seed=seed)
    out = resize(x, height, width)
    assert out.shape == (2, 3, height, width) and out.dtype == torch.float32
    torch.testing.assert_close(out.double(), reference(x, height, width), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("length", "size"), [(427, 960), (97, 61), (509, 97)])
def test_direct_path_differs_only_at_the_border(length: int, size: int) -> None:
    """Ratios that would need more padding than 64 pixels: white noise 427 -> 960 differs by 3 of 255 levels at the border."""
    x = noise(1, 1, 1, length)
    difference = (resize(x, 1, size).double() - reference(x, 1, size)).abs().flatten()
    border = ceil(2 * max(1, size / length))
    assert float(difference[border:-border].max()) < 1e-4
    assert float(difference.max()) < 10 / 255
    ramp = torch.linspace(0, length / 255, length).reshape(1, 1, 1, length)
    assert float((resize(ramp, 1, size).double() - reference(ramp, 1, size)).abs().max()) < 0.2 / 255


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 9), st.integers(1, 9))
def test_imresize_follows_matlab_for_sizes_that_do_not_divide(h: int, w: int, up: int, down: int) -> None:
    """MATLAB keeps the ratio exact and rounds the size up: the last pixel may lie partly outside."""
    x, ratio = noise(1, 1, h, w).double(), Fraction(up, down)
    height, width = ceil(h * ratio), ceil(w * ratio)
    rows, columns = torch.from_numpy(weights(h, height, ratio)), torch.from_numpy(weights(w, width, ratio))
    out = imresize(x, up, down)
    assert out.dtype == torch.float64
    torch.testing.assert_close(out, rows @ x @ columns.T, rtol=0, atol=1e-12)


def read_png(path: Path) -> Tensor:
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        pixels = frame.to_ndarray(format="gray" if frame.format.name == "gray" else "rgb24")
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1).unsqueeze(0).float()


@pytest.mark.parametrize("name", ["Set5/x2", "Set5/x3", "Set5/x4", "Set14/x4"])
def test_imresize_gives_the_bytes_of_matlab(name: str) -> None:
    pairs = [(path, DATA / name / "LR" / path.name) for path in sorted((DATA / name / "HR").glob("*.png"))]
    if not pairs:
        pytest.skip("the benchmark images are not here")
    down = int(name[-1])
    different = sum(int((imresize(read_png(hr), 1, down, rounded=True) != read_png(lr)).sum()) for hr, lr in pairs)
    assert different == 0


def test_rounding_happens_between_the_passes() -> None:
    x = (noise(1, 1, 24, 24) * 255).round()
    rows = torch.from_numpy(weights(24, 12, Fraction(1, 2)))
    half = (rows @ x.double() + 0.5).floor().clamp(0, 255)
    expected = (half @ rows.T + 0.5).floor().clamp(0, 255)
    assert torch.equal(imresize(x, 1, 2, rounded=True).double(), expected)
    once = (rows @ x.double() @ rows.T + 0.5).floor().clamp(0, 255)
    assert not torch.equal(once, expected)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (23, 90), (31, 17), (62, 34), (64, 64)])
def test_a_constant_stays_constant(size: tuple[int, int]) -> None:
    out = resize(torch.full((1, 3, 31, 17), 0.7), *size)
    torch.testing.assert_close(out, torch.full((1, 3, *size), 0.7), rtol=0, atol=3e-7)


@pytest.mark.parametrize("width", [20, 33, 60, 80, 160])
def test_a_ramp_keeps_its_place(width: int) -> None:
    """Pixel centres: output pixel x lies at (x + 1/2) * ratio - 1/2.

    Exact when enlarging and when shrinking by a whole number. The kernel widened by 40 / 33 ripples by 0.011 pixels on a ramp.
    """
    ratio = 40 / width
    out = resize(torch.arange(40.0).expand(1, 1, 4, 40), 4, width)[0, 0, 0]
    expected = (torch.arange(width) + 0.5) * ratio - 0.5
    border = ceil(2 * max(1, 1 / ratio))
    torch.testing.assert_close(out[border:-border], expected[border:-border], rtol=0, atol=0.02 if width == 33 else 2e-5)


@pytest.mark.parametrize("size", [(12, 50), (39, 13), (52, 78)])
def test_mirrored_input_gives_mirrored_output(size: tuple[int, int]) -> None:
    x = noise(1, 3, 26, 39)
    flipped = resize(x.flip(-1, -2), *size).flip(-1, -2)
    torch.testing.assert_close(flipped, resize(x, *size), rtol=0, atol=1e-5)


def test_shrinking_filters_what_the_small_image_cannot_hold() -> None:
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    inner = resize(stripes, 16, 16)[..., 2:-2, 2:-2]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.5), rtol=0, atol=0.02)


def test_the_right_size_is_returned_unchanged() -> None:
    x = noise(1, 3, 9, 8).half()
    assert resize(x, 9, 8) is x
    assert imresize(x, 3, 3) is x
    assert resize(x, 9, 16).dtype == torch.float32


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(36, 64), (13, 40), (101, 211)])
def test_a_frame_does_not_depend_on_its_batch(size: tuple[int, int], memory_format: torch.memory_format) -> None:
    x = noise(4, 3, 18, 131)
    batch = resize(x.contiguous(memory_format=memory_format), *size)
    assert all(torch.equal(batch[i : i + 1], resize(x[i : i + 1], *size)) for i in range(4))


class NoAntialiasKernel(TorchFunctionMode):
    """A device that refuses the kernel the first time; the fallback's second call, on the CPU, is let through."""

    refused = False

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.nn.functional.interpolate and not self.refused:
            self.refused = True
            raise NotImplementedError("no kernel")
        return func(*args, **(kwargs or {}))


def test_a_device_without_the_kernel_falls_back_to_the_cpu() -> None:
    x = noise(1, 3, 10, 10)
    with NoAntialiasKernel() as device:
        out = resize(x, 20, 10)
    assert device.refused and torch.equal(out, resize(x, 20, 10))


@pytest.mark.parametrize("call", [lambda x: resize(x, 0, 4), lambda x: imresize(x, 1, 0), lambda x: imresize(x, 0, 2)])
def test_empty_sizes_are_refused(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="at least 1"):
        call(torch.zeros(1, 1, 4, 4))
