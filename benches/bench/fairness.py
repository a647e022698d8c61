"""Quiet clients beside a trouble-maker: their latency without it and with it, and what the broker keeps and drops.

Quiet clients send at a fixed rate, and a message's latency counts from when it was due. First they are measured alone, then
the trouble-maker is set up, waits, and begins with them. It is a process of its own at the lowest priority, so that it does
not take the processor from those whose latency is measured.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from .brokers import DEFAULTS, QUEUE, Broker
from .load import Load, Result
from .rounds import Bench


@dataclass(frozen=True)
class Case:
    """A trouble-maker and those that it troubles."""

    name: str
    title: str
    quiet: tuple[str, ...]
    trouble: tuple[str, ...]
    # The same in little, for a test.
    small: tuple[tuple[str, ...], tuple[str, ...]]
    setup: str = DEFAULTS
    # A trouble-maker that lasts as long as the quiet ones; else it does a piece of work.
    lasts: bool = True
    floor: bool = False


CASES = (
    Case(
        "greedy",
        "one greedy publisher among 1,000 quiet ones",
        ("latency", "-n", "1000", "--rate", "2000"),
        ("p2p", "-n", "1", "--flood", "--prefix", "trouble"),
        (
            ("latency", "-n", "20", "--rate", "1000", "--messages", "300"),
            ("p2p", "-n", "1", "--prefix", "trouble", "--messages", "5000"),
        ),
        floor=True,
    ),
    Case(
        "stalled-qos0",
        "a subscriber of everything stops reading, QoS 0",
        ("latency", "-n", "100", "--rate", "2000", "--payload", "4096"),
        ("stall", "--filter", "bench/#"),
        (
            ("latency", "-n", "20", "--rate", "4000", "--payload", "2000", "--messages", "4000"),
            ("stall", "--filter", "bench/#", "--drain", "0.5"),
        ),
    ),
    Case(
        "stalled-qos1",
        "a subscriber of everything stops reading, QoS 1",
        ("latency", "-n", "100", "--rate", "2000", "--payload", "1024", "--qos", "1"),
        ("stall", "--filter", "bench/#", "--qos", "1"),
        (
            ("latency", "-n", "20", "--rate", "4000", "--messages", "4000", "--qos", "1"),
            ("stall", "--filter", "bench/#", "--qos", "1", "--drain", "0.5"),
        ),
    ),
    Case(
        "storm",
        "a fan-out of 1 to 1,000 flat out beside 100 quiet pairs",
        ("latency", "-n", "100", "--rate", "2000"),
        ("fanout", "-n", "1000", "--prefix", "trouble"),
        (
            ("latency", "-n", "20", "--rate", "1000", "--messages", "300"),
            ("fanout", "-n", "100", "--prefix", "trouble", "--messages", "100"),
        ),
        floor=True,
    ),
    Case(
        "flood",
        "the same, with 2,000 messages under way",
        ("latency", "-n", "100", "--rate", "2000"),
        ("fanout", "-n", "1000", "--prefix", "trouble", "--flood"),
        (
            ("latency", "-n", "20", "--rate", "1000", "--messages", "300"),
            ("fanout", "-n", "50", "--prefix", "trouble", "--flood", "--messages", "1000"),
        ),
        floor=True,
    ),
    Case(
        "backlog",
        "a session comes back to 100,000 queued messages, QoS 1",
        ("latency", "-n", "100", "--rate", "2000"),
        ("offline", "-n", "1", "--messages", "100000", "--qos", "1", "--prefix", "trouble"),
        (
            ("latency", "-n", "20", "--rate", "1000", "--messages", "300"),
            ("offline", "-n", "1", "--messages", "3000", "--qos", "1", "--prefix", "trouble"),
        ),
        setup=QUEUE,
        lasts=False,
    ),
)


def measure(bench: Bench, case: Case) -> dict[str, Any]:
    """The case for Midge, for mosquitto and, where it can, for the floor: alternating, two rounds at most."""
    peers = [p for p in bench.peers if p.name in ("midge", "base", "mosquitto") or (p.name == "floor" and case.floor)]
    rounds = []
    number_of = min(2, bench.rounds)
    seconds = min(2.0, bench.seconds)
    for number in range(number_of):
        found = {}
        for peer in peers:
            with Broker(peer, case.setup, bench.broker_on) as broker:
                found[peer.name] = run(bench, broker, case, seconds)
            told = ", ".join(
                f"{when} {found[peer.name][when]['p99']:g}" for when in ("alone", "beside") if found[peer.name][when]
            )
            print(f"  {case.name} {number + 1}/{number_of}: {peer.name}: p99 us {told}", flush=True)
        rounds.append(found)
    return {"quiet": list(case.quiet), "trouble": list(case.trouble), "rounds": rounds}


def run(bench: Bench, broker: Broker, case: Case, seconds: float | None) -> dict[str, Any]:
    """One broker: alone, then beside the trouble-maker. Without `seconds`, the case in little."""
    quiet, trouble = (case.quiet, case.trouble) if seconds else case.small
    span = ["--seconds", f"{seconds:g}"] if seconds else []
    load = bench.programs["midge-load"]
    before = drops(broker)
    bound = ["--deadline", "120"]
    alone = Load(load, broker, [*quiet, *span, *bound, "--warmup", "0.3"], bench.load_on).result()
    lasting = ["--seconds", f"{(seconds or 0.8) + 0.2:g}"] if case.lasts and (seconds or trouble[0] == "stall") else []
    maker = Load(load, broker, [*trouble, *lasting, *bound], bench.load_on, sync=True, background=True).ready()
    together = Load(load, broker, [*quiet, *span, *bound, "--warmup", "0.3"], bench.load_on, sync=True).ready()
    maker.begin()
    together.begin()
    beside = together.result()
    troubled = maker.result()
    after = drops(broker)
    dropped = {reason: count - before.get(reason, 0) for reason, count in after.items()}
    return {
        "alone": quiet_figures(alone),
        "beside": quiet_figures(beside),
        "trouble": {key: troubled.get(key) for key in ("ok", "errors", "published", "delivered", "lost", "msgs_per_s")},
        # Everything that came by while the trouble-maker was subscribed to all of it.
        "passed": beside.get("published", 0) + beside.get("warmup_published", 0),
        "dropped": {reason: count for reason, count in dropped.items() if count},
        "rss_peak_kb": max((p.get("rss_peak_kb", 0) for p in phases(troubled, beside)), default=None),
    }


def quiet_figures(result: Result) -> dict[str, Any]:
    """Latency and losses of the quiet ones."""
    latency = result.get("latency_us") or {}
    phase = result.get("phases", {}).get("run", {})
    if not latency:
        return {}
    return {
        **{key: latency[key] for key in ("p50", "p99", "p999", "max")},
        "late_p99": (result.get("send_lag_us") or {}).get("p99"),
        "delivered": result["delivered"],
        "lost": result["lost"],
        "noise": phase.get("other_cpu_pct"),
        "rss_kb": phase.get("rss_kb"),
        "rss_peak_kb": phase.get("rss_peak_kb"),
        "errors": result["errors"],
    }


def phases(*results: Result) -> list[dict[str, Any]]:
    return [phase for result in results for phase in result.get("phases", {}).values()]


def drops(broker: Broker) -> dict[str, int]:
    """What the broker says to have dropped, by reason where it tells reasons (Midge), else in all."""
    prefix = "$SYS/broker/publish/messages/dropped"
    counts: dict[str, int] = {}
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", broker.port), 5) as stream:
        stream.sendall(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x00" + text("bench-drops")))
        stream.sendall(packet(0x82, b"\x00\x01" + text(prefix + "/#") + b"\x00"))
        # A broker that publishes its counters once a second has done so when this has passed.
        end = time.monotonic() + (0.3 if "serve" in broker.command else 1.5)
        if broker.command[0].endswith("rawrelay"):
            return {}
        received = b""
        while (left := end - time.monotonic()) > 0:
            stream.settimeout(left)
            with contextlib.suppress(TimeoutError, socket.timeout):
                part = stream.recv(65536)
                if not part:
                    break
                received += part
        for topic, payload in publishes(received):
            reason = topic.removeprefix(prefix).strip("/") or "all"
            # A message that nobody wants is no loss.
            if payload.isdigit() and reason != "no_subscriber":
                counts[reason] = int(payload)
        stream.sendall(packet(0xE0, b""))
    if len(counts) > 1:
        counts.pop("all", None)
    return counts


def text(words: str) -> bytes:
    data = words.encode()
    return struct.pack(">H", len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([first, len(body)]) + body


def publishes(received: bytes) -> list[tuple[str, str]]:
    """The PUBLISH packets (QoS 0, MQTT 3.1.1) in what was received: topic and payload."""
    found = []
    at = 0
    while at + 1 < len(received):
        length, shift, head = 0, 0, 1
        while True:
            byte = received[at + head]
            length |= (byte & 0x7F) << shift
            shift, head = shift + 7, head + 1
            if byte < 0x80:
                break
        body = received[at + head : at + head + length]
        if received[at] >> 4 == 3:
            size = struct.unpack(">H", body[:2])[0]
            found.append((body[2 : 2 + size].decode(), body[2 + size :].decode()))
        at += head + length
    return found
