#!/usr/bin/env python3
"""Midge beside the brokers that are installed and beside the floor: `make bench`. benches/README.md says more."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench import fairness, load, machine, picture, report, rounds, smoke
from bench.brokers import installed
from bench.rounds import Bench
from bench.rows import WORKS

HERE = Path(__file__).resolve().parent


def words(text: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", text) if word]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="the measured part of each flow")
    parser.add_argument(
        "--rows", type=words, default=[], help="only these, or those that begin so; also fairness, threads"
    )
    parser.add_argument(
        "--peers", type=words, default=None, help="only these besides Midge and the floor; none: no others"
    )
    parser.add_argument("--base", type=Path, help="another build of Midge, measured beside this one")
    parser.add_argument(
        "--report", action="store_true", help="write page and picture from results.json, measure nothing"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="each row in little: the counts must be exact, no time counts"
    )
    parser.add_argument(
        "--selftest", action="store_true", help="every scenario of the load generator against every broker"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE, help="where results.json, RESULTS.md and results.svg are written"
    )
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    if not asked.report:
        programs = load.build(release=not asked.smoke)
        if asked.base:
            programs["midge-base"] = asked.base.absolute()
        peers = installed(programs, asked.peers)
        broker_on, load_on = machine.processors()
        bench = Bench(programs, peers, asked.rounds, asked.seconds, broker_on, load_on)
        if asked.smoke:
            return smoke.run(bench)
        if asked.selftest:
            return smoke.every_scenario(bench)
        measure(bench, asked)
    data = json.loads((asked.out / "results.json").read_text())
    (asked.out / "RESULTS.md").write_text(report.page(data))
    (asked.out / "results.svg").write_text(picture.draw(data))
    print(f"written: {asked.out}/RESULTS.md, results.svg, results.json")
    return 0


def measure(bench: Bench, asked: argparse.Namespace) -> None:
    """Measures what is asked for, and writes it down after each row, so that an end before the end loses little."""
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "results.json"
    data = begun(path, bench, asked)
    works = [work for work in WORKS if wanted(work.name, asked.rows)]
    cases = [case for case in fairness.CASES if wanted(f"fairness-{case.name}", asked.rows)]
    if not works and not cases and not wanted("threads", asked.rows):
        sys.exit(f"no such row: {' '.join(asked.rows)}; there are {' '.join(w.name for w in WORKS)} fairness threads")
    print(f"measuring {', '.join(f'{peer.name} {peer.version}' for peer in bench.peers)}", flush=True)
    for work in works:
        data["rows"][work.name] = {**rounds.measure(bench, work), "commit": data["commit"]}
        write(path, data)
    if wanted("threads", asked.rows):
        data["threads"] = rounds.threads(bench)
        write(path, data)
    for case in cases:
        data["fairness"][case.name] = fairness.measure(bench, case)
        write(path, data)


def wanted(name: str, rows: list[str]) -> bool:
    return not rows or any(name.startswith(row) for row in rows)


def begun(path: Path, bench: Bench, asked: argparse.Namespace) -> dict[str, Any]:
    """What is known before anything is measured. Rows that are not asked for stay, if they are of the same machine."""
    facts = machine.facts()
    timing = ["--rounds", str(asked.rounds), "--seconds", f"{asked.seconds:g}"]
    chosen = [word for name in ("rows", "peers") if (some := getattr(asked, name)) for word in (f"--{name}", ",".join(some))]
    command = f"`{shlex.join(['benches/run.py', *timing, *chosen])}`"
    data: dict[str, Any] = {
        "command": command,
        "when": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": machine.commit(),
        "machine": facts,
        "pinned": [sorted(p)[0] for p in (bench.broker_on, bench.load_on) if p] or None,
        "versions": {peer.name: peer.version for peer in bench.peers},
        "rows": {},
        "threads": None,
        "fairness": {},
    }
    if asked.rows and path.exists():
        before = json.loads(path.read_text())
        if before.get("machine") == facts:
            data |= {key: before[key] for key in ("rows", "threads", "fairness")}
            data["versions"] = {**before["versions"], **data["versions"]}
    return data


def write(path: Path, data: dict[str, Any]) -> None:
    """One run a line: short enough to be committed, and to be read in a diff."""
    text = json.dumps(data, indent=1)
    # What lies deeper than a round stands on one line.
    text = re.sub(r"\n {5,}\s*", " ", text)
    path.write_text(re.sub(r"\n {4}([\]}])", r" \1", text) + "\n")


if __name__ == "__main__":
    sys.exit(main())
