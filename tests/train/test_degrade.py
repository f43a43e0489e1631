"""Every degradation keeps its contract: shapes, 8 bits, and nothing but the generator decides."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.train.pictures import moving, texture
from vsr.errors import ConfigError
from vsr.media.graph import find_program
from vsr.metrics import Protocol, psnr
from vsr.resample import imresize, resize
from vsr.train.degrade import QUALITIES, Bicubic, Chain, Degradation, Graph, Recompressed, parse_degradation
from vsr.train.second_order import SECOND, SecondOrder, Stage

TEXTS = ["bicubic", "second-order", "mpeg2", "mpeg4", "h264", "hevc", "vp9", "codecs", "h264|vp9", "second-order+codecs"]
GRAPH = "graph:scale=iw/{scale}:ih/{scale}:flags=area,noise=alls=9:allf=t:all_seed={{seed}}"


def made(text: str, hr: Tensor, scale: int, seed: int) -> Tensor:
    return parse_degradation(text)(hr, scale, np.random.default_rng(seed))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("scale", "frames", "size"), [(4, 1, (20, 33)), (3, 3, (17, 16)), (2, 5, (24, 18)), (1, 1, (32, 32)), (2, 2, (1, 5))]
)
def test_shapes_and_levels(text: str, scale: int, frames: int, size: tuple[int, int]) -> None:
    hr = moving(frames, size[0] * scale, size[1] * scale)
    before = hr.clone()
    lr = made(text, hr, scale, 1)
    assert lr.shape == (frames, 3, *size)
    assert lr.dtype == torch.uint8
    assert torch.equal(hr, before), "what is given stays as it is"


@pytest.mark.parametrize("text", TEXTS)
def test_it_is_the_same_picture_though_worse(text: str) -> None:
    """Seen coarsely, frame by frame: nothing is shifted, turned, or of another colour."""
    patches = torch.from_numpy(np.random.default_rng(0).uniform(20, 235, (1, 3, 6, 6)))
    hr = resize(patches, 128, 128).clamp(0, 255).to(torch.uint8).repeat(3, 1, 1, 1)
    like = resize(hr.float(), 16, 16)
    for seed in range(6):
        seen = resize(made(text, hr, 4, seed).float(), 16, 16)
        right = psnr(seen, like, Protocol("rgb"))
        for wrong in (like.flip(-1), like.flip(-2), like.roll(1, -1), like.flip(-3), 255 - like):
            assert (right > psnr(seen, wrong, Protocol("rgb"))).all()


@pytest.mark.parametrize("text", TEXTS)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**40), scale=st.sampled_from([2, 4]))
def test_the_same_generator_gives_the_same_bytes(text: str, seed: int, scale: int) -> None:
    hr = moving(2, 16 * scale, 20 * scale, seed=3)
    first = made(text, hr, scale, seed)
    made(text, hr, scale, seed + 1)  # what is done in between has no say
    torch.rand(3)
    assert torch.equal(first, made(text, hr, scale, seed))


@pytest.mark.parametrize("text", [text for text in TEXTS if text != "bicubic"])
def test_other_generators_give_other_bytes(text: str) -> None:
    hr = moving(2, 64, 64)
    assert len({made(text, hr, 2, seed).numpy().tobytes() for seed in range(4)}) > 1


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_imresize(scale: int) -> None:
    hr = texture(1, 12 * scale, 15 * scale)[None]
    assert torch.equal(made("bicubic", hr, scale, 0).float(), imresize(hr.float(), 1, scale, rounded=True))


def test_scale_one_leaves_bicubic_nothing_to_do() -> None:
    hr = moving(1, 16, 16)
    assert torch.equal(made("bicubic", hr, 1, 0), hr)


@pytest.mark.parametrize("codec", QUALITIES)
def test_a_codec_does_what_bicubic_did_and_then_its_own(codec: str) -> None:
    hr = moving(5, 96, 96)
    clean = made("bicubic", hr, 2, 0).float()
    apart = psnr(made(codec, hr, 2, 5).float(), clean, Protocol("rgb"))
    assert 15 < apart.min() < apart.max() < 50


def test_all_codecs_come_up() -> None:
    """One for each clip: what comes out is what exactly one of them makes."""
    hr = moving(2, 64, 64)
    alone = {codec: {made(codec, hr, 2, seed).numpy().tobytes() for seed in range(12)} for codec in QUALITIES}
    mixed = Recompressed()
    picks = {mixed.codecs[np.random.default_rng(seed).integers(5)] for seed in range(30)}
    assert picks == set(QUALITIES)
    assert all(len(pictures) > 3 for pictures in alone.values()), "qualities differ"


def test_the_published_recipe() -> None:
    """Real-ESRGAN's options for x4plus."""
    assert SecondOrder() == SecondOrder(
        Stage(1.0, (0.2, 3.0), (0.2, 0.7, 0.1), (0.15, 1.5), 0.5, (1.0, 30.0), (0.05, 3.0), 0.4, (30, 95)),
        Stage(0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), 0.5, (1.0, 25.0), (0.05, 2.5), 0.4, (30, 95)),
        0.8,
    )
    assert SecondOrder().second == SECOND


