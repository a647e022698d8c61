"""Subscriptions: a bounded queue that a thread of Python drains, many messages a call."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import itertools
import logging
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, Callable, NoReturn

from midge import _arguments, _ffi, _fork
from midge._batch import read
from midge._errors import ArgumentError, ForkedError, MidgeError, StateError, Stopped, Timeout
from midge._library import bound_to_process, milliseconds, quick, raise_for, waiting
from midge._message import Message
from midge._waiting import patience

__all__ = ["Handler", "Subscription"]

BATCH = 256
"""Messages that are taken from the library at once."""
OVERFLOW = {
    "drop_newest": _ffi.MIDGE_OVERFLOW_DROP_NEWEST,
    "drop_oldest": _ffi.MIDGE_OVERFLOW_DROP_OLDEST,
}
"""What happens to a message for which a queue has no room."""
HIGHEST_IDENTIFIER = 268_435_455
"""The highest subscription identifier of MQTT 5."""


def subscribe_options(
    qos: int,
    no_local: bool = False,
    retain_as_published: bool = False,
    retain_handling: int = 0,
    identifier: int = 0,
) -> _ffi.midge_subscribe_options:
    """The options of a subscription as the library takes them."""
    return _ffi.midge_subscribe_options(
        struct_size=ctypes.sizeof(_ffi.midge_subscribe_options),
        qos=_arguments.whole("qos", qos, 0, 2),
        no_local=_arguments.whole("no_local", no_local, 0, 1),
        retain_as_published=_arguments.whole("retain_as_published", retain_as_published, 0, 1),
        retain_handling=_arguments.whole("retain_handling", retain_handling, 0, 2),
        identifier=_arguments.whole("identifier", identifier, 0, HIGHEST_IDENTIFIER),
    )


def queue_options(capacity: int | None, max_bytes: int | None, overflow: str) -> _ffi.midge_queue_options:
    """The bounds of a queue as the library takes them; 0 is what the settings say."""
    if not isinstance(overflow, str) or overflow not in OVERFLOW:
        raise ArgumentError(f"overflow: {overflow!r} is not one of {', '.join(OVERFLOW)}")
    return _ffi.midge_queue_options(
        struct_size=ctypes.sizeof(_ffi.midge_queue_options),
        capacity=0 if capacity is None else _arguments.whole("capacity", capacity, 1, sys.maxsize),
        max_bytes=0 if max_bytes is None else _arguments.whole("max_bytes", max_bytes, 1, sys.maxsize),
        overflow=OVERFLOW[overflow],
    )


class Batch:
    """A batch of the library, which is freed with this."""

    __slots__ = ("handle", "messages")

    def __init__(self) -> None:
        self.handle = ctypes.c_void_p()
        """Where the library puts it; NULL until then."""
        self.messages: list[Message] | None = None
        """What was read from it and not taken yet, the last one first; None before it is read."""

    def __del__(self) -> None:
        quick.midge_batch_free(self.handle)


def move(messages: Iterator[Message], to: list[Message] | collections.deque[Message]) -> None:
    """Moves messages from where an iterator takes them away, which may raise IndexError when none is left.

    It is one step for a signal handler: what has left the one is in the other.
    """
    with contextlib.suppress(IndexError):
        to.extend(messages)


class Queue:
    """The queue of a subscription in the library, and what was taken from it. It does not keep the broker alive."""

    def __init__(self, filter: str, queue: ctypes.c_void_p, subscription: ctypes.c_void_p) -> None:
        """Both belong to it."""
        self.filter = filter
        self.born = _fork.generation
        self._queue: ctypes.c_void_p | None = queue
        # A list, for popping is atomic: of several threads that close, one frees it.
        self._subscription = [subscription]
        self._taken: collections.deque[Message] = collections.deque()
        self._batch = Batch()
        # It knows its owner: a thread that a signal handler's exception has torn out of `acquire` can release it.
        self._one_taker = threading.RLock()

    @property
    def is_closed(self) -> bool:
        """Whether it was unsubscribed."""
        return not self._subscription

    @property
    def dropped(self) -> int:
        """Messages that were dropped because the queue was full."""
        return int(quick.midge_queue_dropped(self._queue))

    def __len__(self) -> int:
        """Messages that wait."""
        return int(quick.midge_queue_len(self._queue)) + len(self._taken)

    def close(self) -> None:
        """Unsubscribes. What waits can still be taken. Closing twice does nothing."""
        with contextlib.suppress(IndexError):
            quick.midge_subscription_free(self._subscription.pop())
            quick.midge_queue_close(self._queue)

    def __del__(self) -> None:
        # No call can be running: it would hold a reference.
        if getattr(self, "_queue", None) is not None:
            self.close()
            queue, self._queue = self._queue, None
            quick.midge_queue_free(queue)

    def take(self, max: int, timeout: float | None, wanted: int) -> list[Message]:
        """Waits for messages, takes up to `max`, and returns up to `wanted`; the others are taken next."""
        messages: list[Message] = []
        try:
            self._take(max, timeout, wanted, messages)
            return messages
        except BaseException:
            # A signal handler may have raised.
            self._taken.extendleft(reversed(messages))
            raise

    def _take(self, max: int, timeout: float | None, wanted: int, messages: list[Message]) -> None:
        """Puts up to `wanted` messages into a list, of up to `max` that are taken from the library."""
        if _fork.generation != self.born:
            raise ForkedError("this process was forked from the one that subscribed")
        timeout = _arguments.seconds("timeout", timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        at_a_time = patience()
        while True:
            left = at_a_time if deadline is None else min(at_a_time, deadline - time.monotonic())
            try:
                if self._one_taker.acquire(timeout=left) if left > 0 else self._one_taker.acquire(blocking=False):
                    if not self._taken:
                        self._refill(max, left)
                    move(itertools.islice(iter(self._taken.popleft, None), wanted), messages)
                    if messages:
                        return
            finally:
                # A signal handler may raise when the lock is taken and nothing has noted it yet: the lock knows.
                # Nothing is called before the release, as a handler may run after each call.
                try:  # noqa: SIM105
                    self._one_taker.release()
                except RuntimeError:
                    pass  # another thread has it
            if deadline is not None and time.monotonic() >= deadline:
                raise Timeout(f"no message of {self.filter!r} within the time")

    def first(self) -> Message:
        """One that was taken from the library before; IndexError if there is none."""
        return self._taken.popleft()

    def _refill(self, max: int, left: float) -> None:
        """Waits up to `left` seconds for messages, and takes up to `max`."""
        if self._batch.handle.value is None:
            self._poll(max, left)
        batch = self._batch
        if batch.handle.value is not None:
            # A signal handler may raise between these steps. Each of them is one for it, and can be done once more.
            if batch.messages is None:
                batch.messages = read(batch.handle)[::-1]
            move(iter(batch.messages.pop, None), self._taken)
            self._batch = Batch()

    def _poll(self, max: int, left: float) -> None:
        """Waits up to `left` seconds for a batch."""
        call = waiting if left > 0 else quick
        status = call.midge_queue_poll(
            self._queue, max, milliseconds(left) if left > 0 else 0, ctypes.byref(self._batch.handle)
        )
        if status == _ffi.MIDGE_STATUS_CLOSED:
            raise Stopped(f"the subscription of {self.filter!r} has ended")
        if status < 0:
            raise_for(status, None, f"subscription of {self.filter!r}")


class Subscription:
    """Messages of a topic filter, in a bounded queue of their own. Made by Broker.subscribe.

    As an iterator it waits for each message, and ends when the broker stops or the subscription is closed. Several
    threads may take messages: each message goes to one of them. As a context manager it unsubscribes at the end.
    """

    def __init__(self, broker: Any, queue: Queue) -> None:
        """For Broker.subscribe."""
        self._broker = broker  # keeps it alive
        self._queue = queue

    @property
    def filter(self) -> str:
        """The topic filter."""
        return self._queue.filter

    @property
    def dropped(self) -> int:
        """Messages that were dropped because the queue was full."""
        return self._queue.dropped

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._queue)

    def __bool__(self) -> bool:
        return True

    def get(self, timeout: float | None = None) -> Message:
        """The next message.

        Waits up to `timeout` seconds for it, for ever without one, and raises Timeout if none came; raises Stopped
        when the broker has stopped or the subscription was closed, and every message was taken.

        >>> messages = broker.subscribe("rooms/#")
        >>> messages.get(timeout=0)
        Traceback (most recent call last):
            ...
        midge.Timeout: no message of 'rooms/#' within the time
        """
        try:
            return self._queue.first()
        except IndexError:
            return self._queue.take(BATCH, timeout, 1)[0]

    def get_batch(self, max: int = BATCH, timeout: float | None = None) -> list[Message]:
        """Up to `max` messages in one call, at least one.

        Waits for the first, and raises, like `get`.

        >>> messages = broker.subscribe("rooms/#")
        >>> broker.publish_many([("rooms/1", "on"), ("rooms/2", "off")])
        2
        >>> [message.payload for message in messages.get_batch(timeout=5)]
        [b'on', b'off']
        """
        max = _arguments.whole("max", max, 1, sys.maxsize)
        return self._queue.take(max, timeout, max)

    def close(self) -> None:
        """Unsubscribes. What waits can still be taken. Closing twice does nothing."""
        self._queue.close()

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        try:
            return self.get()
        except Stopped:
            raise StopIteration from None

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise bound_to_process(self)

    def __repr__(self) -> str:
        state = "closed" if self._queue.is_closed else f"{len(self)} waiting"
        return f"<midge.Subscription {self.filter!r}, {state}>"


class Calls:
    """The calls of a function with the messages of a queue.

    The broker keeps it. The thread that calls does not while it waits: a broker that the function names can be
    forgotten with it.
    """

    def __init__(self, queue: Queue, callback: Callable[[Message], object]) -> None:
        """Starts the thread."""
        self.queue = queue
        self.callback = callback
        self.over = False
        self.thread = threading.Thread(
            target=_serve, args=(queue, weakref.ref(self)), name=f"midge-on-{queue.filter}", daemon=True
        )
        self.thread.start()

    def join(self, timeout: float | None) -> None:
        """Waits until the thread has ended; at most `timeout` seconds."""
        alive_here = self.queue.born == _fork.generation
        if alive_here and threading.current_thread() is not self.thread:
            self.thread.join(timeout)


class Handler:
    """A function that is called with each message of a topic filter. Made by Broker.on.

    It runs on a daemon thread of its own, one message after the other. What it raises is logged to the logger
    "midge", and the next message is handled.
    """

    def __init__(self, broker: Any, calls: Calls) -> None:
        """For Broker.on."""
        self._broker = broker  # keeps it alive
        self._calls = calls

    @property
    def filter(self) -> str:
        """The topic filter."""
        return self._calls.queue.filter

    @property
    def dropped(self) -> int:
        """Messages that were dropped because the callback was too slow."""
        return self._calls.queue.dropped

    def close(self) -> None:
        """Unsubscribes, and waits for a call that runs, unless it is this very call that closes."""
        self._calls.over = True
        self._calls.queue.close()
        self.join(None)
        self._broker._calls.discard(self._calls)

    def join(self, timeout: float | None) -> None:
        """Waits until the thread has ended; at most `timeout` seconds."""
        self._calls.join(timeout)

    def abandon(self) -> None:
        """Has no further call begin."""
        self._calls.over = True

    def __enter__(self) -> Handler:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise bound_to_process(self)

    def __repr__(self) -> str:
        return f"<midge.Handler {self.filter!r}>"


def _serve(queue: Queue, calls: weakref.ref[Calls]) -> None:
    """What the thread of a handler does until its queue has ended, or its calls are over or forgotten."""
    going_on = True
    while going_on:
        try:
            batch = queue.take(BATCH, None, BATCH)
        except StateError:
            return
        except MidgeError:
            logging.getLogger("midge").exception("the messages of %r cannot be read", queue.filter)
            return
        going_on = _call(calls(), batch)
        del batch


def _call(calls: Calls | None, batch: list[Message]) -> bool:
    """Calls with each message; False if no further call is to begin. What it holds is let go when it returns."""
    for message in batch:
        if calls is None or calls.over:
            return False
        try:
            calls.callback(message)
        except Exception:
            logging.getLogger("midge").exception(
                "the callback of %r failed on a message of %r", calls.queue.filter, message.topic
            )
    return calls is not None and not calls.over
