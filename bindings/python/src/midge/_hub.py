"""The queue that all subscriptions of a broker share in an event loop, and what was read from it for each."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import weakref
from collections.abc import Iterator
from typing import Any, Callable

from midge import _ffi
from midge._batch import read_tagged
from midge._broker import Broker
from midge._config import in_bytes
from midge._errors import StateError, Stopped, TopicError
from midge._library import encode, quick, raise_for, waiting
from midge._message import Message
from midge._subscription import BATCH

BACKLOG = 65_536
"""Messages that wait at most until the event loop gets to reading them."""
ROUNDS = 4
"""Batches that are read before the event loop turns to something else."""


class Inbox:
    """What the event loop has read for one subscription."""

    def __init__(
        self, filter: str, capacity: int, max_bytes: int, drop_oldest: bool, retain_as_published: bool = False
    ) -> None:
        self.filter = filter
        self.retain_as_published = retain_as_published
        self.messages: collections.deque[Message] = collections.deque()
        self.capacity = capacity
        self.max_bytes = max_bytes
        self.drop_oldest = drop_oldest
        self.bytes = 0
        self.kept = 0  # messages that were retained when the subscription was made: the bounds are not theirs
        self.dropped = 0
        self.ended = False
        self.waiters: collections.deque[asyncio.Future[None]] = collections.deque()

    def put(self, message: Message) -> None:
        """Adds a message, or drops one; wakes a task that waits."""
        size = len(message[1])
        if self.is_kept(message):
            self.kept += 1
        else:
            if self.is_full(size):
                self.dropped += 1
                if not self.make_room(size):
                    return
            self.bytes += size
        self.messages.append(message)
        if self.waiters:
            self.wake()

    def make_room(self, size: int) -> bool:
        """Drops the oldest messages until one of `size` bytes fits, if that is the policy."""
        if not self.drop_oldest or size > self.max_bytes:
            return False
        self.drop()
        while self.is_full(size):
            self.drop()
            self.dropped += 1
        return True

    def is_full(self, size: int) -> bool:
        """Whether a message of `size` bytes finds no room."""
        return len(self.messages) - self.kept >= self.capacity or self.bytes + size > self.max_bytes

    def is_kept(self, message: Message) -> bool:
        """Whether a message was retained when the subscription was made."""
        return message[3] and not self.retain_as_published

    def drop(self) -> None:
        """Drops the oldest message that the bounds count."""
        for index, message in enumerate(self.messages):
            if not self.is_kept(message):
                self.bytes -= len(message[1])
                del self.messages[index]
                return

    def take(self) -> Message:
        """The oldest message."""
        message = self.messages.popleft()
        if self.is_kept(message):
            self.kept -= 1
        else:
            self.bytes -= len(message[1])
        return message

    def wake(self) -> None:
        """Wakes one task that waits."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def end(self) -> None:
        """No message comes any more: wakes all."""
        self.ended = True
        while self.waiters:
            self.wake()

    async def wait(self) -> None:
        """Waits until a message is there."""
        while not self.messages:
            if self.ended:
                raise Stopped(f"the subscription of {self.filter!r} has ended")
            waiter = asyncio.get_running_loop().create_future()
            self.waiters.append(waiter)
            try:
                await waiter
            except BaseException:
                with contextlib.suppress(RuntimeError):  # the event loop is closed
                    waiter.cancel()
                with contextlib.suppress(ValueError):
                    self.waiters.remove(waiter)
                if self.messages and not waiter.cancelled():
                    self.wake()  # this task was woken and cancelled: another takes the message
                raise


class Batch:
    """A batch of the library, which is freed with this."""

    __slots__ = ("handle", "tagged")

    def __init__(self) -> None:
        self.handle = ctypes.c_void_p()
        """Where the library puts it; NULL until then."""
        self.tagged: Iterator[tuple[int, Message]] | None = None
        """What was read from it and not sorted yet; None before it is read."""

    def __del__(self) -> None:
        quick.midge_batch_free(self.handle)


