"""A client that we did not write, against a broker in this process."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from conftest import PATIENCE, until
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import midge


class Peer:
    """A connected paho client whose events are in queues."""

    def __init__(self, broker: midge.Broker, client_id: str, version: int = mqtt.MQTTv311) -> None:
        self.messages: queue.SimpleQueue[mqtt.MQTTMessage] = queue.SimpleQueue()
        self.events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=version)
        self.client.on_connect = lambda *a: self.events.put(("connect", a[3]))
        self.client.on_subscribe = lambda *a: self.events.put(("subscribe", a[3]))
        self.client.on_publish = lambda *a: self.events.put(("publish", a[3]))
        self.client.on_disconnect = lambda *a: self.events.put(("disconnect", a[3]))
        self.client.on_message = lambda *a: self.messages.put(a[2])
        self.client.connect(*broker.address)
        self.client.loop_start()
        assert not self.expect("connect").is_failure

    def expect(self, event: str) -> Any:
        name, value = self.events.get(timeout=PATIENCE)
        assert name == event
        return value

    def subscribe(self, filter: str, qos: int = 0) -> None:
        self.client.subscribe(filter, qos)
        assert not self.expect("subscribe")[0].is_failure

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        left = self.client.socket()
        if left is not None:  # paho leaves a connection that ended otherwise to the collector
            left.close()


@pytest.fixture(params=[mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5], ids=["3.1", "3.1.1", "5"])
def peer(broker: midge.Broker, request: pytest.FixtureRequest) -> Iterator[Peer]:
    peer = Peer(broker, "peer", request.param)
    yield peer
    peer.close()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_from_the_program_to_a_client(broker: midge.Broker, peer: Peer, qos: int) -> None:
    peer.subscribe("down/+", 2)
    broker.publish("down/ü", "tao", qos=qos)
    message = peer.messages.get(timeout=PATIENCE)
    assert (message.topic, message.payload, message.qos) == ("down/ü", b"tao", qos)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_from_a_client_to_the_program(broker: midge.Broker, peer: Peer, qos: int) -> None:
    with broker.subscribe("up") as messages:
        peer.client.publish("up", b"hello", qos)
        peer.expect("publish")
        assert messages.get(timeout=PATIENCE) == midge.Message("up", b"hello", qos)


def test_what_the_broker_shows(broker: midge.Broker, peer: Peer) -> None:
    peer.subscribe("chat", 1)
    (client,) = broker.clients()
    version = {mqtt.MQTTv31: "3.1", mqtt.MQTTv311: "3.1.1", mqtt.MQTTv5: "5"}
    assert client.client_id == "peer"
    assert client.connected
    assert client.version == version[peer.client._protocol]
    assert client.address is not None
    assert client.address.startswith("127.0.0.1:")
    assert (client.username, client.keep_alive, client.subscriptions) == (None, 60, 1)
    assert client.clean_start
    assert client.connected_since is not None
    assert client.connected_since >= 0
    (subscription,) = broker.subscriptions()
    assert (subscription.filter, subscription.client_id, subscription.qos) == ("chat", "peer", 1)
    assert broker.stats().clients_connected == 1


def test_kicking(broker: midge.Broker, peer: Peer) -> None:
    peer.client.reconnect_delay_set(60, 120)
    assert broker.kick("peer") is True
    peer.expect("disconnect")
    until(broker, lambda: not any(client.connected for client in broker.clients()), "the end of the client")


def test_the_session_of_a_client_that_is_away(broker: midge.Broker) -> None:
    away = mqtt.Client(CallbackAPIVersion.VERSION2, "away", protocol=mqtt.MQTTv311, clean_session=False)
    subscribed: queue.SimpleQueue[object] = queue.SimpleQueue()
    away.on_connect = lambda *a: away.subscribe("t", 1)
    away.on_subscribe = lambda *a: subscribed.put(a[3])
    away.connect(*broker.address)
    away.loop_start()
    subscribed.get(timeout=PATIENCE)
    away.disconnect()
    away.loop_stop()
    until(broker, lambda: not broker.clients()[0].connected, "the end of the connection")
    broker.publish("t", "one", qos=2, content_type="text/plain")
    broker.publish("t", "two", qos=1)
    queued = broker.queued("away", limit=1)
    assert queued == [midge.Message("t", b"one", 1, properties=midge.Properties(content_type="text/plain"))]
    assert [message.payload for message in broker.queued("away") or []] == [b"one", b"two"]
    assert broker.clear_queue("away") == 2
    assert broker.queued("away") == []
    assert broker.stats().messages_dropped_cleared == 2
    assert broker.end_session("away") is True
    assert (broker.clients(), broker.subscriptions()) == ([], [])


def test_the_session_of_a_client_that_is_connected(broker: midge.Broker, peer: Peer) -> None:
    peer.client.reconnect_delay_set(60, 120)
    assert broker.end_session("peer") is True
    peer.expect("disconnect")
    assert broker.clients() == []


def test_stopping_disconnects(broker: midge.Broker, peer: Peer) -> None:
    broker.stop()
    peer.expect("disconnect")


def test_properties_both_ways(broker: midge.Broker) -> None:
    peer = Peer(broker, "five", mqtt.MQTTv5)
    peer.subscribe("down")
    broker.publish("down", "x", content_type="text/plain", user_properties={"k": "v"}, response_topic="r", expiry=60)
    received = peer.messages.get(timeout=PATIENCE).properties
    assert received is not None
    assert (received.ContentType, received.UserProperty, received.ResponseTopic) == (
        "text/plain",
        [("k", "v")],
        "r",
    )
    sent = Properties(PacketTypes.PUBLISH)
    sent.UserProperty = [("a", "b"), ("a", "c")]
    sent.CorrelationData = b"\x01"
    with broker.subscribe("up") as messages:
        peer.client.publish("up", "y", properties=sent)
        properties = messages.get(timeout=PATIENCE).properties
    assert properties.user_properties == (("a", "b"), ("a", "c"))
    assert properties.correlation_data == b"\x01"
    peer.close()


def test_a_large_message(broker: midge.Broker, peer: Peer) -> None:
    payload = bytes(range(256)) * 3500
    peer.subscribe("large", 1)
    broker.publish("large", payload, qos=1)
    assert peer.messages.get(timeout=PATIENCE).payload == payload


def test_a_retained_message_of_the_program(broker: midge.Broker, peer: Peer) -> None:
    broker.publish("state", "on", retain=True)
    peer.subscribe("state")
    message = peer.messages.get(timeout=PATIENCE)
    assert (message.payload, message.retain) == (b"on", True)
