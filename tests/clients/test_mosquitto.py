"""mosquitto_sub and mosquitto_pub against `midge serve`, in every version of the protocol."""

import itertools
import random
import signal
import subprocess

import pytest

from mosquitto import VERSIONS, Subscriber, publish
from processes import DEADLINE

MAX_PACKET_SIZE = 2 << 20


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def subscribe(run, broker, version):
    """Starts a mosquitto_sub with these arguments, and waits until it has subscribed."""
    return lambda *arguments, **options: Subscriber(run, broker, version, *arguments, **options)


@pytest.fixture
def send(broker, version):
    """Publishes with these arguments."""
    return lambda *arguments, **options: publish(broker, version, *arguments, **options)


def ended(subscriber):
    """Waits for the end of a mosquitto_sub that has all it was to wait for."""
    assert subscriber.process.wait() == 0


@pytest.mark.parametrize("theirs, ours", list(itertools.product("012", "012")))
def test_a_message_comes_with_the_lower_qos(subscribe, send, theirs, ours):
    subscriber = subscribe("-t", "a/b", "-q", ours)
    send("-t", "a/b", "-q", theirs, "-m", "hello")
    assert subscriber.message() == ("a/b", min(theirs, ours), "0", "hello")


@pytest.mark.parametrize("from_version, to_version", list(itertools.permutations(VERSIONS, 2)))
@pytest.mark.parametrize("qos", "012")
def test_versions_understand_each_other(run, broker, from_version, to_version, qos):
    subscriber = Subscriber(run, broker, to_version, "-t", "a", "-q", qos)
    publish(broker, from_version, "-t", "a", "-q", qos, "-m", "hello")
    assert subscriber.message() == ("a", qos, "0", "hello")


@pytest.mark.parametrize("qos", "012")
def test_many_messages_come_in_order(subscribe, send, qos):
    payloads = [str(number) for number in range(500)]
    subscriber = subscribe("-t", "many", "-q", qos)
    send("-t", "many", "-q", qos, "-l", input="".join(f"{payload}\n" for payload in payloads).encode())
    assert subscriber.payloads(500) == payloads


@pytest.mark.parametrize("qos", "012")
def test_a_retained_message_waits_for_subscribers(subscribe, send, qos):
    send("-t", "state/a", "-m", "old", "-r", "-q", qos)
    send("-t", "state/a", "-m", "on", "-r", "-q", qos)
    send("-t", "state/b", "-m", "not retained", "-q", qos)
    subscriber = subscribe("-t", "state/+", "-q", "2")
    assert subscriber.message() == ("state/a", qos, "1", "on")
    send("-t", "state/a", "-m", "off", "-r")
    assert subscriber.message() == ("state/a", "0", "0", "off"), "to those who are there it is no retained one"


def test_an_empty_retained_message_removes_it(subscribe, send):
    send("-t", "state", "-m", "on", "-r")
    send("-t", "state", "-n", "-r")
    subscriber = subscribe("-t", "state", "-t", "end")
    send("-t", "end", "-m", "x")
    assert subscriber.message()[0] == "end"


def test_a_will_is_published_when_its_client_dies(subscribe, run, broker, version):
    watcher = subscribe("-t", "wills/#", "-q", "2")
    mortal = subscribe("-t", "x", "--will-topic", "wills/1", "--will-payload", "gone", "--will-qos", "2",
                       "--will-retain")
    mortal.process.signal(signal.SIGKILL)
    assert watcher.message() == ("wills/1", "2", "0", "gone")
    late = subscribe("-t", "wills/#")
    assert late.message() == ("wills/1", "0", "1", "gone")


def test_a_will_is_not_published_when_its_client_says_goodbye(subscribe, send):
    watcher = subscribe("-t", "wills/#")
    polite = subscribe("-t", "x", "-C", "1", "--will-topic", "wills/1", "--will-payload", "gone")
    send("-t", "x", "-m", "go")
    ended(polite)
    send("-t", "wills/end", "-m", "x")
    assert watcher.message()[0] == "wills/end"


@pytest.mark.parametrize("qos", "12")
def test_messages_wait_for_a_client_that_is_away(subscribe, send, qos):
    session = ["-c", "-i", "sleeper", "-t", "mail/#", "-q", qos]
    ended(subscribe(*session, "-E"))
    for number in "123":
        send("-t", "mail/box", "-m", number, "-q", "2")
    send("-t", "mail/box", "-m", "lost", "-q", "0")
    back = subscribe(*session, "-C", "3", subscribed=False)
    assert back.messages(3) == [("mail/box", qos, "0", number) for number in "123"]
    ended(back)
    again = subscribe(*session)
    send("-t", "mail/box", "-m", "4", "-q", "2")
    assert again.message()[3] == "4", "each came once"


