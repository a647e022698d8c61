"""Queues, iteration, callbacks."""

from __future__ import annotations

import functools
import itertools
import logging
import queue
import threading

import pytest
from conftest import PATIENCE, interrupted, until

import midge
from midge._subscription import Queue


def test_time_runs_out(broker: midge.Broker) -> None:
    with broker.subscribe("t") as messages:
        for timeout in (0, -1, 0.01):
            with pytest.raises(midge.Timeout) as caught:
                messages.get(timeout=timeout)
            assert isinstance(caught.value, TimeoutError)
            with pytest.raises(midge.Timeout):
                messages.get_batch(10, timeout=timeout)


def test_batches_are_bounded_and_lose_nothing(broker: midge.Broker) -> None:
    with broker.subscribe("t") as messages:
        for index in range(10):
            broker.publish("t", str(index))
        assert len(messages) == 10
        taken = [messages.get(timeout=PATIENCE)]
        assert len(messages) == 9, "those that were taken from the library with it still wait"
        for most in (3, 100):
            batch = messages.get_batch(most, timeout=PATIENCE)
            assert 1 <= len(batch) <= most
            taken += batch
        while len(taken) < 10:
            taken += messages.get_batch(timeout=PATIENCE)
        assert [int(message.payload) for message in taken] == list(range(10))
        with pytest.raises(ValueError, match="max: 0 is less than 1"):
            messages.get_batch(0)


def test_a_full_queue_drops_the_newest(broker: midge.Broker) -> None:
    with broker.subscribe("t", capacity=3) as messages:
        for index in range(5):
            broker.publish("t", str(index))
        assert (len(messages), messages.dropped) == (3, 2)
        assert [m.payload for m in messages.get_batch(10, timeout=PATIENCE)] == [b"0", b"1", b"2"]
    assert broker.stats().messages_dropped_local_queue_full == 2


def test_a_full_queue_drops_the_oldest(broker: midge.Broker) -> None:
    with broker.subscribe("t", capacity=3, overflow="drop_oldest") as messages:
        for index in range(5):
            broker.publish("t", str(index))
        assert (len(messages), messages.dropped) == (3, 2)
        taken = []
        while len(taken) < 3:
            taken += messages.get_batch(10, timeout=PATIENCE)
        assert [m.payload for m in taken] == [b"2", b"3", b"4"]


def test_the_smallest_bounds(broker: midge.Broker) -> None:
    with broker.subscribe("t", capacity=1) as one, broker.subscribe("t", max_bytes=1) as small:
        for _ in range(2):
            broker.publish("t", "")
        assert (len(one), one.dropped) == (1, 1)
        assert (len(small), small.dropped) == (1, 1), "an empty queue takes a message of any size"


def test_a_queue_bounded_by_bytes(broker: midge.Broker) -> None:
    with broker.subscribe("t", max_bytes=10_000) as messages:
        for _ in range(5):
            broker.publish("t", bytes(3000))
        assert (len(messages), messages.dropped) == (3, 2)


def test_the_capacity_is_a_setting() -> None:
    with midge.Broker("127.0.0.1:0", {"queue.capacity": 2}) as broker, broker.subscribe("t") as messages:
        for _ in range(3):
            broker.publish("t")
        assert (len(messages), messages.dropped) == (2, 1)


def test_wrong_options_are_refused(broker: midge.Broker) -> None:
    for options in (
        {"capacity": 0},
        {"capacity": -1},
        {"max_bytes": 0},
        {"overflow": "explode"},
        {"qos": 3},
        {"retain_handling": 3},
        {"identifier": -1},
        {"identifier": 268_435_456},
    ):
        with pytest.raises(midge.ArgumentError) as caught:
            broker.subscribe("t", **options)  # type: ignore[arg-type]
        assert next(iter(options)) in str(caught.value)
    assert broker.subscriptions() == []


def test_iteration_ends_when_the_broker_stops() -> None:
    broker = midge.Broker("127.0.0.1:0")
    messages = broker.subscribe("t")
    seen: queue.SimpleQueue[object] = queue.SimpleQueue()

    def consume() -> None:
        for message in messages:
            seen.put(message.payload)
        seen.put("end")

    consumer = threading.Thread(target=consume)
    consumer.start()
    broker.publish("t", "one")
    assert seen.get(timeout=PATIENCE) == b"one"
    broker.publish("t", "two")
    broker.stop()
    assert seen.get(timeout=PATIENCE) == b"two"
    assert seen.get(timeout=PATIENCE) == "end"
    consumer.join(PATIENCE)
    assert not consumer.is_alive()


