"""A broker in test mode."""

from __future__ import annotations

import ctypes
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Union

from midge import _arguments, _ffi
from midge._batch import read
from midge._broker import Broker
from midge._clock import Span, milliseconds_of
from midge._config import Config, Value
from midge._disk import Disk
from midge._errors import Timeout, TopicError
from midge._fault import Fault, Injected
from midge._library import encode, milliseconds, quick, raise_for, text_of, waiting
from midge._message import Message
from midge._publish import Payload, as_bytes
from midge._types import QoS
from midge._waiting import patience, patiently

__all__ = ["NotSeen", "TestBroker"]

SHOWN = 20
"""Messages that a sentence lists."""
CUT = 60
"""Bytes of a payload that a sentence shows."""

Wanted = Union[Payload, Callable[[bytes], object]]
"""A payload, or a function that is told one and says whether it is meant."""


class NotSeen(AssertionError, Timeout):
    """What a test waited for, or said was there, was not. The sentence shows what was there instead."""

    __module__ = "midge.testing"  # where tracebacks say that it is from


class TestBroker(Broker):
    """A broker for tests, on a free port of 127.0.0.1.

    It does what any broker does, with three differences. It remembers what was published, within the settings
    `queue.capacity` and `queue.max_bytes`. Its time stands still until `advance` moves it, so no keep alive, expiry
    or delay is over before the test says so. And it fails its clients when told to by `inject`, `cut` and `pause`, by
    `crash` and `restart`, and, if it is durable, by `set_disk`.

    What waits, waits `timeout` seconds of real time, unless it is told otherwise.
    """

    __test__ = False  # pytest takes classes of this name for tests

    _start_name = "midge_start_test"

    def __init__(
        self,
        listen: str | Sequence[str] | None = None,
        config: Config | Mapping[str, Value] | None = None,
        *,
        timeout: float = 5.0,
        durable: bool = False,
        **options: Any,
    ) -> None:
        """Starts a broker. The arguments are those of midge.Broker.

        A `durable` one keeps its sessions and messages in a directory, that of the setting `storage.path`, or without
        it a temporary one, which goes together with the broker.
        """
        self.timeout = timeout
        self._earlier: list[ctypes.c_void_p] = []
        if not isinstance(durable, bool):
            raise _arguments.needed("durable", "a bool", durable)
        if durable:
            self._start_name = "midge_start_test_durable"
        super().__init__(listen, config, **options)

    @property
    def time(self) -> float:
        """The broker's time: seconds since it started, as `advance` has moved it."""
        return int(quick.midge_broker_time(self._handle)) / 1000

    def advance(self, by: Span) -> None:
        """Moves the time on: "90s", "1500ms", "2h", a number of seconds, a timedelta.

        What is due in between happens in its order: silent clients are disconnected, sessions and messages expire,
        delayed wills are published, packets that a fault has delayed are sent. When this returns, that has happened.
        What clients had sent before is handled before; 0 moves no time, and has just that done. The clients' own
        clocks do not know of it. While a broker is down after `crash`, its time can be moved, too; what is due happens
        at the restart.
        """
        status = waiting.midge_broker_advance(self._handle, milliseconds_of("by", by))
        if status < 0:
            raise_for(status)

    def crash(self, power_cut: bool = False) -> None:
        """Ends the broker as `kill -9` does: nothing more is written, nothing more is sent, connections are reset.

        With `power_cut`, what was written to its disk and not flushed is lost. Clients that connect are refused until
        `restart`. Subscriptions of this program end as with `stop`. A broker that is not durable forgets everything.
        Raises Stopped if it is down already.

        >>> with midge.testing.TestBroker(durable=True) as broker:
        ...     broker.publish_acknowledged("meter", "230.1", qos=1, retain=True)
        ...     broker.crash(power_cut=True)
        ...     broker.restart()
        ...     [message.payload for message in broker.retained("meter")]
        0
        [b'230.1']
        """
        if not isinstance(power_cut, bool):
            raise _arguments.needed("power_cut", "a bool", power_cut)
        crash = _ffi.MIDGE_CRASH_POWER_CUT if power_cut else _ffi.MIDGE_CRASH_KILL
        status = waiting.midge_broker_crash(self._handle, crash)
        if status < 0:
            raise_for(status)
        self._end(None)

    def restart(self) -> None:
        """Starts the broker again: same settings and hooks, same addresses, same directory.

        One that runs is stopped first. The time goes on, so do the faults and the record of what was published; the
        disk is well. Subscriptions of this program are not there again.
        """
        handle, error = ctypes.c_void_p(), ctypes.c_void_p()
        status = waiting.midge_broker_restart(self._handle, ctypes.byref(handle), ctypes.byref(error))
        if status < 0:
            raise_for(status, error)
        self._end(None)
        if self._handle is not None:
            self._earlier.append(self._handle)  # another thread may be in a call of it
        self._begin(handle)

    def set_disk(self, disk: Disk) -> None:
        """Sets what the disk of a durable broker does from now on. A flush that waits is concerned, too."""
        if not isinstance(disk, Disk):
            raise _arguments.needed("disk", "a midge.testing.Disk", disk)
        delay, error = milliseconds_of("delay", disk.delay), ctypes.c_void_p()
        status = quick.midge_broker_set_disk(self._handle, disk.state, delay, ctypes.byref(error))
        if status < 0:
            raise_for(status, error)

    def inject(self, fault: Fault) -> Injected:
        """Has something go wrong from now on. If several faults fit a packet, the first that was injected strikes."""
        return Injected(self, fault)

    def clear_faults(self) -> None:
        """Ends every fault, and has clients read again whose reading `pause` stopped."""
        status = quick.midge_broker_clear_fault(self._handle, 0)
        if status < 0:
            raise_for(status)

    def cut(self, client_id: str) -> bool:
        """Cuts a client's connection, by a TCP reset and without DISCONNECT; False if none of this name is connected.

        When this returns, the broker has dealt with it: the will is published, or its delay runs.
        """
        status = waiting.midge_broker_cut(self._handle, encode("client_id", client_id))
        if status < 0:
            raise_for(status)
        return bool(status == _ffi.MIDGE_STATUS_OK)

    def pause(self, client_id: str) -> bool:
        """Stops reading what a client sends, as a broker that hangs; False if none of this name is connected."""
        return self._pause(client_id, 1)

    def resume(self, client_id: str) -> bool:
        """Reads again what a client sends; False if none of this name is connected."""
        return self._pause(client_id, 0)

    def published(self, filter: str = "#") -> list[Message]:
        """What was published to topics that `filter` matches, oldest first: by clients, by this program, wills.

        It matters not whether anybody heard it. `retain` is as it was published.

        >>> with midge.testing.TestBroker() as broker:
        ...     broker.publish("a/b", "1", retain=True)
        ...     [(message.topic, message.payload, message.retain) for message in broker.published("a/+")]
        0
        [('a/b', b'1', True)]
        """
        batch, error = ctypes.c_void_p(), ctypes.c_void_p()
        name = encode(f"topic filter {filter!r}", filter, TopicError)
        status = quick.midge_broker_published(self._handle, name, ctypes.byref(batch), ctypes.byref(error))
        if status < 0:
            raise_for(status, error)
        try:
            return read(batch)
        finally:
            quick.midge_batch_free(batch)

    def forget_published(self) -> None:
        """Forgets what was published so far."""
        status = quick.midge_broker_forget_published(self._handle)
        if status < 0:
            raise_for(status)

    def wait_for(self, filter: str, count: int = 1, timeout: float | None = None) -> list[Message]:
        """Waits until at least `count` messages were published to topics that `filter` matches; returns all of them.

        Counts from the start, or from `forget_published`. Raises NotSeen.
        """
        within = self._within(timeout)
        seen = self._wait_for(filter, count, time.monotonic() + within)
        if seen is not None:
            # The library has waited in slices, and names the last of them.
            raise NotSeen(
                re.sub(r" within \S+, but there were ", f" within {within:g} s, but there were ", seen, count=1)
            )
        return self.published(filter)

    def assert_published(
        self,
        filter: str,
        payload: Wanted | None = None,
        *,
        qos: QoS | None = None,
        retain: bool | None = None,
        count: int | None = None,
        timeout: float | None = None,
    ) -> list[Message]:
        """Asserts that a message was published, or is within `timeout` seconds; returns all that fit.

        What is given must fit: the topic, the payload (or what a function says of it), the QoS, whether it is
        retained. With `count` so many fit, no more and no less.
        """
        __tracebackhide__ = True
        wanted = _Wanted(filter, payload, qos, retain)
        deadline = time.monotonic() + self._within(timeout)
        while True:
            there = self.published(filter)
            fitting = [message for message in there if wanted.fits(message)]
            if len(fitting) >= (1 if count is None else count):
                break
            if self._wait_for(filter, len(there) + 1, deadline) is not None:
                raise NotSeen(self._sentence(f"published {len(fitting)} times, not {count or 1}", wanted, fitting))
        if count is not None:
            self.advance(0)  # what was sent and not handled yet counts, too
            fitting = [message for message in self.published(filter) if wanted.fits(message)]
            if len(fitting) != count:
                raise NotSeen(self._sentence(f"published {len(fitting)} times, not {count}", wanted, fitting))
        return fitting

    def assert_not_published(
        self,
        filter: str,
        payload: Wanted | None = None,
        *,
        qos: QoS | None = None,
        retain: bool | None = None,
    ) -> None:
        """Asserts that no such message was published. What clients have sent so far is handled before.

        A client that has not sent it yet cannot be found out: wait for something that it does afterwards.
        """
        __tracebackhide__ = True
        self.advance(0)
        wanted = _Wanted(filter, payload, qos, retain)
        fitting = [message for message in self.published(filter) if wanted.fits(message)]
        if fitting:
            raise NotSeen(self._sentence(f"published {len(fitting)} times, not never", wanted, fitting))

    def wait_for_client(self, client_id: str, timeout: float | None = None) -> None:
        """Waits until a client is connected. Raises NotSeen, which names those that are."""
        if not self._wait_for_client(client_id, 1, timeout):
            others = ", ".join(repr(client.client_id) for client in self.clients() if client.connected)
            raise NotSeen(f"client {client_id!r} did not connect; connected: {others or 'none'}")

    def wait_for_no_client(self, client_id: str, timeout: float | None = None) -> None:
        """Waits until a client is not connected. Raises NotSeen."""
        if not self._wait_for_client(client_id, 0, timeout):
            raise NotSeen(f"client {client_id!r} is still connected")

    def wait_for_subscription(self, filter: str, timeout: float | None = None) -> None:
        """Waits until a client or this program has subscribed to exactly this filter. Raises NotSeen."""
        name = encode(f"topic filter {filter!r}", filter, TopicError)

        def ask(milliseconds: int, library: Any) -> int:
            return int(library.midge_broker_wait_for_subscription(self._handle, name, milliseconds))

        if not patiently(ask, self._within(timeout)):
            others = ", ".join(sorted(repr(subscription.filter) for subscription in self.subscriptions()))
            raise NotSeen(f"nobody subscribed to {filter!r}; subscriptions: {others or 'none'}")

    def __del__(self) -> None:
        while getattr(self, "_earlier", None):
            waiting.midge_broker_free(self._earlier.pop())
        super().__del__()

    def _within(self, timeout: float | None) -> float:
        within = _arguments.seconds("timeout", self.timeout if timeout is None else timeout)
        return float("inf") if within is None else within

    def _pause(self, client_id: str, pause: int) -> bool:
        status = quick.midge_broker_pause(self._handle, encode("client_id", client_id), pause)
        if status < 0:
            raise_for(status)
        return bool(status == _ffi.MIDGE_STATUS_OK)

    def _wait_for(self, filter: str, count: int, deadline: float) -> str | None:
        """Waits until so many messages were published; the library's sentence if they were not."""
        name = encode(f"topic filter {filter!r}", filter, TopicError)
        count = _arguments.whole("count", count, 0, sys.maxsize)
        at_a_time = patience()
        while True:
            left = min(at_a_time, deadline - time.monotonic())
            error = ctypes.c_void_p()
            library = waiting if left > 0 else quick
            status = library.midge_broker_wait_for(
                self._handle, name, count, milliseconds(max(0.0, left)), ctypes.byref(error)
            )
            if status < 0:
                raise_for(status, error)
            sentence = text_of(quick.midge_error_message(error))
            quick.midge_error_free(error)
            if status == _ffi.MIDGE_STATUS_OK:
                return None
            if time.monotonic() >= deadline:
                return sentence

    def _wait_for_client(self, client_id: str, connected: int, timeout: float | None) -> bool:
        name = encode("client_id", client_id)

        def ask(milliseconds: int, library: Any) -> int:
            return int(library.midge_broker_wait_for_client(self._handle, name, connected, milliseconds))

        return patiently(ask, self._within(timeout))

    def _sentence(self, what: str, wanted: _Wanted, fitting: list[Message]) -> str:
        """What is wrong, and what was published."""
        everything = self.published()
        there = [message for message in self.published(wanted.filter) if message not in fitting]
        elsewhere = [message for message in everything if message not in there and message not in fitting]
        parts = [f"{wanted} was {what}"]
        for title, messages in (
            ("these fit:", fitting),
            (f"to {wanted.filter!r}, what does not fit:", there),
            ("elsewhere:", elsewhere),
        ):
            if messages:
                parts.append(f"  {title}")
                parts += [f"    {_shown(message)}" for message in messages[-SHOWN:]]
                if len(messages) > SHOWN:
                    parts[-SHOWN] = f"    ... {len(messages) - SHOWN + 1} before ..."
        if not everything:
            parts.append("  nothing at all was published")
        return "\n".join(parts)


