"""Messages from the program to the program."""

from __future__ import annotations

import contextlib
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import PATIENCE

import midge
from midge import _batch, _library, _publish


def test_a_message_arrives(broker: midge.Broker) -> None:
    with broker.subscribe("sensors/+/temp", qos=1) as messages:
        broker.publish("sensors/a/temp", b"21.5", qos=1)
        message = messages.get(timeout=PATIENCE)
    assert message == midge.Message("sensors/a/temp", b"21.5", qos=1)
    assert message.retain is False
    assert message.properties == midge.Properties()


@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("subscribed", [0, 1, 2])
def test_the_lower_qos_counts(broker: midge.Broker, published: int, subscribed: int) -> None:
    with broker.subscribe("t", qos=subscribed) as messages:
        broker.publish("t", "", qos=published)
        assert messages.get(timeout=PATIENCE).qos == min(published, subscribed)


@pytest.mark.parametrize("payload", [b"bytes \x00\xff", "text ü", bytearray(b"array"), memoryview(b"a view")[2:]])
def test_payloads_of_each_type(broker: midge.Broker, payload: midge.Payload) -> None:
    expected = payload.encode() if isinstance(payload, str) else bytes(payload)
    with broker.subscribe("t") as messages:
        broker.publish("t", payload)
        received = messages.get(timeout=PATIENCE).payload
    assert type(received) is bytes
    assert received == expected


def test_other_payloads_are_refused(broker: midge.Broker) -> None:
    for payload in (None, object(), 1.5):
        with pytest.raises(TypeError):
            broker.publish("t", payload)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        broker.publish("t", 7)  # type: ignore[arg-type]


def test_a_view_that_is_not_contiguous(broker: midge.Broker) -> None:
    with broker.subscribe("t") as messages:
        broker.publish("t", memoryview(b"a-b-c")[::2])
        assert messages.get(timeout=PATIENCE).payload == b"abc"


def test_retained(broker: midge.Broker) -> None:
    broker.publish("t", "kept", retain=True)
    with broker.subscribe("t") as messages:
        first = messages.get(timeout=PATIENCE)
        broker.publish("t", "now", retain=True)
        second = messages.get(timeout=PATIENCE)
    assert (first.payload, first.retain) == (b"kept", True)
    assert (second.payload, second.retain) == (b"now", False)
    assert broker.stats().retained_messages == 1
    broker.publish("t", "", retain=True)
    assert broker.stats().retained_messages == 0


def test_retain_options(broker: midge.Broker) -> None:
    broker.publish("t", "kept", retain=True)
    with broker.subscribe("t", retain_handling=2, retain_as_published=True) as messages:
        broker.publish("t", "now", retain=True)
        assert messages.get(timeout=PATIENCE) == midge.Message("t", b"now", retain=True)


def test_no_local(broker: midge.Broker) -> None:
    with broker.subscribe("#", no_local=True) as deaf, broker.subscribe("#") as hearing:
        broker.publish("t", "own")
        assert hearing.get(timeout=PATIENCE).payload == b"own"
        with pytest.raises(midge.Timeout):
            deaf.get(timeout=0)


def test_properties(broker: midge.Broker) -> None:
    with broker.subscribe("t", identifier=77) as messages:
        broker.publish(
            "t",
            "{}",
            qos=1,
            expiry=3600,
            content_type="application/json",
            response_topic="answers/ü",
            correlation_data=b"\x00\x01",
            user_properties=[("a", "1"), ("a", "2"), ("ü", "")],
        )
        broker.publish("t", "plain")
        properties = messages.get(timeout=PATIENCE).properties
        plain = messages.get(timeout=PATIENCE).properties
    assert properties == midge.Properties(
        content_type="application/json",
        response_topic="answers/ü",
        correlation_data=b"\x00\x01",
        user_properties=(("a", "1"), ("a", "2"), ("ü", "")),
        expiry=3600,
        subscription_identifiers=(77,),
    )
    assert plain == midge.Properties(subscription_identifiers=(77,))