def test_iteration_on_the_main_thread_ends_when_another_stops() -> None:
    broker = midge.Broker("127.0.0.1:0")
    messages = broker.subscribe("t")
    started = threading.Event()

    def stop() -> None:
        started.wait(PATIENCE)
        broker.publish("t", "last")
        broker.stop()

    threading.Thread(target=stop).start()
    started.set()
    assert [message.payload for message in messages] == [b"last"]
    with pytest.raises(midge.Stopped):
        messages.get(timeout=PATIENCE)


def test_closing_ends_a_waiting_thread(broker: midge.Broker) -> None:
    messages = broker.subscribe("t")
    ended = threading.Event()
    waiting = threading.Event()

    def consume() -> None:
        waiting.set()
        assert list(messages) == []
        ended.set()

    threading.Thread(target=consume).start()
    assert waiting.wait(PATIENCE)
    messages.close()
    messages.close()
    assert ended.wait(PATIENCE)
    assert broker.subscriptions() == []
    broker.publish("t")
    assert broker.stats().messages_dropped_no_subscriber == 1


def test_what_waits_survives_closing(broker: midge.Broker) -> None:
    with broker.subscribe("t") as messages:
        broker.publish("t", "1")
    assert messages.get(timeout=0).payload == b"1"
    with pytest.raises(midge.Stopped):
        messages.get(timeout=0)


def test_a_subscription_keeps_the_broker_alive() -> None:
    broker = midge.Broker("127.0.0.1:0")
    messages = broker.subscribe("t")
    broker.publish("t", "1")
    del broker
    assert messages.get(timeout=PATIENCE).payload == b"1"


def test_a_forgotten_subscription_unsubscribes(broker: midge.Broker) -> None:
    broker.subscribe("t")
    assert broker.subscriptions() == []


def test_several_threads_share_the_messages(broker: midge.Broker) -> None:
    total, lock = [0], threading.Lock()
    done = threading.Event()
    messages = broker.subscribe("t", capacity=100_000)

    def consume() -> None:
        for _ in messages:
            with lock:
                total[0] += 1
                if total[0] == 2000:
                    done.set()

    threads = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2000):
        broker.publish("t", qos=1)
    assert done.wait(PATIENCE)
    messages.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert total[0] == 2000


def test_a_shared_subscription(broker: midge.Broker) -> None:
    with broker.subscribe("$share/g/t") as one, broker.subscribe("$share/g/t") as other:
        for _ in range(10):
            broker.publish("t")
        assert len(one) + len(other) == 10


def test_a_callback_is_called(broker: midge.Broker) -> None:
    seen: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    with broker.on("a/+", lambda message: seen.put((message.topic, message.payload))):
        broker.publish("a/1", "x")
        assert seen.get(timeout=PATIENCE) == ("a/1", b"x")
    assert broker.subscriptions() == []


def test_a_callback_may_publish_and_subscribe(broker: midge.Broker) -> None:
    with broker.subscribe("answer", qos=1) as answers:
        broker.on("question", lambda message: broker.publish("answer", message.payload[::-1], qos=1))
        broker.publish("question", "abc")
        assert answers.get(timeout=PATIENCE).payload == b"cba"


def test_a_callback_that_raises_is_logged_and_called_again(
    broker: midge.Broker, caplog: pytest.LogCaptureFixture
) -> None:
    seen: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def callback(message: midge.Message) -> None:
        if message.payload == b"bad":
            raise KeyError("oops")
        seen.put(message.payload)

    with caplog.at_level(logging.ERROR, logger="midge"):
        broker.on("t", callback)
        broker.publish("t", "bad")
        broker.publish("t", "good")
        assert seen.get(timeout=PATIENCE) == b"good"
    (record,) = caplog.records
    assert record.name == "midge"
    assert "'t'" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


def test_a_callback_may_close_itself(broker: midge.Broker) -> None:
    closed = threading.Event()
    handlers: queue.SimpleQueue[midge.Handler] = queue.SimpleQueue()

    def callback(message: midge.Message) -> None:
        handlers.get(timeout=PATIENCE).close()
        closed.set()

    handlers.put(broker.on("t", callback))
    broker.publish("t")
    assert closed.wait(PATIENCE)
    assert broker.subscriptions() == []


