"""Numbers that stand for Python's objects in the library."""

from __future__ import annotations

import itertools
import threading


class Numbers:
    """Numbers from 1 on, each of which is drawn once, by whatever thread."""

    def __init__(self) -> None:
        self._next = itertools.count(1)
        # An interpreter without a lock of its own counts twice or not at all. A finalizer or a signal handler may draw
        # one in the middle of another's drawing.
        self._lock = threading.RLock()

    def draw(self) -> int:
        """The next number."""
        with self._lock:
            return next(self._next)
