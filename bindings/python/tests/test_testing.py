"""midge.testing, with a client that we did not write."""

from __future__ import annotations

import datetime
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from conftest import PATIENCE
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import midge
from midge.testing import Fault, NotSeen, TestBroker


@pytest.fixture
def broker() -> Iterator[TestBroker]:
    with TestBroker(timeout=PATIENCE) as broker:
        yield broker


class Peer:
    """A paho client whose events are in a queue."""

    def __init__(self, broker: TestBroker, client_id: str, version: int = mqtt.MQTTv311, **options: Any) -> None:
        self.events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        clean = {"clean_session": options.pop("clean_session")} if "clean_session" in options else {}
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=version, **clean)
        self.client.reconnect_delay_set(120, 120)
        self.client.on_connect = lambda *a: self.events.put(("connect", a[3]))
        self.client.on_subscribe = lambda *a: self.events.put(("subscribe", a[3]))
        self.client.on_publish = lambda *a: self.events.put(("publish", a[3]))
        self.client.on_disconnect = lambda *a: self.events.put(("disconnect", a[3]))
        self.client.on_message = lambda *a: self.events.put(("message", a[2].payload))
        will = options.pop("will", None)
        if will is not None:
            self.client.will_set(**will)
        self.client.connect(*broker.address, **options)
        self.client.loop_start()

    def expect(self, event: str) -> Any:
        name, value = self.events.get(timeout=PATIENCE)
        assert name == event
        return value

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        left = self.client.socket()
        if left is not None:  # paho leaves a connection that ended otherwise to the collector
            left.close()


def connected(broker: TestBroker, client_id: str, version: int = mqtt.MQTTv311, **options: Any) -> Peer:
    peer = Peer(broker, client_id, version, **options)
    assert not peer.expect("connect").is_failure
    return peer


def test_it_listens_on_a_free_port_of_loopback(broker: TestBroker) -> None:
    host, port = broker.address
    assert (host, port) != ("127.0.0.1", 1883)
    assert host == "127.0.0.1"


def test_an_hour_in_no_time(broker: TestBroker) -> None:
    """A session that expires, a will that is delayed, a message that expires, a client that falls silent."""
    later = Properties(PacketTypes.CONNECT)
    later.SessionExpiryInterval = 3600
    will = Properties(PacketTypes.WILLMESSAGE)
    will.WillDelayInterval = 1800
    peer = connected(
        broker,
        "away",
        mqtt.MQTTv5,
        properties=later,
        clean_start=True,
        will={"topic": "wills/away", "payload": "gone", "properties": will},
    )
    with peer:
        broker.publish("kept", "for a minute", retain=True, expiry=60)
        assert broker.cut("away") is True
        assert broker.cut("away") is False
        broker.wait_for_no_client("away")
        broker.assert_not_published("wills/#")
        broker.advance("30m")
        broker.assert_published("wills/away", "gone")
        with broker.subscribe("kept") as messages:
            assert len(messages) == 0
        assert [client.client_id for client in broker.clients()] == ["away"]
        broker.advance(datetime.timedelta(minutes=30, seconds=1))
        assert broker.clients() == []
        assert broker.time == 3601
        peer.client.reconnect_delay_set(1, 1)


def test_keep_alive(broker: TestBroker) -> None:
    with connected(broker, "quiet", keepalive=60) as peer:
        broker.advance("89s")
        assert broker.stats().clients_connected == 1
        broker.advance(2)
        broker.wait_for_no_client("quiet")
        peer.expect("disconnect")
        assert broker.stats().keep_alive_timeouts == 1


@pytest.mark.parametrize("span", ["soon", "5", "5 weeks", "-1s", -1, float("inf"), float("nan"), "", "1e99d"])
def test_times_that_are_none(broker: TestBroker, span: Any) -> None:
    with pytest.raises(midge.ArgumentError, match="by: "):
        broker.advance(span)
    assert broker.time == 0


