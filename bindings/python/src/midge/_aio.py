"""midge.aio: a broker and its subscriptions for an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import inspect
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable

import midge
from midge import _arguments
from midge._config import Config, Value
from midge._errors import StateError, Stopped, Timeout
from midge._hooks import Hooks
from midge._hub import Hub, Inbox
from midge._library import quick
from midge._log import Level
from midge._message import Message
from midge._publish import Payload
from midge._subscription import BATCH, queue_options, subscribe_options
from midge._types import Overflow, PublishProperties, QoS, RetainHandling, SubscribeOptions
from midge._views import Client, Listener, Stats, StorageStats, SubscriptionInfo

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Broker", "Handler", "Subscription"]


class Broker:
    """An MQTT broker inside this process, for the event loop that runs.

    It starts at the beginning of an `async with` block, or by `start`, and stops at its end, or by `stop`.

    >>> async def main() -> None:
    ...     async with midge.aio.Broker("127.0.0.1:0") as broker, broker.subscribe("t") as messages:
    ...         broker.publish("t", "hello")
    ...         print((await messages.get(timeout=5)).payload)
    >>> asyncio.run(main())
    b'hello'
    """

    def __init__(
        self,
        listen: str | Sequence[str] | None = None,
        config: Config | Mapping[str, Value] | None = None,
        *,
        hooks: Hooks | None = None,
        log: Level | None = None,
    ) -> None:
        """A broker that is not started yet. The arguments are those of midge.Broker."""
        self._make: Callable[[], midge.Broker] | None = lambda: _started(listen, config, hooks, log)
        self._broker: midge.Broker | None = None
        self._owned = True
        self._hub: Hub | None = None

    @classmethod
    def of(cls, broker: midge.Broker) -> Broker:
        """A broker that was started elsewhere, such as a fixture's. At its end only its subscriptions end."""
        view = cls()
        view._make = None
        view._broker = broker
        view._owned = False
        return view

    async def start(self) -> Broker:
        """Starts the broker: it listens when this returns."""
        if self._make is not None:
            make, self._make = self._make, None
            self._broker = make()  # a millisecond; what it may wait for is the system
        return self

    async def stop(self, grace: float | None = None) -> None:
        """Stops the broker, as midge.Broker.stop does; the event loop runs meanwhile.

        Iterations end when they have given what was left.
        """
        try:
            if self._broker is not None and self._owned:
                await asyncio.get_running_loop().run_in_executor(None, self._broker.stop, grace)
        finally:
            if self._hub is not None:
                self._hub.end()

    @property
    def sync(self) -> midge.Broker:
        """The broker itself. Its waiting calls stop the event loop."""
        if self._broker is None:
            raise StateError("the broker was not started")
        return self._broker

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first listener of TCP."""
        return self.sync.address

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Host and port of every listener of TCP, by its name."""
        return self.sync.addresses

    def listeners(self) -> list[Listener]:
        """Every listener, as midge.Broker.listeners has them."""
        return self.sync.listeners()

    async def add_listener(self, name: str, bind: str, **settings: Value) -> str:
        """Adds a listener, as midge.Broker.add_listener does."""
        return await asyncio.get_running_loop().run_in_executor(
            None, lambda: self.sync.add_listener(name, bind, **settings)
        )

    async def stop_listener(self, name: str, *, disconnect: bool = False) -> None:
        """Closes a listener, as midge.Broker.stop_listener does."""
        await asyncio.get_running_loop().run_in_executor(
            None, lambda: self.sync.stop_listener(name, disconnect=disconnect)
        )

    def pause_listener(self, name: str) -> None:
        """Lets a listener accept no connection for now, as midge.Broker.pause_listener does."""
        self.sync.pause_listener(name)

    def resume_listener(self, name: str) -> None:
        """Lets a paused listener accept again, as midge.Broker.resume_listener does."""
        self.sync.resume_listener(name)

    @property
    def console_address(self) -> tuple[str, int] | None:
        """Host and port of the console for a browser; None if `console.listen` does not ask for one."""
        return self.sync.console_address

    def publish(
        self,
        topic: str,
        payload: Payload = b"",
        qos: QoS = 0,
        retain: bool = False,
        **properties: Unpack[PublishProperties],
    ) -> int:
        """Publishes a message, as midge.Broker.publish does. It does not wait for subscribers."""
        return self.sync.publish(topic, payload, qos, retain, **properties)

    def publish_owned(
        self, topic: str, payload: Payload, qos: QoS = 0, retain: bool = False, **properties: Unpack[PublishProperties]
    ) -> int:
        """Publishes a large message without copying it, as midge.Broker.publish_owned does."""
        return self.sync.publish_owned(topic, payload, qos, retain, **properties)

    def publish_many(self, messages: Iterable[Sequence[Any]]) -> int:
        """Publishes messages in order, as midge.Broker.publish_many does."""
        return self.sync.publish_many(messages)

    async def publish_acknowledged(
        self,
        topic: str,
        payload: Payload = b"",
        qos: QoS = 1,
        retain: bool = False,
        *,
        timeout: float | None = None,
        **properties: Unpack[PublishProperties],
    ) -> int:
        """Publishes a message, and waits until it is safe, as midge.Broker.publish_acknowledged does."""
        timeout = _arguments.seconds("timeout", timeout)
        loop = asyncio.get_running_loop()
        safe: asyncio.Future[None] = loop.create_future()

        def done(status: int) -> None:
            loop.call_soon_threadsafe(settle, safe, status)

        receivers = self.sync._publish_with_callback(topic, payload, qos, retain, done, **properties)
        try:
            await asyncio.wait_for(safe, timeout)
        except asyncio.TimeoutError:
            raise Timeout(f"the message to {topic!r} is not safe within the time") from None
        return receivers

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
        """Subscribes this program to a topic filter, as midge.Broker.subscribe does.

        What the event loop has read waits in the subscription, at most `capacity` messages and `max_bytes` bytes of
        payload; without them the settings `queue.capacity` and `queue.max_bytes` say. Messages that were retained when
        the subscription was made wait beside them: as many as there are.
        """
        broker = self.sync
        bounds = queue_options(capacity, max_bytes, overflow)
        if self._hub is None:
            self._hub = Hub(broker)
        hub = self._hub
        capacity, max_bytes = bounds.capacity or hub.capacity, bounds.max_bytes or hub.max_bytes
        inbox = Inbox(filter, capacity, max_bytes, overflow == "drop_oldest", bool(retain_as_published))
        options = subscribe_options(qos, no_local, retain_as_published, retain_handling, identifier)
        tag, handle = hub.subscribe(options, inbox)
        return Subscription(hub, tag, handle, inbox)

    def on(
        self,
        filter: str,
        callback: Callable[[Message], Awaitable[object] | object],
        qos: QoS = 2,
        **options: Unpack[SubscribeOptions],
    ) -> Handler:
        """Has a function or coroutine function called with each message of a topic filter, in a task of its own.

        The options are those of `subscribe`. What it raises is logged to the logger "midge".

        >>> async def main() -> None:
        ...     done = asyncio.Event()
        ...     async def answer(message: midge.Message) -> None:
        ...         print(message.topic)
        ...         done.set()
        ...     async with midge.aio.Broker("127.0.0.1:0") as broker, broker.on("questions/+", answer):
        ...         broker.publish("questions/1", "?")
        ...         await done.wait()
        >>> asyncio.run(main())
        questions/1
        """
        _arguments.function("callback", callback)
        return Handler(self.subscribe(filter, qos, **options), callback)

    def clients(self) -> list[Client]:
        """Every client that is connected or has a session, in no order."""
        return self.sync.clients()

    def subscriptions(self) -> list[SubscriptionInfo]:
        """Every subscription, of clients and of this program, in no order."""
        return self.sync.subscriptions()

    def retained(self, filter: str = "#") -> list[Message]:
        """The retained messages whose topics match a filter, in the order of their topics."""
        return self.sync.retained(filter)

    def adopt(self, connection: socket.socket, listener: str | None = None, *, transport: str | None = None) -> None:
        """Serves a client on a connected socket, as midge.Broker.adopt does."""
        self.sync.adopt(connection, listener, transport=transport)

    def stats(self) -> Stats:
        """The counters and gauges at this moment."""
        return self.sync.stats()

    def storage(self) -> StorageStats | None:
        """The durable store at this moment; None without `storage.path`."""
        return self.sync.storage()

    def kick(self, client_id: str) -> bool:
        """Disconnects a client; False if none of this name is connected."""
        return self.sync.kick(client_id)

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Copies the store to a directory, as midge.Broker.backup does; the event loop runs meanwhile."""
        await asyncio.get_running_loop().run_in_executor(None, self.sync.backup, path)

    async def reload_certificates(self) -> None:
        """Reads the files of all certificates again, as midge.Broker.reload_certificates does; the event loop runs
        meanwhile.
        """
        await asyncio.get_running_loop().run_in_executor(None, self.sync.reload_certificates)

    async def reload_access(self) -> None:
        """Reads the files of the authorities again, as midge.Broker.reload_access does; the event loop runs
        meanwhile.
        """
        await asyncio.get_running_loop().run_in_executor(None, self.sync.reload_access)

    def end_session(self, client_id: str) -> bool:
        """Ends the session of a client, as midge.Broker.end_session does; False if it has none."""
        return self.sync.end_session(client_id)

    def queued(self, client_id: str, limit: int = 100) -> list[Message] | None:
        """The oldest messages in the queue of a client's session, at most `limit`; None if it has no session."""
        return self.sync.queued(client_id, limit)

    def clear_queue(self, client_id: str) -> int | None:
        """Drops what waits in the queue of a client's session: the number of messages; None if it has no session."""
        return self.sync.clear_queue(client_id)

    @property
    def dropped(self) -> int:
        """Messages that were dropped because the event loop did not get to reading them."""
        return 0 if self._hub is None else self._hub.dropped

    async def __aenter__(self) -> Broker:
        return await self.start()

    async def __aexit__(self, *raised: object) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"<midge.aio.Broker of {self._broker!r}>"


