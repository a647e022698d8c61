"""What the tests share."""

from __future__ import annotations

import contextlib
import dis
import faulthandler
import importlib.metadata
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Callable

import pytest

import midge

PATIENCE = 30.0
"""Seconds after which something that should happen at once is given up."""
HANGS = 180.0
"""Seconds after which a test that pytest-timeout cannot end, as it is inside the library, ends the whole process."""
TOP = Path(__file__).resolve().parents[3]


Run = Callable[..., "subprocess.CompletedProcess[str]"]


_stderr = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keeps the stderr of the process, which pytest takes away while a test runs."""
    config.stash[_stderr] = os.dup(2)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Ends the process, with the stacks of all threads, if a test hangs without giving the interpreter's lock away.

    pytest-timeout comes first, and fails the test alone; but it needs the main thread to be back in Python.
    """
    faulthandler.dump_traceback_later(HANGS, exit=True, file=item.config.stash[_stderr])
    yield
    faulthandler.cancel_dump_traceback_later()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the process if a thread of a test that has failed keeps it; the workers of pytest-xdist are ended by it."""
    if not hasattr(config, "workerinput"):
        faulthandler.dump_traceback_later(PATIENCE, exit=True, file=config.stash[_stderr])


@pytest.fixture
def broker() -> Iterator[midge.Broker]:
    with midge.Broker("127.0.0.1:0") as broker:
        yield broker


@pytest.fixture
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program in a Python of its own."""

    def run(program: str, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        ended = finished([sys.executable, "-W", "error", "-c", textwrap.dedent(program), *arguments])
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
        ended = finished(command, cwd=tmp_path)
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended

    return run


def finished(
    command: list[str], *, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end. One that hangs shows the stacks of its threads, and of its children's."""
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"} if env is None else env
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment,
        **options,
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate(timeout=3 * PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGABRT)
            output, errors = process.communicate(timeout=PATIENCE)
            pytest.fail(f"{command} has not ended within {3 * PATIENCE:g} s:\n{output}{errors}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


@contextlib.contextmanager
def started(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python that runs meanwhile; it is killed at the end, so that a test that fails does not wait for it."""
    command = [sys.executable, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, text=True, env=buffered, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


class Interruption(BaseException):
    """What a signal handler raises in a test."""


def interrupted(functions: Sequence[Any], place: int, call: Callable[[], Any]) -> bool | None:
    """Makes a call, and raises Interruption where the calls that `functions` make have returned `place` times.

    The first of them is where it begins; the others count where one of them calls them, and not in a finalizer.
    A signal handler runs when a call has returned. False if the call ended before; None if this Python tells a trace
    function of no opcodes.
    """
    first, codes = functions[0].__code__, {function.__code__ for function in functions}
    names = {code: {step.offset: step.opname for step in dis.get_instructions(code)} for code in codes}
    returned, before, traced = 0, "", False

    def look(frame: FrameType, event: str, _: object) -> Any:
        nonlocal returned, before, traced
        if event == "opcode":
            traced = True
            returned += before.startswith("CALL")
            before = names[frame.f_code][frame.f_lasti]
            if returned > place:
                sys.settrace(None)
                raise Interruption
        return look

    def enter(frame: FrameType, event: str, _: object) -> Any:
        called = frame.f_back is not None and frame.f_back.f_code in codes
        counts = frame.f_code is first or (called and frame.f_code in codes)
        if not counts:
            return None
        frame.f_trace = look  # Python 3.13 looks at it when the next line is executed
        frame.f_trace_opcodes = True
        return look

    tracer = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 looks at it here
    sys.settrace(enter)
    try:
        call()
    except Interruption:
        return True
    finally:
        sys.settrace(tracer)
    return False if traced else None


def line(process: subprocess.Popen[str]) -> str:
    """The next line of its output."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def refuses(address: tuple[str, int]) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection(address, timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


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
