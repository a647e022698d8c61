"""Hooks, with a client that we did not write."""

from __future__ import annotations

import asyncio
import gc
import logging
import queue
import socket
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import paho.mqtt.client as mqtt
import pytest
from conftest import PATIENCE
from paho.mqtt.enums import CallbackAPIVersion

import midge
import midge.aio
from midge import _ffi, _hooks, _library, _publish, _requests
from midge.testing import TestBroker


class Peer:
    """A paho client whose events are in a queue."""

    def __init__(self, address: tuple[str, int], client_id: str, username: str | None = None, **options: Any) -> None:
        self.events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5)
        self.client.reconnect_delay_set(120, 120)
        self.client.on_connect = lambda *a: self.events.put(("connect", a[3].value))
        self.client.on_subscribe = lambda *a: self.events.put(("subscribe", [reason.value for reason in a[3]]))
        self.client.on_unsubscribe = lambda *a: self.events.put(("unsubscribe", None))
        self.client.on_publish = lambda *a: self.events.put(("publish", a[3].value))
        self.client.on_message = lambda *a: self.events.put(("message", a[2]))
        if username is not None:
            self.client.username_pw_set(username, "secret")
        if options:
            self.client.will_set(**options)
        self.client.connect(*address)
        self.client.loop_start()

    def expect(self, event: str) -> Any:
        name, value = self.events.get(timeout=PATIENCE)
        assert name == event
        return value

    def publish(self, topic: str, payload: str, qos: int = 1, **options: Any) -> int:
        self.client.publish(topic, payload, qos, **options)
        reason = int(self.expect("publish"))
        return 0 if reason == 0x10 else reason  # No matching subscribers

    def subscribe(self, filter: str, qos: int = 1) -> list[int]:
        self.client.subscribe(filter, qos)
        return list(self.expect("subscribe"))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        left = self.client.socket()
        if left is not None:  # paho leaves a connection that ended otherwise to the collector
            left.close()


@pytest.fixture
def start() -> Iterator[Callable[[midge.Hooks], TestBroker]]:
    brokers = []

    def start(hooks: midge.Hooks) -> TestBroker:
        brokers.append(TestBroker(hooks=hooks, timeout=PATIENCE))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., Peer]]:
    peers = []

    def connect(broker: midge.Broker, *arguments: Any, expected: int = 0, **options: Any) -> Peer:
        peers.append(Peer(broker.address, *arguments, **options))
        assert peers[-1].expect("connect") == expected
        return peers[-1]

    yield connect
    for peer in peers:
        peer.close()


def test_who_is_let_in(start: Any, connect: Any) -> None:
    hooks = midge.Hooks()
    asked = []
    connections: list[int] = []

    @hooks.authenticate
    def let_in(request: midge.ConnectRequest) -> bool | int:
        asked.append(request)
        assert request.password == b"secret" or request.username is None
        connections.append(request.connection)
        return {"tao": True, "mallory": 0x8A}.get(request.username or "", False)

    broker = start(hooks)
    connect(broker, "one", "tao")
    connect(broker, "two", "mallory", expected=0x8A)
    connect(broker, "three", expected=0x86)
    first = asked[0]
    assert (first.client_id, first.username, first.listener, first.version) == ("one", "tao", "tcp", "5")
    assert (first.clean_start, first.keep_alive) == (True, 60)
    assert first.address.startswith("127.0.0.1:")
    assert "secret" not in repr(first)
    assert len(set(connections)) == 3
    assert [client.client_id for client in broker.clients()] == ["one"]


def test_who_may_do_what(start: Any, connect: Any) -> None:
    hooks = midge.Hooks()
    asked = []

    @hooks.authorize
    def may(request: midge.AccessRequest) -> bool:
        assert (request.address or "").startswith("127.0.0.1:")
        asked.append((request.action, request.topic, request.qos, request.retain, request.is_will))
        return request.topic.startswith(f"users/{request.username}/")

    broker = start(hooks)
    peer = connect(broker, "c", "tao", topic="users/tao/will", payload="gone")
    assert peer.subscribe("users/tao/inbox", 2) == [2]
    assert peer.subscribe("$share/g/users/tao/x") == [0x87]
    assert peer.publish("users/tao/a", "x", retain=True) == 0
    assert peer.publish("users/mao/a", "x") == 0x87
    assert asked == [
        ("publish", "users/tao/will", 0, False, True),
        ("subscribe", "users/tao/inbox", 2, False, False),
        ("subscribe", "$share/g/users/tao/x", 1, False, False),
        ("publish", "users/tao/a", 1, True, False),
        ("publish", "users/mao/a", 1, False, False),
    ]
    broker.assert_published("users/#", count=1)
    broker.publish("users/mao/a", "the program itself is not asked")


