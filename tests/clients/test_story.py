"""The story that a beginner plays, with paho-mqtt 1.x and 2.x: the two scripts of examples/python."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from processes import DEADLINE

SCRIPTS = pathlib.Path(__file__).parents[2] / "examples" / "python"


@pytest.fixture
def play(run, broker):
    """Runs a script of the story against the test's broker."""
    return lambda name: run(
        [sys.executable, "-W", "ignore", str(SCRIPTS / name), broker.host, str(broker.port)],
        env={**os.environ, "PYTHONUNBUFFERED": "1"})


@pytest.fixture
def status(broker):
    """Asks the broker how it is until the report has all these lines."""

    def ask(*lines):
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            report = subprocess.run(
                [os.environ["MIDGE_BIN"], "status", "--address", f"{broker.host}:{broker.port}"],
                capture_output=True, check=True, timeout=DEADLINE, text=True).stdout
            if all(line in report for line in lines):
                return
        raise AssertionError(f"no {lines} in {report}")

    return ask


def test_the_subscriber_hears_the_publisher(play, status):
    status("clients:       0 connected")
    subscriber = play("subscribe.py")
    assert subscriber.line() == "Connected with result code 0"
    status("clients:       1 connected", "subscriptions: 1")
    play("publish.py")
    assert subscriber.line() == "chat :b'hello tao'"
    status("clients:       2 connected", "messages:      1 published, 1 delivered", "dropped:       0")


def test_who_subscribes_too_late_hears_nothing_and_the_broker_says_why(play, status):
    play("publish.py")
    status("dropped:       1", "1 no subscriber: nobody had subscribed to the topic")
    subscriber = play("subscribe.py")
    assert subscriber.line() == "Connected with result code 0"
    status("subscriptions: 1", "messages:      1 published, 0 delivered")
