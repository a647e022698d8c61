"""paho-mqtt 2.x against `midge serve`."""

import socket

import paho.mqtt.client as mqtt
import pytest

from paho_client import V5, V31, VERSIONS, Client, SubscribeOptions, properties
from processes import DEADLINE


@pytest.fixture(params=VERSIONS, ids=["v31", "v311", "v5"])
def version(request):
    return request.param


@pytest.fixture
def clients():
    """Makes clients; ends their connections at the end."""
    made = []

    def make(*arguments, **options):
        made.append(Client(*arguments, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def connect(clients, broker, version):
    """Connects a client in the version of the test."""
    return lambda client_id="", **options: clients(broker, version, client_id or name(version), **options)


@pytest.fixture
def connect5(clients, broker):
    """Connects a client in version 5."""
    return lambda client_id="", **options: clients(broker, V5, client_id, **options)


def name(version, counter=iter(range(1_000_000))):
    """A new client identifier, where the version cannot do without."""
    return f"client-{next(counter)}" if version == V31 else ""


def test_a_client_is_welcome(connect):
    client = connect()
    assert (client.reason.value, client.session_present) == (0, False)


@pytest.mark.parametrize("theirs", [0, 1, 2])
@pytest.mark.parametrize("ours", [0, 1, 2])
def test_messages_flow_at_every_qos(connect, theirs, ours):
    subscriber, publisher = connect(), connect()
    assert subscriber.subscribe("a/+", ours) == [ours]
    assert publisher.publish("a/b", b"hello", theirs) == 0
    message = subscriber.message()
    assert (message.topic, message.payload, message.qos) == ("a/b", b"hello", min(theirs, ours))
    assert (message.retain, message.dup) == (False, False)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_client_hears_itself_in_order(connect, qos):
    client = connect()
    client.subscribe("echo", qos)
    expected = [str(number).encode() for number in range(300)]
    for payload in expected:
        client.client.publish("echo", payload, qos)
    assert client.payloads(300) == expected


def test_a_publish_right_behind_connect_is_taken(broker, connect):
    subscriber = connect()
    subscriber.subscribe("chat")
    hasty = socket.create_connection((broker.host, broker.port), timeout=DEADLINE)
    with hasty:
        # CONNECT, PUBLISH and DISCONNECT in one write, the CONNACK not awaited.
        hasty.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"
                      b"\x30\x0f\x00\x04chathello tao\xe0\x00")
        assert hasty.recv(4) == b"\x20\x02\x00\x00"
    assert subscriber.message().payload == b"hello tao"


def test_retained_messages_are_kept_replaced_and_removed(connect):
    publisher = connect()
    publisher.publish("state/a", b"1", 1, retain=True)
    publisher.publish("state/a", b"2", 1, retain=True)
    publisher.publish("state/b", b"3", 1, retain=True)
    publisher.publish("state/b", b"", 1, retain=True)
    late = connect()
    late.subscribe("state/#", 1)
    message = late.message()
    assert (message.topic, message.payload, message.retain, message.qos) == ("state/a", b"2", True, 1)
    publisher.publish("state/end", b"", 1)
    assert late.until("state/end") == []


def test_a_subscription_again_brings_the_retained_message_again(connect):
    client = connect()
    client.publish("state", b"1", 1, retain=True)
    for _ in range(2):
        client.subscribe("state", 1)
        assert client.message().retain


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_a_will_follows_a_lost_connection(connect, qos, retain):
    watcher = connect()
    watcher.subscribe("wills/#", 2)
    mortal = connect(will={"topic": "wills/1", "payload": b"gone", "qos": qos, "retain": retain})
    mortal.break_off()
    message = watcher.message()
    assert (message.topic, message.payload, message.qos, message.retain) == ("wills/1", b"gone", qos, False)
    late = connect()
    late.subscribe("wills/#", 2)
    # At the QoS of the will: one with a lower QoS overtakes it.
    late.publish("wills/end", b"", qos)
    assert [message.retain for message in late.until("wills/end")] == [True] * retain


def test_no_will_follows_a_disconnect(connect):
    watcher = connect()
    watcher.subscribe("wills/#")
    polite = connect(will={"topic": "wills/1", "payload": b"gone"})
    polite.disconnect()
    watcher.publish("wills/end")
    assert watcher.until("wills/end") == []


def test_a_session_is_present_when_it_was_kept(connect, version):
    options = {"clean": False}
    if version == V5:
        options["connect"] = properties("CONNECT", SessionExpiryInterval=3600)
    first = connect("keeper", **options)
    assert not first.session_present
    first.subscribe("mail", 1)
    first.disconnect()
    sender = connect()
    for payload in (b"1", b"2"):
        sender.publish("mail", payload, 2)
    again = connect("keeper", **options)
    # MQTT 3.1 has no such flag.
    assert again.session_present == (version != V31)
    assert again.payloads(2) == [b"1", b"2"]
    again.disconnect()
    clean = connect("keeper", clean=True)
    assert not clean.session_present
    clean.publish("mail", b"3", 1)
    assert clean.subscribe("end") == [0]
    clean.publish("end")
    assert clean.until("end") == []


def test_a_second_connection_takes_the_first_over(connect, version):
    first = connect("double", will={"topic": "wills", "payload": b"gone"})
    watcher = connect()
    watcher.subscribe("wills")
    second = connect("double")
    reason = first.event("disconnect")
    if version == V5:
        assert reason.value == 0x8E
    assert watcher.message().payload == b"gone"
    second.subscribe("a")
    second.publish("a", b"x")
    assert second.message().payload == b"x"


def test_pings_are_answered(connect):
    client = connect(keep_alive=1)
    for _ in range(2):
        client.log_with("Received PINGRESP")


def test_a_silent_client_is_disconnected_and_its_will_sent(connect, broker):
    watcher = connect()
    watcher.subscribe("wills")
    with socket.create_connection((broker.host, broker.port), timeout=DEADLINE) as silent:
        # Keep alive: one second. Will: topic `wills`, payload `x`.
        silent.sendall(b"\x10\x17\x00\x04MQTT\x04\x06\x00\x01\x00\x01s\x00\x05wills\x00\x01x")
        assert silent.recv(4) == b"\x20\x02\x00\x00"
        assert silent.recv(1) == b""
    assert watcher.message().payload == b"x"


def test_several_filters_in_one_packet(connect):
    client = connect()
    assert client.subscribe([("a", 0), ("b/+", 1), ("c/#", 2)]) == [0, 1, 2]
    for topic in ("a", "b/1", "c/1/2"):
        client.publish(topic, b"", 2)
    assert [(message.topic, message.qos) for message in (client.message() for _ in range(3))] == [
        ("a", 0), ("b/1", 1), ("c/1/2", 2)]


def test_a_subscription_is_replaced(connect):
    client = connect()
    assert (client.subscribe("a", 0), client.subscribe("a", 1)) == ([0], [1])
    client.publish("a", b"x", 1)
    client.publish("a", b"end", 1)
    assert [(message.payload, message.qos) for message in (client.message() for _ in range(2))] == [
        (b"x", 1), (b"end", 1)]


def test_what_is_unsubscribed_does_not_come(connect):
    client = connect()
    client.subscribe([("a", 1), ("b", 1)])
    client.unsubscribe("a")
    client.publish("a", b"", 1)
    client.publish("b", b"", 1)
    assert client.message().topic == "b"


def test_groups_share(connect):
    members, publisher = [connect() for _ in range(3)], connect()
    for member in members:
        member.subscribe([("$share/g/jobs", 1), ("end", 1)])
    expected = [str(number).encode() for number in range(30)]
    for payload in expected:
        publisher.publish("jobs", payload, 1)
    publisher.publish("end", b"", 1)
    heard = [[message.payload for message in member.until("end")] for member in members]
    assert all(heard)
    assert sorted(sum(heard, []), key=int) == expected


def test_when_a_member_of_a_group_leaves_the_others_take_its_share(connect):
    members, publisher = [connect() for _ in range(2)], connect()
    for member in members:
        member.subscribe([("$share/g/jobs", 1), ("end", 1)])
    members[0].unsubscribe("$share/g/jobs")
    for number in range(5):
        publisher.publish("jobs", str(number).encode(), 1)
    publisher.publish("end", b"", 1)
    assert members[0].until("end") == []
    assert [message.payload for message in members[1].until("end")] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_message_that_was_not_acknowledged_comes_again(connect, version):
    options = {"clean": False}
    if version == V5:
        options["connect"] = properties("CONNECT", SessionExpiryInterval=3600)
    first = connect("slow", manual_ack=True, **options)
    first.subscribe("a", 1)
    connect().publish("a", b"x", 1)
    assert not first.message().dup
    first.break_off()
    again = connect("slow", **options)
    message = again.message()
    assert (message.payload, message.dup) == (b"x", True)


def test_large_payloads(connect):
    client = connect()
    client.subscribe("big", 2)
    for qos in (0, 1, 2):
        payload = bytes([qos]) * 1_000_000
        client.publish("big", payload, qos)
        assert client.message().payload == payload


@pytest.mark.parametrize("bad", ["a/#/b", "a+", "$share/g", "$share/+/a"])
def test_a_filter_that_is_none_ends_the_connection(connect, version, bad):
    publisher, client = connect(), connect()
    publisher.publish("spoilt", b"kept", 1, retain=True)
    # paho checks filters itself; its check is left out.
    client.client._filter_wildcard_len_check = lambda filter: mqtt.MQTT_ERR_SUCCESS
    client.client.subscribe([("spoilt", SubscribeOptions(1)), (bad, SubscribeOptions(0))] if version == V5
                            else [("spoilt", 1), (bad, 0)])
    reason = client.event("disconnect")
    assert version != V5 or reason.value == 0x81
    assert not client.has("subscribe") and not client.has("message")


# MQTT 5


def test_the_broker_tells_what_it_can(clients, start_broker):
    broker = start_broker({
        "mqtt.max_qos": 1, "mqtt.receive_maximum": 7, "mqtt.max_packet_size": "64KiB", "mqtt.topic_alias_maximum": 3,
        "mqtt.keep_alive_max": "20s", "mqtt.retain": "no", "mqtt.wildcard_subscriptions": "no",
        "mqtt.shared_subscriptions": "no", "mqtt.subscription_identifiers": "no", "session.max_expiry": "1h"})
    told = clients(broker, V5, connect=properties("CONNECT", SessionExpiryInterval=7200)).properties
    assert told.MaximumQoS == 1
    assert told.ReceiveMaximum == 7
    assert told.MaximumPacketSize == 65536
    assert told.TopicAliasMaximum == 3
    assert told.ServerKeepAlive == 20
    assert told.SessionExpiryInterval == 3600
    for flag in ("RetainAvailable", "WildcardSubscriptionAvailable", "SharedSubscriptionAvailable",
                 "SubscriptionIdentifierAvailable"):
        assert getattr(told, flag) == 0, flag
    assert told.AssignedClientIdentifier


def test_a_chosen_client_identifier_is_no_other_s(connect5):
    names = {connect5().properties.AssignedClientIdentifier for _ in range(3)}
    assert len(names) == 3


def test_a_publisher_learns_that_nobody_listens(connect5):
    client = connect5()
    assert client.publish("nobody", b"x", 1) == 0x10
    client.subscribe("somebody")
    assert client.publish("somebody", b"x", 1) == 0


def test_unsubscribing_tells_whether_there_was_a_subscription(connect5):
    client = connect5()
    client.subscribe("a")
    assert client.unsubscribe(["a", "b"]) == [0, 0x11]


def test_subscription_identifiers_come_with_messages(connect5):
    client = connect5()
    client.subscribe("a/+", properties=properties("SUBSCRIBE", SubscriptionIdentifier=5))
    client.subscribe("b", properties=properties("SUBSCRIBE", SubscriptionIdentifier=268_435_455))
    client.subscribe("c")
    for topic in ("a/1", "b", "c"):
        client.publish(topic)
    assert client.message().properties.SubscriptionIdentifier == [5]
    assert client.message().properties.SubscriptionIdentifier == [268_435_455]
    assert not hasattr(client.message().properties, "SubscriptionIdentifier")


def test_overlapping_subscriptions_bring_all_identifiers(connect5):
    client = connect5()
    client.subscribe("a/+", 1, properties=properties("SUBSCRIBE", SubscriptionIdentifier=1))
    client.subscribe("a/#", 2, properties=properties("SUBSCRIBE", SubscriptionIdentifier=2))
    client.subscribe("end", 2)
    client.publish("a/b", b"", 2)
    client.publish("end", b"", 2)
    messages = client.until("end")
    identifiers = [number for message in messages for number in message.properties.SubscriptionIdentifier]
    assert sorted(identifiers) == [1, 2]
    assert max(message.qos for message in messages) == 2


def test_a_publisher_uses_topic_aliases(connect5):
    subscriber, publisher = connect5(), connect5()
    subscriber.subscribe("#", 1)
    assert publisher.properties.TopicAliasMaximum >= 2
    for topic, alias, payload in [("long/a", 1, b"1"), ("long/b", 2, b"2"), ("", 1, b"3"), ("", 2, b"4"),
                                  ("long/c", 1, b"5"), ("", 1, b"6")]:
        publisher.publish(topic, payload, 1, properties=properties("PUBLISH", TopicAlias=alias))
    heard = [(message.topic, message.payload) for message in (subscriber.message() for _ in range(6))]
    assert heard == [("long/a", b"1"), ("long/b", b"2"), ("long/a", b"3"), ("long/b", b"4"), ("long/c", b"5"),
                     ("long/c", b"6")]


def test_an_alias_that_is_not_allowed_ends_the_connection(connect5):
    client = connect5()
    assert client.properties.TopicAliasMaximum == 16
    client.client.publish("a", b"", 1, properties=properties("PUBLISH", TopicAlias=17))
    assert client.event("disconnect").value == 0x94


def test_the_broker_uses_topic_aliases(connect5):
    subscriber = connect5(connect=properties("CONNECT", TopicAliasMaximum=1))
    subscriber.subscribe("#", 1)
    publisher = connect5()
    for payload in (b"1", b"2"):
        publisher.publish("a/long/topic", payload, 1)
    # paho leaves it to us to look the alias up.
    first, second = subscriber.message(), subscriber.message()
    assert (first.topic, first.properties.TopicAlias, first.payload) == ("a/long/topic", 1, b"1")
    assert (second.topic, second.properties.TopicAlias, second.payload) == ("", 1, b"2")


def test_a_message_expiry_is_passed_on(connect5):
    options = {"clean": False, "connect": properties("CONNECT", SessionExpiryInterval=3600)}
    away = connect5("away", **options)
    away.subscribe("a", 1)
    away.disconnect()
    connect5().publish("a", b"x", 1, properties=properties("PUBLISH", MessageExpiryInterval=1000))
    back = connect5("away", **options)
    assert 900 < back.message().properties.MessageExpiryInterval <= 1000


def test_an_expired_message_does_not_come(connect5, broker):
    """The message expires after a second; the wait is for the broker's own clock, which `$SYS` tells."""
    options = {"clean": False, "connect": properties("CONNECT", SessionExpiryInterval=3600)}
    away = connect5("away", **options)
    away.subscribe("a", 1)
    away.disconnect()
    publisher = connect5()
    publisher.publish("a", b"short", 1, properties=properties("PUBLISH", MessageExpiryInterval=1))
    publisher.publish("a", b"long", 1, properties=properties("PUBLISH", MessageExpiryInterval=1000))
    uptime = lambda: (publisher.subscribe("$SYS/broker/uptime"), int(publisher.message().payload.split()[0]))[1]
    published = uptime()
    while uptime() < published + 2:
        pass
    back = connect5("away", **options)
    assert back.message().payload == b"long"


def test_no_local_spares_a_client_its_own_messages(connect5):
    client, other = connect5(), connect5()
    client.subscribe("a", options=SubscribeOptions(1, noLocal=True))
    client.publish("a", b"own", 1)
    other.publish("a", b"other's", 1)
    assert client.message().payload == b"other's"


def test_no_local_on_a_shared_subscription_is_a_protocol_error(connect5):
    client = connect5()
    client.client.subscribe("$share/g/a", options=SubscribeOptions(0, noLocal=True))
    assert client.event("disconnect").value == 0x82


def test_retain_as_published(connect5):
    keeps, clears, publisher = connect5(), connect5(), connect5()
    keeps.subscribe("a", options=SubscribeOptions(0, retainAsPublished=True))
    clears.subscribe("a", options=SubscribeOptions(0, retainAsPublished=False))
    publisher.publish("a", b"x", retain=True)
    publisher.publish("a", b"y", retain=False)
    assert [keeps.message().retain for _ in range(2)] == [True, False]
    assert [clears.message().retain for _ in range(2)] == [False, False]


@pytest.mark.parametrize("handling, expected", [(0, [1, 1]), (1, [1, 0]), (2, [0, 0])])
def test_retain_handling(connect5, handling, expected):
    client = connect5()
    client.publish("a", b"x", 1, retain=True)
    client.subscribe("end")
    counts = []
    for _ in range(2):
        client.subscribe("a", options=SubscribeOptions(1, retainHandling=handling))
        client.publish("end")
        counts.append(len(client.until("end")))
    assert counts == expected


def test_all_properties_of_a_message_arrive(connect5):
    client = connect5()
    client.subscribe("a", 1)
    sent = properties("PUBLISH", PayloadFormatIndicator=1, ContentType="text/plain", ResponseTopic="answers/1",
                      CorrelationData=b"\x00\xff", UserProperty=[("a", "1"), ("b", "2"), ("a", "3")])
    client.publish("a", "21", 1, properties=sent)
    got = client.message().properties
    assert got.PayloadFormatIndicator == 1
    assert got.ContentType == "text/plain"
    assert got.ResponseTopic == "answers/1"
    assert got.CorrelationData == b"\x00\xff"
    assert got.UserProperty == [("a", "1"), ("b", "2"), ("a", "3")]


def test_a_client_gets_no_more_than_its_receive_maximum_unacknowledged(connect5):
    slow = connect5(connect=properties("CONNECT", ReceiveMaximum=2), manual_ack=True)
    slow.subscribe([("a", 1), ("fence", 0)])
    publisher = connect5()
    for number in range(1, 6):
        publisher.publish("a", str(number).encode(), 1)
    publisher.publish("fence")
    before = slow.until("fence")
    assert [message.payload for message in before] == [b"1", b"2"]
    slow.client.ack(before[0].mid, 1)
    third = slow.message()
    assert third.payload == b"3"
    slow.client.ack(before[1].mid, 1)
    slow.client.ack(third.mid, 1)
    assert slow.payloads(2) == [b"4", b"5"]


def test_a_client_gets_no_larger_packet_than_it_takes(connect5):
    small = connect5(connect=properties("CONNECT", MaximumPacketSize=100))
    small.subscribe("a", 1)
    publisher = connect5()
    publisher.publish("a", b"x" * 200, 1)
    publisher.publish("a", b"small", 1)
    assert small.message().payload == b"small"


def test_a_publish_beyond_the_maximum_qos_ends_the_connection(clients, start_broker):
    client = clients(start_broker({"mqtt.max_qos": 1}), V5)
    client.client.publish("a", b"x", 2)
    assert client.event("disconnect").value == 0x9B


def test_a_retained_message_where_there_are_none_ends_the_connection(clients, start_broker):
    client = clients(start_broker({"mqtt.retain": "no"}), V5)
    client.client.publish("a", b"x", 1, retain=True)
    assert client.event("disconnect").value == 0x9A


def test_a_packet_that_is_too_large_ends_the_connection(clients, start_broker):
    client = clients(start_broker({"mqtt.max_packet_size": "1KiB"}), V5)
    client.client.publish("a", b"x" * 2000, 1)
    assert client.event("disconnect").value == 0x95


def test_a_session_expiry_may_be_changed_when_leaving(connect5):
    keep = properties("CONNECT", SessionExpiryInterval=3600)
    first = connect5("leaver", clean=False, connect=keep)
    first.disconnect(properties=properties("DISCONNECT", SessionExpiryInterval=0))
    assert not connect5("leaver", clean=False, connect=keep).session_present


def test_a_client_may_ask_for_its_will_when_leaving(connect5):
    watcher = connect5()
    watcher.subscribe("wills")
    leaver = connect5(will={"topic": "wills", "payload": b"gone"})
    leaver.disconnect(reasoncode=mqtt.ReasonCode(mqtt.PacketTypes.DISCONNECT, identifier=4))
    assert watcher.message().payload == b"gone"


def test_clients_are_told_when_the_broker_stops(start_broker, clients):
    broker = start_broker()
    client = clients(broker, V5)
    broker.stop()
    assert client.event("disconnect").value == 0x8B