def test_a_clean_session_forgets(subscribe, send):
    session = ["-i", "sleeper", "-t", "mail", "-q", "1"]
    ended(subscribe("-c", *session, "-E"))
    send("-t", "mail", "-m", "forgotten", "-q", "1")
    ended(subscribe(*session, "-E"))
    back = subscribe("-c", *session)
    send("-t", "mail", "-m", "new", "-q", "1")
    assert back.message()[3] == "new"


def test_a_session_without_expiry_ends_with_its_connection(run, broker):
    session = ["-c", "-x", "0", "-i", "sleeper", "-t", "mail", "-q", "1"]
    ended(Subscriber(run, broker, "mqttv5", *session, "-E"))
    publish(broker, "mqttv5", "-t", "mail", "-m", "forgotten", "-q", "1")
    back = Subscriber(run, broker, "mqttv5", *session)
    publish(broker, "mqttv5", "-t", "mail", "-m", "new", "-q", "1")
    assert back.message()[3] == "new"


def test_a_session_with_expiry_stays(run, broker):
    session = ["-c", "-x", "3600", "-i", "sleeper", "-t", "mail", "-q", "1"]
    ended(Subscriber(run, broker, "mqttv5", *session, "-E"))
    publish(broker, "mqttv5", "-t", "mail", "-m", "kept", "-q", "1")
    back = Subscriber(run, broker, "mqttv5", *session, subscribed=False)
    assert back.message()[3] == "kept"


def test_the_members_of_a_group_share_the_messages(subscribe, send):
    members = [subscribe("-t", "$share/workers/jobs/+", "-t", "end", "-q", "1") for _ in range(2)]
    outsider = subscribe("-t", "jobs/#", "-q", "1")
    jobs = [str(number) for number in range(50)]
    send("-t", "jobs/new", "-l", "-q", "1", input="".join(f"{job}\n" for job in jobs).encode())
    send("-t", "end", "-m", "x", "-q", "1")
    done = []
    for member in members:
        before = len(done)
        while (message := member.message())[0] != "end":
            done.append(message[3])
        assert len(done) > before, "both work"
    assert sorted(done, key=int) == jobs
    assert outsider.payloads(50) == jobs


def test_a_queue_is_a_group_too(subscribe, send):
    members = [subscribe("-t", "$queue/jobs", "-t", "end", "-q", "1") for _ in range(2)]
    jobs = [str(number) for number in range(20)]
    send("-t", "jobs", "-l", "-q", "1", input="".join(f"{job}\n" for job in jobs).encode())
    send("-t", "end", "-m", "x", "-q", "1")
    done = []
    for member in members:
        while (message := member.message())[0] != "end":
            done.append(message[3])
    assert sorted(done, key=int) == jobs


def test_sys_topics_tell_about_the_broker(subscribe):
    subscriber = subscribe("-t", "$SYS/broker/version", "-C", "1")
    topic, _, _, payload = subscriber.message()
    assert topic == "$SYS/broker/version" and payload.startswith("midge ")
    counters = subscribe("-t", "$SYS/broker/clients/+")
    names = {message[0].rsplit("/", 1)[1] for message in counters.messages(5)}
    assert names == {"connected", "total", "maximum", "disconnected", "expired"}


def test_wildcards_at_the_start_do_not_match_sys_topics(subscribe, send):
    subscriber = subscribe("-t", "#", "-t", "+/broker/version")
    send("-t", "end", "-m", "x")
    assert subscriber.message()[0] == "end"


def test_sys_topics_are_published_again(run, start_broker, version):
    subscriber = Subscriber(run, start_broker({"sys.interval": "1s"}), version, "-t", "$SYS/broker/uptime")
    _, _, first, _ = subscriber.message()
    _, _, second, _ = subscriber.message()
    assert (first, second) == ("1", "0")


def test_wildcards_match_as_the_specification_says(subscribe, send):
    filters = {"+/b": ["a/b", "/b"], "a/+/c": ["a/b/c", "a//c"], "d/#": ["d", "d/e/f", "d/"], "/#": ["/", "/b"],
               "+": ["d", "x"]}
    topics = ["a/b", "/b", "a/b/c", "a//c", "d", "d/e/f", "d/", "/", "x", "a", "a/b/c/d"]
    subscribers = {filter: subscribe("-t", filter, "-t", "end/end/end") for filter in filters}
    for topic in topics:
        send("-t", topic, "-m", "x")
    send("-t", "end/end/end", "-m", "x")
    expected = {
        "+/b": ["a/b", "/b"], "a/+/c": ["a/b/c", "a//c"], "d/#": ["d", "d/e/f", "d/"], "/#": ["/b", "/"],
        "+": ["d", "x", "a"]}
    for filter, subscriber in subscribers.items():
        heard = []
        while (topic := subscriber.message()[0]) != "end/end/end":
            heard.append(topic)
        assert heard == expected[filter], filter


