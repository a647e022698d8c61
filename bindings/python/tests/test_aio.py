"""midge.aio: the event loop, its file descriptor, cancelling."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import sys
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, Callable

import pytest
from conftest import PATIENCE, TOP, finished, refuses

import midge
import midge.aio
from midge import _hub

Test = Callable[..., Coroutine[Any, Any, None]]


class Oops(Exception):
    """What a callback raises."""


def runs(test: Test) -> Callable[..., None]:
    """Runs a coroutine function as a test."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        asyncio.run(asyncio.wait_for(test(**arguments), PATIENCE))

    return run


def started() -> midge.aio.Broker:
    return midge.aio.Broker("127.0.0.1:0")


@runs
async def test_a_message_arrives() -> None:
    async with started() as broker:
        assert broker.address[1] > 0
        assert broker.addresses == {"tcp": broker.address}
        async with broker.subscribe("sensors/+/temp", qos=1) as messages:
            broker.publish("sensors/a/temp", "21.5", qos=1, content_type="text/plain")
            message = await messages.get()
        properties = midge.Properties(content_type="text/plain")
        assert message == midge.Message("sensors/a/temp", b"21.5", 1, False, properties)


@runs
async def test_retained_messages_and_options() -> None:
    async with started() as broker:
        broker.publish("t", "kept", retain=True)
        async with broker.subscribe("t", identifier=5) as all_of_it, broker.subscribe("t", retain_handling=2) as new:
            broker.publish("t", "now")
            first, second = await all_of_it.get(), await all_of_it.get()
            assert (first.payload, first.retain, first.properties.subscription_identifiers) == (b"kept", True, (5,))
            assert second.payload == (await new.get()).payload == b"now"


@runs
async def test_iteration_ends_when_the_broker_stops() -> None:
    broker = await started().start()
    seen: list[bytes] = []

    async def consume() -> None:
        async for message in broker.subscribe("t"):
            seen.append(message.payload)

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(0)
    broker.publish_many([("t", str(index)) for index in range(5000)])
    await broker.stop()
    await consumer
    assert seen == [str(index).encode() for index in range(5000)]
    with pytest.raises(midge.Stopped):
        broker.subscribe("t")
    await broker.stop()


@runs
async def test_iteration_ends_when_the_broker_is_stopped_elsewhere() -> None:
    broker = await started().start()
    messages = broker.subscribe("t")
    waiting = asyncio.ensure_future(messages.get())
    await asyncio.sleep(0)
    thread = threading.Thread(target=broker.sync.stop)
    thread.start()
    with pytest.raises(midge.Stopped):
        await waiting
    thread.join(PATIENCE)
    assert [message async for message in messages] == []
    await broker.stop()


@runs
async def test_closing_ends_whoever_waits_and_keeps_what_is_there() -> None:
    async with started() as broker:
        messages = broker.subscribe("t")
        waiting = asyncio.ensure_future(messages.get())
        await asyncio.sleep(0)
        messages.close()
        messages.close()
        with pytest.raises(midge.Stopped):
            await waiting
        with broker.subscribe("t") as other:
            broker.publish("t", "left")
        assert broker.subscriptions() == []
        assert (await other.get()).payload == b"left"
        with pytest.raises(midge.Stopped):
            await other.get()


@runs
async def test_time_runs_out() -> None:
    async with started() as broker, broker.subscribe("t") as messages:
        for timeout in (0, 0.01):
            with pytest.raises(midge.Timeout):
                await messages.get(timeout)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(messages.get(), timeout)
        broker.publish("t", "x")
        assert (await messages.get(PATIENCE)).payload == b"x"


@runs
async def test_batches() -> None:
    async with started() as broker, broker.subscribe("t") as messages:
        broker.publish_many([("t", str(index)) for index in range(700)])
        taken: list[midge.Message] = []
        while len(taken) < 700:
            batch = await messages.get_batch(100)
            assert 1 <= len(batch) <= 100
            taken += batch
        assert [int(message.payload) for message in taken] == list(range(700))
        with pytest.raises(ValueError, match="max: 0 is less than 1"):
            await messages.get_batch(0)


