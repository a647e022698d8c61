"""A batch of the library as messages of Python."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Iterator

from midge import _ffi
from midge._library import quick
from midge._message import Message, Properties

# The members of midge_message_view: struct_size, topic, payload, tag, message_expiry_interval, qos, retained,
# has_properties, reserved. Of them are read: topic, payload, message_expiry_interval, qos, retained, has_properties.
_LAYOUT = "@8xNNNN8xqiii4x"
_TAG = "@40xQ"
_NONE = Properties()


def read(batch: ctypes.c_void_p) -> list[Message]:
    """The messages of a batch, copied out of it."""
    rows, stride = _copied_rows(batch)
    return _messages(batch, rows, stride)


def read_tagged(batch: ctypes.c_void_p) -> Iterator[tuple[int, Message]]:
    """The messages of a batch, copied out of it, each after the tag of its subscription."""
    rows, stride = _copied_rows(batch)
    tags = [tag for (tag,) in _cut(_TAG, stride).iter_unpack(rows)]
    return zip(tags, _messages(batch, rows, stride))


def copy_of(message: int) -> Message:
    """One message of the library, copied."""
    return Message(
        copied_text(quick.midge_message_topic(message)) or "",
        copied(quick.midge_message_payload(message)) or b"",
        quick.midge_message_qos(message),
        quick.midge_message_retained(message) == 1,
        read_properties(message, quick.midge_message_expiry_interval(message)),
    )


def _copied_rows(batch: ctypes.c_void_p) -> tuple[bytes, int]:
    """The rows of a batch, and the size of one."""
    stride, count = ctypes.c_size_t(), ctypes.c_size_t()
    address = quick.midge_batch_views(batch, ctypes.byref(stride), ctypes.byref(count))
    return ctypes.string_at(address, stride.value * count.value), stride.value


def _messages(batch: ctypes.c_void_p, rows: bytes, stride: int) -> list[Message]:
    """The messages of rows.

    A call through ctypes costs more than all else here. So the memory of the batch is copied by one call and cut up;
    only large payloads, which stand elsewhere, need one each.
    """
    lent = quick.midge_batch_bytes(batch)
    base, size = lent.data or 0, lent.len
    piece = ctypes.string_at(base, size)
    make = tuple.__new__  # what Message(...) does, in half the time
    messages: list[Message] = []
    add = messages.append
    unpacked = _cut(_LAYOUT, stride).iter_unpack(rows)
    for topic, topic_len, payload, payload_len, expiry, qos, retained, has_properties in unpacked:
        topic -= base
        payload -= base
        if 0 <= payload <= size - payload_len:
            data = piece[payload : payload + payload_len]
        else:
            data = ctypes.string_at(base + payload, payload_len)
        properties = _NONE
        if has_properties or expiry >= 0:
            properties = read_properties(quick.midge_batch_at(batch, len(messages)), expiry)
        name = piece[topic : topic + topic_len].decode()
        add(make(Message, (name, data, qos, retained == 1, properties)))
    return messages


@functools.cache
def _cut(layout: str, stride: int) -> struct.Struct:
    """How a row is read. Those of a later version are longer at their end."""
    return struct.Struct(f"{layout}{stride - struct.calcsize(layout)}x")


def read_properties(message: int, expiry: int) -> Properties:
    """The properties of a message, copied; `expiry` is -1 for none."""
    return Properties(
        content_type=copied_text(quick.midge_message_content_type(message)),
        response_topic=copied_text(quick.midge_message_response_topic(message)),
        correlation_data=copied(quick.midge_message_correlation_data(message)),
        user_properties=_user_properties(message),
        expiry=expiry if expiry >= 0 else None,
        subscription_identifiers=_subscription_identifiers(message),
    )


def _user_properties(message: int) -> tuple[tuple[str, str], ...]:
    """All of them by two calls, however many there are."""
    count = ctypes.c_size_t()
    quick.midge_message_user_properties(message, 0, None, None, ctypes.byref(count))
    if not count.value:
        return ()
    names, values = (_ffi.midge_bytes * count.value)(), (_ffi.midge_bytes * count.value)()
    quick.midge_message_user_properties(message, count.value, names, values, ctypes.byref(count))
    return tuple((copied_text(name) or "", copied_text(value) or "") for name, value in zip(names, values))


def _subscription_identifiers(message: int) -> tuple[int, ...]:
    """All of them by two calls, however many there are."""
    count = ctypes.c_size_t()
    quick.midge_message_subscription_identifiers(message, 0, None, ctypes.byref(count))
    if not count.value:
        return ()
    identifiers = (ctypes.c_uint32 * count.value)()
    quick.midge_message_subscription_identifiers(message, count.value, identifiers, ctypes.byref(count))
    return tuple(identifiers)


def copied(lent: _ffi.midge_bytes) -> bytes | None:
    """Bytes that the library lent; None if there are none."""
    return None if lent.data is None else ctypes.string_at(lent.data, lent.len)


def copied_text(lent: _ffi.midge_bytes) -> str | None:
    """A text that the library lent; None if there is none."""
    data = copied(lent)
    return None if data is None else data.decode("utf-8", "replace")
