"""TOML files as dataclasses, strictly: a key that nobody knows, or a value of another kind, is refused by its name."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vsr.errors import ConfigError

T = TypeVar("T")
Table = dict[str, Any]

EXTENDS = "extends"  # the key that names another file whose values hold where this one says nothing
_SHIPPED = Path(__file__).parent / "data"  # in the wheel
_CHECKOUT = Path(__file__).parents[1]


def find(name: str, folder: str) -> Path:
    """A file by its path, or by its name among those that vsr ships in `folder`. Raises ConfigError with the nearest name."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"{name}: there is no such file")
        return path
    here = shipped(folder)
    path = here / f"{name}.toml"
    if name and "/" not in name and path.is_file():
        return path
    names = sorted(each.stem for each in here.glob("*.toml"))
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
    raise ConfigError(f"{name}: is none of the {folder} that vsr brings: {hint}; or give a .toml file")


def shipped(folder: str) -> Path:
    """Where `configs` or `pipelines` lie: in the installed package, or in a checkout."""
    return _SHIPPED / folder if (_SHIPPED / folder).is_dir() else _CHECKOUT / folder


def read(path: Path, folder: str) -> Table:
    """The values of a file, those of the file that it extends beneath them: one beside it, or one that vsr ships in `folder`.

    Raises ConfigError.
    """
    return _read(path, folder, ())


def _read(path: Path, folder: str, above: tuple[Path, ...]) -> Table:
    if path.resolve() in above:
        raise ConfigError(f"{path}: extends itself")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: is no TOML: {exc}") from exc
    below = table.pop(EXTENDS, None)
    if below is None:
        return table
    if not isinstance(below, str) or not below:
        raise ConfigError(f"{path}: {EXTENDS}: must name another file")
    other = path.with_name(below if below.endswith(".toml") else f"{below}.toml")
    if not other.exists():
        other = find(below, folder)
    return merged(_read(other, folder, (*above, path.resolve())), table)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    """Both tables, `above` where both say something."""
    result = dict(below)
    for key, value in above.items():
        mine = result.get(key)
        result[key] = merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return result


def with_settings(table: Table, settings: Sequence[str]) -> Table:
    """The table with KEY=VALUE settings, as `train.steps=1000`; values as in TOML, or plain words. Raises ConfigError."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"--set {setting}: give KEY=VALUE, as train.steps=1000")
        value: Any = _value(text)
        for part in reversed(key.split(".")):
            value = {part: value}
        table = merged(table, value)
    return table


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """The dataclass `kind` with the values of a table; `where` (a file's name) begins every message.

    Raises ConfigError for unknown keys, missing ones, and values of another kind.
    """
    return _dataclass(kind, table, where, "")  # type: ignore[no-any-return]


def dump(value: Any) -> str:
    """A dataclass as TOML that `build` reads back to an equal one."""
    plain: list[str] = []
    tables: list[str] = []
    _dump(value, "", plain, tables)
    return "\n".join([*plain, *tables]) + "\n"


def _dump(value: Any, at: str, plain: list[str], tables: list[str]) -> None:
    items = {f.name: getattr(value, f.name) for f in fields(value)} if is_dataclass(value) else value
    inner = {key: each for key, each in items.items() if isinstance(each, dict) or is_dataclass(each)}
    lines = [f"{_key(key)} = {_literal(each)}" for key, each in items.items() if key not in inner]
    if at:
        tables.append("\n".join(["", f"[{at}]", *lines]))
    else:
        plain += lines
    for key, each in inner.items():
        _dump(each, f"{at}.{_key(key)}" if at else _key(key), plain, tables)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _text(key)


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_literal, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _text(value: str) -> str:
    """JSON's escapes are TOML's, but for one."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _dataclass(kind: Any, table: Mapping[str, Any], where: str, at: str) -> Any:
    hints, known = get_type_hints(kind), {field.name: field for field in fields(kind)}
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise ConfigError(f"{where}: {at}{key}: is not known; {hint}")
    for key, field in known.items():
        if key not in table and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{where}: {at}{key}: is missing")
    values = {key: _typed(hints[key], value, where, f"{at}{key}") for key, value in table.items()}
    try:
        return kind(**values)
    except ValueError as exc:
        raise ConfigError(f"{where}: {at}{exc}") from exc


def _typed(kind: Any, value: Any, where: str, at: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(value, dict):
        return _dataclass(kind, value, where, f"{at}.")
    if origin in (Union, UnionType):
        for each in arguments:
            if each is not NoneType and _fits(each, value):
                return _typed(each, value, where, at)
    elif origin is Literal and value in arguments:
        return value
    elif origin is tuple and isinstance(value, list):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_typed(arguments[0], each, where, f"{at}[{i}]") for i, each in enumerate(value))
        if len(value) == len(arguments):
            return tuple(_typed(k, each, where, f"{at}[{i}]") for i, (k, each) in enumerate(zip(arguments, value, strict=True)))
    elif origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis and _fits(arguments[0], value):
        return (_typed(arguments[0], value, where, at),)  # one is as good as a list of one
    elif origin is dict and isinstance(value, dict):
        return {key: _typed(arguments[1], each, where, f"{at}.{key}") for key, each in value.items()}
    elif origin is None and not is_dataclass(kind) and _fits(kind, value):
        return float(value) if kind is float else value
    raise ConfigError(f"{where}: {at} = {_shown(value)}: must be {_named(kind)}")


def _fits(kind: Any, value: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if get_origin(kind) is not None or is_dataclass(kind):
        return isinstance(value, list | dict | str)
    return isinstance(value, kind)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _named(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin in (Union, UnionType):
        return " or ".join(_named(each) for each in arguments if each is not NoneType)
    if origin is tuple:
        several = len(arguments) == 2 and arguments[1] is Ellipsis
        return f"a list of {_named(arguments[0])}" if several else f"a list of {len(arguments)} values"
    if origin is dict or is_dataclass(kind):
        return "a table"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(kind, str(kind))