@pytest.mark.parametrize(
    ("span", "seconds"),
    [
        ("1500ms", 1.5),
        ("90s", 90),
        ("1.5m", 90),
        ("2 h", 7200),
        ("1d", 86400),
        (0.25, 0.25),
        (3, 3),
        (0, 0),
        ("0s", 0),
        (0.0001, 0.001),
        ("1.2ms", 0.002),
    ],
)
def test_times(broker: TestBroker, span: Any, seconds: float) -> None:
    broker.advance(span)
    assert broker.time == seconds


def test_a_lost_acknowledgement(broker: TestBroker) -> None:
    with connected(broker, "sensor") as peer, broker.inject(Fault.drop("PUBACK", client_id="sensor")) as fault:
        peer.client.publish("t", "first", qos=1)
        assert fault.wait() == 1
        broker.advance(0)
        peer.client.publish("t", "second", qos=1)
        peer.expect("publish")
        assert peer.events.empty()
        assert fault.hits == 1
        broker.assert_published("t", count=2)


def test_a_fault_strikes_after_some_and_as_often_as_it_says(broker: TestBroker) -> None:
    with connected(broker, "c") as peer:
        with broker.inject(Fault.drop("PUBACK", after=1, count=2)) as fault:
            peer.client.publish("t", "0", qos=1)
            peer.expect("publish")
            assert fault.hits == 0
            for index in range(1, 4):
                peer.client.publish("t", str(index), qos=1)
            told: list[str] = []
            waiter = threading.Thread(target=lambda: told.append(str(fault.wait(2))), daemon=True)
            waiter.start()
            waiter.join(PATIENCE)
            assert told == ["2"]
            peer.expect("publish")  # the last
            with pytest.raises(midge.Timeout, match="struck 2 times, not 3"):
                fault.wait(3, timeout=0)
        with broker.inject(Fault.drop("PUBACK", count=0)) as always:
            pass
        peer.client.publish("t", "4", qos=1)
        peer.expect("publish")  # it has ended with its block
        assert always.hits == 0


