"""The story that a beginner plays, with paho-mqtt 1.x and 2.x: two scripts, unchanged but for the port."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from processes import DEADLINE

STORY = pathlib.Path(__file__).parent / "story"


@pytest.fixture
def play(run, broker, tmp_path):
    """Runs a script of the story against the test's broker."""

    def start(name):
        text = (STORY / name).read_text()
        assert text.count("1883") == 1
        script = tmp_path / name
        script.write_text(text.replace("1883", str(broker.port)))
        return run([sys.executable, "-W", "ignore", str(script)], env={**os.environ, "PYTHONUNBUFFERED": "1"})

    return start


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
