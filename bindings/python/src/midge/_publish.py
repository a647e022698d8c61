"""What is published: payloads, options, many messages at once."""

from __future__ import annotations

import ctypes
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Union

from midge import _arguments, _ffi
from midge._errors import ArgumentError, TopicError
from midge._library import encode_property, guarded, quick, waiting, within

Payload = Union[bytes, str, bytearray, memoryview]
"""What can be published; a str is sent as UTF-8."""

COPIED = 64 * 1024
"""Bytes of payload from which on other threads of Python may run while it is published."""

# midge_publish without the types of its arguments: converting them costs as much as all else in a call. So they must
# be of the right C types already: a c_void_p, bytes, bytes, a c_size_t, what ctypes.byref gives or None.
publish_quick = ctypes.PyDLL(quick._name)["midge_publish"]
publish_quick.restype = ctypes.c_int32
_publish_unguarded = ctypes.CDLL(quick._name)["midge_publish"]
_publish_unguarded.restype = ctypes.c_int32
publish_waiting = guarded(_publish_unguarded)

SIZES = tuple(ctypes.c_size_t(size) for size in range(1025))
"""Sizes of small payloads, as C takes them."""

_names: dict[str, bytes] = {}
KEPT_NAMES = 4096
"""Topics whose UTF-8 form is remembered."""


def name_of(topic: str) -> bytes:
    """A topic in UTF-8, without U+0000."""
    try:
        name = _names.get(topic)
    except TypeError:  # it has no hash
        raise _arguments.needed("topic", "a str", topic) from None
    if name is None:
        _arguments.text("topic", topic)
        if "\0" in topic:
            raise TopicError(f"topic {topic!r}: holds U+0000")
        try:
            name = topic.encode()
        except UnicodeEncodeError:
            raise TopicError(f"topic {topic!r}: has no UTF-8 form") from None
        if len(_names) >= KEPT_NAMES:
            _names.clear()
        _names[topic] = name
    return name


def _plain(qos: int, retain: bool) -> _ffi.midge_publish_options:
    """The options of a message without properties."""
    return _ffi.midge_publish_options(
        struct_size=ctypes.sizeof(_ffi.midge_publish_options),
        qos=qos,
        retain=int(retain),
        message_expiry_interval=-1,
    )


_PLAIN: dict[tuple[int, bool], Any] = {
    (qos, retain): ctypes.byref(_plain(qos, retain)) for qos in (0, 1, 2) for retain in (False, True)
}


def plain(qos: int, retain: bool) -> Any:
    """A pointer to the options of a message without properties."""
    try:
        return _PLAIN[qos, retain]
    except (KeyError, TypeError):
        raise _wrong(qos, retain) from None


def as_bytes(payload: Payload) -> bytes:
    """The payload as bytes."""
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, str):
        try:
            return payload.encode()
        except UnicodeEncodeError:
            raise ArgumentError("payload: a text that has no UTF-8 form") from None
    if isinstance(payload, (bytearray, memoryview)):
        return bytes(payload)
    raise TypeError(f"payload: bytes, str, bytearray or memoryview is needed, not {type(payload).__name__}")


def _wrong(qos: object, retain: object) -> ArgumentError:
    """Why these are no options."""
    if qos not in (0, 1, 2):
        return ArgumentError(f"qos: {qos!r} is not 0, 1 or 2")
    return ArgumentError(f"retain: {retain!r} is neither True nor False")


def any_options(qos: int, retain: bool, **properties: Any) -> Any:
    """A pointer to the options of a message, with properties or without."""
    return ctypes.byref(with_properties(qos, retain, **properties)) if properties else plain(qos, retain)


_lent: dict[int, Any] = {}
"""The payloads that the library uses, and what keeps them where they are, by number."""
_numbers = itertools.count(1)


@_ffi.midge_free_fn
def _give_back(number: int | None) -> None:
    """Called by the library, on any thread, when it does not use a payload any more."""
    _lent.pop(number or 0, None)


