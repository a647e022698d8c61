"""Tests of the benchmark, in which every count must be exact and no time counts.

`run`: each row and each case of fairness in little, against Midge and the floor. `every_scenario`: the load generator's
scenarios by both protocol versions and all QoS, against every broker that is there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

from . import fairness
from .brokers import OPEN, Broker, Peer
from .load import Load
from .rounds import Bench
from .rows import WORKS, Work


def run(bench: Bench) -> int:
    """Runs all; 0 if all passed."""
    midge = next(peer for peer in bench.peers if peer.name == "midge")
    floor = next(peer for peer in bench.peers if peer.name == "floor")
    checks: list[tuple[str, Callable[[], list[str]]]] = []
    for work in WORKS:
        for peer in [midge, floor] if work.floor else [midge]:
            checks.append((f"{work.name} of {peer.name}", partial(row, bench, peer, work)))
    for case in fairness.CASES:
        checks.append((f"fairness-{case.name}", partial(unfair, bench, midge, case)))
    failed = 0
    for name, check in checks:
        wrong = check()
        failed += bool(wrong)
        print(f"{'FAILED' if wrong else 'ok'} {name} {'; '.join(wrong)}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


def every_scenario(bench: Bench) -> int:
    """All scenarios against all brokers but the floor, which knows only some; 0 if all passed."""
    passed = failed = 0
    for peer in (peer for peer in bench.peers if peer.name != "floor"):
        for words in scenarios():
            with Broker(peer, OPEN, None) as broker:
                found = Load(bench.programs["midge-load"], broker, [*words.split(), "--deadline", "120"], None).result()
            passed += bool(found["ok"])
            failed += not found["ok"]
            print(f"{'ok' if found['ok'] else 'FAILED'} {peer.name} {words} {'; '.join(found['errors'])}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def scenarios() -> list[str]:
    """The scenarios, briefly."""
    flow = "--seconds 0.5 --warmup 0.1"
    every = ["p2p --seconds 0.5 --flood", "p2p --messages 54321 --qos 1"]
    for proto, qos in product((4, 5), (0, 1, 2)):
        both = f"--proto {proto} --qos {qos}"
        every += [
            f"p2p {both} {flow}",
            f"p2p {both} {flow} --rate 3000",
            f"p2p {both} {flow} --payload 30000 -n 10",
            f"fanin {both} {flow}",
            f"fanout {both} {flow} -n 200",
            f"wild {both} {flow} -m 20000",
            f"latency {both} {flow}",
            f"churn {both} {flow}",
            f"retain {both} -r 5000 --fraction 0.2 -n 3",
            f"conns {both} -c 1000 --procs 2 --hold 0.2 --subscribe --ping --broadcast 100",
        ]
        if qos:
            every.append(f"offline {both} -n 100 --messages 5000")
    for proto, present in product((4, 5), ("", "--present")):
        every.append(f"lasting --proto {proto} -n 20 --messages 2000 --seconds 10 {present}")
    return every


def row(bench: Bench, peer: Peer, work: Work) -> list[str]:
    """What is wrong with a row."""
    warmup = ["--warmup", "0.1"] if work.timed else []
    with Broker(peer, OPEN, None) as broker:
        found = Load(bench.programs["midge-load"], broker, [*work.small, *warmup, "--deadline", "60"], None).result()
    wrong = list(found["errors"])
    for key, count in work.counted.items():
        if found.get(key) != count:
            wrong.append(f"{key} is {found.get(key)}, not {count}")
    for figure in work.figures:
        if found.get("phases", {}).get(figure.phase, {}).get(figure.value) is None:
            wrong.append(f"no {figure.value} of {figure.phase}")
    return wrong


def unfair(bench: Bench, peer: Peer, case: fairness.Case) -> list[str]:
    """What is wrong with a case: the quiet ones lose nothing, and each message is delivered or counted as dropped."""
    with Broker(peer, case.setup, None) as broker:
        found = fairness.run(bench, broker, case, None)
    wrong = []
    for when in ("alone", "beside"):
        figures: dict[str, Any] = found[when]
        if not figures:
            wrong.append(f"no figures of the quiet ones {when}")
            continue
        wrong += figures["errors"]
        if figures["lost"] or not figures["delivered"]:
            wrong.append(f"{when}: {figures['delivered']} delivered, {figures['lost']} lost")
    trouble = found["trouble"]
    wrong += [f"the trouble-maker: {error}" for error in trouble.get("errors") or []]
    if case.name.startswith("stalled"):
        dropped = sum(found["dropped"].values())
        if not dropped:
            wrong.append("nothing was dropped: the subscriber that stopped reading was no trouble")
        if trouble["delivered"] + dropped != found["passed"]:
            wrong.append(
                f"{found['passed']} passed by; {trouble['delivered']} delivered, {dropped} dropped: {found['dropped']}"
            )
    elif found["dropped"]:
        wrong.append(f"dropped: {found['dropped']}")
    return wrong
