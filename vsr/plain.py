"""Dataclasses as what JSON knows, and back."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from fractions import Fraction
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def to_plain(value: Any) -> Any:
    """Nested dataclasses, tuples and fractions as what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def from_plain(kind: Any, value: Any) -> Any:
    """The inverse of `to_plain`, by the type hints of the dataclass `kind`. Raises TypeError or KeyError for other data."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{f.name: from_plain(hints[f.name], value[f.name]) for f in fields(kind)})
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        return from_plain(next(a for a in arguments if a is not NoneType), value)
    if kind is Fraction:
        return Fraction(value)
    if origin is tuple:
        kinds = (arguments[0],) * len(value) if len(arguments) == 2 and arguments[1] is Ellipsis else arguments
        return tuple(from_plain(k, item) for k, item in zip(kinds, value, strict=True))
    if origin is dict:
        return {key: from_plain(arguments[1], item) for key, item in value.items()}
    return value