@runs
async def test_a_task_that_is_cancelled_takes_no_message_with_it() -> None:
    async with started() as broker, broker.subscribe("t") as messages:
        first, second = asyncio.ensure_future(messages.get()), asyncio.ensure_future(messages.get())
        await asyncio.sleep(0)
        broker.publish("t", "1")
        while not len(messages):
            await asyncio.sleep(0)
        first.cancel()  # after it was woken, before it ran
        assert (await second).payload == b"1"
        with contextlib.suppress(asyncio.CancelledError):
            await first
        assert first.cancelled()


@runs
async def test_a_full_inbox() -> None:
    async with started() as broker:
        newest = broker.subscribe("t", capacity=3)
        oldest = broker.subscribe("t", capacity=3, overflow="drop_oldest")
        narrow = broker.subscribe("t", max_bytes=2, overflow="drop_oldest")
        other = broker.subscribe("t")
        for index in range(5):
            broker.publish("t", str(index))
        broker.publish("t", "long")
        for _ in range(6):
            await other.get()
        assert [m.payload for m in await newest.get_batch()] == [b"0", b"1", b"2"]
        assert [m.payload for m in await oldest.get_batch()] == [b"3", b"4", b"long"]
        assert [m.payload for m in await narrow.get_batch()] == [b"3", b"4"]
        assert (newest.dropped, oldest.dropped, narrow.dropped, other.dropped) == (3, 3, 4, 0)
        assert broker.dropped == 0


@runs
async def test_bounds_are_those_of_the_settings_unless_a_subscription_has_its_own() -> None:
    config = {"queue.capacity": 2, "queue.max_bytes": "2KiB"}
    async with midge.aio.Broker("127.0.0.1:0", config) as broker:
        few, small, read = broker.subscribe("few"), broker.subscribe("small", capacity=9), broker.subscribe("read")
        more = broker.subscribe("few", capacity=3)
        one = broker.subscribe("few", capacity=1, max_bytes=1)
        for topic, payload in (("few", b"x"), ("small", bytes(1000))):
            for _ in range(3):
                broker.publish(topic, payload)
                broker.publish("read")
                await read.get()  # the loop has read what came before
        assert [(len(each), each.dropped) for each in (few, more, one, small)] == [(2, 1), (3, 0), (1, 2), (2, 1)]


@runs
async def test_what_the_loop_does_not_read_in_time_is_counted() -> None:
    assert _hub.BACKLOG >= 1000
    for backlog, capacity, dropped in ((4, 2, 6), (4, 8, 2)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_hub, "BACKLOG", backlog)
            async with midge.aio.Broker("127.0.0.1:0", {"queue.capacity": capacity}) as broker:
                assert broker.dropped == 0
                kept = [broker.subscribe("t"), broker.subscribe("t")]
                broker.publish_many([("t", "x")] * 5)
                assert broker.dropped == dropped
            assert broker.dropped == dropped
            del kept


@runs
async def test_a_message_that_comes_as_the_time_runs_out_is_taken() -> None:
    async with started() as broker, broker.subscribe("t") as messages:

        async def late() -> None:
            messages._inbox.put(midge.Message("t", b"late"))
            raise asyncio.TimeoutError

        messages._inbox.wait = late  # type: ignore[method-assign]
        assert (await messages.get(PATIENCE)).payload == b"late"


@runs
async def test_waking_passes_over_a_task_that_was_cancelled() -> None:
    async with started() as broker, broker.subscribe("t") as messages:
        first, second = asyncio.ensure_future(messages.get()), asyncio.ensure_future(messages.get())
        await asyncio.sleep(0)
        messages._inbox.waiters[0].cancel()  # before its task has run
        messages._inbox.put(midge.Message("t", b"1"))
        assert (await second).payload == b"1"
        with pytest.raises(asyncio.CancelledError):
            await first


@runs
async def test_a_stopped_broker_is_no_work_for_the_loop() -> None:
    """Its queue stays readable: the loop is told to look there no more."""
    broker = await started().start()
    messages = broker.subscribe("t")
    broker.sync.stop()
    with pytest.raises(midge.Stopped):
        await messages.get()
    assert broker._hub is not None
    assert not asyncio.get_running_loop().remove_reader(broker._hub._fd)
    await broker.stop()


