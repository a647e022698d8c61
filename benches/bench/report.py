"""benches/RESULTS.md, from benches/results.json."""

from __future__ import annotations

import shlex
import statistics
from typing import Any

from .fairness import CASES
from .machine import TOP, read
from .rounds import NOISY, median, noise, ratios, values
from .rows import WORKS, Figure, Target, Work

NAMES = {
    "midge": "Midge",
    "base": "other Midge",
    "floor": "floor",
    "mosquitto": "mosquitto",
    "flashmq": "FlashMQ",
    "nanomq": "NanoMQ",
    "rumqttd": "rumqttd",
    "emqx": "EMQX",
}

INTRODUCTION = """\
# Results of `make bench`

Written by `make bench`. [README.md](README.md) says what is measured and how; [results.json](results.json) has every run, and
`make bench-report` writes this page and the picture from it again.

The main figure is the CPU time of the broker's process for each delivered message: all its threads, system calls included.
**Absolute figures hold for this machine and this hour:** they move by tens of percent from run to run and from machine to machine.
What counts are the ratios, each the median of the ratios within one round. In brackets stand the least and the greatest round.

![CPU time for each delivered message, by row: the floor, Midge, others](results.svg)
"""


def page(data: dict[str, Any]) -> str:
    """The whole page."""
    found = [(work, data["rows"][work.name]) for work in WORKS if work.name in data["rows"]]
    parts = [INTRODUCTION, about(data)]
    if found:
        parts += [costs(data, found), detail(found), memory(found)]
    if data.get("threads"):
        parts.append(threads(data["threads"]))
    if data.get("fairness"):
        parts.append(fairness(data["fairness"]))
    parts += [remarks(data, found), commands(data, found), durable()]
    return "\n".join(part for part in parts if part)


def durable() -> str:
    """What benches/durable.py has measured, which is kept by hand."""
    return read(str(TOP / "benches/durable.md"))


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def about(data: dict[str, Any]) -> str:
    machine = data["machine"]
    pinned = data["pinned"]
    where = f"broker on processor {pinned[0]}, load on {pinned[1]}" if pinned else "one processor for broker and load"
    rows = [
        ["processor", f"{machine['cpu']}, {machine['processors']} usable; {where}"],
        [
            "memory, kernel",
            f"{machine['memory_mib']:,} MiB, Linux {machine['kernel']}, {machine['congestion_control']}",
        ],
        ["measured", f"{data['when']}, commit {data['commit']}, by {data['command']}"],
        [
            "brokers",
            ", ".join(f"{NAMES[name]} {version}" for name, version in data["versions"].items() if name != "floor"),
        ],
    ]
    return table(["machine", ""], rows)


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ranged(numbers: list[float]) -> str:
    """Median, and least to greatest."""
    if not numbers:
        return "-"
    return f"{statistics.median(numbers):.2f} ({min(numbers):.2f}-{max(numbers):.2f})"


def peers_in(found: dict[str, Any]) -> list[str]:
    there = {name for one in found["rounds"] for name in one}
    return [name for name in NAMES if name in there]


def judged(found: dict[str, Any], figure: Figure) -> tuple[str, str]:
    """The target that can be judged here, and whether it is met."""
    for target in figure.targets:
        reached = reach(found, figure, target)
        if reached is not None:
            return target.text(figure.unit), "yes" if reached <= target.bound else f"no: {reached:.2f}"
    return (figure.targets[0].text(figure.unit), "-") if figure.targets else ("-", "-")


def reach(found: dict[str, Any], figure: Figure, target: Target) -> float | None:
    if target.of is None:
        return median(values(found, figure, "midge"))
    return median(list(ratios(found, figure, "midge", target.of)))


def costs(data: dict[str, Any], found: list[tuple[Work, dict[str, Any]]]) -> str:
    """CPU time of each row, ratios, targets."""
    others = [name for name in NAMES if name not in ("midge", "floor") and name in data["versions"]]
    heads = [
        "CPU microseconds each",
        "floor",
        "Midge",
        *(NAMES[o] for o in others),
        "Midge / floor",
        "Midge / mosquitto",
    ]
    rows = []
    for work, one in found:
        for figure in (f for f in work.figures if f.is_cpu):
            target, met = judged(one, figure)
            cells = [cell(one, figure, name) for name in ("floor", "midge", *others)]
            against = [ranged(ratios(one, figure, "midge", base)) for base in ("floor", "mosquitto")]
            rows.append([f"{figure.title}{footnote(data, one)}", *cells, *against, target, met])
    return "## CPU time\n\n" + table([*heads, "target", "met"], rows)