def test_user_properties_as_a_mapping(broker: midge.Broker) -> None:
    with broker.subscribe("t") as messages:
        broker.publish("t", user_properties={"unit": "K", "place": "hall"})
        broker.publish("t", correlation_data=b"")
        assert messages.get(timeout=PATIENCE).properties.user_properties == (("unit", "K"), ("place", "hall"))
        assert messages.get(timeout=PATIENCE).properties.correlation_data == b""


def test_a_message_that_expires_in_no_time_says_so(broker: midge.Broker) -> None:
    with broker.subscribe("t") as messages:
        for expiry in (0, 2**32 - 1):
            broker.publish("t", expiry=expiry)
            assert messages.get(timeout=PATIENCE).properties.expiry == expiry


def test_properties_as_long_as_can_be(broker: midge.Broker) -> None:
    longest = "x" * 65_535
    with broker.subscribe("t") as messages:
        broker.publish("t", content_type=longest, correlation_data=longest.encode(), user_properties={longest: longest})
        properties = messages.get(timeout=PATIENCE).properties
    assert (properties.content_type, properties.correlation_data) == (longest, longest.encode())
    assert properties.user_properties == ((longest, longest),)


def test_rows_of_a_later_version_are_longer() -> None:
    """What is behind the members that this version knows is passed over."""
    row = struct.pack(_batch._LAYOUT, 1, 2, 3, 4, -1, 2, 1, 0)
    longer = _batch._cut(_batch._LAYOUT, len(row) + 16)
    assert list(longer.iter_unpack((row + bytes(16)) * 2)) == [(1, 2, 3, 4, -1, 2, 1, 0)] * 2


def test_the_bytes_of_a_topic_are_kept_for_some_topics_only(broker: midge.Broker) -> None:
    for number in range(_publish.KEPT_NAMES + 10):
        broker.publish(f"many/{number}")
    assert len(_publish._names) <= _publish.KEPT_NAMES


@pytest.mark.parametrize("topic", ["ü/ß", "温度/屋内", "\N{THERMOMETER}", "a b", "/", "a//b", "x" * 1000])
def test_topics_of_every_kind(broker: midge.Broker, topic: str) -> None:
    with broker.subscribe(topic) as messages:
        broker.publish(topic, topic)
        assert messages.get(timeout=PATIENCE) == midge.Message(topic, topic.encode(), 0)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 70_000, 1_000_000])
