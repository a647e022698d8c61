"""MQTT.js against `midge serve`."""

import base64
import json
import pathlib
import subprocess

import pytest

DRIVER = pathlib.Path(__file__).parent / "mqttjs" / "driver.js"


class Driver:
    """A node process with MQTT.js clients."""

    def __init__(self, run):
        self.process = run(["node", str(DRIVER)], stdin=subprocess.PIPE)
        self.events = []

    def send(self, **command):
        self.process.write(json.dumps(command) + "\n")

    def event(self, client, kind):
        """The next event of this kind of a client; what comes before it is kept."""
        matches = lambda event: (event["client"], event["event"]) == (client, kind)
        for index, event in enumerate(self.events):
            if matches(event):
                return self.events.pop(index)
        while True:
            line = self.process.line()
            assert line is not None, f"node has ended: {self.process.seen}"
            event = json.loads(line)
            if matches(event):
                return event
            self.events.append(event)


class Client:
    """A client in the node process."""

    def __init__(self, driver, broker, version, name, url=None, **options):
        self.driver, self.name = driver, name
        driver.send(command="connect", client=name, url=url or f"mqtt://{broker.host}:{broker.port}",
                    options={"protocolVersion": version, "clientId": name, **options})
        self.connack = driver.event(name, "connect")

    def event(self, kind):
        return self.driver.event(self.name, kind)

    def subscribe(self, filters, **options):
        """Subscribes to {filter: options}, and returns what is granted."""
        self.driver.send(command="subscribe", client=self.name, filters=filters, options=options)
        answer = self.event("subscribe")
        assert not answer["error"]
        return answer["granted"]

    def publish(self, topic, payload=b"", **options):
        self.driver.send(command="publish", client=self.name, topic=topic,
                         payload=base64.b64encode(payload).decode(), options=options)
        answer = self.event("publish")
        assert not answer["error"]

    def unsubscribe(self, filter):
        self.driver.send(command="unsubscribe", client=self.name, filter=filter)
        assert not self.event("unsubscribe")["error"]

    def message(self):
        message = self.event("message")
        message["payload"] = base64.b64decode(message["payload"])
        return message

    def until(self, topic):
        """The messages before the next one of this topic."""
        before = []
        while (message := self.message())["topic"] != topic:
            before.append(message)
        return before

    def end(self):
        self.driver.send(command="end", client=self.name)
        self.event("close")

    def destroy(self):
        self.driver.send(command="destroy", client=self.name)
        self.event("close")


def will(payload, **options):
    return {"topic": "wills/1", "payload": base64.b64encode(payload).decode(), "qos": 0, "retain": False, **options}


@pytest.fixture(params=[3, 4, 5], ids=["v31", "v311", "v5"])
def version(request):
    return request.param


@pytest.fixture
def driver(run):
    return Driver(run)


@pytest.fixture
def also(version):
    """What MQTT.js must be told about the version besides its number: MQTT 3.1 has another name of the protocol."""
    return {"protocolId": "MQIsdp"} if version == 3 else {}


@pytest.fixture
def connect(driver, broker, version, also):
    """Connects a client in the version of the test."""
    return lambda name, **options: Client(driver, broker, version, name, **also, **options)


@pytest.fixture
def connect5(driver, broker):
    return lambda name, **options: Client(driver, broker, 5, name, **options)


