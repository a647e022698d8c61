"""Starting, stopping, settings, errors, what the broker shows."""

from __future__ import annotations

import errno
import gc
import itertools
import math
import pickle
import socket
import threading
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import PATIENCE

import midge
from midge import _broker
from midge._config import in_bytes
from midge._library import milliseconds
from midge.testing import TestBroker


def test_it_listens_and_stops_listening() -> None:
    with midge.Broker("127.0.0.1:0") as broker:
        host, port = broker.address
        assert host == "127.0.0.1"
        assert port > 0
        socket.create_connection((host, port), timeout=PATIENCE).close()
        assert f"{host}:{port}" in repr(broker)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port), timeout=PATIENCE)


def test_stopping_twice_and_using_it_afterwards() -> None:
    broker = midge.Broker("127.0.0.1:0")
    messages = broker.subscribe("t")
    address = broker.address
    broker.stop()
    broker.stop(grace=0)
    assert broker.address == address
    for call in (
        lambda: broker.publish("t"),
        lambda: broker.publish("t", qos=1, expiry=5),
        lambda: broker.publish_many([("t", "x")]),
        lambda: broker.subscribe("t"),
        lambda: broker.on("t", print),
        lambda: broker.kick("c"),
        lambda: broker.backup("/nowhere/at/all"),
        lambda: broker.reload_certificates(),
        lambda: broker.reload_access(),
        lambda: broker.end_session("c"),
        lambda: broker.clear_queue("c"),
        lambda: messages.get(timeout=PATIENCE),
        lambda: messages.get_batch(timeout=PATIENCE),
    ):
        with pytest.raises(midge.Stopped):
            call()
    assert list(messages) == []
    assert broker.wait(timeout=PATIENCE)
    with broker:
        pass


