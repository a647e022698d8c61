"""Alternating rounds: every broker once in each round, so that a drift of the machine hits all alike."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import machine
from .brokers import OPEN, Broker, Peer
from .load import Load, Result, strace_count, strace_total
from .rows import Figure, Work

# Beyond this much CPU of other programs, in percent of a processor, a run was noisy.
NOISY = 10.0


@dataclass
class Bench:
    """What all runs share."""

    programs: dict[str, Path]
    peers: list[Peer]
    rounds: int
    seconds: float
    broker_on: set[int] | None
    load_on: set[int] | None
    # Until it has turned out that perf may not count here.
    perf: bool = True

    def arguments(self, work: Work, most: float | None = None) -> list[str]:
        seconds = min(self.seconds, most or self.seconds)
        timing = ["--seconds", f"{seconds:g}"] if work.timed else []
        warmup = ["--warmup", f"{min(1.0, seconds / 3):.2g}"] if work.timed else []
        return [*work.arguments, *timing, *warmup]

    def peers_of(self, work: Work) -> list[Peer]:
        return [peer for peer in self.peers if work.floor or peer.name != "floor"]


def measure(bench: Bench, work: Work) -> dict[str, Any]:
    """All rounds of a piece of work, and one more for counting system calls."""
    peers = bench.peers_of(work)
    rounds: list[dict[str, Any]] = []
    for number in range(bench.rounds):
        told = []
        found = {}
        for peer in peers:
            result = run(bench, peer, bench.arguments(work))
            found[peer.name] = {**reduced(work, result), "errors": result["errors"]}
            first = found[peer.name].get(work.figures[0].name)
            told.append(f"{peer.name} {first['value']:.3g}" if first else f"{peer.name} FAILED {result['errors']}")
        print(f"  {work.name} {number + 1}/{bench.rounds}: {', '.join(told)}", flush=True)
        rounds.append(found)
    calls = {peer.name: system_calls(bench, peer, work) for peer in peers}
    return {"arguments": bench.arguments(work), "rounds": rounds, "system_calls": calls}


def run(bench: Bench, peer: Peer, arguments: list[str], pin: bool = True) -> Result:
    """One run against a fresh process."""
    broker_on, load_on = (bench.broker_on, bench.load_on) if pin else (None, None)
    try:
        with Broker(peer, OPEN, broker_on) as broker:
            return Load(bench.programs["midge-load"], broker, [*arguments, "--deadline", "180"], load_on).result()
    except RuntimeError as error:
        return {"ok": False, "errors": [str(error)]}


def reduced(work: Work, result: Result) -> dict[str, Any]:
    """What is kept of a run: for each figure its value, rate, switches, and the noise around it."""
    kept = {}
    for figure in work.figures:
        phase = result.get("phases", {}).get(figure.phase, {})
        if phase.get(figure.value) is not None:
            kept[figure.name] = {
                "value": phase[figure.value],
                "per_s": phase["ops_per_s"],
                "switches": phase["vol_ctxt_per_op"],
                "noise": phase["other_cpu_pct"],
            }
    return kept


def system_calls(bench: Bench, peer: Peer, work: Work) -> dict[str, Any]:
    """System calls for each operation, in a run of their own: counting makes each a little dearer."""
    counted: dict[str, Any] = {}
    if bench.perf:
        phases = run(bench, peer, [*bench.arguments(work, most=1), "--perf"]).get("phases", {})
        for figure in work.figures:
            each = (phases.get(figure.phase, {}).get("perf") or {}).get("syscalls_per_op")
            if figure.is_cpu and each is not None:
                counted[figure.name] = {"each": each, "by": "perf"}
        bench.perf = bool(counted) or not phases
    if not counted and work.timed and work.name != "churn":
        counted = by_strace(bench, peer, work)
    return counted


def by_strace(bench: Bench, peer: Peer, work: Work) -> dict[str, Any]:
    """The same by strace, which may attach where perf may not count. It slows the broker, and batches grow by that."""
    with Broker(peer, OPEN, bench.broker_on) as broker:
        load = Load(
            bench.programs["midge-load"],
            broker,
            [*bench.arguments(work, most=1), "--deadline", "180"],
            bench.load_on,
            sync=True,
        )
        load.ready()
        counting = strace_count(broker)
        load.begin()
        result = load.result()
        total = strace_total(counting) if counting else None
    if total is None or not result.get("delivered"):
        return {}
    return {work.figures[0].name: {"each": total / result["delivered"], "by": "strace"}}


def values(found: dict[str, Any], figure: Figure, peer: str) -> list[float | None]:
    """A figure in each round; None where the run failed, or something was lost: what was not done costs nothing."""
    runs = [one.get(peer, {}) for one in found["rounds"]]
    return [None if run.get("errors") else (run.get(figure.name) or {}).get("value") for run in runs]


def median(numbers: list[float | None]) -> float | None:
    there = [number for number in numbers if number is not None]
    return statistics.median(there) if there else None


def ratios(found: dict[str, Any], figure: Figure, peer: str, base: str) -> list[float]:
    """The ratio to another within each round."""
    pairs = zip(values(found, figure, peer), values(found, figure, base))
    return [a / b for a, b in pairs if a is not None and b]


def noise(found: dict[str, Any], figure: Figure) -> float | None:
    """CPU that others used, in percent of a processor: the median over the rounds of the noisiest broker's runs."""
    peers = {peer for one in found["rounds"] for peer in one}
    each = [median([(one.get(p, {}).get(figure.name) or {}).get("noise") for one in found["rounds"]]) for p in peers]
    return max((number for number in each if number is not None), default=None)


def threads(bench: Bench) -> dict[str, Any]:
    """Midge with one thread and with two, neither it nor the load pinned to a processor."""
    midge = next(peer for peer in bench.peers if peer.name == "midge")
    found: dict[str, Any] = {
        "rounds": [],
        "arguments": ["p2p", "-n", "100", "--qos", "0", "--seconds", f"{bench.seconds:g}"],
    }
    for number in range(bench.rounds):
        one = {}
        for count in (1, 2):
            peer = Peer(midge.kind, midge.program, midge.version, ("--set", f"runtime.worker_threads={count}"))
            result = run(bench, peer, found["arguments"], pin=False)
            phase = result.get("phases", {}).get("run", {})
            kept = {key: phase.get(key) for key in ("cpu_us_per_op", "ops_per_s", "vol_ctxt_per_op", "other_cpu_pct")}
            one[str(count)] = {**kept, "errors": result["errors"]}
        print(f"  threads {number + 1}/{bench.rounds}: {[one[c]['cpu_us_per_op'] for c in one]}", flush=True)
        found["rounds"].append(one)
    found["processors"] = machine.facts()["processors"]
    return found
