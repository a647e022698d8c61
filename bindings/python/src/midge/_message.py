"""Messages and what comes with them."""

from __future__ import annotations

from typing import NamedTuple

from midge._types import QoS

__all__ = ["Message", "Properties"]


class Properties(NamedTuple):
    """The MQTT 5 properties of a message."""

    content_type: str | None = None
    """What the payload is, as a MIME type or otherwise."""
    response_topic: str | None = None
    """Where an answer is expected."""
    correlation_data: bytes | None = None
    """What the answer is to carry."""
    user_properties: tuple[tuple[str, str], ...] = ()
    """Name and value pairs, in order."""
    expiry: int | None = None
    """Seconds, counted from when the message was queued, after which it is no longer of use."""
    subscription_identifiers: tuple[int, ...] = ()
    """The identifiers of the subscriptions that the message came by."""


class Message(NamedTuple):
    """A message that was received. It cannot be changed.

    >>> message = midge.Message("rooms/1", b"on", qos=1)
    >>> topic, payload, *_ = message
    >>> message._replace(payload=b"off").payload
    b'off'
    """

    topic: str
    """The topic that it was published to."""
    payload: bytes
    """The payload."""
    qos: QoS = 0
    """The QoS of the delivery: the lower of the publisher's and the subscription's."""
    retain: bool = False
    """Whether the message was retained when the subscription was made."""
    properties: Properties = Properties()
    """The MQTT 5 properties."""
