"""benches/results.svg: for each row a bar for the floor, Midge and the peers, on a logarithmic scale."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from .report import NAMES, number, peers_in
from .rounds import median, values
from .rows import WORKS

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 920, 300, 70, 13, 16, 64
# Legible on white and on black alike; whoever looks by a dark theme gets lighter ones.
COLOURS = {
    "floor": ("#8a8f98", "#8a8f98"),
    "midge": ("#0b6bcb", "#4aa3ff"),
    "base": ("#6f9ccb", "#a9cdf5"),
    "mosquitto": ("#b4510b", "#e58a45"),
    "flashmq": ("#5b7f1f", "#9cc455"),
    "nanomq": ("#8a3fa0", "#c98adb"),
    "rumqttd": ("#a03f5b", "#e08aa2"),
    "emqx": ("#3f7f7f", "#7fc4c4"),
}


def draw(data: dict[str, Any]) -> str:
    """The picture as SVG."""
    groups: list[tuple[str, list[tuple[str, float]]]] = []
    for work in WORKS:
        one = data["rows"].get(work.name)
        for figure in (f for f in work.figures if f.is_cpu and one):
            order = sorted(peers_in(one), key=list(COLOURS).index)
            bars = [(name, median(values(one, figure, name)) or 0.0) for name in order]
            groups.append((figure.title, [(name, value) for name, value in bars if value]))
    shown = [value for _, bars in groups for _, value in bars]
    if not shown:
        return ""
    least, most = 10 ** math.floor(math.log10(min(shown))), 10 ** math.ceil(math.log10(max(shown)))
    height = TOP + sum(len(bars) * BAR + GAP for _, bars in groups) + 30
    across = WIDTH - LEFT - RIGHT

    def x(value: float) -> float:
        return LEFT + across * math.log(value / least) / math.log(most / least)

    names = [name for name in COLOURS if any(name == n for _, bars in groups for n, _ in bars)]
    out = [head(height)]
    out.append(
        f'<text x="{LEFT}" y="20" class="title">CPU time of the broker: microseconds each, logarithmic scale</text>'
    )
    at = LEFT
    for name in names:
        out.append(f'<rect x="{at}" y="30" width="11" height="11" class="{name}"/>')
        out.append(f'<text x="{at + 16}" y="40">{NAMES[name]}</text>')
        at += 34 + 7 * len(NAMES[name])
    mark = least
    while mark <= most * 1.001:
        out.append(f'<line x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{TOP - 8}" y2="{height - 22}" class="grid"/>')
        out.append(f'<text x="{x(mark):.1f}" y="{height - 8}" class="middle">{mark:g}</text>')
        mark *= 10
    y = TOP
    for title, bars in groups:
        middle = y + len(bars) * BAR / 2 + 4
        out.append(f'<text x="{LEFT - 10}" y="{middle:.1f}" class="end">{escape(title)}</text>')
        for name, value in bars:
            out.append(
                f'<rect x="{LEFT}" y="{y}" width="{max(1.0, x(value) - LEFT):.1f}" height="{BAR - 2}" class="{name}"/>'
            )
            out.append(f'<text x="{x(value) + 5:.1f}" y="{y + BAR - 3}" class="value">{number(value)}</text>')
            y += BAR
        y += GAP
    return "\n".join([*out, "</svg>", ""])


def head(height: int) -> str:
    light = "".join(f".{name}{{fill:{colour}}}" for name, (colour, _) in COLOURS.items())
    dark = "".join(f".{name}{{fill:{colour}}}" for name, (_, colour) in COLOURS.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">\n'
        "<style>text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:14px}.value{font-size:11px}"
        ".end{text-anchor:end}.middle{text-anchor:middle}.grid{stroke:#8a8f98;stroke-opacity:.35}.back{fill:#fff}"
        f"{light}@media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.back{{fill:#0d1117}}{dark}}}</style>\n"
        f'<rect class="back" width="{WIDTH}" height="{height}"/>'
    )
