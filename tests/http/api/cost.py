"""What the console costs: CPU of the broker for each message, alternately without a console, with one that nobody looks at,
and with one whose topic tree and live messages are watched. And the time of the lists with many clients and topics.

    tests/http/api/run.sh --version >/dev/null; MIDGE_BIN=target/release/midge .venv-console/bin/python tests/http/api/cost.py
"""

import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import requests

LOGIN = ("admin", "public")
MESSAGES = 4_000_000
ROUNDS = 5
CLIENTS = 10_000
TOPICS = 50_000


class Broker:
    def __init__(self, console):
        command = [os.environ["MIDGE_BIN"], "serve", "--set", "listener.tcp.bind=127.0.0.1:0"]
        if console:
            command += ["--set", "console.listen=127.0.0.1:0", "--set", "console.tutorial=true"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        host, port = re.search(r"(127\.0\.0\.1):(\d+)", self.process.stdout.readline()).groups()
        self.mqtt = (host, int(port))
        self.console = self.process.stdout.readline().split()[-1] if console else None

    def cpu(self):
        """Seconds of CPU of the process, by the scheduler's own count."""
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1e9

    def memory(self):
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

    def get(self, path):
        answer = requests.get(self.console + "/api/v1/" + path, auth=LOGIN, timeout=60)
        answer.raise_for_status()
        return answer

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def string(text):
    return len(text).to_bytes(2, "big") + text


def packet(first, body):
    length, encoded = len(body), b""
    while True:
        length, low = divmod(length, 128)
        encoded += bytes([low | (128 if length else 0)])
        if not length:
            return bytes([first]) + encoded + body


def connect(address, client_id):
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(packet(0x10, string(b"MQTT") + b"\x04\x02\x00\x00" + string(client_id)))
    assert connection.recv(4) == b"\x20\x02\x00\x00"
    return connection


def flow(broker):
    """CPU microseconds of the broker for each message that it brings from a publisher to a subscriber."""
    subscriber, publisher = connect(broker.mqtt, b"s"), connect(broker.mqtt, b"p")
    subscriber.sendall(packet(0x82, b"\x00\x01" + string(b"bench/+") + b"\x00"))
    assert len(subscriber.recv(5)) == 5
    message = packet(0x30, string(b"bench/1") + b"x" * 64)
    batch, count = message * 100, MESSAGES // 100
    got = threading.Semaphore(0)

    def read():
        rest = len(message) * MESSAGES
        seen = 0
        while rest:
            n = len(subscriber.recv(1 << 18))
            assert n
            rest -= n
            seen += n
            while seen >= len(batch):
                seen -= len(batch)
                got.release()

    reader = threading.Thread(target=read)
    before = broker.cpu()
    reader.start()
    for number in range(count):
        if number >= 20:
            got.acquire()
        publisher.sendall(batch)
    reader.join()
    cost = (broker.cpu() - before) / MESSAGES * 1e6
    subscriber.close()
    publisher.close()
    return cost


def watch(broker):
    """Somebody looks at the tree, and at the live messages."""
    live = requests.get(broker.console + "/api/v1/live", auth=LOGIN, stream=True, timeout=60)
    threading.Thread(target=lambda: [None for _ in live.iter_content(1 << 16)], daemon=True).start()
    broker.get("topics")


def costs():
    kinds = {"off": [], "on, unwatched": [], "on, watched": []}
    for _ in range(ROUNDS):
        for kind, found in kinds.items():
            broker = Broker(kind != "off")
            if kind == "on, watched":
                watch(broker)
            found.append(flow(broker))
            broker.stop()
    print(f"CPU of the broker for each message, {MESSAGES} messages of 64 bytes, QoS 0, {ROUNDS} rounds in turn:")
    for kind, found in kinds.items():
        ratios = sorted(a / b for a, b in zip(found, kinds["off"]))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"  {kind:14} {statistics.median(found):6.3f} us   ratio to off {spread}")


def timed(broker, path):
    begun = time.perf_counter()
    size = len(broker.get(path).content)
    print(f"  {(time.perf_counter() - begun) * 1000:7.1f} ms  {size:8} bytes  GET /api/v1/{path}")


def large():
    broker = Broker(True)
    clients = [connect(broker.mqtt, b"client-%05d" % number) for number in range(CLIENTS)]
    for client in clients:
        client.sendall(packet(0x82, b"\x00\x01" + string(b"own/%d/#" % client.fileno()) + b"\x00"))
    before = broker.memory()
    broker.get("topics")
    for number in range(TOPICS):
        clients[0].sendall(packet(0x30, string(b"site/%d/device/%d" % (number % 100, number)) + b'{"value":21.5}'))
    while broker.get("topics").json()["topics"] < TOPICS:
        pass
    print(f"{CLIENTS} clients with a subscription each, {TOPICS} topics in the tree:")
    for path in (
        "overview",
        "clients",
        "clients?search=client-05&sort=sent_messages&order=desc",
        "clients?offset=9900",
        "subscriptions?limit=1000",
        "subscriptions/match?topic=site/1/device/1",
        "topics?parent=site",
        "topics?parent=site/7/device",
        "clients/client-00000",
    ):
        timed(broker, path)
    print(f"  memory of the broker: {before:.0f} MiB before the topics, {broker.memory():.0f} MiB with the tree")
    broker.stop()


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if "large" not in sys.argv:
        costs()
    large()
