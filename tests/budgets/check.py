#!/usr/bin/env python3
"""Counts what the rows of tests/budgets take and compares it with budgets.toml. tests/budgets/run.sh calls it.

    check.py <program> <program with the durable store, or nothing> [--durable | --bless | --profile <row>]

Instructions are callgrind's, of the engine alone; system calls are strace's, of the broker's thread alone; the program
counts its allocations itself. --bless writes what was counted into budgets.toml; --profile shows where the instructions of one row go.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

BUDGETS = Path(__file__).resolve().parent / "budgets.toml"
# Which copying and comparing functions glibc chooses depends on the processor: the oldest of x86-64 are everywhere.
NEWER = "AVX512F AVX512VL AVX512BW AVX2 AVX AVX2_Usable AVX_Usable ERMS FSRM SSSE3 SSE4_1 SSE4_2 BMI1 BMI2 LZCNT MOVBE"
ENVIRONMENT = os.environ | {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in NEWER.split())
}
CALLGRIND = [
    "valgrind",
    "--tool=callgrind",
    "--collect-atstart=no",
    "--toggle-collect=*rows::measured*",
    "--zero-before=*row_begins*",
    "--dump-before=*row_ends*",
]
# A compiler of another version makes other code; tables are seeded at random.
TOLERANCE = {"instructions": 0.03, "allocations": 0.03, "system_calls": 0.02}
# So far below its budget a row says that the budget may be lowered.
FAR_BELOW = 0.1
# A few instructions a batch, the last system call of a row, a table that grows a little earlier: a part of one a message.
SLACK = {"instructions": 1, "allocations": 0.005, "system_calls": 0.01}


def run(
    command: list[str], environment: dict[str, str]
) -> list[tuple[str, int, int, int]]:
    """The program's lines: name, units, allocations, context switches."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    lines = (line.split() for line in done.stdout.splitlines())
    return [(line[0], int(line[1]), int(line[2]), int(line[3])) for line in lines]


def engine(program: str, rows: str, work: Path) -> dict[str, dict[str, float]]:
    """Instructions and allocations of the rows without sockets. Callgrind writes one file a row."""
    out = work / f"callgrind-{rows}"
    lines = run([*CALLGRIND, f"--callgrind-out-file={out}", program, rows], ENVIRONMENT)
    counted = {}
    for number, (name, units, allocations, _) in enumerate(lines, 1):
        summary = re.search(r"^summary: (\d+)", Path(f"{out}.{number}").read_text(), re.M)
        instructions = int(summary[1]) if summary else 0
        if not instructions:
            sys.exit(f"{name}: callgrind has counted nothing")
        counted[name] = {"instructions": instructions / units, "allocations": allocations / units}
    return counted


def sockets(program: str, work: Path) -> dict[str, dict[str, float]]:
    """System calls and allocations of the rows with sockets, and context switches for information."""
    plain = {line[0]: line for line in run([program, "sockets"], dict(os.environ))}
    trace = work / "trace"
    traced = run(["strace", "-f", "-s", "100", "-o", str(trace), program, "sockets"], dict(os.environ))
    calls = system_calls(trace)
    counted = {}
    for name, units, allocations, _ in traced:
        each = {call: count / units for call, count in calls[name].most_common(4)}
        counted[name] = {
            "system_calls": sum(calls[name].values()) / units,
            "allocations": allocations / units,
            "switches": plain[name][3] / units,
            "calls": each,
        }
    return counted


def system_calls(trace: Path) -> dict[str, Counter[str]]:
    """Per row: the calls of all threads but the first, which is the clients', between the row's marks."""
    rows: dict[str, Counter[str]] = {}
    row = None
    first = None
    for line in trace.read_text().splitlines():
        thread, rest = line.split(maxsplit=1)
        first = first or thread
        mark = re.match(r'write\(2, "(begin|end) (\w+)\\n"', rest)
        if mark and thread == first:
            row = mark[2] if mark[1] == "begin" else None
            rows.setdefault(mark[2], Counter())
        call = re.match(r"(\w+)\(", rest)
        if row and call and thread != first:
            rows[row][call[1]] += 1
    return rows


