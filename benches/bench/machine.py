"""What the figures were measured on: machine, commit, processors to pin to."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]


def facts() -> dict[str, Any]:
    """The machine, as far as it matters for a comparison."""
    cpu = re.search(r"^model name\s*: (.*)$", read("/proc/cpuinfo"), re.M)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", read("/proc/meminfo"), re.M)
    congestion = read("/proc/sys/net/ipv4/tcp_congestion_control").strip()
    return {
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_mib": int(memory.group(1)) // 1024 if memory else None,
        "kernel": platform.release(),
        "congestion_control": congestion or None,
    }


def commit() -> str:
    """The commit that is measured, with a plus sign if the working tree differs from it in what is built."""
    shown = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=TOP, capture_output=True, text=True)
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock"],
        cwd=TOP,
        capture_output=True,
        text=True,
    )
    return (shown.stdout.strip() or "unknown") + ("+" if changed.stdout.strip() else "")


def processors() -> tuple[set[int] | None, set[int] | None]:
    """The processor of the broker and that of the load, or nothing where there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    return ({usable[0]}, {usable[1]}) if len(usable) > 1 else (None, None)


def descriptors() -> int:
    """How many descriptors a process may have at most."""
    limit = re.search(r"^Max open files\s+\S+\s+(\d+)", read("/proc/self/limits"), re.M)
    return int(limit.group(1)) if limit else 1024


def read(path: str) -> str:
    """A file's text, or nothing."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
