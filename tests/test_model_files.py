"""`vsr models convert` and `blend`, and `vsr upscale --blend`, as users meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.films import Film, make
from tests.models.test_blend import zoo_pair
from vsr import UpscaleConfig
from vsr.models import stored
from vsr.models.compact import SRVGGNetCompact
from vsr.planning import draft_job, fingerprint

OPTIONS = {"num_conv": 1, "num_feat": 8, "upscale": 2}


def vsr(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "vsr", *map(str, args)], capture_output=True, text=True, check=False)


def network(path: Path, seed: int) -> str:
    torch.manual_seed(seed)
    state = SRVGGNetCompact(1, num_feat=8, upscale=2).state_dict()
    return stored.write(path, state, stored.Origin("SRVGGNetCompact", OPTIONS, 2)).sha256


def test_convert_says_what_it_wrote(tmp_path: Path) -> None:
    sha256 = network(tmp_path / "a.safetensors", 1)
    torch.save({"params": (stored.read(tmp_path / "a.safetensors") or pytest.fail()).state}, tmp_path / "a.pth")
    target = tmp_path / "b.safetensors"
    done = vsr("models", "convert", tmp_path / "a.pth", target, "--json", "-")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["sha256"], facts["architecture"], facts["scale"], facts["ours"]) == (sha256, "SRVGGNetCompact", 2, True)
    again = vsr("models", "convert", tmp_path / "a.pth", target)
    assert again.returncode == 1
    assert "--overwrite" in again.stderr


def test_blend_and_its_warning(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        network(tmp_path / f"{name}.safetensors", seed)
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    done = vsr("models", "blend", *paths, "--alpha", "0.5", "-o", tmp_path / "c.safetensors")
    assert done.returncode == 0, done.stderr
    assert "SRVGGNetCompact, x2, weights" in done.stdout
    assert "may be strangers" in done.stderr
    assert vsr("models", "blend", *paths, "--alpha", "1.5", "-o", tmp_path / "d.safetensors").returncode == 2


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        ("animevideo", "no PSNR-oriented weights are known"),
        ("esrgan", "model realesrnet: its weights are not here; run: vsr models pull"),
    ],
)
def test_upscale_blend_names_what_is_missing(model: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))  # where a developer may have pulled the twin
    source = make(Film("clip", pts=(0, 512)), tmp_path)
    done = vsr("upscale", source, "--model", model, "--blend", "0.5", "-o", tmp_path / "out.mkv")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert missing in done.stderr
    assert not (tmp_path / "out.mkv").exists()


def test_another_blend_is_another_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo_pair(tmp_path, monkeypatch)
    source = str(make(Film("clip", pts=(0, 512)), tmp_path))
    prints = [
        fingerprint(draft_job(UpscaleConfig(source, str(tmp_path / "out.mkv"), scale=2, model="sharp", blend=alpha)))
        for alpha in (None, 0.25, 0.5, 1.0)
    ]
    assert len({p["weights"] for p in prints}) == 3  # 1 is the name's own weights
    assert prints[0]["weights"] == prints[3]["weights"]
