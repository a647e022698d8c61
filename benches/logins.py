#!/usr/bin/env python3
"""What logins with a password file cost: logins per second, memory, what other clients notice, and whether the time of an
answer tells a user name that exists from one that does not.

    python3 benches/logins.py [--midge PATH] [--logins 10000] [--clients 16] [--guesses 1000]

`--midge` is a release build with the features accounts and cli. The figures are printed as Markdown. Those of times are of one
run: their ratios say something, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import math
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
DEADLINE = 120.0


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def connect(client: str, user: str | None, password: str) -> bytes:
    """CONNECT of MQTT 3.1.1."""
    flags, names = (0xC2, text(user) + text(password)) if user is not None else (0x02, b"")
    body = b"\x00\x04MQTT\x04" + bytes([flags]) + b"\x00\x00" + text(client) + names
    return bytes([0x10, len(body)]) + body


class Midge:
    """A running `midge serve` with a password file."""

    def __init__(self, program: str, place: Path, users: list[str], settings: dict[str, str]) -> None:
        file = place / "passwords"
        first = True
        for user in users:
            create = ["-c"] if first else []
            subprocess.run([program, "passwd", *create, "-b", str(file), user, "right"], check=True)
            first = False
        sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", "--password-file", str(file), *sets],
            stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.port = int(line.split()[2].rsplit(":", 1)[1])

    def peak(self) -> int:
        """The most memory that it has had, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024

    def login(self, client: str, user: str | None, password: str) -> tuple[int, socket.socket]:
        """Connects: the return code, and the connection."""
        stream = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.sendall(connect(client, user, password))
        answer = received(stream, 4)
        return answer[3], stream


@contextmanager
def midge(program: str, users: list[str], **settings: str) -> Iterator[Midge]:
    with tempfile.TemporaryDirectory() as place:
        broker = Midge(program, Path(place), users, {key.replace("__", "."): value for key, value in settings.items()})
        try:
            yield broker
        finally:
            broker.process.terminate()
            broker.process.wait()


def received(stream: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise ConnectionError("the broker closed the connection")
        data += more
    return data


class Pinger:
    """A client that is connected, and measures how long its messages take: QoS 0 to a topic that it subscribes to."""

    def __init__(self, broker: Midge) -> None:
        code, self.stream = broker.login("pinger", "u0", "right")
        assert code == 0
        self.stream.sendall(b"\x82\x06\x00\x01" + text("p") + b"\x00")
        assert received(self.stream, 5)[0] == 0x90
        self.times: list[float] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        publish = b"\x30\x04" + text("p") + b"x"
        while not self.stopping.is_set():
            start = time.perf_counter()
            self.stream.sendall(publish)
            received(self.stream, len(publish))
            self.times.append(time.perf_counter() - start)
            # Not a wait for anything: the rate of the messages.
            time.sleep(0.002)

    def during(self, work: "object") -> list[float]:
        """The times while `work` runs, sorted, in milliseconds."""
        self.times.clear()
        self.stopping.clear()
        thread = threading.Thread(target=self.run)
        thread.start()
        work()  # type: ignore[operator]
        self.stopping.set()
        thread.join()
        return sorted(1000 * one for one in self.times)


def quantile(times: list[float], part: float) -> float:
    return times[min(len(times) - 1, int(part * len(times)))]


LOGIN_CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import logins
logins.child(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
"""


def child(port: int, number: int, count: int, users: int) -> None:
    """Logs in `count` times, one after the other."""
    broker = Midge.__new__(Midge)
    broker.port = port
    for _ in range(count):
        code, stream = broker.login(f"c{number}", f"u{number % users}", "right")
        assert code == 0, code
        stream.close()


def load(program: str, logins: int, clients: int) -> None:
    users = 10
    with midge(program, [f"u{number}" for number in range(users)]) as broker:
        pinger = Pinger(broker)
        quiet = pinger.during(lambda: time.sleep(10))
        before = broker.peak()
        took = [0.0]

        def work() -> None:
            start = time.perf_counter()
            share = logins // clients
            arguments = [[str(broker.port), str(number), str(share), str(users)] for number in range(clients)]
            children = [
                subprocess.Popen([sys.executable, "-c", LOGIN_CHILD, str(TOP / "benches"), *words]) for words in arguments
            ]
            assert [process.wait() for process in children] == [0] * clients
            took[0] = time.perf_counter() - start

        busy = pinger.during(work)
        done = logins // clients * clients
        print(f"{done} logins by {clients} clients at once: {done / took[0]:.0f} logins per second\n")
        print("| | idle | during the logins | ratio |\n|---|---|---|---|")
        for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
            one, other = quantile(quiet, part), quantile(busy, part)
            print(f"| message to itself, {name} (ms) | {one:.2f} | {other:.2f} | {other / one:.1f} |")
        print(f"| most memory (MiB) | {before} | {broker.peak()} | |\n")


def timing(program: str, guesses: int) -> None:
    """Alternates unknown users and wrong passwords, each guess from an address of its own so that none is slowed."""
    users = [f"u{number}" for number in range(10)]
    draw = random.Random(1)
    times: dict[str, list[float]] = {"wrong": [], "unknown": []}
    with midge(program, users) as broker:
        for guess in range(2 * guesses):
            kind = ("wrong", "unknown")[guess % 2]
            user = draw.choice(users) if kind == "wrong" else f"x{draw.randrange(10**6)}"
            address = f"127.{1 + guess // 60_000}.{1 + guess // 250 % 240}.{1 + guess % 250}"
            stream = socket.create_connection(("127.0.0.1", broker.port), DEADLINE, (address, 0))
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            packet = connect("c", user, "wrong")
            start = time.perf_counter()
            stream.sendall(packet)
            answer = received(stream, 4)
            times[kind].append(1000 * (time.perf_counter() - start))
            assert answer[3] == 4, answer
            stream.close()
    print("| answer to (ms) | median | mean | standard deviation |\n|---|---|---|---|")
    for name, of in (("a wrong password", times["wrong"]), ("an unknown user", times["unknown"])):
        print(f"| {name} | {statistics.median(of):.3f} | {statistics.mean(of):.3f} | {statistics.stdev(of):.3f} |")
    ranks = rank_sum(times["wrong"], times["unknown"])
    print(f"\n{guesses} of each. Mann-Whitney: z = {ranks:+.2f}, p = {math.erfc(abs(ranks) / math.sqrt(2)):.3f}")
    overlap = sum(a < b for a, b in zip(times["wrong"], times["unknown"])) / guesses
    print(f"An unknown user took longer than the wrong password before it in {100 * overlap:.1f} % of the pairs.")


def rank_sum(first: list[float], second: list[float]) -> float:
    """The z of the Mann-Whitney test: about 0 if both are of one distribution, beyond 3 if hardly."""
    order = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    ranks = sum(rank for rank, (_, kind) in enumerate(order, 1) if kind == 0)
    one, other = len(first), len(second)
    u = ranks - one * (one + 1) / 2
    return (u - one * other / 2) / math.sqrt(one * other * (one + other + 1) / 12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--midge", default=str(TOP / "target/release/midge"))
    parser.add_argument("--logins", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--guesses", type=int, default=1000)
    given = parser.parse_args()
    load(given.midge, given.logins, given.clients)
    timing(given.midge, given.guesses)


if __name__ == "__main__":
    main()
