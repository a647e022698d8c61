"""Arguments of a wrong type or out of their range: the error names the argument."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Callable

import pytest
from conftest import PATIENCE

import midge
import midge.aio
from midge.testing import Fault, TestBroker

WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "kick": (lambda broker: broker.kick(5), "client_id: a str is needed, not int"),
    "backup": (lambda broker: broker.backup(5), "path: a str or a path is needed, not int"),
    "end_session": (lambda broker: broker.end_session(None), "client_id: a str is needed, not NoneType"),
    "queued": (lambda broker: broker.queued(b"c"), "client_id: a str is needed, not bytes"),
    "queued limit": (lambda broker: broker.queued("c", limit=-1), "limit: -1 is less than 0"),
    "clear_queue": (lambda broker: broker.clear_queue(5), "client_id: a str is needed, not int"),
    "retained": (lambda broker: broker.retained(b"#"), "topic filter b'#': a str is needed, not bytes"),
    "subscribe nothing": (lambda broker: broker.subscribe(None), "topic filter None: a str is needed, not NoneType"),
    "subscribe bytes": (lambda broker: broker.subscribe(b"t"), "topic filter b't': a str is needed, not bytes"),
    "qos of a str": (lambda broker: broker.subscribe("t", qos="1"), "qos: an int is needed, not str"),
    "qos that wraps": (lambda broker: broker.subscribe("t", qos=2**32 + 1), "qos: 4294967297 is more than 2"),
    "capacity": (lambda broker: broker.subscribe("t", capacity=1.5), "capacity: an int is needed, not float"),
    "capacity that wraps": (lambda broker: broker.subscribe("t", capacity=2**64), f"capacity: {2**64} is more than"),
    "max_bytes": (lambda broker: broker.subscribe("t", max_bytes="1KiB"), "max_bytes: an int is needed, not str"),
    "overflow": (lambda broker: broker.subscribe("t", overflow=[]), r"overflow: \[\] is not one of drop_newest"),
    "no_local": (lambda broker: broker.subscribe("t", no_local="no"), "no_local: an int is needed, not str"),
    "callback": (lambda broker: broker.on("t", None), "callback: a function is needed, not NoneType"),
    "topic": (lambda broker: broker.publish(5), "topic: a str is needed, not int"),
    "topic of bytes": (lambda broker: broker.publish(b"t"), "topic: a str is needed, not bytes"),
    "topic without a hash": (lambda broker: broker.publish([]), "topic: a str is needed, not list"),
    "owned": (lambda broker: broker.publish_owned(5, b""), "topic: a str is needed, not int"),
    "acknowledged": (lambda broker: broker.publish_acknowledged(None), "topic: a str is needed, not NoneType"),
    "grace of a str": (lambda broker: broker.publish_acknowledged("t", timeout="5"), "timeout: a number of seconds"),
    "expiry": (lambda broker: broker.publish("t", expiry="5"), "expiry: an int is needed, not str"),
    "content_type": (lambda broker: broker.publish("t", content_type=5), "content_type: a str is needed, not int"),
    "response_topic": (lambda broker: broker.publish("t", response_topic=5), "response_topic: a str is needed"),
    "correlation_data": (lambda broker: broker.publish("t", correlation_data=5), "correlation_data: bytes is needed"),
    "user property": (lambda broker: broker.publish("t", user_properties={"n": 5}), "user_properties: a str is needed"),
    "user property of bytes": (lambda broker: broker.publish("t", user_properties=[("n", b"5")]), "user_properties: a"),
    "user properties": (lambda broker: broker.publish("t", user_properties=5), "user_properties: a mapping or an iter"),
    "no pair": (lambda broker: broker.publish("t", user_properties=["ab"]), "user_properties: 'ab' is no pair"),
    "messages": (lambda broker: broker.publish_many(5), "messages: an iterable of messages is needed, not int"),
    "message": (lambda broker: broker.publish_many([("t", ""), 5]), "message 1: a sequence such as"),
    "message of text": (lambda broker: broker.publish_many(["ab"]), "message 0: a sequence such as"),
    "topic of many": (lambda broker: broker.publish_many([("t", ""), (5, "")]), "message 1: topic: a str is needed"),
    "adopt": (lambda broker: broker.adopt(5), "connection: a socket is needed, not int"),
    "wait": (lambda broker: broker.wait("5"), "timeout: a number of seconds is needed, not str"),
    "stop": (lambda broker: broker.stop([]), "grace: a number of seconds is needed, not list"),
    "advance": (lambda broker: broker.advance(None), "by: a time is needed, not NoneType"),
    "advance by a list": (lambda broker: broker.advance([]), "by: a number of seconds is needed, not list"),
    "packet": (lambda broker: broker.inject(Fault.drop([])), r"packet: \[\] is not one of"),  # type: ignore[arg-type]
    "cut": (lambda broker: broker.cut(None), "client_id: a str is needed, not NoneType"),
    "count": (lambda broker: broker.wait_for("t", "2"), "count: an int is needed, not str"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_argument_is_named(what: str) -> None:
    call, sentence = WRONG[what]
    with TestBroker() as broker, pytest.raises(midge.ArgumentError, match=f"^{sentence}"):
        call(broker)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"listen": 1883}, "listen: an address such as .* or several, is needed, not int"),
        ({"listen": {"mqtt.max_qos": 1}}, "listen: an address such as .* is needed, not dict"),
        ({"listen": b"127.0.0.1:0"}, "listen: an address such as .* is needed, not bytes"),
        ({"listen": ["127.0.0.1:0", 1883]}, "listen: address 2: a str is needed, not int"),
        ({"listen": "127.0.0.1:0", "config": "a.toml"}, "config: a midge.Config or a mapping is needed, not str"),
        ({"listen": "127.0.0.1:0", "config": 0}, "config: a midge.Config or a mapping is needed, not int"),
        ({"listen": "127.0.0.1:0", "hooks": print}, "hooks: a midge.Hooks is needed, not builtin_function"),
    ],
)
def test_a_wrong_argument_of_a_broker_is_named(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(midge.ArgumentError, match=f"^{sentence}"):
        midge.Broker(**arguments)


NOT_A_NUMBER: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "get": (lambda broker, messages: messages.get(timeout=math.nan), "timeout"),
    "get_batch": (lambda broker, messages: messages.get_batch(timeout=math.nan), "timeout"),
    "wait": (lambda broker, messages: broker.wait(math.nan), "timeout"),
    "stop": (lambda broker, messages: broker.stop(math.nan), "grace"),
    "acknowledged": (lambda broker, messages: broker.publish_acknowledged("t", timeout=math.nan), "timeout"),
    "wait_for": (lambda broker, messages: broker.wait_for("t", timeout=math.nan), "timeout"),
    "assert_published": (lambda broker, messages: broker.assert_published("t", timeout=math.nan), "timeout"),
    "wait_for_client": (lambda broker, messages: broker.wait_for_client("c", math.nan), "timeout"),
    "wait_for_no_client": (lambda broker, messages: broker.wait_for_no_client("c", math.nan), "timeout"),
    "wait_for_subscription": (lambda broker, messages: broker.wait_for_subscription("u", math.nan), "timeout"),
    "fault": (lambda broker, messages: broker.inject(Fault.drop()).wait(timeout=math.nan), "timeout"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("what", NOT_A_NUMBER)
def test_a_time_that_is_not_a_number_is_refused(what: str) -> None:
    """It compares with nothing: a wait until then has no end."""
    call, argument = NOT_A_NUMBER[what]
    with TestBroker() as broker, broker.subscribe("t") as messages:
        with pytest.raises(midge.ArgumentError, match=f"^{argument}: nan is not a number$"):
            call(broker, messages)
        assert broker.stats()["messages_published"] == 0 or what == "acknowledged"


def test_a_time_that_is_not_a_number_is_refused_by_an_event_loop() -> None:
    async def main() -> None:
        async with midge.aio.Broker("127.0.0.1:0") as broker, broker.subscribe("t") as messages:
            for call in (
                lambda: messages.get(math.nan),
                lambda: messages.get_batch(timeout=math.nan),
                lambda: broker.publish_acknowledged("t", timeout=math.nan),
            ):
                with pytest.raises(midge.ArgumentError, match=r"^timeout: nan is not a number$"):
                    await call()
            for wrong, sentence in (
                (lambda: broker.subscribe(None), "topic filter None: a str is needed"),  # type: ignore[arg-type]
                (lambda: broker.on("t", 5), "callback: a function is needed, not int"),  # type: ignore[arg-type]
            ):
                with pytest.raises(midge.ArgumentError, match=f"^{sentence}"):
                    wrong()
            with pytest.raises(midge.ArgumentError, match=r"^grace: nan is not a number$"):
                await broker.stop(math.nan)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_times_that_are_very_long_are_taken() -> None:
    with TestBroker() as broker, broker.subscribe("t") as messages:
        for timeout in (math.inf, 1e300, 10**400, None):
            broker.publish("t")
            assert messages.get(timeout).topic == "t"


def test_a_sentence_tells_the_time_that_was_waited() -> None:
    with TestBroker() as broker, pytest.raises(midge.Timeout) as caught:
        broker.wait_for("t", timeout=0.25)  # longer than the main thread waits at a time
    assert str(caught.value).startswith('expected 1 messages to "t" within 0.25 s, but there were 0;')