def publish_owned(broker: ctypes.c_void_p | None, topic: bytes, payload: Payload, options: Any) -> tuple[int, int]:
    """Publishes a payload that the library keeps; the status, and its size."""
    if isinstance(payload, (bytearray, memoryview)):
        view = memoryview(payload)
        if view.readonly or not view.c_contiguous or view.nbytes == 0:
            payload = bytes(view)
    kept: Any
    if isinstance(payload, (bytearray, memoryview)):
        # A buffer that is exported is not moved.
        size = view.nbytes
        kept = (ctypes.c_char * size).from_buffer(payload)
        address = ctypes.c_void_p(ctypes.addressof(kept))
    else:
        kept = as_bytes(payload)
        size = len(kept)
        address = ctypes.cast(ctypes.c_char_p(kept), ctypes.c_void_p)
    number = next(_numbers)
    _lent[number] = kept
    # Payloads may be given back in here, and they are large: other threads of Python run meanwhile.
    status = waiting.midge_publish_owned(broker, topic, address, size, _give_back, number, options)
    return int(status), size


_awaited: dict[int, Callable[[int], object]] = {}
"""What is called when a message is safe, by number."""


@_ffi.midge_acknowledged_fn
def _acknowledged(status: int, number: int | None) -> None:
    """Called by the library, on any thread, when a message is safe or the broker has stopped."""
    done = _awaited.pop(number or 0, None)
    if done is not None:
        try:
            done(status)
        except Exception:
            logging.getLogger("midge").exception("the end of a publication cannot be told")


def publish_with_callback(
    broker: ctypes.c_void_p | None, topic: bytes, payload: bytes, options: Any, done: Callable[[int], object]
) -> int:
    """Publishes a message; `done` is called once with a status, on any thread, unless this fails."""
    number = next(_numbers)
    _awaited[number] = done
    status = waiting.midge_publish_with_callback(
        broker, topic, payload, len(payload), options, _acknowledged, number, _ffi.midge_free_fn()
    )
    if status:
        del _awaited[number]
    return int(status)


def with_properties(
    qos: int,
    retain: bool,
    expiry: int | None = None,
    content_type: str | None = None,
    response_topic: str | None = None,
    correlation_data: bytes | None = None,
    user_properties: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
) -> _ffi.midge_publish_options:
    """The options of a message with properties. They keep what they point to."""
    plain(qos, retain)
    options = _plain(qos, retain)
    if expiry is not None:
        if not isinstance(expiry, int):
            raise _arguments.needed("expiry", "an int", expiry)
        if not 0 <= expiry <= 2**32 - 1:
            raise ArgumentError(f"expiry: {expiry} is not 0 to {2**32 - 1} seconds")
        options.message_expiry_interval = expiry
    if content_type is not None:
        options.content_type = encode_property("content_type", content_type)
    if response_topic is not None:
        _arguments.text("response_topic", response_topic)
        if not response_topic or "+" in response_topic or "#" in response_topic:
            raise ArgumentError(f"response_topic: {response_topic!r} is no topic")
        options.response_topic = encode_property("response_topic", response_topic)
    if correlation_data is not None:
        if not isinstance(correlation_data, (bytes, bytearray, memoryview)):
            raise _arguments.needed("correlation_data", "bytes", correlation_data)
        data = ctypes.create_string_buffer(within("correlation_data", bytes(correlation_data)))
        options.correlation_data = ctypes.cast(data, ctypes.c_void_p)  # type: ignore[assignment]
        options.correlation_data_len = len(data) - 1
    if user_properties is not None:
        encoded = [
            (encode_property("user_properties", name), encode_property("user_properties", value))
            for name, value in pairs_of(user_properties)
        ]
        array = (_ffi.midge_user_property * len(encoded))(*(_ffi.midge_user_property(*pair) for pair in encoded))
        options.user_properties = ctypes.cast(array, ctypes.POINTER(_ffi.midge_user_property))
        options.user_property_count = len(encoded)
    return options


def pairs_of(user_properties: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The names and values of user properties."""
    pairs = user_properties.items() if isinstance(user_properties, Mapping) else user_properties
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise _arguments.needed("user_properties", "a mapping or an iterable of pairs", pairs)
    found: list[tuple[str, str]] = []
    for pair in pairs:
        if isinstance(pair, (str, bytes)) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise ArgumentError(f"user_properties: {pair!r} is no pair of a name and a value")
        found.append((pair[0], pair[1]))
    return found
