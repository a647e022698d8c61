"""What must be there after a restart: the meaning of mosquitto's tests 15-persist-*, for a stop and for kill -9.

    test_persist.py MIDGE [NAME ...]
"""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import wire
from wire import NEVER, V4, V5

PATIENCE = 20


class Broker:
    """`midge serve` over one store, again and again."""

    def __init__(self, midge, ending):
        self.midge, self.ending = midge, ending
        self.scratch = tempfile.mkdtemp(prefix="midge-persist-")
        self.process = None
        self.start()

    def start(self):
        words = [self.midge, "serve"]
        store = os.path.join(self.scratch, "store")
        for setting in (f"storage.path={store}", "listener.tcp.bind=127.0.0.1:0", "storage.log_size=64KiB"):
            words += ["--set", setting]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        host, port = line.split()[2].rsplit(":", 1)
        self.address = (host, int(port))

    def end(self):
        self.process.send_signal(self.ending)
        self.process.wait(30)
        self.process.stdout.close()

    def restart(self, after=0):
        self.end()
        time.sleep(after)
        self.start()

    def close(self):
        self.end()
        shutil.rmtree(self.scratch)


class Client:
    """A client that does one thing after the other."""

    def __init__(self, broker, name, version=V5, clean=False, expiry=NEVER, will=None, present=False, maximum=None):
        self.version, self.inbox, self.packets = version, bytearray(), []
        self.socket = socket.create_connection(broker.address, timeout=PATIENCE)
        packet = wire.connect(version, name, clean, expiry if version == V5 else None, will)
        self.send(packet)
        kind, _, body = self.read()
        assert kind == wire.CONNACK and body[1] == 0, body
        assert body[0] & 1 == present, f"{name}: session present = {body[0] & 1}"

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        while not self.packets:
            data = self.socket.recv(1 << 16)
            assert data, "the connection has ended"
            self.inbox += data
            self.packets = wire.split(self.inbox)
        first, body = self.packets.pop(0)
        return first >> 4, first, body

    def expect(self, wanted):
        kind, first, body = self.read()
        assert kind == wanted, f"packet type {kind}, not {wanted}: {body[:60]}"
        return body

    def message(self, topic, payload, qos, packet_id=None, dup=None, retain=False):
        kind, first, body = self.read()
        assert kind == wire.PUBLISH, f"packet type {kind}, not PUBLISH: {body[:60]}"
        found = wire.Publish(self.version, first, body)
        assert (found.topic, found.payload, found.qos, found.retain) == (topic, payload, qos, retain), vars_of(found)
        assert packet_id in (None, found.packet_id), vars_of(found)
        assert dup in (None, found.dup), vars_of(found)
        return found

    def nothing(self):
        """Nothing waits: the answer to PINGREQ comes next."""
        self.send(wire.pingreq())
        self.expect(wire.PINGRESP)

    def subscribe(self, name, options):
        self.send(wire.subscribe(self.version, 1, [(name, options)]))
        body = self.expect(wire.SUBACK)
        assert wire.granted(self.version, body) == [options & 3]
        return self

    def unsubscribe(self, name):
        self.send(wire.unsubscribe(self.version, 2, [name]))
        self.expect(wire.UNSUBACK)

    def publish(self, topic, payload, qos, retain=False, packet_id=7, dup=False):
        self.send(wire.publish(self.version, topic, payload, qos, packet_id, retain, dup))
        if qos == 1:
            self.expect(wire.PUBACK)
        elif qos == 2:
            self.expect(wire.PUBREC)
            self.send(wire.ack(wire.PUBREL, packet_id))
            self.expect(wire.PUBCOMP)

    def take(self, topic, payload, qos, **more):
        """A message and its acknowledgements."""
        packet_id = self.message(topic, payload, qos, **more).packet_id
        if qos == 1:
            self.send(wire.ack(wire.PUBACK, packet_id))
        elif qos == 2:
            self.send(wire.ack(wire.PUBREC, packet_id))
            self.expect(wire.PUBREL)
            self.send(wire.ack(wire.PUBCOMP, packet_id))

    def fence(self):
        """Everything before is safe: a client's own acknowledgements are not acknowledged otherwise."""
        self.publish("fence", b"", 1)

    def leave(self):
        """DISCONNECT, and the broker has seen it."""
        self.send(wire.disconnect())
        while self.socket.recv(1 << 16):
            pass
        self.socket.close()

    def cut(self):
        self.socket.close()


