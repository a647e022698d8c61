"""What the tests share."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

import midge

PATIENCE = 30.0
"""Seconds after which something that should happen at once is given up."""
TOP = Path(__file__).resolve().parents[3]


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def broker() -> Iterator[midge.Broker]:
    with midge.Broker("127.0.0.1:0") as broker:
        yield broker


@pytest.fixture
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program in a Python of its own."""

    def run(program: str, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *arguments]
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=2 * PATIENCE, env=dict(os.environ), check=False
        )
        if status is not None:
            assert ended.returncode == status, ended.stdout + ended.stderr
        return ended

    return run


@pytest.fixture
def run_pytest(tmp_path: Path) -> Run:
    """Writes test files, and runs pytest on them."""

    def run(text: str, *arguments: str, status: int = 0, **files: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_it.py").write_text(textwrap.dedent(text))
        for name, content in files.items():
            (tmp_path / name.replace("_dot_", ".")).write_text(textwrap.dedent(content))
        command = [sys.executable, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider", *plugin(), *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=4 * PATIENCE, check=False)
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended

    return run


def plugin() -> list[str]:
    """The arguments that have pytest load the plugin, unless it is installed, and does so itself."""
    try:
        importlib.metadata.distribution("midge")
    except importlib.metadata.PackageNotFoundError:
        return ["-p", "midge.pytest_plugin"]
    return []


def until(broker: midge.Broker, seen: Callable[[], Any], what: str = "it") -> None:
    """Waits until the broker shows something."""
    for _ in range(int(PATIENCE / 0.01)):
        if seen():
            return
        broker.wait(timeout=0.01)
    pytest.fail(f"{what} was not seen")