def test_messages_are_changed_and_dropped(start: Any, connect: Any) -> None:
    hooks = midge.Hooks()
    kept: list[midge.PublishRequest] = []

    @hooks.on_publish
    def look(request: midge.PublishRequest) -> bool | None:
        kept.append(request)
        if request.topic == "drop":
            return False
        if request.topic == "change":
            request.topic = "changed"
            request.payload = request.payload.upper()
            request.qos = 2
            request.retain = True
            request.properties = request.properties._replace(content_type="text/plain", expiry=60)
            request.add_user_properties({"by": request.client_id})
        return None

    broker = start(hooks)
    peer = connect(broker, "c", "tao")
    assert [peer.publish(topic, "x") for topic in ("drop", "change", "keep")] == [0, 0, 0]
    changed, same = broker.published()
    properties = midge.Properties(content_type="text/plain", expiry=60, user_properties=(("by", "c"),))
    assert changed == midge.Message("changed", b"X", 2, True, properties)
    assert same == midge.Message("keep", b"x", 1)
    assert (kept[0].username, kept[0].is_will, kept[0].topic) == ("tao", False, "drop")
    with pytest.raises(midge.StateError, match="the hook has returned"):
        kept[0].payload = b"late"
    broker.publish("drop", "of the program")
    broker.assert_published("drop", count=1)


