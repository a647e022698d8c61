"""`make demo` at a terminal, and its console in the browser: what somebody sees who has just found Midge."""

import contextlib
import os
import pathlib
import pty
import re
import signal
import subprocess

import pytest

from browser import DEADLINE

TOP = pathlib.Path(__file__).parents[2]


class Terminal:
    """`make demo` at a terminal, with ports that the system chooses."""

    def __init__(self):
        ours, theirs = pty.openpty()
        # A make around the tests has arguments for itself.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        self.process = subprocess.Popen(
            ["make", "--no-print-directory", "demo", "DEMO_PORT=0", "DEMO_CONSOLE_PORT=0"], cwd=TOP, stdin=theirs,
            stdout=theirs, stderr=theirs, start_new_session=True, env=inherited)
        os.close(theirs)
        self._lines = os.fdopen(ours, encoding="utf-8", errors="replace", newline="\r\n")
        self.shown = ""

    def sees(self, text):
        """Reads until a line with `text`; gives that line."""
        while True:
            try:
                line = self._lines.readline()
            except OSError:  # nobody is at the other end any more
                line = ""
            assert line, f"it ended before {text!r}: {self.shown}"
            self.shown += line
            if text in line:
                return line.strip()

    def interrupt(self):
        """Ctrl-C: a terminal sends the signal to all of them."""
        os.killpg(self.process.pid, signal.SIGINT)

    def rest(self):
        """What it prints until it ends."""
        with contextlib.suppress(OSError):
            for line in self._lines:
                self.shown += line
        self.process.wait(timeout=DEADLINE)
        return self.shown

    def close(self):
        """Ends whatever still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=DEADLINE)
        self._lines.close()


@pytest.fixture
def terminal():
    """The demo at a terminal; ends it."""
    terminal = Terminal()
    yield terminal
    terminal.close()


# The demo builds the Python package first.
@pytest.mark.timeout(1200)
def test_the_demo_and_its_console(terminal, open_page):
    told = terminal.sees("Its console, for a browser: ")
    (url,) = re.findall(r"http://127\.0\.0\.1:\d+", told)
    assert told.endswith("(user admin, password public).")
    terminal.sees("0 clients.")
    terminal.sees("published 1, no subscriber, dropped 1")
    terminal.sees("subscribe.py> chat :b'hello tao'")
    assert terminal.sees("http://") == url
    terminal.sees("Ctrl-C ends it.")

    page = open_page()
    page.open(url)
    page.fill("User", "admin")
    page.fill("Password", "public")
    page.press("Enter")
    page.until("[...document.querySelectorAll('.tile')].some((one) => one.innerText.startsWith('Clients\\n2'))")
    page.click("Clients", "nav a")
    page.until("document.querySelectorAll('tbody tr').length === 2")
    page.click("Topics", "nav a")
    page.sees("hello tao", "[role=tree]")
    page.click("Drops", "nav a")
    page.sees("no subscriber", ".drops")
    page.sees("published by host program", ".drops")
    page.sees("chat", ".drops .name")
    page.click("Tutorial", "nav a")
    page.until("document.querySelectorAll('.steps .done').length === 4")

    page.watch("chat")
    page.fill("Topic", "chat")
    page.fill("Payload", "hello from the browser")
    page.click("Publish", "form button")
    page.sees("Delivered to 1 receiver.", ".answer")
    terminal.sees("subscribe.py> chat :b'hello from the browser'")

    page.go("subscriptions")
    page.click(None, "tbody a")
    page.sees("chat", "table")
    page.click("Disconnect", "header button")
    page.click("Disconnect", "dialog button")
    terminal.sees("subscribe.py> Connected with result code 0")  # paho-mqtt connects again, and subscribes
    page.go("overview")
    page.sees("disconnected the client", ".feed")

    terminal.interrupt()
    assert "Traceback" not in terminal.rest()
    page.sees("Connection to the broker lost.", ".lost")
