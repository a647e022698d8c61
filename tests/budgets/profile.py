#!/usr/bin/env python3
"""Where the instructions of one row go: by function, by source file and by line. `tests/budgets/run.sh --profile <row>`.

callgrind_annotate cannot read what is dumped at a function. Inlined code counts to the function that it is inlined in,
and to the file and line that it is of.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

MOST = 25


def parse(text: str) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Instructions by function, file and line, without those of the functions called."""
    names: dict[tuple[str, str], str] = {}
    functions: Counter[str] = Counter()
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    function = file = ""
    line = 0
    called = False
    for row in text.splitlines():
        if place := re.match(r"(fn|fl|fi|fe|cfn|cfi|cfl)=(\(\d+\))(?: (.+))?", row):
            kind = "fn" if place[1].endswith("fn") else "fl"
            if place[3]:
                names[kind, place[2]] = place[3]
            name = names.get((kind, place[2]), place[2])
            if place[1] == "fn":
                function = name
            elif place[1] in ("fl", "fi", "fe"):
                file = re.sub(r".*/(src|rustc/\w+|[\w.-]+/src)/", r"\1/", name)
        elif row.startswith("calls="):
            called = True
        elif cost := re.match(r"([+-]?\d+|\*) (\d+)$", row):
            at = cost[1]
            line = line if at == "*" else line + int(at) if at[0] in "+-" else int(at)
            if not called:
                functions[function] += int(cost[2])
                files[file] += int(cost[2])
                lines[f"{file}:{line}"] += int(cost[2])
            called = False
    return functions, files, lines


def main() -> None:
    units = int(sys.argv[2])
    for title, counts in zip(
        ("functions", "files", "lines"), parse(Path(sys.argv[1]).read_text()), strict=True
    ):
        print(f"\ninstructions each, by {title} (of {sum(counts.values()) / units:.0f}):")
        for name, count in counts.most_common(MOST):
            print(f"{count / units:10.1f}  {name}")


main()