def test_a_callback_may_stop_the_broker() -> None:
    broker = midge.Broker("127.0.0.1:0")
    stopped = threading.Event()

    def callback(message: midge.Message) -> None:
        broker.stop()
        stopped.set()

    broker.on("t", callback)
    broker.publish("t")
    assert stopped.wait(PATIENCE)


def test_callbacks_get_what_waits_when_the_broker_stops() -> None:
    seen = []
    gate = threading.Event()

    def callback(message: midge.Message) -> None:
        gate.wait(PATIENCE)
        seen.append(int(message.payload))

    broker = midge.Broker("127.0.0.1:0")
    handler = broker.on("t", callback)
    for index in range(1000):
        broker.publish("t", str(index))
    gate.set()
    broker.stop()
    assert seen == list(range(1000))
    handler.close()


def test_closing_a_handler_waits_for_its_call(broker: midge.Broker) -> None:
    begun, go, seen = threading.Event(), threading.Event(), []

    def callback(message: midge.Message) -> None:
        begun.set()
        go.wait(PATIENCE)
        seen.append(message.payload)

    handler = broker.on("t", callback)
    broker.publish("t", "1")
    broker.publish("t", "2")
    assert begun.wait(PATIENCE)
    closer = threading.Thread(target=handler.close, daemon=True)
    closer.start()
    until(broker, lambda: broker.subscriptions() == [], "the end of the subscription")
    assert closer.is_alive()
    go.set()
    closer.join(PATIENCE)
    assert not closer.is_alive()
    assert seen == [b"1"], "no further call begins"


def test_stopping_without_grace_abandons_what_waits() -> None:
    begun, go, seen = threading.Event(), threading.Event(), []

    def callback(message: midge.Message) -> None:
        begun.set()
        go.wait(PATIENCE)
        seen.append(message.payload)

    broker = midge.Broker("127.0.0.1:0")
    handler = broker.on("t", callback)
    broker.publish("t", "1")
    broker.publish("t", "2")
    assert begun.wait(PATIENCE)
    broker.stop(grace=0)
    assert seen == []
    go.set()
    handler.join(PATIENCE)
    assert seen == [b"1"]


def test_a_handler_ends_with_its_subscription(broker: midge.Broker) -> None:
    handler = broker.on("t", print)
    handler._calls.queue.close()
    handler._calls.thread.join(PATIENCE)
    assert not handler._calls.thread.is_alive()


def test_an_exception_of_a_signal_handler_leaves_no_lock_taken(broker: midge.Broker) -> None:
    def lock_of(messages: midge.Subscription) -> None:
        free.append(messages._queue._one_taker.acquire(blocking=False))

    free: list[bool] = []
    for place in itertools.count():
        with broker.subscribe("t") as messages:
            broker.publish("t")
            struck = interrupted([Queue.take, Queue._take], place, lambda: messages.get(timeout=PATIENCE))
            thread = threading.Thread(target=lock_of, args=(messages,))
            thread.start()
            thread.join(PATIENCE)
        if not struck:
            break
    if struck is None:
        pytest.skip("this Python tells a trace function of no opcodes")
    assert place > 5
    assert free == [True] * (place + 1)


@pytest.mark.parametrize("way", ["get", "get_batch"])
def test_an_exception_of_a_signal_handler_loses_no_message(broker: midge.Broker, way: str) -> None:
    """What `get` was about to return is back, too, and so is the order."""
    count = 600  # more than are taken from the library at once
    for place in itertools.count():
        with broker.subscribe("t") as messages:
            broker.publish_many(("t", str(number)) for number in range(count))
            take = messages.get if way == "get" else functools.partial(messages.get_batch, 10)
            struck = interrupted([Queue.take, Queue._take, Queue._refill], place, take)
            if not struck:
                break
            left: list[midge.Message] = []
            while len(left) < count:
                left += messages.get_batch(1000, timeout=PATIENCE)
            assert [message.payload for message in left] == [b"%d" % number for number in range(count)], place
    if struck is None:
        pytest.skip("this Python tells a trace function of no opcodes")
    assert place > 8
