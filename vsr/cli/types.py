"""What options may look like: sizes, times, numbers or words, KEY=VALUE."""

from __future__ import annotations

from typing import Any

import click


def is_number(text: str) -> bool:
    """Plain decimal digits; Python would also take other scripts' and superscripts for digits."""
    return text.isascii() and text.isdigit() and len(text) < 10


class Size(click.ParamType[tuple[int, int]]):
    """WIDTHxHEIGHT."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        width, _, height = str(value).lower().partition("x")
        if not (is_number(width) and is_number(height) and int(width) and int(height)):
            self.fail(f"{value!r} is not WIDTHxHEIGHT, as in 3840x2160", param, ctx)
        return int(width), int(height)


class Within(click.FloatRange):
    """From one number to another."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number != number:  # NaN is on neither side of a bound
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class Share(Within):
    """From 0 to 1."""

    def __init__(self) -> None:
        super().__init__(0, 1)


class Time(click.ParamType[float]):
    """Seconds, or [HH:]MM:SS[.fraction]."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        parts = str(value).split(":")
        try:
            seconds = 0.0
            for part in parts:
                seconds = seconds * 60 + float(part)
                if float(part) < 0 or len(parts) > 3:
                    raise ValueError
        except ValueError:
            self.fail(f"{value!r} is no time: give seconds or HH:MM:SS", param, ctx)
        if not 0 <= seconds < 1e9:
            self.fail(f"{value!r} is out of range", param, ctx)
        return seconds


class Segment(click.ParamType[Any]):
    """Seconds, or auto."""

    name = "SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "auto":
            return value
        seconds = Time().convert(value, param, ctx)
        if 0 < seconds < 0.04:
            self.fail(f"{value!r}: segments are 0 (off) or at least 0.04 s long", param, ctx)
        return seconds


class NumberOr(click.ParamType[Any]):
    """A positive integer, or one of a few words."""

    def __init__(self, *words: str) -> None:
        self.words, self.name = words, "|".join(("N", *words))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.words:
            return value
        if not is_number(str(value)) or not 1 <= int(value) <= 65536:
            self.fail(
                f"{value!r}: give a number from 1 to 65536{', or ' if self.words else ''}{' or '.join(self.words)}", param, ctx
            )
        return int(value)


def key_value(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for item in value:
        key, equals, text = item.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{item!r} is not KEY=VALUE")
        pairs[key] = text
    return pairs
