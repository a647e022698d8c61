"""What the tests of the console share: a broker with a console, a browser, and clients."""

import os
import pathlib
import queue
import signal
import sys

import paho.mqtt.client as mqtt
import pytest

from browser import Browser
from processes import DEADLINE, Process

SCRIPTS = pathlib.Path(__file__).parents[2] / "examples" / "python"


class Broker:
    """A running `midge serve` with a console in tutorial mode."""

    def __init__(self, settings, listen="127.0.0.1:0", console="127.0.0.1:0"):
        command = [os.environ["MIDGE_BIN"], "serve", "--listen", listen]
        for key, value in {"console.listen": console, "console.tutorial": "true", **settings}.items():
            command += ["--set", f"{key}={value}"]
        self.process = Process(command)
        self.host, port = self.process.line_with("listening on ").split()[2].rsplit(":", 1)
        self.port = int(port)
        self.url = self.process.line_with("console at ").split()[2]
        self._stopped = False

    def stop(self):
        """Stops it as a service manager does; it must end well, also with viewers attached. Again does nothing."""
        if self._stopped:
            return
        self._stopped = True
        self.process.signal(signal.SIGTERM)
        code = self.process.wait()
        self.process.close()
        assert code == 0, self.process.seen


class Client:
    """A paho client whose messages are waited for."""

    def __init__(self, broker, client_id, clean=True, version=mqtt.MQTTv311, user=None, properties=None):
        self.messages = queue.SimpleQueue()
        self.ended = queue.SimpleQueue()
        self._subscribed = queue.SimpleQueue()
        options = {} if version == mqtt.MQTTv5 else {"clean_session": clean}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version,
                                  reconnect_on_failure=False, **options)
        if user:
            self.client.username_pw_set(user, "secret")
        connected = queue.SimpleQueue()
        self.client.on_connect = lambda _client, _data, _flags, reason, _properties: connected.put(reason)
        self.client.on_disconnect = lambda *_: self.ended.put(True)
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        self.client.on_subscribe = lambda _client, _data, _mid, reasons, _properties: self._subscribed.put(reasons)
        self.client.connect(broker.host, broker.port, **({"properties": properties} if properties else {}))
        self.client.loop_start()
        reason = connected.get(timeout=DEADLINE)
        assert not reason.is_failure, f"{client_id}: {reason}"

    def subscribe(self, topic_filter, qos=0, **options):
        """Subscribes, and waits for the answer, which must be yes."""
        self.client.subscribe(topic_filter, qos, **options)
        reasons = self._subscribed.get(timeout=DEADLINE)
        assert not any(reason.is_failure for reason in reasons), f"{topic_filter}: {reasons}"

    def publish(self, topic, payload, **options):
        """Publishes, and waits until it is sent."""
        message = self.client.publish(topic, payload, **options)
        message.wait_for_publish(DEADLINE)
        assert message.is_published(), f"{topic} is not sent after {DEADLINE} s"

    def message(self):
        """The next message."""
        return self.messages.get(timeout=DEADLINE)

    def close(self):
        """Says good-bye."""
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="session")
def browser():
    """One browser for all tests; each has pages of its own."""
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def start_broker():
    """Starts brokers with settings; stops them at the end."""
    brokers = []

    def start(settings=None, **options):
        brokers.append(Broker(settings or {}, **options))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.stop()


@pytest.fixture
def broker(start_broker):
    """A broker with the default settings and a console."""
    return start_broker()


@pytest.fixture
def open_page(browser):
    """Opens pages; what the browser complained of fails the test."""
    pages = []

    def open_one(**options):
        pages.append(browser.page(**options))
        return pages[-1]

    yield open_one
    complaints = [complaint for page in pages for complaint in page.complaints()]
    for page in pages:
        page.close()
    assert not complaints


@pytest.fixture
def page(open_page, broker):
    """A page that is logged in at the test's broker."""
    page = open_page()
    page.log_in(broker.url)
    return page


@pytest.fixture(scope="session")
def lasting_broker():
    """A broker for tests that do nothing to it."""
    broker = Broker({})
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def lasting_page(browser, lasting_broker):
    """A page for tests that only call what it is made of."""
    page = browser.page()
    page.open(lasting_broker.url)
    yield page
    complaints = page.complaints()
    page.close()
    assert not complaints


@pytest.fixture
def connect_to(start_broker):
    """Connects paho clients to a broker."""
    clients = []

    def start(broker, client_id, **options):
        clients.append(Client(broker, client_id, **options))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


@pytest.fixture
def connect(connect_to, broker):
    """Connects paho clients to the test's broker."""
    return lambda client_id, **options: connect_to(broker, client_id, **options)


@pytest.fixture
def play(broker):
    """Runs scripts of the story against the test's broker; ends them at the end."""
    scripts = []

    def start(name):
        scripts.append(Process([sys.executable, "-W", "ignore", str(SCRIPTS / name), broker.host, str(broker.port)],
                               env={**os.environ, "PYTHONUNBUFFERED": "1"}))
        return scripts[-1]

    yield start
    for script in scripts:
        script.close()
