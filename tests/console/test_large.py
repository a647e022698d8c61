"""A large broker: 10,000 clients and 50,000 topics stay usable. What it costs is printed (`run.sh -s test_large.py`)."""

import os
import resource
import socket
import struct
import time

import pytest

from processes import DEADLINE

CLIENTS = 10000
TOPICS = 50000


def string(text):
    """A string as MQTT writes it."""
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


def packet(kind, body):
    """A packet; its length in one or two bytes."""
    length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])
    return bytes([kind]) + length + body


def connected(broker, client_id):
    """A socket with a client; the answer is read by the caller."""
    client = socket.create_connection((broker.host, broker.port), timeout=DEADLINE)
    client.sendall(packet(0x10, string("MQTT") + bytes([4, 2]) + struct.pack("!H", 0) + string(client_id)))
    return client


def answered(client):
    """Reads the CONNACK."""
    answer = b""
    while len(answer) < 4:
        more = client.recv(4 - len(answer))
        assert more, answer
        answer += more
    assert answer == b"\x20\x02\x00\x00"
    return client


def resident(broker):
    """The broker's memory in MiB."""
    with open(f"/proc/{broker.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1048576


def report(page, what, since):
    """Prints how long something took, and the memory of the page."""
    heap = page.call("Runtime.getHeapUsage")["usedSize"] / 1048576
    print(f"{what}: {(time.monotonic() - since) * 1000:.0f} ms; page {heap:.1f} MiB, {page.evaluate('document.querySelectorAll(`*`).length')} elements")


def test_ten_thousand_clients(open_page, start_broker):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard <= CLIENTS + 1000:
        pytest.skip(f"{hard} open files are too few for {CLIENTS} clients")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    broker = start_broker()
    before = resident(broker)
    clients = []
    for first in range(0, CLIENTS, 500):
        some = [connected(broker, f"device-{number:05}") for number in range(first, first + 500)]
        clients += [answered(client) for client in some]
    print(f"\nbroker: {before:.1f} MiB, with {CLIENTS} clients {resident(broker):.1f} MiB")
    page = open_page()
    page.log_in(broker.url)
    page.until("document.querySelector('.tile strong').innerText === '10,000'")
    since = time.monotonic()
    page.go("clients")
    page.until("document.querySelectorAll('tbody tr').length === 50")
    report(page, "first 50 of 10,000 clients", since)
    page.sees("1–50 of 10,000", ".pager")
    since = time.monotonic()
    page.click("Next page", "button")
    page.sees("device-00050", "tbody")
    report(page, "next page", since)
    since = time.monotonic()
    page.fill("Search for an id, user or address", "device-09999")
    page.until("document.querySelectorAll('tbody tr').length === 1")
    report(page, "search", since)
    page.fill("Search for an id, user or address", "")
    page.until("document.querySelectorAll('tbody tr').length === 50")
    page.click("Client id", "thead button")
    page.sees("device-09999", "tbody tr:first-child")
    print(f"broker: looked at, {resident(broker):.1f} MiB")
    for client in clients:
        client.close()
    page.sees("No clients yet")


def test_fifty_thousand_topics(open_page, start_broker):
    broker = start_broker({"console.max_topics": str(TOPICS + 100), "console.max_topic_bytes": "64MiB"})
    page = open_page()
    page.log_in(broker.url)
    page.go("topics")
    page.sees("No messages yet")
    before = resident(broker)
    publisher = answered(connected(broker, "publisher"))
    for first in range(0, TOPICS, 1000):
        publisher.sendall(b"".join(packet(0x30, string(f"plant/machine-{number:05}") + b"42") for number in range(first, first + 1000)))
    page.until("[...document.querySelectorAll('.tree-row .children')].some((one) => one.innerText === '50,000')")
    print(f"\nbroker: {before:.1f} MiB, with {TOPICS} topics {resident(broker):.1f} MiB")
    since = time.monotonic()
    page.click(None, ".twist")
    page.sees("machine-00000", "[role=tree]")
    report(page, "first of 50,000 topics", since)
    since = time.monotonic()
    page.evaluate("document.querySelector('[role=tree]').scrollTop = 25000 * 34")
    page.sees("machine-25", "[role=tree]")
    report(page, "middle", since)
    since = time.monotonic()
    page.evaluate("document.querySelector('[role=tree]').scrollTop = 1e9")
    page.sees("machine-49999", "[role=tree]")
    report(page, "end", since)
    assert page.evaluate("document.querySelectorAll('[role=treeitem]').length") < 100
    since = time.monotonic()
    page.fill("Search the topics", "machine-04321")
    page.until("document.querySelectorAll('[role=treeitem]').length === 1")
    report(page, "search", since)
    publisher.close()
