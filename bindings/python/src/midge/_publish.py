"""What is published: payloads, options, many messages at once."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, NoReturn, Union

from midge import _arguments, _ffi
from midge._errors import ArgumentError, TopicError
from midge._library import encode_property, guarded, quick, raise_for, waiting, within
from midge._numbers import Numbers

Payload = Union[bytes, str, bytearray, memoryview]
"""What can be published; a str is sent as UTF-8."""

COPIED = 64 * 1024
"""Bytes of payload from which on other threads of Python may run while it is published."""

# midge_publish_counted without the types of its arguments: converting them costs as much as all else in a call. So they
# must be of the right C types already: a c_void_p, bytes, bytes, a c_size_t, what ctypes.byref gives or None.
publish_quick = ctypes.PyDLL(quick._name)["midge_publish_counted"]
publish_quick.restype = ctypes.c_int64
_publish_unguarded = ctypes.CDLL(quick._name)["midge_publish_counted"]
_publish_unguarded.restype = ctypes.c_int64
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


UNTOLD = ctypes.c_size_t(-1).value
"""In place of a number of receivers: the library has not published."""


class Call:
    """What a call that publishes is told, and what it tells. One thread at a time uses it."""

    __slots__ = ("error", "options", "receivers", "struct")

    def __init__(self, struct: _ffi.midge_publish_options) -> None:
        """A call with these options."""
        self.struct = struct  # keeps what the options point to
        self.receivers = ctypes.c_size_t()
        self.error = ctypes.c_void_p()
        struct.receivers = ctypes.pointer(self.receivers)
        struct.error = ctypes.pointer(self.error)
        self.options = ctypes.byref(struct)

    def fail(self, status: int, context: str = "") -> NoReturn:
        """Raises the exception for a status."""
        error, self.error = self.error, ctypes.c_void_p()
        self.struct.error = ctypes.pointer(self.error)
        raise_for(status, error, context)

    def __del__(self) -> None:
        # Only if a signal handler has raised before `fail` was called.
        if self.error.value is not None:
            quick.midge_error_free(self.error)


def call_with(qos: int, retain: bool, *properties: Any, **named: Any) -> Call:
    """A call with properties or without; they are those of `with_properties`."""
    return Call(with_properties(qos, retain, *properties, **named))


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


_lent: dict[int, Any] = {}
"""The payloads that the library uses, and what keeps them where they are, by number."""
_numbers = Numbers()


@_ffi.midge_free_fn
def _give_back(number: int | None) -> None:
    """Called by the library, on any thread, when it does not use a payload any more."""
    _lent.pop(number or 0, None)


def publish_owned(broker: ctypes.c_void_p | None, topic: bytes, payload: Payload, call: Call) -> int:
    """Publishes a payload that the library keeps; the status."""
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
    number = _numbers.draw()
    call.receivers.value = UNTOLD
    try:
        _lent[number] = kept
        # Payloads may be given back in here, and they are large: other threads of Python run meanwhile.
        return int(waiting.midge_publish_owned(broker, topic, address, size, _give_back, number, call.options))
    except BaseException:
        # A signal handler has raised. What was published is given back later; what was refused, has been.
        if call.receivers.value == UNTOLD:
            _lent.pop(number, None)
        raise


_awaited: dict[int, Callable[[int], object]] = {}
"""What is called when a message is safe, by number."""


@_ffi.midge_acknowledged_fn
def _acknowledged(status: int, number: int | None) -> None:
    """Called by the library, on any thread, when a message is safe or the broker has stopped."""
    done = _awaited.get(number or 0)
    if done is not None:
        try:
            done(status)
        except Exception:
            logging.getLogger("midge").exception("the end of a publication cannot be told")


@_ffi.midge_free_fn
def _not_awaited(number: int | None) -> None:
    """Called by the library, on any thread, when it has told the end of a message, or has refused it."""
    _awaited.pop(number or 0, None)


def publish_with_callback(
    broker: ctypes.c_void_p | None, topic: bytes, payload: bytes, call: Call, done: Callable[[int], object]
) -> int:
    """Publishes a message; `done` is called once with a status, on any thread, unless this fails."""
    number = _numbers.draw()
    call.receivers.value = UNTOLD
    try:
        _awaited[number] = done
        return int(
            waiting.midge_publish_with_callback(
                broker, topic, payload, len(payload), call.options, _acknowledged, number, _not_awaited
            )
        )
    except BaseException:
        # As in `publish_owned`.
        if call.receivers.value == UNTOLD:
            _awaited.pop(number, None)
        raise


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
