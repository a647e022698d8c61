"""Sockets that the program hands over, and the retained messages as it sees them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from conftest import PATIENCE

import midge

CONNECT = b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03one"
SUBSCRIBE = b"\x82\x06\x00\x01\x00\x01#\x00"


@pytest.fixture
def closed_broker() -> Iterator[midge.Broker]:
    """A broker without a listener."""
    with midge.Broker(config={"listener.tcp.bind": "off"}) as broker:
        yield broker


def exactly(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = connection.recv(count - len(received))
        assert part
        received += part
    return received


def test_one_end_of_a_socketpair_is_a_client(closed_broker: midge.Broker) -> None:
    assert closed_broker.addresses == {}
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    closed_broker.adopt(ours)
    assert ours.fileno() == -1
    theirs.sendall(CONNECT + SUBSCRIBE)
    assert exactly(theirs, 9) == b"\x20\x02\x00\x00\x90\x03\x00\x01\x00"
    closed_broker.publish("a", b"hi")
    assert exactly(theirs, 7) == b"\x30\x05\x00\x01ahi"
    with closed_broker.subscribe("b") as messages:
        theirs.sendall(b"\x30\x04\x00\x01b!")
        assert messages.get(timeout=PATIENCE).payload == b"!"
    (client,) = closed_broker.clients()
    assert (client.client_id, client.address) == ("one", None)
    closed_broker.stop()
    while theirs.recv(100):
        pass
    theirs.close()


def test_what_cannot_be_served_is_left_as_it_was(broker: midge.Broker) -> None:
    with socket.socket() as unconnected, pytest.raises(midge.ArgumentError, match="not connected"):
        broker.adopt(unconnected)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(midge.ArgumentError, match="no listener"):
            broker.adopt(ours, listener="nobody")
        broker.stop()
        with pytest.raises(midge.Stopped):
            broker.adopt(ours)
        theirs.sendall(b"x")
        assert ours.getblocking()
        assert os.get_blocking(ours.fileno()), "the descriptor is as the object thinks"
        assert ours.recv(1) == b"x"


def test_retained_messages_are_listed(broker: midge.Broker) -> None:
    broker.publish("b", b"2", qos=1, retain=True, content_type="text/plain", user_properties=[("k", "v")])
    broker.publish("a", b"1", retain=True, expiry=100)
    first, second = broker.retained()
    assert (first.topic, first.payload, first.qos, first.retain) == ("a", b"1", 0, True)
    assert 0 < (first.properties.expiry or 0) <= 100
    assert second.properties.content_type == "text/plain"
    assert second.properties.user_properties == (("k", "v"),)
    assert broker.retained("c/#") == []
    sentence = r'^topic filter "a/#/b": the wildcard # is not the whole last level of the topic filter$'
    with pytest.raises(midge.TopicError, match=sentence):
        broker.retained("a/#/b")
    with pytest.raises(midge.ArgumentError):
        broker.retained("$share/g/a")
