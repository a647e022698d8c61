"""Start, use and stop of brokers while everything happens at once: hooks, callbacks, kicks, take-overs, forks, asyncio,
forgotten objects and the garbage collector. After each round nothing is left, and what was acknowledged was told.

    storm.py [SECONDS] [SEED]
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import io
import itertools
import os
import random
import select
import signal
import socket
import sys
import threading
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import midge
import midge.aio

PATIENCE = float(os.environ.get("STORM_PATIENCE", "120"))
"""A round that takes longer hangs; the stacks of its threads are shown."""
NAMES = 3
SHARED = 9000

numbers = itertools.count()
given_back: Counter[int] = Counter()
forking = threading.Lock()
"""CPython's pools of threads, which asyncio uses, do not stand a fork by another thread ("release unlocked lock")."""


class Lent(bytearray):
    """A payload whose end can be seen."""


class Round:
    """One broker, and what was promised and told."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.acknowledged: list[bytes] = []
        self.heard: Counter[bytes] = Counter()
        self.stops = threading.Event()
        self.stopped = threading.Event()
        self.connected = 0
        self.disconnected = 0
        self.late = 0
        self.lent = 0
        self.failures: list[BaseException] = []
        config = {
            "runtime.worker_threads": self.dice.choice([1, 2, 4]),
            "hooks.max_waiting": 1_000_000,
        }
        self.broker = midge.Broker("127.0.0.1:0", config, hooks=self.hooks())

    def hooks(self) -> midge.Hooks:
        """Hooks that name the round, and so the broker."""
        hooks = midge.Hooks()

        @hooks.on_connected
        def come(_event: midge.Connected) -> None:
            self.connected += 1
            self.late += self.stopped.is_set()

        @hooks.on_disconnected
        def gone(_event: midge.Disconnected) -> None:
            self.disconnected += 1
            self.late += self.stopped.is_set()

        if self.dice.random() < 0.5:

            @hooks.authorize
            def may(request: midge.AccessRequest) -> bool:
                return request.client_id != "nobody" and self.broker is not None

        return hooks

    def payload(self) -> bytes:
        """A payload that no other has."""
        return b"%012d" % next(numbers)

    def taken(self, payload: bytes) -> None:
        """Notes what the broker has taken; what it takes while it stops may not be told."""
        if not self.stops.is_set():
            self.acknowledged.append(payload)

    def member(self, work: Callable[[Round, random.Random], None]) -> threading.Thread:
        """A thread at work."""
        dice = random.Random(self.dice.random())

        def run() -> None:
            try:
                work(self, dice)
            except BaseException as error:
                self.failures.append(error)

        thread = threading.Thread(target=run, name=work.__name__)
        thread.start()
        return thread


def until_stopped(work: Callable[[Round, random.Random], None]) -> Callable[[Round, random.Random], None]:
    """Work that is done again and again, until the broker says that it has stopped."""

    def run(round_: Round, dice: random.Random) -> None:
        while not round_.stopped.is_set():
            try:
                work(round_, dice)
            except midge.Stopped:
                return

    run.__name__ = work.__name__
    return run


@until_stopped
def be_a_client(round_: Round, dice: random.Random) -> None:
    """A connection that may end at any time."""
    address = round_.broker.address
    try:
        with socket.create_connection(address, PATIENCE) as connection:
            stream = connection.makefile("rb")
            name = b"c%d" % dice.randrange(NAMES)
            connection.sendall(b"\x10\x0e\x00\x04MQTT\x04" + dice.choice([b"\0", b"\2"]) + b"\0\0\0\2" + name)
            if not until(connection, stream, 0x20):
                return
            if dice.random() < 0.5:
                connection.sendall(b"\x82\x08\0\1\0\3t/0\1")
                if not until(connection, stream, 0x90):
                    return
            for number in range(dice.randrange(50)):
                payload = round_.payload()
                connection.sendall(b"\x32\x13\0\3t/0" + (number + 1).to_bytes(2, "big") + payload)
                if not until(connection, stream, 0x40):
                    return
                round_.acknowledged.append(payload)
    except socket.timeout:
        raise AssertionError("the broker neither answers nor closes") from None
    except OSError:
        time.sleep(0.001)


def until(connection: socket.socket, stream: io.BufferedReader, first: int) -> bool:
    """Reads packets until one begins with `first`, and acknowledges messages; False if the connection ends."""
    read = stream.read
    while True:
        head = read(2)
        body = read(head[1]) if len(head) == 2 else b""
        if len(head) < 2 or len(body) < head[1]:
            return False
        if head[0] == first:
            return True
        if head[0] & 0xF6 == 0x32:
            topic = int.from_bytes(body[:2], "big")
            connection.sendall(b"\x40\2" + body[2 + topic : 4 + topic])


@until_stopped
def publish(round_: Round, dice: random.Random) -> None:
    """In every way."""
    payload, qos = round_.payload(), dice.randrange(3)
    way = dice.randrange(4)
    if way == 0:
        round_.broker.publish("t/1", payload, qos)
    elif way == 1:
        round_.broker.publish_acknowledged("t/1", payload, qos)
    elif way == 2:
        round_.broker.publish_many([("t/1", payload, qos), ("own/x", b"")])
    else:
        lent = Lent(payload.ljust(SHARED, b"."))
        round_.lent += 1
        weakref.finalize(lent, given_back.update, [round_.seed])
        round_.broker.publish_owned("t/1", lent, qos)
    round_.taken(payload)
    time.sleep(dice.random() * 0.0005)


def hear(messages: midge.Subscription) -> Callable[[Round, random.Random], None]:
    """Takes everything, until the broker has stopped and nothing is left."""

    def hear(round_: Round, _dice: random.Random) -> None:
        while True:
            try:
                batch = messages.get_batch(timeout=PATIENCE)
            except midge.Stopped:
                return
            round_.heard.update(message.payload[:12] for message in batch)

    return hear


@until_stopped
def subscribe(round_: Round, dice: random.Random) -> None:
    """Subscriptions and callbacks come and go; some are forgotten."""

    def echo(_message: midge.Message) -> None:
        with contextlib.suppress(midge.Stopped):
            round_.broker.publish("own/echo")

    messages = round_.broker.subscribe("own/#", capacity=10)
    handler = round_.broker.on("t/0", echo)
    if dice.random() < 0.3:
        circle: list[object] = [messages, handler]
        circle.append(circle)
        return
    time.sleep(dice.random() * 0.01)
    messages.close()
    handler.close()


@until_stopped
def administrate(round_: Round, dice: random.Random) -> None:
    """Kicks, ends sessions, clears queues, looks."""
    broker, name = round_.broker, f"c{dice.randrange(NAMES)}"
    calls: list[Callable[[], object]] = [
        lambda: broker.kick(name),
        lambda: broker.end_session(name),
        lambda: broker.clear_queue(name),
        lambda: broker.queued(name, 10),
        broker.clients,
        broker.subscriptions,
        broker.stats,
    ]
    dice.choice(calls)()
    time.sleep(dice.random() * 0.003)


@until_stopped
def collect(_round: Round, dice: random.Random) -> None:
    """The garbage collector at any time."""
    gc.collect(dice.randrange(3))
    time.sleep(dice.random() * 0.005)


# CPython below 3.11.8 can hang in os.fork itself, in the child, when a thread that is not Python's enters it at that
# moment, as hooks do (CPython issue 112275). Such a child never tells that it is there.
FORK_CAN_HANG = sys.version_info < (3, 11, 8)


@until_stopped
def fork(round_: Round, dice: random.Random) -> None:
    """Children that find the broker unusable."""
    reader, writer = os.pipe()
    with forking, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writer, b"!")
            round_.broker.publish("t/1", "x")
        except midge.ForkedError:
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    try:
        status = wait_for(child, reader)
    finally:
        os.close(reader)
    assert status == 0, f"a child has ended with {status}"
    time.sleep(dice.random() * 0.03)


def wait_for(child: int, reader: int) -> int:
    """The status of a child; 0 for one that hangs in CPython before any line of its own."""
    end = time.monotonic() + PATIENCE / 2
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > end:
            is_there = bool(select.select([reader], [], [], 0)[0])
            os.kill(child, signal.SIGABRT if is_there else signal.SIGKILL)  # it shows where it hangs
            os.waitpid(child, 0)
            if not is_there and FORK_CAN_HANG:
                return 0
            raise AssertionError("a forked child hangs")
        time.sleep(0.001)


@until_stopped
def be_asynchronous(_round: Round, dice: random.Random) -> None:
    """A broker of an event loop, with subscriptions that are forgotten."""

    async def main() -> None:
        async with midge.aio.Broker("127.0.0.1:0") as broker:
            kept = broker.subscribe("t/#", capacity=1000)
            for number in range(50):
                broker.publish("t/1", str(number))
                if dice.random() < 0.2:
                    forgotten = broker.subscribe("t/1", capacity=5)
                    circle: list[object] = [forgotten]
                    circle.append(circle)
                    del forgotten, circle
                    gc.collect(0)
            payloads = [int((await asyncio.wait_for(kept.get(), PATIENCE)).payload) for _ in range(50)]
            assert payloads == list(range(50)), payloads
            await broker.publish_acknowledged("t/1", "safe")

    with forking:
        asyncio.run(main())


@until_stopped
def forget(_round: Round, _dice: random.Random) -> None:
    """A broker that nobody refers to but its own callback and hook."""
    named: list[object] = []
    hooks = midge.Hooks()
    hooks.on_connected(lambda _event: named.clear())
    broker = midge.Broker("127.0.0.1:0", hooks=hooks)
    named += [broker, broker.on("t", lambda _message: broker.publish("own"))]
    broker.publish("t")


def held() -> tuple[int, int]:
    """The descriptors and the threads of this process."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def play(seed: int) -> int:
    """One round; the number of messages that were acknowledged."""
    round_ = Round(seed)
    messages = round_.broker.subscribe("t/#", capacity=1_000_000, max_bytes=1 << 30)
    works = [be_a_client] * 4 + [publish, publish, subscribe, administrate, collect, fork, be_asynchronous, forget]
    crew = [round_.member(work) for work in [hear(messages), *works]]
    time.sleep(0.05 + round_.dice.random() * 0.3)
    round_.stops.set()
    grace = round_.dice.random() * 0.3
    stoppers = [threading.Thread(target=round_.broker.stop, args=(grace,)) for _ in range(round_.dice.randint(1, 2))]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()
    round_.stopped.set()
    for thread in crew:
        thread.join()
    for error in round_.failures:
        raise error
    missing = [payload for payload in round_.acknowledged if round_.heard[payload] != 1]
    assert not missing, f"acknowledged, but not told once: {[(one, round_.heard[one]) for one in missing]}"
    twice = [payload for payload, times in round_.heard.items() if times != 1]
    assert not twice, f"told more than once: {twice}"
    assert messages.dropped == 0
    stats = round_.broker.stats()
    assert (stats.clients_connected, stats.hooks_failed, stats.notices_lost) == (0, 0, 0), stats
    assert stats.sessions == len(round_.broker.clients())
    assert round_.connected == round_.disconnected, (round_.connected, round_.disconnected)
    assert round_.late == 0, f"{round_.late} notices after the stop"
    messages.close()
    lent, acknowledged = round_.lent, len(round_.acknowledged)
    del round_, messages, crew, stoppers
    for _ in range(int(PATIENCE / 0.01)):
        gc.collect()
        if given_back[seed] == lent:
            break
        time.sleep(0.01)
    assert given_back.pop(seed, 0) == lent, "a lent payload was not given back"
    return acknowledged


def settle(seconds: float, least: tuple[int, int]) -> tuple[int, int]:
    """What is held when what was forgotten is gone: `least`, or what is left after some seconds."""
    end = time.monotonic() + seconds
    while is_more(left := held(), least) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    return left


def is_more(left: tuple[int, int], most: tuple[int, int]) -> bool:
    """Whether there are more descriptors, or more threads."""
    return left[0] > most[0] or left[1] > most[1]


def main(seconds: float, first: int) -> None:
    """Rounds from a seed on, for some seconds."""
    faulthandler.enable()
    before = held()
    play(first)  # what is made once for the process is made now
    before, seed, acknowledged = settle(1, before), first, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seed += 1
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            acknowledged += play(seed)
            faulthandler.cancel_dump_traceback_later()
            left = settle(PATIENCE, before)
            assert not is_more(left, before), f"descriptors and threads: {left}, not {before}"
        except BaseException:
            print(f"round {seed} has failed: {Path(__file__).name} {seconds:g} {seed}", file=sys.stderr, flush=True)
            raise
    print(f"{seed - first} rounds from seed {first} on, {acknowledged} messages acknowledged and told")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(float(arguments[0]) if arguments else 3.0, int(arguments[1]) if len(arguments) > 1 else 1)