def test_payloads_of_every_size(broker: midge.Broker, size: int) -> None:
    payload = bytes(range(251)) * (size // 251 + 1)
    with broker.subscribe("t") as messages:
        broker.publish("t", payload[:size])
        assert messages.get(timeout=PATIENCE).payload == payload[:size]


def test_reading_properties_takes_as_many_calls_however_many_there_are(
    broker: midge.Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What grows is the walk of the library: each call begins at the first property."""
    calls: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> object:
            function = getattr(quick, name)

            def counted(*arguments: object) -> object:
                if name.startswith("midge_message_"):
                    calls.append(name)
                return function(*arguments)

            return counted

    quick = _batch.quick
    monkeypatch.setattr(_batch, "quick", Counting())
    seen = []
    with broker.subscribe("t", identifier=7) as messages:
        for count in (1, 500):
            pairs = tuple((f"name {number}", f"\u00e9{number}") for number in range(count))
            broker.publish("t", "x", user_properties=pairs)
            properties = messages.get(timeout=PATIENCE).properties
            assert properties.user_properties == pairs
            assert properties.subscription_identifiers == (7,)
            seen.append(len(calls))
            calls.clear()
    assert seen[0] == seen[1] > 0


def test_a_large_payload_with_a_larger_bound() -> None:
    payload = b"0123456789abcdef" * 1024 * 1024
    with midge.Broker("127.0.0.1:0", {"mqtt.max_packet_size": "32MiB"}) as broker, broker.subscribe("t") as messages:
        broker.publish("t", payload)
        assert messages.get(timeout=PATIENCE).payload == payload


def test_messages_are_frozen(broker: midge.Broker) -> None:
    message = midge.Message("t", b"")
    with pytest.raises(AttributeError):
        message.topic = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        message.more = 1  # type: ignore[attr-defined]
    assert hash(message) == hash(midge.Message("t", b""))
    assert tuple(message) == ("t", b"", 0, False, midge.Properties())
    assert tuple(midge.Properties(expiry=5)) == (None, None, None, (), 5, ())


def test_a_batch_mixes_all_kinds_in_order(broker: midge.Broker) -> None:
    sent = []
    with broker.subscribe("#") as messages:
        for index in range(600):
            size = (0, 10, 5000, 100_000)[index % 4] if index % 50 == 0 else index % 90
            payload = bytes([index % 256]) * size
            kind = f"kind {index}" if index % 3 == 0 else None
            broker.publish(f"t/{index}", payload, qos=index % 3, content_type=kind)
            sent.append(midge.Message(f"t/{index}", payload, index % 3, False, midge.Properties(content_type=kind)))
        received = []
        while len(received) < len(sent):
            received += messages.get_batch(100, timeout=PATIENCE)
    assert received == sent


def test_many_messages_at_once(broker: midge.Broker) -> None:
    sent = [
        midge.Message(f"t/{index}", bytes([index % 256]) * (index % 70), index // 300 % 3, False)
        for index in range(2000)
    ]
    with broker.subscribe("#") as messages:
        assert broker.publish_many((m.topic, m.payload, m.qos) for m in sent) == len(sent)
        received: list[midge.Message] = []
        while len(received) < len(sent):
            received += messages.get_batch(timeout=PATIENCE)
    assert received == sent
    assert broker.publish_many([]) == 0


def test_many_messages_of_each_kind(broker: midge.Broker) -> None:
    with_properties = midge.Message(
        "d", b"4", 1, False, midge.Properties("text/plain", "r", b"c", (("a", "1"), ("a", "2")), None)
    )
    large = bytes(100_000)
    with broker.subscribe("#", retain_as_published=True) as messages:
        count = broker.publish_many(
            [
                ("a", "text"),
                ("b", bytearray(b"2"), 2),
                ("c", memoryview(b"3"), 1, True),
                with_properties,
                with_properties._replace(properties=midge.Properties(expiry=5)),
                ["e", large],
                ("f\u00fc", b""),
                messages_of_one := midge.Message("g", b"7", 1),
            ]
        )
        assert count == 8
        received = [messages.get(timeout=PATIENCE) for _ in range(count)]
    assert received == [
        midge.Message("a", b"text"),
        midge.Message("b", b"2", 2),
        midge.Message("c", b"3", 1, True),
        with_properties,
        with_properties._replace(properties=midge.Properties(expiry=5)),
        midge.Message("e", large),
        midge.Message("f\u00fc", b""),
        messages_of_one,
    ]


@pytest.mark.parametrize("topics", [["\u00fc/1", "b", "\u6e29/2", "c"], ["a", "b"]])
@pytest.mark.parametrize("size", [3, 20_000])
def test_many_topics_of_any_letters_in_one_batch(broker: midge.Broker, topics: list[str], size: int) -> None:
    sent = [midge.Message(topic, bytes([65 + at]) * size) for at, topic in enumerate(topics * 3)]
    with broker.subscribe("#") as messages:
        assert broker.publish_many((m.topic, m.payload) for m in sent) == len(sent)
        assert [messages.get(timeout=PATIENCE) for _ in sent] == sent


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        (("a/#", "x"), midge.TopicError, 'message 300: topic "a/#": the topic name holds a wildcard'),
        (("", "x"), midge.TopicError, 'message 300: topic "": the topic is empty'),
        (("a\0b", "x"), midge.TopicError, "message 300: topic: 'a\\x00b' holds U+0000"),
        (("\ud800", "x"), midge.TopicError, r"message 300: topic: '\ud800' has no UTF-8 form"),
        (("a", "\ud800"), midge.ArgumentError, "payload: a text that has no UTF-8 form"),
        (("a", "x", 3), midge.ArgumentError, "qos: 3 is not 0, 1 or 2"),
        (("a", "x", "one"), midge.ArgumentError, "qos: 'one' is not 0, 1 or 2"),
        (("a", "x", 1, "yes"), midge.ArgumentError, "retain: 'yes' is neither True nor False"),
        (("a", "x", 1, []), midge.ArgumentError, "retain: [] is neither True nor False"),
        (("a",), midge.ArgumentError, "message 300: has 1 items"),
        (("a", "x", 1, True, None), midge.ArgumentError, "message 300: has 5 items"),
        (("a", bytes(3_000_000)), midge.ArgumentError, "message 300: payload: makes a packet of 3000009 bytes"),
        (("a", None), TypeError, "payload: bytes, str, bytearray or memoryview is needed"),
    ],
)
def test_one_of_many_is_refused(
    broker: midge.Broker, wrong: tuple[object, ...], error: type[Exception], sentence: str
) -> None:
    """Those before it are published, those after it are not."""
    with broker.subscribe("#") as messages:
        with pytest.raises(error) as refused:
            broker.publish_many([("ok", "x")] * 300 + [wrong, ("after", "x")])
        assert sentence in str(refused.value)
        taken = messages.get_batch(1000, timeout=PATIENCE)
        while len(messages):
            taken += messages.get_batch(1000, timeout=PATIENCE)
    assert [m.topic for m in taken] == ["ok"] * 300


def test_what_an_iterable_of_messages_raises_is_passed_on(broker: midge.Broker) -> None:
    def generate() -> Iterator[tuple[str, str]]:
        yield "t", "1"
        yield "t", "2"
        raise KeyError("the source is dry")

    with broker.subscribe("t") as messages:
        with pytest.raises(KeyError, match="dry"):
            broker.publish_many(generate())
        assert [m.payload for m in messages.get_batch(timeout=PATIENCE)] == [b"1", b"2"]


def test_an_iterable_of_messages_may_use_the_broker(broker: midge.Broker) -> None:
    def generate() -> Iterator[tuple[str, str]]:
        for index in range(600):
            broker.publish_many([("inner", "x")])
            yield "outer", str(index)

    assert broker.publish_many(generate()) == 600
    assert broker.stats().messages_published == 1200


def test_publishing_tells_the_number_of_receivers(broker: midge.Broker) -> None:
    assert broker.publish("a/b") == 0
    with broker.subscribe("a/+"), broker.subscribe("a/b"), broker.on("#", print), broker.subscribe("x"):
        for publish in (broker.publish, broker.publish_owned, broker.publish_acknowledged):
            for options in ({}, {"qos": 1}, {"qos": 2, "retain": True}, {"content_type": "text/plain"}):
                for payload in (b"", b"x", "x" * 2000, bytes(100_000)):
                    told = [publish(topic, payload, **options) for topic in ("a/b", "a/c", "x", "nobody")]
                    assert told == [3, 2, 2, 1], (publish, options, len(payload))
    assert broker.publish("a/b") == 0


def test_threads_that_publish_at_once_are_told_their_own_receivers(broker: midge.Broker) -> None:
    told: dict[int, set[int]] = {count: set() for count in range(4)}

    def publish(count: int) -> None:
        for number in range(2000):
            told[count].add(broker.publish(f"t/{count}", b"x", number % 3, expiry=5 if number % 5 == 0 else None))

    with contextlib.ExitStack() as subscriptions:
        for count in range(4):
            for _ in range(count):
                subscriptions.enter_context(broker.subscribe(f"t/{count}", capacity=1))
        threads = [threading.Thread(target=publish, args=(count,)) for count in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert told == {count: {count} for count in range(4)}


def test_many_messages_take_few_calls_of_the_library(broker: midge.Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is why they are faster than one call for each."""
    calls: list[int] = []
    publish = _library.quick.midge_publish_many

    def counting(*arguments: Any) -> int:
        calls.append(arguments[4])
        return int(publish(*arguments))

    monkeypatch.setattr(_library.quick, "midge_publish_many", counting)
    assert broker.publish_many(("t", b"x") for _ in range(2560)) == 2560
    assert calls == [256] * 10