def test_overlapping_subscriptions_bring_a_message_at_least_once(subscribe, send):
    subscriber = subscribe("-t", "a/+", "-t", "a/#", "-t", "end", "-q", "1")
    send("-t", "a/b", "-m", "x", "-q", "1")
    send("-t", "end", "-m", "x", "-q", "1")
    heard = []
    while (topic := subscriber.message()[0]) != "end":
        heard.append(topic)
    assert heard and set(heard) == {"a/b"}


def test_topics_and_payloads_are_unicode(subscribe, send):
    topic = "Küche/温度/🦀/naïve ␠"
    subscriber = subscribe("-t", "Küche/+/🦀/#", "-q", "1")
    send("-t", topic, "-m", "21,5 °C — ça va", "-q", "1")
    assert subscriber.message() == (topic, "1", "0", "21,5 °C — ça va")


def test_a_payload_may_be_empty(subscribe, send):
    subscriber = subscribe("-t", "a", "-q", "1", format="MESSAGE|%t|%l|%r|%p")
    send("-t", "a", "-n", "-q", "1")
    assert subscriber.message() == ("a", "0", "0", "")


def test_a_payload_may_be_any_bytes(subscribe, send, tmp_path):
    payload = bytes(range(256)) * 4
    file = tmp_path / "payload"
    file.write_bytes(payload)
    subscriber = subscribe("-t", "a", "-q", "1", format="MESSAGE|%t|%q|%r|%x")
    send("-t", "a", "-f", str(file), "-q", "1")
    assert bytes.fromhex(subscriber.message()[3]) == payload


@pytest.mark.parametrize("qos", "012")
def test_a_packet_may_be_as_large_as_the_setting_says(subscribe, send, version, tmp_path, qos):
    # The first byte, a length of three bytes, the topic with its length, the identifier, the properties' length.
    header = 1 + 3 + 2 + len("big") + (2 if qos != "0" else 0) + (1 if version == "mqttv5" else 0)
    payload = "".join(random.Random(7).choices("0123456789abcdef", k=MAX_PACKET_SIZE - header))
    file = tmp_path / "payload"
    file.write_text(payload)
    subscriber = subscribe("-t", "big", "-q", qos)
    send("-t", "big", "-f", str(file), "-q", qos)
    topic, got, _, received = subscriber.message()
    assert (topic, got, len(received)) == ("big", qos, len(payload))
    assert received == payload


def test_a_larger_packet_is_refused(subscribe, broker, version, tmp_path):
    file = tmp_path / "payload"
    file.write_bytes(b"x" * MAX_PACKET_SIZE)
    subscriber = subscribe("-t", "big", "-t", "end")
    refused = subprocess.run(
        ["mosquitto_pub", "-h", broker.host, "-p", str(broker.port), "-V", version, "-t", "big", "-f", str(file),
         "-q", "1", "-d"], capture_output=True, timeout=DEADLINE, check=False)
    assert b"PUBACK" not in refused.stdout
    publish(broker, version, "-t", "end", "-m", "x")
    assert subscriber.message()[0] == "end"


def test_large_retained_messages_are_kept(subscribe, send, tmp_path):
    file = tmp_path / "payload"
    file.write_text("x" * 500_000)
    send("-t", "big", "-f", str(file), "-q", "1", "-r")
    assert len(subscribe("-t", "big", "-q", "1").message()[3]) == 500_000


def test_a_client_may_unsubscribe(subscribe, send):
    subscriber = subscribe("-t", "a", "-t", "b", "-U", "a", "-t", "end")
    subscriber.process.line_with("received UNSUBACK")
    send("-t", "a", "-m", "x")
    send("-t", "b", "-m", "x")
    assert subscriber.message()[0] == "b"


def test_many_clients_hear_a_message(subscribe, send):
    subscribers = [subscribe("-t", "news", "-q", "1") for _ in range(10)]
    send("-t", "news", "-m", "x", "-q", "1")
    assert [subscriber.message()[3] for subscriber in subscribers] == ["x"] * 10


def test_a_name_and_a_password_are_taken(subscribe, send):
    subscriber = subscribe("-t", "a", "-u", "admin", "-P", "public")
    send("-t", "a", "-m", "x", "-u", "someone")
    assert subscriber.message()[3] == "x"


# MQTT 5


PROPERTIES = "MESSAGE|%t|%C|%D|%R|%F|%P|%p"
PROPERTIES_SENT = [
    "-D", "publish", "content-type", "text/plain", "-D", "publish", "correlation-data", "id-1",
    "-D", "publish", "response-topic", "answers/1", "-D", "publish", "payload-format-indicator", "1",
    "-D", "publish", "user-property", "unit", "°C", "-D", "publish", "user-property", "unit", "K"]