def vars_of(packet):
    return {name: getattr(packet, name) for name in packet.__slots__}


def helper(broker):
    return Client(broker, "helper", clean=True, expiry=0)


def test_a_kept_session_is_present_and_a_clean_one_is_not(broker):
    for version in (V4, V5):
        Client(broker, f"kept{version}", version).leave()
        Client(broker, f"clean{version}", version, clean=True, expiry=0).leave()
    Client(broker, "connected")
    broker.restart()
    for version in (V4, V5):
        Client(broker, f"kept{version}", version, present=True)
        Client(broker, f"clean{version}", version)
    Client(broker, "connected", present=True)


def test_a_session_that_was_ended_does_not_come_back(broker):
    Client(broker, "one").subscribe("t", 1).leave()
    Client(broker, "one", clean=True, expiry=0).leave()
    Client(broker, "two").subscribe("t", 1).leave()
    Client(broker, "two", clean=True)
    broker.restart()
    Client(broker, "one")
    again = Client(broker, "two", present=True)
    helper(broker).publish("t", b"x", 1)
    again.nothing()


def test_subscriptions_are_there_with_their_qos(broker):
    for version in (V4, V5):
        client = Client(broker, f"s{version}", version)
        for qos in (0, 1, 2):
            client.subscribe(f"q{qos}/+", qos)
        client.subscribe("gone", 2)
        client.unsubscribe("gone")
        client.leave()
    broker.restart()
    clients = [Client(broker, f"s{version}", version, present=True) for version in (V4, V5)]
    other = helper(broker)
    for qos in (0, 1, 2):
        other.publish(f"q{qos}/a", b"x", 2)
        other.publish("gone", b"x", 2)
        for client in clients:
            client.take(f"q{qos}/a", b"x", qos)
            client.nothing()


def test_subscription_options_are_there(broker):
    no_local, as_published = 4, 8
    client = Client(broker, "options")
    client.subscribe("own", 1 | no_local)
    client.subscribe("flag", 1 | as_published)
    # A subscription with an identifier.
    properties = b"\x0b\x2a"
    body = struct.pack(">H", 9) + wire.length(len(properties)) + properties + wire.text("id") + b"\x01"
    client.send(wire.packet(0x82, body))
    client.expect(wire.SUBACK)
    client.leave()
    broker.restart()
    client = Client(broker, "options", present=True)
    client.publish("own", b"x", 1)
    client.nothing()
    other = helper(broker)
    other.publish("flag", b"x", 1, retain=True)
    client.take("flag", b"x", 1, retain=True)
    other.publish("id", b"x", 1)
    kind, first, body = client.read()
    assert kind == wire.PUBLISH and b"\x02\x0b\x2a" in body, body


def test_messages_wait_for_a_client_that_is_away(broker):
    for version in (V4, V5):
        Client(broker, f"away{version}", version).subscribe("t/#", 2).leave()
    other = helper(broker)
    for number in range(60):
        other.publish(f"t/{number}", b"x" * number * 20, number % 3)
    broker.restart()
    for version in (V4, V5):
        client = Client(broker, f"away{version}", version, present=True)
        for number in range(60):
            if number % 3:
                # Nothing of QoS 0 waits. The broker sends ahead; answers are read in between.
                take_ahead(client, f"t/{number}", b"x" * number * 20, number % 3)
        client.nothing()
        client.fence()
    broker.restart()
    for version in (V4, V5):
        Client(broker, f"away{version}", version, present=True).nothing()


def take_ahead(client, topic, payload, qos):
    """As `take`, where other messages may come before PUBREL."""
    packet_id = client.message(topic, payload, qos).packet_id
    client.send(wire.ack(wire.PUBACK if qos == 1 else wire.PUBREC, packet_id))
    others = []
    while qos == 2:
        kind, first, body = client.read()
        if kind == wire.PUBREL and wire.identifier(body) == packet_id:
            client.send(wire.ack(wire.PUBCOMP, packet_id))
            break
        others.append((first, body))
    client.packets = others + client.packets


