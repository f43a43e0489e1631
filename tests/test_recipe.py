"""Recipes: strict files, and the papers' numbers in those that vsr brings."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr import toml
from vsr.errors import ConfigError
from vsr.models.weights import available
from vsr.recipe import LossRecipe, NetworkRecipe, Recipe, load_recipe, recipe_names
from vsr.train.networks import build_critic, build_generator

FULL = [name for name in recipe_names() if not name.endswith("_small")]


@dataclass(frozen=True)
class Inner:
    pair: tuple[float, float] = (0.0, 1.0)
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    count: int
    rate: float = 1.0
    names: tuple[str, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    on: bool = False
    maybe: int | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("count: must not be negative")


def built(text: str) -> Outer:
    return toml.build(Outer, tomllib.loads(text), "x.toml")


def test_values_arrive_as_what_they_are() -> None:
    found = built(
        'count = 3\nrate = 2\nnames = ["p", "q"]\nweights = { k = 1 }\non = true\nmaybe = 4\n[inner]\npair = [1, 2.5]\nkind = "b"'
    )
    assert found == Outer(3, 2.0, ("p", "q"), {"k": 1.0}, Inner((1.0, 2.5), "b"), True, 4)
    assert isinstance(found.rate, float)
    assert built('count = 0\nnames = "one"').names == ("one",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "x.toml: count: is missing"),
        ("cuont = 3\ncount = 1", "x.toml: cuont: is not known; did you mean count?"),
        ('count = "3"', "x.toml: count = '3': must be a whole number"),
        ("count = 3.0", "must be a whole number"),
        ("count = true", "must be a whole number"),
        ("count = 1\nrate = nan", "must be a number"),
        ("count = 1\nrate = inf", "must be a number"),
        ("count = 1\non = 1", "must be true or false"),
        ("count = 1\nnames = [1]", r"names\[0\] = 1: must be text"),
        ("count = 1\nweights = { k = 'x' }", "weights.k = 'x': must be a number"),
        ("count = 1\n[inner]\nkind = 'c'", "inner.kind = 'c': must be 'a' or 'b'"),
        ("count = 1\n[inner]\npair = [1]", "inner.pair .* must be a list of 2 values"),
        ("count = 1\n[inner]\nknid = 'a'", "inner.knid: is not known; did you mean kind?"),
        ("count = 1\ninner = 3", "inner = 3: must be a table"),
        ("count = 1\nmaybe = 'x'", "maybe = 'x': must be a whole number"),
        ("count = -1", "x.toml: count: must not be negative"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        built(text)


options = st.one_of(st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text(max_size=8))


@given(
    st.dictionaries(st.text(min_size=1, max_size=8), options, max_size=4),
    st.dictionaries(st.text(min_size=1, max_size=8), st.floats(0, 9), max_size=3),
    st.lists(st.text(max_size=8), max_size=3),
)
def test_what_is_dumped_reads_back_equal(options: dict[str, Any], layers: dict[str, float], files: list[str]) -> None:
    recipe = Recipe(NetworkRecipe("EDSR", (2,), options), loss=LossRecipe(perceptual=layers), title="a\n'b' \"c\" \x7f é")
    recipe = replace(recipe, data=replace(recipe.data, train=tuple(files)))
    assert toml.build(Recipe, tomllib.loads(toml.dump(recipe)), "x") == recipe


def test_settings_win(tmp_path: Path) -> None:
    recipe = load_recipe(
        "srresnet_x4", ["train.steps=7", "data.train=some/dir", "train.betas=[0.5, 0.9]", "network.options.num_block=2"]
    )
    assert (recipe.train.steps, recipe.data.train, recipe.train.betas) == (7, ("some/dir",), (0.5, 0.9))
    assert recipe.network.options == {"num_block": 2, "num_feat": 64}
    for bad in ("train.steps", "=3", "train..steps=3", "train.stepps=3"):
        with pytest.raises(ConfigError):
            load_recipe("srresnet_x4", [bad])


def test_a_file_anywhere_extends_one_that_vsr_brings(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "edsr_baseline_x2"\n[train]\nsteps = 9')
    found = load_recipe(str(tmp_path / "mine.toml"))
    assert found.train.steps == 9 and found.network == load_recipe("edsr_baseline_x2").network
    (tmp_path / "other.toml").write_text('extends = "edsr_baseline_x22"')
    with pytest.raises(ConfigError, match="did you mean edsr_baseline_x2"):
        load_recipe(str(tmp_path / "other.toml"))


def test_a_file_extends_another(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('title = "a"\n[network]\narchitecture = "EDSR"\n[train]\nsteps = 5\nseed = 3')
    (tmp_path / "b.toml").write_text('extends = "a"\n[train]\nsteps = 9')
    recipe = load_recipe(str(tmp_path / "b.toml"))
    assert (recipe.name, recipe.title, recipe.train.steps, recipe.train.seed) == ("b", "a", 9, 3)
    (tmp_path / "a.toml").write_text('extends = "b"')
    with pytest.raises(ConfigError, match="extends itself"):
        load_recipe(str(tmp_path / "b.toml"))


@pytest.mark.parametrize("name", ["a/b", "../a", "best"])
def test_a_name_is_that_of_a_file_of_its_own(name: str) -> None:
    with pytest.raises(ConfigError, match="name: becomes that of a file"):
        load_recipe("srresnet_x4", [f"name={name}"])


def test_names_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean esrgan_x4"):
        load_recipe("esrgan_4x")
    with pytest.raises(ConfigError, match="no such file"):
        load_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(ConfigError, match="is no TOML"):
        load_recipe(str(tmp_path / "bad.toml"))
    with pytest.raises(ConfigError):
        load_recipe("../pyproject")


def test_every_result_of_the_papers_has_a_recipe_and_a_small_twin() -> None:
    wanted = {
        "srresnet_x4", "srgan_mse_x4", "srgan_vgg22_x4", "srgan_vgg54_x4",
        "edsr_baseline_x2", "edsr_baseline_x3", "edsr_baseline_x4",
        "edsr_x4", "mdsr", "esrgan_psnr_x4", "esrgan_x4", "esrgan_x2", "compact_x2", "compact_x4", "edvr_m_x4", "edvr_l_x4",
        "edvr_deblur", "finetune_video_x4",
    }  # fmt: skip
    assert set(FULL) == wanted
    assert {f"{name}_small" for name in wanted} <= set(recipe_names())


@pytest.mark.parametrize(
    "name", [name for name in recipe_names() if "edvr_l" not in name and name != "edvr_deblur" and name != "edsr_x4"]
)
def test_recipes_build(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.title and recipe.paper
    if not recipe.network.architecture and not available(recipe.train.init):
        pytest.skip(f"vsr models pull {recipe.train.init}")
    begun = build_generator(recipe.network, 0, "" if recipe.network.architecture else recipe.train.init)
    assert begun.network.spec.scale == max(recipe.network.scales)
    assert begun.network.spec.context == recipe.data.frames // 2
    critic = build_critic(recipe.loss, recipe.data.crop * max(recipe.network.scales), 0)
    assert (critic is None) == (recipe.loss.adversarial == "none")
    assert (recipe.data.crop * max(recipe.network.scales)) % begun.network.spec.multiple_of == 0


def test_srgan_has_the_paper_s_weights() -> None:
    for name in ("srgan_vgg22_x4", "srgan_vgg54_x4"):
        loss = load_recipe(name).loss
        assert loss.pixel_weight == 0  # the content loss is VGG's alone
        assert loss.perceptual == {name.split("_")[1]: 1.0}  # after the activation
        assert (loss.perceptual_pixel, loss.perceptual_weight) == ("mse", 0.006)  # 1 / 12.75 on features
        assert (loss.adversarial, loss.adversarial_weight, loss.discriminator) == ("standard", 1e-3, "SRGANDiscriminator")
    loss = load_recipe("srgan_mse_x4").loss
    assert (loss.pixel, loss.pixel_weight, loss.adversarial_weight) == ("mse", 4.0, 1e-3)  # of -1..1
    train = load_recipe("srgan_vgg54_x4").train
    assert (train.steps, train.rate, train.milestones, train.gamma, train.init) == (200_000, 1e-4, (100_000,), 0.1, "srresnet")
    recipe = load_recipe("srresnet_x4")
    assert (recipe.train.steps, recipe.train.rate, recipe.data.crop * 4, recipe.data.batch) == (1_000_000, 1e-4, 96, 16)


def test_esrgan_has_the_paper_s_weights() -> None:
    for name in ("esrgan_x4", "esrgan_x2"):
        recipe = load_recipe(name)
        loss, train = recipe.loss, recipe.train
        assert (loss.pixel, loss.pixel_weight) == ("l1", 1e-2)
        assert (loss.perceptual, loss.perceptual_weight) == ({"conv5_4": 1.0}, 1.0)  # before the activation
        assert (loss.adversarial, loss.adversarial_weight) == ("relativistic", 5e-3)
        assert (train.rate, train.milestones, train.gamma, train.steps) == (
            1e-4,
            (50_000, 100_000, 200_000, 300_000),
            0.5,
            400_000,
        )
        assert recipe.data.crop * max(recipe.network.scales) == 128
    psnr = load_recipe("esrgan_psnr_x4")
    assert (psnr.loss.pixel, psnr.train.rate, psnr.train.steps) == ("l1", 2e-4, 1_000_000)
    assert psnr.network.options["num_block"] == 23


def test_edsr_and_edvr_have_the_papers_numbers() -> None:
    for scale in (2, 3, 4):
        recipe = load_recipe(f"edsr_baseline_x{scale}")
        assert (recipe.data.crop, recipe.data.batch, recipe.loss.pixel, recipe.train.rate) == (48, 16, "l1", 1e-4)
        assert (recipe.train.milestones, recipe.train.betas) == ((200_000,), (0.9, 0.999))
        assert bool(recipe.train.init) == (scale > 2)
    assert load_recipe("edsr_x4").network.options == {"num_block": 32, "num_feat": 256, "res_scale": 0.1}
    assert load_recipe("mdsr").network.scales == (2, 3, 4)
    edvr = load_recipe("edvr_m_x4")
    assert (edvr.loss.pixel, edvr.train.rate, edvr.train.schedule, edvr.data.batch, edvr.data.crop) == (
        "charbonnier",
        4e-4,
        "cosine",
        32,
        64,
    )
