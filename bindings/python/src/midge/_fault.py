"""What goes wrong between a test's broker and its clients."""

from __future__ import annotations

import ctypes
import dataclasses
from dataclasses import dataclass
from typing import Any

from midge import _ffi
from midge._clock import Span, milliseconds_of
from midge._errors import ArgumentError, Timeout
from midge._library import encode, quick, raise_for
from midge._waiting import patiently

__all__ = ["Fault", "Injected"]

PACKETS = {
    name[len("MIDGE_PACKET_") :]: value for name, value in vars(_ffi).items() if name.startswith("MIDGE_PACKET_")
}
"""The packets that a broker sends, by their names in the MQTT specification; ANY is all of them."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong. TestBroker.inject has it happen.

    Each strikes `count` times (0: until it is cleared), for one client or for all, and lets `after` packets pass
    before the first that it meets. A packet is one that the broker sends, such as "PUBACK" or "SUBACK", or "ANY".

    >>> with midge.testing.TestBroker() as broker:
    ...     with broker.inject(midge.testing.Fault.drop("PUBACK", client_id="sensor", count=2)) as fault:
    ...         fault.hits  # your client publishes at QoS 1 here, and has to repeat it
    0
    """

    action: int
    """A MIDGE_FAULT_... constant of midge.h."""
    packet: str = "ANY"
    """Which packets to the client are concerned."""
    client_id: str | None = None
    """Which client; None is every one."""
    count: int = 1
    """How often it strikes; 0 is until it is cleared."""
    after: int = 0
    """Packets, or CONNECTs, that pass before."""
    delay: Span = 0.0
    """How much later a packet comes, in the broker's time."""
    bytes: int = 0
    """How much is sent before the connection is cut."""
    reason: int = 0
    """The reason code of a CONNACK."""

    @classmethod
    def refuse(cls, reason: int = 0x88, *, client_id: str | None = None, count: int = 1, after: int = 0) -> Fault:
        """CONNECT is refused, with a reason code of MQTT 5 such as 0x88 Server unavailable or 0x87 Not authorized."""
        return cls(_ffi.MIDGE_FAULT_REFUSE, client_id=client_id, count=count, after=after, reason=reason)

    @classmethod
    def drop(cls, packet: str = "ANY", *, client_id: str | None = None, count: int = 1, after: int = 0) -> Fault:
        """A packet to the client is lost."""
        return cls(_ffi.MIDGE_FAULT_DROP, packet, client_id, count, after)

    @classmethod
    def delay_by(
        cls, delay: Span, packet: str = "ANY", *, client_id: str | None = None, count: int = 1, after: int = 0
    ) -> Fault:
        """A packet to the client comes later, when `advance` has moved the time so far; others overtake it."""
        return cls(_ffi.MIDGE_FAULT_DELAY, packet, client_id, count, after, delay)

    @classmethod
    def duplicate(cls, packet: str = "ANY", *, client_id: str | None = None, count: int = 1, after: int = 0) -> Fault:
        """A packet to the client comes twice."""
        return cls(_ffi.MIDGE_FAULT_DUPLICATE, packet, client_id, count, after)

    @classmethod
    def cut(cls, packet: str = "ANY", *, client_id: str | None = None, count: int = 1, after: int = 0) -> Fault:
        """The connection is cut, by a TCP reset and without DISCONNECT, in place of a packet to the client."""
        return cls(_ffi.MIDGE_FAULT_CUT, packet, client_id, count, after)

    @classmethod
    def cut_after_bytes(cls, bytes: int, *, client_id: str | None = None, count: int = 1) -> Fault:
        """The connection is cut when so many more bytes were sent, in the middle of a packet if it falls so."""
        return cls(_ffi.MIDGE_FAULT_CUT_AFTER_BYTES, client_id=client_id, count=count, bytes=bytes)

    def _view(self) -> _ffi.midge_fault:
        """As the library takes it, which checks it."""
        packet = PACKETS.get(self.packet) if isinstance(self.packet, str) else None
        if packet is None:
            raise ArgumentError(f"packet: {self.packet!r} is not one of {', '.join(sorted(PACKETS))}")
        return _ffi.midge_fault(
            struct_size=ctypes.sizeof(_ffi.midge_fault),
            action=self.action,
            packet_type=packet,
            client_id=None if self.client_id is None else encode("client_id", self.client_id),
            after=self.after,
            count=self.count,
            delay_ms=milliseconds_of("delay", self.delay),
            bytes=self.bytes,
            reason_code=self.reason,
        )

    def __str__(self) -> str:
        given = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if field.name != "action" and getattr(self, field.name) != field.default
        ]
        return f"{_ACTIONS.get(self.action, self.action)}({', '.join(given)})"


_ACTIONS = {
    value: name[len("MIDGE_FAULT_") :].lower() for name, value in vars(_ffi).items() if name.startswith("MIDGE_FAULT_")
}


class Injected:
    """A fault that is in force. Made by TestBroker.inject. As a context manager it is cleared at the end."""

    def __init__(self, broker: Any, fault: Fault) -> None:
        """For TestBroker.inject."""
        self._broker = broker
        self._fault = fault
        number, error = ctypes.c_uint64(), ctypes.c_void_p()
        view = fault._view()
        status = quick.midge_broker_inject(
            broker._handle, ctypes.byref(view), ctypes.byref(number), ctypes.byref(error)
        )
        if status < 0:
            raise_for(status, error)
        self._number = number.value

    @property
    def fault(self) -> Fault:
        """What was injected."""
        return self._fault

    @property
    def hits(self) -> int:
        """How often it has struck; 0 when it was cleared."""
        hits = ctypes.c_uint64()
        status = quick.midge_broker_fault_hits(self._broker._handle, self._number, 0, 0, ctypes.byref(hits))
        if status < 0:
            raise_for(status)
        return hits.value

    def wait(self, count: int = 1, timeout: float | None = None) -> int:
        """Waits until it has struck `count` times, and returns how often it has; raises Timeout."""
        timeout = self._broker.timeout if timeout is None else timeout
        hits = ctypes.c_uint64()

        def ask(milliseconds: int, waiting: Any) -> int:
            return int(
                waiting.midge_broker_fault_hits(
                    self._broker._handle, self._number, count, milliseconds, ctypes.byref(hits)
                )
            )

        if not patiently(ask, timeout):
            raise Timeout(f"{self._fault} struck {self.hits} times, not {count}, within {timeout:g} s")
        return hits.value

    def clear(self) -> None:
        """Ends it. Packets that it has delayed stay so. Clearing twice does nothing."""
        status = quick.midge_broker_clear_fault(self._broker._handle, self._number)
        if status < 0:
            raise_for(status)

    def __enter__(self) -> Injected:
        return self

    def __exit__(self, *raised: object) -> None:
        self.clear()

    def __repr__(self) -> str:
        return f"<midge.testing.Injected {self._fault}>"