def test_what_a_client_has_sent_is_handled_before_it_is_looked_for(broker: TestBroker) -> None:
    with socket.create_connection(broker.address, timeout=PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent has arrived
        client.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c")
        assert client.recv(4) == b"\x20\x02\x00\x00"
        for count in range(0, 100, 2):
            client.sendall(b"\x30\x04\x00\x01tx")
            with pytest.raises(NotSeen, match=f"published {count + 1} times, not never"):
                broker.assert_not_published("t")
            client.sendall(b"\x30\x04\x00\x01tx")
            with pytest.raises(NotSeen, match=f"published {count + 2} times, not {count + 1}"):
                broker.assert_published("t", count=count + 1)


def test_a_late_and_a_double_packet(broker: TestBroker) -> None:
    with connected(broker, "c") as peer:
        peer.client.subscribe("t")
        peer.expect("subscribe")
        broker.inject(Fault.delay_by("1m", "PUBLISH", client_id="c"))
        broker.publish("t", "late")
        broker.publish("t", "soon")
        assert peer.expect("message") == b"soon"
        broker.advance("60s")
        assert peer.expect("message") == b"late"
        broker.inject(Fault.duplicate("PUBLISH"))
        broker.publish("t", "twice")
        assert [peer.expect("message"), peer.expect("message")] == [b"twice"] * 2


def test_a_refused_client(broker: TestBroker) -> None:
    broker.inject(Fault.refuse(0x87, client_id="c"))
    with Peer(broker, "c", mqtt.MQTTv5) as peer:
        assert peer.expect("connect").value == 0x87
    with connected(broker, "c", mqtt.MQTTv5):
        broker.wait_for_client("c")


def test_a_connection_that_is_cut(broker: TestBroker) -> None:
    with connected(broker, "c") as peer:
        broker.inject(Fault.cut("PUBACK"))
        peer.client.publish("t", "x", qos=1)
        peer.expect("disconnect")
        broker.assert_published("t", "x")
    with Peer(broker, "d") as peer:
        peer.expect("connect")
        fault = broker.inject(Fault.cut_after_bytes(10, client_id="d"))
        peer.client.subscribe("t")
        peer.expect("subscribe")
        broker.publish("t", "more than ten bytes")
        fault.wait()
        peer.expect("disconnect")


def test_a_broker_that_hangs(broker: TestBroker) -> None:
    with connected(broker, "c") as peer:
        assert broker.pause("c") is True
        assert broker.pause("nobody") is False
        peer.client.publish("t", "x")
        broker.advance(0)
        assert broker.published() == []
        assert broker.resume("c") is True
        broker.assert_published("t", "x")
        broker.pause("c")
        broker.clear_faults()
        peer.client.publish("t", "y")
        broker.assert_published("t", "y")


def test_faults_that_are_none(broker: TestBroker) -> None:
    for fault, sentence in (
        (Fault.drop("PUBLISHED"), "packet: 'PUBLISHED' is not one of"),
        (Fault.refuse(0), "reason_code: 0 is no failure"),
        (Fault.delay_by("x"), "delay: 'x' is no time"),
        (Fault.drop(count=-1), "count"),
        (Fault(99), "action: 99"),
        (Fault.drop(client_id="a\0b"), "client_id"),
    ):
        with pytest.raises(midge.ArgumentError) as refused:
            broker.inject(fault)
        assert sentence in str(refused.value)
    with broker.inject(Fault.drop("SUBACK")) as fault:
        with pytest.raises(midge.Timeout, match=r"drop\(packet='SUBACK'\) struck 0 times, not 1, within 0.01 s"):
            fault.wait(timeout=0.01)
        assert "drop(packet='SUBACK')" in repr(fault)
    fault.clear()


def test_what_was_published(broker: TestBroker) -> None:
    broker.publish("a/1", "x", qos=1, retain=True, content_type="text/plain")
    broker.publish("b", "y")
    kept = midge.Message("a/1", b"x", 1, True, midge.Properties(content_type="text/plain"))
    assert broker.published() == [kept, midge.Message("b", b"y")]
    assert broker.published("a/+") == [kept]
    assert broker.wait_for("a/#") == [kept]
    broker.forget_published()
    assert broker.published() == []
    with pytest.raises(midge.TopicError):
        broker.published("a#")


def test_waiting_for_what_comes_later(broker: TestBroker) -> None:
    begun = threading.Event()

    def publish() -> None:
        begun.wait(PATIENCE)
        for index in range(3):
            broker.publish("t", str(index))

    thread = threading.Thread(target=publish)
    thread.start()
    begun.set()
    assert len(broker.wait_for("t", 3)) == 3
    thread.join(PATIENCE)
    assert len(broker.assert_published("t", lambda payload: payload > b"0")) == 2


def test_sentences_of_what_was_not_seen(broker: TestBroker) -> None:
    with pytest.raises(NotSeen) as caught:
        broker.assert_published("t", timeout=0)
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, TimeoutError)
    assert str(caught.value) == "a message to 't' was published 0 times, not 1\n  nothing at all was published"
    broker.publish_many([("t", "on", 1), ("t", "on", 0, True), ("u", bytes(100))])
    with pytest.raises(NotSeen) as caught:
        broker.assert_published("t", "on", qos=2, retain=True, timeout=0)
    assert str(caught.value).splitlines() == [
        "a message to 't', payload b'on', QoS 2, retained was published 0 times, not 1",
        "  to 't', what does not fit:",
        "    't' b'on', QoS 1",
        "    't' b'on', QoS 0, retained",
        "  elsewhere:",
        f"    'u' {bytes(60)!r}... (100 bytes), QoS 0",
    ]
    with pytest.raises(NotSeen, match="published 2 times, not 1\n  these fit:"):
        broker.assert_published("t", count=1)
    with pytest.raises(NotSeen, match="published 2 times, not 3"):
        broker.assert_published("t", count=3, timeout=0.01)
    with pytest.raises(NotSeen, match="not retained was published 1 times, not never"):
        broker.assert_not_published("t", "on", retain=False)
    broker.assert_not_published("t", "off")
    broker.assert_published("nothing", count=0)
    with pytest.raises(NotSeen, match="u"):
        broker.wait_for("x", timeout=0.01)
    for index in range(50):
        broker.publish("many", str(index))
    with pytest.raises(NotSeen) as caught:
        broker.assert_published("many", "x", timeout=0)
    broker.publish_many([("twenty", str(index)) for index in range(20)])
    with pytest.raises(NotSeen) as all_of_them:
        broker.assert_published("twenty", "x", timeout=0)
    assert str(all_of_them.value).count("'twenty'") == 22
    broker.publish_many([("cut", "x" * 60), ("cut", "y" * 61)])
    with pytest.raises(NotSeen) as shown:
        broker.assert_published("cut", "x", timeout=0)
    assert f"{b'x' * 60!r}, QoS 0" in str(shown.value)
    assert f"{b'y' * 60!r}... (61 bytes), QoS 0" in str(shown.value)
    assert "    ... 31 before ..." in str(caught.value)
    assert str(caught.value).count("'many'") == 21


