"""The broker."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import socket
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, NoReturn

from midge import _arguments, _ffi
from midge._batch import copied_text
from midge._config import Config, Value
from midge._errors import MidgeError, StateError, Timeout, TopicError
from midge._hooks import Hooks, install, keep, uninstall
from midge._library import Library, bound_to_process, drain, encode, milliseconds, quick, raise_for, waiting
from midge._log import Level
from midge._log import install as install_log
from midge._message import Message
from midge._publish import (
    COPIED,
    SIZES,
    Call,
    Payload,
    as_bytes,
    call_with,
    name_of,
    plain,
    publish_owned,
    publish_quick,
    publish_waiting,
    publish_with_callback,
    with_properties,
)
from midge._publish_many import publish_many
from midge._subscription import Calls, Handler, Queue, Subscription, queue_options, subscribe_options
from midge._types import Overflow, PublishProperties, QoS, RetainHandling, SubscribeOptions
from midge._views import (
    Client,
    Listener,
    Stats,
    StorageStats,
    SubscriptionInfo,
    read_clients,
    read_listeners,
    read_queued,
    read_retained,
    read_stats,
    read_storage,
    read_subscriptions,
)
from midge._waiting import patiently

if TYPE_CHECKING:
    import asyncio

    from typing_extensions import Unpack

__all__ = ["Broker"]

PATIENCE = 5.0
"""Seconds that stopping waits for a callback that runs, unless it is told otherwise."""

_live: weakref.WeakSet[Broker] = weakref.WeakSet()


class Broker:
    """An MQTT broker inside this process.

    It listens when the constructor returns, and it stops at the end of a `with` block, by `stop`, when the last
    reference goes, or when the interpreter exits. All methods may be called from any thread. Several brokers share
    nothing.

    >>> with midge.Broker("127.0.0.1:0", {"mqtt.max_qos": 1}) as broker:
    ...     host, port = broker.address  # where clients connect; port 0 took a free one
    ...     with broker.subscribe("sensors/+/temp", qos=1) as messages:
    ...         broker.publish("sensors/a/temp", "21.5", qos=1)
    ...         messages.get(timeout=5)
    1
    Message(topic='sensors/a/temp', payload=b'21.5', qos=1, retain=False, properties=Properties(...))
    """

    _start_name = "midge_start"

    def __init__(
        self,
        listen: str | Sequence[str] | None = None,
        config: Config | Mapping[str, Value] | None = None,
        *,
        hooks: Hooks | None = None,
        log: Level | None = None,
    ) -> None:
        """Starts a broker.

        `listen` is an address such as "127.0.0.1:1883", or several; port 0 takes a free port. Without it the
        settings say where to listen; their default is 127.0.0.1:1883. `config` holds settings, such as
        {"mqtt.max_qos": 1}. `hooks` decide who is let in and what is allowed, and are told what happens. With `log`,
        such as logging.INFO or "info", what happens from that level on is logged to the logger "midge".
        """
        self._start(listen, config, hooks, log, None)

    def _start(
        self,
        listen: str | Sequence[str] | None,
        config: Config | Mapping[str, Value] | None,
        hooks: Hooks | None,
        log: Level | None,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        """Starts the broker; `loop` runs those hooks that are coroutine functions."""
        self._handle: ctypes.c_void_p | None = None
        self._hooks = 0
        self._quick: Library = quick
        self._publish: Callable[..., int] = publish_quick
        self._calls: set[Calls] = set()
        self._stopped = False
        settings = config.copy() if isinstance(config, Config) else Config({} if config is None else config)
        if hooks is not None and not isinstance(hooks, Hooks):
            raise _arguments.needed("hooks", "a midge.Hooks", hooks)
        if listen is not None:
            for index, address in enumerate(_addresses(listen)):
                settings[f"listener.tcp{'' if index == 0 else f'-{index + 1}'}.bind"] = address
        handle, error = ctypes.c_void_p(), ctypes.c_void_p()
        if log is not None:
            install_log(settings._handle, log)
        if hooks is not None or log is not None:
            # A call that runs hooks on this thread may have to wait for others that run them: it must not keep the
            # interpreter's lock meanwhile.
            self._quick, self._publish = waiting, publish_waiting
        if hooks is not None:
            self._hooks = install(settings._handle, hooks, loop)
            self._deciding = hooks  # the library does not keep them alive
        start = getattr(waiting, self._start_name)
        status = start(settings._handle, ctypes.byref(handle), ctypes.byref(error))
        if status < 0:
            if hooks is not None:
                uninstall(self._hooks)
            raise_for(status, error)
        self._settings = settings
        self._begin(handle)

    def _begin(self, handle: ctypes.c_void_p) -> None:
        """Takes a broker that has started."""
        self._handle = handle
        self._stopped = False
        _live.add(self)

    @property
    def settings(self) -> Config:
        """The settings that it was started with; changing them changes nothing."""
        return self._settings.copy()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first listener of TCP, the port as the system chose it if it was 0."""
        for address in self.addresses.values():
            return address
        raise StateError("the broker has no listener")

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Host and port of every listener of TCP, by its name. Broker.listeners has Unix domain sockets, too."""
        found = {}
        for index in range(quick.midge_broker_listener_count(self._handle)):
            view = _ffi.midge_listener_view(ctypes.sizeof(_ffi.midge_listener_view))
            if quick.midge_broker_listener_at(self._handle, index, ctypes.byref(view)) < 0:
                break  # another thread has stopped one meanwhile
            address = copied_text(view.address) or ""
            if not address.startswith("unix:"):
                found[copied_text(view.name) or ""] = host_and_port(address)
        return found

    def listeners(self) -> list[Listener]:
        """Every listener with its state and counts: those of the settings, then those that were added.

        >>> [(listener.name, listener.state) for listener in broker.listeners()]
        [('tcp', 'accepting')]
        """
        return read_listeners(self._handle)

    def add_listener(self, name: str, bind: str, **settings: Value) -> str:
        """Adds a listener and returns its address, with the port that the system chose. The settings are those of
        `listener.<name>.*`.

        >>> address = broker.add_listener("lan", "127.0.0.1:0", max_connections=10)
        >>> broker.stop_listener("lan")
        """
        config = Config({f"listener.{name}.{field}": value for field, value in {"bind": bind, **settings}.items()})
        error = ctypes.c_void_p()
        encoded = encode("name", name)
        status = waiting.midge_broker_listener_add(self._handle, encoded, config._handle, ctypes.byref(error))
        if status < 0:
            raise_for(status, error)
        found = quick.midge_broker_address(self._handle, encoded)
        return found.decode() if found else bind

    def stop_listener(self, name: str, *, disconnect: bool = False) -> None:
        """Closes a listener. Its connections go on, or with `disconnect` its clients are disconnected; their sessions
        stay."""
        connections = _ffi.MIDGE_CONNECTIONS_DISCONNECT if disconnect else _ffi.MIDGE_CONNECTIONS_KEEP
        error = ctypes.c_void_p()
        status = waiting.midge_broker_listener_stop(
            self._handle, encode("name", name), connections, ctypes.byref(error)
        )
        if status < 0:
            raise_for(status, error)

    def pause_listener(self, name: str) -> None:
        """Lets a listener accept no connection for now; clients that connect wait until resume_listener."""
        error = ctypes.c_void_p()
        status = waiting.midge_broker_listener_pause(self._handle, encode("name", name), ctypes.byref(error))
        if status < 0:
            raise_for(status, error)

    def resume_listener(self, name: str) -> None:
        """Lets a paused listener accept again, those first that have waited."""
        error = ctypes.c_void_p()
        status = waiting.midge_broker_listener_resume(self._handle, encode("name", name), ctypes.byref(error))
        if status < 0:
            raise_for(status, error)

    @property
    def console_address(self) -> tuple[str, int] | None:
        """Host and port of the console for a browser; None if `console.listen` does not ask for one."""
        found = quick.midge_broker_console_address(self._handle)
        return host_and_port(found.decode()) if found else None

    def publish(
        self,
        topic: str,
        payload: Payload = b"",
        qos: QoS = 0,
        retain: bool = False,
        *,
        expiry: int | None = None,
        content_type: str | None = None,
        response_topic: str | None = None,
        correlation_data: bytes | None = None,
        user_properties: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> int:
        """Publishes a message. When this returns, it is in the outbox or queue of each subscriber.

        Returns how many subscribers it was published to, those that are away among them.

        `retain` makes it the topic's retained message, or with an empty payload removes that. `expiry` is in
        seconds. The properties are those of MQTT 5. Raises TopicError, ArgumentError, or Stopped.

        >>> broker.publish("rooms/1/light", "on")
        0
        >>> broker.publish("rooms/1/state", b"...", qos=1, retain=True, content_type="application/cbor")
        0
        >>> broker.publish("rooms/+", "on")
        Traceback (most recent call last):
            ...
        midge.TopicError: topic "rooms/+": the topic name holds a wildcard, + or #
        """
        name = name_of(topic)
        if type(payload) is not bytes:
            payload = as_bytes(payload)
        if (
            expiry is None
            and content_type is None
            and response_topic is None
            and correlation_data is None
            and user_properties is None
        ):
            struct = None
            options = None if qos == 0 and retain is False else plain(qos, retain)
        else:
            struct = with_properties(
                qos, retain, expiry, content_type, response_topic, correlation_data, user_properties
            )
            options = ctypes.byref(struct)
        size = len(payload)
        if size <= 1024:
            receivers = self._publish(self._handle, name, payload, SIZES[size], options)
        else:
            publish = self._publish if size < COPIED else publish_waiting
            receivers = publish(self._handle, name, payload, ctypes.c_size_t(size), options)
        if receivers < 0:
            if receivers == _ffi.MIDGE_STATUS_PANIC:
                raise_for(receivers)
            # What was refused is refused again, this time in words.
            call = Call(struct) if struct is not None else call_with(qos, retain)
            receivers = publish_waiting(self._handle, name, payload, ctypes.c_size_t(size), call.options)
            if receivers < 0:
                call.fail(receivers)
        return receivers

    def publish_acknowledged(
        self,
        topic: str,
        payload: Payload = b"",
        qos: QoS = 1,
        retain: bool = False,
        *,
        timeout: float | None = None,
        **properties: Unpack[PublishProperties],
    ) -> int:
        """Publishes a message, waits until it is as safe as its QoS and the store promise; returns its receivers.

        Of QoS 1 and 2 that is when the store has committed it for every session that is to get it. Raises Timeout if
        that takes more than `timeout` seconds; the message is published all the same. The properties are those of
        `publish`.

        >>> broker.publish_acknowledged("meter/1", "230.1", qos=1, retain=True, timeout=5)
        0
        """
        call = call_with(qos, retain, **properties)
        data = as_bytes(payload)
        name = name_of(topic)
        status = waiting.midge_publish_acknowledged(
            self._handle, name, data, len(data), call.options, milliseconds(timeout)
        )
        if status == _ffi.MIDGE_STATUS_TIMED_OUT:
            raise Timeout(f"the message to {topic!r} is not safe within the time")
        if status:
            call.fail(status)
        return call.receivers.value

    def _publish_with_callback(
        self,
        topic: str,
        payload: Payload,
        qos: QoS,
        retain: bool,
        done: Callable[[int], object],
        **properties: Unpack[PublishProperties],
    ) -> int:
        """For midge.aio: `done` is called once with a status, on any thread, unless this raises."""
        call = call_with(qos, retain, **properties)
        data = as_bytes(payload)
        name = name_of(topic)
        status = publish_with_callback(self._handle, name, data, call, done)
        if status:
            call.fail(status)
        return call.receivers.value

    def publish_owned(
        self, topic: str, payload: Payload, qos: QoS = 0, retain: bool = False, **properties: Unpack[PublishProperties]
    ) -> int:
        """Publishes a large message without copying it: subscribers, queues and sockets read the payload itself.

        The broker holds the payload until nobody uses it any more; a bytearray cannot be resized meanwhile, and must
        not be changed. Payloads of less than 8 KiB are copied, which is cheaper. The properties are those of
        `publish`, and so is what it returns.

        >>> broker.publish_owned("camera/1", bytes(1_000_000), retain=True)
        0
        """
        call = call_with(qos, retain, **properties)
        name = name_of(topic)
        status = publish_owned(self._handle, name, payload, call)
        if status:
            call.fail(status)
        return call.receivers.value

    def publish_many(self, messages: Iterable[Sequence[Any]]) -> int:
        """Publishes messages in order, several times as fast as `publish` does each; returns how many.

        Each is (topic, payload), (topic, payload, qos), (topic, payload, qos, retain) or a Message. If one is
        refused, those before it have been published, those after it have not, and the sentence has its index.

        >>> with midge.Broker("127.0.0.1:0") as broker, broker.subscribe("rooms/#") as messages:
        ...     broker.publish_many((f"rooms/{number}", "on", 1) for number in range(1000))
        ...     messages.get(timeout=5).topic
        1000
        'rooms/0'
        """
        return publish_many(self._handle, messages, self._quick)

    def subscribe(
        self,
        filter: str,
        qos: QoS = 2,
        *,
        capacity: int | None = None,
        max_bytes: int | None = None,
        overflow: Overflow = "drop_newest",
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: RetainHandling = 0,
        identifier: int = 0,
    ) -> Subscription:
        """Subscribes this program to a topic filter. Retained messages wait in the queue when this returns.

        They leave half of the queue free for new messages; if there are more, they follow as messages are taken.

        The queue holds `capacity` messages and `max_bytes` bytes; without them the settings `queue.capacity` and
        `queue.max_bytes` say. With `overflow` "drop_newest" a message for which there is no room is dropped and
        counted, with "drop_oldest" the one that has waited longest. The others are the options of MQTT 5.

        >>> with broker.subscribe("rooms/#", capacity=100, overflow="drop_oldest") as messages:
        ...     broker.publish("rooms/1/light", "on")
        ...     for message in messages:  # ends when the broker stops
        ...         print(message.topic, message.payload)
        ...         break
        1
        rooms/1/light b'on'
        """
        queue = self._subscribe(
            filter,
            qos,
            capacity=capacity,
            max_bytes=max_bytes,
            overflow=overflow,
            no_local=no_local,
            retain_as_published=retain_as_published,
            retain_handling=retain_handling,
            identifier=identifier,
        )
        return Subscription(self, queue)

    def _subscribe(
        self,
        filter: str,
        qos: QoS,
        *,
        capacity: int | None = None,
        max_bytes: int | None = None,
        overflow: Overflow = "drop_newest",
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: RetainHandling = 0,
        identifier: int = 0,
    ) -> Queue:
        """The queue of a subscription, which does not keep the broker alive."""
        bounds = queue_options(capacity, max_bytes, overflow)
        options = subscribe_options(qos, no_local, retain_as_published, retain_handling, identifier)
        name = encode(f"topic filter {filter!r}", filter, TopicError)
        queue, subscription, error = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        status = quick.midge_queue_new(self._handle, ctypes.byref(bounds), ctypes.byref(queue))
        if status < 0:
            raise_for(status)
        # Retained messages may be many: other threads of Python run while they are queued.
        status = waiting.midge_queue_subscribe(
            queue, name, ctypes.byref(options), 0, ctypes.byref(subscription), ctypes.byref(error)
        )
        if status < 0:
            quick.midge_queue_free(queue)
            raise_for(status, error)
        return Queue(filter, queue, subscription)

    def on(
        self,
        filter: str,
        callback: Callable[[Message], object],
        qos: QoS = 2,
        **options: Unpack[SubscribeOptions],
    ) -> Handler:
        """Has `callback` called with each message of a topic filter, on a thread of its own.

        The options are those of `subscribe`. What the callback raises is logged.

        >>> heard = threading.Event()
        >>> with broker.on("alarm", lambda message: heard.set()):
        ...     broker.publish("alarm", "fire")
        ...     heard.wait(timeout=5)
        1
        True
        """
        _arguments.function("callback", callback)
        calls = Calls(self._subscribe(filter, qos, **options), callback)
        self._calls.add(calls)
        return Handler(self, calls)

    def clients(self) -> list[Client]:
        """Every client that is connected or has a session, in no order.

        >>> [client.client_id for client in broker.clients() if client.connected]
        []
        """
        return read_clients(self._handle)

    def subscriptions(self) -> list[SubscriptionInfo]:
        """Every subscription, of clients and of this program, in no order."""
        return read_subscriptions(self._handle)

    def retained(self, filter: str = "#") -> list[Message]:
        """The retained messages whose topics match a filter, in the order of their topics."""
        return read_retained(self._handle, filter)

    def adopt(self, connection: socket.socket, listener: str | None = None, *, transport: str | None = None) -> None:
        """Serves a client on a connected socket: one that this program has accepted, or one end of
        `socket.socketpair()`.

        The socket belongs to the broker then, and `connection` is closed; if this fails, it is left as it was. It
        counts as a connection of `listener`, or of none. The broker needs no listener for it:
        `Broker(config={"listener.tcp.bind": "off"})`.

        `transport` is what lies between MQTT and the socket, such as "tls" or "ws", with the other settings of
        `listener`; without it nothing does.
        """
        if not isinstance(connection, socket.socket):
            raise _arguments.needed("connection", "a socket", connection)
        timeout = connection.gettimeout()
        error = ctypes.c_void_p()
        options = _ffi.midge_adopt_options(ctypes.sizeof(_ffi.midge_adopt_options))
        options.listener = None if listener is None else encode("listener", listener)
        options.transport = None if transport is None else encode("transport", transport)
        status = waiting.midge_broker_adopt_fd_with(
            self._handle, connection.fileno(), ctypes.byref(options), ctypes.byref(error)
        )
        if status < 0:
            # The object and the socket agree on whether it blocks.
            connection.settimeout(timeout)
            raise_for(status, error)
        connection.detach()

    def stats(self) -> Stats:
        """The counters and gauges at this moment.

        >>> before = broker.stats()
        >>> broker.publish("nobody/listens", "lost")
        0
        >>> broker.stats().messages_dropped_no_subscriber - before.messages_dropped_no_subscriber
        1
        """
        return read_stats(self._handle)

    def storage(self) -> StorageStats | None:
        """The durable store at this moment, also after the broker has stopped; None without `storage.path`.

        >>> broker.storage() is None
        True
        """
        return read_storage(self._handle)

    def kick(self, client_id: str) -> bool:
        """Disconnects a client; False if none of this name is connected.

        >>> broker.kick("nobody")
        False
        """
        status = self._quick.midge_broker_kick(self._handle, encode("client_id", client_id))
        if status < 0:
            raise_for(status)
        return bool(status == _ffi.MIDGE_STATUS_OK)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copies the store of the setting `storage.path` to a directory, which `storage.path` may name afterwards.

        The copy has all that was acknowledged before the call, and perhaps some of what came later: the state of one
        moment. The directory is created if it does not exist, and must not have a store; there is one in it when the
        copy is whole. The broker goes on meanwhile. The call waits until the copy is on stable storage.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise _arguments.needed("path", "a str or a path", path)
        error = ctypes.c_void_p()
        status = waiting.midge_broker_backup(self._handle, encode("path", os.fspath(path)), ctypes.byref(error))
        if status < 0:
            raise_for(status, error)

    def reload_certificates(self) -> None:
        """Reads the files of all certificates again: of the listeners with TLS, and of the console.

        New connections get the new certificates; connections that exist stay as they are. The files are also read by
        themselves, within half a minute after they have changed. Raises MidgeError if a file is missing, malformed, or
        does not fit the others: for that listener everything stays as it was.
        """
        error = ctypes.c_void_p()
        status = waiting.midge_broker_reload_certificates(self._handle, ctypes.byref(error))
        if status < 0:
            raise_for(status, error)

    def reload_access(self) -> None:
        """Reads the files of the authorities again, `access.password_file` and `access.acl_file`.

        What they say holds at once, for clients that connect from now on and for what those that are connected do. The
        files are also read by themselves, within half a minute after they have changed. Raises MidgeError if a file is
        missing or malformed: what it contained before still holds, and the error names the line.
        """
        error = ctypes.c_void_p()
        status = waiting.midge_broker_reload_access(self._handle, ctypes.byref(error))
        if status < 0:
            raise_for(status, error)

    def end_session(self, client_id: str) -> bool:
        """Ends the session of a client, whether it is connected or away, as its expiry would; False if it has none.

        Its subscriptions go, its will is published, what waits for a shared subscription goes to another member, the
        rest is dropped. A client that is connected is disconnected. OSError if the store that keeps the session has
        failed: the session has ended, and is there again after a restart.

        >>> broker.end_session("nobody")
        False
        """
        status = self._quick.midge_broker_end_session(self._handle, encode("client_id", client_id))
        if status < 0:
            raise_for(status)
        return bool(status == _ffi.MIDGE_STATUS_OK)

    def queued(self, client_id: str, limit: int = 100) -> list[Message] | None:
        """The oldest messages that wait in the queue of a client's session, at most `limit`; None if it has no session.

        They stay there. Messages that were sent and are not acknowledged are not among them.

        >>> broker.queued("nobody") is None
        True
        """
        return read_queued(self._handle, client_id, limit)

    def clear_queue(self, client_id: str) -> int | None:
        """Drops what waits in the queue of a client's session: the number of messages, or None if it has no session.

        `stats().messages_dropped_cleared` counts them. Messages that were sent and are not acknowledged stay.

        >>> broker.clear_queue("nobody") is None
        True
        """
        dropped = ctypes.c_size_t()
        name = encode("client_id", client_id)
        status = self._quick.midge_broker_clear_queue(self._handle, name, ctypes.byref(dropped))
        if status < 0:
            raise_for(status)
        return dropped.value if status == _ffi.MIDGE_STATUS_OK else None

    def request_stop(self) -> None:
        """Has `wait` return. May be called from callbacks and signal handlers."""
        quick.midge_broker_request_stop(self._handle)

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until a stop is requested or the broker has stopped; False if `timeout` seconds passed first."""
        return patiently(lambda left, library: int(library.midge_broker_wait(self._handle, left)), timeout)

    def stop(self, grace: float | None = None) -> None:
        """Stops the broker: listeners are closed, clients are told, and every thread is joined.

        What waits is still sent, and callbacks still get their messages, at most for `grace` seconds; without it the
        setting `runtime.stop_grace` says. Stopping a stopped broker does nothing.
        """
        grace = _arguments.seconds("grace", grace)
        deadline = None if grace is None else time.monotonic() + grace
        status = waiting.midge_stop(self._handle, milliseconds(grace))
        if status < 0:
            raise_for(status)
        self._end(deadline)

    def _end(self, deadline: float | None) -> None:
        """Ends what this object has of a broker that has stopped."""
        self._stopped = True
        _live.discard(self)
        for calls in list(self._calls):
            # Their queues have ended, and give what is left.
            calls.join(PATIENCE if deadline is None else max(0.0, deadline - time.monotonic()))
            calls.over = True
            self._calls.discard(calls)

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def __reduce__(self) -> NoReturn:
        raise bound_to_process(self)

    def __repr__(self) -> str:
        if self._stopped:
            return f"<midge.{type(self).__name__}, stopped>"
        places = ", ".join(f"{host}:{port}" for host, port in self.addresses.values())
        return f"<midge.{type(self).__name__} on {places or 'no listener'}>"

    def __del__(self) -> None:
        # No call can be running: it would hold a reference.
        if getattr(self, "_handle", None) is not None:
            if self._hooks:
                keep(self._hooks, self._deciding)  # those that go together with the broker are told of its end
            waiting.midge_broker_free(self._handle)
            self._handle = None  # objects that are collected together with it may still use it
            if self._hooks:
                uninstall(self._hooks)


def _addresses(listen: str | Sequence[str]) -> list[str]:
    """The addresses to listen at."""
    given = [listen] if isinstance(listen, str) else listen
    if isinstance(given, (bytes, bytearray, Mapping)) or not isinstance(given, Iterable):
        raise _arguments.needed("listen", 'an address such as "127.0.0.1:1883", or several,', listen)
    return [_arguments.text(f"listen: address {number}", address) for number, address in enumerate(given, 1)]


def host_and_port(address: str) -> tuple[str, int]:
    """The two parts of an address such as "127.0.0.1:1883" or "[::1]:1883"."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _stop_all() -> None:
    """At the interpreter's exit: no thread of a broker outlives it."""
    for broker in list(_live):
        with contextlib.suppress(MidgeError):
            broker.stop()
    drain(PATIENCE)


atexit.register(_stop_all)
