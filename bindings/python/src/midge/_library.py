"""The shared library: where it is, its functions, and its failures as exceptions."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from threading import get_ident
from typing import Any, Callable, NoReturn, Union

from midge import _arguments, _ffi
from midge._errors import (
    AddressInUse,
    ArgumentError,
    ConfigError,
    ForkedError,
    IoError,
    MidgeError,
    StateError,
    Stopped,
    TopicError,
)

_NAMES = {"darwin": "libmidge.dylib", "win32": "midge.dll"}


def find() -> str:
    """The path of the library: what MIDGE_LIBRARY says, else beside this file."""
    named = os.environ.get("MIDGE_LIBRARY")
    if named:
        return named
    path = Path(__file__).with_name(_NAMES.get(sys.platform, "libmidge.so"))
    if not path.is_file():
        raise ImportError(f"{path} is missing; install the midge wheel, or name the library in MIDGE_LIBRARY")
    return str(path)


_path = find()

inside: set[int] = set()
"""The threads that are in the library and do not hold the interpreter's lock, or are in a callback of it."""


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the library, of which `drain` knows when it runs.

    A thread that wants the interpreter's lock when the interpreter ends is torn out of where it is. If that is a
    callback in the middle of the library, the process is aborted.
    """

    def call(*arguments: Any) -> Any:
        thread = get_ident()
        if thread in inside:
            return function(*arguments)
        inside.add(thread)
        try:
            return function(*arguments)
        finally:
            inside.discard(thread)

    return call


def drain(patience: float) -> None:
    """Waits, before the interpreter ends, until no other thread is in the library."""
    deadline = time.monotonic() + patience
    while inside - {get_ident()} and time.monotonic() < deadline:
        time.sleep(0.001)


class Guarded:
    """The functions of a library, each guarded."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """The functions of `library`."""
        self._library = library

    def __getattr__(self, name: str) -> Any:
        function = guarded(getattr(self._library, name))
        setattr(self, name, function)
        return function


_unguarded = ctypes.CDLL(_path)
# Calls that may wait: they let other threads of Python run.
waiting = Guarded(_unguarded)
# Calls that take a microsecond: they keep the interpreter's lock, which costs more than they do. It is safe because
# nothing that holds a lock of the library ever waits for the interpreter: it never calls into Python.
quick = ctypes.PyDLL(_path)

_ffi.declare(_unguarded)
_ffi.declare(quick)

Library = Union[ctypes.PyDLL, Guarded]
"""Either of them."""


_EXCEPTIONS: dict[int, type[MidgeError]] = {
    _ffi.MIDGE_STATUS_CONFIG: ConfigError,
    _ffi.MIDGE_STATUS_ADDRESS_IN_USE: AddressInUse,
    _ffi.MIDGE_STATUS_IO: IoError,
    _ffi.MIDGE_STATUS_TOPIC: TopicError,
    _ffi.MIDGE_STATUS_INVALID_ARGUMENT: ArgumentError,
    _ffi.MIDGE_STATUS_STATE: Stopped,
    _ffi.MIDGE_STATUS_IN_CALLBACK: StateError,
    _ffi.MIDGE_STATUS_FORKED: ForkedError,
}


def text_of(value: bytes | None) -> str:
    """A string that the library lent."""
    return "" if value is None else value.decode("utf-8", "replace")


def raise_for(status: int, error: ctypes.c_void_p | None = None, context: str = "") -> NoReturn:
    """Raises the exception for a failed call.

    `error` is the library's own, which this frees; a call that gives none has the sentence of its status. `context`
    comes before.
    """
    sentence = ""
    if error is not None and error.value is not None:
        sentence = text_of(quick.midge_error_message(error))
        quick.midge_error_free(error)
    sentence = sentence or text_of(quick.midge_status_help(status))
    raise _EXCEPTIONS.get(status, MidgeError)(f"{context}: {sentence}" if context else sentence)


def raise_for_topic(status: int, check: str, name: bytes, context: str) -> NoReturn:
    """Raises the exception for a failed call that says in no words what is wrong with a topic: `check` does."""
    error = ctypes.c_void_p()
    if status == _ffi.MIDGE_STATUS_TOPIC:
        getattr(quick, check)(name, ctypes.byref(error))
    raise_for(status, error, "" if error.value is not None else context)


def version() -> str:
    """The version of the library."""
    return text_of(quick.midge_version())


def milliseconds(seconds: float | None, argument: str = "timeout") -> int:
    """A time in milliseconds, rounded up; -1 for ever."""
    seconds = _arguments.seconds(argument, seconds)
    if seconds is None:
        return -1
    return max(0, min(2**31 - 1, int(seconds * 1000 + 0.999))) if seconds < 2**21 else 2**31 - 1


def bound_to_process(value: object) -> TypeError:
    """Why something cannot be pickled or copied."""
    name = f"midge.{type(value).__name__}"
    return TypeError(f"a {name} belongs to the process that made it: it cannot be pickled or copied")


LONGEST = 65_535
"""Bytes of the longest text that MQTT can carry."""


def encode(argument: str, text: str, refusal: type[MidgeError] = ArgumentError) -> bytes:
    """A text for the library, which takes UTF-8 that a NUL ends."""
    try:
        encoded = text.encode()
    except (AttributeError, TypeError):
        raise _arguments.needed(argument, "a str", text) from None
    except UnicodeEncodeError:
        raise refusal(f"{argument}: {text!r} has no UTF-8 form") from None
    if not isinstance(encoded, bytes):
        raise _arguments.needed(argument, "a str", text)
    if b"\0" in encoded:
        raise refusal(f"{argument}: {text!r} holds U+0000, which is not allowed")
    return encoded


def encode_property(argument: str, text: str) -> bytes:
    """A text that travels as a property."""
    return within(argument, encode(argument, text))


def within(argument: str, data: bytes) -> bytes:
    """The same bytes, unless MQTT cannot carry so many."""
    if len(data) > LONGEST:
        raise ArgumentError(f"{argument}: is {len(data)} bytes long; MQTT carries at most {LONGEST}")
    return data