def _started(
    listen: str | Sequence[str] | None,
    config: Config | Mapping[str, Value] | None,
    hooks: Hooks | None,
    log: Level | None,
) -> midge.Broker:
    """A broker whose hooks may be coroutine functions."""
    broker = midge.Broker.__new__(midge.Broker)
    broker._start(listen, config, hooks, log, asyncio.get_running_loop())
    return broker


def settle(safe: asyncio.Future[None], status: int) -> None:
    """Ends the waiting for a message."""
    if safe.done():
        return
    if status < 0:
        safe.set_exception(Stopped("the broker has stopped before the message was safe"))
    else:
        safe.set_result(None)


class Subscription:
    """Messages of a topic filter. Made by Broker.subscribe.

    As an iterator (`async for`) it ends when the broker stops or the subscription is closed. Several tasks may take
    messages: each message goes to one of them, and a task that is cancelled takes none with it. As a context manager
    (`async with`, or `with`) it unsubscribes at the end, and so does forgetting it.

    >>> async def log(broker: midge.aio.Broker) -> None:
    ...     async for message in broker.subscribe("#"):
    ...         print(message.topic)
    ...     print("the broker has stopped")
    """

    def __init__(self, hub: Hub, tag: int, handle: ctypes.c_void_p, inbox: Inbox) -> None:
        """For Broker.subscribe."""
        self._hub = hub
        self._tag = tag
        self._handle = [handle]  # a list, for popping is atomic: one call frees it
        self._inbox = inbox

    @property
    def filter(self) -> str:
        """The topic filter."""
        return self._inbox.filter

    @property
    def dropped(self) -> int:
        """Messages that were dropped because too many waited here."""
        return self._inbox.dropped

    def __len__(self) -> int:
        """Messages that wait here. Those that the event loop has not read yet do not count."""
        return len(self._inbox.messages)

    def __bool__(self) -> bool:
        return True

    async def get(self, timeout: float | None = None) -> Message:
        """The next message.

        Waits up to `timeout` seconds for it, for ever without one, and raises Timeout if none came; raises Stopped
        when the broker has stopped or the subscription was closed, and every message was taken.
        """
        inbox = self._inbox
        if not inbox.messages:
            await (inbox.wait() if timeout is None else self._wait(timeout))
        return inbox.take()

    async def get_batch(self, max: int = BATCH, timeout: float | None = None) -> list[Message]:
        """Up to `max` messages, at least one; waits for the first, and raises, like `get`."""
        max = _arguments.whole("max", max, 1, sys.maxsize)
        inbox = self._inbox
        if not inbox.messages:
            await (inbox.wait() if timeout is None else self._wait(timeout))
        return [inbox.take() for _ in range(min(max, len(inbox.messages)))]

    def close(self) -> None:
        """Unsubscribes. What waits can still be taken. Closing twice does nothing."""
        with contextlib.suppress(IndexError):
            quick.midge_subscription_free(self._handle.pop())
            self._hub.close(self._tag)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Message:
        inbox = self._inbox
        if not inbox.messages:
            try:
                await inbox.wait()
            except Stopped:
                raise StopAsyncIteration from None
        return inbox.take()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.close()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if not self._handle else f"{len(self)} waiting"
        return f"<midge.aio.Subscription {self.filter!r}, {state}>"

    def __del__(self) -> None:
        with contextlib.suppress(IndexError, AttributeError):
            quick.midge_subscription_free(self._handle.pop())
            self._hub.forget(self._tag)

    async def _wait(self, timeout: float) -> None:
        """Waits until a message is there, at most for some seconds."""
        within = _arguments.seconds("timeout", timeout)
        try:
            await asyncio.wait_for(self._inbox.wait(), within)
        except asyncio.TimeoutError:
            if not self._inbox.messages:
                raise Timeout(f"no message of {self.filter!r} within the time") from None


