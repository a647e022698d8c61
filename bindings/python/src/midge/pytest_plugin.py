"""Fixtures for pytest: `mqtt_broker`, a broker on a free port, and `mqtt_broker_factory`, which makes more of them.

`durable_mqtt_broker` keeps what it has acknowledged, for tests with crashes. All end with the test. Those of
longer life begin with `class_`, `module_`, `package_` or `session_`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Callable

import pytest

if TYPE_CHECKING:
    from midge.testing import TestBroker

GRACE = 1.0
"""Seconds that a broker has at the end of its test for what callbacks have not taken."""

_brokers = pytest.StashKey["dict[str, list[TestBroker]]"]()
"""The brokers that run, by the fixture that has started them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options; pytest calls it."""
    group = parser.getgroup("midge", "MQTT brokers of midge")
    group.addoption(
        "--mqtt-set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting of every mqtt_broker, such as mqtt.max_qos=1; may be repeated",
    )
    group.addoption(
        "--mqtt-timeout",
        metavar="SECONDS",
        type=float,
        default=None,
        help="how long a broker's wait_for and assert_published wait (default: mqtt_timeout of the ini file, 5)",
    )
    parser.addini("mqtt_settings", "settings of every mqtt_broker, one KEY = VALUE a line", "linelist", [])
    parser.addini("mqtt_timeout", "seconds that a broker's wait_for and assert_published wait", default="5")


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker; pytest calls it."""
    config.addinivalue_line(
        "markers", 'mqtt_settings(settings): settings of this test\'s mqtt_broker, such as {"mqtt.max_qos": 1}'
    )


@pytest.fixture
def mqtt_broker_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., TestBroker]]:
    """Starts brokers: `mqtt_broker_factory(settings={}, listen=None, hooks=None, durable=False, **settings)`.

    They stop when the test ends. Settings may be keywords with two underscores for each dot:
    `mqtt_broker_factory(mqtt__max_qos=1)`. Those of the
    ini file and the command line, and of the marker `mqtt_settings`, come before.
    """
    yield from starting(request)


@pytest.fixture(scope="class")
def class_mqtt_broker_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., TestBroker]]:
    """As mqtt_broker_factory; the brokers stop at the end of the class."""
    yield from starting(request)


@pytest.fixture(scope="module")
def module_mqtt_broker_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., TestBroker]]:
    """As mqtt_broker_factory; the brokers stop at the end of the module."""
    yield from starting(request)


@pytest.fixture(scope="package")
def package_mqtt_broker_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., TestBroker]]:
    """As mqtt_broker_factory; the brokers stop at the end of the package."""
    yield from starting(request)


@pytest.fixture(scope="session")
def session_mqtt_broker_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., TestBroker]]:
    """As mqtt_broker_factory; the brokers stop at the end of the run."""
    yield from starting(request)


@pytest.fixture
def mqtt_broker(mqtt_broker_factory: Callable[..., TestBroker]) -> TestBroker:
    """An MQTT broker on a free port of 127.0.0.1: a midge.testing.TestBroker. It stops when the test ends."""
    return mqtt_broker_factory()


@pytest.fixture
def durable_mqtt_broker(mqtt_broker_factory: Callable[..., TestBroker]) -> TestBroker:
    """As mqtt_broker, with a temporary directory: what it has acknowledged is there again after `crash`, `restart`."""
    return mqtt_broker_factory(durable=True)


@pytest.fixture(scope="class")
def class_mqtt_broker(class_mqtt_broker_factory: Callable[..., TestBroker]) -> TestBroker:
    """As mqtt_broker; the tests of a class share it."""
    return class_mqtt_broker_factory()


@pytest.fixture(scope="module")
def module_mqtt_broker(module_mqtt_broker_factory: Callable[..., TestBroker]) -> TestBroker:
    """As mqtt_broker; the tests of a module share it."""
    return module_mqtt_broker_factory()


