"""The same `acl_file` in mosquitto and in Midge: what each allows, on random clients, topics and actions."""

import itertools
import random
import socket
import struct

import pytest

from processes import DEADLINE

ACL = """\
# Clients without a user name.
topic read news/#
topic readwrite lobby/+
topic deny lobby/safe
topic write $dev/in

user ann
topic read #
topic deny home/bob/#
topic write home/ann/#
topic read $dev/+

user bob
topic home/bob/#
topic deny home/bob/safe
topic write home/+/door

user c d
topic readwrite two words/+/x
topic read +/+

user root
topic #
topic $dev/#

pattern home/%u/own/#
pattern read dev/%c/+
pattern deny dev/%c/safe
pattern write %c/out
pattern deny home/+/grave
"""

USERS = [None, "ann", "bob", "c d", "eve", "a/b"]
CLIENTS = ["c1", "c2", "dev", "a/b", "a+b", "#", "$dev", "ann"]
FIRST = ["news", "lobby", "home", "dev", "two words", "c1", "c2", "$dev", "a", "other", ""]
LEVELS = ["ann", "bob", "eve", "own", "safe", "door", "grave", "c1", "c2", "dev", "a", "b", "in", "out", "x", "", "$dev"]
TUPLES = 2000
NOT_AUTHORIZED = 0x87


def differs(user, client, topic):
    """Why Midge may deny what mosquitto allows (docs/from-mosquitto.md); None if it must not."""
    if "/" in (user or "") or "/" in client:
        return "a name with a slash gets nothing from pattern lines"
    if client.startswith("$"):
        return "a client identifier that begins with $ gets nothing from patterns that begin with %c"
    return None


def text(value):
    value = value.encode()
    return struct.pack("!H", len(value)) + value