def cell(found: dict[str, Any], figure: Figure, name: str) -> str:
    """A broker's figure; whether it failed, or was not measured."""
    value = median(values(found, figure, name))
    return "failed" if value is None and name in peers_in(found) else number(value)


def footnote(data: dict[str, Any], one: dict[str, Any]) -> str:
    return "" if one["commit"] == data["commit"] else f" (commit {one['commit']})"


def detail(found: list[tuple[Work, dict[str, Any]]]) -> str:
    """Throughput, switches and calls of each row and broker."""
    rows = []
    for work, one in found:
        for figure in (f for f in work.figures if f.is_cpu):
            for name in peers_in(one):
                runs = [
                    r[name][figure.name]
                    for r in one["rounds"]
                    if figure.name in r.get(name, {}) and not r[name]["errors"]
                ]
                if not runs:
                    continue
                took = [r["value"] for r in runs]
                calls = one["system_calls"].get(name, {}).get(figure.name)
                rows.append(
                    [
                        figure.title,
                        NAMES[name],
                        f"{number(median(took))} ({number(min(took))}-{number(max(took))})",
                        number(median([r["per_s"] for r in runs])),
                        number(median([r["switches"] for r in runs])),
                        f"{number(calls['each'])}{' (strace)' if calls['by'] == 'strace' else ''}" if calls else "-",
                        number(median([r["noise"] for r in runs])),
                    ]
                )
    heads = ["row", "", "CPU us each", "each/s", "context switches each", "system calls each", "other CPU, %"]
    return (
        "## Throughput, context switches, system calls\n\nThe rate is what the two together reached, and often the load is the slower"
        ' one. System calls are counted in runs of their own. "Other CPU" is what further programs used meanwhile, in percent of'
        " one processor.\n\n" + table(heads, rows)
    )


def memory(found: list[tuple[Work, dict[str, Any]]]) -> str:
    """Bytes of each thing that a broker keeps."""
    rows = []
    for work, one in found:
        for figure in (f for f in work.figures if not f.is_cpu):
            target, met = judged(one, figure)
            cells = [cell(one, figure, name) for name in NAMES if shown(found, name)]
            rows.append([figure.title, *cells, target, met])
    if not rows:
        return ""
    heads = ["bytes each", *(NAMES[name] for name in NAMES if shown(found, name)), "target", "met"]
    return (
        "## Memory\n\nGrowth of the broker's resident memory for each; the kernel's part (socket buffers, descriptors) is not in it."
        " Anonymous memory is the `Anonymous` of `/proc/PID/smaps_rollup`: heap and stacks in pages that were written to, without"
        " the program's own pages.\n\n" + table(heads, rows)
    )


def shown(found: list[tuple[Work, dict[str, Any]]], name: str) -> bool:
    return any(name in peers_in(one) for _, one in found)


def threads(found: dict[str, Any]) -> str:
    rows = []
    for count in ("1", "2"):
        runs = [one[count] for one in found["rounds"] if one[count].get("cpu_us_per_op")]
        base = [one["1"] for one in found["rounds"]]
        against = [
            (one[count]["cpu_us_per_op"] / one["1"]["cpu_us_per_op"], one[count]["ops_per_s"] / one["1"]["ops_per_s"])
            for one in found["rounds"]
            if one[count].get("cpu_us_per_op") and one["1"].get("cpu_us_per_op")
        ]
        if runs and base:
            rows.append(
                [
                    count,
                    number(median([r["cpu_us_per_op"] for r in runs])),
                    ranged([a for a, _ in against]),
                    number(median([r["ops_per_s"] for r in runs])),
                    ranged([b for _, b in against]),
                    number(median([r["vol_ctxt_per_op"] for r in runs])),
                ]
            )
    heads = ["`runtime.worker_threads`", "CPU us each", "against 1", "messages/s", "against 1", "context switches each"]
    return (
        f"## Threads\n\nMidge, 100 pairs, QoS 0, with one thread and with two. Here nothing is pinned: broker and load share"
        f" the {found['processors']} processors, and where there are only two, a second thread takes its processor from the"
        " load.\n\n" + table(heads, rows)
    )