@pytest.mark.parametrize("theirs", [0, 1, 2])
@pytest.mark.parametrize("ours", [0, 1, 2])
def test_messages_flow_at_every_qos(connect, theirs, ours):
    subscriber, publisher = connect("s"), connect("p")
    assert subscriber.subscribe({"a/+": {"qos": ours}}) == [ours]
    publisher.publish("a/b", b"hello \xff", qos=theirs)
    message = subscriber.message()
    assert (message["topic"], message["payload"]) == ("a/b", b"hello \xff")
    assert (message["qos"], message["retain"], message["dup"]) == (min(theirs, ours), False, False)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_messages_are_kept_and_removed(connect, qos):
    publisher = connect("p")
    publisher.publish("state/a", b"on", qos=qos, retain=True)
    publisher.publish("state/b", b"on", qos=qos, retain=True)
    publisher.publish("state/b", b"", qos=qos, retain=True)
    publisher.publish("state/c", b"end", qos=qos, retain=True)
    # Its acknowledgement says that what went before has arrived, too.
    publisher.publish("fence", qos=1)
    late = connect("s")
    late.subscribe({"state/+": {"qos": 2}})
    messages = sorted((late.message() for _ in range(2)), key=lambda message: message["topic"])
    assert [(message["topic"], message["qos"], message["retain"]) for message in messages] == [
        ("state/a", qos, True), ("state/c", qos, True)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_will_follows_a_lost_connection(connect, qos):
    watcher = connect("s")
    watcher.subscribe({"wills/#": {"qos": 2}})
    connect("mortal", will=will(b"gone", qos=qos, retain=True)).destroy()
    message = watcher.message()
    assert (message["topic"], message["payload"], message["qos"]) == ("wills/1", b"gone", qos)
    late = connect("late")
    late.subscribe({"wills/#": {"qos": 2}})
    assert late.message()["retain"]


def test_no_will_follows_a_goodbye(connect):
    watcher = connect("s")
    watcher.subscribe({"wills/#": {"qos": 1}})
    connect("polite", will=will(b"gone")).end()
    watcher.publish("wills/end", qos=1)
    assert watcher.until("wills/end") == []


@pytest.mark.parametrize("qos", [1, 2])
def test_messages_wait_in_a_session(connect, version, qos):
    options = {"clean": False}
    if version == 5:
        options["properties"] = {"sessionExpiryInterval": 3600}
    first = connect("keeper", **options)
    assert not first.connack["sessionPresent"]
    first.subscribe({"mail": {"qos": qos}})
    first.end()
    sender = connect("p")
    for payload in (b"1", b"2", b"3"):
        sender.publish("mail", payload, qos=2)
    again = connect("keeper", **options)
    assert again.connack["sessionPresent"] == (version != 3)
    heard = [again.message() for _ in range(3)]
    assert [(message["payload"], message["qos"]) for message in heard] == [(b"1", qos), (b"2", qos), (b"3", qos)]
    again.end()
    assert not connect("keeper", clean=True).connack["sessionPresent"]


def test_groups_share(connect):
    members, publisher = [connect(f"m{number}") for number in range(3)], connect("p")
    for member in members:
        member.subscribe({"$share/g/jobs": {"qos": 1}, "end": {"qos": 1}})
    for number in range(30):
        publisher.publish("jobs", str(number).encode(), qos=1)
    publisher.publish("end", qos=1)
    heard = [[int(message["payload"]) for message in member.until("end")] for member in members]
    assert all(heard)
    assert sorted(sum(heard, [])) == list(range(30))


def test_what_is_unsubscribed_does_not_come(connect):
    client = connect("c")
    client.subscribe({"a": {"qos": 1}, "b": {"qos": 1}})
    client.unsubscribe("a")
    client.publish("a", qos=1)
    client.publish("b", qos=1)
    assert client.message()["topic"] == "b"


def test_large_payloads_and_unicode(connect):
    client = connect("c")
    client.subscribe({"groß/+": {"qos": 1}})
    payload = bytes(range(256)) * 3900
    client.publish("groß/🦀", payload, qos=1)
    message = client.message()
    assert (message["topic"], message["payload"]) == ("groß/🦀", payload)


def test_a_second_connection_takes_the_first_over(run, broker, connect, version, also):
    first = connect("double")
    second = Client(Driver(run), broker, version, "double", **also)
    if version == 5:
        assert first.event("disconnect")["reason"] == 0x8E
    first.event("close")
    second.subscribe({"a": {"qos": 0}})


# MQTT 5


def test_all_properties_of_a_message_arrive(connect5):
    client = connect5("c")
    client.subscribe({"a": {"qos": 1}})
    sent = {"payloadFormatIndicator": True, "contentType": "text/plain", "responseTopic": "answers/1",
            "messageExpiryInterval": 1000, "userProperties": {"a": ["1", "3"], "b": "2"}}
    client.publish("a", b"21", qos=1, properties=sent)
    got = client.message()["properties"]
    assert 900 < got.pop("messageExpiryInterval") <= 1000
    del sent["messageExpiryInterval"]
    assert got == sent


def test_the_broker_uses_topic_aliases(connect5):
    client = connect5("c", properties={"topicAliasMaximum": 5})
    client.subscribe({"#": {"qos": 1}})
    publisher = connect5("p")
    for number in range(20):
        publisher.publish(f"long/topic/{number % 7}", str(number).encode(), qos=1)
    # MQTT.js looks aliases up.
    assert [client.message()["topic"] for _ in range(20)] == [f"long/topic/{number % 7}" for number in range(20)]


def test_a_client_assigns_topic_aliases(connect5):
    client = connect5("c")
    client.subscribe({"#": {"qos": 1}})
    publisher = connect5("p", autoAssignTopicAlias=True)
    assert publisher.connack["properties"]["topicAliasMaximum"] == 16
    for number in range(60):
        publisher.publish(f"long/topic/{number % 20}", str(number).encode(), qos=1)
    assert [client.message()["topic"] for _ in range(60)] == [f"long/topic/{number % 20}" for number in range(60)]


def test_no_local_and_retain_handling(connect5):
    client, other = connect5("c"), connect5("o")
    other.publish("a", b"old", qos=1, retain=True)
    client.subscribe({"a": {"qos": 1, "nl": True, "rap": True, "rh": 2}})
    client.publish("a", b"own", qos=1)
    other.publish("a", b"new", qos=1, retain=True)
    message = client.message()
    assert (message["payload"], message["retain"]) == (b"new", True)


def test_an_identifier_comes_with_messages(connect5):
    client = connect5("c")
    client.subscribe({"a": {"qos": 0}}, properties={"subscriptionIdentifier": 9})
    client.publish("a")
    assert client.message()["properties"]["subscriptionIdentifier"] == 9


def test_a_chosen_client_identifier_is_told(driver, broker):
    driver.send(command="connect", client="x", url=f"mqtt://{broker.host}:{broker.port}",
                options={"protocolVersion": 5, "clientId": ""})
    assert driver.event("x", "connect")["properties"]["assignedClientIdentifier"]
