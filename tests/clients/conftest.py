"""The broker that the clients talk to: `midge serve` on a free port, one for each test."""

import os
import signal

import pytest

from processes import Process


class Broker:
    """A running `midge serve`."""

    def __init__(self, settings):
        command = [os.environ["MIDGE_BIN"], "serve", "--listen", "127.0.0.1:0"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        self.process = Process(command)
        # The first listener is `tcp`; the lines of the others follow at once.
        self.addresses = {}
        others = {key.split(".")[1] for key in settings if key.startswith("listener.") and key.endswith(".bind")}
        while len(self.addresses) < len(others | {"tcp"}):
            address, name = self.process.line_with("listening on ").split()[2:4]
            self.addresses[name.strip("()")] = address
        self.host, port = self.addresses["tcp"].rsplit(":", 1)
        self.port = int(port)
        self.stopped = False

    def stop(self):
        """Stops it as a service manager does; it must end well, without a word. Stopping it again does nothing."""
        if self.stopped:
            return
        self.stopped = True
        self.process.signal(signal.SIGTERM)
        code = self.process.wait()
        said = self.process.line()
        self.process.close()
        assert (code, said) == (0, None)


@pytest.fixture
def start_broker():
    """Starts brokers with settings, `{"mqtt.max_qos": 1}`; stops them at the end."""
    brokers = []

    def start(settings=None):
        brokers.append(Broker(settings or {}))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.stop()


@pytest.fixture
def broker(start_broker):
    """A broker with the default settings."""
    return start_broker()


@pytest.fixture
def run():
    """Starts processes; kills those that still run at the end."""
    processes = []

    def start(command, **options):
        processes.append(Process(command, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.close()