def fairness(found: dict[str, Any]) -> str:
    rows = []
    for case in (case for case in CASES if case.name in found):
        for name in peers_in(found[case.name]):
            runs = [
                one[name]
                for one in found[case.name]["rounds"]
                if one.get(name, {}).get("beside") and one[name]["alone"]
            ]
            if not runs:
                rows.append([case.title, NAMES[name], *["failed"] * 8])
                continue
            part = [
                [number(median([r[when][key] for r in runs])) for when in ("alone", "beside")]
                for key in ("p50", "p99", "late_p99")
            ]
            peak = [median([r[of]["rss_peak_kb"] if of else r["rss_peak_kb"] for r in runs]) for of in ("alone", None)]
            dropped = " ".join(
                (f"{count:,}" if reason == "all" else f"{reason} {count:,}")
                for reason, count in runs[-1]["dropped"].items()
            )
            lost = sum(r[when]["lost"] for r in runs for when in ("alone", "beside"))
            rows.append(
                [
                    case.title,
                    NAMES[name],
                    *[f"{alone} / {beside}" for alone, beside in part],
                    " / ".join(number(p / 1024 if p else None) for p in peak),
                    dropped or ("-" if name == "floor" else "none"),
                    str(lost),
                ]
            )
    heads = [
        "trouble",
        "",
        "p50 us",
        "p99 us",
        "load's own lateness, p99 us",
        "peak MiB",
        "dropped by the broker",
        "quiet ones lost",
    ]
    return (
        "## Fairness\n\nQuiet clients alone / beside the trouble-maker, on the same broker process; medians of rounds. Latency"
        " counts from when a message was due, so that lateness of the load itself (its own column) is in it. Queues have"
        " the brokers' default bounds, but for the backlog, where 200,000 messages may wait. Drops are those of the last"
        " round.\n\n" + table(heads, rows)
    )


def remarks(data: dict[str, Any], found: list[tuple[Work, dict[str, Any]]]) -> str:
    """Which rows not to trust, and which runs were not exact."""
    lines = []
    for work, one in found:
        other = noise(one, work.figures[0])
        if other is not None and other > NOISY:
            lines.append(f"- Noisy: {work.name}. Other programs used {other:.0f} % of a processor meanwhile.")
        for name in peers_in(one):
            wrong = [r[name]["errors"] for r in one["rounds"] if r.get(name, {}).get("errors")]
            if wrong:
                lines.append(
                    f"- {NAMES[name]}, {work.name}: {len(wrong)} of {len(one['rounds'])} runs not clean: {'; '.join(wrong[0])}."
                )
    for name, one in (data.get("fairness") or {}).items():
        for peer in peers_in(one):
            other = median([r[peer]["alone"].get("noise") for r in one["rounds"]])
            if other is not None and other > NOISY:
                lines.append(
                    f"- Noisy: fairness of {NAMES[peer]}, {name}. Other programs used {other:.0f} % of a processor meanwhile."
                )
            wrong = [
                r[peer][when].get("errors")
                for r in one["rounds"]
                for when in ("alone", "beside")
                if r[peer][when].get("errors")
            ]
            if wrong:
                lines.append(
                    f"- {NAMES[peer]}, {name}: {len(wrong)} runs of the quiet ones not clean: {'; '.join(wrong[0])}."
                )
    return "## Remarks\n\n" + "\n".join(lines or ["Every count was exact, and no run was noisy."]) + "\n"


def commands(data: dict[str, Any], found: list[tuple[Work, dict[str, Any]]]) -> str:
    lines = [f"{work.name}: midge-load {shlex.join(one['arguments'])}" for work, one in found]
    for name, one in (data.get("fairness") or {}).items():
        lines.append(
            f"fairness {name}: midge-load {shlex.join(one['quiet'])}; trouble: midge-load {shlex.join(one['trouble'])}"
        )
    if data.get("threads"):
        lines.append(f"threads: midge-load {shlex.join(data['threads']['arguments'])}")
    return "## Commands\n\nEach run is on a fresh broker process.\n\n```\n" + "\n".join(lines) + "\n```\n"
