"""Types of arguments that several calls take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypedDict

__all__ = ["Overflow", "PublishProperties", "QoS", "RetainHandling", "SubscribeOptions"]

QoS = Literal[0, 1, 2]
"""A quality of service: at most once, at least once, exactly once."""
Overflow = Literal["drop_newest", "drop_oldest"]
"""What happens when a message finds a queue full: it is dropped, or the one that has waited longest."""
RetainHandling = Literal[0, 1, 2]
"""Which retained messages are delivered at once: 0 all, 1 for a new subscription only, 2 none."""


class PublishProperties(TypedDict, total=False):
    """The properties of `Broker.publish`, as other calls take them."""

    expiry: int | None
    content_type: str | None
    response_topic: str | None
    correlation_data: bytes | None
    user_properties: Mapping[str, str] | Iterable[tuple[str, str]] | None


class SubscribeOptions(TypedDict, total=False):
    """The options of `Broker.subscribe`, as other calls take them."""

    capacity: int | None
    max_bytes: int | None
    overflow: Overflow
    no_local: bool
    retain_as_published: bool
    retain_handling: RetainHandling
    identifier: int
