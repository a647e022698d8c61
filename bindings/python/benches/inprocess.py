"""How fast Python publishes and takes messages inside the process, beside bare calls through ctypes in the same run.

    python bindings/python/benches/inprocess.py [--messages 100000] [--rounds 7]

Rounds alternate between the rows; printed are the median, the spread, and the ratio to the bare call: messages per
second of the thread's processor time, so that a busy machine disturbs little. The bare call is midge_publish with NULL
for the broker, which answers at once: what ctypes costs for these five arguments.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
import time
from typing import Callable

import midge
from midge._library import quick

PAYLOAD = b"x" * 64


def rows(broker: midge.Broker, messages: midge.Subscription, count: int) -> dict[str, Callable[[], float]]:
    """What is measured: each gives the seconds that `count` took."""
    call = quick.midge_publish
    batch = [("a/b", PAYLOAD)] * count

    def timed(work: Callable[[], object]) -> float:
        begun = time.thread_time()
        work()
        return time.thread_time() - begun

    def drain() -> None:
        while len(messages):
            messages.get_batch(256)

    def bare() -> float:
        def work() -> None:
            for _ in range(count):
                call(None, b"a/b", PAYLOAD, 64, None)

        return timed(work)

    def one_by_one() -> float:
        def work() -> None:
            publish = broker.publish
            for _ in range(count):
                publish("a/b", PAYLOAD)

        drain()
        return timed(work)

    def many() -> float:
        drain()
        return timed(lambda: broker.publish_many(batch))

    def take() -> float:
        def work() -> None:
            left = count
            while left:
                left -= len(messages.get_batch(256))

        drain()
        broker.publish_many(batch)
        return timed(work)

    return {
        "bare ctypes call": bare,
        "publish, one by one": one_by_one,
        "publish_many": many,
        "get_batch(256)": take,
    }


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    seen: dict[str, list[float]] = {}
    settings = {"queue.capacity": given.messages, "queue.max_bytes": "1GiB"}
    with midge.Broker("127.0.0.1:0", settings) as broker, broker.subscribe("a/b") as messages:
        for _ in range(given.rounds):
            for name, row in rows(broker, messages, given.messages).items():
                seen.setdefault(name, []).append(given.messages / row())
        assert messages.dropped == 0
    print(f"CPython {sys.version.split()[0]}, ctypes {ctypes.__version__}, {given.rounds} rounds of {given.messages:,}")
    bare = statistics.median(seen["bare ctypes call"])
    for name, rates in seen.items():
        middle = statistics.median(rates)
        print(f"{name:20} {middle:12,.0f}/s  {min(rates):12,.0f} to {max(rates):12,.0f}  {middle / bare:5.2f} x bare")


if __name__ == "__main__":
    main()