def test_wrong_changes_are_refused_and_drop_the_message(
    start: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = midge.Hooks()
    refused: list[BaseException] = []

    @hooks.on_publish
    def look(request: midge.PublishRequest) -> bool | None:
        for name, value in (("topic", "a/#"), ("topic", "a\0b"), ("qos", 3), ("retain", "yes"), ("payload", None)):
            try:
                setattr(request, name, value)
            except (ValueError, TypeError) as error:
                refused.append(error)
        assert request.topic == "t"
        if request.payload == b"answer":
            return 1  # type: ignore[return-value]
        request.topic = ""
        return None

    broker = start(hooks)
    with caplog.at_level(logging.ERROR, logger="midge"):
        peer = connect(broker, "c")
        assert [peer.publish("t", payload) for payload in ("x", "answer")] == [0, 0]
    assert len(refused) == 10
    assert str(refused[0]) == 'topic "a/#": the topic name holds a wildcard, + or #'
    broker.assert_not_published("#")
    assert [record.getMessage() for record in caplog.records] == ["the hook on_publish failed"] * 2
    assert "on_publish: answered 1, not True, False or None" in caplog.text


def test_what_happens_is_told(start: Any, connect: Any) -> None:
    hooks = midge.Hooks()
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for name in _hooks.NOTICES:
        getattr(hooks, name)(events.put)
    broker = start(hooks)
    peer = connect(broker, "c", "tao")
    connected = events.get(timeout=PATIENCE)
    assert isinstance(connected, midge.Connected)
    assert (connected.client_id, connected.username, connected.version) == ("c", "tao", "5")
    assert (connected.session_present, connected.clean_start, connected.keep_alive) == (False, True, 60)
    assert connected.listener == "tcp"
    peer.subscribe("t", 1)
    assert events.get(timeout=PATIENCE) == midge.SubscriptionInfo("t", "c", 1, False, False, 0, None)
    broker.publish("t", "x", qos=1)
    assert peer.expect("message").payload == b"x"
    assert events.get(timeout=PATIENCE) == midge.Delivered("c", "t", 1)
    broker.publish("nobody", "x")
    assert events.get(timeout=PATIENCE) == midge.Dropped(None, "nobody", "no_subscriber")
    peer.client.unsubscribe("t")
    unsubscribed = events.get(timeout=PATIENCE)
    assert (unsubscribed.filter, unsubscribed.client_id) == ("t", "c")
    broker.kick("c")
    gone = events.get(timeout=PATIENCE)
    assert isinstance(gone, midge.Disconnected)
    assert (gone.client_id, gone.cause, gone.connection) == ("c", "kicked", connected.connection)


def test_a_hook_that_is_not_set_is_not_handed_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """And so costs nothing: the library does not call it."""
    names = [name for name, _ in _ffi.midge_hooks._fields_ if name in _hooks._TRAMPOLINES]
    handed: list[set[str]] = []
    install = _library.quick.midge_config_set_hooks

    def looking(config: Any, view: Any) -> int:
        handed.append({name for name in names if getattr(view._obj, name)})
        return int(install(config, view))

    monkeypatch.setattr(_library.quick, "midge_config_set_hooks", looking)
    for name in names:
        hooks = midge.Hooks()
        getattr(hooks, name)(lambda request: True)
        TestBroker(hooks=hooks).stop()
    TestBroker(hooks=midge.Hooks()).stop()
    TestBroker().stop()
    assert handed == [*({name} for name in names), set()]
    assert len(names) == 9


def test_hooks_run_on_the_broker_s_threads_and_on_those_that_publish(start: Any, connect: Any) -> None:
    hooks = midge.Hooks()
    threads: queue.SimpleQueue[int] = queue.SimpleQueue()

    @hooks.authenticate
    def let_in(request: midge.ConnectRequest) -> bool:
        threads.put(threading.get_native_id())
        return True

    @hooks.on_dropped
    def dropped(event: midge.Dropped) -> None:
        threads.put(threading.get_native_id())

    broker = start(hooks)
    connect(broker, "c")
    names = {int(task.name): (task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
    assert names[threads.get(timeout=PATIENCE)].startswith("midge-")
    broker.publish("nobody", "x")
    assert threads.get(timeout=PATIENCE) == threading.get_native_id()


def test_a_decision_that_comes_later(start: Any, connect: Any) -> None:
    hooks = midge.Hooks()
    waiting: queue.SimpleQueue[midge.Decision] = queue.SimpleQueue()

    @hooks.authorize
    def may(request: midge.AccessRequest) -> midge.Decision:
        decision = request.defer()
        waiting.put(decision)
        return decision

    broker = start(hooks)
    peer, other = connect(broker, "c"), connect(broker, "d")
    peer.client.publish("t", "1", qos=1)
    first = waiting.get(timeout=PATIENCE)
    other.client.publish("u", "2", qos=1)  # does not wait for the other client
    second = waiting.get(timeout=PATIENCE)
    assert second.allow() is True
    assert other.expect("publish") == 0x10
    assert first.deny(0x97) is True
    assert peer.expect("publish") == 0x97
    with pytest.raises(midge.StateError, match="decided before"):
        first.allow()
    peer.client.publish("t", "3", qos=1)
    forgotten = waiting.get(timeout=PATIENCE)
    with pytest.raises(midge.ArgumentError, match="reason"):
        forgotten.deny(0)
    with pytest.raises(midge.ArgumentError, match="reason: 255 is no reason code for this"):
        forgotten.deny(0xFF)
    assert peer.expect("publish") == 0x87, "it is given up then"
    peer.client.publish("t", "3", qos=1)
    forgotten = waiting.get(timeout=PATIENCE)
    del forgotten
    gc.collect()
    assert peer.expect("publish") == 0x87
    peer.client.publish("t", "4", qos=1)
    late = waiting.get(timeout=PATIENCE)
    broker.advance("1m")  # longer than hooks.deadline
    assert peer.expect("publish") == 0x87
    assert late.allow() is False


def test_a_resumed_session_and_a_refused_client_are_told(start: Any) -> None:
    """MQTT 3.1.1 without Clean Session; the second time a PUBLISH of QoS 3 ends it."""
    hooks = midge.Hooks()
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    asked: list[bool] = []
    hooks.on_connected(events.put)
    hooks.on_disconnected(events.put)
    hooks.authenticate(lambda request: asked.append(request.clean_start) or True)
    broker = start(hooks)
    connected, ended = [], []
    for last in (b"\xe0\x00", b"\x36\x05\x00\x01t\x00\x01"):
        with socket.create_connection(broker.address, timeout=PATIENCE) as peer:
            peer.sendall(b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01c" + last)
            connected.append(events.get(timeout=PATIENCE))
            ended.append(events.get(timeout=PATIENCE))
    assert asked == [False, False]
    assert [(event.session_present, event.clean_start) for event in connected] == [(False, False), (True, False)]
    assert connected[0].connection != connected[1].connection
    assert [(event.cause, event.reason_code) for event in ended] == [("disconnected", None), ("refused", 0x81)]
    assert ended[0].why == ""
    assert "QoS" in ended[1].why


def test_a_will_is_looked_at_and_kept_from_being_retained(start: Any, connect: Any) -> None:
    hooks = midge.Hooks()
    seen: list[tuple[str, bool, bool]] = []

    @hooks.on_publish
    def look(request: midge.PublishRequest) -> None:
        seen.append((request.topic, request.is_will, request.retain))
        request.retain = not request.retain

    broker = start(hooks)
    connect(broker, "c", topic="will", payload="gone", retain=True)
    broker.cut("c")
    broker.assert_published("will", "gone", retain=False)
    connect(broker, "d").publish("t", "x")
    broker.assert_published("t", "x", retain=True)
    assert seen == [("will", True, True), ("t", False, False)]


def test_a_decision_that_was_answered_at_once_is_not_freed_again(
    start: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = midge.Hooks()
    hooks.authorize(lambda request: request.topic == "yes")
    freed: list[object] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return freed.append if name == "midge_decision_free" else getattr(_requests_waiting, name)

    _requests_waiting = _requests.waiting
    monkeypatch.setattr(_requests, "waiting", Watched())
    peer = connect(start(hooks), "c")
    assert [peer.publish(topic, "x") for topic in ("yes", "no")] == [0, 0x87]
    gc.collect()
    assert freed == []


def test_an_interrupt_in_a_hook_is_raised_in_the_main_thread(run: Any) -> None:
    """The hook runs on a thread of the broker, while the main thread waits."""
    ended = run(
        """
        import signal, socket
        import midge
        signal.signal(signal.SIGINT, signal.default_int_handler)
        hooks = midge.Hooks()
        @hooks.on_connected
        def connected(event):
            raise KeyboardInterrupt
        with midge.Broker("127.0.0.1:0", hooks=hooks) as broker:
            try:
                with socket.create_connection(broker.address) as client:
                    client.sendall(b"\\x10\\x0d\\x00\\x04MQTT\\x04\\x02\\x00\\x3c\\x00\\x01c")
                    broker.wait(timeout=30)
            except KeyboardInterrupt:
                print("interrupted")
        """
    )
    assert (ended.stdout, ended.stderr) == ("interrupted\n", "")


def test_a_hook_that_raises_denies_and_is_logged(start: Any, connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    hooks = midge.Hooks()

    @hooks.authenticate
    def let_in(request: midge.ConnectRequest) -> bool:
        if request.client_id == "bad":
            raise KeyError("oops")
        if request.client_id == "exit":
            raise SystemExit
        return request.client_id == "good"

    @hooks.authorize
    def may(request: midge.AccessRequest) -> Any:
        request.defer()
        return {"none": None, "zero": 0, "text": "yes", "one": 1, "large": 0x187, "ok": True}[request.topic]

    @hooks.on_connected
    def connected(event: midge.Connected) -> None:
        raise ValueError("told in vain")

    broker = start(hooks)
    with caplog.at_level(logging.ERROR, logger="midge"):
        connect(broker, "bad", expected=0x86)
        connect(broker, "exit", expected=0x86)
        peer = connect(broker, "good")
        answers = [peer.publish(topic, "x") for topic in ("none", "zero", "text", "one", "large", "ok", "unknown")]
    assert answers == [0x87] * 5 + [0, 0x87]
    assert [record.getMessage().split()[2] for record in caplog.records] == (
        ["authenticate"] * 2 + ["on_connected"] + ["authorize"] * 6
    )
    assert all(record.exc_info is not None for record in caplog.records)
    assert "authorize: answered None, not True, False" in caplog.text


def test_hooks_may_use_the_broker(start: Any, connect: Any) -> None:
    hooks = midge.Hooks()
    refused: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @hooks.authorize
    def may(request: midge.AccessRequest) -> bool:
        broker.publish("audit", request.topic, qos=1)
        broker.publish_many([("audit", "again")])
        with broker.subscribe("more") as messages:
            broker.publish("more")
            messages.get(timeout=PATIENCE)
        assert broker.stats().clients_connected == 1
        assert len(broker.clients()) == 1
        try:
            broker.stop()
        except midge.StateError as error:
            refused.put(error)
        broker.kick("nobody")
        return True

    @hooks.on_dropped
    def dropped(event: midge.Dropped) -> None:
        if event.topic == "first":
            broker.publish("second", "from a hook on this very thread", qos=1)

    broker = start(hooks)
    peer = connect(broker, "c")
    assert peer.publish("t", "x") == 0
    assert type(refused.get(timeout=PATIENCE)) is midge.StateError
    assert [m.payload for m in broker.published("audit")] == [b"t", b"again"]
    broker.publish("first", "nobody listens")
    broker.assert_published("second")


def test_many_threads_publish_while_hooks_run(start: Any, connect: Any) -> None:
    """Hooks run on the broker's thread and on the publishing ones; none keeps what another needs."""
    hooks = midge.Hooks()
    counted = [0]
    lock = threading.Lock()

    @hooks.on_publish
    def look(request: midge.PublishRequest) -> None:
        broker.publish("copy", request.payload)

    @hooks.on_delivered
    def delivered(event: midge.Delivered) -> None:
        broker.stats()

    @hooks.on_dropped
    def dropped(event: midge.Dropped) -> None:
        with lock:
            counted[0] += 1

    broker = start(hooks)
    peer = connect(broker, "c")
    peer.subscribe("from/program")

    def publish() -> None:
        for index in range(200):
            broker.publish("from/program", str(index), qos=index % 2)
            broker.publish("nobody")
            broker.kick("nobody")

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for index in range(200):
        peer.client.publish("from/client", str(index), qos=1)
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    broker.wait_for("copy", 200)
    seen = {"message": 0, "publish": 0}
    while seen != {"message": 800, "publish": 200}:
        seen[peer.events.get(timeout=PATIENCE)[0]] += 1
    broker.advance(0)
    assert counted[0] >= 800


def test_hooks_are_set_once_and_before_the_start(start: Any) -> None:
    hooks = midge.Hooks()
    hooks.authorize(lambda request: True)
    with pytest.raises(midge.ArgumentError, match="authorize: is set already"):
        hooks.authorize(lambda request: True)
    with pytest.raises(TypeError, match="not callable"):
        hooks.authenticate(True)  # type: ignore[type-var]
    assert repr(hooks) == "<midge.Hooks: authorize>"
    start(hooks)
    with pytest.raises(midge.StateError, match="before the broker starts"):
        hooks.authenticate(lambda request: True)

    async def later(request: midge.ConnectRequest) -> bool:
        return True

    coroutine = midge.Hooks()
    coroutine.authenticate(later)
    with pytest.raises(midge.ArgumentError, match=r"midge\.aio\.Broker"):
        midge.Broker("127.0.0.1:0", hooks=coroutine)
    with pytest.raises(midge.ArgumentError, match="on_publish"):
        coroutine.on_publish(later)
    with pytest.raises(midge.StateError, match="does not come from a broker"):
        midge.ConnectRequest("c").defer()


def test_with_hooks_or_a_log_calls_give_the_interpreter_s_lock_away() -> None:
    """A call that waits for a hook on another thread must not keep what that needs."""
    hooks = midge.Hooks()
    hooks.on_dropped(lambda event: None)
    for options, gives in (({"hooks": hooks}, True), ({"log": "error"}, True), ({}, False)):
        with midge.Broker("127.0.0.1:0", **options) as broker:  # type: ignore[arg-type]
            assert (broker._quick is _library.waiting) is gives
            assert (broker._publish is _publish.publish_waiting) is gives


def test_hooks_are_let_go_with_their_broker() -> None:
    gc.collect()  # what earlier tests left in cycles
    before = dict(_hooks._in_use)
    hooks = midge.Hooks()
    hooks.authorize(lambda request: True)
    with midge.Broker("127.0.0.1:0", hooks=hooks) as broker:
        with pytest.raises(midge.AddressInUse):
            midge.Broker("{}:{}".format(*broker.address), hooks=hooks)
        assert len(_hooks._in_use) == len(before) + 1
    del broker
    gc.collect()
    assert _hooks._in_use == before


def test_coroutines_as_hooks(caplog: pytest.LogCaptureFixture) -> None:
    hooks = midge.Hooks()
    gone = asyncio.Event
    told: list[str] = []

    @hooks.authenticate
    async def let_in(request: midge.ConnectRequest) -> bool | int:
        await asyncio.sleep(0)
        if request.client_id == "bad":
            raise KeyError("oops")
        if request.client_id == "itself":
            assert request.defer().allow()
        assert len(hooks._tasks) == 1, "the event loop does not keep it"
        return True if request.client_id == "good" else 0x8A

    @hooks.on_connected
    async def connected(event: midge.Connected) -> None:
        await asyncio.sleep(0)
        told.append(event.client_id)
        done.set()

    async def main() -> None:
        nonlocal done
        done = gone()
        loop = asyncio.get_running_loop()
        async with midge.aio.Broker("127.0.0.1:0", hooks=hooks) as broker:

            def client(name: str) -> int:
                peer = Peer(broker.address, name)
                try:
                    return int(peer.expect("connect"))
                finally:
                    peer.close()

            names = ("good", "other", "bad", "itself")
            answers = [await loop.run_in_executor(None, client, name) for name in names]
            assert answers == [0, 0x8A, 0x86, 0]
            await asyncio.wait_for(done.wait(), PATIENCE)

    done: asyncio.Event = None  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert told[0] == "good"
    assert [record.getMessage() for record in caplog.records] == ["the hook authenticate failed"]
    assert not hooks._tasks


def test_hooks_belong_to_one_event_loop() -> None:
    """When that is closed, what they would decide is denied, and no coroutine is left behind."""
    hooks = midge.Hooks()

    @hooks.authenticate
    async def let_in(request: midge.ConnectRequest) -> bool:
        return True

    async def start() -> midge.aio.Broker:
        return await midge.aio.Broker("127.0.0.1:0", hooks=hooks).start()

    async def again() -> None:
        with pytest.raises(midge.StateError, match="in use in another event loop"):
            await start()

    broker = asyncio.run(start()).sync
    try:
        asyncio.run(again())
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            peer = Peer(broker.address, "c")
            try:
                assert peer.expect("connect") == 0x86
            finally:
                peer.close()
            gc.collect()
        assert [str(one.message) for one in warned if "never awaited" in str(one.message)] == []
    finally:
        broker.stop()


def test_exit_while_hooks_run(run: Any) -> None:
    """The interpreter ends while threads publish, and the broker's own threads are in hooks."""
    for _ in range(3):
        ended = run(
            """
            import socket, threading
            import midge
            hooks = midge.Hooks()
            begun = threading.Semaphore(0)
            @hooks.on_dropped
            def dropped(event):
                begun.release()
                sum(range(1000))
            @hooks.authenticate
            def let_in(request):
                begun.release()
                return True
            @hooks.on_connected
            def connected(event):
                begun.release()
            broker = midge.Broker("127.0.0.1:0", hooks=hooks)
            threading.excepthook = lambda arguments: None  # the broker stops under them
            def publish():
                while True:
                    broker.publish("nobody")
            def connect():
                while True:
                    with socket.create_connection(broker.address) as client:
                        client.sendall(b"\\x10\\x0d\\x00\\x04MQTT\\x04\\x02\\x00\\x3c\\x00\\x01c")
                        client.recv(4)
            for work in (publish, publish, connect, connect):
                threading.Thread(target=work, daemon=True).start()
            for _ in range(20):
                begun.acquire()
            print("end")
            """
        )
        assert (ended.stdout, ended.stderr) == ("end\n", "")