@runs
async def test_the_loop_turns_to_other_work_between_batches() -> None:
    async with started() as broker, broker.subscribe("t", capacity=100_000) as messages:
        count = 4 * _hub.ROUNDS * _hub.BATCH
        broker.publish_many([("t", "x")] * count)
        broker._hub._readable()  # type: ignore[union-attr]
        assert len(messages) == _hub.ROUNDS * _hub.BATCH
        for _ in range(count):
            await messages.get()


@runs
async def test_a_subscription_that_is_refused_leaves_no_inbox() -> None:
    async with started() as broker:
        broker.subscribe("t")
        with pytest.raises(midge.TopicError):
            broker.subscribe("a#")
        assert broker._hub is not None
        await asyncio.sleep(0)  # what was forgotten ends
        assert broker._hub._inboxes == {}


@runs
async def test_closing_a_handler_waits_for_what_was_left() -> None:
    seen: list[bytes] = []

    async def callback(message: midge.Message) -> None:
        await asyncio.sleep(0)
        seen.append(message.payload)

    async with started() as broker:
        handler = broker.on("t", callback)
        broker.publish_many([("t", "1"), ("t", "2"), ("t", "3")])
        await handler.close()
        assert seen == [b"1", b"2", b"3"]


@runs
async def test_a_callback_may_close_its_handler() -> None:
    closed = asyncio.Event()

    async def callback(message: midge.Message) -> None:
        await handler.close()
        closed.set()

    async with started() as broker:
        handler = broker.on("t", callback)
        broker.publish("t")
        await closed.wait()
        assert broker.subscriptions() == []


@runs
async def test_stopping_hands_the_grace_on() -> None:
    broker = await started().start()
    stop, given = broker.sync.stop, []

    def noted(grace: float | None = None) -> None:
        given.append(grace)
        stop(grace)

    broker.sync.stop = noted  # type: ignore[method-assign]
    await broker.stop(0.5)
    assert given == [0.5]


@runs
async def test_what_is_refused() -> None:
    broker = started()
    with pytest.raises(midge.StateError, match="not started"):
        broker.publish("t")
    async with broker:
        with pytest.raises(midge.TopicError):
            broker.subscribe("a#")
        for options in ({"capacity": 0}, {"max_bytes": -1}, {"overflow": "explode"}, {"qos": 3}):
            with pytest.raises(midge.ArgumentError) as caught:
                broker.subscribe("t", **options)
            assert next(iter(options)) in str(caught.value)
        with pytest.raises(TypeError):
            broker.subscribe("t", wrong=1)
        assert broker.subscriptions() == []
    with pytest.raises(midge.AddressInUse), midge.Broker("127.0.0.1:0") as other:
        await midge.aio.Broker("{}:{}".format(*other.address)).start()


@runs
async def test_a_view_of_a_broker_that_was_started_elsewhere() -> None:
    with midge.Broker("127.0.0.1:0") as sync:
        async with midge.aio.Broker.of(sync) as broker, broker.subscribe("t") as messages:
            threading.Thread(target=sync.publish, args=("t", "from a thread")).start()
            assert (await messages.get()).payload == b"from a thread"
            left = broker.subscribe("t")
        with pytest.raises(midge.Stopped):
            await left.get()
        assert sync.publish_many([("t", "x")]) == 1
        assert sync.stats().messages_published == 2


@runs
async def test_callbacks() -> None:
    seen: asyncio.Queue[bytes] = asyncio.Queue()
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[assignment]
    logging.getLogger("midge").addHandler(handler)
    try:

        async def callback(message: midge.Message) -> None:
            if message.payload == b"bad":
                raise Oops
            await seen.put(message.payload)

        async with started() as broker:
            async with broker.on("t", callback) as on, broker.on("u", lambda message: seen.put_nowait(b"plain")):
                broker.publish("t", "bad")
                broker.publish("t", "good")
                assert await seen.get() == b"good"
                broker.publish("u")
                assert await seen.get() == b"plain"
                assert (on.filter, on.dropped) == ("t", 0)
            assert broker.subscriptions() == []
    finally:
        logging.getLogger("midge").removeHandler(handler)
    (record,) = records
    assert "'t'" in record.getMessage()