def test_stopping_from_two_threads() -> None:
    broker = midge.Broker("127.0.0.1:0")
    threads = [threading.Thread(target=broker.stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_forgotten_broker_stops() -> None:
    address = midge.Broker("127.0.0.1:0").address
    gc.collect()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=PATIENCE)


def test_waiting(broker: midge.Broker) -> None:
    assert broker.wait(timeout=0) is False
    assert broker.wait(timeout=0.01) is False
    answers = []
    thread = threading.Thread(target=lambda: answers.append(broker.wait()))
    thread.start()
    broker.request_stop()
    thread.join(PATIENCE)
    assert answers == [True]
    assert broker.wait() is True


def test_several_listeners() -> None:
    with midge.Broker(["127.0.0.1:0", "127.0.0.1:0"]) as broker:
        assert list(broker.addresses) == ["tcp", "tcp-2"]
        assert broker.address == broker.addresses["tcp"]
        for address in broker.addresses.values():
            socket.create_connection(address, timeout=PATIENCE).close()


def test_no_listener() -> None:
    with midge.Broker(config={"listener.tcp.bind": "off"}) as broker:
        assert broker.addresses == {}
        with pytest.raises(midge.StateError, match="no listener"):
            _ = broker.address
        with broker.subscribe("t") as messages:
            broker.publish("t")
            assert messages.get(timeout=PATIENCE).topic == "t"


def test_brokers_share_nothing() -> None:
    with midge.Broker("127.0.0.1:0") as one, midge.Broker("127.0.0.1:0") as other:
        of_one, of_other = one.subscribe("#"), other.subscribe("#")
        one.publish("t", "1")
        assert of_one.get(timeout=PATIENCE).payload == b"1"
        assert len(of_other) == 0


def test_address_in_use(broker: midge.Broker) -> None:
    host, port = broker.address
    with pytest.raises(midge.AddressInUse) as caught:
        midge.Broker(f"{host}:{port}")
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.EADDRINUSE
    assert str(caught.value) == f"listener.tcp.bind: {host}:{port}: address in use"


@pytest.mark.parametrize(
    ("topic", "sentence"),
    [
        ("", 'topic "": the topic is empty'),
        ("a/+", 'topic "a/+": the topic name holds a wildcard, + or #'),
        ("#", 'topic "#": the topic name holds a wildcard, + or #'),
        ("a\0b", "topic 'a\\x00b': holds U+0000"),
        ("\ud800", "topic '\\ud800': has no UTF-8 form"),
        ("x" * 65_536, f'topic "{"x" * 256}": the topic is longer than 65535 bytes'),
        ("ü" * 32_768, f'topic "{"ü" * 256}": the topic is longer than 65535 bytes'),
    ],
    ids=str.__len__,
)
def test_wrong_topics(broker: midge.Broker, topic: str, sentence: str) -> None:
    for publish in (broker.publish, broker.publish_owned, broker.publish_acknowledged):
        with pytest.raises(midge.TopicError) as caught:
            publish(topic, b"")
        assert isinstance(caught.value, ValueError)
        assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("filter", ["", "a#", "a/#/b", "+a", "a\0b", "\ud800", "$share/g", "x" * 65_536])
def test_wrong_filters(broker: midge.Broker, filter: str) -> None:
    with pytest.raises(midge.TopicError, match="filter"):
        broker.subscribe(filter)
    assert broker.subscriptions() == []


def test_wrong_arguments(broker: midge.Broker) -> None:
    for options in (
        {"qos": 3},
        {"qos": -1},
        {"expiry": -1},
        {"expiry": 2**32},
        {"content_type": "a\0b"},
        {"content_type": "x" * 65_536},
        {"response_topic": "a/#"},
        {"response_topic": ""},
        {"correlation_data": bytes(65_536)},
        {"user_properties": {"a\0": "b"}},
    ):
        with pytest.raises(midge.ArgumentError) as caught:
            broker.publish("t", **options)  # type: ignore[arg-type]
        assert next(iter(options)) in str(caught.value), options
    assert broker.stats().messages_published == 0


def test_a_message_beyond_the_settings() -> None:
    settings = {"mqtt.max_packet_size": "1KiB", "mqtt.max_qos": 1, "mqtt.retain": False, "mqtt.max_topic_length": 50}
    with midge.Broker("127.0.0.1:0", settings) as broker:
        with pytest.raises(midge.ArgumentError, match=r"mqtt\.max_packet_size"):
            broker.publish("t", bytes(2000))
        with pytest.raises(midge.ArgumentError, match=r"mqtt\.max_qos"):
            broker.publish("t", qos=2)
        with pytest.raises(midge.ArgumentError, match=r"mqtt\.retain"):
            broker.publish("t", "x", retain=True)
        with pytest.raises(midge.ArgumentError, match=r"mqtt\.max_topic_length"):
            broker.publish("/" * 300)
        broker.publish("x" * 50)
        with pytest.raises(midge.ArgumentError, match=r"mqtt\.max_topic_length is 50"):
            broker.publish("x" * 51)
    with midge.Broker("127.0.0.1:0") as broker, pytest.raises(midge.ArgumentError, match=r"mqtt\.max_topic_levels"):
        broker.publish("/" * 300)


def test_a_message_with_too_many_user_properties_of_a_generator() -> None:
    """They are read once, also for the sentence of a refusal."""
    with midge.Broker(config={"listener.tcp.bind": "off", "mqtt.max_user_properties": 3}) as broker:
        for publish in (broker.publish, broker.publish_owned, broker.publish_acknowledged):
            with pytest.raises(midge.ArgumentError, match=r"^user_properties: are more than 3 \(mqtt.max_user_prop"):
                publish("t", b"", user_properties=((str(number), "x") for number in range(4)))
        assert broker.stats().messages_published == 0
        assert broker.publish("t", user_properties=((str(number), "x") for number in range(3))) == 0


def test_only_the_broker_publishes_below_sys() -> None:
    with midge.Broker("127.0.0.1:0") as broker, broker.subscribe("$SYS/broker/mine") as messages:
        message = r'topic: "\$SYS/broker/mine" is below \$SYS, where only the broker publishes'
        for publish in (broker.publish, broker.publish_owned, broker.publish_acknowledged):
            with pytest.raises(midge.ArgumentError, match=message):
                publish("$SYS/broker/mine", "x", retain=True)
        with pytest.raises(midge.ArgumentError, match=message):
            broker.publish_many([("a", "x"), ("$SYS/broker/mine", "x")])
        assert broker.stats().messages_published == 1
        assert broker.stats().retained_messages == 0
        with pytest.raises(midge.Timeout):
            messages.get(timeout=0)


def test_settings_behave_like_a_dict() -> None:
    config = midge.Config({"mqtt.max_qos": 1, "mqtt.retain": False, "mqtt.max_packet_size": "64KiB"})
    config["runtime.worker_threads"] = "2"
    assert config["mqtt.max_qos"] == "1"
    assert config["mqtt.retain"] == "false"
    assert config["mqtt.max_packet_size"] == "64KiB"
    assert config.get("mqtt.wrong") is None
    assert "mqtt.max_qos" in config
    assert "mqtt.wrong" not in config
    assert 5 not in config
    assert len(config) == len(list(config)) == len(dict(config)) > 20
    assert "mqtt.max_qos" in repr(config)
    copy = config.copy()
    copy["mqtt.max_qos"] = 2
    assert config["mqtt.max_qos"] == "1"
    assert dict(midge.Config(config)) == dict(config)
    assert dict(pickle.loads(pickle.dumps(config))) == dict(config)
    off = midge.Config({"listener.tcp.bind": "off"})
    assert dict(off.copy()) == dict(off)


def test_a_broker_does_not_change_its_config() -> None:
    config = midge.Config({"queue.capacity": 1})
    with midge.Broker("127.0.0.1:0", config) as broker:
        assert broker.address[1] not in (0, 1883)
        with broker.subscribe("t") as messages:
            broker.publish("t")
            broker.publish("t")
            assert messages.dropped == 1
        broker.settings["queue.capacity"] = 7
        assert broker.settings["queue.capacity"] == "1"
    assert config["listener.tcp.bind"] == "127.0.0.1:1883"


@pytest.mark.parametrize(
    ("size", "count"),
    [("7", 7), ("7B", 7), ("2KiB", 2048), ("3MiB", 3 << 20), ("1GiB", 1 << 30), ("5KB", 5000), ("5MB", 5_000_000),
     ("5GB", 5_000_000_000)],
)  # fmt: skip
def test_sizes_in_bytes(size: str, count: int) -> None:
    assert in_bytes(size) == count


@pytest.mark.parametrize(
    ("seconds", "count"),
    [(None, -1), (-1, 0), (0, 0), (0.0001, 1), (0.001, 1), (1.0004, 1001), (1e5, 10**8), (1e300, 2**31 - 1),
     (math.inf, 2**31 - 1)],
)  # fmt: skip
def test_times_in_milliseconds_are_rounded_up(seconds: float | None, count: int) -> None:
    """So that what waits a tenth of a millisecond does not ask again and again without waiting."""
    assert milliseconds(seconds) == count


def test_a_time_that_is_no_number_is_refused(broker: midge.Broker) -> None:
    for call in (lambda: broker.publish_acknowledged("t", timeout=math.nan), lambda: broker.stop(math.nan)):
        with pytest.raises(midge.ArgumentError, match="nan is not a number"):
            call()


def test_the_grace_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """In milliseconds; without one the library takes that of the settings."""
    given: list[int] = []
    library = _broker.waiting

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return self.stop if name == "midge_stop" else getattr(library, name)

        def stop(self, handle: Any, grace: int) -> int:
            given.append(grace)
            return int(library.midge_stop(handle, grace))

    monkeypatch.setattr(_broker, "waiting", Watched())
    for grace in (None, 0, 0.5):
        midge.Broker("127.0.0.1:0").stop(grace)
    assert given == [-1, 0, 500]


def test_wrong_settings_name_their_key() -> None:
    config = midge.Config()
    for key, value in (
        ("mqtt.max_qos", "9"),
        ("mqtt.max_qos", "a\0b"),
        ("mqtt.max_qs", "1"),
        ("listener.tcp.bind", "nowhere"),
    ):
        with pytest.raises(midge.ConfigError) as caught:
            config[key] = value
        assert isinstance(caught.value, ValueError)
        assert caught.value.key == key
        assert key in str(caught.value)
    with pytest.raises(midge.ConfigError, match=r"listener\.tcp\.bind"):
        midge.Broker("nowhere")
    with pytest.raises(midge.ConfigError, match=r"mqtt\.max_qs.*mqtt\.max_qos"):
        midge.Broker("127.0.0.1:0", {"mqtt.max_qs": 1})
    with pytest.raises(KeyError) as unknown:
        _ = config["mqtt.max_qs"]
    assert isinstance(unknown.value, midge.UnknownKey)
    assert str(unknown.value) == "mqtt.max_qs: unknown setting; did you mean mqtt.max_qos?"


def test_settings_from_files(tmp_path: Path) -> None:
    file = tmp_path / "midge.toml"
    file.write_text("[mqtt]\nmax_qos = 1\n")
    assert midge.Config.from_file(file)["mqtt.max_qos"] == "1"
    assert midge.Config.from_file(str(file))["mqtt.max_qos"] == "1"
    config = midge.Config.from_text("[queue]\ncapacity = 7\n")
    config.load_file(file)
    assert (config["queue.capacity"], config["mqtt.max_qos"]) == ("7", "1")
    file.write_text("[mqtt]\nmax_qos = 1\nretian = true\n")
    before = dict(config)
    with pytest.raises(midge.ConfigError) as caught:
        config.load_file(file)
    assert caught.value.key == "mqtt.retian"
    assert f"{file}:3:1" in str(caught.value)
    assert dict(config) == before
    with pytest.raises(OSError, match=r"absent\.toml"):
        midge.Config.from_file(tmp_path / "absent.toml")
    with pytest.raises(midge.ConfigError, match="U\\+0000"):
        midge.Config.from_file(f"{tmp_path}/a\0b")
    with pytest.raises(midge.ConfigError, match="here:1"):
        midge.Config.from_text("[", origin="here")


def test_exceptions_survive_pickling() -> None:
    for error in (
        midge.AddressInUse("127.0.0.1:1: address in use"),
        midge.ConfigError("mqtt.max_qos: wrong"),
        midge.UnknownKey("mqtt.max: unknown", "mqtt.max"),
        midge.Timeout("late"),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert copy.__dict__ == error.__dict__


def test_the_subscriptions_of_the_program(broker: midge.Broker) -> None:
    with broker.subscribe("a/#", qos=1, identifier=5, no_local=True, retain_handling=1):
        (info,) = broker.subscriptions()
    assert info == midge.SubscriptionInfo("a/#", None, 1, True, False, 1, 5)
    with broker.subscribe("$share/g/x", retain_as_published=True):
        (info,) = broker.subscriptions()
    assert info == midge.SubscriptionInfo("$share/g/x", None, 2, False, True, 0, None)


def test_statistics(broker: midge.Broker) -> None:
    before = broker.stats()
    broker.publish("t", "lost")
    after = broker.stats()
    assert after.messages_published - before.messages_published == 1
    assert after["messages_dropped_no_subscriber"] == 1
    assert after.messages_dropped == 1
    assert before.messages_dropped == 0
    assert set(after) == set(before) <= set(dir(after))
    assert dict(after)["clients_connected"] == after.clients_connected == 0
    assert after.started_unix > 0
    with pytest.raises(AttributeError, match="messages_wrong"):
        _ = after.messages_wrong
    with pytest.raises(AttributeError, match="_values"):
        _ = midge.Stats.__new__(midge.Stats)._values
    with pytest.raises(KeyError):
        _ = after["messages_wrong"]
    with pytest.raises(AttributeError):
        after.messages_dropped = 3


def test_kicking_nobody(broker: midge.Broker) -> None:
    assert broker.kick("nobody") is False


def test_the_session_of_nobody(broker: midge.Broker) -> None:
    assert broker.end_session("nobody") is False
    assert broker.queued("nobody") is None
    assert broker.clear_queue("nobody") is None


def test_many_threads_publish(broker: midge.Broker) -> None:
    with broker.subscribe("t/#", capacity=100_000) as messages:

        def publish(number: int) -> None:
            for index in range(500):
                broker.publish(f"t/{number}", str(index), qos=index % 3)

        threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        seen: dict[str, list[int]] = {}
        for _ in range(8 * 500):
            message = messages.get(timeout=PATIENCE)
            seen.setdefault(message.topic, []).append(int(message.payload))
        for thread in threads:
            thread.join(PATIENCE)
    assert len(seen) == 8
    assert all(numbers == list(range(500)) for numbers in seen.values())


def test_stopping_while_threads_use_it() -> None:
    broker = midge.Broker("127.0.0.1:0")
    running = threading.Barrier(5)
    ends = []

    def use() -> None:
        running.wait(PATIENCE)
        try:
            while True:
                with broker.subscribe("t") as messages:
                    broker.publish("t", "x")
                    messages.get(timeout=PATIENCE)
                    broker.stats()
                    broker.clients()
        except midge.Stopped as end:
            ends.append(end)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    running.wait(PATIENCE)
    broker.stop()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(ends) == 4


@pytest.mark.parametrize("number", range(200))
def test_each_with_a_broker_of_its_own(number: int) -> None:
    with midge.Broker("127.0.0.1:0") as broker, broker.subscribe("n", qos=1) as messages:
        broker.publish("n", str(number), qos=1, retain=True)
        assert int(messages.get(timeout=PATIENCE).payload) == number
        assert broker.stats().retained_messages == 1


def test_what_the_broker_shows_of_a_client_that_is_away() -> None:
    """MQTT 5: user `tao`, no clean start, Session Expiry 60; `t` at QoS 1; a message of it, and an acknowledgement."""
    connect = b"\x10\x1a\x00\x04MQTT\x05\x80\x00\x3c\x05\x11\x00\x00\x00\x3c\x00\x03one\x00\x03tao"
    with TestBroker(timeout=PATIENCE) as broker:
        with socket.create_connection(broker.address, timeout=PATIENCE) as peer:
            peer.sendall(connect + b"\x82\x07\x00\x01\x00\x00\x01t\x01" + b"\x30\x05\x00\x01u\x00x" * 3)
            broker.wait_for("u", 3)
            broker.publish("t", "1", qos=1)
            (here,) = broker.clients()
            broker.cut("one")
        broker.wait_for_no_client("one")
        broker.publish("t", "2", qos=1)
        (away,) = broker.clients()
    assert (here.connected, here.username, here.clean_start, here.keep_alive) == (True, "tao", False, 60)
    assert here.address is not None
    assert here.connected_since is not None
    assert (here.version, here.session_expiry, here.subscriptions) == ("5", 60, 1)
    assert (here.received_messages, here.sent_messages, here.inflight, here.queued) == (3, 1, 1, 0)
    assert (away.connected, away.address, away.connected_since, away.session_expiry) == (False, None, None, 60)
    assert (away.inflight, away.queued, away.received_messages, away.sent_messages) == (1, 1, 3, 1)


def test_a_session_that_never_expires_shows_no_expiry() -> None:
    with midge.Broker("127.0.0.1:0") as broker, socket.create_connection(broker.address, timeout=PATIENCE) as peer:
        peer.sendall(b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01c")
        assert peer.recv(4) == b"\x20\x02\x00\x00"
        (client,) = broker.clients()
        assert client.session_expiry is None


number = itertools.count()


def come_and_go(broker: midge.Broker) -> None:
    name = f"brief-{next(number)}"
    broker.add_listener(name, "127.0.0.1:0")
    broker.stop_listener(name)


CALLS: dict[str, Callable[[midge.Broker], object]] = {
    "address": lambda broker: broker.address,
    "addresses": lambda broker: broker.addresses,
    "add_listener": lambda broker: broker.add_listener(f"added-{next(number)}", "127.0.0.1:0"),
    "adopt": lambda broker: adopt(broker),
    "backup": lambda broker: backup(broker),
    "clear_queue": lambda broker: broker.clear_queue("nobody"),
    "clients": lambda broker: broker.clients(),
    "console_address": lambda broker: broker.console_address,
    "end_session": lambda broker: broker.end_session("nobody"),
    "kick": lambda broker: broker.kick("nobody"),
    "listeners": lambda broker: broker.listeners(),
    "on": lambda broker: broker.on("t", str).close(),
    "pause_listener": lambda broker: broker.pause_listener("tcp"),
    "publish": lambda broker: broker.publish("t", "x", 1, expiry=5),
    "publish_acknowledged": lambda broker: broker.publish_acknowledged("t", "x"),
    "publish_many": lambda broker: broker.publish_many([("t", "x"), ("t", "y")]),
    "publish_owned": lambda broker: broker.publish_owned("t", bytes(10_000)),
    "queued": lambda broker: broker.queued("nobody"),
    "reload_certificates": lambda broker: broker.reload_certificates(),
    "reload_access": lambda broker: broker.reload_access(),
    "request_stop": lambda broker: broker.request_stop(),
    "resume_listener": lambda broker: broker.resume_listener("tcp"),
    "retained": lambda broker: broker.retained(),
    "settings": lambda broker: broker.settings["mqtt.max_qos"],
    "stats": lambda broker: broker.stats(),
    "stop": lambda broker: broker.stop(),
    "stop_listener": come_and_go,
    "storage": lambda broker: broker.storage(),
    "subscribe": lambda broker: taking(broker),
    "subscriptions": lambda broker: broker.subscriptions(),
    "wait": lambda broker: broker.wait(0),
}


def adopt(broker: midge.Broker) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        broker.adopt(theirs)


def backup(broker: midge.Broker) -> None:
    with pytest.raises(midge.IoError, match=r"storage\.path: it is not set"):
        broker.backup("/nowhere/at/all")


def taking(broker: midge.Broker) -> None:
    with broker.subscribe("own", capacity=5) as messages:
        broker.publish("own")
        messages.get(PATIENCE)
        messages.get_batch(5, 0) if len(messages) else messages.dropped


def test_every_method_may_be_called_from_any_thread() -> None:
    """Each of the calls by several threads at once, and stopping at the end."""
    public = {name for name in vars(midge.Broker) if not name.startswith("_")}
    assert set(CALLS) == public
    broker = midge.Broker("127.0.0.1:0")
    failures: list[BaseException] = []

    def work(names: list[str]) -> None:
        try:
            for name in names:
                CALLS[name](broker)
        except BaseException as failure:
            failures.append(failure)

    def together(lists: list[list[str]]) -> None:
        threads = [threading.Thread(target=work, args=(names,)) for names in lists]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads)

    names = sorted(public - {"stop"}) * 20
    together([names, names[::-1], names[7:] + names[:7]])
    assert failures == []
    together([["stop"]] * 3)
    assert failures == []


def test_a_message_is_in_each_queue_and_outbox_when_publish_returns(broker: midge.Broker) -> None:
    ours, theirs = socket.socketpair()
    with ours, broker.subscribe("t") as first, broker.subscribe("#") as second:
        broker.adopt(theirs)
        ours.settimeout(PATIENCE)
        ours.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c\x82\x06\x00\x01\x00\x01t\x00")
        assert ours.recv(9, socket.MSG_WAITALL) == b"\x20\x02\x00\x00\x90\x03\x00\x01\x00"
        before = broker.stats().messages_delivered
        assert broker.publish("t", "x") == 3
        assert (len(first), len(second)) == (1, 1)
        assert broker.stats().messages_delivered - before == 3
        assert ours.recv(6, socket.MSG_WAITALL) == b"\x30\x04\x00\x01tx"
