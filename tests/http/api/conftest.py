"""A broker with a console in tutorial mode."""

import os
import re
import signal
import subprocess

import pytest
import schemathesis

LOGIN = ("admin", "public")


class Broker:
    """A `midge serve`; `mqtt` and `console` are its addresses."""

    def __init__(self, *settings):
        command = [os.environ["MIDGE_BIN"], "serve"]
        base = ("listener.tcp.bind=127.0.0.1:0", "console.listen=127.0.0.1:0", "console.tutorial=true")
        for setting in (*base, *settings):
            command += ["--set", setting]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.mqtt = re.search(r"127\.0\.0\.1:\d+", self.process.stdout.readline()).group()
        self.console = re.search(r"http://127\.0\.0\.1:\d+", self.process.stdout.readline()).group()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0


@pytest.fixture
def broker():
    broker = Broker()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def lasting_broker():
    broker = Broker("console.max_topics=2000")
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def schema(lasting_broker):
    return schemathesis.openapi.from_url(lasting_broker.console + "/api/v1/openapi.json")