class Hub:
    """The queue that all subscriptions of a broker share in one event loop."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker  # keeps it alive
        self._loop = asyncio.get_running_loop()
        settings = broker.settings
        self.capacity = int(settings["queue.capacity"])
        self.max_bytes = in_bytes(settings["queue.max_bytes"])
        self._inboxes: dict[int, Inbox] = {}
        self._last = 0
        self._reading = False
        self._batch = Batch()
        self._queue: ctypes.c_void_p | None = None
        self._fd = -1
        self._dropped = 0
        queue, descriptor = ctypes.c_void_p(), ctypes.c_int32()
        bounds = _ffi.midge_queue_options(
            struct_size=ctypes.sizeof(_ffi.midge_queue_options),
            capacity=max(self.capacity, BACKLOG),
        )
        status = quick.midge_queue_new(broker._handle, ctypes.byref(bounds), ctypes.byref(queue))
        if status < 0:
            raise_for(status)
        status = quick.midge_queue_fd(queue, ctypes.byref(descriptor))
        if status < 0:
            quick.midge_queue_free(queue)
            raise_for(status)
        self._queue = queue
        self._fd = descriptor.value
        # The loop does not keep it: a broker that is forgotten with its subscriptions stops.
        self._loop.add_reader(self._fd, _readable, weakref.ref(self))

    @property
    def dropped(self) -> int:
        """Messages that found no room in the queue."""
        return self._dropped if self._queue is None else int(quick.midge_queue_dropped(self._queue))

    def subscribe(self, options: Any, inbox: Inbox) -> tuple[int, ctypes.c_void_p]:
        """Has messages put into an inbox; the tag and the handle of the subscription."""
        if self._queue is None:
            raise Stopped("the broker has stopped")
        if asyncio.get_running_loop() is not self._loop:
            raise StateError("the broker has subscriptions in another event loop")
        subscription, error = ctypes.c_void_p(), ctypes.c_void_p()
        name = encode(f"topic filter {inbox.filter!r}", inbox.filter, TopicError)
        tag = self._last = self._last + 1
        self._inboxes[tag] = inbox
        # Retained messages may be many: other threads of Python run while they are queued.
        status = waiting.midge_queue_subscribe(
            self._queue, name, ctypes.byref(options), tag, ctypes.byref(subscription), ctypes.byref(error)
        )
        if status < 0:
            del self._inboxes[tag]
            raise_for(status, error)
        return tag, subscription

    def close(self, tag: int) -> None:
        """Ends an inbox. What was queued for it is read first."""
        if self._is_here() and not self._reading:
            if tag in self._inboxes and quick.midge_queue_len(self._queue):
                self._readable()
            self._end(tag)
        else:
            # On another thread, or by a finalizer in the middle of reading: what a batch holds would be overtaken.
            self._later(self.close, tag)

    def forget(self, tag: int) -> None:
        """Ends an inbox that nobody can read any more. A finalizer may call it: on any thread, in the middle of all."""
        self._later(self._end, tag)

    def _is_here(self) -> bool:
        """Whether this is called in the event loop, where the queue can be read."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _later(self, call: Callable[[int], None], tag: int) -> None:
        """Has the event loop call a function; if it is gone nobody waits for the inbox, and it only ends."""
        try:
            self._loop.call_soon_threadsafe(call, tag)
        except RuntimeError:
            inbox = self._inboxes.pop(tag, None)
            if inbox is not None:
                inbox.ended = True

    def _end(self, tag: int) -> None:
        """Ends an inbox."""
        inbox = self._inboxes.pop(tag, None)
        if inbox is not None:
            inbox.end()

    def end(self) -> None:
        """Reads what is left, and ends every inbox. A second time does nothing."""
        if self._queue is None:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
        quick.midge_queue_close(self._queue)
        while self._read():
            pass
        queue, self._dropped, self._queue = self._queue, self.dropped, None
        quick.midge_queue_free(queue)
        self._end_all()
        self._inboxes.clear()

    def _readable(self) -> None:
        """Called by the event loop while messages wait."""
        for _ in range(ROUNDS):
            if not self._read():
                return

    def _read(self) -> bool:
        """Puts a batch into the inboxes; False if there was none."""
        if self._batch.handle.value is None:
            status = quick.midge_queue_poll(self._queue, BATCH, 0, ctypes.byref(self._batch.handle))
            if status == _ffi.MIDGE_STATUS_CLOSED and self._queue is not None:
                # Readable for good: the broker has stopped.
                self._loop.remove_reader(self._fd)
                self._end_all()
            if status != _ffi.MIDGE_STATUS_OK:
                return False
        try:
            self._reading = True
            self._sort(self._batch)
            self._batch = Batch()
        except BaseException:
            # A signal handler has raised: the rest is read next.
            self._later(self._read_on, 0)
            raise
        finally:
            self._reading = False
        return True

    def _sort(self, batch: Batch) -> None:
        """Puts the messages of a batch into the inboxes."""
        if batch.tagged is None:
            batch.tagged = read_tagged(batch.handle)
        find = self._inboxes.get
        for tag, message in batch.tagged:
            inbox = find(tag)
            if inbox is not None:
                inbox.put(message)

    def _read_on(self, _: int) -> None:
        """Reads what a signal handler has kept from being read."""
        if self._queue is not None:
            self._readable()

    def _end_all(self) -> None:
        """Ends every inbox. What that wakes may close others."""
        for inbox in list(self._inboxes.values()):
            inbox.end()

    def __del__(self) -> None:
        if getattr(self, "_queue", None) is not None:
            queue, self._queue = self._queue, None
            try:
                self._loop.call_soon_threadsafe(_release, self._loop, self._fd, queue)
            except RuntimeError:
                # The event loop is closed.
                quick.midge_queue_free(queue)


def _readable(hub: weakref.ref[Hub]) -> None:
    """Called by the event loop while messages wait."""
    found = hub()
    if found is not None:
        found._readable()


def _release(loop: asyncio.AbstractEventLoop, descriptor: int, queue: ctypes.c_void_p | None) -> None:
    """Frees the queue of a hub that is forgotten, in its event loop: the loop lets go of the descriptor first."""
    loop.remove_reader(descriptor)
    quick.midge_queue_free(queue)