@runs
async def test_a_forgotten_subscription_unsubscribes() -> None:
    async with started() as broker:
        broker.subscribe("t")
        assert broker.subscriptions() == []


def garbage(broker: midge.aio.Broker, filter: str) -> None:
    """A subscription that only the collector can find."""
    cycle: list[Any] = [broker.subscribe(filter)]
    cycle.append(cycle)


@contextlib.contextmanager
def collecting(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """No collection but those of a test."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        patch.undo()


@runs
async def test_a_collection_in_the_middle_of_reading_lets_no_message_overtake() -> None:
    read_tagged, patch = _hub.read_tagged, pytest.MonkeyPatch()

    def reading(batch: Any) -> Iterator[tuple[int, midge.Message]]:
        for number, tagged in enumerate(read_tagged(batch)):
            if number == 1:
                gc.collect()
            yield tagged

    patch.setattr(_hub, "read_tagged", reading)
    count = 3 * _hub.BATCH
    async with started() as broker:
        with collecting(patch), broker.subscribe("t") as messages:
            garbage(broker, "forgotten")
            broker.publish_many(("t", str(number)) for number in range(count))
            assert [(await messages.get()).payload for _ in range(count)] == [b"%d" % n for n in range(count)]
            assert [info.filter for info in broker.subscriptions()] == ["t"]
            assert broker._hub is not None
            await asyncio.sleep(0)
            assert len(broker._hub._inboxes) == 1


@runs
async def test_a_subscription_that_is_closed_in_the_middle_of_reading_lets_no_message_overtake() -> None:
    """As by a finalizer of the program's own."""
    read_tagged, patch = _hub.read_tagged, pytest.MonkeyPatch()
    async with started() as broker, broker.subscribe("t") as messages:
        other = broker.subscribe("t", capacity=10_000)

        def reading(batch: Any) -> Iterator[tuple[int, midge.Message]]:
            for number, tagged in enumerate(read_tagged(batch)):
                if number == 1:
                    other.close()
                yield tagged

        patch.setattr(_hub, "read_tagged", reading)
        count = 3 * _hub.BATCH
        with collecting(patch):
            broker.publish_many(("t", str(number)) for number in range(count))
            for each in (messages, other):
                assert [(await each.get()).payload for _ in range(count)] == [b"%d" % n for n in range(count)]
            with pytest.raises(midge.Stopped):
                await other.get()


@pytest.mark.parametrize("way", ["stop", "elsewhere"])
def test_a_collection_in_the_middle_of_the_end_leaves_no_task_waiting(way: str) -> None:
    end, patch = _hub.Inbox.end, pytest.MonkeyPatch()

    def ending(inbox: _hub.Inbox) -> None:
        end(inbox)
        gc.collect()

    async def main() -> None:
        broker = await started().start()
        kept = [broker.subscribe(str(number)) for number in range(3)]
        tasks = [asyncio.ensure_future(messages.get()) for messages in kept]
        await asyncio.sleep(0)
        with collecting(patch):
            patch.setattr(_hub.Inbox, "end", ending)
            garbage(broker, "forgotten")
            if way == "elsewhere":
                broker.sync.stop()
            else:
                await broker.stop()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(ended, midge.Stopped)
        await broker.stop()

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


@runs
async def test_a_subscription_that_another_thread_collects_ends_on_the_thread_of_its_loop() -> None:
    end, patch, threads = _hub.Inbox.end, pytest.MonkeyPatch(), []

    def ending(inbox: _hub.Inbox) -> None:
        threads.append(threading.current_thread())
        end(inbox)

    async with started() as broker, broker.subscribe("t") as messages:
        with collecting(patch):
            patch.setattr(_hub.Inbox, "end", ending)
            garbage(broker, "forgotten")
            collector = threading.Thread(target=gc.collect)
            collector.start()
            collector.join(PATIENCE)
            assert [info.filter for info in broker.subscriptions()] == ["t"]
            broker.publish("t")
            await messages.get()
            await asyncio.sleep(0)
            assert threads == [threading.current_thread()]


@pytest.mark.parametrize("count", [10, 2 * _hub.BATCH])
@runs
async def test_an_exception_of_a_signal_handler_leaves_nothing_unread(count: int) -> None:
    """What was read when it raised, and what was not, arrives; it may cost the one message that was being put."""

    class Raised(Exception):
        pass

    put, patch, told = _hub.Inbox.put, pytest.MonkeyPatch(), []

    def putting(inbox: _hub.Inbox, message: midge.Message) -> None:
        put(inbox, message)
        if message.payload == b"3":
            patch.undo()
            raise Raised

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    async with started() as broker, broker.subscribe("t") as messages:
        patch.setattr(_hub.Inbox, "put", putting)
        broker.publish_many(("t", str(number)) for number in range(count))
        assert [(await messages.get(PATIENCE)).payload for _ in range(count)] == [b"%d" % n for n in range(count)]
    assert [type(exception) for exception in told] == [Raised]


@pytest.mark.parametrize("kept", ["nothing", "subscription", "handler", "task"])
@runs
async def test_a_forgotten_broker_with_subscriptions_stops(kept: str) -> None:
    told: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: told.append(context))

    async def start() -> tuple[tuple[str, int], Any]:
        broker = await started().start()
        heard = asyncio.Event()

        async def callback(message: midge.Message) -> None:
            assert broker.address
            heard.set()

        handler, messages = broker.on("t", callback), broker.subscribe("t")
        task = loop.create_task(messages.get_batch(10)) if kept == "task" else None
        broker.publish("t")
        await heard.wait()
        if task is not None:
            await task
            task = loop.create_task(messages.get())
        return broker.address, {"handler": handler, "subscription": messages, "task": task}.get(kept)

    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    address, keeps = await start()
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0)  # the loop lets go of the descriptor
    assert refuses(address) == (keeps is None)
    if kept == "task":
        keeps.cancel()
        await asyncio.wait([keeps])
    del keeps
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0)
    assert refuses(address)
    assert len(os.listdir("/proc/self/fd")) == before
    assert told == []


