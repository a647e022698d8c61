"""A broker with a console in tutorial mode."""

import os
import signal

import pytest
import schemathesis

from processes import Process

LOGIN = ("admin", "public")


class Broker:
    """A `midge serve`; `mqtt` and `console` are its addresses."""

    def __init__(self, *settings):
        command = [os.environ["MIDGE_BIN"], "serve"]
        base = ("listener.tcp.bind=127.0.0.1:0", "console.listen=127.0.0.1:0", "console.tutorial=true")
        for setting in (*base, *settings):
            command += ["--set", setting]
        self.process = Process(command)
        self.mqtt = self.process.line_with("listening on ").split()[2]
        self.console = self.process.line_with("console at ").split()[2]

    def stop(self):
        """Stops it as a service manager does; it must end well."""
        self.process.signal(signal.SIGTERM)
        try:
            assert self.process.wait() == 0, self.process.seen
        finally:
            self.process.close()


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
