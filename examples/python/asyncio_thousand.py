#!/usr/bin/env python3
"""A thousand in-process subscriptions in one event loop: no thread for each, and one file descriptor for all.

    python examples/python/asyncio_thousand.py [--subscriptions 1000] [--messages 200000]

Prints the rates at which messages arrive, with one subscriber for each and with all subscribers for each, and what is
left when every task was cancelled.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time

import midge.aio

AHEAD = 20_000
"""Messages that are published before the event loop reads again."""


class Listeners:
    """Tasks that count the messages of a subscription each."""

    def __init__(self, broker: midge.aio.Broker, filters: list[str]) -> None:
        """One task for each of the filters."""
        self.arrived = 0
        self._broker = broker
        self._tasks = [asyncio.create_task(self._listen(filter)) for filter in filters]

    async def _listen(self, filter: str) -> None:
        async with self._broker.subscribe(filter) as messages:
            async for _ in messages:
                self.arrived += 1

    async def cancel(self) -> None:
        """Cancels every task, and waits for their ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def measure(broker: midge.aio.Broker, what: str, filters: list[str], topics: list[str], each: int) -> None:
    """Publishes to the topics, each of which `each` subscribers hear, and prints how fast that was."""
    listeners = Listeners(broker, filters)
    await asyncio.sleep(0)  # they subscribe
    print(f"{len(broker.subscriptions())} subscriptions: {in_use()}")
    chunk = max(1, AHEAD // each // 10)
    published = 0
    begun = time.perf_counter()
    for start in range(0, len(topics), chunk):
        published += each * broker.publish_many([(topic, b"21.5") for topic in topics[start : start + chunk]])
        while published - listeners.arrived > AHEAD:
            await asyncio.sleep(0)
    while listeners.arrived < published:
        await asyncio.sleep(0)
    seconds = time.perf_counter() - begun
    print(f"{what}: {listeners.arrived:,} messages in {seconds:.2f} s, {listeners.arrived / seconds:,.0f}/s")
    await listeners.cancel()
    print(f"cancelled, {len(broker.subscriptions())} subscriptions: {in_use()}; {broker.dropped} messages dropped")


def in_use() -> str:
    """What the process has open."""
    return f"{len(os.listdir('/proc/self/task'))} threads, {len(os.listdir('/proc/self/fd'))} descriptors"


async def main(subscriptions: int, messages: int) -> None:
    """Measures both."""
    async with midge.aio.Broker("127.0.0.1:0") as broker:
        print(f"started: {in_use()}")
        rooms = [f"rooms/{number}" for number in range(subscriptions)]
        await measure(broker, "one each", rooms, [rooms[n % subscriptions] for n in range(messages)], 1)
        news = ["news"] * subscriptions
        await measure(broker, "all of them each", news, ["news"] * (messages // subscriptions), subscriptions)
    print(f"stopped: {in_use()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscriptions", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=200_000)
    given = parser.parse_args()
    asyncio.run(main(given.subscriptions, given.messages))