def test_sentences_of_clients_and_subscriptions(broker: TestBroker) -> None:
    with pytest.raises(NotSeen, match="client 'c' did not connect; connected: none"):
        broker.wait_for_client("c", timeout=0)
    with pytest.raises(NotSeen, match="nobody subscribed to 't'; subscriptions: none"):
        broker.wait_for_subscription("t", timeout=0)
    with connected(broker, "c") as peer:
        broker.wait_for_client("c")
        with pytest.raises(NotSeen, match="client 'c' is still connected"):
            broker.wait_for_no_client("c", timeout=0)
        with pytest.raises(NotSeen, match="client 'd' did not connect; connected: 'c'"):
            broker.wait_for_client("d", timeout=0)
        peer.client.subscribe("t")
        broker.wait_for_subscription("t")
        with pytest.raises(NotSeen, match="nobody subscribed to 'u'; subscriptions: 't'"):
            broker.wait_for_subscription("u", timeout=0)
    with connected(broker, "away", clean_session=False) as peer:
        broker.cut("away")
        peer.expect("disconnect")
        broker.wait_for_no_client("away")
        with pytest.raises(NotSeen, match="client 'd' did not connect; connected: none"):
            broker.wait_for_client("d", timeout=0)


def test_after_the_end() -> None:
    with TestBroker() as broker:
        broker.publish("t", "x")
        fault = broker.inject(Fault.drop())
    assert len(broker.published()) == 1
    for call in (
        lambda: broker.advance("1s"),
        lambda: fault.wait(timeout=PATIENCE),
        lambda: broker.cut("c"),
        lambda: broker.wait_for_client("c"),
        lambda: broker.wait_for_subscription("t"),
    ):
        with pytest.raises(midge.Stopped):
            call()


def test_stopping_ends_whoever_waits() -> None:
    broker = TestBroker(timeout=PATIENCE)
    ends: queue.SimpleQueue[str] = queue.SimpleQueue()
    running = threading.Barrier(4)

    def wait(call: Any) -> None:
        running.wait(PATIENCE)
        try:
            call()
        except midge.Stopped:
            ends.put("stopped")

    calls = (
        lambda: broker.wait_for("t"),
        lambda: broker.wait_for_client("c"),
        lambda: broker.wait_for_subscription("t"),
    )
    threads = [threading.Thread(target=wait, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    running.wait(PATIENCE)
    broker.stop()
    assert [ends.get(timeout=PATIENCE) for _ in threads] == ["stopped"] * 3
    for thread in threads:
        thread.join(PATIENCE)


def test_only_in_test_mode() -> None:
    """What the test kit has is for brokers of the test kit."""
    assert not hasattr(midge.Broker, "advance")
    assert not hasattr(midge, "TestBroker")