class _Wanted:
    """What a message must be like."""

    def __init__(self, filter: str, payload: Wanted | None, qos: QoS | None, retain: bool | None) -> None:
        self.filter = filter
        self.test = payload if callable(payload) else None
        self.payload = None if payload is None or callable(payload) else as_bytes(payload)
        self.qos = qos
        self.retain = retain

    def fits(self, message: Message) -> bool:
        """Whether a message, whose topic fits, is like it."""
        return (
            (self.payload is None or self.payload == message.payload)
            and (self.test is None or bool(self.test(message.payload)))
            and (self.qos is None or self.qos == message.qos)
            and (self.retain is None or self.retain == message.retain)
        )

    def __str__(self) -> str:
        parts = [f"a message to {self.filter!r}"]
        if self.payload is not None:
            parts.append(f"payload {_payload(self.payload)}")
        if self.test is not None:
            parts.append(f"payload that fits {getattr(self.test, '__name__', self.test)}")
        if self.qos is not None:
            parts.append(f"QoS {self.qos}")
        if self.retain is not None:
            parts.append("retained" if self.retain else "not retained")
        return ", ".join(parts)


def _shown(message: Message) -> str:
    """A message in a line."""
    retained = ", retained" if message.retain else ""
    return f"{message.topic!r} {_payload(message.payload)}, QoS {message.qos}{retained}"


def _payload(payload: bytes) -> str:
    """A payload in a line, its beginning if it is long."""
    return repr(payload) if len(payload) <= CUT else f"{payload[:CUT]!r}... ({len(payload)} bytes)"