def compare(name: str, budget: dict[str, float], counted: dict[str, float]) -> list[str]:
    """What is wrong with a row."""
    wrong = []
    for kind in sorted(set(budget) | (set(counted) & set(TOLERANCE))):
        if kind not in budget or kind not in counted:
            missing = "budget" if kind not in budget else "count"
            wrong.append(f"{name}: there is no {missing} of {kind}: edit {BUDGETS.name}")
            continue
        allowed, found = budget[kind], counted[kind]
        slack = SLACK[kind] if allowed else 0  # none is none
        if found > allowed * (1 + TOLERANCE[kind]) + slack:
            more = f"{100 * (found / allowed - 1):+.1f} %" if allowed else "which is to be none"
            wrong.append(
                f"{name}: {found:.4g} {kind} each, budget {allowed:.4g}, {more}: make it cheaper, or write the new "
                f"number into {BUDGETS.relative_to(Path.cwd())} and say in the commit why it is worth it"
            )
        elif found < allowed * (1 - FAR_BELOW) - slack:
            print(f"{name}: {found:.4g} {kind} each, budget {allowed:.4g}: it may be lowered")
    return wrong


def write(counted: dict[str, dict[str, float]]) -> None:
    """Replaces the rows of budgets.toml; its first lines and other tables stay."""
    text = BUDGETS.read_text()
    lines = ["[rows]"]
    for name, row in counted.items():
        parts = []
        if "instructions" in row:
            parts.append(f"instructions = {row['instructions']:.0f}")
        if "system_calls" in row:
            parts.append(f"system_calls = {row['system_calls']:.2f}")
        parts.append(f"allocations = {row['allocations']:.3f}".rstrip("0").rstrip("."))
        lines.append(f"{name} = {{ {', '.join(parts)} }}")
    text = re.sub(r"^\[rows\]\n(?:.+\n)*", "\n".join(lines) + "\n", text, flags=re.M)
    BUDGETS.write_text(text)


def profile(program: str, row: str) -> None:
    """Shows where the instructions of a row go."""
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / "callgrind"
        lines = run([*CALLGRIND, f"--callgrind-out-file={out}", program, row], ENVIRONMENT)
        if not lines:
            sys.exit(f"there is no row {row}")
        show = BUDGETS.parent / "profile.py"
        subprocess.run([sys.executable, show, f"{out}.1", str(lines[0][1])], check=True)


def main() -> None:
    program, durable = sys.argv[1:3]
    if "--profile" in sys.argv:
        row = sys.argv[-1]
        return profile(durable if row.startswith("durable_") else program, row)
    with tempfile.TemporaryDirectory() as work:
        counted = engine(program, "engine", Path(work))
        counted |= engine(durable, "durable", Path(work)) if durable else {}
        counted |= sockets(program, Path(work))
    print(f"{'row':32} {'instructions':>12} {'allocations':>12} {'system calls':>12} {'switches':>9}")
    for name, row in counted.items():
        cells = [
            f"{row[kind]:.{digits}f}" if kind in row else "-"
            for kind, digits in [("instructions", 0), ("allocations", 3), ("system_calls", 3), ("switches", 3)]
        ]
        calls = " ".join(f"{call} {count:.3g}" for call, count in row.get("calls", {}).items())
        print(f"{name:32} {cells[0]:>12} {cells[1]:>12} {cells[2]:>12} {cells[3]:>9}  {calls}".rstrip())
    if "--bless" in sys.argv:
        write(counted)
    rows = tomllib.loads(BUDGETS.read_text())["rows"]
    budgets = {name: row for name, row in rows.items() if durable or not name.startswith("durable_")}
    wrong = []
    failed = 0
    for name in budgets.keys() | counted.keys():
        found = compare(name, budgets.get(name, {}), counted.get(name, {}))
        failed += bool(found)
        wrong += found
    for line in sorted(wrong):
        print(f"FAILED: {line}")
    print(f"{len(budgets.keys() | counted.keys()) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
