"""How often this process was born by fork: locks that another thread held then stay locked for ever."""

from __future__ import annotations

import os

from midge._library import inside

generation = 0


def _in_child() -> None:
    global generation
    generation += 1
    inside.clear()  # the other threads do not exist here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
