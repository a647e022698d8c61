#!/usr/bin/env python3
"""What a durable acknowledgement costs, beside its floor and mosquitto; and how a full store starts.

benches/README.md says more. The figures are printed as tables of Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import machine
from bench.brokers import OPEN, SEARCH, Broker, Kind, Peer, free_port, midge, mosquitto, written
from bench.load import Load, build

Run = dict[str, Any]
# Room for all that waits.
LIMITS = ["--set", "session.max_queued_messages=2000000", "--set", "session.max_queued_bytes=4GiB"]
CALLS = "fdatasync,fsync,msync,sync_file_range,syncfs"


def midge_memory(program: str, port: int, where: Path, setup: str) -> list[str]:
    return [*midge(program, port, where, setup), *LIMITS]


def midge_durable(program: str, port: int, where: Path, setup: str) -> list[str]:
    return [*midge_memory(program, port, where, setup), "--set", f"storage.path={where}/store"]


def floor(program: str, port: int, where: Path, setup: str) -> list[str]:
    return [program, str(port), str(where / "log")]


def mosquitto_safest(program: str, port: int, where: Path, setup: str) -> list[str]:
    """A snapshot after each change: the safest that it has. It acknowledges before that."""
    command = mosquitto(program, port, where, setup)
    lines = [line for line in (where / "mosquitto.conf").read_text().splitlines() if line != "persistence false"]
    lines += ["persistence true", f"persistence_location {where}/", "autosave_interval 1", "autosave_on_changes true"]
    written(where / "mosquitto.conf", lines)
    return command


def peers(programs: dict[str, Path]) -> list[Peer]:
    kinds = [
        Kind("memory", "midge", midge_memory, str),
        Kind("durable", "midge", midge_durable, str),
        Kind("floor", "rawlog", floor, str),
        Kind("mosquitto", "mosquitto", mosquitto_safest, str),
    ]
    return [Peer(kind, str(programs[kind.program]), "") for kind in kinds if kind.program in programs]


class Counted(Broker):
    """A broker whose flushes strace counts; nothing else of it stops for that."""

    def __init__(self, peer: Peer) -> None:
        self.told = tempfile.NamedTemporaryFile(prefix="bench-", suffix=".strace")
        counter = ["strace", "-f", "--seccomp-bpf", "-c", "-U", "calls,name", "-e", f"trace={CALLS}", "-o", self.told.name]
        plain = peer.kind.command
        kind = Kind(peer.name, peer.kind.program, lambda *given: [*counter, *plain(*given)], str)
        super().__init__(Peer(kind, peer.program, ""), OPEN, None)

    @property
    def pid(self) -> int:
        own = self.process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return int(children[0]) if children else own

    def flushes(self) -> int:
        """Ends the broker; how often it has flushed."""
        os.kill(self.pid, signal.SIGTERM)
        self.process.wait(120)
        count = 0
        for line in Path(self.told.name).read_text().splitlines():
            words = line.split()
            if len(words) == 2 and words[0].isdigit() and words[1] in CALLS.split(","):
                count += int(words[0])
        return count


def written_bytes(where: Path) -> int:
    """Bytes that were written to the device below a directory, by whomever; a process's own counter counts whole folios."""
    device = where.stat().st_dev
    stat = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    return int(stat.read_text().split()[6]) * 512


def flow(load: Path, broker: Broker, peer: Peer, asked: argparse.Namespace, publishers: int, present: bool) -> Run:
    """One run of the load: its figures, and the bytes that were written until all was acknowledged."""
    words = ["lasting", "-n", str(publishers), "--payload", str(asked.payload), "--seconds", f"{asked.seconds:g}"]
    words += ["--present"] if present else []
    drained = peer.name != "floor" and not isinstance(broker, Counted)
    words += [] if drained else ["--no-drain"]
    where = Path(broker.where.name)
    running = Load(load, broker, words, None, sync=True).ready()
    before = written_bytes(where)
    running.begin()
    running.ready()
    bytes_written = written_bytes(where) - before
    running.begin()
    if not present and drained:
        running.ready()
        running.begin()
    found = running.result()
    if not found.get("ok"):
        print(f"remark: {peer.name}, {publishers}, {found.get('errors')}", file=sys.stderr, flush=True)
    found["bytes_per_message"] = bytes_written / max(1, found.get("acked", 0))
    return found