def test_a_received_qos_2_message_is_not_taken_twice(broker):
    for version in (V4, V5):
        watcher = Client(broker, f"watcher{version}", version).subscribe("in", 2)
        client = Client(broker, f"in{version}", version)
        client.send(wire.publish(version, "in", b"once", 2, 5))
        client.expect(wire.PUBREC)
        watcher.take("in", b"once", 2)
        watcher.fence()
        watcher.leave()
        broker.restart()
        client = Client(broker, f"in{version}", version, present=True)
        client.send(wire.publish(version, "in", b"once", 2, 5, dup=True))
        client.expect(wire.PUBREC)
        client.send(wire.ack(wire.PUBREL, 5))
        client.expect(wire.PUBCOMP)
        watcher = Client(broker, f"watcher{version}", version, present=True)
        watcher.nothing()
        # The identifier is free for another message, also after one more restart.
        client.cut()
        broker.restart()
        client = Client(broker, f"in{version}", version, present=True)
        client.publish("in", b"another", 2, packet_id=5)
        Client(broker, f"watcher{version}", version, present=True).take("in", b"another", 2)


def test_what_was_sent_and_not_acknowledged_is_sent_again(broker):
    for version in (V4, V5):
        client = Client(broker, f"out{version}", version).subscribe("out", 2)
        other = helper(broker)
        for number, qos in enumerate((1, 2, 2, 1)):
            other.publish("out", b"%d" % number, qos)
        ids = [client.message("out", b"%d" % number, qos, dup=False).packet_id for number, qos in enumerate((1, 2, 2, 1))]
        client.send(wire.ack(wire.PUBREC, ids[2]))
        assert wire.identifier(client.expect(wire.PUBREL)) == ids[2]
        broker.restart()
        client = Client(broker, f"out{version}", version, present=True)
        client.message("out", b"0", 1, ids[0], dup=True)
        client.message("out", b"1", 2, ids[1], dup=True)
        assert wire.identifier(client.expect(wire.PUBREL)) == ids[2]
        client.message("out", b"3", 1, ids[3], dup=True)
        client.send(wire.ack(wire.PUBACK, ids[0]) + wire.ack(wire.PUBACK, ids[3]))
        client.send(wire.ack(wire.PUBREC, ids[1]) + wire.ack(wire.PUBCOMP, ids[2]))
        client.expect(wire.PUBREL)
        client.send(wire.ack(wire.PUBCOMP, ids[1]))
        client.nothing()
        client.fence()
        client.leave()
        broker.restart()
        Client(broker, f"out{version}", version, present=True).nothing()


PROPERTIES = (
    b"\x01\x01" + b"\x02\x00\x00\x0e\x10" + b"\x03" + wire.text("text/plain") + b"\x08" + wire.text("answers")
    + b"\x09\x00\x03\x00\x01\xff" + b"\x26" + wire.text("b") + wire.text("1") + b"\x26" + wire.text("a") + wire.text("2")
)


def test_properties_are_there(broker):
    Client(broker, "away").subscribe("p", 1).leave()
    other = helper(broker)
    for retain in (0, 1):
        body = wire.text("p") + struct.pack(">H", 3) + wire.length(len(PROPERTIES)) + PROPERTIES + b"words"
        other.send(wire.packet(0x32 | retain, body))
        other.expect(wire.PUBACK)
    broker.restart()
    client = Client(broker, "away", present=True)
    bodies = [client.expect(wire.PUBLISH), client.expect(wire.PUBLISH)]
    other = helper(broker)
    other.send(wire.subscribe(V5, 1, [("p", 1)]))
    other.expect(wire.SUBACK)
    bodies.append(other.expect(wire.PUBLISH))
    for body in bodies:
        assert body.endswith(b"words"), body
        for part in (b"\x01\x01", b"text/plain", b"answers", b"\x09\x00\x03\x00\x01\xff"):
            assert part in body, (part, body)
        assert body.index(wire.text("b") + wire.text("1")) < body.index(wire.text("a") + wire.text("2"))
        at = body.index(b"\x02\x00\x00\x0e")
        assert 0xE00 < struct.unpack_from(">I", body, at + 1)[0] <= 3600, body


