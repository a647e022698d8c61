"""paho-mqtt 1.6 against `midge serve`: what its users do most."""

import queue
import socket

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from conftest import Broker
from doors import DOORS, Doors, certificates
from processes import DEADLINE

VERSIONS = {"v31": mqtt.MQTTv31, "v311": mqtt.MQTTv311, "v5": mqtt.MQTTv5}


class Client:
    """A client with a queue for each kind of event."""

    def __init__(self, broker, version, client_id, clean=True, will=None, keep_alive=60, transport="tcp",
                 ca=None):
        v5 = version == mqtt.MQTTv5
        options = {} if v5 else {"clean_session": clean}
        self.client = mqtt.Client(client_id, protocol=version, reconnect_on_failure=False, transport=transport,
                                  **options)
        if ca:
            self.client.tls_set(ca)
        self.events = {kind: queue.Queue() for kind in ("connect", "disconnect", "subscribe", "publish", "message",
                                                        "log")}
        put = lambda kind: self.events[kind].put
        self.client.on_connect = lambda c, u, flags, reason, *rest: put("connect")((flags, reason))
        self.client.on_disconnect = lambda c, u, reason, *rest: put("disconnect")(reason)
        self.client.on_subscribe = lambda c, u, mid, *rest: put("subscribe")(mid)
        self.client.on_publish = lambda c, u, mid: put("publish")(mid)
        self.client.on_message = lambda c, u, message: put("message")(message)
        self.client.on_log = lambda c, u, level, text: put("log")(text)
        if will:
            self.client.will_set(**will)
        options = {}
        if v5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if clean else 3600
            options = {"clean_start": clean, "properties": properties}
        self.client.connect(broker.host, broker.port, keepalive=keep_alive, **options)
        self.client.loop_start()
        self.flags, reason = self.event("connect")
        assert reason == 0

    def event(self, kind):
        try:
            return self.events[kind].get(timeout=DEADLINE)
        except queue.Empty:
            waiting = {kind: list(events.queue)[-20:] for kind, events in self.events.items()}
            raise AssertionError(f"no {kind} within {DEADLINE} s; not taken: {waiting}") from None

    def subscribe(self, *arguments):
        _, mid = self.client.subscribe(*arguments)
        assert self.event("subscribe") == mid

    def publish(self, *arguments, **options):
        info = self.client.publish(*arguments, **options)
        while self.event("publish") != info.mid:
            pass

    def break_off(self):
        self.client.socket().shutdown(socket.SHUT_RDWR)
        self.event("disconnect")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(params=list(VERSIONS))
def connect(request, broker):
    clients = []

    def make(client_id=None, **options):
        client_id = client_id or f"client-{len(clients)}"
        clients.append(Client(broker, VERSIONS[request.param], client_id, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_this_is_paho_1():
    import paho.mqtt
    assert paho.mqtt.__version__.startswith("1.6.")


@pytest.mark.parametrize("theirs", [0, 1, 2])
@pytest.mark.parametrize("ours", [0, 1, 2])
def test_messages_flow_at_every_qos(connect, theirs, ours):
    subscriber = connect()
    subscriber.subscribe("a/+", ours)
    connect().publish("a/b", b"hello", theirs)
    message = subscriber.event("message")
    assert (message.topic, message.payload, message.qos) == ("a/b", b"hello", min(theirs, ours))


def test_a_client_hears_itself_in_order(connect):
    client = connect()
    client.subscribe("echo", 1)
    for number in range(200):
        client.client.publish("echo", str(number), 1)
    assert [int(client.event("message").payload) for _ in range(200)] == list(range(200))


def test_a_retained_message_waits(connect):
    connect().publish("state", b"on", 1, retain=True)
    late = connect()
    late.subscribe("state", 1)
    message = late.event("message")
    assert (message.payload, message.retain) == (b"on", True)


def test_a_will_follows_a_lost_connection(connect):
    watcher = connect()
    watcher.subscribe("wills", 1)
    connect(will={"topic": "wills", "payload": b"gone", "qos": 1}).break_off()
    assert watcher.event("message").payload == b"gone"


def test_messages_wait_in_a_session(connect):
    first = connect("keeper", clean=False)
    assert not first.flags["session present"]
    first.subscribe("mail", 1)
    first.break_off()
    connect().publish("mail", b"1", 1)
    again = connect("keeper", clean=False)
    assert again.event("message").payload == b"1"


def test_pings_are_answered(connect):
    client = connect(keep_alive=1)
    while "Received PINGRESP" not in client.event("log"):
        pass


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    doors = Doors(tmp_path_factory.mktemp("d"))
    certificates(doors.files)
    doors.broker = Broker(doors.settings())
    yield doors
    doors.broker.stop()


# It knows no Unix domain sockets.
@pytest.mark.parametrize("door", [door for door in DOORS if door.transport != "unix"], ids=lambda door: door.name)
@pytest.mark.parametrize("version", ["v311", "v5"])
def test_it_says_and_hears_all_at_every_door(doors, door, version):
    topic = f"paho1/{door.name}/{version}"
    ca = doors.file("ca.pem") if door.is_secure else None
    client = Client(door.at(doors), VERSIONS[version], topic, transport=door.transport, ca=ca)
    client.subscribe(topic, 2)
    for qos in (0, 1, 2):
        for payload in (b"", b"hello", b"x" * (1 << 20)):
            client.publish(topic, payload, qos)
            message = client.event("message")
            assert (message.topic, message.qos, message.payload) == (topic, qos, payload)
    client.close()
