"""Many messages at once: what a call through ctypes costs is shared by a whole batch."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice
from typing import Any

from midge._arguments import needed, text
from midge._errors import ArgumentError, TopicError
from midge._library import Library, encode, waiting
from midge._message import Properties
from midge._publish import COPIED, as_bytes, call_with

BATCH = 256
"""Messages that are handed to the library at once."""
WORD = "L"
"""An array of pointers, or of size_t."""


def publish_many(broker: ctypes.c_void_p | None, messages: Iterable[Sequence[Any]], library: Library) -> int:
    """Publishes messages in order, and returns how many; `Broker.publish_many` says what they are.

    `library` is what small batches are published with.
    """
    if not isinstance(messages, Iterable):
        raise needed("messages", "an iterable of messages", messages)
    many = _Many(broker, library)
    iterator = iter(messages)
    while True:
        batch: list[Sequence[Any]] = []
        try:
            batch.extend(islice(iterator, BATCH))
        finally:
            # Also what came before the iterable raised.
            if batch:
                many.take(batch)
        if len(batch) < BATCH:
            return many.published


class _Many:
    """Messages on their way to a broker."""

    def __init__(self, broker: ctypes.c_void_p | None, library: Library) -> None:
        self._broker = broker
        self._library = library
        self.published = 0

    def take(self, batch: list[Sequence[Any]]) -> None:
        """Publishes a batch: at once if all of it is of one kind, else in runs of one kind each."""
        alike = _alike(batch)
        if alike is not None:
            self._flush(*alike)
            return
        run: list[tuple[str, bytes]] = []
        kind = (0, False)
        try:
            for message in batch:
                topic, payload, of = self._parts(message, len(run))
                if of != kind:
                    before, run, kind_before, kind = run, [], kind, of
                    self._flush_run(before, kind_before)
                if of[0] is _AS_IT_IS:
                    self._forward(message)
                else:
                    run.append((topic, as_bytes(payload)))
        finally:
            self._flush_run(run, kind)

    def _flush_run(self, run: list[tuple[str, bytes]], kind: tuple[Any, Any]) -> None:
        """Publishes topics and payloads of one kind."""
        if run:
            topics, payloads = zip(*run)
            self._flush(topics, payloads, kind)

    def _parts(self, message: Sequence[Any], before: int) -> tuple[str, Any, tuple[Any, Any]]:
        """Topic, payload and kind of a message."""
        if not isinstance(message, tuple) and (isinstance(message, (str, bytes)) or not isinstance(message, Sequence)):
            raise needed(f"message {self.published + before}", "a sequence such as (topic, payload)", message)
        size = len(message)
        if size:
            text(f"message {self.published + before}: topic", message[0])
        if size == 2:
            return message[0], message[1], (0, False)
        if size == 3:
            return message[0], message[1], (message[2], False)
        if size == 4:
            return message[0], message[1], (message[2], message[3])
        if size == 5 and isinstance(message[4], Properties):
            return message[0], message[1], (_AS_IT_IS, message)
        raise ArgumentError(
            f"message {self.published + before}: has {size} items, not a topic, a payload, a qos, a retain"
        )

    def _flush(self, topics: Sequence[str], payloads: Sequence[bytes], kind: tuple[Any, Any]) -> None:
        """Publishes messages of one kind."""
        if not topics:
            return
        count = len(topics)
        told = call_with(*kind)
        names = "\0".join(topics) + "\0"
        if names.isascii() and names.count("\0") == count:
            encoded = names.encode()
            name_sizes = map((1).__add__, map(len, topics))
        else:
            pieces, wrong = self._encoded(topics)
            if wrong is not None:
                self._flush(topics[: len(pieces)], payloads[: len(pieces)], kind)
                raise wrong
            encoded = b"\0".join(pieces) + b"\0"
            name_sizes = map((1).__add__, map(len, pieces))
        sizes = array(WORD, map(len, payloads))
        total = sum(sizes)
        if total < COPIED:
            call = self._library
            content = b"".join(payloads)
            places: Any = array(WORD, accumulate(sizes, initial=_address(content)))
            payload_places = places.buffer_info()[0]
        else:
            call = waiting
            places = (ctypes.c_char_p * count)(*payloads)
            payload_places = ctypes.addressof(places)
        name_places = array(WORD, accumulate(name_sizes, initial=_address(encoded)))
        done = ctypes.c_size_t()
        status = call.midge_publish_many(
            self._broker,
            name_places.buffer_info()[0],
            payload_places,
            (ctypes.c_size_t * count).from_buffer(sizes),
            count,
            told.options,
            ctypes.byref(done),
        )
        self.published += done.value
        if status:
            told.fail(status, f"message {self.published}")

    def _encoded(self, topics: Sequence[str]) -> tuple[list[bytes], TopicError | None]:
        """Topics in UTF-8, up to the first that has no such form or holds U+0000, and what is wrong with that."""
        pieces: list[bytes] = []
        for topic in topics:
            try:
                pieces.append(encode(f"message {self.published + len(pieces)}: topic", topic, TopicError))
            except TopicError as wrong:
                return pieces, wrong
        return pieces, None

    def _forward(self, message: Sequence[Any]) -> None:
        """Publishes a Message with its properties."""
        topic, payload, qos, retain, properties = message
        told = call_with(
            qos,
            retain,
            properties.expiry,
            properties.content_type,
            properties.response_topic,
            properties.correlation_data,
            properties.user_properties,
        )
        payload = as_bytes(payload)
        name = encode(f"message {self.published}: topic", topic, TopicError)
        status = waiting.midge_publish(self._broker, name, payload, len(payload), told.options)
        if status:
            told.fail(status, f"message {self.published}")
        self.published += 1


def _alike(batch: list[Sequence[Any]]) -> tuple[Sequence[str], Sequence[bytes], tuple[Any, Any]] | None:
    """Topics, payloads and the kind of messages that are alike, of a str and bytes; None if they are not."""
    try:
        size = len(batch[0])
        if not 2 <= size <= 4 or set(map(len, batch)) != {size}:
            return None
        topics, payloads, *more = zip(*batch)
    except TypeError:
        return None  # one of them is nothing that could be published; those before it are
    if set(map(type, topics)) != {str} or set(map(type, payloads)) != {bytes}:
        return None
    if any(values.count(values[0]) != len(values) for values in more):
        return None
    qos, retain = ([values[0] for values in more] + [0, False][len(more) :])[:2]
    return topics, payloads, (qos, retain)


_AS_IT_IS = object()
"""In place of a QoS: the message is a Message, which is published with its properties."""


def _address(data: bytes) -> int:
    """Where the bytes of an object are, for as long as it lives."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
