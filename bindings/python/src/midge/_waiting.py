"""Waiting in slices, so that the main thread handles signals, Ctrl-C among them, between two of them."""

from __future__ import annotations

import threading
import time
from typing import Callable

from midge import _arguments, _ffi
from midge._library import Library, milliseconds, quick, raise_for, waiting

SLICE = 0.1
"""Seconds that the main thread waits at a time."""
LONG = 3600.0
"""Seconds that other threads wait at a time."""


def patience() -> float:
    """Seconds that this thread waits at a time."""
    return SLICE if threading.current_thread() is threading.main_thread() else LONG


def patiently(call: Callable[[int, Library], int], timeout: float | None) -> bool:
    """Calls `call(milliseconds, library)` until it answers OK; False when `timeout` seconds have passed.

    A call that does not wait is made with the library that keeps the interpreter's lock.
    """
    timeout = _arguments.seconds("timeout", timeout)
    deadline = None if timeout is None else time.monotonic() + timeout
    at_a_time = patience()
    while True:
        left = at_a_time if deadline is None else min(at_a_time, deadline - time.monotonic())
        status = call(milliseconds(left), waiting) if left > 0 else call(0, quick)
        if status < 0:
            raise_for(status)
        if status == _ffi.MIDGE_STATUS_OK:
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