def test_a_stage_that_does_nothing_leaves_jpeg() -> None:
    """With no blur, no resize and hardly any noise, only JPEG and the shrinking are left: near bicubic, without antialias."""
    still = Stage(0.0, (0.2, 0.2), (0.0, 0.0, 1.0), (1.0, 1.0), 1.0, (0.0, 0.0), (0.0, 0.0), 0.0, (95, 95))
    hr = resize(resize(texture(0, 128, 128)[None].float(), 16, 16), 128, 128).clamp(0, 255).to(torch.uint8)  # nothing to alias
    lr = SecondOrder(still, still, 0.0)(hr, 2, np.random.default_rng(0))
    assert psnr(lr.float(), resize(hr.float(), 64, 64), Protocol("rgb", 4)).min() > 30


@pytest.mark.parametrize("gray", [0.0, 1.0])
@pytest.mark.parametrize("gaussian", [0.0, 1.0])
def test_noise_is_gray_or_coloured_and_as_strong_as_asked(gray: float, gaussian: float) -> None:
    from vsr.train.second_order import _noisy

    stage = Stage(gaussian=gaussian, levels=(10.0, 10.0), poisson=(1.0, 1.0), gray=gray)
    ramp = (torch.arange(64) + 96).div(255).expand(2, 3, 64, 64)  # 64 levels: as many steps for Poisson noise
    noise = _noisy(ramp, stage, np.random.default_rng(0)) - ramp
    expected = 10 / 255 if gaussian else (ramp.mean() / 64).sqrt()
    assert noise.std() == pytest.approx(float(expected), rel=0.05)
    assert torch.allclose(noise[:, 0], noise[:, 1], atol=1e-6) == bool(gray)
    assert not torch.equal(noise[0], noise[1]), "each frame has its own"


def test_what_a_recipe_may_say() -> None:
    assert parse_degradation("bicubic") == Bicubic()
    assert parse_degradation("h264") == parse_degradation("bicubic + h264") == Chain((Bicubic(), Recompressed(("h264",))))
    chain = parse_degradation("second-order+codecs")
    assert chain == Chain((SecondOrder(), Recompressed()))
    assert (chain.margin, chain.lead) == (8, 4)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "give bicubic, second-order, codecs, mpeg2"),
        ("bicubik", "'bicubik' is none that is known"),
        ("h264|h265", "'h264|h265' is none"),
        ("h264+bicubic", "bicubic and second-order come first"),
        ("bicubic+second-order", "come first, and one of them only"),
        ("graph:", "there is no filter after graph:"),
    ],
)
def test_what_it_may_not(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_degradation(text)
    assert str(caught.value).startswith(f"degrade = {text!r}: ")
    assert why in str(caught.value)


def test_a_graph_without_a_program_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("ffmpeg") != find_program():
        pytest.skip("imageio-ffmpeg is installed, and has a program")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"graph:negate': a graph needs the ffmpeg program, and none is here; run: pip install"):
        parse_degradation("graph:negate")


needs_program = pytest.mark.skipif(find_program() is None, reason="there is no ffmpeg program")


@needs_program
def test_a_graph_of_ones_own() -> None:
    hr = moving(3, 64, 96)
    chain: Degradation = parse_degradation("graph:scale=iw/2:ih/2:flags=area,negate")
    lr = chain(hr, 2, np.random.default_rng(0))
    assert lr.shape == (3, 3, 32, 48)
    means = torch.nn.functional.avg_pool2d(hr.float(), 2)
    assert (255 - lr.float() - means).abs().mean() < 3
    after = parse_degradation("bicubic+graph:hflip")(hr, 2, np.random.default_rng(0))
    assert torch.equal(after, made("bicubic", hr, 2, 0).flip(-1))


@needs_program
def test_a_graph_draws_its_seed() -> None:
    hr, text = moving(2, 64, 96), GRAPH.format(scale=2)
    assert torch.equal(made(text, hr, 2, 1), made(text, hr, 2, 1))
    assert not torch.equal(made(text, hr, 2, 1), made(text, hr, 2, 2))


@needs_program
@pytest.mark.parametrize(
    ("filters", "why"), [("nosuchfilter", "refuses it: .*nosuchfilter"), ("scale=10:10", "as many frames of 48x32")]
)
def test_graphs_that_do_not_work(filters: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Graph(filters, shrinks=True)(moving(2, 64, 96), 2, np.random.default_rng(0))