def test_a_broker_that_is_forgotten_with_its_loop_stops() -> None:
    async def main() -> tuple[str, int]:
        broker = await started().start()
        broker.subscribe("t")
        broker.on("u", print)
        return broker.address

    loop = asyncio.new_event_loop()
    address = loop.run_until_complete(main())
    loop.close()
    gc.collect()
    assert refuses(address)


@runs
async def test_other_threads_may_publish_and_look_and_not_subscribe() -> None:
    async with started() as broker, broker.subscribe("t") as messages:

        def work() -> int:
            with pytest.raises(RuntimeError):
                broker.subscribe("u")
            broker.publish_owned("t", "1")
            broker.publish_many([("t", "2")])
            assert (broker.clients(), broker.retained(), len(broker.subscriptions())) == ([], [], 1)
            assert broker.stats().messages_published == 2
            return broker.publish("t", "3")

        assert await asyncio.get_running_loop().run_in_executor(None, work) == 1
        assert [(await messages.get(PATIENCE)).payload for _ in range(3)] == [b"1", b"2", b"3"]


@runs
async def test_cancelling_what_holds_a_broker() -> None:
    running = asyncio.Event()
    address: list[tuple[str, int]] = []

    async def serve() -> None:
        async with started() as broker, broker.subscribe("t") as messages:
            address.append(broker.address)
            running.set()
            await messages.get()

    task = asyncio.create_task(serve())
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address[0])


