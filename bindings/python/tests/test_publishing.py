"""Publishing without a copy, and until the message is safe."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from conftest import PATIENCE

import midge
import midge.aio
from midge import _publish


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
    with pytest.raises(midge.ArgumentError, match="3000000 bytes"):
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
            await broker.publish_acknowledged("t", "x", timeout=PATIENCE)
            assert (await messages.get(PATIENCE)).payload == b"x"
            broker.publish_owned("t", bytes(10_000))
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
