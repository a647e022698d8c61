#!/usr/bin/env python3
"""What the doors cost: plain TCP, TLS and WebSocket of Midge, alternately with mosquitto's in one run.

    cargo build --release --features cli,tls,certificate,websocket
    (cd benches/load && cargo build --release)
    benches/doors.py [--midge PROGRAM] [--connections 5000] [--pairs 100] [--messages 20000] [--handshakes 500]

Figures are of the broker's process alone: its resident memory, and the processor time of its threads (schedstat). So
the speed of this client does not matter; it sends one message in a write. The floor is `rawrelay` without TLS and
`tlsrelay` with it, programs of benches/load that copy bytes; it has no frames of WebSocket. A broker that does not
start with a door, such as a mosquitto built without WebSocket, has no figure there.
"""

from __future__ import annotations

import argparse
import base64
import os
import resource
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Callable

SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
PATIENCE = 60
"""Seconds until a broker that does not answer ends the run."""
DESCRIPTORS = 20_000
MASK = bytes(4)
"""A mask of zeros is a mask: the broker undoes it as any other, and this client need not."""


Command = Callable[[str, str, int, Path, Path], "list[str]"]


class DoesNotStart(Exception):
    """A broker without this door."""


def bound(seconds: int) -> None:
    """Bounds the time and the descriptors of this process; what it has started ends with it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def over(*_: object) -> None:
        raise SystemExit(f"not done after {seconds} seconds")

    signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(command: list[str], port: int) -> Iterator[int]:
    """A broker that listens at `port`; gives its process number."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                # mosquitto listens first, and then ends if it knows no WebSocket.
                time.sleep(0.2)
                if process.poll() is None:
                    break
            except OSError:
                time.sleep(0.02)
            if process.poll() is not None:
                raise DoesNotStart(" ".join(command))
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def midge(program: str, door: str, port: int, files: Path, _where: Path) -> list[str]:
    """Midge with its defaults."""
    settings = [f"listener.tcp.transport={door}"]
    if door in ("tls", "wss"):
        settings += [f"listener.tcp.certificate={files / 'server.pem'}", f"listener.tcp.key={files / 'server.key'}"]
    words = [word for setting in settings for word in ("--set", setting)]
    return [program, "serve", "--quiet", "--listen", f"127.0.0.1:{port}", *words]


