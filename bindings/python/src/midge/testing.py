"""A broker for tests: it remembers what was published, its time is moved by hand, and it fails when told to.

>>> with midge.testing.TestBroker() as broker:
...     broker.publish("rooms/1/light", "on", retain=True)
...     (message,) = broker.assert_published("rooms/+/light", "on", retain=True)
...     broker.assert_not_published("rooms/2/#")
...     broker.advance("1h")  # keep alives, expiries, delays: at once
...     broker.time
0
3600.0

The fixtures `mqtt_broker`, `durable_mqtt_broker` and `mqtt_broker_factory` of pytest give such brokers.
"""

from midge._clock import Span
from midge._disk import Disk
from midge._fault import Fault, Injected
from midge._test_broker import NotSeen, TestBroker

__all__ = ["Disk", "Fault", "Injected", "NotSeen", "Span", "TestBroker"]
