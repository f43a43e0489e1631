"""What users hold in their hands: the exported names, and documents whose commands, links and Python are real."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import vsr
from vsr.cli.main import cli
from vsr.config import EncodeConfig, UpscaleConfig
from vsr.models.zoo import ZOO

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for folder in (ROOT, *(ROOT / name for name in ("docs", "docs/decisions", "examples", "benchmarks", "pipelines", "configs")))
    for path in folder.glob("*.md")
)
EXPORTED = ["EncodeConfig", "Progress", "Report", "UpscaleConfig", "VsrError", "probe", "upscale"]
PLACEHOLDERS = {
    "NAME",
    "NAME|PATH",
    "PATH",
    "esrgn",
}  # where a model stands in the documents; the last is what an error message is about
FOREIGN = {"--strict"}  # options of other programs in running text: mypy's


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---- names ----------------------------------------------------------------------------------------------------------


def test_exported_names() -> None:
    assert vsr.__all__ == EXPORTED
    assert set(EXPORTED) <= set(dir(vsr))


@pytest.mark.parametrize("name", EXPORTED)
def test_every_exported_name_resolves_and_is_documented(name: str) -> None:
    item = getattr(vsr, name)
    assert item.__name__ == name
    # a dataclass without a docstring gets its own signature as one
    assert item.__doc__ and not item.__doc__.startswith(f"{name}(")
    for attribute, member in vars(item).items() if inspect.isclass(item) else ():
        assert attribute.startswith("_") or not inspect.isfunction(member) or member.__doc__, f"{name}.{attribute}"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'upscail'"):
        vsr.upscail  # noqa: B018


@pytest.mark.parametrize("statement", ["import vsr", "from vsr.cli.main import cli; list(cli.commands)"])
def test_neither_the_import_nor_the_command_line_loads_torch_or_av(statement: str) -> None:
    script = f"{statement}\nimport sys; print(sorted({{'torch', 'av', 'numpy', 'PIL'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_option_of_upscale_has_a_field_and_every_field_an_option() -> None:
    """`vsr upscale` and the API do the same, under the same names; what is only said or shown is the command line's own."""
    shown = {"dry_run", "json_file", "progress", "verbose", "quiet", "log"}
    renamed = {"encoder_options": "options", "no_verify": "verify", "no_resume": "resume"}
    options = {str(p.name) for p in cli.commands["upscale"].params} - shown
    # `share`: said by those who start several processes
    fields = {*UpscaleConfig.__dataclass_fields__, *EncodeConfig.__dataclass_fields__} - {"encode", "share"}
    assert {renamed.get(name, name) for name in options} == fields


# ---- documents ------------------------------------------------------------------------------------------------------


def blocks(path: Path, language: str = "") -> Iterator[str]:
    """The fenced code blocks of a Markdown file in one language ("" = without one)."""
    for found, body in re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        if found == language:
            yield body


def commands_in(path: Path) -> list[list[str]]:
    """Every `vsr ...` line of the code blocks, and every `vsr ...` in running text, as words."""
    lines = [line.strip().removeprefix("$ ") for body in blocks(path) for line in body.splitlines()]
    outside = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    lines += re.findall(r"`((?:\.venv/bin/)?vsr [^`]+)`", outside)
    words = [shlex.split(line.replace("[", "").replace("]", ""), comments=True) for line in lines if is_command(line)]
    return [line[1:] for line in words]


def is_command(line: str) -> bool:
    return line.startswith(("vsr ", ".venv/bin/vsr "))


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the first words name, and what is left for it."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def arguments_of(words: list[str]) -> list[str]:
    """Without redirections, and without "options", which stands for any."""
    cut = next((i for i, word in enumerate(words) if word in ("<", ">", "|")), len(words))
    return [word for word in words[:cut] if word != "options"]


WRITTEN = [
    pytest.param(words, id=f"{relative(path)}: {' '.join(words)[:70]}") for path in DOCUMENTS for words in commands_in(path)
]


def test_the_documents_hold_commands() -> None:
    assert len(WRITTEN) > 25


@pytest.mark.parametrize("words", WRITTEN)
def test_written_commands_exist(words: list[str]) -> None:
    """Parsed by the program itself: commands, options and values, and the names of models."""
    command, rest = find_command(words)
    rest = arguments_of(rest)
    if not rest or rest == ["--help"]:
        return
    context = command.make_context("vsr", rest)  # raises for an unknown option, a missing argument or a value out of range
    model = context.params.get("model") or context.params.get("name")
    assert model is None or model in ZOO or model in PLACEHOLDERS or model == "vgg19" or "/" in model


def test_documented_options_are_the_program_s() -> None:
    """docs/cli.md lists every option of `vsr upscale`, and none that it has not."""
    table = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `-")]
    documented = {name for row in rows for name in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row)}
    options = {name for p in cli.commands["upscale"].params for name in p.opts if name.startswith("-")}
    assert documented <= options
    assert options - documented == {"-o", "--output", "--verbose", "--quiet"}  # above the table, or by their short names


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_option_named_anywhere_exists(path: Path) -> None:
    """`--tile off` in running text, too. Options of other programs stand in code blocks."""
    known = {name for command in (cli, *walk(cli)) for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    named = {name for code in re.findall(r"`(-[^`]*)`", text) for name in re.findall(r"(?:^|\s)(--[a-z-]+)", code)}
    assert named - FOREIGN <= known


def walk(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from walk(command)


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_links_to_local_files_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (path.parent / link).exists(), f"{relative(path)} links to {link}"


def test_python_in_the_documents_uses_what_is_exported() -> None:
    """Parsed, not run: names imported from vsr, and keywords of the two configs."""
    bodies = [body for path in DOCUMENTS for body in blocks(path, "python")]
    assert bodies
    fields = {"UpscaleConfig": UpscaleConfig.__dataclass_fields__, "EncodeConfig": EncodeConfig.__dataclass_fields__}
    for node in (node for body in bodies for node in ast.walk(ast.parse(body))):
        if isinstance(node, ast.ImportFrom) and node.module == "vsr":
            assert {alias.name for alias in node.names} <= set(EXPORTED)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in fields:
            assert {keyword.arg for keyword in node.keywords} <= set(fields[node.func.id])


def test_readme_lists_the_zoo() -> None:
    """Every model with its parameters and its cost, as the table of the program has them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = {cells[1].strip(" `"): cells for line in text.splitlines() if (cells := line.split("|"))[1:] and "`" in cells[1]}
    for name, entry in ZOO.items():
        spec = entry.networks[0].spec
        assert rows[name][3].strip() == f"{spec.parameters:,}"
        assert float(rows[name][4]) == pytest.approx(spec.mflop_per_pixel)


def test_every_module_stands_in_the_architecture() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    layout = page.split("## Layout")[1].split("## One-way street")[0]
    for path in (ROOT / "vsr").rglob("*.py"):
        name = path.stem if path.stem != "__init__" else "vsr"
        assert re.search(rf"\b{re.escape(name)}\b", layout), f"docs/architecture.md does not name {relative(path)}"


def test_files_for_the_reader_name_no_machine() -> None:
    """Paths of the machine that something was written on help nobody."""
    for path in DOCUMENTS:
        assert not re.search(r"/(?:home|root|work|tmp)/", path.read_text(encoding="utf-8")), relative(path)