class Handler:
    """A function that is called with each message of a topic filter. Made by Broker.on."""

    def __init__(self, subscription: Subscription, callback: Callable[[Message], Awaitable[object] | object]) -> None:
        """For Broker.on."""
        self._subscription = subscription
        self._callback = callback
        self._task = asyncio.get_running_loop().create_task(self._run())
        # It waits for as long as its broker lives. If all of it is forgotten, it goes without a word.
        self._task._log_destroy_pending = False  # type: ignore[attr-defined]

    @property
    def filter(self) -> str:
        """The topic filter."""
        return self._subscription.filter

    @property
    def dropped(self) -> int:
        """Messages that were dropped because the callback was too slow."""
        return self._subscription.dropped

    async def close(self) -> None:
        """Unsubscribes, and waits until the callback has had what was left, unless it is the callback that closes."""
        self._subscription.close()
        if asyncio.current_task() is not self._task:
            await asyncio.wait([self._task])

    async def __aenter__(self) -> Handler:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<midge.aio.Handler {self.filter!r}>"

    async def _run(self) -> None:
        async for message in self._subscription:
            try:
                answer = self._callback(message)
                if inspect.isawaitable(answer):
                    await answer
            except Exception:
                logging.getLogger("midge").exception(
                    "the callback of %r failed on a message of %r", self.filter, message.topic
                )
