"""What a type checker refuses: an error in each line that says so, and in no other."""

from __future__ import annotations

import midge
import midge.aio
from midge.testing import TestBroker

hooks = midge.Hooks()


@hooks.authenticate  # wrong
def of_another_hook(request: midge.AccessRequest) -> bool:
    return True


@hooks.authenticate  # wrong
def without_an_answer(request: midge.ConnectRequest) -> None:
    return None


@hooks.authorize  # wrong
def with_a_text(request: midge.AccessRequest) -> str:
    return "yes"


@hooks.on_publish  # wrong
async def that_waits(request: midge.PublishRequest) -> None:
    return None


@hooks.on_connected  # wrong
def of_the_end(event: midge.Disconnected) -> None:
    return None


@hooks.on_subscribed  # wrong
def of_two(subscription: midge.SubscriptionInfo, more: int) -> None:
    return None


@hooks.on_dropped  # wrong
def of_none() -> None:
    return None


def publish(broker: midge.Broker, qos: int) -> None:
    broker.publish("t", "x", 3)  # wrong
    broker.publish("t", "x", qos)  # wrong
    broker.publish_owned("t", b"x", expire=5)  # wrong
    broker.publish_acknowledged("t", expiry="5")  # wrong
    broker.publish("t").upper()  # wrong


def subscribe(broker: midge.Broker, overflow: str) -> None:
    broker.subscribe("t", overflow="drop")  # wrong
    broker.subscribe("t", overflow=overflow)  # wrong
    broker.subscribe("t", retain_handling=3)  # wrong
    broker.on("t", print, overflow="drop")  # wrong
    broker.on("t", print, retained=2)  # wrong


async def in_a_loop(broker: midge.aio.Broker) -> None:
    broker.subscribe("t", 3)  # wrong
    broker.subscribe("t", overflow="drop")  # wrong
    broker.on("t", print, retain_handling=-1)  # wrong


def change(request: midge.PublishRequest) -> None:
    request.qos = 3  # wrong


def in_a_test(mqtt_broker: TestBroker) -> None:
    mqtt_broker.assert_published("t", qos=3)  # wrong
    mqtt_broker.set_disk("full")  # wrong
    mqtt_broker.crash(power_cut="yes")  # wrong
