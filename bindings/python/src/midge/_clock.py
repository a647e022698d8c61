"""Times as people write them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Union

from midge._arguments import needed, seconds
from midge._errors import ArgumentError

__all__ = ["Span", "milliseconds_of"]

Span = Union[str, float, timedelta]
"""A time: text with its unit, such as "90s", "1500ms", "5m", "2h" or "1d"; a number of seconds; a timedelta."""

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def milliseconds_of(argument: str, span: Span) -> int:
    """A time in milliseconds, rounded up."""
    if span is None:
        raise needed(argument, "a time", span)
    if isinstance(span, timedelta):
        span = span.total_seconds()
    if isinstance(span, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", span)
        if found is None or found[2] not in _UNITS:
            raise ArgumentError(f"{argument}: {span!r} is no time; write it with a unit: ms, s, m, h, d")
        exact = float(found[1]) * _UNITS[found[2]]
    else:
        exact = (seconds(argument, span) or 0.0) * 1000.0
    if not 0 <= exact < 2**63:
        raise ArgumentError(f"{argument}: {span!r} is no time to come")
    return -int(-exact // 1)
