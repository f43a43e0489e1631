"""Pictures that belong together: numbered sequences (frames_%05d.png) and folders of images.

Patterns are those of FFmpeg's image2: one ``%d`` or ``%05d`` in the file name, zero-padded to at least that many digits, ``%%``
for a percent sign. Any other percent sign is one, and folders are never patterns, so "50%done/x.png" is just a path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vsr.errors import ConfigError, DecodeError
from vsr.media.images import is_image

_FIELD = re.compile(r"%%|%(\d*)d", re.ASCII)
MAX_DIGITS = 18  # more is no frame number


@dataclass(frozen=True)
class _Pattern:
    folder: Path
    before: str
    digits: int
    after: str

    def name(self, number: int) -> str:
        return f"{self.before}{number:0{self.digits}d}{self.after}"

    def number(self, name: str) -> int | None:
        """The number that would give this name, if there is one."""
        if len(name) <= len(self.before) + len(self.after):
            return None
        digits = name[len(self.before) : len(name) - len(self.after)]
        if not (digits.isascii() and digits.isdigit()) or len(digits) > MAX_DIGITS:
            return None
        return int(digits) if self.name(int(digits)) == name else None


def is_pattern(text: str) -> bool:
    """Whether the file name in `text` has a number field: "a/frames_%05d.png" has, "a/100%.png" and "a/%%d.png" have not."""
    return any(match[0] != "%%" for match in _FIELD.finditer(Path(text).name))


def sequence_path(pattern: str, number: int) -> Path:
    """The path of one picture of a sequence. Raises ConfigError for a pattern without exactly one number field."""
    parsed = _parse(pattern)
    return parsed.folder / parsed.name(number)


def list_sequence(pattern: str) -> dict[int, Path]:
    """All files of a sequence by number, in order; numbers may start anywhere but must not have gaps.

    Raises ConfigError for a pattern without exactly one number field, DecodeError when no file matches or one is missing.
    """
    parsed = _parse(pattern)
    names = [path.name for path in _scan(parsed.folder) if path.is_file()]
    numbers = sorted(number for name in names if (number := parsed.number(name)) is not None)
    if not numbers:
        raise DecodeError(f"{pattern}: no file has such a name ({parsed.name(1)}, say){_similar(parsed, names)}")
    for wanted, number in enumerate(numbers, numbers[0]):
        if wanted != number:
            raise DecodeError(
                f"{sequence_path(pattern, wanted)}: is missing from the sequence {numbers[0]} to {numbers[-1]}; "
                "put it there, or renumber the files after it"
            )
    return {number: parsed.folder / parsed.name(number) for number in numbers}


def existing_numbers(pattern: str) -> dict[int, Path]:
    """The files of a pattern that are there, by number; gaps and emptiness are no fault."""
    parsed = _parse(pattern)
    if not parsed.folder.is_dir():
        return {}
    found = ((parsed.number(entry.name), entry.name) for entry in _scan(parsed.folder) if entry.is_file())
    return {number: parsed.folder / name for number, name in found if number is not None}


def list_images(folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The images of a folder in natural order (2 before 10), and the names of what else is in it. Hidden files do not count.

    Raises DecodeError for a folder that cannot be read or holds no image.
    """
    shown = (path for path in _scan(folder) if not path.name.startswith("."))
    images, others = [], []
    for path in sorted(shown, key=lambda path: _natural(path.name)):
        if path.is_file() and is_image(path.name):
            images.append(path)
        else:
            others.append(path.name + ("/" if path.is_dir() else ""))
    if not images:
        found = f"; it holds {', '.join(others[:3])}{', ...' if len(others) > 3 else ''}" if others else ""
        raise DecodeError(f"{folder}: holds no image (PNG, JPEG, WebP, TIFF, BMP){found}; give another folder or a file")
    return tuple(images), tuple(others)


def _parse(pattern: str) -> _Pattern:
    path = Path(pattern)
    parts, digits, at = [""], [], 0
    for match in _FIELD.finditer(path.name):
        parts[-1] += path.name[at : match.start()]
        at = match.end()
        if match[0] == "%%":
            parts[-1] += "%"
        else:
            digits.append(int(match[1] or 0))
            parts.append("")
    parts[-1] += path.name[at:]
    if len(digits) != 1 or digits[0] > MAX_DIGITS:
        raise ConfigError(f"{pattern}: a sequence needs one number field in its file name, like frames_%05d.png")
    return _Pattern(path.parent, parts[0], digits[0], parts[1])


def _scan(folder: Path) -> tuple[Path, ...]:
    try:
        return tuple(folder.iterdir())
    except FileNotFoundError as exc:
        raise DecodeError(f"{folder}: no such folder; check the name") from exc
    except OSError as exc:
        raise DecodeError(f"{folder}: cannot be read as a folder ({exc.strerror}); check the name and its permissions") from exc


def _similar(parsed: _Pattern, names: list[str]) -> str:
    """Name the pattern that was probably meant: files with the same name but another number of digits."""
    shape = re.compile(re.escape(parsed.before) + r"(\d+)" + re.escape(parsed.after), re.ASCII)
    for name in sorted(names):
        if match := shape.fullmatch(name):
            return f"; there is {name}: did you mean %0{len(match[1])}d?"
    return f"; look into {parsed.folder}"


def _natural(name: str) -> tuple[list[str | int], str]:
    """Sort key: text by letters without case, numbers by value; the name itself decides between equals."""
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(re.split(r"([0-9]+)", name))], name
