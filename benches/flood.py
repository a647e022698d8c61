#!/usr/bin/env python3
"""What a flood of clients that never end their handshakes does to a quiet pair on the same door.

    cargo build --release --features cli,tls,certificate,websocket
    benches/flood.py [--midge PROGRAM] [--silent 2000] [--messages 3000] [--rounds 3]

On each door, a publisher sends a message every 2 ms, alone and then beside the flood, in turn. The flood is another
process: it opens so many connections, half of which send nothing and half the first half of a handshake (a ClientHello,
or the head of the upgrade). Those that the broker closes it opens again, 200 a second at most. Only the ratios beside
and alone, each within one round, mean something on a machine that does other things as well.
"""

from __future__ import annotations

import argparse
import multiprocessing
import selectors
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from doors import SEARCH, Client, Command, DoesNotStart, bound, free_port, midge, mosquitto, running

GAP = 0.002
AGAIN = 0.005
"""Seconds between two connections that are opened again."""
FLOOD_SECONDS = 120


def half(door: str) -> bytes:
    """The first half of a handshake."""
    if door == "ws":
        return b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConn"
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    return hello[: len(hello) // 2]


def flood(door: str, port: int, silent: int, told: Connection) -> None:
    """Keeps connections until the other end of `told` says so, then tells how many it has opened."""
    bound(FLOOD_SECONDS)
    begin = half(door)
    selector = selectors.DefaultSelector()
    selector.register(told, selectors.EVENT_READ)
    opened = 0

    def one_more() -> None:
        nonlocal opened
        with suppress(OSError):
            peer = socket.create_connection(("127.0.0.1", port), timeout=5)
            peer.setblocking(False)
            opened += 1
            selector.register(peer, selectors.EVENT_READ)
            if opened % 2:
                peer.send(begin)

    for _ in range(silent):
        one_more()
    told.send(opened)
    due = time.monotonic()
    lost = 0
    while True:
        wait = max(0.0, due - time.monotonic()) if lost else None
        if wait == 0.0:
            lost -= 1
            due = time.monotonic() + AGAIN
            one_more()
        for key, _ in selector.select(wait):
            if key.fileobj is told:
                told.send(opened)
                return
            peer = key.fileobj
            assert isinstance(peer, socket.socket)
            with suppress(OSError):
                if peer.recv(4096):
                    continue
            selector.unregister(peer)
            peer.close()
            lost += 1


def latencies(sender: Client, receiver: Client, count: int) -> list[float]:
    """Microseconds from a publication to its delivery."""
    packet = b"\x30\x43\x00\x01q" + bytes(64)
    taken = []
    due = time.perf_counter()
    for _ in range(count):
        due = max(due + GAP, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))
        begin = time.perf_counter()
        sender.send(packet)
        receiver.receive(len(packet))
        taken.append((time.perf_counter() - begin) * 1e6)
    return sorted(taken)


def at(values: list[float], part: float) -> float:
    """The value below which this part of the sorted ones lies."""
    return values[min(len(values) - 1, int(len(values) * part))]


def beside(door: str, port: int, silent: int, sender: Client, receiver: Client, count: int) -> tuple[list[float], int]:
    """The same with the flood, and how many connections that has opened."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=flood, args=(door, port, silent, there), daemon=True)
    process.start()
    try:
        assert here.poll(FLOOD_SECONDS), "the flood has not begun"
        here.recv()
        taken = latencies(sender, receiver, count)
        here.send("end")
        assert here.poll(FLOOD_SECONDS), "the flood has ended before"
        return taken, here.recv()
    finally:
        process.terminate()
        process.join()


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--midge", default="target/release/midge")
    parser.add_argument("--doors", default="tls,ws")
    parser.add_argument("--max-seconds", type=int, default=1800)
    for name, value in (("silent", 2000), ("messages", 3000), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    bound(asked.max_seconds)
    brokers: dict[str, tuple[Command, str]] = {"Midge": (midge, asked.midge)}
    found = shutil.which("mosquitto", path=SEARCH)
    if found:
        brokers["mosquitto"] = (mosquitto, found)
    else:
        print("mosquitto is not installed: Midge alone", file=sys.stderr)
    print("| door | broker | p50 alone, us | p99 alone, us | p50 beside / alone | p99 beside / alone | opened |")
    print("|---|---|---|---|---|---|---|")
    with ExitStack() as stack:
        where = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = where / "certificates"
        words = [asked.midge, "certificate", str(files), "--server", "localhost"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        for door in asked.doors.split(","):
            for name, (command, program) in brokers.items():
                port = free_port()
                words = command(program, door, port, files, where)
                if name == "Midge":
                    # All of the flood waits, as it does with mosquitto; the default ends those beyond 1,024.
                    words += ["--set", f"mqtt.max_pending_connections={2 * asked.silent}"]
                with suppress(DoesNotStart), running(words, port):
                    receiver, sender = (Client(door, port, files, "receiver"), Client(door, port, files, "sender"))
                    receiver.send(b"\x82\x06\x00\x01\x00\x01q\x00")
                    receiver.receive(5)
                    latencies(sender, receiver, 200)
                    rounds = []
                    for _ in range(asked.rounds):
                        alone = latencies(sender, receiver, asked.messages)
                        rounds.append((alone, *beside(door, port, asked.silent, sender, receiver, asked.messages)))
                    cells = [
                        f"{statistics.median(at(alone, part) for alone, _, _ in rounds):.0f}" for part in (0.5, 0.99)
                    ]
                    for part in (0.5, 0.99):
                        ratios = [at(with_flood, part) / at(alone, part) for alone, with_flood, _ in rounds]
                        cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
                    opened = " ".join(str(opened) for _, _, opened in rounds)
                    print(f"| {door} | {name} | " + " | ".join(cells) + f" | {opened} |", flush=True)


if __name__ == "__main__":
    main()