@runs
async def test_a_thousand_subscriptions_need_no_thread_and_one_descriptor() -> None:
    async with started() as broker:
        warm = broker.subscribe("warm")
        gc.collect()  # what earlier tests left in cycles
        before = descriptors(), threads()
        got: list[int] = [0] * 1000

        async def consume(number: int) -> None:
            async with broker.subscribe(f"t/{number}") as messages:
                async for message in messages:
                    got[number] += int(message.payload)

        tasks = [asyncio.create_task(consume(number)) for number in range(1000)]
        await asyncio.sleep(0)
        assert len(broker.subscriptions()) == 1001
        assert (descriptors(), threads()) == before
        broker.publish_many((f"t/{index % 1000}", b"1") for index in range(20_000))
        broker.publish("warm")
        await warm.get()
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        assert got == [20] * 1000
        assert len(broker.subscriptions()) == 1
        assert (descriptors(), threads()) == before


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_one_loop_after_the_other() -> None:
    """A loop that is closed under its subscriptions does no harm to the broker, nor to the next loop."""
    with midge.Broker("127.0.0.1:0") as sync:

        async def use() -> bytes:
            messages = midge.aio.Broker.of(sync).subscribe("t")
            sync.publish("t", "x")
            return (await messages.get(PATIENCE)).payload

        assert asyncio.run(use()) == b"x"
        assert asyncio.run(use()) == b"x"

        broker = midge.aio.Broker.of(sync)

        async def subscribe() -> midge.aio.Subscription:
            return broker.subscribe("t")

        kept = asyncio.run(subscribe())
        with pytest.raises(midge.StateError, match="another event loop"):
            asyncio.run(subscribe())
        kept.close()
    assert sync.stats().messages_published == 2


def test_a_loop_that_ends_leaves_no_descriptor() -> None:
    with midge.Broker("127.0.0.1:0") as sync:

        async def use() -> None:
            messages = midge.aio.Broker.of(sync).subscribe("t")
            sync.publish("t")
            await messages.get(PATIENCE)

        gc.collect()  # what earlier tests left in cycles
        before = descriptors()
        for _ in range(3):
            asyncio.run(use())
        gc.collect()
        assert descriptors() == before
        assert sync.subscriptions() == []


def test_a_subscription_may_be_closed_when_its_loop_is_gone() -> None:
    """What its queue holds is not read then, by this thread or by another loop."""
    with midge.Broker("127.0.0.1:0") as sync:
        broker = midge.aio.Broker.of(sync)

        async def subscribe() -> midge.aio.Subscription:
            return broker.subscribe("t")

        async def close(messages: midge.aio.Subscription) -> None:
            messages.close()

        for end in (lambda kept: kept.close(), lambda kept: asyncio.run(close(kept))):
            broker = midge.aio.Broker.of(sync)
            kept = asyncio.run(subscribe())
            sync.publish("t", "x")
            end(kept)
            assert len(kept) == 0
            assert sync.subscriptions() == []
            assert broker._hub is not None
            broker._hub.end()  # no reader is left to remove


def test_without_a_loop() -> None:
    with midge.Broker("127.0.0.1:0") as sync, pytest.raises(RuntimeError):
        midge.aio.Broker.of(sync).subscribe("t")


def test_the_example_of_a_thousand_subscriptions() -> None:
    program = TOP / "examples" / "python" / "asyncio_thousand.py"
    command = [sys.executable, str(program), "--subscriptions", "100", "--messages", "3000"]
    ended = finished(command)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[2].startswith("one each: 3,000 messages in ")
    assert lines[5].startswith("all of them each: 3,000 messages in ")
    assert [line.partition(":")[0] for line in (lines[3], lines[6])] == ["cancelled, 0 subscriptions"] * 2
    open_ones = {line.partition(": ")[2].partition(";")[0] for line in (lines[1], lines[3], lines[4], lines[6])}
    assert len(open_ones) == 1


@runs
async def test_more_retained_messages_than_an_inbox_holds_all_arrive() -> None:
    async with started() as broker:
        for index in range(100):
            broker.publish(f"r/{index}", "kept", retain=True)
        for overflow in ("drop_newest", "drop_oldest"):
            messages = broker.subscribe("#", capacity=5, overflow=overflow)
            other = broker.subscribe("live")
            for index in range(5):
                broker.publish("live", str(index))
            for _ in range(5):
                await other.get()
            got = [await messages.get() for _ in range(105)]
            assert len({m.topic for m in got if m.retain}) == 100
            assert [m.payload for m in got if not m.retain] == [b"0", b"1", b"2", b"3", b"4"]
            assert messages.dropped == 0
            messages.close()