def measure(programs: dict[str, Path], asked: argparse.Namespace) -> dict[str, list[Run]]:
    """All flows, alternating: rounds, then one more in which the flushes are counted."""
    runs: dict[str, list[Run]] = {}
    some = [peer for peer in peers(programs) if not asked.peers or peer.name in asked.peers]
    idle = {}
    for peer in some:
        broker = Counted(peer)
        idle[peer.name] = broker.flushes()
        broker.stop()
    for number in range(asked.rounds + 1):
        for present in (False, True):
            for publishers in asked.publishers:
                for peer in some:
                    if peer.name == "floor" and present:
                        continue
                    counted = number == asked.rounds
                    broker = Counted(peer) if counted else Broker(peer, OPEN, None)
                    with broker:
                        found = flow(programs["midge-load"], broker, peer, asked, publishers, present)
                        if isinstance(broker, Counted):
                            found["flushes"] = max(0, broker.flushes() - idle[peer.name])
                    found["counted"] = counted
                    runs.setdefault(f"{'there' if present else 'away'} {publishers} {peer.name}", []).append(found)
                    print(".", end="", file=sys.stderr, flush=True)
    return runs


def table(runs: dict[str, list[Run]]) -> str:
    """Medians of the rounds. Flushes are of the counted run."""
    lines = [
        "| subscribers | in flight | broker | messages/s | CPU us each | drain CPU us each | p50 ms | p99 ms | bytes written each |"
        " messages a flush | ms a flush |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in runs.items():
        where, publishers, peer = name.split()
        plain = [run for run in found if not run["counted"] and "ack_us" in run]
        if not plain:
            continue

        def median(of: Any, digits: int = 1) -> str:
            values = [value for run in plain if (value := of(run)) is not None]
            return f"{statistics.median(values):,.{digits}f}" if values else ""

        counted = next((run for run in found if run["counted"] and "ack_us" in run), None)
        each = spent = ""
        flushes = counted["flushes"] if counted else 0
        if counted and flushes:
            each = f"{counted['acked'] / flushes:,.1f}"
            spent = f"{1000 * counted['acked'] / counted['msgs_per_s'] / flushes:,.2f}"
        cells = [
            where,
            publishers,
            peer,
            median(lambda run: run["msgs_per_s"], 0),
            median(lambda run: run["phases"]["publish"].get("cpu_us_per_op")),
            median(lambda run: run["phases"].get("drain", {}).get("cpu_us_per_op")),
            median(lambda run: run["ack_us"]["p50"] / 1000, 2),
            median(lambda run: run["ack_us"]["p99"] / 1000, 2),
            median(lambda run: run["bytes_per_message"], 0),
            each,
            spent,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


class Store:
    """A directory with a store, and the broker on it, started and ended by hand."""

    def __init__(self, program: Path, where: Path) -> None:
        self.program, self.where, self.port = str(program), where, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Starts the broker; seconds until it has answered a CONNECT."""
        began = time.monotonic()
        command = [self.program, "serve", "--quiet", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--set", f"storage.path={self.where}", *LIMITS]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        hello = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01z"
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the broker ended (status {self.process.returncode})")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 120) as probe:
                    probe.sendall(hello)
                    if probe.recv(4)[:1] == b"\x20":
                        return time.monotonic() - began
            except OSError:
                time.sleep(0.02)

    def stop(self) -> float:
        assert self.process
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(300)
        return time.monotonic() - began

    def memory(self) -> str:
        """Resident MiB: all, and what belongs to no file; the peak."""
        assert self.process
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        mib = {key: int(lines[key].split()[0]) // 1024 for key in ("VmRSS", "RssAnon", "VmHWM")}
        return f"{mib['VmRSS']} MiB resident ({mib['RssAnon']} anonymous, peak {mib['VmHWM']})"

    def size(self) -> str:
        return ", ".join(f"{it.name} {it.stat().st_size / (1 << 20):.1f} MiB" for it in sorted(self.where.iterdir()) if it.stat().st_size > 4096)


def offline(programs: dict[str, Path], store: Store, *words: str) -> subprocess.Popen[str]:
    """Runs the load until its messages wait, and leaves it before the drain."""
    assert store.process
    command = [str(programs["midge-load"]), "offline", "--keep", "--qos", "1", "--concurrency", "1000", *words]
    command += ["--port", str(store.port), "--patience", "120", "--deadline", "1200", "--json", "--sync"]
    running = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr
    running.stderr.readline()
    return running


def again(store: Store, what: str) -> None:
    """Ends the broker cleanly and starts it again, and once more after kill -9."""
    say(f"{what}: {store.memory()}; files: {store.size()}")
    say(f"clean stop: {store.stop():.1f} s; files: {store.size()}")
    say(f"start to CONNACK: {store.start():.2f} s; {store.memory()}")
    assert store.process
    store.process.kill()
    store.process.wait()
    say(f"start to CONNACK after kill -9: {store.start():.2f} s; {store.memory()}")


def say(text: str) -> None:
    print(f"- {text}", flush=True)


def full(programs: dict[str, Path], asked: argparse.Namespace) -> None:
    """A store in which many messages of 1 KiB wait."""
    with tempfile.TemporaryDirectory(prefix="bench-") as where:
        store = Store(programs["midge"], Path(where) / "store")
        say(f"empty: start to CONNACK {store.start():.2f} s, {store.memory()}; files: {store.size()}")
        began = time.monotonic()
        running = offline(programs, store, "-n", "1000", "--messages", str(asked.messages), "--payload", "1024", "--window", "2000")
        say(f"{asked.messages:,} messages of 1 KiB queued for 1,000 sessions in {time.monotonic() - began:.0f} s")
        again(store, "with them")
        began = time.monotonic()
        out, _ = running.communicate("\n")
        found = json.loads(out)
        say(f"drained {found.get('delivered'):,} in {time.monotonic() - began:.0f} s, lost {found.get('lost')}")
        again(store, "after the drain")
        say(f"clean stop: {store.stop():.1f} s; files: {store.size()}")
        began = time.monotonic()
        subprocess.run([store.program, "storage", "compact", str(store.where)], check=True)
        say(f"midge storage compact: {time.monotonic() - began:.1f} s; files: {store.size()}")


def many(programs: dict[str, Path], asked: argparse.Namespace) -> None:
    """A store of many sessions with one subscription and one message each."""
    with tempfile.TemporaryDirectory(prefix="bench-") as where:
        store = Store(programs["midge"], Path(where) / "store")
        store.start()
        began = time.monotonic()
        most = min(10_000, machine.descriptors() // 2)
        for _ in range(asked.sessions // most):
            offline(programs, store, "-n", str(most), "--messages", str(most), "--window", "2000").kill()
        say(f"{asked.sessions // most * most:,} sessions made in {time.monotonic() - began:.0f} s")
        again(store, "with them")
        store.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["flows", "full", "many"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--payload", type=int, default=256)
    parser.add_argument("--publishers", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--peers", nargs="+", default=[])
    parser.add_argument("--messages", type=int, default=1_000_000, help="that wait, for full")
    parser.add_argument("--sessions", type=int, default=100_000, help="for many")
    parser.add_argument("--midge", type=Path, help="this program instead of a new build")
    parser.add_argument("--load", type=Path, help="the folder of built load programs")
    asked = parser.parse_args()
    if asked.midge and asked.load:
        programs = {"midge": asked.midge, **{name: asked.load / name for name in ("midge-load", "rawlog")}}
    else:
        programs = build(release=True)
    if found := shutil.which("mosquitto", path=SEARCH):
        programs["mosquitto"] = Path(found)
    if asked.what == "flows":
        runs = measure(programs, asked)
        print("\n" + table(runs))
    else:
        {"full": full, "many": many}[asked.what](programs, asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
