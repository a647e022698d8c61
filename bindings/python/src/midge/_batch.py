"""A batch of the library as messages of Python."""

from __future__ import annotations

import ctypes
import functools
import struct

from midge import _ffi
from midge._library import quick
from midge._message import Message, Properties

# The members of midge_message_view: struct_size, topic, payload, tag, message_expiry_interval, qos, retained,
# has_properties, reserved.
_LAYOUT = "@NPNPNQqiiii"
_NONE = Properties()


def read(batch: ctypes.c_void_p) -> list[Message]:
    """The messages of a batch, copied out of it."""
    stride, count = ctypes.c_size_t(), ctypes.c_size_t()
    address = quick.midge_batch_views(batch, ctypes.byref(stride), ctypes.byref(count))
    rows = ctypes.string_at(address, stride.value * count.value)
    string_at = ctypes.string_at
    messages: list[Message] = []
    for row in _rows(stride.value).iter_unpack(rows):
        _, topic, topic_len, payload, payload_len, _, expiry, qos, retained, has_properties, _ = row
        properties = _NONE
        if has_properties or expiry >= 0:
            properties = _properties(quick.midge_batch_at(batch, len(messages)), expiry)
        messages.append(
            Message(
                string_at(topic, topic_len).decode(),
                string_at(payload, payload_len),
                qos,
                retained == 1,
                properties,
            )
        )
    return messages


@functools.cache
def _rows(stride: int) -> struct.Struct:
    """A row of a later version is longer at its end."""
    return struct.Struct(f"{_LAYOUT}{stride - struct.calcsize(_LAYOUT)}x")


def _properties(message: int, expiry: int) -> Properties:
    pairs = []
    for index in range(quick.midge_message_user_property_count(message)):
        name, value = _ffi.midge_bytes(), _ffi.midge_bytes()
        quick.midge_message_user_property_at(message, index, ctypes.byref(name), ctypes.byref(value))
        pairs.append((copied_text(name) or "", copied_text(value) or ""))
    identifiers = range(quick.midge_message_subscription_identifier_count(message))
    return Properties(
        content_type=copied_text(quick.midge_message_content_type(message)),
        response_topic=copied_text(quick.midge_message_response_topic(message)),
        correlation_data=copied(quick.midge_message_correlation_data(message)),
        user_properties=tuple(pairs),
        expiry=expiry if expiry >= 0 else None,
        subscription_identifiers=tuple(
            quick.midge_message_subscription_identifier_at(message, index) for index in identifiers
        ),
    )


def copied(lent: _ffi.midge_bytes) -> bytes | None:
    """Bytes that the library lent; None if there are none."""
    return None if lent.data is None else ctypes.string_at(lent.data, lent.len)


def copied_text(lent: _ffi.midge_bytes) -> str | None:
    """A text that the library lent; None if there is none."""
    data = copied(lent)
    return None if data is None else data.decode("utf-8", "replace")
