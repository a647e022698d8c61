"""Midge inside Python: messages/s published one by one, and taken in batches."""

import sys
import time

import midge

count = int(sys.argv[1])
payload = b"x" * 64
with midge.Broker(config={"listener.tcp.bind": "off"}) as broker:  # noqa: SIM117
    with broker.subscribe("bench/topic", capacity=100_000) as messages:
        published = taken = 0.0
        left = count
        while left > 0:
            portion = min(left, 50_000)
            began = time.perf_counter()
            for _ in range(portion):
                broker.publish("bench/topic", payload)
            published += time.perf_counter() - began
            began = time.perf_counter()
            got = 0
            while got < portion:
                got += len(messages.get_batch(256, timeout=10))
            taken += time.perf_counter() - began
            left -= portion
print(f"{count / published:.0f} {count / taken:.0f}")
