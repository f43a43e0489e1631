"""What is kept of every kind of file that the tests make:  python -m benchmarks.fidelity  (or `make fidelity`)

Upscales each film of the fidelity contract (tests/media/contract_cases.py) with bicubic x2, lets `vsr verify` judge the result
with its pixels, and writes docs/fidelity.md. The text says nothing of the machine or of time: who runs it gets the same.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import av

from tests.media.contract_cases import CASES, GROUPS, Case, described
from vsr import EncodeConfig, UpscaleConfig, VsrError, __version__, upscale
from vsr.media.check import Check
from vsr.media.verify import verify_files

os.environ.setdefault("SVT_LOG", "1")  # errors only
TABLE = Path(__file__).parent.parent / "docs" / "fidelity.md"
BROKEN = "BROKEN"
FACTS = ("file", "codec", "samples", "what is odd about it")
# A column and the promises of `vsr verify` in it; " stream " stands for each sound, subtitle, data and further film
COLUMNS: dict[str, tuple[str, ...]] = {
    "frames": ("frames", "interlacing"),
    "times": ("timestamps", "last frame"),
    "other streams": (" stream ",),
    "sync": ("sync",),
    "labels, chapters, tags": ("languages", "titles", "dispositions", "chapters", "tags"),
    "attachments, covers": ("attachments", "cover art"),
    "rotation, aspect": ("rotation", "aspect"),
    "colour tags, depth, alpha, HDR": ("colour tags", "bit depth", "alpha", "HDR"),
    "captions, AFD, timecode": ("captions", "active format", "timecode"),
    "own frame": ("pixels",),
    "colours": ("colours",),
}
HEAD = """# What is kept, file by file

Made by running `make fidelity` (benchmarks/fidelity.py) with vsr {version}, PyAV {av} and FFmpeg {ffmpeg}. Every film is made by
code, upscaled with `--model bicubic --scale 2`, and judged by `vsr verify`, which decodes source and output side by side. The
same films are tests, where each output is looked at once more without vsr's own code (tests/media/test_contract.py).

`ok`: the promise is kept, and nothing has to be said. `stated`: kept as far as the output's format allows; what is not is said.
`BROKEN`: the promise is not kept. An empty cell: the film has nothing of the kind.

**{total} films, {promises} promises: {kept} kept, {stated} stated, {broken} broken.**
"""


def judged(case: Case) -> list[Check] | str:
    """The checks of one case, or why there is no output to check."""
    with tempfile.TemporaryDirectory() as folder:
        _, source = case.make(Path(folder))
        output = str(source.with_name(f"out{case.output}")) if case.output else None
        encode = EncodeConfig(crf=4, preset="ultrafast")
        config = UpscaleConfig(str(source), output, scale=2, model="bicubic", encode=encode, verify=False)
        try:
            return [*verify_files(str(source), upscale(config).output)]
        except VsrError as exc:
            return str(exc).replace(folder, "").split(": ", 1)[-1]


def cell(checks: Sequence[Check]) -> str:
    """What a column says of its promises, the worst first."""
    for word, some in ((BROKEN, [c for c in checks if not c.ok]), ("stated", [c for c in checks if c.stated])):
        if some:
            return f"{word}: {'; '.join(_shortened(c) for c in some)}"
    return "ok" if checks else ""


def _shortened(check: Check) -> str:
    # what is measured may differ in its last digit from machine to machine
    detail = re.sub(r"^\([^)]*\) ", "", re.sub(r"[+-]?\d+\.\d{3,}", "…", check.detail)).replace("|", "/")
    name = "" if check.name in ("frames", "captions") else f"{check.name} "
    return f"{name}{detail}" if len(detail) <= 140 else f"{name}{detail[:139]}…"


def row(case: Case, found: list[Check] | str) -> str:
    """One line of the table."""
    if isinstance(found, str):
        cells = [f"{BROKEN}: {found}", *[""] * (len(COLUMNS) - 1)]
    else:
        cells = [cell([c for c in found if any(_is_of(c, name) for name in names)]) for names in COLUMNS.values()]
    return _line([case.name, *described(case), *cells])


def _is_of(check: Check, name: str) -> bool:
    return name in check.name if name == " stream " else check.name == name


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(results: dict[Case, list[Check] | str]) -> str:
    """The whole page."""
    checks = [check for found in results.values() if not isinstance(found, str) for check in found]
    lost = sum(isinstance(found, str) for found in results.values())
    stated, broken = sum(c.stated and c.ok for c in checks), sum(not c.ok for c in checks) + lost
    head = HEAD.format(
        version=__version__, av=av.__version__, ffmpeg=av.ffmpeg_version_info, total=len(results),
        promises=len(checks) + lost, kept=len(checks) + lost - stated - broken, stated=stated, broken=broken,
    )  # fmt: skip
    titles = ["film", *FACTS, *COLUMNS]
    parts = [head]
    if faults := [f"- {case.name}: {known(case)}" for case in results if known(case)]:
        parts.append("\n".join(["Known faults, of the tool or of its judge:\n", *faults]) + "\n")
    for group, cases in GROUPS.items():
        rows = [row(case, results[case]) for case in cases]
        parts.append("\n".join([f"## {group.capitalize()}\n", _line(titles), _line(["---"] * len(titles)), *rows]) + "\n")
    return "\n".join(parts)


def known(case: Case) -> str:
    """Why a promise of this case is known to be broken, or wrongly called so."""
    return case.wrong or case.refuted


def main() -> int:
    """Writes the page; 1 when a promise is broken that is not known to be."""
    results = {case: judged(case) for case in CASES}
    TABLE.write_text(table(results), encoding="utf-8")
    unexpected = [case.name for case, found in results.items() if BROKEN in row(case, found) and not known(case)]
    print(f"{TABLE}: {len(results)} films{f'; BROKEN: {unexpected}' if unexpected else ''}")
    return bool(unexpected)


if __name__ == "__main__":
    sys.exit(main())
