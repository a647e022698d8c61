"""What a type checker takes: a test runs mypy and pyright on it."""

from __future__ import annotations

import midge
import midge.aio
from midge.testing import Disk, TestBroker

hooks = midge.Hooks()


@hooks.authenticate
def let_in(request: midge.ConnectRequest) -> bool:
    return request.username == "tao" and request.password == b"secret"


@hooks.authorize
def may(request: midge.AccessRequest) -> bool | int:
    return 0x87 if request.qos == 2 else request.topic.startswith("users/")


later = midge.Hooks()


@later.authenticate
async def ask(request: midge.ConnectRequest) -> midge.Verdict:
    return True


@later.authorize
def defer(request: midge.AccessRequest) -> midge.Decision:
    return request.defer()


@hooks.on_publish
def change(request: midge.PublishRequest) -> bool | None:
    request.qos = 1
    return None


@later.on_publish
def look(request: midge.PublishRequest) -> None:
    print(request.payload.decode())


@hooks.on_connected
def connected(event: midge.Connected) -> None:
    print(event.session_present)


@hooks.on_disconnected
async def disconnected(event: midge.Disconnected) -> None:
    print(event.cause)


@hooks.on_subscribed
@hooks.on_unsubscribed
def subscribed(subscription: midge.SubscriptionInfo) -> str:
    return subscription.filter


@hooks.on_delivered
def delivered(event: midge.Delivered) -> None:
    print(event.qos)


@hooks.on_dropped
def dropped(event: midge.Dropped) -> None:
    print(event.reason)


def a_decorator_keeps_the_type() -> bool:
    return let_in(midge.ConnectRequest("c")) and subscribed.__name__.isidentifier()


def publish(broker: midge.Broker, message: midge.Message) -> int:
    receivers = broker.publish("t", "x", 1, True, expiry=5, user_properties={"a": "b"})
    receivers += broker.publish_owned("t", b"x", message.qos, content_type="text/plain")
    receivers += broker.publish_acknowledged("t", b"x", timeout=1, correlation_data=message.properties.correlation_data)
    return receivers + broker.publish_many([message, ("t", b"x"), ("t", b"x", 1)])


def subscribe(broker: midge.Broker, overflow: midge.Overflow, qos: midge.QoS) -> None:
    broker.subscribe("t", 0, overflow="drop_oldest", retain_handling=2)
    broker.subscribe("t", qos, overflow=overflow)
    broker.on("t", lambda message: message.payload.decode(), 1, capacity=5, overflow="drop_newest")


async def in_a_loop(broker: midge.aio.Broker, handling: midge.RetainHandling) -> int:
    async def callback(message: midge.Message) -> None:
        print(message.topic)

    broker.on("t", callback, overflow="drop_oldest")
    async with broker.subscribe("t", 1, retain_handling=handling, retain_as_published=True) as messages:
        return len(await messages.get_batch()) + await broker.publish_acknowledged("t", expiry=1)


def in_a_test(mqtt_broker: TestBroker) -> None:
    mqtt_broker.assert_published("t", lambda payload: payload.startswith(b"{"), qos=1)
    mqtt_broker.set_disk(Disk.slow("2s"))
    mqtt_broker.crash(power_cut=True)