class Client:
    """A client of MQTT 5 that sees every reason code."""

    def __init__(self, address, client_id, user=None):
        self.socket = socket.create_connection(address, timeout=DEADLINE)
        self.file = self.socket.makefile("rb")
        self.received = []
        flags, credentials = (0x02, b"") if user is None else (0x82, text(user))
        self.send(0x10, text("MQTT") + bytes([5, flags]) + struct.pack("!H", 600) + b"\0" + text(client_id) + credentials)
        kind, body = self.packet()
        assert (kind, body[1]) == (0x20, 0), (client_id, user, body)

    def send(self, kind, body):
        rest, length = bytearray(), len(body)
        while True:
            rest.append(length % 128 | (0x80 if length > 127 else 0))
            length //= 128
            if not length:
                break
        self.socket.sendall(bytes([kind]) + rest + body)

    def packet(self):
        kind = self.file.read(1)
        assert kind, "the connection has ended"
        length = shift = 0
        while True:
            byte = self.file.read(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return kind[0], self.file.read(length)

    def answer(self, wanted):
        """The body of the next packet of a kind; messages that come before it are kept."""
        while True:
            kind, body = self.packet()
            if kind & 0xF0 == 0x30:
                self.received.append(body[2:2 + struct.unpack("!H", body[:2])[0]].decode())
            elif kind == wanted:
                return body

    def publish(self, topic):
        """The reason code that a message of QoS 1 is acknowledged with."""
        self.send(0x32, text(topic) + struct.pack("!H", 1) + b"\0" + b"x")
        body = self.answer(0x40)
        return body[2] if len(body) > 2 else 0

    def subscribe(self, filters):
        """The reason code of each filter."""
        self.send(0x82, struct.pack("!H", 2) + b"\0" + b"".join(text(filter) + b"\0" for filter in filters))
        return list(self.answer(0x90)[3:])

    def messages(self):
        """The topics of the messages that have come; what was published before is among them."""
        self.send(0xC0, b"")
        self.answer(0xD0)
        return self.received

    def close(self):
        self.socket.close()


@pytest.fixture
def mosquitto(tmp_path, run):
    """The address of a mosquitto with the rules. It asks for no password, as Midge does not."""
    (tmp_path / "acl").write_text(ACL)
    port = free_port()
    # It gives up root, and then has to read the file.
    (tmp_path / "conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nacl_file {tmp_path}/acl\n"
        "max_queued_messages 0\nlog_type all\n")
    run(["mosquitto", "-c", str(tmp_path / "conf")]).line_with("running")
    return "127.0.0.1", port


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def any_topic(random_of):
    return "/".join([random_of.choice(FIRST)] + random_of.choices(LEVELS, k=random_of.randint(0, 3)))


def topic_of_a_rule(random_of, user, client_id):
    """A topic that a rule is about, of this client or of another one."""
    rules = [line.split(" ", 1)[1] for line in ACL.splitlines() if line.startswith(("topic", "pattern"))]
    filter = random_of.choice(rules)
    for word in ["readwrite ", "read ", "write ", "deny "]:
        filter = filter.removeprefix(word)
    filter = filter.replace("%u", random_of.choice([user or "", random_of.choice(LEVELS)]))
    filter = filter.replace("%c", random_of.choice([client_id, random_of.choice(LEVELS)]))
    levels = [random_of.choice(LEVELS) if level in ("+", "#") else level for level in filter.split("/")]
    topic = "/".join(levels)
    # Neither broker takes a wildcard in the topic of a message.
    return topic.replace("+", "-").replace("#", "-")


def tuples(seed):
    """(user, client identifier, action, topic), without doubles; half of the topics are those of rules."""
    random_of = random.Random(seed)
    found = set()
    while len(found) < TUPLES:
        user, client_id = random_of.choice(USERS), random_of.choice(CLIENTS)
        topic = random_of.choice([any_topic(random_of), topic_of_a_rule(random_of, user, client_id)])
        if topic:
            found.add((user, client_id, random_of.choice(["publish", "receive"]), topic))
    return sorted(found, key=repr)


def verdicts(address, cases):
    """What a broker allows, by tuple."""
    allowed = {}
    for (user, client_id), some in itertools.groupby(cases, key=lambda case: case[:2]):
        topics = {"publish": [], "receive": []}
        for _, _, action, topic in some:
            topics[action].append(topic)
        client = Client(address, client_id, user)
        for topic in topics["publish"]:
            may = client.publish(topic) != NOT_AUTHORIZED
            allowed[user, client_id, "publish", topic] = may
            if not may:
                # mosquitto 2.0.11 ends the connection behind the PUBACK.
                client.close()
                client = Client(address, client_id, user)
        for topic, may in zip(topics["receive"], may_receive(address, client, topics["receive"]), strict=True):
            allowed[user, client_id, "receive", topic] = may
        client.close()
    return allowed


def may_receive(address, client, topics):
    """For each topic, whether the client gets a message of it. mosquitto grants every subscription."""
    if not topics:
        return []
    granted = client.subscribe(topics)
    root = Client(address, "root", "root")
    for topic in topics:
        assert root.publish(topic) != NOT_AUTHORIZED, topic
    root.close()
    got = client.messages()
    # Who is refused gets nothing.
    assert not any(reason >= 0x80 and topic in got for topic, reason in zip(topics, granted))
    return [topic in got for topic in topics]


def check(ours, theirs):
    """Midge allows what mosquitto allows, but for the differences that are told; it never allows more."""
    told = {}
    for case, allowed in ours.items():
        user, client_id, _, topic = case
        if allowed != theirs[case]:
            why = differs(user, client_id, topic)
            assert why and not allowed, (case, allowed, theirs[case])
            told[why] = told.get(why, 0) + 1
    return told


@pytest.mark.parametrize("subscribe", ["covered", "delivery"])
def test_the_rules_of_an_acl_file_are_those_of_mosquitto(tmp_path, start_broker, mosquitto, subscribe):
    broker = start_broker({"access.acl_file": tmp_path / "acl", "access.subscribe": subscribe})
    cases = tuples(17)
    theirs = verdicts(mosquitto, cases)
    ours = verdicts((broker.host, broker.port), cases)
    allowed = sum(theirs.values())
    assert TUPLES / 10 < allowed < TUPLES * 9 / 10, "the tuples tell nothing"
    told = check(ours, theirs)
    # Each difference that is told is one.
    assert len(told) == 2, told
    print(f"{TUPLES} tuples, mosquitto allows {allowed}; Midge denies {told}")