def test_retained_messages_are_there_and_cleared_ones_are_not(broker):
    other = helper(broker)
    for qos in (0, 1, 2):
        other.publish(f"r/{qos}", b"first", qos, retain=True)
        other.publish(f"r/{qos}", b"last", qos, retain=True)
        other.publish(f"c/{qos}", b"x", qos, retain=True)
        other.publish(f"c/{qos}", b"", qos, retain=True)
    # What QoS 0 has done is safe when something later is acknowledged.
    other.fence()
    for _ in range(2):
        broker.restart()
        client = helper(broker)
        for qos in (0, 1, 2):
            client.subscribe(f"r/{qos}", 2)
            client.take(f"r/{qos}", b"last", qos, retain=True)
        client.subscribe("c/#", 2)
        client.nothing()


def test_time_goes_on_while_the_broker_is_down(broker):
    Client(broker, "brief", expiry=1).leave()
    Client(broker, "lasting", expiry=3600).subscribe("e", 1).leave()
    other = helper(broker)
    for seconds, payload in ((1, b"short"), (3600, b"long")):
        properties = b"\x02" + struct.pack(">I", seconds)
        for retain in (0, 1):
            topic = wire.text("kept/" + payload.decode()) if retain else wire.text("e")
            body = topic + struct.pack(">H", 3) + wire.length(5) + properties + payload
            other.send(wire.packet(0x32 | retain, body))
            other.expect(wire.PUBACK)
    broker.restart(after=3.2)
    Client(broker, "brief")
    client = Client(broker, "lasting", present=True)
    client.message("e", b"long", 1)
    client.nothing()
    other = helper(broker).subscribe("kept/#", 1)
    other.message("kept/long", b"long", 1, retain=True)
    other.nothing()


def test_the_expiry_of_a_disconnect_is_kept(broker):
    client = Client(broker, "changed", expiry=3600)
    client.send(wire.packet(0xE0, b"\x00\x05\x11" + struct.pack(">I", 1)))
    while client.socket.recv(100):
        pass
    helper(broker).fence()
    broker.restart(after=3.2)
    Client(broker, "changed")


def test_a_will_is_published_after_a_crash(broker):
    if broker.ending != signal.SIGKILL:
        # A stop deletes wills.
        return
    Client(broker, "watcher").subscribe("w/#", 2).leave()
    for delay in (0, 1):
        Client(broker, f"w{delay}", will=(f"w/{delay}", b"gone", 2, delay))
    Client(broker, "polite", will=("w/polite", b"never", 2, 0)).leave()
    helper(broker).fence()
    broker.restart()
    watcher = Client(broker, "watcher", present=True)
    watcher.take("w/0", b"gone", 2)
    watcher.take("w/1", b"gone", 2)
    watcher.nothing()
    watcher.fence()
    watcher.leave()
    broker.restart()
    Client(broker, "watcher", present=True).nothing()


def test_a_shared_subscription_is_there(broker):
    for name in ("one", "two"):
        Client(broker, name).subscribe("$share/g/t", 1).leave()
    other = helper(broker)
    for number in range(10):
        other.publish("t", b"%d" % number, 1)
    broker.restart()
    for number in range(10, 20):
        helper(broker).publish("t", b"%d" % number, 1)
    found = []
    for name in ("one", "two"):
        client = Client(broker, name, present=True)
        client.send(wire.pingreq())
        while True:
            kind, first, body = client.read()
            if kind == wire.PINGRESP:
                break
            packet = wire.Publish(V5, first, body)
            client.send(wire.ack(wire.PUBACK, packet.packet_id))
            found.append(int(packet.payload))
    assert sorted(found) == list(range(20)), found


def main():
    midge, names = sys.argv[1], sys.argv[2:]
    passed = failed = 0
    for name, test in list(globals().items()):
        if not name.startswith("test_") or names and name not in names:
            continue
        for ending in (signal.SIGTERM, signal.SIGKILL):
            broker = Broker(midge, ending)
            try:
                test(broker)
                passed += 1
                print(f"ok {name} ({ending.name})")
            except (AssertionError, OSError, ValueError) as error:
                failed += 1
                print(f"FAILED {name} ({ending.name}): line {error.__traceback__.tb_next.tb_lineno}: {error!r}", flush=True)
            finally:
                broker.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
