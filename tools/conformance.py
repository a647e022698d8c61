#!/usr/bin/env python3
"""Runs the tests that cite statements of the specifications and writes docs/CONFORMANCE.md: `make conformance`."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = {"MQTT": "MQTT 5.0", "MQTT3": "MQTT 3.1.1", "MQTT31": "MQTT 3.1, where it differs"}


def cargo(arguments, **environment):
    """The output of `cargo test`, both streams in one."""
    return subprocess.run(
        ["cargo", "test", "--no-fail-fast", "--all-features", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


def read_table():
    """The statements with their citations, as tests/conformance finds them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table"
        output = cargo(["--test", "conformance", "table::the_table_can_be_written"], MIDGE_CONFORMANCE=str(path))
        if not path.exists():
            sys.exit(output)
        rows = [line.split("\t") for line in path.read_text().splitlines()]
    names = ("id", "binds", "says", "exempt", "source", "tests")
    rows = [dict(zip(names, row)) for row in rows]
    for row in rows:
        for key in ("source", "tests"):
            row[key] = [tuple(part.split("#")) for part in row[key].split()]
    return rows


def binary_and_name(file, function):
    """Which binary has the test, and under which name."""
    parts = list(Path(file).with_suffix("").parts)
    if parts[0] == "src":
        inner = [] if parts[-1] in ("tests", "proptests") else ["tests"]
        return "src/lib.rs", "::".join([*parts[1:], *inner, function])
    if parts[1] == "transport":
        # Unit tests of src/net/transport.
        return "src/lib.rs", "::".join(["net", "transport", "tests", *parts[2:], function])
    module = [part for part in parts[2:] if part != "main"]
    binary = f"tests/{parts[1]}/main.rs" if len(parts) > 2 else file
    return binary, "::".join([*module, function])


def run_tests(rows):
    """Runs all binaries that have a cited test; the result of each test."""
    binaries = sorted({binary_and_name(*test)[0] for row in rows for test in row["tests"]})
    arguments = []
    for binary in binaries:
        arguments += ["--lib"] if binary == "src/lib.rs" else ["--test", Path(binary).parts[1].removesuffix(".rs")]
    results, binary = {}, None
    for line in cargo(arguments).splitlines():
        if match := re.match(r"\s+Running (?:unittests )?(\S+) \(", line):
            binary = match[1]
        # What a test prints may stand between its name and its result.
        elif match := re.match(r"test (\S+)(?: - should panic)? \.\.\. (.*)", line):
            results[binary, match[1]] = match[2].endswith("ok")
    return results


def judge(row, results):
    """The last column of a statement's row."""
    if row["exempt"]:
        return f"exempt: {row['exempt']}"
    verdicts = [results.get(binary_and_name(*test)) for test in row["tests"]]
    if not verdicts:
        return "not tested" if row["binds"] == "client" else "NOT TESTED"
    if all(verdicts):
        return "passed"
    return "NOT RUN" if False not in verdicts else "FAILED"


def cell(citations):
    """Files with their functions, each file once."""
    files = {}
    for file, symbol in citations:
        files.setdefault(file, []).append(f"`{symbol}`" if symbol else "the whole file")
    return "; ".join(f"{file}: {', '.join(symbols)}" for file, symbols in files.items())


def totals(rows):
    """The table of totals."""
    lines = [
        "| | statements | bind a server | tested, all passed | exempt | failed | bind clients alone | of these checked, too |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for prefix, chapter in [*CHAPTERS.items(), ("", "all")]:
        mine = [row for row in rows if not prefix or row["id"].split("-")[0] == prefix]
        server = [row for row in mine if row["binds"] != "client"]
        passed = sum(row["result"] == "passed" for row in server)
        exempt = sum(bool(row["exempt"]) for row in server)
        client = [row for row in mine if row["binds"] == "client"]
        checked = sum(row["result"] == "passed" for row in client)
        counts = [len(mine), len(server), passed, exempt, len(server) - passed - exempt, len(client), checked]
        lines.append(f"| {chapter} | " + " | ".join(map(str, counts)) + " |")
    return lines


def document(rows):
    """The whole page."""
    lines = [
        "# Conformance",
        "",
        "Written by `make conformance`, which runs the tests; do not edit. Every normative statement of Appendix B of",
        "MQTT 5.0 and of MQTT 3.1.1 stands here with what obeys it and what tests it, and beside them what MQTT 3.1 demands",
        "differently, with numbers of our own. The words are ours; the specifications have the last one. A statement that",
        "binds a server (or sender and receiver alike) without a test, or without a line that cites it, fails",
        "`tests/conformance`. Statements that bind clients alone are listed, and where the broker checks them, tested.",
        "",
        *totals(rows),
    ]
    for prefix, chapter in CHAPTERS.items():
        lines += ["", f"## {chapter}", "", "| statement | binds | says | obeyed in | tested by | result |", "|---|---|---|---|---|---|"]
        for row in rows:
            if row["id"].split("-")[0] == prefix:
                fields = [row["id"], row["binds"], row["says"], cell(row["source"]), cell(row["tests"]), row["result"]]
                lines.append("| " + " | ".join(fields) + " |")
    return "\n".join(lines) + "\n"


def main():
    rows = read_table()
    results = run_tests(rows)
    for row in rows:
        row["result"] = judge(row, results)
    (ROOT / "docs" / "CONFORMANCE.md").write_text(document(rows))
    print("\n".join(totals(rows)))
    bad = [row for row in rows if row["result"] in ("FAILED", "NOT RUN", "NOT TESTED")]
    for row in bad:
        print(row["id"], row["result"], cell(row["tests"]))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