def mosquitto(program: str, door: str, port: int, files: Path, where: Path) -> list[str]:
    """One listener without limits."""
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false", "max_connections -1"]
    lines += ["set_tcp_nodelay true", "log_dest none"]
    if os.geteuid() == 0:
        lines.append("user root")
    if door in ("ws", "wss"):
        lines.append("protocol websockets")
    if door in ("tls", "wss"):
        lines += [f"certfile {files / 'server.pem'}", f"keyfile {files / 'server.key'}"]
    (where / "mosquitto.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [program, "-c", str(where / "mosquitto.conf")]


def floor(folder: str, door: str, port: int, files: Path, _where: Path) -> list[str]:
    """The program that copies bytes behind this door."""
    if door == "tls":
        return [f"{folder}/tlsrelay", str(port), str(files / "server.pem"), str(files / "server.key")]
    return [f"{folder}/rawrelay" if door == "tcp" else "false", str(port)]


class Client:
    """A client of one door: whole packets in, whole packets out."""

    def __init__(self, door: str, port: int, files: Path, name: str) -> None:
        """Connects, up to CONNACK."""
        self.is_framed = door in ("ws", "wss")
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if door in ("tls", "wss"):
            context = ssl.create_default_context(cafile=str(files / "ca.pem"))
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.rest = b""
        if self.is_framed:
            key = base64.b64encode(os.urandom(16)).decode()
            head = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            head += f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
            self.socket.sendall(head.encode())
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += self.take_raw(1)
            assert answer.startswith(b"HTTP/1.1 101"), answer
        body = b"\x00\x04MQTT\x04\x02\x00\x00" + len(name).to_bytes(2, "big") + name.encode()
        self.send(bytes([0x10, len(body)]) + body)
        assert self.receive(4)[0] == 0x20

    def send(self, packet: bytes) -> None:
        """Sends a packet in a frame of its own, if there are frames."""
        if self.is_framed:
            assert len(packet) < 126
            packet = bytes([0x82, 0x80 | len(packet)]) + MASK + packet
        self.socket.sendall(packet)

    def take_raw(self, count: int) -> bytes:
        """The next bytes, frames and all."""
        got = b""
        while len(got) < count:
            part = self.socket.recv(count - len(got))
            if not part:
                raise SystemExit("the broker has closed a connection")
            got += part
        return got

    def receive(self, count: int) -> bytes:
        """The next bytes of MQTT; frames are taken off."""
        while self.is_framed and len(self.rest) < count:
            head = self.take_raw(2)
            length = head[1]
            if length == 126:
                length = int.from_bytes(self.take_raw(2), "big")
            self.rest += self.take_raw(length)
        if not self.is_framed:
            return self.take_raw(count)
        got, self.rest = self.rest[:count], self.rest[count:]
        return got


def resident(process: int) -> int:
    """Bytes of resident memory."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise SystemExit("no resident memory is known")


def processor(process: int) -> float:
    """Seconds of processor time so far, of the threads that live."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return sum(int((thread / "schedstat").read_text(encoding="ascii").split()[0]) for thread in threads) / 1e9


def idle(process: int, door: str, port: int, files: Path, asked: argparse.Namespace) -> float:
    """KiB of resident memory for each connected client that does nothing."""
    first = [Client(door, port, files, f"warm{number}") for number in range(50)]
    before = resident(process)
    clients = [Client(door, port, files, f"idle{number}") for number in range(asked.connections)]
    for client in clients[-1:]:
        client.send(b"\xc0\x00")
        client.receive(2)
    grown = resident(process) - before
    for client in first + clients:
        client.socket.close()
    return grown / asked.connections / 1024


def messages(process: int, door: str, port: int, files: Path, asked: argparse.Namespace) -> float:
    """Microseconds of processor time for each delivered message of QoS 0 with 64 bytes."""
    pairs = []
    for number in range(asked.pairs):
        receiver, sender = (Client(door, port, files, f"{role}{number}") for role in ("r", "s"))
        topic = f"t{number}".encode()
        receiver.send(bytes([0x82, len(topic) + 5, 0, 1, 0, len(topic)]) + topic + b"\x00")
        receiver.receive(5)
        packet = bytes([0x30, len(topic) + 66, 0, len(topic)]) + topic + bytes(64)
        pairs.append((sender, receiver, packet))
    before = processor(process)
    rounds = asked.messages // asked.pairs
    for _ in range(rounds):
        for sender, _, packet in pairs:
            sender.send(packet)
        for _, receiver, packet in pairs:
            receiver.receive(len(packet))
    spent = processor(process) - before
    for sender, receiver, _ in pairs:
        sender.socket.close()
        receiver.socket.close()
    return spent / (rounds * asked.pairs) * 1e6


def handshakes(process: int, door: str, port: int, files: Path, asked: argparse.Namespace) -> float:
    """Microseconds of processor time for each connection that comes, is connected and goes."""
    before = processor(process)
    for number in range(asked.handshakes):
        Client(door, port, files, f"c{number}").socket.close()
    return (processor(process) - before) / asked.handshakes * 1e6


ROWS = {"idle, KiB each": idle, "message, us": messages, "connection, us": handshakes}


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--midge", default="target/release/midge")
    parser.add_argument("--floor", default="benches/load/target/release", help="folder of rawrelay and tlsrelay")
    parser.add_argument("--max-seconds", type=int, default=3600)
    parser.add_argument("--doors", default="tcp,tls,ws,wss")
    for name, value in (("connections", 5000), ("pairs", 100), ("messages", 20000), ("handshakes", 500), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    bound(asked.max_seconds)
    brokers: dict[str, tuple[Command, str]] = {"Midge": (midge, asked.midge)}
    if os.access(f"{asked.floor}/tlsrelay", os.X_OK):
        brokers["floor"] = (floor, asked.floor)
    found = shutil.which("mosquitto", path=SEARCH)
    if found:
        brokers["mosquitto"] = (mosquitto, found)
    else:
        print("mosquitto is not installed: Midge alone", file=sys.stderr)
    with ExitStack() as stack:
        where = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = where / "certificates"
        subprocess.run(
            [asked.midge, "certificate", str(files), "--server", "localhost"], check=True, stdout=subprocess.DEVNULL
        )
        figures: dict[tuple[str, str, str], list[float]] = {}
        for _ in range(asked.rounds):
            for row, measure in ROWS.items():
                for door in asked.doors.split(","):
                    for name, (command, program) in brokers.items():
                        port = free_port()
                        with (
                            suppress(DoesNotStart),
                            running(command(program, door, port, files, where), port) as process,
                        ):
                            figures.setdefault((row, door, name), []).append(measure(process, door, port, files, asked))
    print("| figure | door | " + " | ".join(brokers) + " |")
    print("|---|---|" + "---|" * len(brokers))
    for row in ROWS:
        for door in asked.doors.split(","):
            cells = []
            for name in brokers:
                values = figures.get((row, door, name))
                cells.append(
                    f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})" if values else "-"
                )
            print(f"| {row} | {door} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