@pytest.mark.parametrize("qos", "012")
def test_properties_travel_with_a_message(run, broker, qos):
    subscriber = Subscriber(run, broker, "mqttv5", "-t", "a", "-q", qos, format=PROPERTIES)
    publish(broker, "mqttv5", "-t", "a", "-m", "21", "-q", qos, *PROPERTIES_SENT)
    assert subscriber.message() == ("a", "text/plain", "id-1", "answers/1", "1", "unit:°C unit:K", "21")


def test_properties_are_retained_with_a_message(run, broker):
    publish(broker, "mqttv5", "-t", "a", "-m", "21", "-q", "1", "-r", *PROPERTIES_SENT)
    subscriber = Subscriber(run, broker, "mqttv5", "-t", "a", "-q", "1", format=PROPERTIES)
    assert subscriber.message() == ("a", "text/plain", "id-1", "answers/1", "1", "unit:°C unit:K", "21")


def test_properties_are_those_of_a_will(run, broker):
    watcher = Subscriber(run, broker, "mqttv5", "-t", "wills", format="MESSAGE|%t|%C|%P|%p")
    mortal = Subscriber(
        run, broker, "mqttv5", "-t", "x", "--will-topic", "wills", "--will-payload", "gone",
        "-D", "will", "content-type", "text/plain", "-D", "will", "user-property", "a", "b")
    mortal.process.signal(signal.SIGKILL)
    assert watcher.message() == ("wills", "text/plain", "a:b", "gone")


def test_an_expiry_counts_down_to_the_subscriber(run, broker):
    publish(broker, "mqttv5", "-t", "a", "-m", "x", "-r", "-D", "publish", "message-expiry-interval", "1000")
    subscriber = Subscriber(run, broker, "mqttv5", "-t", "a", format="MESSAGE|%t|%E|%r|%p")
    topic, left, _, payload = subscriber.message()
    assert (topic, payload) == ("a", "x")
    assert 900 < int(left) <= 1000


def test_a_subscription_has_an_identifier(run, broker):
    subscriber = Subscriber(run, broker, "mqttv5", "-t", "a", "-D", "subscribe", "subscription-identifier", "77",
                            format="MESSAGE|%t|%S|%r|%p")
    publish(broker, "mqttv5", "-t", "a", "-m", "x")
    assert subscriber.message() == ("a", "77", "0", "x")


def test_a_will_waits_for_its_delay_and_is_sent_when_the_session_ends(run, broker):
    watcher = Subscriber(run, broker, "mqttv5", "-t", "wills")
    mortal = ["-t", "x", "-i", "mortal", "-c", "-x", "3600", "--will-topic", "wills"]
    delay = ["-D", "will", "will-delay-interval", "3000"]
    Subscriber(run, broker, "mqttv5", *mortal, "--will-payload", "1", *delay).process.signal(signal.SIGKILL)
    # It comes back in time: the will is not sent.
    Subscriber(run, broker, "mqttv5", *mortal, "--will-payload", "2", *delay).process.signal(signal.SIGKILL)
    # It comes back with a clean start: the session ends, and the will is sent.
    Subscriber(run, broker, "mqttv5", "-t", "x", "-i", "mortal")
    assert watcher.message()[3] == "2"


def test_requests_are_answered(run, broker):
    answerer = run(
        ["stdbuf", "-oL", "mosquitto_sub", "-h", broker.host, "-p", str(broker.port), "-V", "mqttv5", "-d", "-t",
         "requests", "-F", "REQUEST|%R|%D|%p"])
    answerer.line_with("Subscribed (mid: ")
    asker = run(["mosquitto_rr", "-h", broker.host, "-p", str(broker.port), "-V", "mqttv5", "-t", "requests",
                 "-e", "answers/me", "-D", "publish", "correlation-data", "nr-7", "-m", "how much?"])
    _, topic, correlation, payload = answerer.line_with("REQUEST|").split("|")
    assert (topic, correlation, payload) == ("answers/me", "nr-7", "how much?")
    publish(broker, "mqttv5", "-t", topic, "-D", "publish", "correlation-data", correlation, "-m", "42")
    assert asker.line() == "42"
    assert asker.wait() == 0


def test_a_subscriber_may_take_retained_messages_alone(subscribe, send):
    send("-t", "a/1", "-m", "x", "-r")
    send("-t", "a/2", "-m", "y", "-r")
    subscriber = subscribe("-t", "a/#", "--retained-only")
    assert sorted(subscriber.payloads(2)) == ["x", "y"]
    send("-t", "a/3", "-m", "z")
    ended(subscriber)
