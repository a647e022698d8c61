"""Arguments of a wrong kind are refused with a sentence that names them."""

from __future__ import annotations

from typing import Any

from midge._errors import ArgumentError


def needed(argument: str, what: str, given: object) -> ArgumentError:
    """The error of an argument that is of a wrong type."""
    return ArgumentError(f"{argument}: {what} is needed, not {type(given).__name__}")


def text(argument: str, given: object) -> str:
    """A text."""
    if isinstance(given, str):
        return given
    raise needed(argument, "a str", given)


def whole(argument: str, given: Any, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    try:
        number = int(given.__index__())
    except (AttributeError, TypeError):
        raise needed(argument, "an int", given) from None
    if number < least:
        raise ArgumentError(f"{argument}: {number} is less than {least}")
    if number > most:
        raise ArgumentError(f"{argument}: {number} is more than {most}")
    return number


def seconds(argument: str, given: Any) -> float | None:
    """A number of seconds, or None."""
    if given is None:
        return None
    try:
        number = float(given)
    except OverflowError:
        return float("inf") if given > 0 else 0.0
    except (TypeError, ValueError):
        raise needed(argument, "a number of seconds", given) from None
    if isinstance(given, str):
        raise needed(argument, "a number of seconds", given)
    if number != number:
        raise ArgumentError(f"{argument}: {given!r} is not a number")
    return number


def function(argument: str, given: Any) -> Any:
    """Something that can be called."""
    if callable(given):
        return given
    raise needed(argument, "a function", given)
