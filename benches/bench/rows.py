"""The rows: what is run, which figures come of it, and Midge's target for each."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import machine


@dataclass(frozen=True)
class Target:
    """At most `bound` times what `of` took in the same round, or, without `of`, at most `bound` itself."""

    bound: float
    of: str | None = None

    def text(self, unit: str) -> str:
        return f"<= {self.bound:g} x {self.of}" if self.of else f"<= {self.bound:g} {unit}"


@dataclass(frozen=True)
class Figure:
    """A number of a phase of the load generator's report."""

    name: str
    title: str
    phase: str
    value: str
    unit: str
    each: str
    targets: tuple[Target, ...] = ()

    @property
    def is_cpu(self) -> bool:
        return self.value == "cpu_us_per_op"


@dataclass(frozen=True)
class Work:
    """One run of the load generator."""

    name: str
    arguments: tuple[str, ...]
    figures: tuple[Figure, ...]
    # A flow lasts as long as it is told to; the others do a piece of work.
    timed: bool = True
    floor: bool = True
    # The same in little: for a test, with what must be counted.
    small: tuple[str, ...] = ()
    counted: dict[str, int] = field(default_factory=dict)


def cpu(name: str, title: str, *targets: Target, phase: str = "run", each: str = "delivered message") -> Figure:
    return Figure(name, title, phase, "cpu_us_per_op", "us", each, targets)


def rss(name: str, title: str, *targets: Target, phase: str, each: str) -> Figure:
    return Figure(name, title, phase, "rss_bytes_per_op", "bytes", each, targets)


# Where FlashMQ is not installed, what it took once (3.56 us, beside mosquitto 2.1's 4.32) stands in for it.
WILD_ALONE = round(0.35 * 3.56, 2)
# A connection takes a descriptor, and both ends have others besides.
CONNECTIONS = max(100, min(19_000, machine.descriptors() - 1_000))

WORKS = (
    Work(
        "p2p-qos0",
        ("p2p", "-n", "100", "--qos", "0"),
        (cpu("p2p-qos0", "100 pairs, QoS 0", Target(1.6, "floor")),),
        small=("p2p", "-n", "100", "--qos", "0", "--messages", "20000"),
        counted={"delivered": 20000},
    ),
    Work(
        "p2p-qos1",
        ("p2p", "-n", "100", "--qos", "1"),
        (cpu("p2p-qos1", "100 pairs, QoS 1", Target(1.6, "floor")),),
        small=("p2p", "-n", "100", "--qos", "1", "--messages", "10000"),
        counted={"delivered": 10000},
    ),
    Work(
        "p2p-qos2",
        ("p2p", "-n", "100", "--qos", "2"),
        (cpu("p2p-qos2", "100 pairs, QoS 2", Target(1.6, "floor")),),
        small=("p2p", "-n", "100", "--qos", "2", "--messages", "5000"),
        counted={"delivered": 5000},
    ),
    Work(
        "fanout",
        ("fanout", "-n", "1000"),
        (cpu("fanout", "fan-out 1 to 1000", Target(1.4, "floor")),),
        small=("fanout", "-n", "1000", "--messages", "50"),
        counted={"delivered": 50000},
    ),
    Work(
        "fanin",
        ("fanin", "-n", "100"),
        (cpu("fanin", "fan-in 100 to 1", Target(1.0, "floor")),),
        small=("fanin", "-n", "100", "--messages", "20000"),
        counted={"delivered": 20000},
    ),
    Work(
        "wild",
        ("wild", "-m", "200000", "-k", "5"),
        (
            cpu("wild", "200,000 wildcard subscriptions, 5 match", Target(0.35, "flashmq"), Target(WILD_ALONE)),
            cpu("subscribe", "subscribing, each of 200,000", Target(1.0), phase="subscribe", each="subscription"),
            rss(
                "subscription-bytes",
                "a subscription, each of 200,000",
                Target(150),
                phase="subscribe",
                each="subscription",
            ),
        ),
        floor=False,
        small=("wild", "-m", "5000", "-k", "5", "--messages", "2000"),
        counted={"published": 2000},
    ),
    Work(
        "retain",
        ("retain", "-r", "50000"),
        (
            cpu("retain-store", "retained: storing each of 50,000", Target(1.0), phase="store", each="message"),
            cpu("retain-deliver", "retained: delivering each of 50,000", Target(0.6), phase="deliver"),
            rss("retained-bytes", "a retained message of 64 bytes", phase="store", each="message"),
        ),
        timed=False,
        floor=False,
        small=("retain", "-r", "3000"),
    ),
    Work(
        "conns",
        ("conns", "-c", str(CONNECTIONS), "--hold", "1"),
        (
            cpu("connect", "a connection", Target(20), phase="connect", each="connection"),
            rss(
                "connection-bytes",
                f"an idle connection, each of {CONNECTIONS:,}",
                Target(1500),
                phase="connect",
                each="connection",
            ),
            Figure(
                "connection-heap", "the same: anonymous memory", "connect", "anon_bytes_per_op", "bytes", "connection"
            ),
        ),
        timed=False,
        small=("conns", "-c", "300", "--hold", "0.1", "--ping"),
    ),
    Work(
        "churn",
        ("churn", "-n", "50"),
        (cpu("churn", "connect, subscribe, publish, receive, leave", Target(70), each="cycle"),),
        small=("churn", "-n", "20", "--messages", "300"),
    ),
    Work(
        "paced",
        ("p2p", "-n", "100", "--rate", "20000"),
        (cpu("paced", "20,000 messages/s over 100 pairs, one a read", Target(1.15, "floor")),),
        small=("p2p", "-n", "100", "--rate", "20000", "--messages", "4000"),
        counted={"delivered": 4000},
    ),
)
