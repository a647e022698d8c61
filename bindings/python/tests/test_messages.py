"""Messages from the program to the program."""

from __future__ import annotations

import pytest
from conftest import PATIENCE

import midge


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
