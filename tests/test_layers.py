"""Who may import whom: the architecture of docs/architecture.md, held by reading the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "vsr"
# Layers from left to right; imports go leftwards only. Members of one set are strangers, but where ALLOWED says otherwise.
LAYERS: tuple[set[str], ...] = (
    {"errors", "fields", "frames", "config", "plain", "plan", "journal", "toml", "recipe"},
    {"color", "resample", "scenes", "metrics", "temporal", "lpips", "niqe", "names", "segments", "sizes"},
    {"media", "models"},
    {"engine"},
    {"choose_engine", "cutting", "losses", "measure", "outputs", "planning", "report", "stills", "estimate", "pipeline"}
    | {"finishing", "workfolder", "train"},
    {"jobs", "bench"},
    {"cli", "__main__"},
)
# Inside a layer: who may import which neighbour.
ALLOWED = {
    "frames": {"errors"},
    "config": {"errors", "fields"},
    "plan": {"config", "fields", "frames", "errors"},
    "journal": {"plain", "plan", "errors"},
    "toml": {"errors"},
    "recipe": {"toml"},
    "metrics": {"resample"},
    "temporal": {"metrics"},
    "niqe": {"resample"},
    "planning": {"choose_engine", "cutting", "losses", "measure", "outputs"},
    "stills": {"choose_engine", "report"},
    "estimate": {"losses", "measure", "outputs", "planning", "pipeline"},
    "workfolder": {"planning"},
    "finishing": {"outputs", "report"},
    "pipeline": {"finishing", "losses", "outputs", "planning", "report", "stills", "workfolder"},
    "__main__": {"cli"},
}
# One owner for each library: where it may be imported.
OWNERS = {
    "av": ("media",), "decord": ("media",), "ffmpeg": ("media",), "imageio_ffmpeg": ("media",), "PIL": ("media",),
    "click": ("cli",), "tqdm": ("cli",),
    "threading": ("engine/prefetch",), "queue": ("engine/prefetch",),
    "ncnn": ("engine/ncnn_cpu", "engine/ncnn_vulkan"), "spandrel": ("models",), "safetensors": ("models", "train"),
    "torchvision": ("models",), "onnxruntime": ("models",),
    "h5py": ("models/keras",), "urllib.request": ("models/download",),
    "multiprocessing": ("jobs",), "ray": ("jobs",), "http.server": ("bench/rate",),
    "fsspec": ("jobs/filesystems",), "paramiko": ("jobs/filesystems",),
}  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    """engine/lanes for vsr/engine/lanes.py"""
    return path.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__")


def imports(path: Path) -> Iterator[str]:
    """Every dotted name that a file imports, wherever in the file (TYPE_CHECKING blocks too)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(part: str) -> int:
    found = [i for i, members in enumerate(LAYERS) if part in members]
    assert found, f"vsr.{part} has no layer: add it to LAYERS and to docs/architecture.md"
    return found[0]


@pytest.mark.parametrize("path", [f for f in FILES if f != ROOT / "__init__.py"], ids=module_of)
def test_imports_go_leftwards_only(path: Path) -> None:
    own = module_of(path).split("/")[0]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "vsr" or len(parts) < 2 or not ((ROOT / parts[1]).is_dir() or (ROOT / f"{parts[1]}.py").is_file()):
            continue
        other = parts[1]
        if other == own:
            continue
        allowed = layer_of(other) < layer_of(own) or other in ALLOWED.get(own, set())
        assert allowed, f"vsr.{own} may not import vsr.{other}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_each_library_has_one_owner(path: Path) -> None:
    module = module_of(path)
    for name in imports(path):
        for library, owners in OWNERS.items():
            if name == library or name.startswith(f"{library}."):
                assert any(module == o or module.startswith(f"{o}/") for o in owners), (
                    f"{module} imports {library}, which belongs to {owners}"
                )


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_cuda_streams_belong_to_lanes_and_processes_to_ranks(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "cuda.Stream(" not in text or module_of(path) == "engine/lanes"
    assert "torch.distributed" not in text or module_of(path) == "train/ranks"


def test_layer_zero_and_the_command_line_know_no_torch() -> None:
    for part in ("errors", "frames", "config", "plan", "names"):
        assert not any(name.split(".")[0] in ("torch", "av") for name in imports(ROOT / f"{part}.py"))


def test_no_cycles_between_modules() -> None:
    graph: dict[str, set[str]] = {}
    names = {module_of(f): f for f in FILES if f.name != "__init__.py"}
    for module, path in names.items():
        found = {name.removeprefix("vsr.").replace(".", "/") for name in imports(path) if name.startswith("vsr.")}
        graph[module] = {n for n in found if n in names and n != module}
    visiting: list[str] = []
    done: set[str] = set()

    def visit(module: str) -> None:
        assert module not in visiting, f"import cycle: {' -> '.join([*visiting[visiting.index(module) :], module])}"
        if module in done:
            return
        visiting.append(module)
        for other in sorted(graph[module]):
            visit(other)
        visiting.pop()
        done.add(module)

    for module in sorted(graph):
        visit(module)


def test_sub_packages_are_plain_folders() -> None:
    for init in ROOT.glob("*/__init__.py"):
        assert init.read_text(encoding="utf-8") == "", f"{init} must stay empty"


def test_print_belongs_to_the_command_line() -> None:
    for path in FILES:
        calls = (n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call))
        printing = any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
        assert not printing or module_of(path).startswith("cli/"), f"{path} prints"
