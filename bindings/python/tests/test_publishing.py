"""Publishing without a copy, and until the message is safe."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import threading
import weakref
from typing import Any

import pytest
from conftest import PATIENCE, interrupted

import midge
import midge.aio
from midge import _hooks, _library, _publish
from midge._numbers import Numbers


class Buffer(bytearray):
    """A bytearray that can be referred to weakly."""


@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 300_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_a_payload_that_is_lent(broker: midge.Broker, size: int, kind: Any) -> None:
    data = bytes(index % 251 for index in range(size))
    with broker.subscribe("t") as messages:
        broker.publish_owned("t", kind(data), qos=1, content_type="image/png")
        message = messages.get(timeout=PATIENCE)
    assert (message.payload, message.qos, message.properties.content_type) == (data, 1, "image/png")
    del messages  # a queue keeps what was taken from it last
    assert not _publish._lent


def test_a_text_and_a_view_with_gaps(broker: midge.Broker) -> None:
    with broker.subscribe("t") as messages:
        broker.publish_owned("t", "ü" * 10_000)
        broker.publish_owned("t", memoryview(b"a-" * 10_000)[::2])
        broker.publish_owned("t", memoryview(bytearray(b"a-" * 10_000))[::2])
        payloads = [messages.get(timeout=PATIENCE).payload for _ in range(3)]
    assert payloads == ["ü".encode() * 10_000, b"a" * 10_000, b"a" * 10_000]


def test_a_buffer_is_kept_until_nobody_uses_it() -> None:
    with midge.Broker("127.0.0.1:0") as broker:
        buffer = Buffer(b"x" * 100_000)
        kept = weakref.ref(buffer)
        broker.publish_owned("t", buffer, retain=True)
        with pytest.raises(BufferError):
            buffer.append(1)
        del buffer
        gc.collect()
        assert kept() is not None
        assert broker.retained("t")[0].payload == b"x" * 100_000
        broker.publish("t", "", retain=True)
        assert kept() is None
        assert not _publish._lent


def test_a_payload_that_is_refused_is_given_back(broker: midge.Broker) -> None:
    for topic, options in (("a/#", {}), ("t", {"qos": 3}), ("t", {"expiry": -1})):
        with pytest.raises(ValueError, match=r"topic|qos|expiry"):
            broker.publish_owned(topic, bytes(10_000), **options)  # type: ignore[arg-type]
    with pytest.raises(midge.ArgumentError, match="makes a packet of 3000009 bytes"):
        broker.publish_owned("t", bytes(3_000_000))
    with pytest.raises(TypeError):
        broker.publish_owned("t", 5)  # type: ignore[arg-type]
    broker.stop()
    with pytest.raises(midge.Stopped):
        broker.publish_owned("t", bytes(10_000))
    assert not _publish._lent


def test_payloads_that_are_lent_when_the_interpreter_ends(run: Any) -> None:
    ended = run(
        """
        import midge
        broker = midge.Broker("127.0.0.1:0")
        messages = broker.subscribe("t")
        for index in range(10):
            broker.publish_owned("t", bytes(100_000), retain=True)
            broker.publish_owned(f"t/{index}", bytearray(100_000), retain=True)
        """
    )
    assert (ended.stdout, ended.stderr) == ("", "")


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_until_it_is_safe(broker: midge.Broker, qos: int) -> None:
    with broker.subscribe("t") as messages:
        broker.publish_acknowledged("t", "x", qos, True, timeout=PATIENCE, expiry=60)
        message = messages.get(timeout=PATIENCE)
    assert (message.payload, message.qos, message.properties.expiry) == (b"x", qos, 60)
    assert broker.retained("t")[0].payload == b"x"


def test_until_it_is_safe_and_refused(broker: midge.Broker) -> None:
    with pytest.raises(midge.TopicError):
        broker.publish_acknowledged("#", "x")
    with pytest.raises(midge.ArgumentError, match="qos"):
        broker.publish_acknowledged("t", "x", 3)
    with pytest.raises(TypeError, match="wrong"):
        broker.publish_acknowledged("t", "x", wrong=1)
    broker.stop()
    with pytest.raises(midge.Stopped):
        broker.publish_acknowledged("t", "x")


def test_until_it_is_safe_in_an_event_loop() -> None:
    async def main() -> None:
        async with midge.aio.Broker("127.0.0.1:0") as broker, broker.subscribe("t") as messages:
            assert await broker.publish_acknowledged("t", "x", timeout=PATIENCE) == 1
            assert (await messages.get(PATIENCE)).payload == b"x"
            assert broker.publish_owned("t", bytes(10_000)) == 1
            assert broker.publish("u", "x") == 0
            assert len((await messages.get(PATIENCE)).payload) == 10_000
            assert broker.retained() == []
            with pytest.raises(midge.TopicError):
                await broker.publish_acknowledged("#", "x")
        with pytest.raises(midge.Stopped):
            await broker.publish_acknowledged("t", "x")

    asyncio.run(main())
    assert not _publish._awaited


def test_until_it_is_safe_or_the_time_is_over_in_an_event_loop() -> None:
    """The word that comes too late is no error of the loop."""
    failures: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
        async with midge.aio.Broker("127.0.0.1:0") as broker, broker.subscribe("t") as messages:
            with pytest.raises(midge.Timeout, match="'t' is not safe within the time"):
                await broker.publish_acknowledged("t", "x", timeout=0)
            assert (await messages.get(PATIENCE)).payload == b"x"

    asyncio.run(main())
    assert failures == []


def test_an_end_that_cannot_be_told_is_logged(broker: midge.Broker, caplog: pytest.LogCaptureFixture) -> None:
    class Oops(Exception):
        pass

    def done(status: int) -> None:
        raise Oops

    broker._publish_with_callback("t", "x", 1, False, done)
    (record,) = caplog.records
    assert record.getMessage() == "the end of a publication cannot be told"


@pytest.mark.parametrize("topic", ["t", "#"])
def test_an_exception_of_a_signal_handler_leaves_no_payload_lent(topic: str) -> None:
    """One that was published is given back when nobody uses it, one that was not is not kept."""
    guarded = _library.guarded(print)
    for place in itertools.count():
        with midge.Broker(config={"listener.tcp.bind": "off"}) as broker, broker.subscribe("t") as messages:
            payload = bytearray(10_000)

            def publish(broker: midge.Broker = broker, payload: bytearray = payload) -> None:
                with contextlib.suppress(midge.TopicError):
                    broker.publish_owned(topic, payload)

            struck = interrupted([midge.Broker.publish_owned, _publish.publish_owned, guarded], place, publish)
            published = broker.stats().messages_published
            assert published == (topic == "t") or struck
            assert len(_publish._lent) == published, place
            if published:
                assert messages.get(timeout=PATIENCE).payload == bytes(10_000)
        messages.close()
        del messages, publish
        assert not _publish._lent
        payload.append(0)  # it is not exported any more
        if not struck:
            break
    if struck is None:
        pytest.skip("this Python tells a trace function of no opcodes")
    assert place > 8


@pytest.mark.parametrize("topic", ["t", "#"])
def test_an_exception_of_a_signal_handler_leaves_nothing_awaited(topic: str) -> None:
    guarded = _library.guarded(print)
    for place in itertools.count():
        with midge.Broker(config={"listener.tcp.bind": "off"}) as broker:
            told: list[int] = []

            def publish(broker: midge.Broker = broker, told: list[int] = told) -> None:
                with contextlib.suppress(midge.TopicError):
                    broker._publish_with_callback(topic, b"x", 1, False, told.append)

            struck = interrupted([_publish.publish_with_callback, guarded], place, publish)
            assert not _publish._awaited, place
            assert len(told) == broker.stats().messages_published
        if not struck:
            break
    if struck is None:
        pytest.skip("this Python tells a trace function of no opcodes")
    assert place > 4


def test_numbers_are_drawn_by_one_thread_at_a_time() -> None:
    """An interpreter without a lock of its own may give a count to two threads, or twice."""
    numbers = Numbers()

    class Count:
        def __next__(self) -> int:
            assert numbers._lock._is_owned()  # type: ignore[attr-defined]
            return next(counted)

    counted = itertools.count(1)
    numbers._next = Count()  # type: ignore[assignment]
    drawn: list[int] = []
    threads = [threading.Thread(target=lambda: drawn.extend(numbers.draw() for _ in range(500))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(drawn) == list(range(1, 2001))
    for user in (_hooks, _publish):
        assert isinstance(user._numbers, Numbers)
