"""What the disk of a test's durable broker does."""

from __future__ import annotations

from dataclasses import dataclass

from midge import _ffi
from midge._clock import Span

__all__ = ["Disk"]


@dataclass(frozen=True)
class Disk:
    """What the disk of a durable broker does. TestBroker.set_disk sets it; after a start or restart it is well.

    >>> with midge.testing.TestBroker(durable=True) as broker:
    ...     broker.set_disk(midge.testing.Disk.held())
    ...     # your client publishes at QoS 1 here, and no acknowledgement comes
    ...     broker.set_disk(midge.testing.Disk.well())
    """

    state: int
    """A MIDGE_DISK_... constant of midge.h."""
    delay: Span = 0.0
    """How long a flush takes, in the broker's time."""

    @classmethod
    def well(cls) -> Disk:
        """It works."""
        return cls(_ffi.MIDGE_DISK_WELL)

    @classmethod
    def slow(cls, delay: Span) -> Disk:
        """Each flush takes this long, as `advance` moves the time. Acknowledgements wait for it."""
        return cls(_ffi.MIDGE_DISK_SLOW, delay)

    @classmethod
    def held(cls) -> Disk:
        """No flush ends until the test sets something else, or stops the broker."""
        return cls(_ffi.MIDGE_DISK_HELD)

    @classmethod
    def full(cls) -> Disk:
        """There is no space, until the test sets something else.

        QoS 1 and 2 messages are refused at once: with 0x97 in MQTT 5, by the end of the connection in older versions.
        """
        return cls(_ffi.MIDGE_DISK_FULL)

    @classmethod
    def write_error(cls) -> Disk:
        """Every write fails. The store has failed then: nothing is acknowledged until `restart`."""
        return cls(_ffi.MIDGE_DISK_WRITE_ERROR)

    @classmethod
    def flush_error(cls) -> Disk:
        """Every flush fails. The store has failed then: nothing is acknowledged until `restart`."""
        return cls(_ffi.MIDGE_DISK_FLUSH_ERROR)
