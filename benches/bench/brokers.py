"""The brokers that are compared: how each is started, with its limits off or with its defaults, and its version."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# How a broker is set up: with every limit off (what each row is measured with), with its own defaults, or with room for
# a long queue. Midge has no limit to take off for the rows: there it is measured with its defaults.
OPEN, DEFAULTS, QUEUE = "open", "defaults", "queue"
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/usr/local/bin"


@dataclass
class Kind:
    """One of the programs that may be measured."""

    name: str
    program: str
    command: Callable[[str, int, Path, str], list[str]]
    version: Callable[[str], str]
    environment: Callable[[int, Path], dict[str, str]] = lambda port, where: {}


def midge(program: str, port: int, where: Path, setup: str) -> list[str]:
    """Midge with its defaults; a queue for 200,000 messages where one is asked for."""
    queue = ["--set", "session.max_queued_messages=200000", "--set", "session.max_queued_bytes=64MiB"]
    return [program, "serve", "--quiet", "--listen", f"127.0.0.1:{port}", *(queue if setup == QUEUE else [])]


def floor(program: str, port: int, where: Path, setup: str) -> list[str]:
    """The program that copies bytes."""
    return [program, str(port)]


def mosquitto(program: str, port: int, where: Path, setup: str) -> list[str]:
    """Nagle's algorithm is off, as it is for all others."""
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "persistence false",
        "max_connections -1",
        "set_tcp_nodelay true",
        "log_dest none",
        f"sys_interval {0 if setup == OPEN else 1}",
    ]
    if os.geteuid() == 0:
        lines.append("user root")
    if setup == OPEN:
        lines += ["max_inflight_messages 0", "max_queued_messages 0", "max_packet_size 268435455"]
    if setup == QUEUE:
        lines += ["max_queued_messages 200000", "max_queued_bytes 0"]
    return [program, "-c", written(where / "mosquitto.conf", lines)]


def flashmq(program: str, port: int, where: Path, setup: str) -> list[str]:
    """One thread, as the others have."""
    lines = [
        "allow_anonymous true",
        "thread_count 1",
        "log_level error",
        f"log_file {where}/flashmq.log",
        "max_qos_msg_pending_per_client 65535",
        "max_qos_bytes_pending_per_client 67108864",
        "listen {",
        "  protocol mqtt",
        "  inet_protocol ip4",
        "  inet4_bind_address 127.0.0.1",
        f"  port {port}",
        "}",
    ]
    return [program, "-c", written(where / "flashmq.conf", lines)]


def nanomq(program: str, port: int, where: Path, setup: str) -> list[str]:
    """Its defaults but for the queue's length."""
    lines = [
        "mqtt { max_packet_size = 256MB, max_mqueue_len = 65535, keepalive_multiplier = 1.25, property_size = 32 }",
        f'listeners.tcp {{ bind = "127.0.0.1:{port}" }}',
        "auth { allow_anonymous = true, no_match = allow, deny_action = ignore }",
    ]
    return [program, "start", "--conf", written(where / "nanomq.conf", lines)]


def rumqttd(program: str, port: int, where: Path, setup: str) -> list[str]:
    """The limits of its example, raised."""
    lines = [
        "id = 0",
        "[router]",
        "id = 0",
        "max_connections = 30000",
        "max_outgoing_packet_count = 200",
        "max_segment_size = 104857600",
        "max_segment_count = 10",
        "[v4.1]",
        'name = "v4-1"',
        f'listen = "127.0.0.1:{port}"',
        "next_connection_delay_ms = 0",
        "[v4.1.connections]",
        "connection_timeout_ms = 60000",
        "max_payload_size = 1048576",
        "max_inflight_count = 500",
        "dynamic_filters = true",
    ]
    return [program, "-q", "-c", written(where / "rumqttd.toml", lines)]


def emqx(program: str, port: int, where: Path, setup: str) -> list[str]:
    """In the foreground; its settings come by the environment."""
    return [program, "foreground"]


def emqx_environment(port: int, where: Path) -> dict[str, str]:
    """One TCP listener, and nothing else that listens."""
    off = {f"EMQX_LISTENERS__{kind}__DEFAULT__ENABLE": "false" for kind in ("SSL", "WS", "WSS")}
    return {
        **off,
        "EMQX_LISTENERS__TCP__DEFAULT__BIND": f"127.0.0.1:{port}",
        "EMQX_NODE__DATA_DIR": str(where),
        "EMQX_DASHBOARD__LISTENERS__HTTP__BIND": "0",
        "EMQX_MQTT__MAX_MQUEUE_LEN": "infinity",
    }


def written(path: Path, lines: list[str]) -> str:
    """Writes a settings file; its path."""
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def says(*arguments: str) -> Callable[[str], str]:
    """Asks a program for its version: the first number with a dot that it prints."""

    def ask(program: str) -> str:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            told = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20)
            found = re.search(r"\d+\.\d+[\w.+-]*", told.stdout + told.stderr)
            if found:
                return found.group(0)
        return "unknown"

    return ask


KINDS = [
    Kind("midge", "midge", midge, says("--version")),
    Kind("base", "midge-base", midge, says("--version")),
    Kind("floor", "rawrelay", floor, lambda program: "rawrelay"),
    Kind("mosquitto", "mosquitto", mosquitto, says("-h")),
    Kind("flashmq", "flashmq", flashmq, says("--version")),
    Kind("nanomq", "nanomq", nanomq, says("--version")),
    Kind("rumqttd", "rumqttd", rumqttd, says("--version")),
    Kind("emqx", "emqx", emqx, says("version"), emqx_environment),
]


@dataclass
class Peer:
    """A program that is there to be measured."""

    kind: Kind
    program: str
    version: str
    extra: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.kind.name


def installed(built: dict[str, Path], wanted: list[str] | None) -> list[Peer]:
    """Midge, the floor, and the peers that are wanted (None: all) and installed."""
    peers = []
    for kind in KINDS:
        program = built.get(kind.program) or shutil.which(kind.program, path=SEARCH)
        if kind.name not in ("midge", "base", "floor") and wanted is not None and kind.name not in wanted:
            continue
        if program:
            peers.append(Peer(kind, str(program), kind.version(str(program))))
    return peers


class Broker:
    """A fresh process of a peer, listening."""

    def __init__(self, peer: Peer, setup: str, processors: set[int] | None) -> None:
        self.where = tempfile.TemporaryDirectory(prefix="bench-")
        where = Path(self.where.name)
        self.port = free_port()
        self.command = [*peer.kind.command(peer.program, self.port, where, setup), *peer.extra]
        self.process = subprocess.Popen(
            self.command,
            cwd=where,
            env={**os.environ, **peer.kind.environment(self.port, where)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=pinned(processors),
        )
        try:
            self.listening()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def listening(self) -> None:
        """Waits until somebody listens."""
        end = time.monotonic() + 60
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the broker ended at once (status {self.process.returncode}): {self.command}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if time.monotonic() > end:
                raise RuntimeError(f"the broker does not listen: {self.command}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends the process and what it started: it leads a session of its own."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.where.cleanup()

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def pinned(processors: set[int] | None, idle: bool = False) -> Callable[[], None]:
    """What a child does before it becomes its program."""

    def prepare() -> None:
        if processors:
            os.sched_setaffinity(0, processors)
        if idle:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    return prepare


def free_port() -> int:
    """A free port below those that the kernel gives to clients."""
    start = 20000 + os.getpid() * 10 % 9000
    for port in [*range(start, 30000, 10), *range(20000, start, 10)]:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")
