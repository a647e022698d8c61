"""The story, told by demo/demo.py with each paho-mqtt; and what must fit other files."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import PATIENCE, TOP, finished

import midge

# Pythons that have Midge and a paho-mqtt; run.sh makes them.
PYTHONS = {"1.6.1": "MIDGE_PYTHON_PAHO_1", "2": "MIDGE_PYTHON_PAHO_2"}


@pytest.mark.parametrize("version", PYTHONS)
def test_the_whole_story(version: str) -> None:
    python = os.environ.get(PYTHONS[version])
    if python is None:
        pytest.skip(f"{PYTHONS[version]} is not set; run.sh sets it")
    found = finished([python, "-c", "import paho.mqtt as p; print(p.__version__)"])
    assert found.stdout.startswith(version)
    ended = demo(python, "--port", "0")  # and the console's with it
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(
        r"   Its console, for a browser: http://127\.0\.0\.1:\d+ \(user admin, password public\)\.\n", ended.stdout
    )
    for sentence in (
        "0 clients.",
        "published 1, no subscriber, dropped 1 (no subscriber: nobody had subscribed",
        "subscribe.py> Connected with result code 0",
        "subscribe.py> chat :b'hello tao'",
        "topic 'chat', subscribed by ",
        "messages delivered: 1",
    ):
        assert sentence in ended.stdout
    assert ended.stdout.count("   client ") == 2


def test_at_a_terminal_it_stays_until_ctrl_c() -> None:
    python = os.environ.get(PYTHONS["2"])
    if python is None:
        pytest.skip(f"{PYTHONS['2']} is not set; run.sh sets it")
    ours, theirs = pty.openpty()
    command = [python, str(TOP / "demo" / "demo.py"), "--port", "0"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        shown = ""
        with killed(process), os.fdopen(ours, encoding="utf-8", errors="replace") as terminal:
            while "Ctrl-C ends it." not in shown:
                shown += terminal.readline()
            (port,) = re.findall(r"stays up on 127\.0\.0\.1:(\d+)\.", shown)
            socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE).close()
            assert "In a browser, with user admin and password public:" in shown
            assert topics_of_the_console(*re.findall(r"^  (http://127\.0\.0\.1:\d+)\r?$", shown, re.MULTILINE)) == {
                "chat": "hello tao"
            }
            os.killpg(process.pid, signal.SIGINT)  # what a terminal does at Ctrl-C: to the scripts, too
            with contextlib.suppress(OSError):  # the terminal's other end was closed
                shown += terminal.read()
            assert process.wait(timeout=PATIENCE) == 0
    assert "Traceback" not in shown
    assert "chat :b'hello tao'" in shown


def test_a_port_in_use_is_said(broker: midge.Broker) -> None:
    port = str(broker.address[1])
    for ended in (demo(sys.executable, "--port", port), demo(sys.executable, port=port)):
        assert ended.returncode == 2
        assert ended.stdout == ""
        assert ended.stderr.count("\n") == 1
        assert port in ended.stderr
        assert "DEMO_PORT" in ended.stderr


def test_a_console_s_port_in_use_is_said(broker: midge.Broker) -> None:
    port = str(broker.address[1])
    for ended in (
        demo(sys.executable, "--port", "0", "--console-port", port),
        demo(sys.executable, "--port", "0", console_port=port),
    ):
        assert ended.returncode == 2
        assert ended.stdout == ""
        assert ended.stderr.count("\n") == 1
        assert f"127.0.0.1:{port}, the console's address, is taken" in ended.stderr
        assert "DEMO_CONSOLE_PORT" in ended.stderr


@pytest.mark.parametrize(
    "arguments", [("--port", "1884", "--console-port", "1884"), ("--console-port", "65536"), ("--port", "-1")]
)
def test_ports_that_cannot_be_are_refused(arguments: tuple[str, ...]) -> None:
    ended = demo(sys.executable, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "error: --" in ended.stderr


@pytest.mark.parametrize("readme", ["README.md", "bindings/python/README.md"])
def test_the_code_of_a_readme_runs(readme: str, run: Any) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (TOP / readme).read_text(encoding="utf-8"), re.DOTALL)
    shown = run(code).stdout
    assert shown.startswith("Message(topic='sensors/a/temp', payload=b'21.5', qos=1, retain=False, ")


def test_the_declarations_fit_the_header() -> None:
    tool = TOP / "tools" / "generate_ctypes.py"
    ended = finished([sys.executable, str(tool), "--check"])
    assert ended.returncode == 0, ended.stderr


def test_the_version_is_the_library_s() -> None:
    manifest = (TOP / "bindings" / "python" / "pyproject.toml").read_text()
    assert f'\nversion = "{midge.__version__}"\n' in manifest


@contextlib.contextmanager
def killed(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kills the demo at the end, so that a test that fails does not wait for it."""
    try:
        yield
    finally:
        process.kill()


def topics_of_the_console(url: str) -> dict[str, str]:
    """The last payload of each topic, as the console shows it."""
    login = base64.b64encode(b"admin:public").decode()
    request = urllib.request.Request(f"{url}/api/v1/topics", headers={"Authorization": f"Basic {login}"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return {item["topic"]: item["last"]["text"] for item in json.load(answer)["items"]}


def demo(python: str, *arguments: str, port: str = "", console_port: str = "") -> subprocess.CompletedProcess[str]:
    return finished(
        [python, str(TOP / "demo" / "demo.py"), *arguments],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "DEMO_PORT": port, "DEMO_CONSOLE_PORT": console_port},
    )
