"""The broker's log, as records of the logger "midge"."""

from __future__ import annotations

import contextlib
import ctypes
import logging
from typing import Union

from midge import _ffi
from midge._batch import copied_text
from midge._errors import ArgumentError
from midge._library import guarded, quick, raise_for

__all__ = ["Level", "install"]

Level = Union[int, str]
"""A level of the module logging: logging.INFO, or "info"."""

_LEVELS = {
    _ffi.MIDGE_LOG_ERROR: logging.ERROR,
    _ffi.MIDGE_LOG_WARN: logging.WARNING,
    _ffi.MIDGE_LOG_INFO: logging.INFO,
    _ffi.MIDGE_LOG_DEBUG: logging.DEBUG,
}


def install(config: ctypes.c_void_p, level: Level) -> None:
    """Has the brokers of a configuration log to the logger "midge" from a level on."""
    number = number_of(level)
    finest = max((ours for ours, theirs in _LEVELS.items() if theirs >= number), default=_ffi.MIDGE_LOG_ERROR)
    status = quick.midge_config_set_log(config, finest, _write, None, _ffi.midge_free_fn())
    if status < 0:
        raise_for(status, None, "log")


def number_of(level: Level) -> int:
    """A level as a number."""
    if isinstance(level, str):
        found = logging.getLevelName(level.upper())
        if isinstance(found, int):
            return found
    elif isinstance(level, int) and not isinstance(level, bool):
        return level
    raise ArgumentError(f'log: {level!r} is no level of logging, such as logging.INFO or "info"')


@guarded
def _log(address: int) -> None:
    line = _ffi.midge_log_view.from_address(address)
    level = _LEVELS.get(line.level, logging.INFO)
    logger = logging.getLogger("midge")
    if logger.isEnabledFor(level):
        text = copied_text(line.text) or ""
        logger.log(level, "%s", text, extra={"client_id": copied_text(line.client_id)})


@_ffi.midge_log_fn
def _write(address: int, _: int | None) -> None:
    """Called by the library, on any thread."""
    with contextlib.suppress(BaseException):  # a handler that raises has nowhere to say so
        _log(address)