@pytest.fixture(scope="package")
def package_mqtt_broker(package_mqtt_broker_factory: Callable[..., TestBroker]) -> TestBroker:
    """As mqtt_broker; the tests of a package share it."""
    return package_mqtt_broker_factory()


@pytest.fixture(scope="session")
def session_mqtt_broker(session_mqtt_broker_factory: Callable[..., TestBroker]) -> TestBroker:
    """As mqtt_broker; the tests of a run share it, with pytest-xdist those of a worker."""
    return session_mqtt_broker_factory()


def starting(request: pytest.FixtureRequest) -> Iterator[Callable[..., TestBroker]]:
    """Gives a function that starts brokers, and stops them afterwards."""
    from midge.testing import TestBroker

    common = given_settings(request)
    timeout = given_timeout(request.config)
    brokers: list[TestBroker] = []
    made = request.config.stash.setdefault(_brokers, {})
    made[str(request.fixturename)] = brokers

    def start(
        settings: Mapping[str, Any] = {}, listen: Any = None, hooks: Any = None, durable: bool = False, **more: Any
    ) -> TestBroker:
        named = {key.replace("__", "."): value for key, value in more.items()}
        given = {**common, **settings, **named}
        broker = TestBroker(listen, given, timeout=timeout, durable=durable, hooks=hooks, log="debug")
        brokers.append(broker)
        return broker

    yield start
    while brokers:  # what keeps the list does not keep the brokers
        brokers.pop().stop(GRACE)


def given_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of the ini file, of the command line, and of the marker, the later over the earlier."""
    settings: dict[str, Any] = {}
    for origin, lines in (
        ("mqtt_settings", request.config.getini("mqtt_settings")),
        ("--mqtt-set", request.config.getoption("mqtt_set")),
    ):
        for line in lines:
            key, equals, value = line.partition("=")
            if not equals:
                raise pytest.UsageError(f"{origin}: {line!r} is not KEY=VALUE")
            settings[key.strip()] = value.strip()
    for marker in reversed(list(request.node.iter_markers("mqtt_settings"))):
        for given in (*marker.args, marker.kwargs):
            settings.update({key.replace("__", "."): value for key, value in given.items()})
    return settings


def given_timeout(config: pytest.Config) -> float:
    """How long a broker waits."""
    given = config.getoption("mqtt_timeout")
    try:
        return float(config.getini("mqtt_timeout")) if given is None else float(given)
    except ValueError:
        raise pytest.UsageError(f"mqtt_timeout: {config.getini('mqtt_timeout')!r} is no number of seconds") from None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Shows with a test that failed what its brokers have seen; pytest calls it."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        made = item.config.stash.get(_brokers, {})
        used = getattr(item, "fixturenames", ())
        for broker in (broker for fixture in made if fixture in used for broker in made[fixture]):
            report.sections.append((f"mqtt_broker {places(broker)}", seen(broker)))


def places(broker: TestBroker) -> str:
    """Where a broker listens."""
    return ", ".join(f"{host}:{port}" for host, port in broker.addresses.values()) or "without a listener"


def seen(broker: TestBroker) -> str:
    """What a broker has seen, in some lines."""
    from midge._test_broker import SHOWN, _shown

    lines = [f"client {client.client_id!r}" + ("" if client.connected else ", away") for client in broker.clients()]
    for subscription in broker.subscriptions():
        owner = "the program" if subscription.client_id is None else repr(subscription.client_id)
        lines.append(f"subscription {subscription.filter!r} of {owner}, QoS {subscription.qos}")
    published = broker.published()
    lines.append(f"{len(published)} messages published" + (", the last of them:" if len(published) > SHOWN else ":"))
    lines += [f"  {_shown(message)}" for message in published[-SHOWN:]]
    dropped = {name: n for name, n in broker.stats().items() if name.startswith("messages_dropped_") and n}
    lines += [f"{name}: {n}" for name, n in dropped.items()]
    return "\n".join(lines)
