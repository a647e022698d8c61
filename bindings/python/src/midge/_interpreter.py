"""Refuses to be imported by a subinterpreter: the brokers of a process belong to its main interpreter."""

from __future__ import annotations

import importlib
from typing import Any


def refuse_subinterpreters() -> None:
    """Raises ImportError in an interpreter other than the main one.

    Calls keep the lock of the interpreter that loaded the library first, and `atexit` runs for each one: neither would
    hold for a broker that another interpreter uses.
    """
    module = _interpreters()
    if module is not None and module.get_current() != module.get_main():
        raise ImportError(
            "midge cannot be used in a subinterpreter; start the broker in the main interpreter, "
            "and connect to it from here with an MQTT client"
        )


def _interpreters() -> Any:
    """Python's module of interpreters; None where it has none, and so no way to make one but from C."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None
